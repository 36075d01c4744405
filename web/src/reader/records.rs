//! Records: read as strangers' files, shown as a report shows them, compared, and saved in other formats.

use std::path::Path;

use serde::{Deserialize, Serialize};
use supernode_bench::projection::model_table::{IN_DEPTH, ModelTable};
use supernode_bench::projection::outlook::{self, Outlook};
use supernode_bench::projection::{ChipModel, Phase};
use supernode_bench::record::{self, Record};
use supernode_bench::report::{
    self, EmbeddedModel, MOST_WITH_MODEL, Page, ProjectedRow, ProjectionPair, RecordSummary, compare as comparing,
    export,
};

/// The most records that are handled at once: each may be large.
const MOST_RECORDS: usize = 64;

/// A text with the name of the file that it came from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    text: String,
}

/// How far a run is.
#[derive(Serialize)]
struct Progress {
    summary: RecordSummary,
    /// Figures for `page.js`.
    figures: String,
}

fn parse(text: &str, name: &str) -> Result<Record, String> {
    record::parse(text.as_bytes(), Path::new(name)).map_err(|error| error.to_string())
}

/// All records of a list, each with its name.
fn parse_all(list: &str) -> Result<Vec<(String, Record)>, String> {
    let files: Vec<Named> = serde_json::from_str(list).map_err(|error| format!("the list of records: {error}"))?;
    if files.len() > MOST_RECORDS {
        return Err(format!("{} records, where {MOST_RECORDS} are the most: choose some", files.len()));
    }
    files.iter().map(|file| Ok((file.name.clone(), parse(&file.text, &file.name)?))).collect()
}

fn only_records(list: &str) -> Result<Vec<Record>, String> {
    Ok(parse_all(list)?.into_iter().map(|(_, record)| record).collect())
}

fn to_json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// A record in a few words.
///
/// # Errors
/// One line.
pub(super) fn read(text: &str, name: &str) -> Result<String, String> {
    to_json(&RecordSummary::of(&parse(text, name)?))
}

/// The chip of a record, for the model.
///
/// # Errors
/// One line.
pub(super) fn chip(text: &str, name: &str) -> Result<String, String> {
    to_json(&ChipModel::from_record(&parse(text, name)?).map_err(|reason| format!("{name}: {reason}"))?)
}

/// How far a run is, from its journal.
///
/// # Errors
/// One line.
pub(super) fn progress(text: &str) -> Result<String, String> {
    let record = parse(text, "the journal")?;
    let page = Page { records: std::slice::from_ref(&record), ..Page::default() };
    to_json(&Progress { summary: RecordSummary::of(&record), figures: report::chart_figures(&page) })
}

/// The sections of a report.
///
/// # Errors
/// One line.
pub(super) fn sections(list: &str) -> Result<String, String> {
    let records = only_records(list)?;
    to_json(&report::fragment(&Page { records: &records, ..Page::default() }))
}

/// The first record against the others, as HTML.
///
/// # Errors
/// One line.
pub(super) fn compare(list: &str) -> Result<String, String> {
    let records = parse_all(list)?;
    let named: Vec<(&str, &Record)> = records.iter().map(|(name, record)| (&**name, record)).collect();
    match named.split_first() {
        Some((base, others)) if !others.is_empty() => Ok(comparing::html_sections(&comparing::compare(*base, others))),
        _ => Err("a comparison needs two records: choose another one".to_owned()),
    }
}

/// A whole report page, with what the first device would deliver where its record has enough for that. With the loader and
/// the module of the model it has sliders too, as long as it stays small.
///
/// # Errors
/// One line.
pub(super) fn report_html(list: &str, plot: &str, model: (&str, &[u8])) -> Result<String, String> {
    let records = only_records(list)?;
    let table = ModelTable::load(&[], None, None, None).map_err(|error| error.to_string())?;
    let chip = records.first().and_then(|record| ChipModel::from_record(record).ok());
    let rows = chip.as_ref().map_or_else(Vec::new, |chip| ProjectedRow::table(&table, chip));
    let pairs: Vec<ProjectionPair> = rows.iter().filter_map(ProjectedRow::pair).collect();
    let page = Page { records: &records, projections: &pairs, ..Page::default() };
    if let Some((outlook, model)) = chip.and_then(|chip| with_sliders(&table, &chip, model)) {
        let whole = report::page_with(&Page { outlook: Some(&outlook), model: Some(&model), ..page }, plot);
        if whole.len() < MOST_WITH_MODEL {
            return Ok(whole);
        }
    }
    Ok(report::page_with(&page, plot))
}

