//! Owns what the host adds to an error of the component: why a request was denied or failed, whose credentials were
//! refused, and where state could not be kept. Leaves what is known of requests to `egress`.

use crate::bindings::types;
use crate::connector::settings::Target;
use crate::credentials::Credentials;
use crate::egress::{Egress, Reasons};
use crate::error::{Error, ErrorKind, Result};

impl Target {
    /// Says in an error of the component what only the host knows: why a request was kept in or failed, whose
    /// credentials were refused, and where state could not be kept.
    pub(crate) async fn explain<T>(&self, result: Result<T, types::Error>) -> Result<T> {
        // What failed in an earlier call is no reason of this one.
        let (place, reasons) = (self.state_place.take(), self.egress.take_reasons());
        match (result, place) {
            (Ok(value), _) => Ok(value),
            (Err(error), Some(place)) => {
                let message = format!("{}; {place}", error.message);
                Err(Error::from(error).with_message(message))
            }
            (Err(error), None) => Err(explain(error.into(), reasons, &self.egress, &self.credentials).await),
        }
    }
}

async fn explain(error: Error, reasons: Reasons, egress: &Egress, credentials: &Credentials) -> Error {
    match error.kind() {
        ErrorKind::Denied => {
            let error = if egress.awaits_keys() { error.awaiting_keys() } else { error };
            if error.message().contains("the host did not let the request out") {
                return match reasons.denial {
                    Some(denial) => error.with_message(denial),
                    None => error,
                };
            }
            match credentials.load().await {
                Ok(loaded) => {
                    let message = format!("{}; credentials are from {}", error.message(), loaded.origin);
                    error.with_message(message)
                }
                Err(_) => error,
            }
        }
        ErrorKind::Unavailable => match reasons.failure {
            Some(failure) if !error.message().contains(&failure) => {
                let message = format!("{} ({failure})", error.message());
                error.with_message(message)
            }
            _ => error,
        },
        _ => error,
    }
}
