//! Owns the setting of how objects are compressed. Leaves doing it to `destination`.

use super::setting::{Choice, Described, Setting};
use super::values::Values;
use super::{FORMAT, Format};
use crate::error::{Error, Result};
use crate::rows::Compression;

/// How objects are compressed.
pub(super) const COMPRESSION: Setting<Compression> = Setting::optional(
    "compression",
    &Choice(&[
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("snappy", Compression::Snappy),
    ]),
    "Compression of batches: of text as a whole, whose names then end with `.gz`, `.zst` or `.sz` (Snappy's framing format) besides; \
     within Parquet and Avro, where names stay (Avro's `gzip` is `deflate`). Text that is compressed is not stored while it arrives: a record then has at most 64 MiB. Where it is not \
     set: `snappy` within Parquet, `gzip` within Avro, otherwise `none`.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 1] = [&COMPRESSION];

/// Reads the setting; `None` where it is the format's to say.
pub(super) fn of(values: &Values, format: Format) -> Result<Option<Compression>> {
    let found = values.find(&COMPRESSION)?;
    if format == Format::Raw && found.is_some_and(|compression| compression != Compression::None) {
        let (compression, format) = (COMPRESSION.name, FORMAT.name);
        return Err(Error::invalid(format!(
            "setting `{compression}` is for batches, and `{format}` is `raw`, which stores payloads as they are: leave it out"
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{DestinationConfig, Settings};
    use super::*;

    fn compression(format: &str, compression: Option<&str>) -> Result<Option<Compression>> {
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x"), ("format", format)];
        let settings = base.into_iter().chain(compression.map(|set| ("compression", set)));
        let settings: Settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        DestinationConfig::parse(&settings).map(|config| config.compression)
    }

    #[test]
    fn objects_as_they_are_stay_as_they_are() {
        assert_eq!(compression("json", None).expect("parses"), None);
        assert_eq!(compression("parquet", Some("none")).expect("parses"), Some(Compression::None));
        assert_eq!(compression("json", Some("zstd")).expect("parses"), Some(Compression::Zstd));
        assert_eq!(compression("raw", Some("none")).expect("asks for what is"), Some(Compression::None));
        let message = compression("raw", Some("gzip")).expect_err("is refused").message;
        assert!(message.contains("`compression`") && message.contains("`raw`"), "{message}");
    }
}
