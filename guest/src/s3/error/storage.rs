//! Owns what to do about a write that was refused for how the store was asked to keep the object. Leaves all else that an
//! error means to its parent.

use crate::config::Storage;

/// Codes about one setting, which all of S3's stores share, and what to do.
const ABOUT_ONE: [(&str, &str); 6] = [
    (
        "AccessControlListNotSupported",
        "the bucket takes no ACLs: leave out `acl`, or let the bucket's Object Ownership permit them",
    ),
    ("InvalidStorageClass", "set `storageClass` to one that the store has, or leave it out"),
    ("InvalidEncryptionAlgorithmError", "set `sse` to one that the store has, or leave it out"),
    ("InvalidTag", "look at `tags`"),
    ("KMSKeyNotFound", KEY),
    ("XMinioKMSKeyNotFoundException", KEY),
];

const KEY: &str = "look at `sse.kmsKeyId`: the key has to be there, in the bucket's region, enabled, and symmetric";

/// Codes of stores that don't know a header, or not its value.
const ABOUT_ANY: [&str; 8] = [
    "InvalidArgument",
    "InvalidHeader",
    "InvalidRequest",
    "MalformedACLError",
    "NotImplemented",
    "NotSupported",
    "UnsupportedHeader",
    "XNotImplemented",
];

/// What to do about a refusal, as far as it has to do with how the object was to be kept.
pub(super) fn advice(operation: &str, code: &str, message: &str, storage: &Storage) -> Option<String> {
    if !matches!(operation, "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload") {
        return None;
    }
    if code == "MissingSecurityHeader" {
        let advice = "the store wants a header that is only sent where a setting asks for it: look at `sse`, `storageClass` and `acl`";
        return Some(advice.to_owned());
    }
    let set = storage.settings();
    if set.is_empty() {
        return None;
    }
    if code.starts_with("KMS.") && storage.uses_kms() {
        return Some(KEY.to_owned());
    }
    if let Some((_, advice)) = ABOUT_ONE.iter().find(|(known, _)| *known == code) {
        return Some((*advice).to_owned());
    }
    if code == "AccessDenied" {
        return denied(message, storage);
    }
    let named = set.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    ABOUT_ANY.contains(&code).then(|| format!("it may be for a header that settings ask for: try without {named}"))
}

/// What permissions a write needs for what was asked of it.
fn denied(message: &str, storage: &Storage) -> Option<String> {
    let mut needs = Vec::new();
    if storage.tags.is_some() {
        needs.push("s3:PutObjectTagging for `tags`");
    }
    if storage.acl.is_some() {
        needs.push("s3:PutObjectAcl for `acl`");
    }
    if storage.uses_kms() || message.contains("kms:") {
        needs.push("kms:GenerateDataKey and kms:Decrypt on the key for `sse`");
    }
    if needs.is_empty() { None } else { Some(format!("besides s3:PutObject, it needs {}", needs.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BucketConfig;

    fn told(pairs: &[(&str, &str)], operation: &str, code: &str) -> Option<String> {
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x")];
        let settings = base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let bucket = BucketConfig::parse(&settings).expect("good settings");
        advice(operation, code, "", &bucket.storage)
    }

    #[test]
    fn a_refusal_names_the_setting_that_it_is_for() {
        let kms: &[_] = &[("sse", "aws:kms"), ("sse.kmsKeyId", "alias/a")];
        for (settings, code, named) in [
            (&[("acl", "private")][..], "AccessControlListNotSupported", "`acl`"),
            (&[("storageClass", "COLD")], "InvalidStorageClass", "`storageClass`"),
            (&[("tags", "a=b")], "InvalidTag", "`tags`"),
            (kms, "KMS.NotFoundException", "`sse.kmsKeyId`"),
            (kms, "KMS.DisabledException", "`sse.kmsKeyId`"),
            (kms, "AccessDenied", "kms:GenerateDataKey"),
            (&[("tags", "a=b"), ("acl", "private")], "AccessDenied", "s3:PutObjectTagging for `tags`, s3:PutObjectAcl"),
            (&[("tags", "a=b"), ("sse", "AES256")], "NotImplemented", "`sse`, `tags`"),
            (&[], "MissingSecurityHeader", "`sse`"),
        ] {
            for operation in ["PutObject", "CreateMultipartUpload"] {
                let advice = told(settings, operation, code).expect(code);
                assert!(advice.contains(named), "{code}: {advice}");
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_is_no_reason() {
        for code in ["AccessDenied", "NotImplemented", "InvalidStorageClass", "KMS.NotFoundException"] {
            assert_eq!(told(&[], "PutObject", code), None);
        }
        assert_eq!(told(&[("sse", "AES256")], "PutObject", "AccessDenied"), None);
        let all = [("acl", "private"), ("tags", "a=b")];
        for (operation, code) in
            [("GetObject", "AccessDenied"), ("HeadBucket", "InvalidArgument"), ("PutObject", "NoSuchBucket")]
        {
            assert_eq!(told(&all, operation, code), None);
        }
    }
}