/// One model's decode in depth, and the module that answers about it; `None` without a module, and where no plan fits.
fn with_sliders(
    table: &ModelTable,
    chip: &ChipModel,
    (loader, module): (&str, &[u8]),
) -> Option<(Outlook, EmbeddedModel)> {
    let model = table.models.iter().find(|model| model.name == IN_DEPTH)?;
    let request = table.request(chip, model, Phase::Decode);
    let module = EmbeddedModel::new(loader, module, &request).ok()?;
    Some((outlook::without_grid(&request, &table.baseline).ok()?, module))
}

/// The cases as CSV.
///
/// # Errors
/// One line.
pub(super) fn csv(list: &str) -> Result<String, String> {
    export::csv(&parse_all(list)?).map_err(|error| error.to_string())
}

/// A record in one line of plain text.
///
/// # Errors
/// One line.
pub(super) fn headline(text: &str) -> Result<String, String> {
    Ok(report::headline_text(&parse(text, "the record")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SWIFTSHADER: &str = include_str!("../../../results/google-swiftshader-device-subzero-vulkan.json");
    const LLVMPIPE: &str = include_str!("../../../results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");

    fn both() -> String {
        json!([{"name": "a.json", "text": SWIFTSHADER}, {"name": "b.json", "text": LLVMPIPE}]).to_string()
    }

    #[test]
    fn a_record_is_summed_up_shown_and_saved() {
        let summary: Value = serde_json::from_str(&read(SWIFTSHADER, "a.json").unwrap()).unwrap();
        assert_eq!((&summary["complete"], &summary["software"]), (&json!(true), &json!(true)));
        let shown: Value = serde_json::from_str(&sections(&both()).unwrap()).unwrap();
        assert!(shown["html"].as_str().unwrap().contains("id=\"record-1\""));
        let figures: Value = serde_json::from_str(shown["figures"].as_str().unwrap()).unwrap();
        assert_eq!(figures["records"].as_array().unwrap().len(), 2);
        let cases = summary["measured"].as_u64().unwrap();
        assert!(csv(&both()).unwrap().lines().count() as u64 > cases);
        assert!(headline(SWIFTSHADER).unwrap().contains("cases verified and timed"));
        let chip: Value = serde_json::from_str(&chip(SWIFTSHADER, "a.json").unwrap()).unwrap();
        assert_eq!(chip["name"], summary["device"]);
        let reached: Value = serde_json::from_str(&progress(SWIFTSHADER).unwrap()).unwrap();
        assert_eq!(reached["summary"], summary);
    }

    #[test]
    fn records_are_compared_and_one_alone_is_not() {
        assert!(compare(&both()).unwrap().contains("Geometric means"));
        let alone = json!([{"name": "a.json", "text": SWIFTSHADER}]).to_string();
        assert!(compare(&alone).unwrap_err().contains("needs two records"));
    }

    #[test]
    fn a_strangers_text_is_refused_in_a_line_or_shown_as_text() {
        for text in ["", "{}", "[]", "\u{0}", "{\"schema_version\": 99}", "{\"schema_version\": 4,"] {
            let line = read(text, "<b>.json").unwrap_err();
            assert!(!line.contains('\n') && line.contains(".json"), "{line}");
        }
        let name = serde_json::from_str::<Value>(SWIFTSHADER).unwrap()["device"]["name"].clone();
        let hostile = SWIFTSHADER.replace(name.as_str().unwrap(), "<img src=x onerror=alert(1)>");
        let list = json!([{"name": "<script>.json", "text": hostile}, {"name": "b.json", "text": LLVMPIPE}]);
        let shown: Value = serde_json::from_str(&sections(&list.to_string()).unwrap()).unwrap();
        for html in [shown["html"].as_str().unwrap(), &compare(&list.to_string()).unwrap()] {
            assert!(html.contains("&lt;img") && !html.contains("<img") && !html.contains("<script"));
        }
    }

    #[test]
    fn the_report_has_the_device_and_its_projections() {
        let page = report_html(&one_record(), "/* plot */", ("", &[])).unwrap();
        assert!(!page.contains("id=\"outlook\""));
        assert!(page.contains("/* plot */") && page.contains("id=\"record-0\"") && page.contains("id=\"projections\""));
    }

    #[test]
    fn with_the_model_the_report_has_sliders_without_a_grid() {
        let loader = "export { __wbg_init as default };";
        let page = report_html(&one_record(), "/* plot */", (loader, &[0x1f, 0x8b, 8])).unwrap();
        assert!(page.contains("id=\"model-module\"") && page.contains("id=\"outlook\""));
        assert!(page.contains("\"tokens_per_s_per_chip\":[],") && page.contains("as soon as it is loaded"));
    }

    fn one_record() -> String {
        json!([{"name": "a.json", "text": SWIFTSHADER}]).to_string()
    }
}
