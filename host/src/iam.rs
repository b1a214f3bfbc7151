//! Owns the least IAM policy for a role and its settings: which actions its operations need, and on what. Leaves which
//! operations a role may use to `egress`, and keys to `credentials`.

use s3_connector::config::access_point::AccessPoint;
use s3_connector::config::endpoint::partition;
use s3_connector::config::{BucketConfig, Storage, Writes};
use serde_json::{Value, json};

use crate::check::OBJECT_NAME;
use crate::egress::S3Operation;
use crate::role::Role;

/// The version of IAM's policy language.
const LANGUAGE: &str = "2012-10-17";

/// The policy, in IAM's JSON, that lets a connector in this role work on this bucket and prefix, and do nothing else;
/// with `for_check`, the permissions that only a check uses too. `writes` is what a destination's settings make it do.
///
/// For an access point, the policy of the bucket must besides leave the decision to access points, or allow the same.
///
/// What a destination's settings ask of the store (tags, an ACL, a key of KMS) is in it. Objects that are encrypted with a key
/// that only the bucket names need permissions on that key besides: `kms:Decrypt` to read them, `kms:GenerateDataKey` to
/// write them.
///
/// ```
/// use s3_connector::config::{BucketConfig, Writes};
/// use s3_connector_host::{Role, iam};
///
/// let settings = [("aws.bucket", "photos"), ("aws.region", "eu-west-1"), ("prefix", "2026/")];
/// let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
/// let bucket = BucketConfig::parse(&settings)?;
/// let policy = iam::policy(Role::Destination, &bucket, Writes::Batches, false);
/// assert!(policy.contains("arn:aws:s3:::photos/2026/*"));
/// # Ok::<(), s3_connector::error::Error>(())
/// ```
#[must_use]
pub fn policy(role: Role, bucket: &BucketConfig, writes: Writes, for_check: bool) -> String {
    format!("{:#}", document(role, bucket, writes, for_check))
}

fn document(role: Role, bucket: &BucketConfig, writes: Writes, for_check: bool) -> Value {
    let (bucket_arn, objects_arn) = match AccessPoint::of(&bucket.bucket) {
        None => {
            let arn = format!("arn:{}:s3:::{}", partition(&bucket.region).name, bucket.bucket);
            (arn.clone(), arn)
        }
        // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-policies.html>
        Some(AccessPoint { partition, region, account, name }) => {
            let arn = format!("arn:{partition}:s3:{region}:{account}:accesspoint/{name}");
            (arn.clone(), format!("{arn}/object"))
        }
    };
    let prefix = escape(&bucket.prefix);
    let mut statements = Vec::new();
    for (scope, sid) in [
        (Scope::Prefix, "List"),
        (Scope::Bucket, "LookAtBucket"),
        (Scope::Objects, "UseObjects"),
        (Scope::CheckObject, "RemoveWhatTheCheckStored"),
    ] {
        let mut actions = actions(role, scope, writes, for_check);
        if scope == Scope::Objects && role == Role::Destination {
            actions.extend(actions_of_storage(&bucket.storage));
        }
        if actions.is_empty() {
            continue;
        }
        let resource = match scope {
            Scope::Prefix | Scope::Bucket => bucket_arn.clone(),
            Scope::Objects => format!("{objects_arn}/{prefix}*"),
            Scope::CheckObject => format!("{objects_arn}/{prefix}{OBJECT_NAME}"),
        };
        let mut statement = json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource });
        if scope == Scope::Prefix && !prefix.is_empty() {
            statement["Condition"] = json!({ "StringLike": { "s3:prefix": format!("{prefix}*") } });
        }
        statements.push(statement);
    }
    if role == Role::Destination {
        statements.extend(use_of_key(bucket));
    }
    json!({ "Version": LANGUAGE, "Statement": statements })
}

/// What a write needs besides for how the store is to keep an object.
pub(crate) fn actions_of_storage(storage: &Storage) -> impl Iterator<Item = &'static str> + use<> {
    let (tags, acl) = (storage.tags.as_ref(), storage.acl);
    tags.map(|_| "s3:PutObjectTagging").into_iter().chain(acl.map(|_| "s3:PutObjectAcl"))
}

/// The statement about a key of KMS that settings name; without a name it is the account's own for S3, which may be used
/// by all who may write. Parts of an upload are decrypted to be put together
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>).
fn use_of_key(bucket: &BucketConfig) -> Option<Value> {
    let key = bucket.storage.kms_key_id.as_deref()?;
    let (partition, region) = (partition(&bucket.region).name, &bucket.region);
    // The account that owns it is not known here.
    let keys = format!("arn:{partition}:kms:{region}:*:key/");
    let name = key.rsplit_once(':').map_or(key, |(_, name)| name);
    let is_alias = name.starts_with("alias/");
    let resource = match key {
        _ if is_alias => format!("{keys}*"),
        key if key.starts_with("arn:") => key.to_owned(),
        id => format!("{keys}{id}"),
    };
    let mut statement = json!({
        "Sid": "UseKey",
        "Effect": "Allow",
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": resource,
    });
    // A policy can't name a key by its alias otherwise.
    if is_alias {
        statement["Condition"] = json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": name } });
    }
    Some(statement)
}

