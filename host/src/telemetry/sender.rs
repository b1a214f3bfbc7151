//! Owns the way to the collector: OTLP over HTTP or gRPC, with the user's headers and TLS by rustls. Leaves what is sent, and what
//! follows from a failure, to `exporter`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::settings::{Protocol, Target};
use super::wire::Answer;
use crate::egress::{TrustError, client_tls};
use crate::error::with_causes;

/// Bytes of a collector's answer; those of real ones are empty, or a sentence.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Idle connections go before the servers' own limits, which are minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks.
const USER_AGENT: &str = concat!("s3-connector/", env!("CARGO_PKG_VERSION"));

/// Why something was not taken.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: String,
    /// Whether the same may be taken later.
    pub(super) is_transient: bool,
}

/// Sends one kind of message to one collector.
pub(super) struct Sender {
    way: Way,
    timeout: Duration,
    /// Where it leads, for people.
    pub(super) address: String,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

enum Way {
    Http(Box<HttpClient>, Uri, HeaderMap),
    Grpc(Channel, HeaderMap),
}

impl Sender {
    /// Makes a way to a collector. Nothing is connected before something is sent.
    ///
    /// # Errors
    ///
    /// If the file of trusted certificates can't be read.
    pub(super) fn new(target: Target) -> Result<Self, TrustError> {
        let Target { protocol, uri, headers, certificates, timeout } = target;
        let mut tls = client_tls(certificates.as_deref())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let address = uri.to_string();
        let way = match protocol {
            Protocol::Http => {
                let client = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    .build(HttpsConnector::from((tcp, tls)));
                Way::Http(Box::new(client), uri, headers)
            }
            Protocol::Grpc => {
                // Over TLS, both sides agree on HTTP/2 by this name.
                tls.alpn_protocols = vec![b"h2".to_vec()];
                let endpoint = Endpoint::from(uri).user_agent(USER_AGENT).expect("the name is one of a header's value");
                Way::Grpc(endpoint.connect_with_connector_lazy(HttpsConnector::from((tcp, Arc::new(tls)))), headers)
            }
        };
        Ok(Self { way, timeout, address })
    }

    /// Sends a message, and gives what the collector says of it. `method` is what gRPC calls it.
    pub(super) async fn send<T: Message + 'static>(&self, message: T, method: &'static str) -> Result<Answer, Failed> {
        let sent = async {
            match &self.way {
                Way::Http(client, uri, headers) => over_http(client, uri, headers, message).await,
                Way::Grpc(channel, headers) => over_grpc(channel, headers, message, method).await,
            }
        };
        tokio::time::timeout(self.timeout, sent)
            .await
            .unwrap_or_else(|_| Err(transient(format!("no answer within {} ms", self.timeout.as_millis()))))
    }
}

async fn over_http<T: Message>(
    client: &HttpClient,
    uri: &Uri,
    headers: &HeaderMap,
    message: T,
) -> Result<Answer, Failed> {
    let mut request = Request::new(Full::new(Bytes::from(message.encode_to_vec())));
    *request.method_mut() = Method::POST;
    request.uri_mut().clone_from(uri);
    request.headers_mut().clone_from(headers);
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    let response = client.request(request).await.map_err(|error| transient(with_causes(&error)))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| transient(error.to_string()))?.to_bytes();
    if !status.is_success() {
        // As the specification of OTLP has it.
        let is_transient = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        return Err(Failed { reason: format!("the answer is {status}"), is_transient });
    }
    // An answer in another form says nothing against what was sent.
    Ok(Answer::decode(body).unwrap_or_default())
}

async fn over_grpc<T: Message + 'static>(
    channel: &Channel,
    headers: &HeaderMap,
    message: T,
    method: &'static str,
) -> Result<Answer, Failed> {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    client.ready().await.map_err(|error| transient(with_causes(&error)))?;
    let mut request = tonic::Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
    let path = PathAndQuery::from_static(method);
    let answer = client.unary(request, path, ProstCodec::<T, Answer>::default()).await;
    answer.map(tonic::Response::into_inner).map_err(|status| refused(&status))
}

fn refused(status: &Status) -> Failed {
    let is_transient = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            // What breaks on the way has no code of its own.
            | Code::Unknown
    );
    Failed { reason: format!("{:?}: {}", status.code(), with_causes(status)), is_transient }
}

fn transient(reason: String) -> Failed {
    Failed { reason, is_transient: true }
}
