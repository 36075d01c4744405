//! `supernode sweep`: strict grids, shards that concatenate, and resumption after a cut anywhere.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod sweep_place;

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use proptest::prelude::*;
use serde_json::Value;
use supernode_bench::projection::sweep::shard;
use supernode_bench::specs::Grid;

use sweep_place::{Place, rows};

const SPEC: &str = r#"
title = "a test"
model = ["qwen3-30b-a3b", "llama-3.1-8b"]
phase = ["decode", "prefill"]
chips = 8
fabric = "cloudmatrix384"
baseline = "roce-cluster"
workload.kv_len = { from = 1024, to = 4096, count = 3, spacing = "log" }
plan.tp = [1, 2]
[set]
chip.memory.bandwidth_bytes_per_s = 2.5e12
fabric.tiers.node.latency_s = [1e-6, 2e-6]
"#;
const POINTS: usize = 48;

#[test]
fn rows_come_in_the_order_of_the_grid_with_point_figures_and_caveats() {
    let place = Place::new(SPEC);
    let rows = rows(&place.bytes(&[]));
    assert_eq!(rows.len(), POINTS);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["index"], index);
        assert!(row["tokens_per_s_per_chip"]["median"].as_f64().unwrap() > 0.0);
        assert!(!row["caveats"].as_array().unwrap().is_empty() && row["infeasible"].is_null());
        let ratio = row["tokens_per_s_per_chip"]["median"].as_f64().unwrap()
            / row["baseline"]["tokens_per_s_per_chip"]["median"].as_f64().unwrap();
        assert!((row["speedup"].as_f64().unwrap() - ratio).abs() < 1e-12);
        assert_eq!(row["plan"]["tp"], row["point"]["plan.tp"]);
    }
    let points: BTreeSet<String> = rows.iter().map(|row| row["point"].to_string()).collect();
    assert_eq!(points.len(), POINTS);
    assert_eq!(rows[0]["point"]["set.fabric.tiers.node.latency_s"], 1e-6);
    assert_eq!(rows[1]["point"]["set.fabric.tiers.node.latency_s"], 2e-6);
}

#[test]
fn a_set_key_changes_the_answer_as_the_file_would() {
    let place = Place::new(
        "model = \"llama-3.1-8b\"\nphase = \"decode\"\nchips = 8\nplan.batch_per_chip = 8\nset.chip.memory.bandwidth_bytes_per_s = [3.2e12, 6.4e12]\n",
    );
    let with = rows(&place.bytes(&[]));
    std::fs::write(
        place.path("sweep.toml"),
        "model = \"llama-3.1-8b\"\nphase = \"decode\"\nchips = 8\nplan.batch_per_chip = 8\n",
    )
    .unwrap();
    let without = rows(&place.bytes(&[]));
    let rate = |row: &Value| row["tokens_per_s_per_chip"]["median"].as_f64().unwrap();
    assert_eq!(rate(&with[0]), rate(&without[0]));
    assert!(rate(&with[1]) > 1.02 * rate(&with[0]));
}

#[test]
fn the_shards_one_after_another_are_the_whole_sweep() {
    let place = Place::new(SPEC);
    let whole = place.bytes(&[]);
    for count in [2, 5, 50] {
        let parts: Vec<u8> =
            (1..=count).flat_map(|number| place.bytes(&["--shard", &format!("{number}/{count}")])).collect();
        assert!(parts == whole, "{count} shards");
    }
}

