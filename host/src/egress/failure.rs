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
    #[error("no room for another request: too many are waiting for answers; in_flight_max=`{in_flight_max}`")]
    Crowded { in_flight_max: usize },
    #[error("no room for the request's body: too much is held for this connector; bytes_max=`{bytes_max}`")]
    NoRoom { bytes_max: u64 },
    #[error("the answer's headers are too large; bytes=`{bytes}`, bytes_max=`{bytes_max}`")]
    AnswerHeaders { bytes: usize, bytes_max: usize },
    #[error("the guest's body broke")]
    Guest(#[source] WasiError),
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
    #[error("the answer broke and can't be resumed; reason=`{reason}`, path=`{path}`")]
    NotResumable { reason: &'static str, path: String },
    #[error("the answer broke and can't be resumed; status=`{status}`, path=`{path}`")]
    ResumeRefused { status: u16, path: String },
    #[error("a task of the host was lost")]
    Internal,
}

impl Failure {
    /// Whether a retry may help where an answer broke.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::NoAnswer { .. } | Self::Stalled { .. } | Self::Short { .. } => true,
            Self::ResumeRefused { status, .. } => matches!(status, 408 | 429 | 500..),
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

    /// Whether it was this host that denied the request.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Credentials(_) | Self::Sign(_))
    }
}

impl Failure {
    /// What the component learns of it.
    pub(crate) fn code(&self) -> WasiError {
        match self {
            Self::Denied(_) | Self::Credentials(_) | Self::Sign(_) => WasiError::HttpRequestDenied,
            Self::RequestTooLarge { bytes_max } | Self::NoRoom { bytes_max } => {
                WasiError::HttpRequestBodySize(Some(*bytes_max))
            }
            Self::RequestLength { bytes } => WasiError::HttpRequestBodySize(Some(*bytes)),
            Self::Crowded { .. } => WasiError::ConnectionLimitReached,
            Self::AnswerHeaders { bytes, .. } => WasiError::HttpResponseHeaderSectionSize(u32::try_from(*bytes).ok()),
            // Its own error, which it has heard of already.
            Self::Guest(WasiError::HttpRequestBodySize(bytes)) => WasiError::HttpRequestBodySize(*bytes),
            Self::Guest(_) => WasiError::HttpProtocolError,
            Self::Upstream(error) => error.code(),
            Self::NoAnswer { .. } => WasiError::HttpResponseTimeout,
            Self::Stalled { .. } => WasiError::ConnectionReadTimeout,
            Self::Short { .. } | Self::NotResumable { .. } | Self::ResumeRefused { .. } => {
                WasiError::HttpResponseIncomplete
            }
            Self::Excess => WasiError::HttpResponseBodySize(None),
            Self::Internal => WasiError::InternalError(None),
        }
    }
}

impl upstream::Error {
    fn code(&self) -> WasiError {
        match self {
            Self::Dns(_) => WasiError::DnsError { rcode: Some("name not resolved".to_owned()), info_code: None },
            Self::Refused(_) => WasiError::ConnectionRefused,
            Self::ConnectTimeout(_) => WasiError::ConnectionTimeout,
            Self::Unreachable(_) => WasiError::DestinationIpUnroutable,
            Self::Exhausted(_) => WasiError::ConnectionLimitReached,
            Self::Proxy { .. } => WasiError::DestinationUnavailable,
            Self::Certificate(_) => WasiError::TlsCertificateError,
            Self::Alert { alert, .. } => WasiError::TlsAlertReceived { alert_id: Some(*alert), alert_message: None },
            Self::Tls(_) => WasiError::TlsProtocolError,
            Self::Terminated(_) => WasiError::ConnectionTerminated,
            Self::Protocol(_) => WasiError::HttpProtocolError,
        }
    }
}
