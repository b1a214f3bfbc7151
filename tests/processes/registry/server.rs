//! Owns a small OCI registry: manifests and blobs in memory, tokens where it has users, and the faults that a test gives it. It records
//! what it was asked for, and by whom.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3_connector_host::registry::Digest;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The token of a client that has signed in.
pub const TOKEN: &str = "t0ken-of-the-registry";

/// What it holds, what it was asked for, and what it does wrong.
#[derive(Default)]
pub struct State {
    pub blobs: BTreeMap<String, Bytes>,
    /// By tag, and by digest.
    pub manifests: BTreeMap<String, Bytes>,
    /// Method, path and query, and what proves who asks.
    pub asked: Vec<(String, Option<String>)>,
    /// `user:password` of those who may do anything. Where it is not set, anybody may.
    pub user: Option<String>,
    /// What tokens may be made of, beside user and password.
    pub identity: Option<String>,
    /// Whether it takes user and password with each request, in the place of a token.
    pub basic: bool,
    /// Where tokens are to be had, if not here.
    pub realm: Option<String>,
    /// Statuses of the next answers, whatever is asked.
    pub failures: VecDeque<u16>,
    /// Where blobs are.
    pub elsewhere: Option<String>,
    /// Where uploads go, if not here.
    pub uploads_to: Option<String>,
    /// Whether places are named by a whole address.
    pub absolute: bool,
    uploads: usize,
}

pub struct Registry {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Registry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let held = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let held = Arc::clone(&held);
                let service = service_fn(move |request| answer(request, address, Arc::clone(&held)));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that has enough is no failure.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, state, task }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The name of something in it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Puts a manifest there, under a tag and its digest, which it returns.
    pub fn put(&self, tag: &str, manifest: impl Into<Bytes>) -> Digest {
        let manifest = manifest.into();
        let digest = Digest::of(&manifest);
        let mut state = self.state();
        state.manifests.insert(digest.to_string(), manifest.clone());
        state.manifests.insert(tag.to_owned(), manifest);
        digest
    }

    /// Puts a component there as others do, under a tag; gives the digest of its manifest.
    pub fn put_component(&self, tag: &str, component: impl Into<Bytes>) -> Digest {
        let component = component.into();
        let digest = Digest::of(&component).to_string();
        let manifest = manifest_of(&digest, component.len());
        self.state().blobs.insert(digest, component);
        self.put(tag, manifest)
    }

    /// What was asked since the last time, without who has asked.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked).into_iter().map(|(what, _)| what).collect()
    }
}

/// The manifest of a component with this digest.
pub fn manifest_of(digest: &str, bytes: usize) -> String {
    let config = "application/vnd.wasm.config.v0+json";
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": config, "digest": Digest::of(b"{}").to_string(), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": digest, "size": bytes}],
    })
    .to_string()
}

type Answer = Response<Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(status(400)) };
    let body = body.to_bytes();
    let who = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let what = format!("{} {}", parts.method, parts.uri);
    let mut state = state.lock().unwrap();
    state.asked.push((what, who.clone()));
    if let Some(failure) = state.failures.pop_front() {
        return Ok(status(failure));
    }
    let path = parts.uri.path().to_owned();
    if path == "/token" {
        return Ok(token(&state, who.as_deref(), &body));
    }
    if path == "/elsewhere" {
        return Ok(state.blobs.values().next().map_or(status(404), |blob| Response::new(Full::new(blob.clone()))));
    }
    if let Some(refusal) = refused(&state, who.as_deref(), address) {
        return Ok(refusal);
    }
    Ok(serve(&mut state, &parts.method, &path, parts.uri.query(), &parts.headers, body, address))
}

