//! `supernode validate silicon`: measured deployments next to the model.
//!
//! `tests/data/silicon-excerpt.csv` has 79 rows: the first two of each model, system, framework and mode of the given rows of
//! systems/silicon_sample.csv in aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA and the projects that it cites). All given
//! rows are tested where `SUPERNODE_SILICON` is the path of their file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn excerpt() -> PathBuf {
    root().join("tests/data/silicon-excerpt.csv")
}

fn silicon(file: &Path, flags: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("supernode").unwrap().args(["validate", "silicon"]).arg(file).args(flags).assert()
}

fn text(file: &Path, flags: &[&str]) -> String {
    String::from_utf8(silicon(file, flags).success().get_output().stdout.clone()).unwrap()
}

fn json(file: &Path, flags: &[&str]) -> Value {
    serde_json::from_str(&text(file, &[flags, &["--json"]].concat())).unwrap()
}

#[test]
fn json_begins_with_rows_errors_groups_and_what_is_not_expressed() {
    let document = text(&excerpt(), &["--json"]);
    let keys = ["rows", "expressed", "tpot", "mean_abs", "median_abs", "bias_median", "within_20", "ttft", "groups"];
    let mut from = 0;
    for key in keys {
        let found = document[from..].find(&format!("\"{key}\"")).unwrap_or_else(|| panic!("no {key} after {from}"));
        from += found;
    }
    assert!(document[from..].contains("\"unexpressed\": ["));
    let value: Value = serde_json::from_str(&document).unwrap();
    let left: u64 = value["unexpressed"].as_array().unwrap().iter().map(|group| group["rows"].as_u64().unwrap()).sum();
    assert_eq!(value["rows"].as_u64().unwrap(), 79);
    assert_eq!(value["expressed"].as_u64().unwrap() + left, 79);
    for by in ["model", "system", "framework", "mode"] {
        let of_kind = value["groups"].as_array().unwrap().iter().filter(|group| group["by"] == by);
        assert_eq!(of_kind.map(|group| group["expressed"].as_u64().unwrap()).sum::<u64>(), value["expressed"], "{by}");
    }
}

