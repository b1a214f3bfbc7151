//! Owns the settings of how a store keeps what a destination writes: class, encryption, tags and access. Leaves sending them
//! to `s3`, and that nothing else is sent to hosts.
//!
//! Each is a header of writes, which is there only where its setting is.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::setting::{Choice, Described, Kind, Pattern, Setting};
use super::values::Values;
use crate::error::{Error, Result};

/// The class that objects are kept in.
pub(super) const STORAGE_CLASS: Setting<String> = Setting::optional(
    "storageClass",
    &Pattern { check: check_class, patterns: &["^[A-Z][A-Z0-9_]{0,63}$"] },
    "Storage class of what is written, by the store's name: S3 has `STANDARD`, `STANDARD_IA`, `ONEZONE_IA`, `INTELLIGENT_TIERING`, \
     `GLACIER_IR`, `GLACIER`, `DEEP_ARCHIVE`, `EXPRESS_ONEZONE`, other stores have others. Where it is not set: the store's own.",
);

/// How objects are encrypted.
pub(super) const SSE: Setting<&'static str> = Setting::optional(
    "sse",
    &Choice(&[(AES256, AES256), (KMS, KMS), (KMS_DSSE, KMS_DSSE)]),
    "Encryption that is asked of the store for what is written: with its own keys (`AES256`), with a key of KMS (`aws:kms`), or twice \
     with one (`aws:kms:dsse`). Where it is not set: as the bucket does by default, which on S3 encrypts too.",
);

/// The key that objects are encrypted with.
pub(super) const KMS_KEY_ID: Setting<String> = Setting::optional(
    "sse.kmsKeyId",
    &Pattern { check: check_key, patterns: &["^[A-Za-z0-9:/_-]{1,512}$"] },
    "With `sse: aws:kms` or `aws:kms:dsse`, the key of KMS, by id, ARN or alias. Where it is not set: the account's own key for S3.",
);

/// What objects are tagged with.
pub(super) const TAGS: Setting<Tags> = Setting::optional(
    "tags",
    &TagList,
    "Tags of what is written, as `name=value,name=value`: at most ten, with names of up to 128 and values of up to 256 letters, digits, \
     blanks and `+ - = . _ : / @`. Where it is not set: none.",
);

/// Whom objects are open to.
pub(super) const ACL: Setting<&'static str> = Setting::optional(
    "acl",
    &Choice(&[
        ("private", "private"),
        ("public-read", "public-read"),
        ("public-read-write", "public-read-write"),
        ("authenticated-read", "authenticated-read"),
        ("aws-exec-read", "aws-exec-read"),
        ("bucket-owner-read", "bucket-owner-read"),
        ("bucket-owner-full-control", "bucket-owner-full-control"),
    ]),
    "Canned ACL of what is written; `public-read` opens it to everybody. Buckets of S3 refuse all but \
     `bucket-owner-full-control` unless their Object Ownership permits ACLs. Where it is not set: the store's own, which is `private` on S3.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 5] = [&STORAGE_CLASS, &SSE, &KMS_KEY_ID, &TAGS, &ACL];

const AES256: &str = "AES256";
const KMS: &str = "aws:kms";
const KMS_DSSE: &str = "aws:kms:dsse";

/// Tags of an object
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).
const TAGS_MAX: usize = 10;

/// Letters of a tag's name.
const TAG_NAME_MAX: usize = 128;

/// Letters of a tag's value.
const TAG_VALUE_MAX: usize = 256;

/// What the query that tags are sent as leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a store keeps what is written; nothing that is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// The class.
    pub class: Option<String>,
    /// The encryption, by S3's name.
    pub encryption: Option<&'static str>,
    /// The key of KMS.
    pub kms_key_id: Option<String>,
    /// The tags.
    pub tags: Option<Tags>,
    /// The canned ACL.
    pub acl: Option<&'static str>,
}

