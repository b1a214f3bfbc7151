//! Owns the reasons for which a request may not leave, in words for the user. Leaves the decision to `policy` and
//! `operation`.

/// A key has at most 1,024 bytes, 3,072 once escaped; a listing can carry three of them (prefix, start, token).
pub(super) const URI_BYTES_MAX: usize = 16 * 1024;

/// Why a request was denied. Names what is at fault, never a value that the guest sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Denial {
    #[error("the request goes to another scheme or address than the endpoint")]
    Address,
    #[error("the request names another bucket, or no bucket")]
    Bucket,
    #[error("the request's path can't be read without doubt")]
    Path,
    #[error("the request's query can't be read without doubt")]
    Query,
    #[error("the request's address is too long; bytes=`{bytes}`, bytes_max=`{URI_BYTES_MAX}`")]
    Length { bytes: usize },
    #[error("a query parameter is there twice; name=`{name}`")]
    Duplicate { name: String },
    #[error("no operation of a connector; method=`{method}`, resource=`{resource}`")]
    Operation { method: String, resource: &'static str },
    #[error("this side of a pipeline may not do this; operation=`{operation}`")]
    Role { operation: &'static str },
    #[error("the query parameter is not permitted; operation=`{operation}`, name=`{name}`")]
    Parameter { operation: &'static str, name: String },
    #[error("the query parameter's value is not permitted; operation=`{operation}`, name=`{name}`")]
    ParameterValue { operation: &'static str, name: String },
    #[error("the key or listing is outside the configured prefix; operation=`{operation}`")]
    Prefix { operation: &'static str },
    #[error("the header is not a guest's to set; name=`{name}`")]
    Header { name: String },
    #[error("the header is there twice; name=`{name}`")]
    HeaderTwice { name: String },
    #[error(
        "the header's value must be printable ASCII, without blanks at its ends and without two in a row; \
         name=`{name}`"
    )]
    HeaderValue { name: String },
    #[error("a write must carry `if-none-match: *`, unless the store has refused that; operation=`{operation}`")]
    Condition { operation: &'static str },
    #[error(
        "a write must carry the header that the settings ask for, with their value; operation=`{operation}`, name=`{name}`"
    )]
    Storage { operation: &'static str, name: &'static str },
    #[error("a request that reads has no body; operation=`{operation}`")]
    Body { operation: &'static str },
    #[error("too many or too large headers; count=`{count}`, bytes=`{bytes}`")]
    HeadersSize { count: usize, bytes: usize },
}

/// A name a guest made up, cut and cleaned so that it can stand in a log line.
pub(crate) fn printable(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
