//! Measured operators that are a block of a model's ops, or a part of a recurrence.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod operator_tables;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

use operator_tables::{Column, write_table};

fn texts(values: &[&str]) -> Column {
    Column::Text(values.iter().map(|text| (*text).to_owned()).collect())
}

/// Gated delta rules of 64 sequences: the recurrence, its convolution, and rows that are neither.
fn delta_rules(path: &Path) {
    let kernels =
        ["fused_recurrent_gated_delta_rule", "causal_conv1d_update", "causal_conv1d_fn", "chunk_gated_delta_rule"];
    write_table(
        path,
        &[
            ("kernel_source", texts(&kernels)),
            ("phase", texts(&["generation", "generation", "verify", "verify"])),
            ("batch_size", Column::Integer(vec![64; 4])),
            ("seq_len", Column::Integer(vec![1; 4])),
            ("num_k_heads", Column::Integer(vec![2; 4])),
            ("head_k_dim", Column::Integer(vec![128; 4])),
            ("num_v_heads", Column::Integer(vec![8; 4])),
            ("head_v_dim", Column::Integer(vec![128; 4])),
            ("latency", Column::Number(vec![0.5, 0.1, 7.0, 9.0])),
        ],
    );
}

/// Modules of sparse attention at 64 sequences and 8 heads of GLM-5, and rows that are of another architecture or without an
/// indexer.
fn sparse_modules(path: &Path) {
    let module = "dsa_generation_module";
    write_table(
        path,
        &[
            ("op_name", texts(&[module, module, "dsa_generation_module_skip_indexer"])),
            ("architecture", texts(&["GlmMoeDsaForCausalLM", "SomethingElse", "GlmMoeDsaForCausalLM"])),
            ("mla_dtype", texts(&["bfloat16"; 3])),
            ("kv_cache_dtype", texts(&["bfloat16"; 3])),
            ("gemm_type", texts(&["fp8_block"; 3])),
            ("num_heads", Column::Integer(vec![8; 3])),
            ("batch_size", Column::Integer(vec![64; 3])),
            ("isl", Column::Integer(vec![1; 3])),
            ("step", Column::Integer(vec![1023; 3])),
            ("latency", Column::Number(vec![0.4, 7.0, 9.0])),
        ],
    );
}

/// Dispatch and combine of 8 to 16 tokens of each rank of a node, all in the same time.
fn exchanges(path: &Path) {
    write_table(
        path,
        &[
            ("node_num", Column::Integer(vec![1; 2])),
            ("hidden_size", Column::Integer(vec![7168; 2])),
            ("num_token", Column::Integer(vec![8, 16])),
            ("num_topk", Column::Integer(vec![8; 2])),
            ("num_experts", Column::Integer(vec![256; 2])),
            ("dispatch_avg_t_us", Column::Number(vec![30.0; 2])),
            ("combine_avg_t_us", Column::Number(vec![50.0; 2])),
        ],
    );
}

const SPLIT: [&str; 4] = ["--tp", "8", "--moe-tp", "8"];

/// The ops of a decode step on a node of 8 H200 with these tables, and how many rows the import left out.
fn decode(model: &str, plan: &[&str], write: impl Fn(&Path), table: &str) -> (Vec<Value>, u64) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("data/h200_sxm").join(table));
    let file = folder.path().join("operators.parquet").display().to_string();
    let run = |arguments: &[&str]| -> Value {
        let output = Command::cargo_bin("supernode").unwrap().args(arguments).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let told = run(&["operators", "import", &folder.path().join("data").display().to_string(), "-o", &file, "--json"]);
    let chips = ["--chip", "h200", "--fabric", "hgx-400g", "--chips", "8"];
    let load = ["--batch-per-chip", "8", "--kv-len", "1024", "--type", "fp8", "--phase", "decode"];
    let document =
        run(&[&["project", "--model", model, "--operators", &file, "--json"][..], &chips, plan, &load].concat());
    let list = document.pointer("/on/operators").or_else(|| document.pointer("/operators")).unwrap();
    (list.as_array().unwrap().clone(), told["unused_rows"].as_u64().unwrap())
}

