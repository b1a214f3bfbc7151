//! The component: found, compiled once, kept compiled, described, and made into sources and destinations.
//!
//! Compiled code is kept by wasmtime's own cache under the digest of the component, the compiler and its
//! settings, in the user's cache folder. What an instance may do is `instance`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Engine};

use crate::bindings::ConnectorPre;
use crate::destination::Destination;
use crate::egress::upstream::{HyperUpstream, Upstream};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::instance::{self, Context, Instance, Means};
use crate::settings::{self, Settings};
use crate::source::Source;
use crate::state::{LastPlace, MemoryState, StateStore, Watched};

/// The component that this library was built with.
pub const EMBEDDED: &[u8] = include_bytes!(env!("S3_CONNECTOR_COMPONENT"));

pub use crate::bindings::specifier::{Parameter, ParameterType, Specification, Validation};

/// How a component is loaded.
#[derive(Clone, Default)]
pub struct Options {
    /// The component's file; none for the one that is built in.
    pub component: Option<PathBuf>,
    /// Where compiled code is kept; none for `s3-connector` in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// Whether nothing is kept between processes.
    pub without_cache: bool,
    /// How requests reach the store; none for the pooled HTTP client.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Variables of the AWS chain; none for those of the process.
    pub environment: Option<Environment>,
    /// Whether a component's memory can be looked at, by [`Source::memory`].
    pub core_dumps: bool,
}

/// A compiled component, ready for as many sources and destinations as are needed. Clones share everything,
/// connections included.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    pre: ConnectorPre<Context>,
    specification: Specification,
    upstream: Arc<dyn Upstream>,
    environment: Environment,
}

/// What a source or destination is given besides its settings.
#[derive(Clone, Default)]
pub struct Given {
    /// What log lines call it; `source` or `destination` where it is empty.
    pub name: String,
    /// Where its state is kept. Without one it is kept in memory, for as long as the source itself: a source that is
    /// renewed repeats nothing, and one that is made by another process delivers its lookback window again.
    pub state: Option<Arc<dyn StateStore>>,
}

impl Given {
    /// The same, with a note of where its state fails.
    fn watched(self, last: &LastPlace) -> Self {
        let watched = |store| -> Arc<dyn StateStore> {
            let last = last.clone();
            Arc::new(Watched { store, last })
        };
        let state = self.state.map(watched);
        Self { state, ..self }
    }
}

/// What a source or destination was made from, to make another one like it.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) connector: Connector,
    /// As they were given, secrets included. Never shown.
    pub(crate) settings: Settings,
    pub(crate) given: Given,
}

impl Connector {
    /// Loads the component; compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// `Invalid` where the file is no component of this contract, `Unavailable` where it can't be read.
    pub async fn load(options: Options) -> Result<Self> {
        let environment = options.environment.unwrap_or_else(Environment::process);
        let upstream = match options.upstream {
            Some(upstream) => upstream,
            None => Arc::new(
                HyperUpstream::new(environment.ca_bundle().as_deref())
                    .map_err(|error| Error::new(ErrorKind::Invalid, with_causes(&error)))?,
            ),
        };
        let bytes = match &options.component {
            None => EMBEDDED.to_vec(),
            Some(path) => std::fs::read(path).map_err(|error| {
                let message = format!("component {} cannot be read: {error}", path.display());
                Error::new(ErrorKind::Invalid, message)
            })?,
        };
        let cache = if options.without_cache {
            None
        } else {
            options.cache.or_else(cache_folder)
        };
        let core_dumps = options.core_dumps;
        // Compiling takes seconds where nothing is cached: not on a thread that serves requests.
        let compiled =
            tokio::task::spawn_blocking(move || compile(&bytes, cache.as_deref(), core_dumps))
                .await;
        let pre = compiled
            .map_err(|error| Error::new(ErrorKind::Internal, format!("compiling failed: {error}")))?
            .map_err(|error| {
                let what = options
                    .component
                    .map_or("built in".into(), |p| p.display().to_string());
                // What the compiler says may have lines; an error is one.
                let why = format!("{error:#}")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ");
                let message = format!("no S3 connector component ({what}): {why}");
                Error::new(ErrorKind::Invalid, message)
            })?;
        let means = Means {
            name: "specify".to_owned(),
            state: None,
        };
        let mut instance = Instance::new(&pre, means).await?;
        let specification = instance
            .call(async |exports, store| {
                exports
                    .opencdc_connector_specifier()
                    .call_specify(store)
                    .await
            })
            .await?;
        Ok(Self(Arc::new(Inner {
            pre,
            specification,
            upstream,
            environment,
        })))
    }