/// What an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The bucket, as far as requests name the prefix.
    Prefix,
    /// The bucket.
    Bucket,
    /// The objects below the prefix.
    Objects,
    /// The one object that a check stores.
    CheckObject,
}

/// The actions of a role within a scope, in the order of their operations.
fn actions(role: Role, scope: Scope, writes: Writes, for_check: bool) -> Vec<&'static str> {
    let mut found = Vec::new();
    for operation in S3Operation::ALL {
        // What only a check does, the host does for it.
        let is_permitted = operation.is_permitted(role, writes);
        for need in needs(operation) {
            let is_permitted = need.only_checks || is_permitted;
            let is_used = need.role.is_none_or(|of| of == role) && (for_check || !need.only_checks) && is_permitted;
            if is_used && need.scope == scope && !found.contains(&need.action) {
                found.push(need.action);
            }
        }
    }
    found
}

/// That an operation needs an action.
struct Need {
    action: &'static str,
    scope: Scope,
    /// The role that needs it; `None` where both do.
    role: Option<Role>,
    only_checks: bool,
}

const fn need(action: &'static str, scope: Scope, role: Option<Role>) -> Need {
    Need { action, scope, role, only_checks: false }
}

/// The actions of an operation
/// ([as S3 documents them](https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html)).
///
/// A HeadBucket names no prefix, so that the condition on `s3:ListBucket` refuses it: then a listing answers instead.
const fn needs(operation: S3Operation) -> &'static [Need] {
    const SOURCE: Option<Role> = Some(Role::Source);
    const DESTINATION: Option<Role> = Some(Role::Destination);
    match operation {
        S3Operation::HeadBucket | S3Operation::ListObjectsV2 => const { &[need("s3:ListBucket", Scope::Prefix, None)] },
        S3Operation::ListObjectVersions => const { &[need("s3:ListBucketVersions", Scope::Prefix, SOURCE)] },
        S3Operation::GetBucketVersioning => {
            const { &[Need { only_checks: true, ..need("s3:GetBucketVersioning", Scope::Bucket, SOURCE) }] }
        }
        S3Operation::GetObject => {
            const { &[need("s3:GetObject", Scope::Objects, None), need("s3:GetObjectVersion", Scope::Objects, SOURCE)] }
        }
        S3Operation::HeadObject => const { &[need("s3:GetObject", Scope::Objects, None)] },
        S3Operation::PutObject
        | S3Operation::CreateMultipartUpload
        | S3Operation::UploadPart
        | S3Operation::CompleteMultipartUpload => const { &[need("s3:PutObject", Scope::Objects, DESTINATION)] },
        S3Operation::AbortMultipartUpload => const { &[need("s3:AbortMultipartUpload", Scope::Objects, DESTINATION)] },
        S3Operation::DeleteObject => {
            const {
                &[
                    need("s3:DeleteObject", Scope::Objects, DESTINATION),
                    Need { only_checks: true, ..need("s3:DeleteObject", Scope::CheckObject, DESTINATION) },
                    Need { only_checks: true, ..need("s3:DeleteObjectVersion", Scope::CheckObject, DESTINATION) },
                ]
            }
        }
    }
}

