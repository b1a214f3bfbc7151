//! Owns the setting of columns that are in paths: whether files have them too. Leaves paths to `lake`, and rows to `table`.

use super::PathConfig;
use super::setting::{Choice, Described, Setting};
use super::template::{Part, Template};
use super::values::Values;
use crate::error::{Error, Result};

/// Whether files have the columns that are in paths.
pub(super) const PATH_COLUMNS: Setting<PathColumns> = Setting::with_default(
    "path.columns",
    &Choice(&[("keep", PathColumns::Keep), ("drop", PathColumns::Drop)]),
    "keep",
    "With `columns: payload`, whether fields that `path` has as `NAME={field.NAME}` are columns of the files, too: `keep`, or `drop`, as Spark \
     writes them, and as pyarrow and Hive ask for. What is dropped is in the path alone, as text: its type, and whether it was null, empty or missing, are lost.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 1] = [&PATH_COLUMNS];

/// What becomes of columns that are in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathColumns {
    /// They are in files, too.
    Keep,
    /// They are in paths alone.
    Drop,
}

/// The names of columns that files do not have.
pub(super) fn dropped(values: &Values, path: Option<&PathConfig>, is_table: bool) -> Result<Vec<String>> {
    if values.get(&PATH_COLUMNS)? == PathColumns::Keep {
        return Ok(Vec::new());
    }
    let refuse = |why: &str| Err(Error::invalid(format!("setting `{}` is `drop`, {why}", PATH_COLUMNS.name)));
    if !is_table {
        return refuse("which is for payloads as tables: leave it out, or set `columns` to `payload`");
    }
    let names = path.map_or_else(Vec::new, |path| hive_names(&path.template));
    if names.is_empty() {
        return refuse(
            "but `path` has no folder such as `country={field.country}`: leave it out, or set such a `path`",
        );
    }
    Ok(names)
}

/// The fields whose folder has their name and nothing else but the value.
fn hive_names(template: &Template) -> Vec<String> {
    let mut names = Vec::new();
    for (index, part) in template.parts.iter().enumerate() {
        let Part::Field(path) = part else { continue };
        let [name] = &path[..] else { continue };
        let Some(Part::Text(before)) = index.checked_sub(1).map(|index| &template.parts[index]) else { continue };
        let folder = match before.rsplit_once('/') {
            Some((_, folder)) => folder,
            None if index == 1 => before,
            None => continue,
        };
        let ends = match template.parts.get(index + 1) {
            Some(Part::Text(after)) => after.starts_with('/'),
            Some(_) => false,
            None => true,
        };
        if ends && folder.strip_suffix('=') == Some(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::config::{DestinationConfig, Settings};

    fn dropped(pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let base = [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("format", "parquet")];
        let settings = base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = DestinationConfig::parse(&settings.collect::<Settings>()).map_err(|error| error.message)?;
        Ok(config.columns.map_or_else(Vec::new, |columns| columns.dropped))
    }

    #[test]
    fn only_folders_that_name_their_field_are_columns() {
        for (path, names) in [
            ("c={field.c}", &["c"][..]),
            ("x/c={field.c}/d={field.d}", &["c", "d"]),
            ("c={field.c}/land={field.country}/o={field.o.o}/e={field.e}-x/{meta.a}f={field.f}", &["c"]),
            ("{meta.a}/g={field.g}/h={field.h}{meta.b}/xi={field.i}", &["g"]),
        ] {
            let pairs = [("columns", "payload"), ("path.columns", "drop"), ("path", path)];
            assert_eq!(dropped(&pairs).expect(path), names, "{path}");
            assert_eq!(dropped(&[pairs[0], pairs[2]]).expect(path), [""; 0], "{path}");
        }
    }

    #[test]
    fn what_drops_nothing_is_refused_by_name() {
        for (pairs, words) in [
            (vec![("path", "c={field.c}")], "set `columns` to `payload`"),
            (vec![("columns", "payload")], "no folder such as `country={field.country}`"),
            (vec![("columns", "payload"), ("path", "{field.c}")], "no folder such as `country={field.country}`"),
            (vec![("path", "c={field.c}"), ("format", "raw")], "set `columns` to `payload`"),
        ] {
            let message = dropped(&[&pairs[..], &[("path.columns", "drop")]].concat()).expect_err(words);
            assert!(message.contains("setting `path.columns` is `drop`") && message.contains(words), "{message}");
        }
    }
}
