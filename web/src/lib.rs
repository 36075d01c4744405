//! supernode-bench in a browser, as three modules of WebAssembly that `build.sh` makes of this package.
//!
//! `model` projects, and is small: every visitor loads it. `reader` shows, compares and saves records; it is loaded when
//! there is one. Both run in every browser. `tool` measures, in a worker. All take and give strings, most of them JSON, and
//! throw an `Error` whose message is one line for a person.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod errors;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "reader")]
mod reader;
#[cfg(feature = "tool")]
#[expect(deprecated, reason = "that is how wasm-bindgen marks JSPI as new; the worker asks for it before it starts")]
mod tool;
