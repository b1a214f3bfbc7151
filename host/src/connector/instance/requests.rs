//! Owns the length of the texts that make a request: the runtime checks their form and keeps them as long as they are.
//! Leaves header fields to the runtime's own bound, and what may be asked for to the egress.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::Context;

/// Bytes of a method or an authority. The longest method of HTTP has 17, a host's name 253 and a port 6. Paths have 64 KiB
/// at most and schemes 64 bytes, by the types that hold them.
const TEXT_BYTES_MAX: usize = 512;

/// Puts bounded functions in the place of those of the runtime.
pub(super) fn bound(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store, (request, method): (Resource<HostOutgoingRequest>, Method)| {
            if matches!(&method, Method::Other(text) if text.len() > TEXT_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): (Resource<HostOutgoingRequest>, Option<String>)| {
            if authority.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
