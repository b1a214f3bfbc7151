//! Owns the failures of an egress and what the guest sees of each: a `wasi:http` error code, whose name reaches
//! the user. Leaves the failures of the connection itself to `upstream`.

use wasmtime_wasi_http::Error as WasiError;

use super::denial::Denial;
use super::{sign, upstream};
use crate::credentials;

/// Why a request brought no answer, or no more of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request is not permitted")]
    Denied(#[from] Denial),
    #[error("there are no credentials to sign with")]
    Credentials(#[from] credentials::Error),
    #[error("the request can't be signed")]
    Sign(#[from] sign::Error),
    #[error("the request's body is too large; bytes_max=`{bytes_max}`")]
    RequestTooLarge { bytes_max: u64 },
    #[error("the request's body is not as long as announced; bytes=`{bytes}`")]
    RequestLength { bytes: u64 },
    #[error("no room for another request: too many wait for their answers; in_flight_max=`{in_flight_max}`")]
    Crowded { in_flight_max: usize },
    #[error("no room for the request's body: too much is held for this connector; bytes_max=`{bytes_max}`")]
    NoRoom { bytes_max: u64 },
    #[error("the answer's headers are too large; bytes=`{bytes}`, bytes_max=`{bytes_max}`")]
    AnswerHeaders { bytes: usize, bytes_max: usize },
    #[error("the guest's body broke")]
    Guest(WasiError),
    #[error("the request failed")]
    Upstream(#[from] upstream::Error),
    #[error("no answer in time; seconds=`{seconds}`")]
    NoAnswer { seconds: u64 },
    #[error("the answer stalled; seconds=`{seconds}`")]
    Stalled { seconds: u64 },
    #[error("the answer ended early; missing=`{missing}`")]
    Short { missing: u64 },
    #[error("the answer is longer than announced")]
    Excess,
    #[error("the answer broke and can't be taken up; reason=`{reason}`")]
    NotResumable { reason: &'static str },
    #[error("the answer broke and can't be taken up; status=`{status}`")]
    ResumeRefused { status: u16 },
    #[error("a task of the host was lost")]
    Internal,
}

impl Failure {
    /// Whether asking again may help where an answer broke.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::NoAnswer { .. } | Self::Stalled { .. } | Self::Short { .. } => true,
            Self::ResumeRefused { status } => matches!(status, 408 | 429 | 500..),
            Self::Denied(_)
            | Self::Credentials(_)
            | Self::Sign(_)
            | Self::RequestTooLarge { .. }
            | Self::RequestLength { .. }
            | Self::Crowded { .. }
            | Self::NoRoom { .. }
            | Self::AnswerHeaders { .. }
            | Self::Guest(_)
            | Self::Excess
            | Self::NotResumable { .. }
            | Self::Internal => false,
        }
    }

    /// Whether it was this host that did not let the request out.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Credentials(_) | Self::Sign(_))
    }
}

impl From<Failure> for WasiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(_) | Failure::Credentials(_) | Failure::Sign(_) => Self::HttpRequestDenied,
            Failure::RequestTooLarge { bytes_max } => Self::HttpRequestBodySize(Some(bytes_max)),
            Failure::RequestLength { bytes } => Self::HttpRequestBodySize(Some(bytes)),
            Failure::Crowded { .. } => Self::ConnectionLimitReached,
            Failure::NoRoom { bytes_max } => Self::HttpRequestBodySize(Some(bytes_max)),
            Failure::AnswerHeaders { bytes, .. } => Self::HttpResponseHeaderSectionSize(u32::try_from(bytes).ok()),
            Failure::Guest(error) => error,
            Failure::Upstream(error) => error.into(),
            Failure::NoAnswer { .. } => Self::HttpResponseTimeout,
            Failure::Stalled { .. } => Self::ConnectionReadTimeout,
            Failure::Short { .. } | Failure::NotResumable { .. } | Failure::ResumeRefused { .. } => {
                Self::HttpResponseIncomplete
            }
            Failure::Excess => Self::HttpResponseBodySize(None),
            Failure::Internal => Self::InternalError(None),
        }
    }
}

impl From<upstream::Error> for WasiError {
    fn from(error: upstream::Error) -> Self {
        match error {
            upstream::Error::Dns(_) => Self::DnsError { rcode: Some("name not resolved".to_owned()), info_code: None },
            upstream::Error::Refused(_) => Self::ConnectionRefused,
            upstream::Error::ConnectTimeout(_) => Self::ConnectionTimeout,
            upstream::Error::Unreachable(_) => Self::DestinationIpUnroutable,
            upstream::Error::Exhausted(_) => Self::ConnectionLimitReached,
            upstream::Error::Proxy { .. } => Self::DestinationUnavailable,
            upstream::Error::Certificate(_) => Self::TlsCertificateError,
            upstream::Error::Alert { alert, .. } => {
                Self::TlsAlertReceived { alert_id: Some(alert), alert_message: None }
            }
            upstream::Error::Tls(_) => Self::TlsProtocolError,
            upstream::Error::Terminated(_) => Self::ConnectionTerminated,
            upstream::Error::Protocol(_) => Self::HttpProtocolError,
        }
    }
}
