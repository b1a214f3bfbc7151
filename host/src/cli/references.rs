//! Owns `${NAME}` and `${file:PATH}` in the settings of files: what stands there is replaced by an environment variable, or by
//! what a file holds. Leaves which file has which settings to `pipeline_file` and `settings_file`.
//!
//! Only files may refer to files. A value of `--set` often comes from elsewhere, by a script, and its author must not choose which file
//! of this machine is read and sent to a store as a prefix.

use std::fs::File;
use std::io::Read as _;

/// The most bytes that a file may have which a setting refers to: more than any key, token or certificate.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;

/// How a reference to a file begins.
const FILE: &str = "file:";

/// Why a reference could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// No such environment variable is set. Nothing stands in its place.
    Variable(String),
    /// The file is of no use, with its path and the reason.
    File(String),
}

/// Replaces each `${NAME}` by the variable's value, and each `${file:PATH}` by the file's text without its last line break; also
/// returns what could not be replaced. Everything else stays as it is.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> (String, Vec<Missing>) {
    let (mut expanded, mut missing, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        let inner = from[2..].split_once('}');
        let (found, after) = match inner {
            Some((name, after)) if is_variable(name) => {
                (lookup(name).ok_or_else(|| Missing::Variable(name.to_owned())), after)
            }
            Some((reference, after)) if reference.starts_with(FILE) => {
                let path = &reference[FILE.len()..];
                (read(path).map_err(|why| Missing::File(format!("${{{reference}}}: {why}"))), after)
            }
            _ => (Ok("${".to_owned()), &from[2..]),
        };
        match found {
            Ok(text) => expanded.push_str(&text),
            Err(reason) => missing.push(reason),
        }
        rest = after;
    }
    expanded.push_str(rest);
    (expanded, missing)
}

fn is_variable(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_allowed) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The text of a file, without the line break that editors and `echo` put after it.
fn read(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("a path is missing, as in ${file:/run/secrets/key}".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    // Without this, a pipe that nobody writes to or a device would be read for ever.
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err("it is not a regular file".to_owned());
    }
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let length = line.map_or(text.len(), str::len);
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "NAME").then(|| "x".to_owned())
    }

    #[test]
    fn variables_and_files_are_replaced_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let secret = write("secret", b"s3cr3t\n");
        let windows = write("windows", b" two\r\nlines \r\n");
        let literal = write("literal", b"${NAME}");
        for (text, expected) in [
            ("plain".to_owned(), "plain"),
            ("a${NAME}b${NAME}".to_owned(), "axbx"),
            ("${NOT A NAME}$ {x} ${".to_owned(), "${NOT A NAME}$ {x} ${"),
            ("${1} ${}".to_owned(), "${1} ${}"),
            (format!("<${{file:{secret}}}>"), "<s3cr3t>"),
            (format!("${{file:{windows}}}"), " two\r\nlines "),
            // What was replaced is not looked at again.
            (format!("${{file:{literal}}}"), "${NAME}"),
        ] {
            assert_eq!(expand(&text, &lookup), (expected.to_owned(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_told_by_name() {
        assert_eq!(expand("a${NOT}b${NAME}", &lookup), ("abx".to_owned(), vec![Missing::Variable("NOT".to_owned())]));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("large"), vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        std::fs::write(path("binary"), [0xff]).unwrap();
        for (path, why) in [
            (String::new(), "a path is missing"),
            (path("none"), "No such file"),
            (path("large"), "more than 65536 bytes"),
            (path("binary"), "UTF-8"),
            (folder.path().display().to_string(), "not a regular file"),
            ("/dev/null".to_owned(), "not a regular file"),
        ] {
            let (text, missing) = expand(&format!("a${{file:{path}}}b"), &lookup);
            assert_eq!(text, "ab");
            let [Missing::File(reason)] = &missing[..] else { panic!("{path}: {missing:?}") };
            assert!(reason.starts_with(&format!("${{file:{path}}}: ")) && reason.contains(why), "{reason}");
        }
    }
}
