//! HTTP requests of any kind, as settings spell them: `request.method`, `request.path`, `request.authority`,
//! `request.scheme`, `request.body`, and headers by `request.header.NAME`.

use ::wasi::http::outgoing_handler;
use ::wasi::http::types::{ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};
use ::wasi::io::streams::StreamError;

use crate::attacks::{Loot, error, text};
use crate::component::Settings;
use crate::component::bindings::opencdc::connector::types::{Error, ErrorKind};

/// Bytes that a stream takes in one blocking call (<https://github.com/WebAssembly/wasi-io>).
const WRITE_BYTES: usize = 4096;

/// Bytes read at a time.
const READ_BYTES: u64 = 64 * 1024;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Sends the request that the settings spell, and tells the answer: status, headers, body; or why there is none.
pub(crate) fn request(settings: &Settings) -> Result<Loot, Error> {
    Ok(Loot::Text(match send(settings)? {
        Ok(answer) => {
            let mut told = format!("{}\n", answer.status);
            for (name, value) in &answer.headers {
                told.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value)));
            }
            format!("{told}\n{}", String::from_utf8_lossy(&answer.body))
        }
        Err(code) => format!("refused: {code:?}"),
    }))
}

fn unmade(what: &str) -> Error {
    error(ErrorKind::Invalid, format!("{what} is not possible"))
}

/// One exchange; the outer error is for requests that can't even be made.
pub(crate) fn send(settings: &Settings) -> Result<Result<Answer, ErrorCode>, Error> {
    let outgoing = head(settings)?;
    let bytes = text(settings, "request.body").into_bytes();
    let body = (!bytes.is_empty()).then(|| outgoing.body()).transpose().map_err(|()| unmade("the body"))?;
    let future = match outgoing_handler::handle(outgoing, None) {
        Ok(future) => future,
        Err(code) => return Ok(Err(code)),
    };
    if let Some(body) = body {
        let stream = body.write().map_err(|()| unmade("the body"))?;
        // A host that refuses the request takes no more of it.
        let _ = bytes.chunks(WRITE_BYTES).try_for_each(|chunk| stream.blocking_write_and_flush(chunk));
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => read(response).map(Ok),
        Some(Ok(Err(code))) => Ok(Err(code)),
        None | Some(Err(())) => Err(unmade("the answer")),
    }
}

/// The request without its body.
fn head(settings: &Settings) -> Result<OutgoingRequest, Error> {
    let outgoing = OutgoingRequest::new(fields(settings)?);
    let method = match text(settings, "request.method").as_str() {
        "" | "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    };
    let endpoint = text(settings, "aws.endpoint");
    let (scheme, authority) = endpoint.split_once("://").unwrap_or(("http", &endpoint));
    let authority = settings.get("request.authority").map_or(authority, String::as_str);
    let scheme = match settings.get("request.scheme").map_or(scheme, String::as_str) {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => Scheme::Other(other.to_owned()),
    };
    outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&text(settings, "request.path"))))
        .map_err(|()| unmade("the request"))?;
    Ok(outgoing)
}

/// All of an answer.
fn read(response: IncomingResponse) -> Result<Answer, Error> {
    let (status, headers) = (response.status(), response.headers().entries());
    let incoming = response.consume().map_err(|()| unmade("the answer"))?;
    let stream = incoming.stream().map_err(|()| unmade("the answer"))?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(bytes) => body.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(why)) => {
                body.extend(format!("broken: {}", why.to_debug_string()).bytes());
                break;
            }
        }
    }
    Ok(Answer { status, headers, body })
}

fn fields(settings: &Settings) -> Result<Fields, Error> {
    let fields = Fields::new();
    for (name, value) in settings {
        if let Some(name) = name.strip_prefix("request.header.") {
            fields
                .append(name, value.as_bytes())
                .map_err(|why| error(ErrorKind::Invalid, format!("header `{name}`: {why:?}")))?;
        }
    }
    Ok(fields)
}
