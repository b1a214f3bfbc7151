//! Owns which format an object has, by its key and its content type. Leaves how it is read to the formats.

/// A format that has rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of any bytes.
    Lines,
    /// JSON.
    Json,
    /// CSV.
    Csv,
    /// Parquet.
    Parquet,
    /// Avro container files.
    Avro,
}

/// Ends of keys, without the dot.
const EXTENSIONS: [(&str, Format); 12] = [
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("tab", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    ("parquet", Format::Parquet),
    ("parq", Format::Parquet),
    ("pq", Format::Parquet),
    ("avro", Format::Avro),
    ("txt", Format::Lines),
    ("log", Format::Lines),
];

/// Ends of keys that say how an object is compressed.
const COMPRESSED: [&str; 5] = ["gz", "gzip", "zst", "zstd", "sz"];

/// Content types, without their parameters.
const CONTENT_TYPES: [(&str, Format); 13] = [
    ("text/csv", Format::Csv),
    ("application/csv", Format::Csv),
    ("text/tab-separated-values", Format::Csv),
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Json),
    ("application/jsonl", Format::Json),
    ("application/jsonlines", Format::Json),
    ("application/x-jsonlines", Format::Json),
    ("application/vnd.apache.parquet", Format::Parquet),
    ("application/x-parquet", Format::Parquet),
    ("application/avro", Format::Avro),
    ("avro/binary", Format::Avro),
    ("text/plain", Format::Lines),
];

/// The last part of a key after a dot, in small letters, without the one of a compression.
fn extension(key: &str) -> Option<String> {
    let name = key.rsplit('/').next().unwrap_or(key).to_ascii_lowercase();
    let (rest, last) = name.rsplit_once('.')?;
    if !COMPRESSED.contains(&last) {
        return Some(last.to_owned());
    }
    rest.rsplit_once('.').map(|(_, before)| before.to_owned())
}

impl Format {
    /// The format that a key tells, if it tells one.
    pub fn of_key(key: &str) -> Option<Self> {
        let extension = extension(key)?;
        EXTENSIONS.iter().find(|(name, _)| *name == extension).map(|(_, format)| *format)
    }

    /// The format that a content type tells, if it tells one.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        CONTENT_TYPES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// Whether the key or the content type says that fields are separated by tabs.
pub fn has_tabs(key: &str, content_type: Option<&str>) -> bool {
    matches!(extension(key).as_deref(), Some("tsv" | "tab"))
        || content_type.is_some_and(|name| name.trim().to_ascii_lowercase().starts_with("text/tab-separated-values"))
}

/// Whether the key or the content type says that each line is a value of JSON.
pub fn has_lines(key: &str, content_type: Option<&str>) -> bool {
    let is_of_lines =
        |name: &str| name == "application/x-ndjson" || name.starts_with("application/") && name.contains("jsonl");
    match extension(key).as_deref() {
        Some("jsonl" | "ndjson") => true,
        // The key comes first, as it does for the format.
        _ if Format::of_key(key).is_some() => false,
        _ => content_type.is_some_and(|name| is_of_lines(&name.trim().to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_formats_by_their_ends() {
        for (key, format) in [
            ("a.csv", Some(Format::Csv)),
            ("a/b.CSV.gz", Some(Format::Csv)),
            ("x.jsonl.zst", Some(Format::Json)),
            ("x.json.sz", Some(Format::Json)),
            ("part-0.snappy.parquet", Some(Format::Parquet)),
            ("y=2026/a.avro", Some(Format::Avro)),
            ("app.log", Some(Format::Lines)),
            ("a.gz", None),
            ("dir.csv/file", None),
            ("csv", None),
            ("a.png", None),
        ] {
            assert_eq!(Format::of_key(key), format, "{key}");
        }
    }

    #[test]
    fn content_types_tell_formats_without_their_parameters() {
        assert_eq!(Format::of_content_type("text/CSV; charset=utf-8"), Some(Format::Csv));
        assert_eq!(Format::of_content_type("application/octet-stream"), None);
        assert!(has_tabs("a.tsv.gz", None) && has_tabs("a", Some("text/tab-separated-values")));
        assert!(!has_tabs("a.csv", Some("text/csv")));
        assert!(has_lines("a.jsonl.gz", None) && has_lines("a.NDJSON", Some("application/json")));
        assert!(
            has_lines("a", Some("application/jsonlines; charset=utf-8"))
                && has_lines("a", Some("application/x-ndjson"))
        );
        assert!(!has_lines("a.json", Some("application/jsonl")) && !has_lines("a", Some("application/json")));
    }
}
