//! Owns the settings of access besides keys: whose keys sign, for which role, or that none do, and who pays. Leaves the keys to
//! `config`, and all that is done with these settings to the host, but for the header of requests.

use super::setting::{Bool, Described, Pattern, Setting, Text};
use super::values::{self, Values};
use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, Settings};
use crate::error::{Error, Result};

/// The profile whose keys sign.
pub const PROFILE: Setting<String> = Setting {
    labels: &[("auth.role", "profile")],
    ..Setting::optional(
        "aws.profile",
        &Text,
        "Profile of `~/.aws/config` and `~/.aws/credentials` whose keys sign, as by the AWS CLI's `--profile`; region and endpoint are \
         found there, too. Where it is not set: `AWS_PROFILE`, otherwise `default`.",
    )
};

/// The role that is assumed.
pub const ROLE_ARN: Setting<String> = Setting {
    labels: &[("auth.role", "role-arn")],
    ..Setting::optional(
        "aws.roleArn",
        &Pattern { check: check_role, patterns: ROLE_PATTERNS },
        "ARN of a role that is assumed with the keys (`sts:AssumeRole`), and whose keys then sign. They are renewed before they end.",
    )
};

/// What the owner of the role asks those who assume it for.
pub const ROLE_EXTERNAL_ID: Setting<String> = Setting {
    secret: true,
    labels: &[("auth.role", "role-external-id")],
    ..Setting::optional(
        "aws.roleExternalId",
        &Pattern { check: check_external_id, patterns: EXTERNAL_ID_PATTERNS },
        "External ID that the owner of the role in `aws.roleArn` wants to see.",
    )
};

/// How the role's sessions are called.
pub const ROLE_SESSION_NAME: Setting<String> = Setting {
    labels: &[("auth.role", "role-session-name")],
    ..Setting::optional(
        "aws.roleSessionName",
        &Pattern { check: check_session_name, patterns: SESSION_NAME_PATTERNS },
        "Name of the sessions of the role in `aws.roleArn`, which AWS's logs show. Where it is not set: `s3-connector`.",
    )
};

/// Whether requests go unsigned.
pub const ANONYMOUS: Setting<bool> = Setting::with_default(
    "aws.anonymous",
    &Bool,
    "false",
    "Whether requests are sent without a signature, as for public buckets. The host then looks for no keys.",
);

/// Whether the requester pays.
pub const REQUESTER_PAYS: Setting<bool> = Setting::with_default(
    "requesterPays",
    &Bool,
    "false",
    "Whether the owner of the keys pays for requests and traffic, which buckets with Requester Pays ask for: every request says so \
     (`x-amz-request-payer`).",
);

/// Settings that hold keys.
const KEYS: [&dyn Described; 3] = [&ACCESS_KEY_ID, &SECRET_ACCESS_KEY, &SESSION_TOKEN];

/// Settings that go with a role.
const OF_ROLE: [&dyn Described; 2] = [&ROLE_EXTERNAL_ID, &ROLE_SESSION_NAME];

/// How a bucket is accessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether requests go unsigned.
    pub anonymous: bool,
    /// Whether the owner of the keys pays.
    pub requester_pays: bool,
}

/// Whether requests go unsigned with these settings, whatever else they hold.
pub fn is_anonymous(settings: &Settings) -> bool {
    let set = values::text(settings, ANONYMOUS.name).map(|text| ANONYMOUS.parse(text.trim()));
    matches!(set, Some(Ok(true)))
}

impl Access {
    /// Reads the settings.
    pub(super) fn of(values: &Values) -> Result<Self> {
        let access = Self { anonymous: values.get(&ANONYMOUS)?, requester_pays: values.get(&REQUESTER_PAYS)? };
        match access.contradiction(values) {
            None => Ok(access),
            Some(message) => Err(Error::invalid(message)),
        }
    }

    /// What is set that makes no sense with something else that is set.
    fn contradiction(self, values: &Values) -> Option<String> {
        let set = |settings: &[&dyn Described]| {
            let set = settings.iter().filter(|setting| values.has(setting.name()));
            let names: Vec<_> = set.map(|setting| format!("`{}`", setting.name())).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let whose: [&dyn Described; 2] = [&PROFILE, &ROLE_ARN];
        if self.anonymous {
            if let Some(names) = set(&[&KEYS[..], &whose, &OF_ROLE].concat()) {
                return Some(format!("setting `aws.anonymous` is true, and nothing is signed then: leave out {names}"));
            }
            if self.requester_pays {
                let message = "setting `requesterPays` is true, and nobody is charged for requests that are not signed: \
                               leave it out, or `aws.anonymous`";
                return Some(message.to_owned());
            }
        }
        if values.has(PROFILE.name)
            && let Some(names) = set(&KEYS)
        {
            return Some(format!("setting `aws.profile` names the keys that sign: leave it out, or {names}"));
        }
        if !values.has(ROLE_ARN.name)
            && let Some(names) = set(&OF_ROLE)
        {
            return Some(format!("there is no role without `aws.roleArn`: set it, or leave out {names}"));
        }
        None
    }
}

/// Regular expressions that a role's ARN matches.
const ROLE_PATTERNS: &[&str] = &["^arn:[a-z0-9-]+:iam::[A-Za-z0-9_$.-]*:role/[!-~]+$", "^.{20,1000}.{0,1000}.{0,48}$"];

/// Checks a role's ARN. Other stores have accounts of other forms, and some have none.
fn check_role(arn: &str) -> Result<(), &'static str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let is_made_of = |text: &str, more: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let is_role = match *parts {
        ["arn", partition, "iam", "", account, role] => {
            !partition.is_empty()
                && is_made_of(partition, b"-")
                && !partition.bytes().any(|b| b.is_ascii_uppercase())
                && is_made_of(account, b"_$.-")
                && role.strip_prefix("role/").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic()))
        }
        _ => false,
    };
    let is_right = is_role && (20..=2048).contains(&arn.len());
    if is_right { Ok(()) } else { Err("the ARN of a role such as arn:aws:iam::123456789012:role/reader") }
}

/// A regular expression that an external ID matches
/// ([as STS has it](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)).
const EXTERNAL_ID_PATTERNS: &[&str] = &["^[A-Za-z0-9_+=,.@:/-]+$", "^.{2,1000}.{0,224}$"];

fn check_external_id(id: &str) -> Result<(), &'static str> {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    let is_right = (2..=1224).contains(&id.len()) && id.bytes().all(is_right);
    if is_right { Ok(()) } else { Err("2 to 1224 letters, digits and signs of _+=,.@:/-") }
}

/// A regular expression that the name of a session matches.
const SESSION_NAME_PATTERNS: &[&str] = &["^[A-Za-z0-9_+=,.@-]{2,64}$"];

fn check_session_name(name: &str) -> Result<(), &'static str> {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    let is_right = (2..=64).contains(&name.len()) && name.bytes().all(is_right);
    if is_right { Ok(()) } else { Err("2 to 64 letters, digits and signs of _+=,.@-") }
}