impl Storage {
    /// Reads the settings.
    pub(super) fn of(values: &Values) -> Result<Self> {
        let found = Self {
            class: values.find(&STORAGE_CLASS)?,
            encryption: values.find(&SSE)?,
            kms_key_id: values.find(&KMS_KEY_ID)?,
            tags: values.find(&TAGS)?,
            acl: values.find(&ACL)?,
        };
        if found.kms_key_id.is_some() && !found.uses_kms() {
            return Err(Error::invalid(
                "setting `sse.kmsKeyId` names a key of KMS, which is not used: set `sse` to `aws:kms` or `aws:kms:dsse`",
            ));
        }
        Ok(found)
    }

    /// Whether objects are encrypted with a key of KMS.
    pub fn uses_kms(&self) -> bool {
        matches!(self.encryption, Some(KMS | KMS_DSSE))
    }

    /// The headers that say so, on [PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html) and
    /// [CreateMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html). Parts and
    /// completions take them over from the beginning of their upload.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        self.asked().map(|(_, header, value)| (header, value)).collect()
    }

    /// The settings that are set, by name.
    pub fn settings(&self) -> Vec<&'static str> {
        self.asked().map(|(setting, ..)| setting).collect()
    }

    /// What is asked for: the name of the setting, its header, and the header's value.
    fn asked(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let all = [
            (STORAGE_CLASS.name, "x-amz-storage-class", self.class.clone()),
            (SSE.name, "x-amz-server-side-encryption", self.encryption.map(str::to_owned)),
            (KMS_KEY_ID.name, "x-amz-server-side-encryption-aws-kms-key-id", self.kms_key_id.clone()),
            (TAGS.name, "x-amz-tagging", self.tags.as_ref().map(Tags::query)),
            (ACL.name, "x-amz-acl", self.acl.map(str::to_owned)),
        ];
        all.into_iter().filter_map(|(setting, header, value)| Some((setting, header, value?)))
    }
}

/// Tags, by name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// As the header has them: a query.
    fn query(&self) -> String {
        let encode = |text| utf8_percent_encode(text, QUERY);
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    }
}

/// Names and values, with commas between them, which no tag can hold.
struct TagList;

impl Kind<Tags> for TagList {
    fn parse(&self, text: &str) -> Result<Tags, Cow<'static, str>> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for pair in text.split(',') {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(Cow::Borrowed("tags such as team=data,stage=raw, each with a name, `=` and a value"));
            };
            let (name, value) = (name.trim(), value.trim());
            let wrong = if name.is_empty() || name.chars().count() > TAG_NAME_MAX {
                "names of 1 to 128 letters"
            } else if value.chars().count() > TAG_VALUE_MAX {
                "values of at most 256 letters"
            } else if !name.chars().chain(value.chars()).all(is_letter_of_tag) {
                "letters, digits, blanks and + - = . _ : / @ only"
            } else if name.to_lowercase().starts_with("aws:") {
                "names of your own: aws: is the store's"
            } else if tags.iter().any(|(known, _)| known == name) {
                "each name once"
            } else {
                tags.push((name.to_owned(), value.to_owned()));
                continue;
            };
            return Err(format!("tags with {wrong}").into());
        }
        if tags.len() > TAGS_MAX {
            return Err(format!("at most {TAGS_MAX} tags").into());
        }
        Ok(Tags(tags))
    }
}

fn is_letter_of_tag(letter: char) -> bool {
    letter.is_alphanumeric() || letter == ' ' || "+-=._:/@".contains(letter)
}

/// Any store's class: names of S3's kind, since stores have classes that S3 lacks and S3 will have others.
fn check_class(text: &str) -> Result<(), &'static str> {
    let is_right = text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_right { Ok(()) } else { Err("a storage class in capital letters, such as STANDARD_IA") }
}

