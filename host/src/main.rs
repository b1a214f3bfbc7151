//! Owns the start of the `s3-connector` command and its exit code. Leaves what commands do to `cli`, and the process that
//! Conduit starts to the library's `conduit`.

mod cli;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use s3_connector_host::{CompiledAhead, Options, conduit};

/// Forbids core files: if this process crashes, its memory holds keys.
///
/// A limit of 0 prevents core files, but not piping a core to a program (`core_pattern`); on Linux a limit of 1 prevents
/// both (<https://man7.org/linux/man-pages/man5/core.5.html>). `PR_SET_DUMPABLE` would keep out the owner's debugger too.
fn forbid_core_files() {
    let limit = Rlimit { current: Some(1), maximum: Some(1) };
    // It fails only if the limit is lower already.
    let _ = setrlimit(Resource::Core, limit);
}

/// The component's code, which `make build` compiles ahead; empty in every other build, which compiles at its first start.
// SAFETY: the file is what this command's own `compile` wrote, during the build that includes it: see the Makefile. It is a part
// of this executable, so nobody can change it who could not change the code around it.
#[expect(unsafe_code, reason = "code is included as what it is")]
static CODE: CompiledAhead = unsafe { CompiledAhead::new(include_bytes!(env!("S3_CONNECTOR_CODE"))) };

/// Requests are made of many small pieces, which threads hand on to one another.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    forbid_core_files();
    if conduit::is_wanted() {
        return conduit::serve(Options { compiled_ahead: Some(CODE), ..Options::default() });
    }
    let arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::report(&format!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(arguments, CODE));
    // A thread that still waits for stdin must not keep the process alive.
    runtime.shutdown_background();
    code
}
