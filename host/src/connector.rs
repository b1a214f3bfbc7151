//! Owns the component: it is found, loaded once, and described. Leaves its code to `code`, what an instance may do to
//! `instance`, and its use to `source` and `destination`.

pub(crate) mod code;
pub(crate) mod contract;
pub(crate) mod destination;
pub(crate) mod explain;
pub(crate) mod handle;
pub(crate) mod instance;
pub(crate) mod settings;
pub(crate) mod source;

use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bindings::ConnectorPre;
use crate::egress::{HyperUpstream, Upstream};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result, cut};
use crate::registry::{Reference, Registry};
use crate::tally::Tally;

use self::code::{CompiledAhead, cache_folder, compile};
use self::contract::Interfaces;
use self::instance::{COMPUTE_MAX, Context, Instance, InstanceOptions};

/// The component that this library was built with.
pub const EMBEDDED: &[u8] = include_bytes!(env!("S3_CONNECTOR_COMPONENT"));

/// Bytes of a component. Ours has 5 MiB; compiled code is several times as large.
pub const COMPONENT_BYTES_MAX: u64 = 32 << 20;

/// How long compiling a component that was given may take. Ours takes 5 s of two processors. What the compiler takes of
/// memory meanwhile has no bound: small files can be made that need gigabytes.
pub const COMPILE_MAX: Duration = Duration::from_secs(60);

/// Settings of one side that a component may describe. Ours describes a dozen.
const PARAMETERS_MAX: usize = 256;

/// Bytes of all texts of a specification. Ours has 6 KiB.
const SPECIFICATION_BYTES_MAX: usize = 256 << 10;

pub use crate::bindings::specifier::{Parameter, ParameterType, Specification, Validation};

/// A component in the place of the one that is built in. Its text is a path, or begins with `oci://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A file.
    File(PathBuf),
    /// One in a registry, by its digest.
    Registry(Reference),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Registry(reference) => write!(f, "{reference}"),
        }
    }
}

/// How a component is loaded.
#[derive(Clone, Default)]
pub struct Options {
    /// The component; `None` for the one that is built in.
    pub component: Option<Component>,
    /// Whether registries on other machines may be spoken to without TLS: see [`Registry::plain_http`].
    pub plain_http: bool,
    /// Where compiled code and components from registries are kept; `None` for `s3-connector` in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// Whether nothing is kept between processes.
    pub without_cache: bool,
    /// The built-in component's code, compiled when the program was built; `None` to compile it at the first start, which takes
    /// seconds, and keep it in the cache.
    pub compiled_ahead: Option<CompiledAhead>,
    /// How requests reach the store; `None` for the pooled HTTP client.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Variables of the AWS chain; `None` for those of the process.
    pub environment: Option<Environment>,
    /// How long a component may compute in one call; `None` for [`COMPUTE_MAX`](crate::COMPUTE_MAX).
    pub compute_max: Option<Duration>,
    /// How long compiling a component that was given may take; `None` for [`COMPILE_MAX`].
    pub compile_max: Option<Duration>,
    /// Whether a component's memory can be looked at, by [`Source::memory`](crate::Source::memory).
    #[doc(hidden)]
    pub core_dumps: bool,
}

/// A compiled component, ready for as many sources and destinations as are needed. Clones share everything,
/// connections included.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> s3_connector_host::Result<()> {
/// use s3_connector_host::{Connector, Options};
///
/// let connector = Connector::load(Options::default()).await?;
/// for parameter in &connector.specification().source_parameters {
///     println!("{}: {}", parameter.name, parameter.description);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    pre: ConnectorPre<Context>,
    specification: Specification,
    compute_max: Duration,
    upstream: Arc<dyn Upstream>,
    environment: Environment,
    /// The component that was given; `None` for the one that is built in.
    given: Option<Component>,
}

/// A component that was compiled and compared with the contract, and of which nothing has run.
struct Compiled {
    bytes: Bytes,
    pre: ConnectorPre<Context>,
    upstream: Arc<dyn Upstream>,
    environment: Environment,
}

