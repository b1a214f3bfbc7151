//! Owns the settings of access besides keys: requests without signatures, and who pays for them. Leaves the keys to `config`, and
//! all that is done with these settings to the host, but for the header of requests.

use super::setting::{Bool, Described, Setting};
use super::values::Values;
use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, Settings};
use crate::error::{Error, Result};

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

/// Settings that say whose keys sign.
const OF_KEYS: [&dyn Described; 3] = [&ACCESS_KEY_ID, &SECRET_ACCESS_KEY, &SESSION_TOKEN];

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
    let set = settings.get(ANONYMOUS.name).map(|text| ANONYMOUS.parse(text.trim()));
    matches!(set, Some(Ok(true)))
}

impl Access {
    /// Reads the settings.
    pub(super) fn of(values: &Values) -> Result<Self> {
        let access = Self { anonymous: values.get(&ANONYMOUS)?, requester_pays: values.get(&REQUESTER_PAYS)? };
        if access.anonymous {
            let of_keys: Vec<_> =
                OF_KEYS.iter().map(|setting| setting.name()).filter(|name| values.has(name)).collect();
            if !of_keys.is_empty() {
                let message = format!(
                    "setting `aws.anonymous` is true, and nothing is signed then: leave out {}",
                    listed(&of_keys)
                );
                return Err(Error::invalid(message));
            }
            if access.requester_pays {
                let message = "setting `requesterPays` is true, and nobody is charged for requests that are not signed: \
                               leave it out, or `aws.anonymous`";
                return Err(Error::invalid(message));
            }
        }
        Ok(access)
    }
}

/// Names of settings, for a sentence.
fn listed(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
