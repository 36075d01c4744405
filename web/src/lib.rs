//! supernode-bench in a browser, as two modules of WebAssembly that `build.sh` makes of this package.
//!
//! `model` answers questions from specifications and records; it runs in every browser. `tool` measures, in a worker. Both take
//! and give strings, most of them JSON, and throw an `Error` whose message is one line for a person.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod errors;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "tool")]
#[expect(deprecated, reason = "that is how wasm-bindgen marks JSPI as new; the worker asks for it before it starts")]
mod tool;
