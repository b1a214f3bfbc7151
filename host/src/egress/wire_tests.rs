//! Talks through the real client to servers in this process, on ports of the system's choice. Leaves what an
//! egress makes of it to `tests`.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::hyper_upstream::HyperUpstream;
use super::trust::{Distrust, TrustError};
use super::upstream::{Connection, Error, Upstream as _, UpstreamBody};
use crate::environment::Environment;
use crate::error::with_causes;

/// A certificate for `localhost` that nobody vouches for, and its key. Both are for these tests alone.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBPzCB5aADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWxvY2FsaG9z
dDAgFw0wMDAxMDEwMDAwMDBaGA8yMjAwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElkolrVjMcl4AALJ3
9hJkAOSUthFhxRYTZBQUR6cv4EuOx0lZzLo1zjJD7dZZvTlawerKo3+kGi4TAExM
i61DRKMmMCQwFAYDVR0RBA0wC4IJbG9jYWxob3N0MAwGA1UdEwEB/wQCMAAwCgYI
KoZIzj0EAwIDSQAwRgIhANB4X5YEbzROR9FzVKm5hV+se+y1mav651akfeRFrPng
AiEAgcfbJV9qu8pFk4E5YgTimuE/EE5NvoKqb/eTxU0J5gQ=
-----END CERTIFICATE-----
";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT9JfJQRVBSARdC1v
ykEll2i6RMqACXM89mKb7JUqRI6hRANCAASWSiWtWMxyXgAAsnf2EmQA5JS2EWHF
FhNkFBRHpy/gS47HSVnMujXOMkPt1lm9OVrB6sqjf6QaLhMATEyLrUNE
-----END PRIVATE KEY-----
";

/// What `openssl req -x509` makes: a certificate for `localhost` and 127.0.0.1 that is marked as an authority's own, here
/// with times that outlast the tests; the same with its time over; and their key.
const AUTHORITYS: &str = "-----BEGIN CERTIFICATE-----
MIIBaDCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMDAwMTAxMDAwMDAwWhgPMjIwMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDo3X4ABz/oV3UZu
6D/0jI2DjA1tCwuoXx+LrrX5z+ZCOdt61nbiIgtoo6ikHKcctPOO0i0nXAzC5zfr
BtGibwGjTjBMMA8GA1UdEwEB/wQFMAMBAf8wGgYDVR0RBBMwEYIJbG9jYWxob3N0
hwR/AAABMB0GA1UdDgQWBBS7oN7cbHuEKbfFvxCyeZ7wyQz5wzAKBggqhkjOPQQD
AgNJADBGAiEA6/mo4DpsAl0lH4gnECBSOyG1WIuLCeyOk1Cu7TX3pugCIQCb+b/n
JefmtjQv2GnnZei0/P5bhT+X98BYJ0+H928upQ==
-----END CERTIFICATE-----
";
const EXPIRED: &str = "-----BEGIN CERTIFICATE-----
MIIBZDCCAQugAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ6N1+AAc/6Fd1Gbug/
9IyNg4wNbQsLqF8fi661+c/mQjnbetZ24iILaKOopBynHLTzjtItJ1wMwuc36wbR
om8Bo04wTDAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcE
fwAAATAdBgNVHQ4EFgQUu6De3Gx7hCm3xb8Qsnme8MkM+cMwCgYIKoZIzj0EAwID
RwAwRAIgdm0fat3bXuI6LArcKskcBibzniIHNoVNRslZuV28+Z0CIEoE1tkJLhtG
eljbANB6ux/NDgvYYeQar+al6bv/SO6x
-----END CERTIFICATE-----
";
const AUTHORITYS_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTSKIrqCoSn7avosg
Vzp68qDcpFFR022ZcQwRBTmXyeahRANCAAQ6N1+AAc/6Fd1Gbug/9IyNg4wNbQsL
qF8fi661+c/mQjnbetZ24iILaKOopBynHLTzjtItJ1wMwuc36wbRom8B
-----END PRIVATE KEY-----
";

