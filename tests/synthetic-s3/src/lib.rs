//! An S3 server whose buckets follow from a rule: a million keys cost it no memory, and a page is written in a fraction of
//! the time that it takes to read one.
//!
//! Owns the double that benches run the connector on. Leaves S3's rules and its refusals to the package `embedded-s3`:
//! this server only lists and gets, forgets what it is given, checks no signature, and believes every request. It shares no code with the connector.
//!
//! [`rule`] says what a bucket holds at a moment, `page` writes listings of it, `operation` reads requests, `answer` answers
//! them, `counts` counts them, and `server` has the connections. Under `/_double/` a bench asks for the counts and changes
//! what a bucket holds or how the weather is (`control`, `weather`). [`answer`] answers without a server, for what is measured in the bench's own process.

mod answer;
mod control;
mod counts;
mod operation;
mod page;
pub mod rule;
mod server;
mod weather;

pub use answer::Answer;
pub use rule::{Moment, Rule};
pub use server::Double;
pub use weather::Weather;

/// The answer to a request for a bucket as it is at this moment; its objects have no bytes. `target` is path and query.
pub fn answer(moment: &Moment, method: &str, target: &str, if_match: Option<&str>) -> Answer {
    let head = format!("{method} {target} HTTP/1.1");
    let mut request = operation::Request::read(&head).unwrap_or_default();
    request.if_match = if_match.map(|etag| etag.trim_matches('"').to_owned());
    answer::answer(&request.operation(), moment, &bytes::Bytes::new())
}