proptest! {
    #[test]
    fn shards_are_disjoint_complete_in_order_and_even(points in 0u64..5000, count in 1u32..200) {
        let mut next = 0;
        for number in 1..=count {
            let range = shard(points, number, count);
            prop_assert_eq!(range.start, next);
            let length = range.end - range.start;
            prop_assert!(length == points / u64::from(count) || length == points / u64::from(count) + 1);
            next = range.end;
        }
        prop_assert_eq!(next, points);
    }

    #[test]
    fn each_number_is_a_point_of_its_own(sizes in proptest::collection::vec(1usize..5, 1..5), extra in 1usize..4) {
        let keys = ["chips", "plan.tp", "plan.pp", "plan.ep"];
        let list = |size: usize| (1..=size).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        let mut text = String::from("model = \"m\"\nphase = \"decode\"\n");
        for (key, size) in keys.iter().zip(&sizes) {
            text += &format!("{key} = [{}]\n", list(*size));
        }
        text += &format!("[[grid]]\n[[grid]]\nplan.dp = [{}]\n", list(extra));
        let grid = Grid::parse("x.toml", &text).unwrap();
        let product: usize = sizes.iter().product();
        prop_assert_eq!(grid.len(), (product * (1 + extra)) as u64);
        let points: BTreeSet<String> = grid.points().map(|point| serde_json::to_string(&point).unwrap()).collect();
        prop_assert_eq!(points.len() as u64, grid.len());
        prop_assert!(grid.point(grid.len()).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_run_cut_at_any_byte_resumes_to_the_same_file(at in any::<prop::sample::Index>(), garbage in any::<bool>()) {
        let place = Place::new(SPEC);
        place.sweep(&["-o", "out.jsonl"]).assert().success();
        let whole = std::fs::read(place.path("out.jsonl")).unwrap();
        let cut = at.index(whole.len() + 1);
        let mut torn = whole[..cut].to_vec();
        if garbage {
            // What a file system may leave behind a crash.
            torn.extend([0u8; 17]);
        }
        std::fs::write(place.path("out.jsonl"), &torn).unwrap();
        place.sweep(&["-o", "out.jsonl", "--resume"]).assert().success().stdout("");
        prop_assert!(std::fs::read(place.path("out.jsonl")).unwrap() == whole);
    }
}

#[test]
fn an_output_is_neither_overwritten_nor_continued_with_another_sweep() {
    let place = Place::new(SPEC);
    place.sweep(&["-o", "out.jsonl"]).assert().success();
    let before = std::fs::read(place.path("out.jsonl")).unwrap();
    let error = place.line_of_error(&["-o", "out.jsonl"]);
    assert!(error.contains("out.jsonl exists") && error.contains("--resume"), "{error}");
    // Another shard, other loads, another grid, and no sweep at all.
    let error = place.line_of_error(&["-o", "out.jsonl", "--resume", "--shard", "2/3"]);
    assert!(error.contains("has shard 1/1 with 48 of 48 points, this sweep shard 2/3 with 16 of 48"), "{error}");
    let error = place.line_of_error(&["-o", "out.jsonl", "--resume", "--expert-load", "uniform"]);
    assert!(error.contains("out.jsonl has configuration") && error.contains("the expert load"), "{error}");
    std::fs::write(place.path("sweep.toml"), SPEC.replace("2.5e12", "2.6e12")).unwrap();
    let error = place.line_of_error(&["-o", "out.jsonl", "--resume"]);
    assert!(error.contains("out.jsonl has configuration"), "{error}");
    assert_eq!(std::fs::read(place.path("out.jsonl")).unwrap(), before);
    let error = place.line_of_error(&["-o", "sweep.toml", "--resume"]);
    assert!(error.contains("without sweep.toml.sweep.json nobody knows"), "{error}");
    assert!(std::fs::read_to_string(place.path("sweep.toml")).unwrap().contains("2.6e12"));
}

#[test]
fn a_bad_spec_is_one_line_with_file_and_key() {
    let cases = [
        ("modle = \"deepseek-v3\"\nphase = \"decode\"", "`modle` is no key"),
        ("phase = \"decode\"", "`model` is missing"),
        ("model = \"deepseek-v3\"", "`phase` is missing"),
        ("model = \"deepseek-v3\"\nphase = \"sleep\"", "`phase` is \"sleep\""),
        ("model = \"gpt-9\"\nphase = \"decode\"", "`model`: no model is called `gpt-9`"),
        ("model = [\"deepseek-v3\", \"deepseek-v3\"]\nphase = \"decode\"", "twice"),
        ("model = []\nphase = \"decode\"", "an empty list"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nplan.ep = 2.5", "`plan.ep` is 2.5"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nplan.ep = [0]", "`plan.ep` is 0"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nworkload.kv_len = nan", "`workload.kv_len` is NaN"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nworkload.kv_length = 1", "`workload.kv_length` is no key"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nchip = \"z80\"", "`chip`: no chip is called"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nset.chip.memory.size = 1", "`set.chip.memory.size`"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nset.fabric.tiers.rack.latency_s = 1e-6", "there is no `rack`"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nset.baseline.tiers.node.latency_s = 1e-6", "add `baseline`"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nset.tariff.x = 1", "`set.tariff.x` is no key"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nchip = \"measured\"", "needs a record"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nchips = { from = 1, to = 8, step = 2 }", "step"),
        ("model = \"deepseek-v3\"\nphase = \"decode\"\nchips = { from = 1, to = 8, count = 1 }", "chips.count"),
        (
            "model = \"deepseek-v3\"\nphase = \"decode\"\nchips = { from = 0, to = 8, count = 3, spacing = \"log\" }",
            "spacing",
        ),
        ("model = [", "line 1"),
    ];
    for (spec, expected) in cases {
        let error = Place::new(spec).line_of_error(&[]);
        assert!(error.contains("sweep.toml") && error.contains(expected), "{spec}: {error}");
    }
    let big = "{ from = 1, to = 100000, count = 100000 }";
    let spec = format!("model = \"deepseek-v3\"\nphase = \"decode\"\nplan.tp = {big}\nplan.pp = {big}\n");
    assert!(Place::new(&spec).line_of_error(&[]).contains("more than 1e9 points"));
    for shard in ["0/3", "4/3", "1", "x/y"] {
        Place::new(SPEC).sweep(&["--shard", shard]).assert().code(2);
    }
    let place = Place::new(SPEC);
    std::fs::remove_file(place.path("sweep.toml")).unwrap();
    assert!(place.line_of_error(&[]).contains("cannot read sweep.toml"));
    assert!(!Path::new("out.jsonl").exists());
}

#[test]
fn a_point_without_a_plan_is_a_row_that_says_why() {
    let place = Place::new("model = \"llama-3.1-405b\"\nphase = \"decode\"\nchips = [2, 16]\nplan.tp = 3\n");
    let rows = rows(&place.bytes(&[]));
    assert!(rows[0]["infeasible"].as_str().unwrap().contains("tp 3 does not divide"));
    assert!(rows[0].get("tokens_per_s_per_chip").is_none());
}

#[test]
fn a_dry_run_counts_the_points() {
    let place = Place::new(SPEC);
    assert_eq!(
        String::from_utf8(place.bytes(&["--dry-run", "--shard", "1/5"])).unwrap(),
        "48 points, 9 in shard 1/5\n"
    );
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_has_every_row_and_is_made_by_resuming_too() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    let place = Place::new(SPEC);
    let expected = rows(&place.bytes(&[]));
    // An interrupted run leaves whole rows beside the file that is to be.
    let whole = place.bytes(&[]);
    place.sweep(&["-o", "whole.jsonl"]).assert().success();
    std::fs::rename(place.path("whole.jsonl.sweep.json"), place.path("out.parquet.partial.jsonl.sweep.json")).unwrap();
    std::fs::write(place.path("out.parquet.partial.jsonl"), &whole[..whole.len() / 3]).unwrap();
    assert!(place.line_of_error(&["-o", "out.parquet"]).contains("--resume"));
    place.sweep(&["-o", "out.parquet", "--resume"]).assert().success();
    assert!(!place.path("out.parquet.partial.jsonl").exists());
    let reader = SerializedFileReader::new(std::fs::File::open(place.path("out.parquet")).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let column = |name: &str| schema.columns().iter().position(|column| column.name() == name).unwrap();
    let got: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(got.len(), POINTS);
    for (row, expected) in got.iter().zip(&expected) {
        assert_eq!(row.get_long(column("index")).unwrap(), expected["index"].as_i64().unwrap());
        assert_eq!(row.get_string(column("point_model")).unwrap(), expected["point"]["model"].as_str().unwrap());
        let rate = expected["tokens_per_s_per_chip"]["median"].as_f64().unwrap();
        assert_eq!(row.get_double(column("tokens_per_s_per_chip_median")).unwrap(), rate);
        assert_eq!(
            row.get_double(column("point_workload_kv_len")).unwrap(),
            expected["point"]["workload.kv_len"].as_f64().unwrap()
        );
    }
    // Done is done.
    place.sweep(&["-o", "out.parquet", "--resume"]).assert().success();
    let error = place.line_of_error(&["-o", "out.parquet", "--resume", "--shard", "1/2"]);
    assert!(error.contains("out.parquet has shard 1/1 with 48 of 48 points, this sweep shard 1/2 with 24"), "{error}");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_parquet_it_says_so() {
    assert!(Place::new(SPEC).line_of_error(&["-o", "out.parquet"]).contains("built without Parquet"));
}

#[test]
fn chunks_context_parallelism_and_the_pipeline_are_keys_that_change_the_answer() {
    let spec = "model = \"qwen3-30b-a3b\"\nchips = 8\n\
        [[grid]]\nphase = \"prefill\"\nworkload.chunk_tokens = [512, 4096]\n\
        [[grid]]\nphase = \"prefill\"\nplan.cp = [1, 2]\n\
        [[grid]]\nphase = \"training\"\nworkload.global_batch_tokens = 262144\nplan.pp = 4\nworkload.pipeline = [\"1f1b\", \"zero-bubble\"]\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, spec).unwrap();
    let output = assert_cmd::Command::cargo_bin("supernode").unwrap().arg("sweep").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    for pair in rows.chunks(2) {
        let step = |row: &serde_json::Value| row["step_s"].as_f64().unwrap_or_else(|| panic!("{row}"));
        assert!((step(&pair[0]) / step(&pair[1]) - 1.0).abs() > 1e-3, "{pair:?}");
    }
    assert_eq!(rows[3]["plan"]["cp"], 2);
}

const SERVING: &str = r#"
model = "llama-3.1-70b"
phase = "serving"
chip = "h200"
fabric = "hgx-400g"
baseline = "roce-cluster"
chips = 8
workload.prompt_len = 2000
workload.output_len = [64, 200]
[[grid]]
workload.concurrency = [8, 64]
plan.mode = ["aggregated", "disaggregated"]
[[grid]]
workload.request_rate = [4, 400]
"#;

#[test]
fn a_row_of_serving_is_what_project_answers() {
    let rows = rows(&Place::new(SERVING).bytes(&[]));
    assert_eq!(rows.len(), 12);
    let row = &rows[1];
    assert_eq!(
        (&row["point"]["workload.concurrency"], &row["point"]["plan.mode"]),
        (&8.into(), &"disaggregated".into())
    );
    let flags = "project --phase serving --model llama-3.1-70b --chip h200 --fabric hgx-400g --chips 8 --prompt-len 2000 \
        --output-len 64 --concurrency 8 --mode disaggregated --json";
    let output = Command::cargo_bin("supernode").unwrap().args(flags.split_whitespace()).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figures = ["tokens_per_s_per_chip", "ttft_s", "tpot_s", "goodput", "deployment", "load", "most_requests_per_s"];
    for key in figures {
        assert!(!row[key].is_null() && row[key] == answer[key], "{key}: {} for {}", row[key], answer[key]);
    }
    let rate = |row: &Value| row["tokens_per_s_per_chip"].as_f64().unwrap();
    for row in rows.iter().filter(|row| row["infeasible"].is_null()) {
        assert!((row["speedup"].as_f64().unwrap() - rate(row) / rate(&row["baseline"])).abs() < 1e-12);
        assert!(row["tpot_s"]["p50"].as_f64() <= row["tpot_s"]["p99"].as_f64());
    }
}

#[test]
fn a_load_that_nothing_keeps_up_with_is_a_row_that_says_so() {
    let rows = rows(&Place::new(SERVING).bytes(&[]));
    let unstable: Vec<&Value> = rows.iter().filter(|row| !row["infeasible"].is_null()).collect();
    assert_eq!(unstable.len(), 2);
    for row in unstable {
        assert_eq!(row["point"]["workload.request_rate"], 400.0);
        assert!(row["infeasible"].as_str().unwrap().starts_with("unstable above "), "{row}");
        assert!(row.get("ttft_s").is_none() && row["baseline_infeasible"].is_string());
    }
}

#[test]
fn shards_of_serving_follow_each_other_and_a_cut_run_resumes() {
    let place = Place::new(SERVING);
    place.sweep(&["-o", "out.jsonl"]).assert().success();
    let whole = std::fs::read(place.path("out.jsonl")).unwrap();
    let parts: Vec<u8> = (1..=5).flat_map(|number| place.bytes(&["--shard", &format!("{number}/5")])).collect();
    assert!(parts == whole);
    std::fs::write(place.path("out.jsonl"), &whole[..whole.len() / 2]).unwrap();
    for _ in 0..2 {
        place.sweep(&["-o", "out.jsonl", "--resume"]).assert().success();
        assert!(std::fs::read(place.path("out.jsonl")).unwrap() == whole);
    }
}

#[test]
fn keys_of_serving_that_do_not_go_together_are_one_line_before_the_first_point() {
    let base = "model = \"llama-3.1-70b\"\nphase = \"serving\"\nchips = 8\n";
    let long = "workload.output_len = 100\n";
    for (keys, expected) in [
        ("workload.concurrency = 8\n", "give `workload.output_len`"),
        (&format!("{long}workload.concurrency = 8\nworkload.request_rate = 2\n"), "exclude each other"),
        (&format!("{long}plan.batch_per_chip = 8\n"), "the batch follows from the load"),
        (&format!("{long}workload.kv_len = 8\n"), "`workload.kv_len` in serving"),
        (&format!("{long}plan.prefill_tp = 2\n"), "add plan.mode = \"disaggregated\""),
        (&format!("{long}plan.mode = \"alone\"\n"), "give one of aggregated, disaggregated"),
        (&format!("{long}workload.concurrency = 0\n"), "`workload.concurrency` is 0"),
    ] {
        let error = Place::new(&format!("{base}{keys}")).line_of_error(&[]);
        assert!(error.contains("sweep.toml") && error.contains(expected), "{keys}: {error}");
    }
    let decode = base.replace("serving", "decode");
    let error = Place::new(&format!("{decode}workload.concurrency = 8\n")).line_of_error(&[]);
    assert!(error.contains("`workload.concurrency` is a question about serving"), "{error}");
    // One point of several may ask for what its mode has not.
    let keys =
        format!("{long}workload.concurrency = 8\nplan.tp = 8\nplan.mode = [\"aggregated\", \"disaggregated\"]\n");
    let rows = rows(&Place::new(&format!("{base}{keys}")).bytes(&[]));
    assert!(rows[0]["infeasible"].is_null(), "{}", rows[0]);
    assert!(rows[1]["infeasible"].as_str().unwrap().contains("says nothing of two kinds of workers"), "{}", rows[1]);
}

#[test]
fn a_csv_file_has_every_row_and_a_column_for_each_figure() {
    let place = Place::new(SERVING);
    let expected = rows(&place.bytes(&[]));
    place.sweep(&["-o", "out.csv"]).assert().success();
    assert!(!place.path("out.csv.partial.jsonl").exists());
    let mut reader = csv::Reader::from_path(place.path("out.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let column =
        |name: &str| header.iter().position(|cell| cell == name).unwrap_or_else(|| panic!("{name}: {header:?}"));
    let got: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(got.len(), expected.len());
    for (cells, row) in got.iter().zip(&expected) {
        for (name, value) in [
            ("ttft_s_mean", &row["ttft_s"]["mean"]),
            ("tpot_s_p99", &row["tpot_s"]["p99"]),
            ("tokens_per_s_per_chip", &row["tokens_per_s_per_chip"]),
            ("goodput_tokens_per_s_per_chip", &row["goodput"]["tokens_per_s_per_chip"]),
            ("point_workload_output_len", &row["point"]["workload.output_len"]),
        ] {
            assert_eq!(cells[column(name)].parse::<f64>().ok(), value.as_f64(), "{name}: {row}");
        }
        assert_eq!(cells[column("infeasible")].is_empty(), row["infeasible"].is_null());
    }
    // Done is done.
    place.sweep(&["-o", "out.csv", "--resume"]).assert().success();
    let error = place.line_of_error(&["-o", "out.csv", "--resume", "--shard", "1/2"]);
    assert!(error.contains("out.csv has shard 1/1 with 12 of 12 points, this sweep shard 1/2 with 6"), "{error}");
    let error = place.line_of_error(&["--format", "csv"]);
    assert!(error.contains("CSV goes into a file"), "{error}");
}
