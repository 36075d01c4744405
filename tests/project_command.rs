//! `supernode project` as a user meets it: what it prints, and what it says to bad input.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn project(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.arg("project").args(arguments);
    command
}

fn json(arguments: &[&str]) -> Value {
    let output = project(arguments).arg("--json").assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn without_model_and_phase_it_prints_nine_rows_within_100_columns() {
    let rows = json(&[]);
    assert_eq!(rows.as_array().unwrap().len(), 9);
    let output = project(&[]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    let tables = text.split("Keep in mind").next().unwrap();
    assert!(tables.lines().all(|line| line.chars().count() <= 100), "{tables}");
    for expected in ["llama-3.1-405b", "qwen3-235b-a22b", "deepseek-v3", "Published", "Assumed", "[second hand]"] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn one_question_gives_the_projection_with_baseline_and_speedup() {
    let answer = json(&["--model", "deepseek-v3", "--phase", "decode", "--chip", "h100", "--chips", "128"]);
    for field in ["tokens_per_s_per_chip", "terms_s", "plan", "bound_by", "provenance", "tpot_s", "caveats"] {
        assert!(!answer[field].is_null(), "{field}");
        assert!(!answer["baseline"][field].is_null(), "baseline {field}");
    }
    let rate = |value: &Value| value["tokens_per_s_per_chip"]["median"].as_f64().unwrap();
    let speedup = answer["speedup"].as_f64().unwrap();
    assert!((speedup - rate(&answer) / rate(&answer["baseline"])).abs() < 1e-9);
    assert_eq!(answer["type"], "int8");
    assert!(answer["provenance"].to_string().contains("from memory, unconfirmed"));
}

#[test]
fn a_plan_that_is_given_is_used() {
    let given =
        ["--model", "deepseek-v3", "--phase", "decode", "--chips", "160", "--ep", "160", "--batch-per-chip", "96"];
    let answer = json(&[given.as_slice(), &["--tpot-limit-ms", "100", "--mtp", "1", "--microbatches", "2"]].concat());
    assert_eq!(answer["plan"]["ep"], 160);
    assert_eq!(answer["plan"]["microbatches"], 2);
    assert_eq!(answer["plan"]["batch_per_chip"], 96.0);
}

#[test]
fn bad_input_is_one_line_with_exit_code_2() {
    let cases: [(&[&str], &str); 12] = [
        (&["--model", "gpt-9"], "no model is called `gpt-9`"),
        (&["--chip", "z80"], "no chip is called `z80`"),
        (&["--fabric", "token-ring"], "no fabric is called `token-ring`"),
        (&["--chip", "measured"], "needs a record"),
        (&["no-such.json"], "no-such.json"),
        (&["--model", "no/such/config.json"], "cannot read no/such/config.json"),
        (&["Cargo.toml"], "Cargo.toml"),
        (&["x.json", "--chip", "h100"], "exclude each other"),
        (&["--phase", "training", "--framework", "vllm"], "`phase` is serving; training takes megatron"),
        (&["--phase", "training", "--framework", "deepspeed"], "no framework is called `deepspeed`"),
        (&["--phase", "decode", "--framework", "megatron"], "serving takes vllm, sglang, trtllm"),
        (
            &["--model", "deepseek-v3", "--phase", "serving", "--framework", "megatron"],
            "serving takes vllm, sglang, trtllm",
        ),
    ];
    for (arguments, expected) in cases {
        let error = project(arguments).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{error}");
    }
    project(&["--chips", "0"]).assert().code(2);
    project(&["--kv-len", "nan"]).assert().code(2).stderr(predicate::str::contains("give a number"));
}

#[test]
fn a_question_without_a_feasible_plan_says_by_how_much_and_exits_with_1() {
    project(&["--model", "llama-3.1-405b", "--phase", "decode", "--chips", "2"])
        .assert()
        .code(1)
        .stdout("")
        .stderr(predicate::str::contains("GB more than there are"));
}

#[test]
fn flows_and_faults_are_an_answer_beside_the_closed_forms() {
    let plan =
        ["project", "--model", "deepseek-v3", "--phase", "decode", "--microbatches", "1", "--batch-per-chip", "64"];
    let run = |more: &[&str]| Command::cargo_bin("supernode").unwrap().args(plan).args(more).assert();
    let answer = |more: &[&str]| -> serde_json::Value {
        let output = run(&[more, &["--json"]].concat()).success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    };
    assert!(answer(&[])["flows"].is_null());
    let rate = |answer: &serde_json::Value| answer["flows"]["tokens_per_s_per_chip"].as_f64().unwrap();
    let (whole, broken) = (answer(&["--flows"]), answer(&["--fault", "plane=3", "--fault", "plane=4"]));
    assert!(rate(&broken) < rate(&whole), "{} {}", whole["flows"], broken["flows"]);
    assert_eq!(broken["flows"]["faults"].as_array().unwrap().len(), 2);
    run(&["--flows"]).success().stdout(predicates::str::contains("by flows"));
    run(&["--fault", "plane=99"]).code(2).stderr(predicates::str::contains("plane"));
    let dense = ["project", "--model", "llama-3.1-405b", "--phase", "decode", "--flows"];
    let dense = Command::cargo_bin("supernode").unwrap().args(dense).assert();
    dense.code(2).stderr(predicates::str::contains("no dispatch and combine"));
}