/// An alias has at most 256 letters, and what leads to it in an ARN fewer
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>).
fn check_key(text: &str) -> Result<(), &'static str> {
    let is_right = (1..=512).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte));
    if is_right { Ok(()) } else { Err("the id, the ARN or the alias of a key of KMS, such as alias/lake") }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketConfig, DestinationConfig, Settings, SourceConfig};
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x")];
        base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn storage(pairs: &[(&str, &str)]) -> Result<Storage> {
        BucketConfig::parse(&settings(pairs)).map(|bucket| bucket.storage)
    }

    #[test]
    fn nothing_is_sent_that_was_not_asked_for() {
        assert!(storage(&[]).expect("parses").headers().is_empty());
    }

    #[test]
    fn each_setting_is_a_header() {
        let all = [
            ("storageClass", "GLACIER_IR"),
            ("sse", "aws:kms"),
            ("sse.kmsKeyId", "arn:aws:kms:us-east-1:111122223333:key/0a"),
            ("tags", "team = data, a+b=c d/é,empty="),
            ("acl", "bucket-owner-full-control"),
        ];
        let found = storage(&all).expect("parses");
        let expected = [
            ("x-amz-storage-class", "GLACIER_IR"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/0a"),
            ("x-amz-tagging", "team=data&a%2Bb=c%20d%2F%C3%A9&empty="),
            ("x-amz-acl", "bucket-owner-full-control"),
        ];
        assert_eq!(found.headers(), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(found.settings(), all.map(|(name, _)| name));
        let one = storage(&[("sse", "AES256")]).expect("parses");
        assert_eq!(one.headers(), [("x-amz-server-side-encryption", "AES256".to_owned())]);
        assert!(!one.uses_kms());
    }

    #[test]
    fn a_key_needs_an_encryption_that_uses_it() {
        for others in [&[][..], &[("sse", "AES256")]] {
            let message = storage(&[others, &[("sse.kmsKeyId", "alias/a")]].concat()).expect_err("unused").message;
            assert!(message.contains("`sse.kmsKeyId`") && message.contains("`aws:kms`"), "{message}");
        }
        assert!(storage(&[("sse", "aws:kms:dsse"), ("sse.kmsKeyId", "alias/a")]).expect("parses").uses_kms());
    }

    #[test]
    fn tags_are_what_s3_takes() {
        let eleven: Vec<_> = (0..11).map(|n| format!("t{n}=x")).collect();
        let (long_name, long_value) = ("n".repeat(129), "v".repeat(257));
        for (tags, why) in [
            ("team", "each with a name"),
            ("=x", "names of 1 to 128"),
            (&format!("{long_name}=x"), "names of 1 to 128"),
            (&format!("n={long_value}"), "values of at most 256"),
            ("a=b;c=d", "letters, digits"),
            ("AWS:x=1", "names of your own"),
            ("a=1,a=2", "each name once"),
            (&eleven.join(","), "at most 10"),
        ] {
            let message = storage(&[("tags", tags)]).expect_err(why).message;
            assert!(message.contains("`tags`") && message.contains(why), "{message}");
        }
        let ten = eleven[..10].join(",");
        storage(&[("tags", &ten)]).expect("as many as there may be");
        let longest = format!("{}={}", &long_name[1..], "é".repeat(256));
        storage(&[("tags", &longest)]).expect("as long as it may be");
    }

    #[test]
    fn other_stores_classes_pass_and_typos_do_not() {
        for class in ["STANDARD", "EXPRESS_ONEZONE", "COLDLINE", "IA2"] {
            storage(&[("storageClass", class)]).expect(class);
        }
        for class in ["standard", "STANDARD-IA", "_IA", "A B", "STANDARD\r\nx-amz-acl: public-read"] {
            storage(&[("storageClass", class)]).expect_err(class);
        }
    }

    #[test]
    fn a_source_writes_nothing() {
        let message = SourceConfig::parse(&settings(&[("acl", "private")])).expect_err("unknown").message;
        assert!(message.contains("unknown setting `acl`"), "{message}");
        let config = DestinationConfig::parse(&settings(&[("format", "json"), ("acl", "private")])).expect("parses");
        assert_eq!(config.bucket.storage.acl, Some("private"));
    }
}
