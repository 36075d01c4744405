//! The model itself in a page: the module of WebAssembly that `make web` builds, with the question of the what-ifs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

use crate::projection::Request;
use crate::projection::catalogue::MEASURED;
use crate::specs::{Fabric, Model};

/// Loads the module and tells `page.js`.
const GLUE: &str = include_str!("model.js");

/// A page with the model stays below this many bytes, so that it can still be sent around.
pub const MOST_WITH_MODEL: usize = 2_000_000;

/// The model as a page carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedModel {
    script: String,
    module: String,
    question: Value,
}

impl EmbeddedModel {
    /// From the module's loader (`model.js`) and the module, compressed with gzip; `request` is that of the what-ifs.
    ///
    /// # Errors
    /// One line: the texts are not what `make web` builds, or the request is about a model or fabric that the module lacks.
    pub fn new(loader: &str, module: &[u8], request: &Request) -> Result<Self, String> {
        let is_loader = loader.contains("__wbg_init as default") && !loader.contains("</") && !loader.contains("<!--");
        if !is_loader || !module.starts_with(&[0x1f, 0x8b]) {
            return Err("it is not what `make web` builds; build it again".to_owned());
        }
        let (model, fabric) = (&request.model.name, &request.fabric.name);
        let has_model = Model::builtin_names().contains(&model.as_str())
            && Model::load(model).is_ok_and(|known| known == request.model);
        let has_fabric = Fabric::builtin_names().contains(&fabric.as_str())
            && Fabric::load(fabric).is_ok_and(|known| known == request.fabric);
        if !has_model || !has_fabric {
            return Err("it has only the models and fabrics of specs/".to_owned());
        }
        let question = json!({
            "question": { "model": model, "fabric": fabric, "phase": "decode", "chip": MEASURED },
            "chip": request.chip,
        });
        Ok(Self { script: format!("{loader}\n{GLUE}"), module: STANDARD.encode(module), question })
    }

    /// The text of its script, which the policy of the page names by its hash.
    pub(super) fn script(&self) -> &str {
        &self.script
    }

    /// The script with what it reads.
    pub(super) fn elements(&self) -> Markup {
        let question = self.question.to_string().replace('<', "\\u003c");
        html! {
            script type="application/json" id="model-question" { (PreEscaped(question)) }
            script type="text/plain" id="model-module" { (self.module) }
            script type="module" { (PreEscaped(&self.script)) }
        }
    }
}
