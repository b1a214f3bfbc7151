//! Owns a host that does what `wit/` says and nothing else: wasmtime, its WASI, bindings of the public contract, signatures by
//! the labels of the specification, state in a map. It shares no code with the host that is shipped. Leaves what is run in it
//! to `plain`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceAny, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store};
use wasmtime_wasi::p2::{DynInputStream, DynPollable, StreamError};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use s3_connector_host::EMBEDDED;

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "connector",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:random": wasmtime_wasi::p2::bindings::random,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        },
    });
}

pub use generated::exports::opencdc::connector::destination::Ack;
pub use generated::exports::opencdc::connector::source::Progress;
use generated::exports::opencdc::connector::specifier::{Parameter, Specification};
pub use generated::opencdc::connector::types::{Batch, Change, Data, Error, ErrorKind, Operation, Record};
use generated::opencdc::connector::{log, state, types};

/// Settings whose values stay here, whatever a specification says of them.
const SECRETS: [&str; 4] = ["aws.accessKeyId", "aws.secretAccessKey", "aws.sessionToken", "aws.roleExternalId"];

/// Headers that are the host's to add.
const OURS: [&str; 4] = ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// State by name, where it is kept.
pub type Kept = Option<Arc<Mutex<BTreeMap<String, Vec<u8>>>>>;

/// State that is kept in memory.
pub fn kept() -> Kept {
    Some(Arc::default())
}

/// What must be signed, and with what.
#[derive(Clone, Default)]
struct Access {
    service: String,
    region: String,
    /// Host and port of the store.
    authority: String,
    key_id: String,
    secret: String,
    token: Option<String>,
    /// Whether nothing is signed.
    is_anonymous: bool,
}

struct Context {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    state: Kept,
    /// What was logged: context and message.
    lines: Vec<(String, String)>,
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Context {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

#[derive(Default)]
struct Hooks(Access);

type Done = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Done,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Done), HttpError>> + Send> {
        let access = self.0.clone();
        Box::new(async move {
            let request = access.signed(request)?;
            let client = Client::builder(TokioExecutor::new()).build_http();
            let response = client.request(request).await.map_err(|_| HttpError::ConnectionTerminated)?;
            let body = |body: hyper::body::Incoming| body.map_err(HttpError::Hyper).boxed_unsync();
            Ok((response.map(body), Box::new(std::future::ready(Ok(()))) as Done))
        })
    }
}

impl Access {
    /// The request with the host's headers, if it may leave at all.
    fn signed(&self, mut request: Request<WasiBody>) -> Result<Request<WasiBody>, HttpError> {
        let forged = OURS.iter().any(|name| request.headers().contains_key(*name));
        if forged || request.uri().authority().map(http::uri::Authority::as_str) != Some(&self.authority) {
            return Err(HttpError::HttpRequestDenied);
        }
        if self.is_anonymous {
            return Ok(request);
        }
        let identity = Credentials::new(&self.key_id, &self.secret, self.token.clone(), None, "plain").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .expect("all that is required is given")
            .into();
        let url = request.uri().to_string();
        let texts = request.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-amz-"));
        let texts = texts.map(|(name, value)| (name.as_str(), value.to_str().expect("the component sends text")));
        let headers: Vec<_> = texts.chain([("host", self.authority.as_str())]).collect();
        let signable =
            SignableRequest::new(request.method().as_str(), &url, headers.into_iter(), SignableBody::UnsignedPayload);
        let (instructions, _) =
            sign(signable.expect("it is a request"), &parameters).expect("it can be signed").into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

impl types::Host for Context {}

impl log::Host for Context {
    fn log(&mut self, _level: log::Level, context: String, message: String) -> wasmtime::Result<()> {
        self.lines.push((context, message));
        Ok(())
    }
}

/// What a host says that keeps nothing.
fn nothing_kept() -> Error {
    Error { kind: ErrorKind::Unavailable, message: "nothing is kept".to_owned(), retry_after_ms: None }
}

impl state::Host for Context {
    fn load(&mut self, name: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let kept = self.state.as_ref().map(|kept| kept.lock().expect("no panic holds it"));
        Ok(Ok(kept.and_then(|kept| kept.get(&name).cloned())))
    }

    fn commit(&mut self, edits: Vec<state::Edit>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.state.as_ref().ok_or_else(nothing_kept).map(|kept| {
            let mut kept = kept.lock().expect("no panic holds it");
            for state::Edit { name, value } in edits {
                match value {
                    Some(value) => kept.insert(name, value),
                    None => kept.remove(&name),
                };
            }
        }))
    }
}

/// The compiled component. Compiled code is kept from one run to the next.
fn component() -> &'static Component {
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let mut kept = CacheConfig::new();
        kept.with_directory(std::env::temp_dir().join("s3-connector-tests-cache"));
        let mut config = Config::new();
        config.cache(Some(Cache::new(kept).expect("the folder can be made")));
        let engine = Engine::new(&config).expect("the machine is supported");
        Component::from_binary(&engine, EMBEDDED).expect("it is a component")
    })
}

