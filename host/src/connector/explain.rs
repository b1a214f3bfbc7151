//! Owns what the host adds to an error of the component: why a request was denied or failed, whose credentials were
//! refused, and where state could not be kept. Leaves what is known of requests to `egress`.
//!
//! The kind of an error and the requests before it decide, never the words of a message.

use std::sync::Arc;

use crate::bindings::types;
use crate::connector::settings::Target;
use crate::egress::Moment;
use crate::error::{Error, ErrorKind, with_causes};

/// An error of the component with what only the host knows of it. Of the requests those count that ended after a moment.
pub(crate) async fn explain(error: types::Error, since: Moment, target: &Target) -> Error {
    let error = Error::from(error);
    let outcomes = target.egress.since(since);
    match error.kind() {
        ErrorKind::Denied => {
            let error = if target.egress.awaits_keys() { error.awaiting_keys() } else { error };
            match outcomes.denial {
                // Whatever the component makes of it, this is what happened.
                Some(denial) => error.with_message(with_causes(&*denial)).caused_by(denial),
                None => with_origin(error, target).await,
            }
        }
        ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::Corrupt => {
            if let Some(place) = target.state_place.take() {
                let message = format!("{}; {place}", error.message());
                return error.with_message(message);
            }
            match outcomes.failure.filter(|_| error.kind() == ErrorKind::Unavailable) {
                Some(failure) => with_failure(error, failure),
                None => error,
            }
        }
        _ => error,
    }
}

/// With where the credentials are from that the store refused.
async fn with_origin(error: Error, target: &Target) -> Error {
    if target.credentials.is_anonymous() {
        let message = format!("{}; requests are not signed, since aws.anonymous is true", error.message());
        return error.with_message(message);
    }
    match target.credentials.load().await {
        Ok(loaded) => {
            let message = format!("{}; credentials are from {}", error.message(), loaded.origin);
            error.with_message(message)
        }
        Err(_) => error,
    }
}

/// With how the request failed, which says more than the code that the component knows.
fn with_failure(error: Error, failure: Arc<impl std::error::Error + Send + Sync + 'static>) -> Error {
    let reason = with_causes(&*failure);
    let message = match error.message().contains(&reason) {
        true => error.message().to_owned(),
        false => format!("{} ({reason})", error.message()),
    };
    error.with_message(message).caused_by(failure)
}