/// Who may not, and how they may.
fn refused(state: &State, who: Option<&str>, address: SocketAddr) -> Option<Answer> {
    let user = state.user.as_ref()?;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(user));
    let (wanted, challenge) = match state.basic {
        true => (basic, "Basic realm=\"registry\"".to_owned()),
        false => {
            let realm = state.realm.clone().unwrap_or_else(|| format!("http://{address}/token"));
            (
                format!("Bearer {TOKEN}"),
                format!("Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:team/s3:pull,push\""),
            )
        }
    };
    (who != Some(&wanted)).then(|| {
        let mut refusal = error(401, "UNAUTHORIZED", "authentication required");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        refusal
    })
}

fn token(state: &State, who: Option<&str>, form: &[u8]) -> Answer {
    let form = String::from_utf8_lossy(form);
    let basic = state.user.as_ref().map(|user| format!("Basic {}", BASE64_STANDARD.encode(user)));
    let by_identity = state.identity.as_ref().is_some_and(|identity| {
        form.contains("grant_type=refresh%5Ftoken")
            && form.contains(&format!("refresh_token={}", identity.replace('-', "%2D")))
    });
    if who.is_some() && who == basic.as_deref() || by_identity {
        return Response::new(Full::new(json!({ "token": TOKEN }).to_string().into()));
    }
    error(401, "UNAUTHORIZED", "incorrect username or password")
}

fn serve(
    state: &mut State,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
    address: SocketAddr,
) -> Answer {
    let Some(path) = path.strip_prefix("/v2/team/s3/") else { return error(404, "NAME_UNKNOWN", "no such repository") };
    let located = |code: u16, place: String| {
        let place = if state.absolute { format!("http://{address}{place}") } else { place };
        let mut answer = status(code);
        answer.headers_mut().insert(header::LOCATION, place.parse().unwrap());
        answer
    };
    if let Some(name) = path.strip_prefix("manifests/") {
        if method == Method::PUT {
            assert_eq!(headers[header::CONTENT_TYPE], "application/vnd.oci.image.manifest.v1+json");
            let answer = located(201, format!("/v2/team/s3/manifests/{}", Digest::of(&body)));
            state.manifests.insert(Digest::of(&body).to_string(), body.clone());
            state.manifests.insert(name.to_owned(), body);
            return answer;
        }
        // Others send no list of manifests to a client that does not say that it knows such lists.
        assert!(headers[header::ACCEPT].to_str().unwrap().contains("application/vnd.oci.image.index.v1+json"));
        return match state.manifests.get(name) {
            Some(manifest) => Response::new(Full::new(manifest.clone())),
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        };
    }
    if path == "blobs/uploads/" && method == Method::POST {
        let mut answer = located(202, format!("/v2/team/s3/blobs/uploads/{}?state=x", state.uploads));
        if let Some(place) = &state.uploads_to {
            answer.headers_mut().insert(header::LOCATION, format!("{place}/blobs/uploads/0").parse().unwrap());
        }
        state.uploads += 1;
        return answer;
    }
    if path.starts_with("blobs/uploads/") && method == Method::PUT {
        let digest = query.and_then(|query| query.split('&').find_map(|field| field.strip_prefix("digest=")));
        let digest = digest.unwrap_or_default().to_owned();
        if digest != Digest::of(&body).to_string() {
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        let answer = located(201, format!("/v2/team/s3/blobs/{digest}"));
        state.blobs.insert(digest, body);
        return answer;
    }
    match path.strip_prefix("blobs/") {
        Some(_) if state.elsewhere.is_some() && method == Method::GET => {
            let mut answer = status(307);
            let place = state.elsewhere.as_ref().unwrap().parse().unwrap();
            answer.headers_mut().insert(header::LOCATION, place);
            answer
        }
        Some(digest) => match state.blobs.get(digest) {
            Some(blob) => Response::new(Full::new(blob.clone())),
            None => error(404, "BLOB_UNKNOWN", "blob unknown"),
        },
        None => status(405),
    }
}

fn status(code: u16) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}

fn error(code: u16, name: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": name, "message": message}]}).to_string();
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}
