//! The README's result table is made from the record it names, its table of published serving and training figures by the
//! model; `UPDATE_README=1 cargo test --test readme` rewrites both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use supernode_bench::kernels::Element;
use supernode_bench::projection::validation::serving;
use supernode_bench::record::{CacheState, Case, Record, load};
use supernode_bench::specs::Checked;

const RECORD: &str = "results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json";

/// The fastest variant of each kernel and phase in the types that all models use, at DeepSeek-V3's shapes, and of grouped-query
/// attention; the record has the others.
fn table(record: &Record) -> String {
    let mut best: BTreeMap<_, &Case> = BTreeMap::new();
    for case in record.cases.iter().filter(|case| shown(case)) {
        let key = (case.family, case.kernel.clone(), case.phase, case.element);
        let entry = best.entry(key).or_insert(case);
        if case.timing.median_s < entry.timing.median_s {
            *entry = case;
        }
    }
    let mut text = String::from(
        "| kernel | phase | type | variant | shape | median | FLOP/s | B/s | of the roofline |\n\
         |---|---|---|---|---|--:|--:|--:|--:|\n",
    );
    for case in best.values() {
        let shape = supernode_bench::report::shape(&case.shape);
        let bound = format!("{:?}", case.achieved.bound_by).to_lowercase();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0} % ({bound}) |",
            case.kernel,
            case.phase,
            case.element,
            case.variant,
            shape,
            case.timing.median_s,
            case.achieved.flop_per_s,
            case.achieved.bytes_per_s,
            case.achieved.fraction_of_roofline * 100.0,
        );
    }
    let _ = writeln!(
        text,
        "\nMeasured {} on {} ({}, {}), host {}, preset {}, commit {}.",
        &record.created_at[..10],
        record.device.name,
        record.device.driver_info,
        record.device.backend,
        record.host.cpu,
        format!("{:?}", record.protocol.preset).to_lowercase(),
        record.tool.git_commit.as_deref().unwrap_or("unknown"),
    );
    text
}

fn shown(case: &Case) -> bool {
    let skewed = case.shape.contains_key("rows_of_fullest");
    let type_is_shown = matches!(case.element, Element::F32 | Element::F16 | Element::Int8);
    if skewed || !type_is_shown || case.cache != CacheState::Cold {
        return false;
    }
    case.model == "deepseek-v3" || (case.model == "llama-3.1-8b" && case.family.to_string() == "attention")
}

#[test]
fn the_readme_shows_the_committed_record() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let record = load(&root.join(RECORD)).expect("the record is valid");
    assert!(record.complete, "the record is complete");
    section("results", &table(&record));
}

#[test]
fn the_readme_shows_published_serving_and_training_beside_the_model() {
    let rows = serving::rows();
    let mut text = String::from("| published | figure | modelled | error |\n|---|--:|--:|--:|\n");
    for row in &rows {
        let mark = if row.fitted { " (in view when a parameter was chosen)" } else { "" };
        let hand = if row.checked == Checked::Yes { "" } else { " (second hand or from memory)" };
        let modelled = row.modelled.map_or_else(|| "not expressed".to_owned(), |value| number(value, &row.unit));
        let error = row.relative_error().map_or_else(String::new, |error| format!("{:+.1} %", error * 100.0));
        let published = number(row.published, &row.unit);
        let _ = writeln!(text, "| {}{mark}{hand} | {published} | {modelled} | {error} |", row.quantity);
    }
    section("serving", &text);
}

/// Gains in per cent, other figures with four digits and their unit.
fn number(value: f64, unit: &str) -> String {
    match unit {
        "gain" => format!("{:.1} %", value * 100.0),
        "s" => format!("{:.1} ms", value * 1e3),
        _ if value >= 100.0 => format!("{value:.0} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// Compares what stands between two marks of the README, or rewrites it.
fn section(name: &str, current: &str) {
    // Tests of one file run side by side, and each writes the whole file.
    static FILE: Mutex<()> = Mutex::new(());
    let _held = FILE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md is there");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = readme.split_once(&begin).expect("the beginning is marked");
    let (inside, after) = rest.split_once(&end).expect("the end is marked");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{current}{end}{after}")).expect("README.md can be written");
    } else {
        assert!(inside == current, "README.md is stale: UPDATE_README=1 cargo test --test readme");
    }
}

#[test]
fn every_committed_record_obeys_the_published_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = std::fs::read_to_string(root.join("specs/record.schema.json")).expect("the schema is there");
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a schema");
    let mut checked = 0;
    for entry in std::fs::read_dir(root.join("results")).expect("results/ is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            load(&path).unwrap_or_else(|error| panic!("{error}"));
            let text = std::fs::read_to_string(&path).expect("readable");
            let document = serde_json::from_str(&text).expect("JSON");
            assert!(validator.is_valid(&document), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "there is a record");
}
