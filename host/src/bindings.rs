//! The only generated code of the host: the world `connector` from the side of who runs it.
//!
//! Nothing outside this crate sees these types; `source`, `destination` and `record` convert.

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "connector",
        imports: { default: trappable, "opencdc:connector/state": async },
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

pub use generated::exports::opencdc::connector::specifier;
pub(crate) use generated::exports::opencdc::connector::{destination, source};
pub(crate) use generated::opencdc::connector::{log, state, types};
pub(crate) use generated::{Connector, ConnectorPre};
