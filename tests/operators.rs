//! `supernode operators`, and the commands that take the file that it writes.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod operator_tables;

use std::fs;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use serde_json::Value;

use operator_tables::{Column, gemm_ms, tables, write_table};

/// A folder of tables, and where they are in it.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    tables(&data);
    (folder, data)
}

fn supernode(arguments: &[&str]) -> Assert {
    Command::cargo_bin("supernode").unwrap().args(arguments).assert()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let told = String::from_utf8(supernode(arguments).code(2).get_output().stderr.clone()).unwrap();
    assert_eq!(told.trim_end().lines().count(), 1, "{told}");
    told
}

/// The folder of [`folder`], imported into a file.
fn imported() -> (tempfile::TempDir, String, Value) {
    let (folder, data) = folder();
    let file = folder.path().join("operators.parquet").display().to_string();
    let assert = supernode(&["operators", "import", &data.display().to_string(), "-o", &file, "--json"]).success();
    let told = serde_json::from_str(&stdout(&assert)).unwrap();
    (folder, file, told)
}

const QUESTION: [&str; 17] = [
    "project",
    "--model",
    "llama-3.1-8b",
    "--phase",
    "decode",
    "--type",
    "bf16",
    "--fabric",
    "hgx-400g",
    "--chips",
    "1",
    "--tp",
    "1",
    "--batch-per-chip",
    "64",
    "--kv-len",
    "1024",
];

/// The operators of a projection on a chip, with these flags.
fn operators(chip: &str, flags: &[&str]) -> Vec<Value> {
    let assert = supernode(&[&QUESTION[..], &["--chip", chip, "--json"], flags].concat()).success();
    let document: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let list = document.pointer("/on/operators").or_else(|| document.pointer("/operators"));
    list.unwrap_or_else(|| panic!("no operators in {document}")).as_array().unwrap().clone()
}

