//! Owns the generated code: the world `connector`, from the component's side. Leaves what it means to `component`, which
//! exports, and to `wasi`, which imports.

wit_bindgen::generate!({
    path: "../wit",
    world: "connector",
    with: {
        "wasi:clocks/monotonic-clock@0.2.12": ::wasi::clocks::monotonic_clock,
        "wasi:clocks/wall-clock@0.2.12": ::wasi::clocks::wall_clock,
        "wasi:http/outgoing-handler@0.2.12": ::wasi::http::outgoing_handler,
        "wasi:http/types@0.2.12": ::wasi::http::types,
        "wasi:io/error@0.2.12": ::wasi::io::error,
        "wasi:io/poll@0.2.12": ::wasi::io::poll,
        "wasi:io/streams@0.2.12": ::wasi::io::streams,
        "wasi:random/random@0.2.12": ::wasi::random::random,
    },
    generate_all,
});
