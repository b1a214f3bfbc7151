//! Owns what goes wrong, for which requests, and how often. Leaves acting on it to the wire.
//!
//! A rule is exact (skip `n` matches, fire `n` times) or fires with a seeded probability, so that a run can be
//! repeated.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::filter::Filter;
use super::operation::S3Operation;
use crate::model::refusal::Refusal;

/// When a connection is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The request changes nothing; its body may not even be read.
    BeforeAct,
    /// The request takes effect first, which the client cannot know.
    AfterAct,
}

/// Something that goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The answer comes so much later; further rules still apply.
    Latency(Duration),
    /// The connection is closed without an answer.
    Reset(Reset),
    /// The connection is closed after this many bytes of the answer's body.
    Truncate {
        /// How many bytes are sent.
        body_bytes: u64,
    },
    /// The answer's body ends early, but is whole by its `Content-Length`: a document cut short.
    Cut {
        /// How many bytes are sent.
        body_bytes: usize,
    },
    /// Another document with status 200.
    Document(Bytes),
    /// An answer of somebody else: a proxy, a portal, another object.
    Foreign(Foreign),
    /// The first half of the body as an answer to a range that nobody asked for.
    Partial,
    /// The answer with this header in place of its own, or with none of that name where it is empty.
    Header(&'static str, Bytes),
    /// The answer's document with this text in every element of that name.
    Element(&'static str, &'static str),
    /// An error instead of the answer.
    Answer {
        /// The status and what the document says.
        refusal: Refusal,
        /// The `Retry-After` header in seconds.
        retry_after_secs: Option<u64>,
    },
    /// Status 200 with an error document, as S3 does once it has begun to answer.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
    ErrorInOk(Refusal),
}

/// An answer that is not the store's.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The status.
    pub status: u16,
    /// Headers besides the length.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Bytes,
}

impl Fault {
    /// An answer that is not the store's.
    pub fn foreign(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Self {
        Self::Foreign(Foreign { status, headers: headers.to_vec(), body: body.into() })
    }

    /// A proxy's own page in plain text: 404 where it knows no way to the store.
    pub fn proxy_page(status: u16) -> Self {
        let body = format!("{status} page not found\n");
        Self::foreign(status, &[("content-type", "text/plain; charset=utf-8")], body)
    }

    /// A proxy's own page in HTML.
    pub fn html_page(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><hr>nginx</body></html>");
        Self::foreign(status, &[("content-type", "text/html")], body)
    }

    /// 200 with no bytes.
    pub fn empty() -> Self {
        Self::foreign(200, &[], Bytes::new())
    }

    /// 200 with the page on which a network asks its guests to sign in.
    pub fn sign_in_page() -> Self {
        Self::html_page(200)
    }

    /// 200 with the bytes, the ETag and the time of another object.
    pub fn another_object(body: &'static str) -> Self {
        let headers =
            [("etag", "\"00000000000000000000000000000000\""), ("last-modified", "Mon, 12 Oct 2009 17:50:30 GMT")];
        Self::foreign(200, &headers, body)
    }

    /// 400 for an object that is encrypted with a key of its owner's (SSE-C).
    pub fn customer_key() -> Self {
        let message = "The object was stored using a form of Server Side Encryption. The correct parameters must \
                       be provided to retrieve the object.";
        Self::answer(400, "InvalidRequest", message)
    }

    /// 403 for an object whose key of KMS is not for these credentials.
    pub fn foreign_kms_key() -> Self {
        let message = "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on the resource \
                       associated with this ciphertext";
        Self::answer(403, "AccessDenied", message)
    }

    /// 403 for an archived object.
    pub fn archived() -> Self {
        let message = "The operation is not valid for the object's storage class";
        Self::answer(403, "InvalidObjectState", message)
    }

    /// 412 for a condition that does not hold.
    pub fn precondition_failed() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold";
        Self::answer(412, "PreconditionFailed", message)
    }

    /// An error answer of any kind.
    pub fn answer(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Answer { refusal: Refusal::new(status, code, message), retry_after_secs: None }
    }

    /// 500 InternalError.
    pub fn internal_error() -> Self {
        Self::answer(500, "InternalError", "We encountered an internal error. Please try again.")
    }

    /// 503 SlowDown.
    pub fn slow_down(retry_after_secs: Option<u64>) -> Self {
        let refusal = Refusal::new(503, "SlowDown", "Please reduce your request rate.");
        Self::Answer { refusal, retry_after_secs }
    }

    /// 429 TooManyRequests, which some stores answer in place of SlowDown.
    pub fn too_many_requests(retry_after_secs: Option<u64>) -> Self {
        let refusal = Refusal::new(429, "TooManyRequests", "Please reduce your request rate.");
        Self::Answer { refusal, retry_after_secs }
    }

    /// 403 AccessDenied.
    pub fn access_denied() -> Self {
        Self::answer(403, "AccessDenied", "Access Denied")
    }

    /// 409 ConditionalRequestConflict, for conditional writes that meet another one.
    pub fn conflict() -> Self {
        let message = "The conditional request cannot succeed due to a conflicting operation \
                       against this resource.";
        Self::answer(409, "ConditionalRequestConflict", message)
    }

    /// Status 200 with this error in the document.
    pub fn error_in_ok(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::ErrorInOk(Refusal::new(200, code, message))
    }

    /// Status 200 with bytes that are no XML.
    pub fn garbage() -> Self {
        Self::Document(Bytes::from_static(b"\x00<<not & xml>"))
    }
}