    /// What the component says of itself, and all its settings.
    pub fn specification(&self) -> &Specification {
        &self.0.specification
    }

    /// The variables that stand in for missing settings.
    pub fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// Makes a source: fills what the environment has, checks the settings, chooses credentials. No request is
    /// sent before `open`.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming every setting that is unknown, missing or malformed.
    pub async fn source(&self, settings: Settings, mut given: Given) -> Result<Source> {
        given
            .state
            .get_or_insert_with(|| Arc::new(MemoryState::default()));
        let origin = Origin {
            connector: self.clone(),
            settings: settings.clone(),
            given: given.clone(),
        };
        let parameters = &self.0.specification.source_parameters;
        let prepared = settings::prepare(settings, parameters, &self.0.environment).await;
        let given = given.watched(&prepared.state_place);
        let instance = self.instance(given, "source").await?;
        Source::configure(instance, prepared, self.upstream(), origin).await
    }

    /// Makes a destination: as [`source`](Self::source).
    ///
    /// # Errors
    ///
    /// `Invalid`, naming every setting that is unknown, missing or malformed.
    pub async fn destination(&self, settings: Settings, given: Given) -> Result<Destination> {
        let origin = Origin {
            connector: self.clone(),
            settings: settings.clone(),
            given: given.clone(),
        };
        let parameters = &self.0.specification.destination_parameters;
        let prepared = settings::prepare(settings, parameters, &self.0.environment).await;
        let given = given.watched(&prepared.state_place);
        let instance = self.instance(given, "destination").await?;
        Destination::configure(instance, prepared, self.upstream(), origin).await
    }

    async fn instance(&self, given: Given, role: &str) -> Result<Instance> {
        let name = if given.name.is_empty() {
            role.to_owned()
        } else {
            given.name
        };
        Instance::new(
            &self.0.pre,
            Means {
                name,
                state: given.state,
            },
        )
        .await
    }

    pub(crate) fn upstream(&self) -> Arc<dyn Upstream> {
        Arc::clone(&self.0.upstream)
    }
}

/// Compiles, or takes what was compiled before.
fn compile(
    bytes: &[u8],
    cache: Option<&Path>,
    core_dumps: bool,
) -> wasmtime::Result<ConnectorPre<Context>> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .coredump_on_trap(core_dumps);
    if let Some(folder) = cache {
        let mut kept = CacheConfig::new();
        kept.with_directory(folder);
        match Cache::new(kept) {
            Ok(cache) => {
                config.cache(Some(cache));
            }
            // A home that can't be written to costs seconds at each start, not the start.
            Err(error) => tracing::warn!(
                folder = %folder.display(),
                "compiled code is not kept, so each start compiles: {error:#}"
            ),
        }
    }
    let engine = Engine::new(&config)?;
    let component = Component::from_binary(&engine, bytes)?;
    let pre = ConnectorPre::new(instance::linker(&engine)?.instantiate_pre(&component)?)?;
    tick(&engine)?;
    Ok(pre)
}

/// Moves the engine's epoch on, for as long as there is an engine.
fn tick(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    // A thread of its own: a component that computes on every worker must still be interrupted.
    let ticker = std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::park_timeout(instance::TICK);
            }
        });
    ticker.map(drop).map_err(wasmtime::Error::from)
}

/// `s3-connector` in the user's cache folder: `XDG_CACHE_HOME`, or `.cache` at home.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let folder =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("s3-connector"))
}

/// The text that a component gets in the place of a secret.
pub(crate) const REDACTED: &str = "redacted";