/// An instance, and what its world exports.
pub struct Host {
    store: Store<Context>,
    exports: generated::Connector,
    specification: Specification,
}

/// What a call comes to: a value, an error of the connector, or a trap, after which the instance is lost.
pub type Called<T> = wasmtime::Result<Result<T, Error>>;

impl Host {
    /// A new instance.
    pub async fn new(state: Kept) -> Self {
        Self::with(state, |_| {}).await
    }

    /// A new instance that gets what `wait` says in place of what it waits for: `wasi:io/poll` is broken.
    pub async fn with_broken_poll() -> Self {
        let broken = |linker: &mut Linker<Context>| {
            linker.allow_shadowing(true);
            let mut poll = linker.instance("wasi:io/poll@0.2.12").expect("it can be defined anew");
            type Pollables = (Vec<Resource<DynPollable>>,);
            poll.func_wrap("poll", |_, (_pollables,): Pollables| Ok((vec![u32::MAX],))).expect("it can be defined");
        };
        Self::with(None, broken).await
    }

    async fn with(state: Kept, change: impl FnOnce(&mut Linker<Context>)) -> Self {
        let component = component();
        let mut linker = Linker::new(component.engine());
        wasmtime_wasi_http::p2::add_to_linker_async(&mut linker).expect("WASI can be linked");
        state::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context).expect("so can state");
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context).expect("and the log");
        change(&mut linker);
        let context = Context {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks::default(),
            state,
            lines: Vec::new(),
        };
        let mut store = Store::new(component.engine(), context);
        let exports = generated::Connector::instantiate_async(&mut store, component, &linker).await;
        let exports = exports.expect("it imports nothing but its world");
        let specification = exports.opencdc_connector_specifier().call_specify(&mut store).await;
        Self { store, exports, specification: specification.expect("it never fails") }
    }

    /// Keeps what the labels name, and gives the settings as the component gets them.
    fn prepare(&mut self, settings: &[(&str, &str)], parameters: &[Parameter]) -> Vec<(String, String)> {
        let label = |name: &str| {
            let found = self.specification.labels.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str()).expect("the component says what to sign")
        };
        let value = |name: &str| {
            let found = settings.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(label("auth"), "aws-sigv4");
        let endpoint = value(label("auth.endpoint")).expect("this host knows no other store");
        let mut access = Access {
            service: label("auth.service").to_owned(),
            region: value(label("auth.region")).expect("a region is set"),
            authority: endpoint.split_once("://").expect("it is a URL and has no path").1.to_owned(),
            is_anonymous: value(label("auth.anonymous")).is_some_and(|value| value == "true"),
            ..Access::default()
        };
        for parameter in parameters {
            let role = parameter.labels.iter().find(|(name, _)| name == "auth.role");
            let value = value(&parameter.name);
            match role.map(|(_, role)| role.as_str()) {
                Some("access-key-id") => access.key_id = value.unwrap_or_default(),
                Some("secret-access-key") => access.secret = value.unwrap_or_default(),
                Some("session-token") => access.token = value,
                Some(role) => {
                    assert!(value.is_none(), "this host has no {role}, and may not ignore that one is asked for")
                }
                None => {}
            }
        }
        self.store.data_mut().hooks = Hooks(access);
        let is_secret = |name: &str| SECRETS.contains(&name) || parameters.iter().any(|p| p.secret && p.name == name);
        let shown = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), if is_secret(name) { "redacted" } else { *value }.to_owned())
        };
        settings.iter().map(shown).collect()
    }

    /// A source that is not open yet.
    pub async fn source(&mut self, settings: &[(&str, &str)]) -> Called<ResourceAny> {
        let parameters = self.specification.source_parameters.clone();
        let settings = self.prepare(settings, &parameters);
        self.exports.opencdc_connector_source().source().call_configure(&mut self.store, &settings).await
    }

    /// A source that is open.
    pub async fn opened(&mut self, settings: &[(&str, &str)], position: Option<Vec<u8>>) -> ResourceAny {
        let source = self.source(settings).await.expect("no trap").expect("configures");
        let exports = self.exports.opencdc_connector_source().source();
        let opened = exports.call_open(&mut self.store, source, position.as_ref()).await;
        opened.expect("no trap").expect("opens");
        source
    }

    /// As the contract's `open`.
    pub async fn open(&mut self, source: ResourceAny) -> Called<()> {
        self.exports.opencdc_connector_source().source().call_open(&mut self.store, source, None).await
    }

    /// As the contract's `read`.
    pub async fn read_batch(&mut self, source: ResourceAny, bytes_max: u64) -> Called<Batch> {
        const WAIT_MS: u64 = 200;
        let exports = self.exports.opencdc_connector_source().source();
        exports.call_read(&mut self.store, source, 100, bytes_max, WAIT_MS).await
    }

    /// The records of a `read`, each with all of its metadata.
    pub async fn read(&mut self, source: ResourceAny, bytes_max: u64) -> Called<Vec<Record>> {
        let batch = self.read_batch(source, bytes_max).await?;
        Ok(batch.map(|Batch { mut records, common }| {
            for record in &mut records {
                if let Some(place) = record.common.take() {
                    let mut all: BTreeMap<_, _> = common[place as usize].iter().cloned().collect();
                    all.extend(record.metadata.drain(..));
                    record.metadata = all.into_iter().collect();
                }
            }
            records
        }))
    }

    /// As the contract's `ack`.
    pub async fn ack(&mut self, source: ResourceAny, position: &[u8]) -> Called<()> {
        let exports = self.exports.opencdc_connector_source().source();
        exports.call_ack(&mut self.store, source, &position.to_vec()).await
    }

    /// As the contract's `progress`.
    pub async fn progress(&mut self, source: ResourceAny) -> Progress {
        let exports = self.exports.opencdc_connector_source().source();
        exports.call_progress(&mut self.store, source).await.expect("it never fails")
    }

    /// As the contract's `teardown`.
    pub async fn teardown(&mut self, source: ResourceAny) -> Called<()> {
        self.exports.opencdc_connector_source().source().call_teardown(&mut self.store, source).await
    }

    /// Drops a source or a destination.
    pub async fn forget(&mut self, resource: ResourceAny) -> wasmtime::Result<()> {
        resource.resource_drop_async(&mut self.store).await
    }

    /// A destination that is open.
    pub async fn destination(&mut self, settings: &[(&str, &str)]) -> ResourceAny {
        let parameters = self.specification.destination_parameters.clone();
        let settings = self.prepare(settings, &parameters);
        let exports = self.exports.opencdc_connector_destination().destination();
        let destination = exports.call_configure(&mut self.store, &settings).await;
        let destination = destination.expect("no trap").expect("configures");
        exports.call_open(&mut self.store, destination).await.expect("no trap").expect("opens");
        destination
    }

    /// As the contract's `write`.
    pub async fn write(&mut self, destination: ResourceAny, batch: &Batch) -> Called<Vec<Ack>> {
        let exports = self.exports.opencdc_connector_destination().destination();
        exports.call_write(&mut self.store, destination, batch).await
    }

    /// As the contract's `flush`.
    pub async fn flush(&mut self, destination: ResourceAny) -> Vec<Ack> {
        const WAIT_MS: u64 = 1000;
        let exports = self.exports.opencdc_connector_destination().destination();
        exports.call_flush(&mut self.store, destination, WAIT_MS).await.expect("no trap").expect("flushes")
    }

    /// Reads a stream to its end; it lives on.
    pub async fn drain(&mut self, stream: &Resource<DynInputStream>) -> Bytes {
        let stream = self.store.data_mut().table.get_mut(stream).expect("it lives");
        let mut whole = Vec::new();
        loop {
            match stream.read(1 << 16) {
                Ok(bytes) if bytes.is_empty() => stream.ready().await,
                Ok(bytes) => whole.extend_from_slice(&bytes),
                Err(StreamError::Closed) => return whole.into(),
                Err(error) => panic!("the stream broke: {error:?}"),
            }
        }
    }

    /// Drops a stream.
    pub fn release(&mut self, stream: Resource<DynInputStream>) {
        self.store.data_mut().table.delete(stream).expect("it lives");
    }

    /// What was logged in this context.
    pub fn logged(&self, context: &str) -> Vec<&str> {
        let lines = self.store.data().lines.iter().filter(|(known, _)| known == context);
        lines.map(|(_, message)| message.as_str()).collect()
    }
}