fn named<'a>(operators: &'a [Value], name: &str) -> &'a Value {
    operators.iter().find(|operator| operator["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn tables_of_three_systems_become_one_file_and_a_copy_is_left_out() {
    let (_folder, file, told) = imported();
    let systems: Vec<&str> =
        told["tables"].as_array().unwrap().iter().map(|table| table["system"].as_str().unwrap()).collect();
    assert_eq!(systems, ["b200_sxm", "h200_sxm"]);
    assert_eq!(told["copies"][0][0], "h100_sxm/gemm/vllm/0.24.0/gemm_perf.parquet");
    assert_eq!(told["copies"][0][1], "b200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet");
    assert_eq!((&told["unused_files"], &told["tables"][0]["rows"]), (&Value::from(1), &Value::from(60)));
    let listed = stdout(&supernode(&["operators", "show", &file]).success());
    assert!(listed.contains("h200_sxm") && listed.contains("gemm") && !listed.contains("h100_sxm"), "{listed}");
}

#[test]
fn a_measured_shape_takes_its_measured_time_and_others_say_what_they_are() {
    let (_folder, file, _) = imported();
    let found = operators("h200", &["--operators", &file]);
    let output = named(&found, "output");
    let expected = gemm_ms(64, 4096, 4096) * 1e-3;
    assert!((output["time_s"].as_f64().unwrap() / expected - 1.0).abs() < 1e-5, "{output} {expected}");
    assert_eq!(output["cost"], "measured at this shape");
    assert_eq!(named(&found, "attention")["cost"], "no such measured operator: roofline x share of attention");
    let plain = operators("h200", &[]);
    assert_eq!(named(&found, "attention")["time_s"], named(&plain, "attention")["time_s"]);
    assert_ne!(named(&plain, "output")["time_s"], output["time_s"]);
}

#[test]
fn a_chip_without_operators_takes_the_shares_of_another_ones_roofs() {
    let (_folder, file, _) = imported();
    let own = operators("h200", &["--operators", &file]);
    let other = operators("mi300x", &["--operators", &file, "--operators-of", "h200_sxm"]);
    let time = |list: &[Value], name: &str| named(list, name)["time_s"].as_f64().unwrap();
    let peak = |chip: &str| {
        let text = fs::read_to_string(format!("{}/specs/chips/{chip}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let facts: toml::Value = toml::from_str(&text).unwrap();
        facts["memory"]["bandwidth_bytes_per_s"]["value"].as_float().unwrap()
    };
    // A product of 64 rows is bound by memory on both.
    let expected = peak("h200") / peak("mi300x");
    let ratio = time(&other, "output") / time(&own, "output");
    assert!((ratio / expected - 1.0).abs() < 1e-6, "{ratio} {expected}");
    let text = stdout(
        &supernode(
            &[&QUESTION[..], &["--chip", "mi300x", "--operators", &file, "--operators-of", "h200_sxm/vllm"]].concat(),
        )
        .success(),
    );
    assert!(text.replace("\n   ", "").contains("no operator was measured on"), "{text}");
}

#[test]
fn what_is_no_file_of_operators_is_refused_in_one_line() {
    let (folder, file, _) = imported();
    let ask = |file: &str, more: &[&str]| refused(&[&QUESTION[..], &["--operators", file], more].concat());
    let bytes = fs::read(&file).unwrap();
    let cut = folder.path().join("cut.parquet").display().to_string();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(ask(&cut, &["--chip", "h200"]).contains("not a file of operators"));
    let foreign = folder.path().join("data/h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet").display().to_string();
    assert!(ask(&foreign, &["--chip", "h200"]).contains("supernode operators import"));
    assert!(ask("/nowhere.parquet", &["--chip", "h200"]).contains("/nowhere.parquet"));
    let other_chip = ask(&file, &["--chip", "mi300x"]);
    assert!(other_chip.contains("no operators of mi300x") && other_chip.contains("--operators-of"), "{other_chip}");
    assert!(ask(&file, &["--chip", "h200", "--operators-of", "h200_sxm/tgi"]).contains("vllm"));
    assert!(ask(&file, &["--chip", "h200", "--operators-of", "b60/vllm"]).contains("b60"));
    let record = format!("{}/results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json", env!("CARGO_MANIFEST_DIR"));
    assert!(ask(&file, &["--record", &record]).contains("exclude"));
}

#[test]
fn tables_with_bad_rows_are_refused_and_nothing_is_written() {
    let base = [("gemm_dtype", "bfloat16")];
    let cases = [
        ("row 1: a time of -1", vec![("m", 1), ("n", 64), ("k", 64)], -1.0),
        ("row 1: a size", vec![("m", -5), ("n", 64), ("k", 64)], 1.0),
        ("no column k", vec![("m", 1), ("n", 64)], 1.0),
    ];
    for (expected, sizes, time) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut columns: Vec<(&str, Column)> =
            base.iter().map(|(name, text)| (*name, Column::Text(vec![(*text).to_owned()]))).collect();
        columns.extend(sizes.iter().map(|(name, size)| (*name, Column::Integer(vec![*size]))));
        columns.push(("latency", Column::Number(vec![time])));
        write_table(&folder.path().join("data/h200_sxm/gemm/vllm/1.0/gemm_perf.parquet"), &columns);
        let output = folder.path().join("out.parquet");
        let data = folder.path().join("data").display().to_string();
        let told = refused(&["operators", "import", &data, "-o", &output.display().to_string()]);
        assert!(told.contains(expected) && told.contains("gemm_perf.parquet"), "{expected}: {told}");
        assert!(!output.exists());
    }
    let empty = tempfile::tempdir().unwrap();
    let told = refused(&["operators", "import", &empty.path().display().to_string()]);
    assert!(told.contains("SYSTEM/FAMILY/FRAMEWORK/VERSION"), "{told}");
    assert!(refused(&["operators", "import", "/nowhere"]).contains("/nowhere"));
}

#[test]
fn measured_deployments_are_judged_with_operators_too() {
    let (_folder, file, _) = imported();
    let excerpt = format!("{}/tests/data/silicon-excerpt.csv", env!("CARGO_MANIFEST_DIR"));
    let report = |flags: &[&str]| -> Value {
        let assert = supernode(&[&["validate", "silicon", &excerpt, "--json"], flags].concat()).success();
        serde_json::from_str(&stdout(&assert)).unwrap()
    };
    let (plain, with) = (report(&[]), report(&["--operators", &file]));
    assert_eq!(plain["expressed"], with["expressed"]);
    assert_ne!(plain["tpot"], with["tpot"]);
}
