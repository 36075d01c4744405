//! Makes a WebAssembly module loadable from JavaScript: `web-bindgen MODULE.wasm FOLDER NAME` writes `NAME.js` and
//! `NAME_bg.wasm` into the folder.
//!
//! It is what the command `wasm-bindgen --target web` does, through the library behind that command.

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder, name] = arguments.as_slice() else {
        bail!("give three arguments: the module, the folder to write to, and the name without ending");
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(name).typescript(false).remove_producers_section(true);
    bindgen.omit_default_module_path(false).web(true)?;
    bindgen.generate(folder).with_context(|| format!("{module} cannot be made loadable from JavaScript"))
}
