//! The fuzzers' corpus, replayed: each input as it is, cut at several places, and with single bytes changed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use supernode_bench::projection::calibration::fit_measured;
use supernode_bench::projection::calibration::import::{self, Hints};
use supernode_bench::record::{Record, parse};
use supernode_bench::report::compare::{self, LlamaBench};
use supernode_bench::report::{export, terminal};
use supernode_bench::specs::{Chip, Fabric, Model, Sourced};

/// Bytes that matter to the grammars.
const BYTES: [u8; 12] = [b'"', b'\\', b'{', b']', b'-', b'9', b'e', b'.', b',', 0, 0x1b, 0xff];

/// Calls `check` on every input of the folders and on what becomes of it.
fn replay(folders: &[&str], check: impl Fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in folders {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let bytes = fs::read(path).unwrap();
            check(&bytes);
            let step = (bytes.len() / 40).max(1);
            for at in (0..bytes.len()).step_by(step) {
                check(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] = BYTES[at % BYTES.len()];
                check(&changed);
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "{folders:?} hold no input");
}

fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn one_line(error: &impl ToString) {
    let told = error.to_string();
    assert!(!told.contains(char::is_control), "{told:?}");
}

fn show(record: Record) {
    let _ = terminal::table(&record);
    let comparison = compare::compare(("a", &record), &[("b", &record)]);
    let _ = (compare::text(&comparison), compare::markdown(&comparison), compare::html(&comparison));
    let records = [("a".to_owned(), record)];
    let _ = (export::csv(&records).unwrap(), export::jsonl(&records).unwrap(), export::openmetrics(&records));
}

#[test]
fn records_are_refused_in_a_line_or_shown() {
    replay(&["fuzz/corpus/record"], |bytes| match parse(bytes, Path::new("corpus.json")) {
        Ok(record) => show(record),
        Err(error) => one_line(&error),
    });
}

#[test]
fn model_configurations_are_refused_in_a_line_or_have_finite_counts() {
    replay(&["fuzz/corpus/model_config", "specs/models"], |bytes| {
        match Model::parse("corpus", "config.json", &as_text(bytes)) {
            Ok(model) => assert!(model.parameters().is_finite() && model.active_parameters().is_finite()),
            Err(error) => one_line(&error),
        }
    });
}

#[test]
fn chips_and_fabrics_are_refused_in_a_line_or_loaded() {
    replay(&["fuzz/corpus/chip_spec", "specs/chips", "specs/fabrics"], |bytes| {
        let text = as_text(bytes);
        if let Err(error) = Chip::parse("corpus.toml", &text) {
            one_line(&error);
        }
        if let Err(error) = Fabric::parse("corpus.toml", &text) {
            one_line(&error);
        }
    });
}

#[test]
fn outputs_of_llama_bench_are_refused_in_a_line_or_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    let record = supernode_bench::record::load(&path).unwrap();
    let comparison = compare::compare(("a", &record), &[]);
    replay(&["fuzz/corpus/llama_bench"], |bytes| match LlamaBench::read("lb.json", bytes, &record) {
        Ok(theirs) => {
            let mut comparison = comparison.clone();
            comparison.llama_bench = Some(theirs);
            let _ = (compare::text(&comparison), compare::markdown(&comparison), compare::html(&comparison));
        }
        Err(error) => one_line(&error),
    });
}

#[test]
fn outputs_of_collective_benchmarks_are_refused_in_a_line_or_fitted() {
    let fabric = Fabric::load("h100-ib").unwrap();
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a test");
    replay(&["fuzz/corpus/nccl"], |bytes| match import::read(bytes, Hints { collective: None, ranks: Some(16) }) {
        Ok(rows) => {
            let fitted = fit_measured(&fabric, &own, &rows[..rows.len().min(8)], "a test").unwrap();
            assert!(fitted.values.iter().all(|value| value.fitted.is_finite()), "{:?}", fitted.values);
            fitted.fabric.validate("fitted").unwrap();
        }
        Err(error) => one_line(&error),
    });
}