/// A component that can be a connector here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// The component itself.
    pub bytes: Bytes,
    /// What it asks for and offers.
    pub interfaces: Interfaces,
}

/// Finds a component, compiles it unless that was done before, and compares it with the contract. Nothing of it runs.
///
/// # Errors
///
/// As [`Connector::load`].
pub async fn inspect(options: Options) -> Result<Inspected> {
    let Compiled { bytes, pre, .. } = compiled(&options).await?;
    let pre = pre.instance_pre();
    Ok(Inspected { bytes, interfaces: Interfaces::of(pre.engine(), pre.component()) })
}

impl Connector {
    /// Loads the component; compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// `Invalid` where the component can't be read, is named by a tag or is none of this contract, and where the environment names a
    /// proxy or certificates that can't be used; otherwise what [`Registry::fetch`] fails with.
    pub async fn load(options: Options) -> Result<Self> {
        let Compiled { pre, upstream, environment, .. } = compiled(&options).await?;
        let compute_max = options.compute_max.unwrap_or(COMPUTE_MAX);
        let unnamed = InstanceOptions { name: "specify".to_owned(), state: None };
        let mut instance = Instance::new(&pre, unnamed, compute_max, Tally::default()).await?;
        let specification = instance
            .call(async |exports, store| exports.opencdc_connector_specifier().call_specify(store).await)
            .await?;
        check_size(&specification)?;
        let given = options.component;
        Ok(Self(Arc::new(Inner { given, pre, specification, compute_max, upstream, environment })))
    }

    /// Whose fault a bug of this component is, and whom to tell.
    pub(crate) fn blame(&self) -> String {
        blame(self.0.given.as_ref())
    }

    /// What the component says of itself, and all its settings.
    pub fn specification(&self) -> &Specification {
        &self.0.specification
    }

    /// The variables that stand in for missing settings.
    pub fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// A new instance of the component.
    pub(crate) async fn instance(&self, options: InstanceOptions, tally: Tally) -> Result<Instance> {
        Instance::new(&self.0.pre, options, self.0.compute_max, tally).await
    }

    pub(crate) fn upstream(&self) -> Arc<dyn Upstream> {
        Arc::clone(&self.0.upstream)
    }
}

/// Whose fault a bug of a component is, and whom to tell; `None` is the one that is built in.
#[must_use]
pub fn blame(given: Option<&Component>) -> String {
    match given {
        Some(component) => format!("the component {component} is at fault: report it to its author"),
        None => "this is a bug of the connector: please report it".to_owned(),
    }
}

async fn compiled(options: &Options) -> Result<Compiled> {
    let environment = options.environment.clone().unwrap_or_else(Environment::process);
    let upstream = match &options.upstream {
        Some(upstream) => Arc::clone(upstream),
        None => {
            let upstream = HyperUpstream::from_environment(&environment);
            Arc::new(upstream.map_err(|error| Error::of(ErrorKind::Invalid, error))?)
        }
    };
    let cache = if options.without_cache { None } else { options.cache.clone().or_else(cache_folder) };
    let bytes = match &options.component {
        None => Bytes::from_static(EMBEDDED),
        Some(Component::File(path)) => read_file(path.clone()).await?,
        Some(Component::Registry(reference)) => {
            let registry = Registry::new(Arc::clone(&upstream)).plain_http(options.plain_http);
            let registry = cache.iter().fold(registry, |registry, folder| registry.keep_in(folder));
            fetch(&registry, reference).await?
        }
    };
    let (core_dumps, ahead) = (options.core_dumps, options.compiled_ahead);
    let limit = options.compile_max.unwrap_or(COMPILE_MAX);
    // What was built in is ours: a slow machine may take longer.
    let limit = options.component.is_some().then_some(limit);
    let held = bytes.clone();
    let compiled = apart(limit, move || compile(&held, ahead, cache.as_deref(), core_dumps)).await?;
    let pre = compiled.map_err(|error| {
        let what = options.component.as_ref().map_or("built in".into(), ToString::to_string);
        // What the compiler says may have lines; an error is one.
        let why = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
        let message = format!("no S3 connector component ({what}): {}", cut(&why));
        Error::new(ErrorKind::Invalid, message)
    })?;
    Ok(Compiled { bytes, pre, upstream, environment })
}

