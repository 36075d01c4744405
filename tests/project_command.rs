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
fn the_type_of_the_cache_is_in_the_answer() {
    let asked =
        ["--model", "llama-3.1-70b", "--phase", "decode", "--chip", "h200", "--chips", "8", "--cache-type", "fp8"];
    assert_eq!(json(&asked)["cache_type"], "fp8");
    project(&asked).assert().success().stdout(predicates::str::contains(", type int8, KV cache fp8\n"));
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
            &["--model", "deepseek-v3", "--phase", "serving", "--output-len", "8", "--framework", "megatron"],
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
fn energy_and_cost_stand_beside_the_throughput() {
    let plan =
        ["--model", "deepseek-v3", "--phase", "decode", "--chip", "h200", "--fabric", "hgx-400g", "--chips", "64"];
    let priced = [plan.as_slice(), &["--price-per-chip-hour", "3", "--price-per-kwh", "0.1"]].concat();
    let (answer, without) = (json(&priced), json(&plan));
    let median = |answer: &Value, figure: &str| answer[figure]["median"].as_f64().unwrap();
    let (rate, watts) = (median(&answer, "tokens_per_s_per_chip"), median(&answer, "power_w_per_chip"));
    assert!((median(&answer, "tokens_per_joule") - rate / watts).abs() < 1e-9 * rate);
    let cost = (3.0 / 3600.0 + watts / 3.6e6 * 0.1) / rate * 1e6;
    assert!((median(&answer, "cost_per_million_tokens") - cost).abs() < 1e-9 * cost);
    assert!(answer["cost_per_million_tokens"]["low"].as_f64() < answer["cost_per_million_tokens"]["high"].as_f64());
    assert!(without["cost_per_million_tokens"].is_null() && !without["baseline"]["tokens_per_joule"].is_null());
    let output = project(&priced).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for expected in ["tokens/joule", "at 3 per chip-hour and 0.1 per kWh", "power of a package: 700 W"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_front_and_serving_have_energy_and_cost_too() {
    let plan = ["--model", "qwen3-235b-a22b", "--chip", "b200", "--fabric", "hgx-400g", "--chips", "8"];
    let priced = [plan.as_slice(), &["--price-per-kwh", "0.1"]].concat();
    let search = json(&[priced.as_slice(), &["--phase", "decode", "--search"]].concat());
    assert!(search["plans"].as_u64().unwrap() >= search["front"].as_array().unwrap().len() as u64);
    assert!(search["front"][0]["cost_per_million_tokens"]["median"].as_f64().unwrap() > 0.0);
    let serving = [priced.as_slice(), &["--phase", "serving", "--output-len", "500", "--mode", "aggregated"]].concat();
    let front = json(&[serving.as_slice(), &["--search"]].concat());
    assert!(front[0]["tokens_per_joule"]["median"].as_f64().unwrap() > 0.0);
    let answer = json(&serving);
    let interval = &answer["tokens_per_s_per_chip_interval"];
    assert_eq!(interval["median"], answer["tokens_per_s_per_chip"]);
    assert!(interval["low"].as_f64().unwrap() < interval["high"].as_f64().unwrap());
    assert!(answer["cost_per_million_tokens"]["high"].as_f64().unwrap() > 0.0);
    assert_eq!(answer["ttft_s_interval"]["median"], answer["ttft_s"]["mean"]);
}

#[test]
fn energy_is_left_out_where_nothing_says_the_power() {
    let unknown = ["--model", "llama-3.1-8b", "--phase", "decode", "--chips", "8", "--fabric", "ub-mesh-pod"];
    let answer = json(&unknown);
    assert!(answer["tokens_per_joule"].is_null());
    assert!(answer["energy_left_out"].as_str().unwrap().contains("ub-mesh-pod"));
    project(&[unknown.as_slice(), &["--price-per-kwh", "0.1"]].concat())
        .assert()
        .success()
        .stdout(predicate::str::contains("left out: nothing says what ub-mesh-pod draws"));
}

#[test]
fn a_bad_price_or_power_is_one_line_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let chip = std::fs::read_to_string("specs/chips/h100.toml").unwrap();
    let bad_file = |name: &str, text: String| {
        assert_ne!(text, chip, "{name}: nothing was changed");
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let negative = bad_file("negative.toml", chip.replace("power_w = { value = ", "power_w = { value = -"));
    let no_unit = bad_file("no-unit.toml", chip.replace("power_w = ", "power = "));
    let cases: [(&[&str], &str); 6] = [
        (&["--price-per-kwh", "-0.1"], "give a plain number above 0"),
        (&["--price-per-kwh", "nan"], "give a plain number above 0"),
        (&["--price-per-chip-hour", "2EUR"], "without its currency"),
        (&["--price-per-chip-hour", "0"], "give a plain number above 0"),
        (&["--chip", &negative], "power_w"),
        (&["--chip", &no_unit], "unknown field `power`"),
    ];
    for (arguments, expected) in cases {
        let error = project(arguments).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        let lines = error.trim_end().lines().filter(|line| !line.is_empty() && !line.contains("--help")).count();
        assert!(error.contains(expected) && lines == 1, "{error}");
    }
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
