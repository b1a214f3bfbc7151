//! Owns what a conditional write is, and which answers say that the store knows none. Performs no I/O.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, StatusCode, header};

use super::operation::S3Operation;

/// Which writes a store was seen to refuse on condition. It may know the condition on one of the two only.
#[derive(Debug, Default)]
pub(super) struct RefusedConditions {
    puts: AtomicBool,
    completions: AtomicBool,
}

impl RefusedConditions {
    /// Whether such a write may do without the condition.
    pub(super) fn contain(&self, operation: S3Operation) -> bool {
        self.of(operation).load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, operation: S3Operation) {
        self.of(operation).store(true, Ordering::Relaxed);
    }

    fn of(&self, operation: S3Operation) -> &AtomicBool {
        if operation == S3Operation::CompleteMultipartUpload { &self.completions } else { &self.puts }
    }
}

/// Whether a write takes effect only where nothing is yet.
pub(super) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*")
}

/// Whether the store says that it knows no conditions on writes, by which answers the component tells that too: 501 or
/// `NotImplemented`, or a 400 that names the header.
pub(super) fn refuses_condition(status: StatusCode, document: &[u8]) -> bool {
    let names_it = |element| {
        let text = find_text(document, element).unwrap_or_default();
        text.to_ascii_lowercase().contains("if-none-match")
    };
    status == StatusCode::NOT_IMPLEMENTED
        || find_text(document, "Code").as_deref() == Some("NotImplemented")
        || (status == StatusCode::BAD_REQUEST && (names_it("Code") || names_it("Message")))
}

/// The text of the first element of that name. The guest reads the document properly; here it decides only whether
/// to correct what the guest can't.
pub(super) fn find_text(document: &[u8], element: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    let (found, _) = rest.split_once(&format!("</{element}>"))?;
    Some(found.trim().to_owned())
}
