//! Owns the least that a client can do: as many connections as requests in flight, each with one request after the other.
//! Leaves what is requested to `main`.

use std::cell::RefCell;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;

use crate::{Done, Failure};

/// What stands in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'=');

/// Gets objects, and counts their bytes. What fails is tried again at once.
pub(crate) async fn get(
    address: &str,
    bucket: &str,
    keys: impl Iterator<Item = String>,
    concurrency: usize,
) -> Result<Done, Failure> {
    let keys = RefCell::new(keys);
    let worker = async || {
        let (mut connection, mut done) = (None, Done::default());
        loop {
            let Some(key) = keys.borrow_mut().next() else { return Ok::<_, Failure>(done) };
            let path = format!("/{bucket}/{}", utf8_percent_encode(&key, PATH));
            loop {
                if let Ok(bytes) = object(address, &path, &mut connection).await {
                    done = Done { objects: done.objects + 1, bytes: done.bytes + bytes };
                    break;
                }
            }
        }
    };
    let all = try_join_all((0..concurrency).map(|_| worker())).await?;
    Ok(all.iter().fold(Done::default(), |sum, one| Done {
        objects: sum.objects + one.objects,
        bytes: sum.bytes + one.bytes,
    }))
}

/// A connection that may be used again.
pub(crate) type Connection = Option<SendRequest<Empty<Bytes>>>;

async fn object(address: &str, path: &str, connection: &mut Connection) -> Result<u64, Failure> {
    let mut body = send(address, path, connection).await?.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.into_data().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

/// Asks for a path.
///
/// # Errors
///
/// Where the connection breaks, or the answer is none of success.
pub(crate) async fn send(
    address: &str,
    path: &str,
    connection: &mut Connection,
) -> Result<Response<Incoming>, Failure> {
    let mut sender = match connection.take() {
        Some(sender) if !sender.is_closed() => sender,
        _ => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, driver) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            sender
        }
    };
    sender.ready().await?;
    let request = Request::get(path).header("host", address).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    *connection = Some(sender);
    if matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Ok(response);
    }
    response.into_body().collect().await?;
    Err("refused".into())
}