/// A text in which nothing stands for anything else: `*`, `?` and `$` as
/// [IAM escapes them](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '*' | '?' | '$' => escaped.extend(["${", letter.encode_utf8(&mut [0; 4]), "}"]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(region: &str, prefix: &str) -> BucketConfig {
        let settings = [("aws.bucket", "photos"), ("aws.region", region), ("prefix", prefix)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        BucketConfig::parse(&settings).unwrap()
    }

    #[test]
    fn a_prefix_bounds_listings_and_objects() {
        let found = document(Role::Source, &bucket("eu-west-1", "in/"), Writes::Batches, false);
        assert_eq!(
            found,
            json!({ "Version": "2012-10-17", "Statement": [
                {
                    "Sid": "List",
                    "Effect": "Allow",
                    "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                    "Resource": "arn:aws:s3:::photos",
                    "Condition": { "StringLike": { "s3:prefix": "in/*" } },
                },
                {
                    "Sid": "UseObjects",
                    "Effect": "Allow",
                    "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                    "Resource": "arn:aws:s3:::photos/in/*",
                },
            ] })
        );
    }

    #[test]
    fn objects_of_an_access_point_have_its_arn() {
        let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reader";
        let settings = [("aws.bucket", arn), ("aws.region", "eu-west-1"), ("prefix", "in/")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let bucket = BucketConfig::parse(&settings).unwrap();
        let found = document(Role::Source, &bucket, Writes::Batches, false);
        assert_eq!(found["Statement"][0]["Resource"], arn);
        assert_eq!(found["Statement"][1]["Resource"], format!("{arn}/object/in/*"));
    }

    #[test]
    fn a_destination_deletes_nothing_but_what_a_check_stored() {
        let found = policy(Role::Destination, &bucket("eu-west-1", ""), Writes::Batches, false);
        assert!(found.contains("s3:PutObject") && !found.contains("Delete") && !found.contains("Condition"), "{found}");
        let found = document(Role::Destination, &bucket("eu-west-1", "out/"), Writes::Batches, true);
        let removal = &found["Statement"][2];
        assert_eq!(removal["Action"], json!(["s3:DeleteObject", "s3:DeleteObjectVersion"]));
        assert_eq!(removal["Resource"], "arn:aws:s3:::photos/out/_s3-connector-check");
    }

    #[test]
    fn a_destination_of_objects_writes_over_them_and_deletes_them_only_if_asked_to() {
        let of = |deletes, for_check| {
            document(Role::Destination, &bucket("eu-west-1", "out/"), Writes::Objects { deletes }, for_check)
        };
        assert_eq!(of(false, false)["Statement"][1]["Action"], json!(["s3:PutObject", "s3:AbortMultipartUpload"]));
        let found = of(true, true);
        assert_eq!(
            found["Statement"][1]["Action"],
            json!(["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"])
        );
        assert_eq!(found["Statement"][1]["Resource"], "arn:aws:s3:::photos/out/*");
        assert_eq!(found["Statement"][2]["Resource"], "arn:aws:s3:::photos/out/_s3-connector-check");
    }

    #[test]
    fn what_settings_ask_of_the_store_is_allowed_and_nothing_else() {
        let of = |role, pairs: &[(&str, &str)]| {
            let base = [("aws.bucket", "photos"), ("aws.region", "eu-west-1"), ("prefix", "out/")];
            let settings = base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            document(role, &BucketConfig::parse(&settings).unwrap(), Writes::Batches, false)
        };
        let plain = of(Role::Destination, &[]);
        assert_eq!(of(Role::Destination, &[("storageClass", "GLACIER_IR"), ("sse", "AES256")]), plain);
        assert_eq!(of(Role::Destination, &[("sse", "aws:kms")]), plain, "the account's own key");
        let all = of(Role::Destination, &[("tags", "a=b"), ("acl", "bucket-owner-full-control")]);
        let actions =
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectTagging", "s3:PutObjectAcl"];
        assert_eq!(all["Statement"][1]["Action"], json!(actions));
        for (key, resource, alias) in [
            ("0a-1b", "arn:aws:kms:eu-west-1:*:key/0a-1b", None),
            ("arn:aws:kms:eu-west-1:1:key/0a", "arn:aws:kms:eu-west-1:1:key/0a", None),
            ("alias/lake", "arn:aws:kms:eu-west-1:*:key/*", Some("alias/lake")),
            ("arn:aws:kms:eu-west-1:1:alias/lake", "arn:aws:kms:eu-west-1:*:key/*", Some("alias/lake")),
        ] {
            let found = of(Role::Destination, &[("sse", "aws:kms"), ("sse.kmsKeyId", key)]);
            let statement = &found["Statement"][2];
            assert_eq!(statement["Action"], json!(["kms:GenerateDataKey", "kms:Decrypt"]));
            assert_eq!(statement["Resource"], resource);
            let condition = &statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"];
            assert_eq!(condition.as_str(), alias, "{key}");
        }
    }

    #[test]
    fn arns_are_of_the_regions_partition() {
        for (region, arn) in [
            ("us-east-1", "arn:aws:s3:::photos"),
            ("cn-north-1", "arn:aws-cn:s3:::photos"),
            ("us-gov-west-1", "arn:aws-us-gov:s3:::photos"),
            ("eusc-de-east-1", "arn:aws-eusc:s3:::photos"),
        ] {
            assert_eq!(
                document(Role::Source, &bucket(region, ""), Writes::Batches, false)["Statement"][0]["Resource"],
                arn
            );
        }
    }

    #[test]
    fn a_prefix_is_never_a_pattern() {
        let found = document(Role::Source, &bucket("us-east-1", "a*b?${c}"), Writes::Batches, false);
        let expected = "a${*}b${?}${$}{c}*";
        assert_eq!(found["Statement"][0]["Condition"]["StringLike"]["s3:prefix"], expected);
        assert_eq!(found["Statement"][1]["Resource"], format!("arn:aws:s3:::photos/{expected}"));
    }
}