fn time_s(operator: &Value) -> f64 {
    operator["time_s"].as_f64().unwrap()
}

#[test]
fn a_recurrence_and_its_convolution_take_their_measured_times() {
    let (ops, unused) =
        decode("qwen3.5-397b-a17b", &SPLIT, delta_rules, "linear_attention/sglang/0.5.14/gdn_perf.parquet");
    let of = |name: &str| ops.iter().find(|op| op["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert!((time_s(of("recurrence")) / 0.5e-3 - 1.0).abs() < 1e-5, "{}", of("recurrence"));
    assert!((time_s(of("convolution")) / 0.1e-3 - 1.0).abs() < 1e-5, "{}", of("convolution"));
    assert_eq!(of("recurrence")["cost"], "measured at this shape");
    // Four families look at four rows, and two of them find one.
    assert_eq!(unused, 4 * 4 - 2);
}

#[test]
fn the_ops_of_a_measured_module_share_its_time_out() {
    let table = "sparse_attention/sglang/0.5.14/dsa_generation_module_perf.parquet";
    let (ops, unused) = decode("glm-5", &SPLIT, sparse_modules, table);
    let module: Vec<&Value> = ops.iter().filter(|op| op["cost"] == "measured at this shape").collect();
    let all: f64 = module.iter().map(|op| time_s(op)).sum();
    assert!((all / 0.4e-3 - 1.0).abs() < 1e-5, "{all}");
    let names: Vec<&str> = module.iter().map(|op| op["name"].as_str().unwrap()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"down projection"), Some(&"output")));
    assert_eq!(unused, 2);
}

#[test]
fn a_dispatch_inside_a_node_takes_its_measured_time_and_says_so() {
    let plan = ["--tp", "1", "--dp", "8", "--ep", "8", "--expert-load", "uniform"];
    let (ops, _) = decode("deepseek-v3", &plan, exchanges, "comm/sglang/0.5.14/wideep_deepep_ll_perf.parquet");
    for (name, expected) in [("dispatch", 30e-6), ("combine", 50e-6)] {
        let op = ops.iter().find(|op| op["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert!((time_s(op) / expected - 1.0).abs() < 1e-5, "{op}");
        // The busiest rank has somewhat more than 8 tokens.
        assert_eq!(op["cost"], "measured, interpolated");
    }
    let split = ["--tp", "8", "--ep", "8", "--moe-exchange", "all-gather"];
    let (ops, _) = decode("deepseek-v3", &split, exchanges, "comm/sglang/0.5.14/wideep_deepep_ll_perf.parquet");
    let reduced = ops.iter().find(|op| op["name"] == "all-reduce").unwrap();
    assert_eq!(reduced["cost"], "fabric hgx-400g", "no table has it");
}

#[test]
fn a_cache_whose_length_is_only_a_step_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let one = || Column::Integer(vec![1]);
    let types = ["attn_dtype", "kv_cache_dtype"].map(|name| (name, texts(&["bfloat16"])));
    let sizes = ["batch_size", "step", "num_heads", "num_key_value_heads", "head_dim"].map(|name| (name, one()));
    let columns: Vec<_> = types.into_iter().chain(sizes).chain([("latency", Column::Number(vec![1.0]))]).collect();
    write_table(&data.join("h200_sxm/attention/vllm/0.24.0/generation_attention_perf.parquet"), &columns);
    let file = folder.path().join("operators.parquet");
    let (data, output) = (data.display().to_string(), file.display().to_string());
    let arguments = ["operators", "import", &data, "-o", &output];
    let assert = Command::cargo_bin("supernode").unwrap().args(arguments).assert().code(2);
    let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(told.contains("it has no column isl"), "{told}");
    assert!(!file.exists());
}
