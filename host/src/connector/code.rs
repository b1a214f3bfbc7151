//! Owns the component's code: the engine, compiling, and code that was compiled ahead or kept from an earlier start. Leaves
//! what a component may do to `instance`.
//!
//! There are three ways to compiled code, the first that serves is taken: code that was compiled ahead when the command was
//! built; wasmtime's own cache, under a digest of the component, the compiler and its settings; the compiler.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, Engine, ProfilingStrategy};

use super::instance::{self, Context};
use super::{EMBEDDED, contract};
use crate::bindings::ConnectorPre;
use crate::error::{Error, ErrorKind, Result};

/// What code that was compiled ahead begins with: what it is, and the version of its form.
const MAGIC: [u8; 8] = *b"s3ccode\x01";

/// Bytes of a digest of the component that the code is of.
const DIGEST_BYTES: usize = 32;

/// The built-in component's code, compiled when the program was built. A start with it takes milliseconds, and needs no cache.
///
/// Code of another component, wasmtime, architecture or engine is recognised and left alone: the start then compiles, as it
/// does without.
#[derive(Clone, Copy)]
pub struct CompiledAhead(&'static [u8]);

impl CompiledAhead {
    /// Takes what [`compile_ahead`] returned. Nothing at all is taken too, for a program that is built before its code is.
    ///
    /// # Safety
    ///
    /// Machine code is run as it is: nothing can check that it stays within its sandbox. `bytes` must be what
    /// [`compile_ahead`] returned, or be empty, and must have been out of reach since of anybody who could not change the
    /// program itself just as well. Bytes that the program includes (`include_bytes!`) from its own build are; those of a file
    /// that is read at run time are only if the file is as well protected as the program.
    #[expect(unsafe_code, reason = "it declares what a caller must keep to; nothing unsafe happens here")]
    #[must_use]
    pub const unsafe fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// The code, if it is of this component.
    fn of(self, component: &[u8]) -> Option<&'static [u8]> {
        let (magic, rest) = self.0.split_at_checked(MAGIC.len())?;
        let (digest, code) = rest.split_at_checked(DIGEST_BYTES)?;
        (magic == MAGIC && digest == Sha256::digest(component).as_slice()).then_some(code)
    }
}

/// What code that was compiled ahead may use of an x86-64 processor: nearly all since 2015 have it, and without it vectors
/// take several times as long. On others the start compiles, as it does without.
const EXTENSIONS: &str = "x86-64-v3";

/// Compiles the built-in component for the processors of this architecture, on x86-64 for those with AVX2 and what came with it, to be
/// included when the program is built once more: see [`CompiledAhead`]. Takes seconds.
///
/// # Errors
///
/// `Internal`, if it can't be compiled.
pub fn compile_ahead() -> Result<Vec<u8>> {
    let code = precompile().map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the component can't be compiled ahead: {error:#}"))
    })?;
    Ok([&MAGIC[..], Sha256::digest(EMBEDDED).as_slice(), &code].concat())
}

#[expect(unsafe_code, reason = "wasmtime calls all of the compiler's flags unsafe")]
fn precompile() -> wasmtime::Result<Vec<u8>> {
    const TARGET: &str = env!("S3_CONNECTOR_TARGET");
    let mut config = config(false);
    // A target that is named has none of this machine's extensions: the code must run where the program does.
    config.target(TARGET)?;
    if TARGET.starts_with("x86_64") {
        // SAFETY: the flag names the instructions that may be used. The code holds their names, and an engine loads it only
        // if its processor has them all (`Component::deserialize`).
        unsafe { config.cranelift_flag_enable(EXTENSIONS) };
    }
    Engine::new(&config)?.precompile_component(EMBEDDED)
}

/// The variable that has the component's functions named to Linux's `perf`, in `/tmp/perf-PID.map`.
const PERF_MAP: &str = "S3_CONNECTOR_PERF_MAP";

/// Where wasmtime keeps what it compiled: a folder of its own, since it removes what it does not know from there.
const COMPILED: &str = "compiled";

