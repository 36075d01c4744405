//! A result document from a stranger: refused in one line without control characters, or fit to be shown in every format.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use supernode_bench::projection::ChipModel;
use supernode_bench::record::{Record, parse};
use supernode_bench::report::{self, compare, export, terminal};

fuzz_target!(|bytes: &[u8]| match parse(bytes, Path::new("fuzzed.json")) {
    Ok(record) => show(record),
    Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
});

fn show(record: Record) {
    // What was read is what is written.
    let again = serde_json::to_vec(&record).expect("finite numbers");
    assert_eq!(parse(&again, Path::new("again.json")).expect("a sound record"), record);
    let text = terminal::table(&record);
    let comparison = compare::compare(("a", &record), &[("b", &record)]);
    let texts = [text, compare::text(&comparison), compare::markdown(&comparison)];
    for text in texts.iter().map(|text| unstyled(text)) {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
    let _ = compare::csv(&comparison).expect("in memory");
    let _ = compare::html(&comparison);
    let _ = comparison.regressions(0.05);
    let _ = ChipModel::from_record(&record);
    let records = [("a".to_owned(), record)];
    let _ = export::csv(&records).expect("in memory");
    let _ = export::jsonl(&records).expect("finite numbers");
    assert!(export::openmetrics(&records).ends_with("# EOF\n"));
    for file in export::criterion(&records[0].1, "fuzzed") {
        assert!(file.path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{file:?}");
    }
    let [(_, record)] = records;
    let _ = report::page(&report::Page { records: &[record], ..report::Page::default() });
}

/// Without the styles that the tool itself puts in.
fn unstyled(text: &str) -> String {
    text.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "")
}