fn upstream() -> HyperUpstream {
    HyperUpstream::new(None).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn request(uri: impl std::fmt::Display) -> Request<Full<Bytes>> {
    let uri = uri.to_string();
    Request::builder().uri(uri).header("host", "h").body(Full::default()).unwrap()
}

async fn send(uri: impl std::fmt::Display) -> Result<Response<UpstreamBody>, Error> {
    upstream().send(request(uri)).await
}

/// A server that answers every request by `answer`, and counts its connections.
async fn serve(answer: fn(Request<Incoming>) -> Response<Full<Bytes>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request)) });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
    });
    (address, connections)
}

/// A server that reads one request's head and then does as told.
async fn serve_raw<F>(then: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match connection.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(then(connection));
        }
    });
    address
}

async fn body(response: Response<UpstreamBody>) -> Result<Bytes, Error> {
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection() {
    let (address, connections) = serve(|_| Response::new(Full::from("hello"))).await;
    let upstream = upstream();
    for _ in 0..20 {
        let response = upstream.clone().send(request(format_args!("http://{address}/b"))).await;
        assert_eq!(body(response.unwrap()).await.unwrap(), "hello");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_no_failure() {
    // It promises to keep the connection, answers, and closes it.
    let address = serve_raw(|mut connection| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        connection.write_all(answer).await.unwrap();
    })
    .await;
    let upstream = upstream();
    for _ in 0..50 {
        let response = upstream.send(request(format_args!("http://{address}/b"))).await.unwrap();
        assert_eq!(body(response).await.unwrap(), "ok");
        // Lets the close arrive, as an idle pause does; either way the next request must not meet it.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_path_and_host_arrive_byte_for_byte() {
    let (address, _) = serve(|request| {
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        let host = request.headers()["host"].to_str().unwrap();
        Response::new(Full::from(format!("{host} {target}")))
    })
    .await;
    for target in [
        "/",
        "/b//leading//",
        "/b/../x/./..",
        "/b/a%20b%2Bc%25d%C3%A9%01%7F%2F",
        "/b?uploads",
        "/b?list-type=2&prefix=a%2Fb%20c%2B",
    ] {
        let response = send(format_args!("http://{address}{target}")).await.unwrap();
        assert_eq!(body(response).await.unwrap(), format!("h {target}"));
    }
}

#[tokio::test]
async fn an_answer_may_have_as_many_headers_as_metadata_makes() {
    let (address, _) = serve(|_| {
        let mut response = Response::new(Full::default());
        for index in 0..300 {
            let name = HeaderName::try_from(format!("x-amz-meta-{index}")).unwrap();
            response.headers_mut().insert(name, HeaderValue::from_static("v"));
        }
        response
    })
    .await;
    let response = send(format_args!("http://{address}/b")).await.unwrap();
    assert!(response.headers().len() >= 300);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (address, connections) = serve(|_| {
        let builder = Response::builder().status(307).header("location", "http://127.0.0.1:1/");
        builder.body(Full::default()).unwrap()
    })
    .await;
    let response = send(format_args!("http://{address}/b")).await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nobody_there_is_a_refused_connection() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = send(format_args!("http://{address}/b")).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_terminated() {
    let address = serve_raw(|connection| async move { drop(connection) }).await;
    let error = send(format_args!("http://{address}/b")).await.unwrap_err();
    assert!(matches!(error, Error::Terminated(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_terminated() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let address = serve_raw(move |mut connection| async move {
            connection.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let response = send(format_args!("http://{address}/b")).await.unwrap();
        let error = body(response).await.unwrap_err();
        assert!(matches!(error, Error::Terminated(_)), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let address = serve_raw(|mut connection| async move {
        connection.write_all(b"220 mail.example ESMTP\r\n\r\n").await.unwrap();
    })
    .await;
    let error = send(format_args!("http://{address}/b")).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn plain_http_in_place_of_tls_is_a_tls_error() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.read_u8().await.unwrap();
            connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let error = send(format_args!("https://{address}/b")).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
}

/// A server with TLS on a thread of its own, which answers one request.
fn serve_tls() -> SocketAddr {
    serve_tls_as(CERTIFICATE, KEY)
}

/// The same, showing another certificate.
fn serve_tls_as(certificate: &str, key: &str) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut head = [0; 1024];
        // A client that distrusts the certificate ends here.
        if matches!(stream.read(&mut head), Ok(1..)) {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_certificate_error() {
    let port = serve_tls().port();
    let error = send(format_args!("https://localhost:{port}/b")).await.unwrap_err();
    assert!(matches!(error, Error::Certificate(_)), "{error:?}");
}

#[tokio::test]
async fn a_bundle_says_whom_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, CERTIFICATE).unwrap();
    let upstream = HyperUpstream::new(Some(&bundle)).unwrap();
    let port = serve_tls().port();
    let sent = upstream.send(request(format_args!("https://localhost:{port}/b"))).await;
    assert_eq!(body(sent.unwrap()).await.unwrap(), "ok");
    // The name counts, too.
    let port = serve_tls().port();
    let sent = upstream.send(request(format_args!("https://127.0.0.1:{port}/b"))).await;
    assert!(matches!(sent.unwrap_err(), Error::Certificate(_)));
}

/// What a client that trusts this bundle makes of a server that shows that certificate.
async fn trusting(bundle: &str, shown: (&str, &str), host: &str) -> Result<Bytes, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.pem");
    std::fs::write(&path, bundle).unwrap();
    let upstream = HyperUpstream::new(Some(&path)).unwrap();
    let port = serve_tls_as(shown.0, shown.1).port();
    let sent = upstream.send(request(format_args!("https://{host}:{port}/b")));
    body(sent.await?).await
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_trusted_where_the_bundle_names_it() {
    let shown = (AUTHORITYS, AUTHORITYS_KEY);
    let both = format!("{CERTIFICATE}{AUTHORITYS}");
    for (bundle, host) in [(AUTHORITYS, "localhost"), (AUTHORITYS, "127.0.0.1"), (&both, "localhost")] {
        assert_eq!(trusting(bundle, shown, host).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let authoritys = (AUTHORITYS, AUTHORITYS_KEY);
    let expired = (EXPIRED, AUTHORITYS_KEY);
    // It names an authority that is trusted, which has not signed it.
    let forged = Distrust::Other("its signature is wrong");
    let own_name = Distrust::Name { wanted: "0.0.0.0".to_owned(), presented: "`localhost`, `127.0.0.1`".to_owned() };
    for (bundle, shown, host, why) in [
        // Named or not: neither name nor time is passed over. 0.0.0.0 is this machine under another name.
        (AUTHORITYS, authoritys, "0.0.0.0", own_name),
        (EXPIRED, expired, "localhost", Distrust::Expired),
        (CERTIFICATE, authoritys, "localhost", Distrust::Authority),
        (AUTHORITYS, (CERTIFICATE, KEY), "localhost", forged),
    ] {
        match trusting(bundle, shown, host).await.unwrap_err() {
            Error::Certificate(found) => assert_eq!(found, why),
            other => panic!("{why}: {other:?}"),
        }
    }
}

async fn connect(upstream: &HyperUpstream, uri: impl std::fmt::Display) -> Result<Connection, Error> {
    let uri = uri.to_string().parse().unwrap();
    upstream.connect(&uri).expect("it connects").await
}

#[tokio::test]
async fn a_connection_tells_its_peer_and_what_was_agreed_on() {
    let (address, _) = serve(|_| Response::new(Full::default())).await;
    let plain = connect(&upstream(), format_args!("http://{address}/")).await.unwrap();
    assert_eq!((plain.peer, plain.tls), (Some(address), None));

    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, CERTIFICATE).unwrap();
    let trusting = HyperUpstream::new(Some(&bundle)).unwrap();
    let port = serve_tls().port();
    let secure = connect(&trusting, format_args!("https://localhost:{port}/")).await.unwrap();
    assert_eq!(secure.peer.unwrap().port(), port);
    let agreed = secure.tls.unwrap();
    assert!(agreed.starts_with("TLS 1.3, TLS13_"), "{agreed}");
}

#[tokio::test]
async fn a_connection_that_fails_says_at_what() {
    let port = serve_tls().port();
    let distrusted = connect(&upstream(), format_args!("https://localhost:{port}/")).await;
    assert!(matches!(distrusted.unwrap_err(), Error::Certificate(_)));
    let (listener, address) = listen().await;
    drop(listener);
    let refused = connect(&upstream(), format_args!("http://{address}/")).await;
    assert!(matches!(refused.unwrap_err(), Error::Refused(_)));
    let unknown = connect(&upstream(), "http://nowhere.invalid/").await;
    assert!(matches!(unknown.unwrap_err(), Error::Dns(_)));
}

#[test]
fn a_bundle_that_is_none_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, CERTIFICATE.replace("MIIB", "AAAA")).unwrap();
    for path in [&empty, &broken, Path::new("/does/not/exist")] {
        let TrustError::Bundle { path: named, .. } = HyperUpstream::new(Some(path)).unwrap_err();
        assert_eq!(named, path);
    }
}

/// Reads what a tunnel is asked for, and makes it.
fn tunnel(mut near: std::net::TcpStream, kept: &std::sync::Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if near.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    kept.lock().unwrap().push(head.clone());
    // `user:password`.
    if !head.contains("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n") {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        near.write_all(refusal).unwrap();
        return;
    }
    let to = head.split(' ').nth(1).unwrap();
    let mut far = std::net::TcpStream::connect(to).unwrap();
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from, mut into) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut into);
    });
    let _ = std::io::copy(&mut far, &mut near);
}

/// A proxy on a thread of its own that makes tunnels for clients that know the password, and keeps their requests.
fn tunnels() -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    std::thread::spawn(move || {
        while let Ok((near, _)) = listener.accept() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || tunnel(near, &kept));
        }
    });
    (address, heads)
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_is_verified_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, CERTIFICATE).unwrap();
    let (proxy, heads) = tunnels();
    let by = |user: &str, more: (&'static str, &'static str)| {
        let url = format!("http://{user}{proxy}");
        let variables = [("AWS_CA_BUNDLE", bundle.to_str().unwrap()), ("HTTPS_PROXY", url.as_str()), more];
        HyperUpstream::from_environment(&Environment::of(variables)).unwrap()
    };
    let none = ("UNUSED", "");
    let known = by("user:password@", none);
    let address = |port| format!("https://localhost:{port}/b");

    let port = serve_tls().port();
    let sent = known.send(request(address(port))).await.unwrap();
    assert_eq!(body(sent).await.unwrap(), "ok");
    let asked = heads.lock().unwrap()[0].clone();
    assert!(asked.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")), "{asked}");
    // Nothing of the request is the proxy's to see.
    assert!(!asked.contains("/b"), "{asked}");

    let made = connect(&known, address(serve_tls().port())).await.unwrap();
    assert_eq!(made.proxy, Some(format!("http://{proxy}")));
    assert!(made.tls.is_some_and(|tls| tls.starts_with("TLS 1.3")));

    let port = serve_tls_as(AUTHORITYS, AUTHORITYS_KEY).port();
    let error = known.send(request(address(port))).await.unwrap_err();
    assert!(matches!(error, Error::Certificate(_)), "{error:?}");

    let error = by("user:wrong@", none).send(request(address(1))).await.unwrap_err();
    let text = with_causes(&error);
    assert_eq!(text, format!("the proxy `http://{proxy}` makes no connection: proxy authorization required"));

    let before = heads.lock().unwrap().len();
    let direct = by("user:password@", ("NO_PROXY", "localhost"));
    let port = serve_tls().port();
    assert!(direct.send(request(address(port))).await.is_ok());
    assert_eq!(heads.lock().unwrap().len(), before);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let (listener, address) = listen().await;
    drop(listener);
    let url = format!("http://user:s3cret@{address}");
    for (variable, to) in [("http_proxy", "http://store.test/"), ("https_proxy", "https://store.test/")] {
        let environment = Environment::of([(variable, url.as_str())]);
        let upstream = HyperUpstream::from_environment(&environment).unwrap();
        let error = upstream.send(request(to)).await.unwrap_err();
        let text = with_causes(&error);
        assert!(text.starts_with(&format!("the proxy `http://{address}` makes no connection")), "{text}");
        assert!(!text.contains("s3cret") && !format!("{upstream:?}").contains("s3cret"));
    }
}