/// Settings of every engine. Code loads only into an engine of the settings that it was compiled with.
fn config(core_dumps: bool) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true).coredump_on_trap(core_dumps);
    if std::env::var_os(PERF_MAP).is_some_and(|value| !value.is_empty()) {
        config.profiler(ProfilingStrategy::PerfMap);
    }
    config
}

/// Compiles a component, or takes what was compiled before.
pub(super) fn compile(
    bytes: &[u8],
    ahead: Option<CompiledAhead>,
    cache: Option<&Path>,
    core_dumps: bool,
) -> wasmtime::Result<ConnectorPre<Context>> {
    if let Some(code) = ahead.and_then(|ahead| ahead.of(bytes)) {
        let engine = Engine::new(&config(core_dumps))?;
        match load(&engine, code) {
            Ok(component) => return prepare(&engine, &component),
            Err(error) => {
                tracing::debug!("the code that was compiled ahead does not fit, so it is compiled: {error:#}")
            }
        }
    }
    contract::check_kind(bytes)?;
    let mut config = config(core_dumps);
    if let Some(folder) = cache {
        let mut kept = CacheConfig::new();
        kept.with_directory(folder.join(COMPILED));
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
    prepare(&engine, &Component::from_binary(&engine, bytes)?)
}

/// Loads code that was compiled ahead, if it is for this engine: wasmtime compares its own version, the architecture, the
/// processor's extensions and the engine's settings.
#[expect(unsafe_code, reason = "machine code is trusted as the program is")]
fn load(engine: &Engine, code: &'static [u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` must get what `precompile_component` returned, unchanged. `code` comes from a `CompiledAhead`,
    // whose author promised just that, and its digest says that it is of this component.
    unsafe { Component::deserialize(engine, code) }
}

/// Joins a component with what the host gives it.
fn prepare(engine: &Engine, component: &Component) -> wasmtime::Result<ConnectorPre<Context>> {
    contract::check(engine, component)?;
    let pre = ConnectorPre::new(instance::linker(engine)?.instantiate_pre(component)?)?;
    tick(engine)?;
    Ok(pre)
}

/// Moves the engine's epoch on, for as long as there is an engine.
fn tick(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    // A thread of its own: a component that computes on every worker must still be interrupted.
    let ticker = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::park_timeout(instance::TICK);
        }
    });
    ticker.map(drop).map_err(wasmtime::Error::from)
}

/// Where compiled code and components from registries are kept unless [`Options::cache`](crate::Options::cache) says otherwise:
/// `s3-connector` in the user's cache folder, `XDG_CACHE_HOME` or `.cache` at home; `None` where there is neither.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("s3-connector"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unsafe_code, reason = "none of this is ever loaded as code")]
    fn ahead(bytes: Vec<u8>) -> CompiledAhead {
        // SAFETY: the tests look only at whether the code is taken for the component's.
        unsafe { CompiledAhead::new(Vec::leak(bytes)) }
    }

    fn framed(component: &[u8], code: &[u8]) -> Vec<u8> {
        [&MAGIC[..], Sha256::digest(component).as_slice(), code].concat()
    }

    #[test]
    fn code_counts_only_for_the_component_that_it_is_of() {
        let ours = framed(b"component", b"code");
        assert_eq!(ahead(ours.clone()).of(b"component"), Some(&b"code"[..]));
        assert_eq!(ahead(ours.clone()).of(b"another"), None);
        for cut in 0..MAGIC.len() + DIGEST_BYTES {
            assert_eq!(ahead(ours[..cut].to_vec()).of(b"component"), None, "cut={cut}");
        }
        assert_eq!(ahead([b"X", &ours[1..]].concat()).of(b"component"), None);
    }

    #[test]
    fn code_that_is_none_is_refused_by_the_engine() {
        let engine = Engine::new(&config(false)).expect("an engine");
        assert!(load(&engine, b"\x7fELF is not enough").is_err());
    }
}