#[test]
fn one_measurement_under_two_spellings_is_one_deployment() {
    let header = std::fs::read_to_string(excerpt()).unwrap().lines().next().unwrap().to_owned();
    let row = |degrees: &str| {
        format!(
            "deepseek-ai/DeepSeek-R1,b200_sxm,sglang,0.5.9,fp4,nvfp4,nvfp4,agg,1024,1024,16,{degrees},,,,,,,,,,,,,,,319.8439,11.03540"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.csv");
    std::fs::write(&file, [header, row("8,1,1,1,8"), row("64,1,1,8,8")].join("\r\n")).unwrap();
    let each = json(&file, &[])["each"].clone();
    assert_eq!((each[0]["line"].as_u64(), each[1]["line"].as_u64()), (Some(2), Some(3)));
    assert_eq!(each[0]["modelled"], each[1]["modelled"]);
    assert!(each[0]["modelled"]["tpot_s"].as_f64().unwrap() > 1e-3);
}

#[test]
fn frameworks_change_the_answer_and_none_leaves_them_out() {
    let error = |flags: &[&str]| json(&excerpt(), flags)["ttft"]["median_abs"].as_f64().unwrap();
    let (own, none) = (error(&[]), error(&["--framework", "none"]));
    assert!(own < none, "time to first token: {own} with frameworks, {none} without");
    for name in ["vllm", "sglang", "trtllm"] {
        assert!(error(&["--framework", name]).is_finite());
    }
    silicon(&excerpt(), &["--framework", "tgi"]).code(2);
}

#[test]
fn fits_are_judged_by_rows_that_they_have_not_seen() {
    let fit = json(&excerpt(), &["--fit"]);
    let expressed = json(&excerpt(), &[])["expressed"].clone();
    for key in ["without_system", "without_model"] {
        let all = fit[key].as_array().unwrap().last().unwrap();
        assert_eq!((all["left_out"].as_str(), &all["rows"]), (Some("all"), &expressed), "{key}");
    }
    assert!(text(&excerpt(), &["--fit"]).contains("without it"));
}

#[test]
fn a_bad_file_is_one_line_that_names_line_and_column() {
    let good = std::fs::read_to_string(excerpt()).unwrap();
    let cases = [
        (String::new(), "no rows"),
        (good.replace("model_path", "model"), "model_path"),
        (good.replacen("agg,1024", "both,1024", 1), "line 2, column mode"),
        (good.replacen(",16,8,1,1", ",16,8.5,1,1", 1), "line 2, column tp_size"),
        (good.replacen(",16,8,1,1", ",16,-8,1,1", 1), "line 2, column tp_size"),
        (good.replacen("319.8439", "nan", 1), "line 2, column ttft_ms"),
        (good.replacen("11.03540", "0", 1), "line 2, column tpot_ms"),
        (good.replacen("319.8439,", "", 1), "record 1"),
        (good.replacen("deepseek-ai/DeepSeek-R1", "\u{1b}[31m", 1), ""),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.csv");
    for (text, expected) in cases {
        std::fs::write(&file, &text).unwrap();
        if expected.is_empty() {
            let shown = String::from_utf8(silicon(&file, &[]).success().get_output().stdout.clone()).unwrap();
            assert!(!shown.contains('\u{1b}'));
            continue;
        }
        let error = String::from_utf8(silicon(&file, &[]).code(2).get_output().stderr.clone()).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{expected}: {error}");
    }
    silicon(&folder.path().join("absent.csv"), &[]).code(2);
}

fn percent(value: &Value) -> String {
    format!("{:.1} %", value.as_f64().unwrap() * 100.0)
}

/// Errors of one file, as a line of a table.
fn line(name: &str, rows: &Value, of: &Value) -> String {
    let (tpot, ttft) = (&of["tpot"], &of["ttft"]);
    let cells = [&tpot["mean_abs"], &tpot["median_abs"], &tpot["bias_median"], &tpot["within_20"], &ttft["median_abs"]];
    let cells: Vec<String> = cells.into_iter().map(percent).collect();
    format!("| {name} | {rows} | {} |\n", cells.join(" | "))
}

const HEADER: &str =
    "| | rows | TPOT mean | median | bias | within 20 % | TTFT median |\n|---|--:|--:|--:|--:|--:|--:|\n";

#[test]
fn the_errors_over_the_excerpt_are_as_they_come_out() {
    let mut table = HEADER.to_owned();
    for (name, flags) in [("without frameworks", &["--framework", "none"][..]), ("with each row's framework", &[])] {
        let report = json(&excerpt(), flags);
        table += &line(name, &report["expressed"], &report);
    }
    section("excerpt", &table);
}

#[test]
fn the_errors_over_all_given_rows_are_as_they_come_out() {
    let Some(file) = std::env::var_os("SUPERNODE_SILICON").map(PathBuf::from) else { return };
    let (none, own) = (json(&file, &["--framework", "none"]), json(&file, &[]));
    let fit = json(&file, &["--fit"]);
    let mut table = HEADER.to_owned();
    table += &line("all, without frameworks", &none["expressed"], &none);
    let aggregated = none["groups"].as_array().unwrap().iter().find(|group| group["name"] == "aggregated").unwrap();
    table += &line("aggregated, without frameworks", &aggregated["expressed"], aggregated);
    table += &line("all, with each row's framework", &own["expressed"], &own);
    for (name, key) in
        [("unseen: without the system judged", "without_system"), ("unseen: without the model judged", "without_model")]
    {
        let all = fit[key].as_array().unwrap().last().unwrap();
        table += &line(name, &all["rows"], all);
    }
    for group in own["groups"].as_array().unwrap() {
        table += &line(group["name"].as_str().unwrap(), &group["expressed"], group);
    }
    let _ = writeln!(table, "\n| rows not expressed | why |\n|--:|---|");
    for group in own["unexpressed"].as_array().unwrap() {
        let _ = writeln!(table, "| {} | {} |", group["rows"], group["reason"].as_str().unwrap());
    }
    section("silicon", &table);
}

#[cfg(feature = "parquet")]
#[test]
fn the_errors_with_measured_operators_are_as_they_come_out() {
    let files = [std::env::var_os("SUPERNODE_SILICON"), std::env::var_os("SUPERNODE_OPERATORS")];
    let [Some(file), Some(operators)] = files.map(|file| file.map(PathBuf::from)) else { return };
    let with = |flags: &[&str]| json(&file, &[&["--operators", operators.to_str().unwrap()], flags].concat());
    let (none, own, fit) = (with(&["--framework", "none"]), with(&[]), with(&["--fit"]));
    let mut table = HEADER.to_owned();
    for (name, report) in [("without frameworks", &none), ("with each row's framework", &own)] {
        table += &line(&format!("all, {name}"), &report["expressed"], report);
        for group in report["groups"].as_array().unwrap().iter().filter(|group| group["by"] == "mode") {
            table += &line(&format!("{}, {name}", group["name"].as_str().unwrap()), &group["expressed"], group);
        }
    }
    for (name, key) in [("system", "without_system"), ("model", "without_model")] {
        for group in fit[key].as_array().unwrap() {
            let name = format!("unseen: without the {name} {}", group["left_out"].as_str().unwrap());
            table += &line(&name.replace(" all", " judged, all rows"), &group["rows"], group);
        }
    }
    section("operators", &table);
}

/// Compares a part of docs/VALIDATION.md with the current one, or writes the current one there.
fn section(name: &str, current: &str) {
    static FILE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = FILE.lock();
    let path = root().join("docs/VALIDATION.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (inside, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{current}{end}{after}")).unwrap();
    } else {
        assert!(inside == current, "docs/VALIDATION.md is stale: UPDATE_README=1 cargo test --test silicon");
    }
}
