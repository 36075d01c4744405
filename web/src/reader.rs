//! What a page asks of records: their sections, comparisons, downloads, and the chip that the model projects.
//!
//! Strings go in and out: JSON, HTML whose texts are escaped, or plain text. Every error is one line that says what to do.

mod records;

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::errors::thrown;

/// A record in a few words, as JSON.
///
/// # Errors
/// One line: the text is no record, or not a sound one.
#[wasm_bindgen]
pub fn read_record(text: &str, name: &str) -> Result<String, JsError> {
    records::read(text, name).map_err(thrown)
}

/// The chip of a record, as JSON for `project` of the model.
///
/// # Errors
/// One line: the text is no sound record, or one without the ceilings of a chip.
#[wasm_bindgen]
pub fn chip(text: &str, name: &str) -> Result<String, JsError> {
    records::chip(text, name).map_err(thrown)
}

/// How far a run is, from its journal: JSON with its summary, its last cases, and figures for the roofline.
///
/// # Errors
/// One line: the text is no record, or not a sound one.
#[wasm_bindgen]
pub fn progress(text: &str) -> Result<String, JsError> {
    records::progress(text).map_err(thrown)
}

/// The sections of a report about records: JSON with HTML and the figures of its charts. `records_json` is a list of
/// objects with `name` and `text`, here and below.
///
/// # Errors
/// One line: a text is no sound record.
#[wasm_bindgen]
pub fn record_sections(records_json: &str) -> Result<String, JsError> {
    records::sections(records_json).map_err(thrown)
}

/// The first record compared with the others: HTML.
///
/// # Errors
/// One line: a text is no sound record, or there is only one.
#[wasm_bindgen]
pub fn compare(records_json: &str) -> Result<String, JsError> {
    records::compare(records_json).map_err(thrown)
}

/// The report page of records with the projections of the first device: one HTML document. `plot` is the text of plot.js.
/// `loader` and `module` are those of the module `model`, the latter compressed with gzip; they lie in the page and answer its
/// sliders. Without a loader the page has none.
///
/// # Errors
/// One line: a text is no sound record.
#[wasm_bindgen]
pub fn report_html(records_json: &str, plot: &str, loader: &str, module: &[u8]) -> Result<String, JsError> {
    records::report_html(records_json, plot, (loader, module)).map_err(thrown)
}

/// The cases of records as CSV.
///
/// # Errors
/// One line: a text is no sound record.
#[wasm_bindgen]
pub fn csv(records_json: &str) -> Result<String, JsError> {
    records::csv(records_json).map_err(thrown)
}

/// A record in one line of plain text, to be sent to somebody.
///
/// # Errors
/// One line: the text is no record, or not a sound one.
#[wasm_bindgen]
pub fn headline(text: &str) -> Result<String, JsError> {
    records::headline(text).map_err(thrown)
}