/// Fetches a component by its digest. One that is named by a tag is refused: the error says what the tag stands for now.
async fn fetch(registry: &Registry, reference: &Reference) -> Result<Bytes> {
    if reference.digest().is_some() {
        return registry.fetch(reference).await;
    }
    let pinned = registry.resolve(reference).await?;
    let message =
        format!("`{reference}` can be moved from one component to another: name it by its digest, now `{pinned}`");
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Reads a component's file, if it is no larger than one may be, where blocking is fine.
async fn read_file(path: PathBuf) -> Result<Bytes> {
    let name = path.display().to_string();
    let read = move || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > COMPONENT_BYTES_MAX {
            let why = format!("it is larger than {} MiB", COMPONENT_BYTES_MAX >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(Bytes::from(bytes))
    };
    let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    read.map_err(|error| {
        let message = format!("component {name} cannot be read: {error}");
        Error::new(ErrorKind::Invalid, message).caused_by(Arc::new(error))
    })
}

/// Does what takes seconds on a thread of its own, which is left alone once its time is over: a compiler can't be
/// interrupted. Not one of the runtime's, which would wait for it at its end.
async fn apart<T: Send + 'static>(limit: Option<Duration>, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let internal = |why: &dyn fmt::Display| Error::new(ErrorKind::Internal, format!("compiling failed: {why}"));
    let (done, told) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("compile".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = done.send(job());
        })
        .map_err(|error| internal(&error))?;
    let told = async { told.await.map_err(|error| internal(&error)) };
    match limit {
        None => told.await,
        Some(limit) => tokio::time::timeout(limit, told).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs_f64();
            let message = format!("the component was not compiled within {seconds} s");
            Err(Error::new(ErrorKind::Invalid, message))
        }),
    }
}

/// Whether a component says no more of itself than can be shown.
fn check_size(specification: &Specification) -> Result<()> {
    let refuse = |what: &str, count: usize, max: usize| {
        let message =
            format!("the component's specification has too many {what}; {what}=`{count}`, {what}_max=`{max}`");
        Err(Error::new(ErrorKind::Invalid, message))
    };
    let sides = [&specification.source_parameters, &specification.destination_parameters];
    for parameters in sides {
        if parameters.len() > PARAMETERS_MAX {
            return refuse("parameters", parameters.len(), PARAMETERS_MAX);
        }
    }
    let texts = [
        &specification.name,
        &specification.summary,
        &specification.description,
        &specification.version,
        &specification.author,
    ];
    let bytes = texts.into_iter().map(String::len).sum::<usize>()
        + label_bytes(&specification.labels)
        + sides.into_iter().flatten().map(bytes).sum::<usize>();
    if bytes > SPECIFICATION_BYTES_MAX {
        return refuse("bytes", bytes, SPECIFICATION_BYTES_MAX);
    }
    Ok(())
}

/// Bytes of a parameter's texts; each of them takes at least one.
fn bytes(parameter: &Parameter) -> usize {
    let validations = parameter.validations.iter().map(|validation| match validation {
        Validation::Required | Validation::GreaterThan(_) | Validation::LessThan(_) => 1,
        Validation::Inclusion(texts) | Validation::Exclusion(texts) => texts.iter().map(|text| text.len() + 1).sum(),
        Validation::Regex(text) => text.len() + 1,
    });
    parameter.name.len()
        + parameter.description.len()
        + parameter.default.as_ref().map_or(0, String::len)
        + validations.sum::<usize>()
        + label_bytes(&parameter.labels)
}

/// Bytes of labels; each of them takes at least one.
fn label_bytes(labels: &[(String, String)]) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + 1).sum()
}
