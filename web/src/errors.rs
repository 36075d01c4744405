//! Errors as JavaScript sees them, and the end of a module that failed.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn write_to_console(text: &str);
}

/// An `Error` with this message.
pub(crate) fn thrown(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

/// Runs when the module is loaded: a fault of ours says where it is, instead of only `unreachable`.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|fault| write_to_console(&fault.to_string())));
}
