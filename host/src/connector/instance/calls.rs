//! Owns how much one call of the component may have the host do: while the host works nobody interrupts the component, and where components
//! do so on all workers, each step of all others waits for as long. Leaves the time of many calls to `compute`.
//!
//! What calls hand over is bounded here at once; what they are given is a piece of a body, a value of the state or a header, which have
//! bounds of their own.

use wasmtime::component::Linker;
use wasmtime::{CallHook, Store};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::random::random::Host as _;

use super::Context;
use crate::state::COMMIT_BYTES_MAX;

/// Bytes that the component may hand over in one call, by the runtime's count, which takes in what elements of lists cost to hold: twice
/// those of the largest commit of state, so that one that is too large is refused and not a trap. A piece of a body has 1 MiB at most.
const CALL_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;

/// Bytes that a call of the component may bring over in the end: twice the largest record. Batches of records are a fraction of it.
const RESULT_BYTES_MAX: usize = 129 << 20;

/// Random bytes that one call may draw. They take a fraction of a millisecond; ours draws 32 at the most.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Bounds what goes over from now on.
pub(super) fn bound_copies(store: &mut Store<Context>) {
    store.set_hostcall_fuel(RESULT_BYTES_MAX);
    store.call_hook(|mut store, hook| {
        match hook {
            CallHook::CallingHost => store.set_hostcall_fuel(CALL_BYTES_MAX),
            CallHook::ReturningFromHost => store.set_hostcall_fuel(RESULT_BYTES_MAX),
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
        Ok(())
    });
}

/// Puts a bounded function in the place of that of the runtime.
pub(super) fn bound_random(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:random/random@0.2.12")?.func_wrap("get-random-bytes", |mut store, (bytes,): (u64,)| {
        if bytes > RANDOM_BYTES_MAX {
            let message = "it asked for too many random bytes in one call";
            return Err(wasmtime::format_err!("{message}; bytes=`{bytes}`, bytes_max=`{RANDOM_BYTES_MAX}`"));
        }
        Ok((store.data_mut().ctx().ctx.random().get_random_bytes(bytes)?,))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
