//! Owns the addresses under which a monitor can be looked at over HTTP. Leaves what they show to the monitor. It answers GET and HEAD and
//! changes nothing, whatever is asked.
//!
//! A page of another site that a browser shows could otherwise read what is served on the loopback interface, under a name of its own that leads there
//! (DNS rebinding). So where only this machine can connect, the `Host` of a request must be one of this machine.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::history::EVERY;
use super::{MetricsFormat, Monitor};

/// Connections at a time; more wait.
pub const CONNECTIONS_MAX: usize = 32;

/// How long a connection may take for its next request, and how long it lasts at most.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long to wait where no connection can be accepted, such as without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The page. It loads nothing from elsewhere.
const PAGE: &str = include_str!("page.html");

/// What the page may do: run what is in it, and ask this server.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PATHS: &str = "not found: there are /, /status, /metrics, /live, /ready and /history\n";

/// Serves a monitor until it is stopped: `/` is a page for people, `/status` JSON, `/metrics` for Prometheus, `/live` and `/ready` for
/// what restarts and balances processes.
pub async fn serve(monitor: Monitor, listener: TcpListener, stop: CancellationToken) {
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let (sampled, slots) = (monitor.clone(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let sample = async move {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            every.tick().await;
            sampled.0.histories.take(&sampled.watched(), SystemTime::now());
        }
    };
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let monitor = monitor.clone();
            tokio::spawn(async move {
                // What goes wrong with a connection is for those to see who are at its other end.
                let _ = timeout(REQUEST_TIMEOUT, converse(monitor, stream, is_local)).await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = sample => {}
        () = accept => {}
    }
}

async fn converse(monitor: Monitor, stream: TcpStream, is_local: bool) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = answer(&monitor, request.method(), request.uri().path(), request.headers(), is_local);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

fn answer(
    monitor: &Monitor,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    is_local: bool,
) -> Response<Full<Bytes>> {
    if is_local && !is_of_this_machine(headers) {
        return text(StatusCode::MISDIRECTED_REQUEST, "ask by the address of this machine, such as 127.0.0.1\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/" => {
            let mut page = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE);
            let policy = HeaderValue::from_static(PAGE_POLICY);
            page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            page
        }
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => match monitor.readiness() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready:\n{why}\n")),
        },
        "/status" => json(&monitor.status()),
        "/history" => json(&monitor.0.histories.history()),
        "/metrics" => {
            let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let format = MetricsFormat::accepted(accept);
            respond(StatusCode::OK, format.content_type(), monitor.metrics(format))
        }
        _ => text(StatusCode::NOT_FOUND, PATHS),
    }
}

/// Whether the request names an address of this machine, not some name that leads to it.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(json) => respond(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, method: Method, host: Option<&str>, is_local: bool) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        answer(&Monitor::default(), &method, path, &headers, is_local).status().as_u16()
    }

    #[test]
    fn each_path_is_answered_and_others_are_not() {
        for path in ["/", "/live", "/ready", "/status", "/metrics", "/history"] {
            assert_eq!(status(path, Method::GET, None, true), 200, "{path}");
            assert_eq!(status(path, Method::HEAD, Some("localhost:1"), true), 200, "{path}");
            assert_eq!(status(path, Method::POST, None, true), 405, "{path}");
        }
        assert_eq!(status("/state", Method::GET, None, true), 404);
    }

    #[test]
    fn a_name_of_elsewhere_that_leads_to_the_loopback_interface_is_refused() {
        for host in ["127.0.0.1:9464", "127.9.9.9", "[::1]:9464", "LOCALHOST"] {
            assert_eq!(status("/status", Method::GET, Some(host), true), 200, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:9464", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            assert_eq!(status("/status", Method::GET, Some(host), true), 421, "{host}");
            assert_eq!(status("/status", Method::GET, Some(host), false), 200, "{host}");
        }
    }
}
