//! Owns a request that may leave: its body is collected within bounds and hashed. Leaves to `exchange` what becomes of it.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::WasiBody;

use super::budget::Budget;
use super::checksum;
use super::denial::Denial;
use super::failure::Failure;
use super::operation::S3Operation;
use super::policy::Permit;
use super::sign::PayloadHash;

/// A request's body is held whole, since its checksum stands before it. Twice the largest part that is sent: those of copies have
/// up to 105 MiB.
pub const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bodies above this are hashed on a thread that may block: 1 MiB takes 0.7 ms.
pub(super) const HASH_INLINE_BYTES_MAX: usize = 1024 * 1024;

/// Bodies up to this are always signed by their hash, which costs 0.05 ms at the most. Hashing an object of 1 MiB would be a fourth
/// of what its copy takes.
pub(super) const HASHED_BYTES_MAX: usize = 64 * 1024;

/// A request that may leave, collected.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) operation: S3Operation,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Made when it is first needed.
    hash: Arc<OnceLock<PayloadHash>>,
    /// The header with the checksum of a write's body, or that announces those of parts.
    pub(super) checksum: Option<(HeaderName, HeaderValue)>,
}

impl Outgoing {
    /// Takes the guest's body in, within bounds, and hashes it.
    pub(super) async fn collect(
        permit: Permit,
        parts: http::request::Parts,
        body: WasiBody,
        budget: &Budget,
    ) -> Result<Self, Failure> {
        let mut headers = parts.headers;
        let announced = headers.remove(header::CONTENT_LENGTH).and_then(|length| parse_length(&length));
        // A server or proxy that passes over such a body takes it for the next request, which nobody signed
        // (<https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1>).
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let denial = || Denial::Body { operation: permit.operation.name() };
        if reads && announced.is_some_and(|announced| announced > 0) {
            return Err(denial().into());
        }
        let bytes_max = if reads { 0 } else { BODY_BYTES_MAX };
        let body = match collect(body, announced, bytes_max, budget).await {
            Err(Failure::RequestTooLarge { bytes_max: 0 }) => return Err(denial().into()),
            collected => collected?,
        };
        // S3 wants a length on every PUT and POST, be it 0 (411 MissingContentLength).
        if !body.is_empty() || matches!(parts.method, Method::PUT | Method::POST) {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        let operation = permit.operation;
        let is_unsigned = permit.uri.scheme_str() == Some("https") && body.len() > HASHED_BYTES_MAX;
        let digest = move |headers: &HeaderMap, body: &[u8]| {
            // The hash comes first: it is slow enough that memory keeps up with it, and leaves the body in the cache for the checksum.
            let hash = (!is_unsigned).then(|| PayloadHash::of(body));
            let checksum = checksum::of(operation, headers, body);
            (hash.or_else(|| checksum.is_none().then(|| PayloadHash::of(body))), checksum)
        };
        let (hash, checksum) = if body.len() <= HASH_INLINE_BYTES_MAX {
            digest(&headers, &body)
        } else {
            let (headers, body) = (headers.clone(), body.clone());
            apart(move || digest(&headers, &body)).await?
        };
        let hash = Arc::new(hash.map_or_else(OnceLock::new, OnceLock::from));
        Ok(Self { operation, method: parts.method, uri: permit.uri, headers, body, hash, checksum })
    }

    /// Whether the body may leave without its hash in the signature, as long as its checksum goes with it and is verified: a large
    /// one, over TLS. The checksum is signed, TLS keeps others out, and hashing would be most of what an upload costs.
    pub(super) fn may_go_unhashed(&self) -> bool {
        self.hash.get().is_none()
    }

    /// The hash of the body.
    pub(super) async fn hash(&self) -> Result<PayloadHash, Failure> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash.clone());
        }
        let body = self.body.clone();
        let hash = apart(move || PayloadHash::of(&body)).await?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }
}

/// Does on a thread that may block what takes longer.
async fn apart<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(job).await.map_err(|_| Failure::Internal)
}

/// Collects a body. Room for one that announces its length is made before any of it is taken; one that does not must find
/// room as it comes, since two of those that wait for it would wait for each other.
async fn collect(
    mut body: WasiBody,
    announced: Option<u64>,
    bytes_max: u64,
    budget: &Budget,
) -> Result<Bytes, Failure> {
    let too_large = Failure::RequestTooLarge { bytes_max };
    if announced.is_some_and(|announced| announced > bytes_max) {
        return Err(too_large);
    }
    let mut room = budget.bytes(announced.unwrap_or_default()).await?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failure::Guest)?.into_data() else {
            continue;
        };
        let bytes = first.len() + all.len() + data.len();
        if bytes as u64 > bytes_max {
            return Err(too_large);
        }
        match announced {
            Some(announced) if bytes as u64 > announced => {
                return Err(Failure::RequestLength { bytes: bytes as u64 });
            }
            Some(_) => {}
            None => room.merge(budget.try_bytes(data.len() as u64)?),
        }
        // A body in one piece is not copied; of others the first piece moves once the second is there.
        if all.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            let capacity = announced.and_then(|announced| usize::try_from(announced).ok());
            all.reserve(capacity.unwrap_or_default().max(bytes));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    let body = if all.is_empty() { first } else { all.freeze() };
    if announced.is_some_and(|announced| announced != body.len() as u64) {
        return Err(Failure::RequestLength { bytes: body.len() as u64 });
    }
    Ok(room.hold(body))
}

/// A length in decimal digits.
pub(super) fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
