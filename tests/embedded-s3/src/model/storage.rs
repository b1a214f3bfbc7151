//! Owns how a request wants an object to be kept: class, encryption, tags and access, and what S3 refuses of them. Leaves
//! reading requests to `api`, and keeps no keys: nothing is encrypted.

use s3s::dto;

use super::options::Options;
use super::refusal::Refusal;

/// The classes that a bucket of S3 has
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html#AmazonS3-PutObject-request-header-StorageClass>).
const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];

/// The ACL that says what is so in any case, where the bucket's owner owns its objects
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>).
const OWNERS: &str = "bucket-owner-full-control";

/// How many tags an object has at most.
const TAGS_MAX: usize = 10;

/// How an object is kept, as far as its writer has said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// `x-amz-storage-class`.
    pub class: Option<String>,
    /// `x-amz-server-side-encryption`.
    pub encryption: Option<String>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`.
    pub kms_key_id: Option<String>,
    /// `x-amz-tagging`, decoded.
    pub tags: Vec<(String, String)>,
    /// `x-amz-acl`.
    pub acl: Option<String>,
}

/// What a request says of it.
pub(crate) struct Asked {
    pub(crate) class: Option<dto::StorageClass>,
    pub(crate) encryption: Option<dto::ServerSideEncryption>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) tagging: Option<String>,
    pub(crate) acl: Option<dto::ObjectCannedACL>,
}

impl Asked {
    /// Takes over what S3 takes.
    pub(crate) fn read(self, options: &Options) -> Result<Storage, Refusal> {
        let class = self.class.map(|class| class.as_str().to_owned());
        if class.as_ref().is_some_and(|class| !CLASSES.contains(&class.as_str())) {
            return Err(Refusal::new(400, "InvalidStorageClass", "The storage class you specified is not valid"));
        }
        let encryption = self.encryption.map(|encryption| encryption.as_str().to_owned());
        let is_kms = matches!(encryption.as_deref(), Some("aws:kms" | "aws:kms:dsse"));
        if !is_kms && encryption.as_ref().is_some_and(|encryption| encryption != "AES256") {
            let message = "The encryption method specified is not supported";
            return Err(Refusal::new(400, "InvalidEncryptionAlgorithmError", message));
        }
        if self.kms_key_id.is_some() && !is_kms {
            let message = "Server Side Encryption with AWS KMS managed key requires HTTP header \
                           x-amz-server-side-encryption : aws:kms";
            return Err(Refusal::invalid_argument(message));
        }
        let acl = self.acl.map(|acl| acl.as_str().to_owned());
        if !options.acls && acl.as_ref().is_some_and(|acl| acl != OWNERS) {
            return Err(Refusal::new(400, "AccessControlListNotSupported", "The bucket does not allow ACLs"));
        }
        let tags = self.tagging.as_deref().map_or_else(|| Ok(Vec::new()), read_tags)?;
        Ok(Storage { class, encryption, kms_key_id: self.kms_key_id, tags, acl })
    }
}

impl Storage {
    /// Whether entity tags are no hashes of the bytes
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub(crate) fn hides_hash(&self) -> bool {
        self.encryption.as_ref().is_some_and(|encryption| encryption != "AES256")
    }

    /// What GET and HEAD say of the class: nothing of the usual one.
    pub(crate) fn shown_class(&self) -> Option<dto::StorageClass> {
        self.class.clone().filter(|class| class != "STANDARD").map(dto::StorageClass::from)
    }

    pub(crate) fn shown_encryption(&self) -> Option<dto::ServerSideEncryption> {
        self.encryption.clone().map(dto::ServerSideEncryption::from)
    }

    /// The class that listings have.
    pub(crate) fn listed_class(&self) -> &str {
        self.class.as_deref().unwrap_or("STANDARD")
    }
}

/// Reads tags, which are written as a query.
fn read_tags(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let invalid = |message: &'static str| Refusal::new(400, "InvalidTag", message);
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().map(|text| text.into_owned()).ok()
    };
    let mut tags: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let tag = decode(name).zip(decode(value));
        let (name, value) =
            tag.ok_or_else(|| Refusal::invalid_argument("The header 'x-amz-tagging' shall be encoded"))?;
        if name.is_empty() || name.chars().count() > 128 || name.starts_with("aws:") {
            return Err(invalid("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(invalid("The TagValue you have provided is invalid"));
        }
        if tags.iter().any(|(known, _)| *known == name) {
            return Err(invalid("Cannot provide multiple Tags with the same key"));
        }
        tags.push((name, value));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::new(400, "BadRequest", "Object tags cannot be greater than 10"));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { class: None, encryption: None, kms_key_id: None, tagging: None, acl: None }
    }

    #[test]
    fn what_s3_refuses_is_refused_by_its_code() {
        let class = |class: &str| Asked { class: Some(class.to_owned().into()), ..asked() };
        let acl = |acl: &str| Asked { acl: Some(acl.to_owned().into()), ..asked() };
        let tagging = |text: &str| Asked { tagging: Some(text.to_owned()), ..asked() };
        let eleven: Vec<_> = (0..11).map(|n| format!("t{n}=")).collect();
        for (asked, code) in [
            (class("COLD"), "InvalidStorageClass"),
            (Asked { encryption: Some("rot13".to_owned().into()), ..asked() }, "InvalidEncryptionAlgorithmError"),
            (Asked { kms_key_id: Some("k".to_owned()), ..asked() }, "InvalidArgument"),
            (acl("public-read"), "AccessControlListNotSupported"),
            (tagging("=x"), "InvalidTag"),
            (tagging("a=1&a=2"), "InvalidTag"),
            (tagging("a=%ff"), "InvalidArgument"),
            (tagging(&eleven.join("&")), "BadRequest"),
        ] {
            assert_eq!(asked.read(&Options::default()).unwrap_err().code, code);
        }
    }

    #[test]
    fn what_it_takes_is_kept_as_it_was_meant() {
        let asked = Asked {
            class: Some("GLACIER_IR".to_owned().into()),
            encryption: Some("aws:kms".to_owned().into()),
            kms_key_id: Some("alias/a".to_owned()),
            tagging: Some("a%2Bb=c%20d&e=f+g&h".to_owned()),
            acl: Some(OWNERS.to_owned().into()),
        };
        let found = asked.read(&Options::default()).unwrap();
        let tags = [("a+b", "c d"), ("e", "f g"), ("h", "")];
        assert_eq!(found.tags, tags.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(found.hides_hash());
        assert_eq!(found.listed_class(), "GLACIER_IR");
    }
}