/// A fault, the requests it is for, and how often it fires; by default every time.
#[derive(Clone, Debug)]
pub struct Rule {
    filter: Filter,
    fault: Fault,
    skips: u64,
    times: Option<u64>,
    probability: Option<(f64, u64)>,
    acts: bool,
    matched: u64,
    fired: u64,
}

impl Rule {
    /// Lets `fault` happen to the requests that match.
    pub fn new(filter: impl Into<Filter>, fault: Fault) -> Self {
        Self {
            filter: filter.into(),
            fault,
            skips: 0,
            times: None,
            probability: None,
            acts: false,
            matched: 0,
            fired: 0,
        }
    }

    /// Lets the first `count` matching requests pass.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skips = count;
        self
    }

    /// Fires at most this many times.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Fires with this probability, decided by the seed and the count of matches.
    #[must_use]
    pub fn with_probability(mut self, probability: f64, seed: u64) -> Self {
        self.probability = Some((probability, seed));
        self
    }

    /// Lets the request take effect before it is answered by [`Fault::Answer`] or
    /// [`Fault::ErrorInOk`].
    #[must_use]
    pub fn acting(mut self) -> Self {
        self.acts = true;
        self
    }

    fn fires(&mut self, operation: S3Operation, subject: &str) -> bool {
        if !self.filter.matches(operation, subject) {
            return false;
        }
        let at = self.matched;
        self.matched += 1;
        let fires = at >= self.skips
            && self.times.is_none_or(|times| self.fired < times)
            && self.probability.is_none_or(|(probability, seed)| unit(seed, at) < probability);
        self.fired += u64::from(fires);
        fires
    }
}

/// A number in [0, 1) that depends on seed and position alone (splitmix64).
fn unit(seed: u64, at: u64) -> f64 {
    let mut word = seed.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// Names a rule, to remove it or to ask how often it fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// What is to happen to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) latency: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) acts: bool,
}

#[derive(Debug, Default)]
struct RuleBook {
    latency: Duration,
    rules: Vec<(RuleId, Rule)>,
    added: u64,
}

/// The rules of a server. A clone is a handle on the same rules.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    state: Arc<Mutex<RuleBook>>,
}

impl Faults {
    pub(crate) fn new(latency: Duration) -> Self {
        let faults = Self::default();
        faults.set_latency(latency);
        faults
    }

    /// Sets how long every answer takes at least. A request takes effect before that time passes.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Adds a rule after those there are. The first that fires decides.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.lock();
        state.added += 1;
        let id = RuleId(state.added);
        state.rules.push((id, rule));
        id
    }

    /// Removes a rule, if it is still there.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|(other, _)| *other != id);
    }

    /// Removes all rules; the latency stays.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Tells how often a rule has fired; zero once it is removed.
    pub fn fired(&self, id: RuleId) -> u64 {
        let state = self.lock();
        state.rules.iter().find(|(other, _)| *other == id).map_or(0, |(_, rule)| rule.fired)
    }

    pub(crate) fn judge(&self, operation: S3Operation, subject: &str) -> Verdict {
        let mut state = self.lock();
        let mut verdict = Verdict { latency: state.latency, ..Verdict::default() };
        for (_, rule) in &mut state.rules {
            if !rule.fires(operation, subject) {
                continue;
            }
            if let Fault::Latency(latency) = rule.fault {
                verdict.latency += latency;
                continue;
            }
            verdict.fault = Some(rule.fault.clone());
            verdict.acts = rule.acts;
            break;
        }
        verdict
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RuleBook> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firings(faults: &Faults, count: usize) -> Vec<bool> {
        let judged = (0..count).map(|_| faults.judge(S3Operation::GetObject, "a/k"));
        judged.map(|verdict| verdict.fault.is_some()).collect()
    }

    #[test]
    fn rule_fires_after_its_skips_and_so_many_times() {
        let faults = Faults::default();
        let id = faults.add(Rule::new(Filter::any(), Fault::internal_error()).skip(1).times(2));
        assert_eq!(firings(&faults, 5), [false, true, true, false, false]);
        assert_eq!(faults.fired(id), 2);
    }

    #[test]
    fn random_faults_are_repeated_by_their_seed() {
        let run = |seed| {
            let faults = Faults::default();
            faults.add(Rule::new(Filter::any(), Fault::internal_error()).with_probability(0.3, seed));
            firings(&faults, 1_000)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let fired = run(7).into_iter().filter(|fired| *fired).count();
        assert!((200..400).contains(&fired), "{fired}");
    }

    #[test]
    fn latency_adds_up_and_the_first_other_fault_decides() {
        let faults = Faults::new(Duration::from_millis(1));
        faults.add(Rule::new(S3Operation::GetObject, Fault::Latency(Duration::from_millis(2))));
        faults.add(Rule::new(S3Operation::PutObject, Fault::internal_error()));
        let decides = faults.add(Rule::new(Filter::any().key_prefix("a/"), Fault::conflict()));
        let never = faults.add(Rule::new(Filter::any(), Fault::access_denied()));
        let verdict = faults.judge(S3Operation::GetObject, "a/k");
        assert_eq!(verdict.latency, Duration::from_millis(3));
        assert!(matches!(verdict.fault, Some(Fault::Answer { refusal, .. }) if refusal.status == 409));
        assert_eq!((faults.fired(decides), faults.fired(never)), (1, 0));
        faults.remove(decides);
        faults.clear();
        assert!(faults.judge(S3Operation::GetObject, "a/k").fault.is_none());
    }
}
