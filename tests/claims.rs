//! `supernode claims`: the arithmetic by hand, and verdicts that follow from their readings.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use serde_json::Value;
use supernode_bench::projection::claims::{Judged, Verdict, judge};
use supernode_bench::projection::scaling::{GlobalBatch, scaling};
use supernode_bench::projection::{ChipModel, Phase, Pins, Request, Workload};
use supernode_bench::specs::{Chip, Claim, Fabric, Model};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("claims").args(arguments);
    command
}

fn output(arguments: &[&str]) -> String {
    String::from_utf8(command(arguments).assert().success().get_output().stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&output(&[arguments, &["--json"]].concat())).unwrap()
}

fn judged(text: &str) -> Judged {
    judge(&[Claim::parse("my.toml", text).unwrap()], None, &|_| {}).unwrap().remove(0)
}

fn by_name(name: &str) -> Judged {
    judge(&[Claim::load(name).unwrap()], None, &|_| {}).unwrap().remove(0)
}

/// An arithmetic claim about the peak in these types.
fn peak_claim(low: &str, types: &str) -> String {
    format!(
        "name = \"x\"\ntitle = \"x\"\n[[figures]]\nof = \"peak_flop_per_s\"\nsaid = \"x\"\n{low}\nunit = \"FLOP/s\"\nprovenance = \"published\"\nsource = \"a test\"\nchecked = \"yes\"\n[readings]\nchip = \"ascend-910c\"\nchips = 384\ntype = {types}\n"
    )
}

#[test]
fn the_arithmetic_is_that_of_the_files() {
    let chip = Chip::load("ascend-910c").unwrap();
    let peak = by_name("peak");
    let fitting: Vec<_> = peak.readings.iter().filter(|reading| reading.fits).collect();
    assert_eq!(fitting.len(), 1);
    assert_eq!(fitting[0].point.text("type"), Some("bf16"));
    assert_eq!(fitting[0].values[0].value.median, 384.0 * chip.peak_flop_per_s.bf16.unwrap().value);
    assert!(
        fitting[0].how.contains("384 x 752 TFLOP/s") && fitting[0].how.contains("289 PFLOP/s"),
        "{}",
        fitting[0].how
    );
    let memory = by_name("memory");
    assert_eq!(memory.readings[0].values[0].value.median, 384.0 * chip.memory.capacity_bytes.value);
    assert!(!memory.readings[0].fits, "49.2 TB are not 48");
    assert_eq!(memory.readings[1].values[0].value.median, 48e12);
    assert!(memory.readings[1].fits && memory.readings[1].how.contains("384 x 128 GiB / 1024 = 48.00 TiB"));
    let fabric = Fabric::load("cloudmatrix384").unwrap();
    let bandwidth = by_name("bandwidth");
    let link = |tier: usize| fabric.tiers[tier].bandwidth_bytes_per_s.as_ref().unwrap().value;
    let raw = |tier: &str, slow: f64| {
        let wanted = |reading: &&supernode_bench::projection::claims::ClaimReading| {
            reading.point.text("tier") == Some(tier)
                && reading.point.text("bandwidth_is") == Some("of the link")
                && reading.point.number("set.baseline.tiers.scale-out.bandwidth_bytes_per_s") == Some(slow)
        };
        bandwidth.readings.iter().find(wanted).unwrap().values[0].value.median
    };
    assert_eq!(raw("node", 25e9), link(0) / 25e9);
    assert_eq!(raw("supernode", 50e9), link(1) / 50e9);
    assert_eq!(by_name("size").readings[0].values[0].value.median, 384.0);
}

#[test]
fn a_reading_that_rests_on_the_announcement_proves_nothing() {
    let before = by_name("latency-before");
    let own: Vec<_> =
        before.readings.iter().filter(|reading| reading.point.text("baseline") == Some("roce-cluster")).collect();
    assert!(!own.is_empty() && own.iter().all(|reading| reading.circular && !reading.fits));
    assert!(before.caveats.iter().any(|caveat| caveat.to_string().contains("does not count")));
}

#[test]
fn each_verdict_follows_from_the_readings() {
    let all = judged(&peak_claim("low = 1", "[\"bf16\", \"int8\"]"));
    assert_eq!(all.verdict, Verdict::Consistent { readings: 2 });
    let some = judged(&peak_claim("low = 280e15\nhigh = 300e15", "[\"int8\", \"bf16\", \"f16\", \"f32\"]"));
    let Verdict::OnlyIf { any_of, fitting, readings } = some.verdict else { panic!("{:?}", some.verdict) };
    assert_eq!((any_of.as_slice(), fitting, readings), (["type bf16 or f16".to_owned()].as_slice(), 2, 4));
    let none = judged(&peak_claim("low = 1e18", "[\"bf16\", \"int8\"]"));
    let Verdict::NotReproduced { nearest: Some(nearest), readings: 2 } = none.verdict else {
        panic!("{:?}", none.verdict)
    };
    assert_eq!(nearest.reading, "type int8");
    assert!((nearest.off_by - 384.0 * 1504e12 / 1e18).abs() < 1e-9);
    // A type that the chip lacks is no reading of its own.
    let lacking = judged(&peak_claim("low = 1", "[\"bf16\", \"fp8\"]"));
    assert_eq!(lacking.verdict, Verdict::Consistent { readings: 1 });
    assert!(lacking.readings[1].impossible.as_ref().unwrap().contains("fp8"));
}

#[test]
fn the_words_of_a_verdict_name_exactly_the_readings_that_fit() {
    for name in ["llama3", "moe"] {
        let claim = by_name(name);
        for reading in &claim.readings {
            let overlaps = claim.figures.iter().zip(&reading.values).all(|(figure, value)| {
                value.value.high >= figure.figure.low && figure.figure.high.is_none_or(|high| value.value.low <= high)
            });
            assert_eq!(reading.fits, overlaps && !reading.values.is_empty(), "{reading:?}");
            assert!(reading.values.is_empty() == reading.impossible.is_some());
            for value in &reading.values {
                assert!(value.value.low <= value.value.median && value.value.median <= value.value.high, "{reading:?}");
            }
        }
        let fitting = claim.readings.iter().filter(|reading| reading.fits).count();
        match &claim.verdict {
            Verdict::OnlyIf { fitting: said, any_of, .. } => {
                assert_eq!(*said, fitting);
                assert!(!any_of.is_empty());
            }
            Verdict::Consistent { readings } => assert_eq!(*readings, fitting),
            Verdict::NotReproduced { .. } => assert_eq!(fitting, 0),
        }
        assert!(claim.caveats.iter().any(|caveat| caveat.to_string().contains("a projection, not a measurement")));
    }
}

#[test]
fn prefill_on_the_same_chips_costs_what_its_time_costs() {
    let claim = by_name("moe");
    let rate = |serving: &str| {
        let wanted = |reading: &&supernode_bench::projection::claims::ClaimReading| {
            reading.point.text("serving") == Some(serving)
                && reading.point.text("model") == Some("deepseek-v3")
                && reading.point.text("fabric") == Some("cloudmatrix384")
                && reading.point.number("workload.tpot_limit_ms") == Some(50.0)
        };
        claim.readings.iter().find(wanted).unwrap()
    };
    let (alone, both) = (rate("decode_only"), rate("with_prefill"));
    let (alone, both_rate) = (alone.values[0].value.median, both.values[0].value.median);
    // 1536 tokens out after 3584 in: 1 / both - 1 / alone is the prefill's time a token out.
    let prefill = 3584.0 / 1536.0 / (1.0 / both_rate - 1.0 / alone);
    assert!(both_rate < alone && prefill > alone, "{alone} {both_rate} {prefill}");
    assert!(both.how.contains(&format!("prefill {prefill:.0} at")), "{prefill} {}", both.how);
}

#[test]
fn a_reading_of_serving_is_the_deployment_that_project_finds_and_slower_than_decode_alone() {
    let claim = by_name("moe");
    let reading = |phase: &str, model: &str, more: (&str, &str), limit: f64| {
        let wanted = |reading: &&supernode_bench::projection::claims::ClaimReading| {
            let point = &reading.point;
            point.text("phase") == Some(phase)
                && point.text("model") == Some(model)
                && point.text(more.0) == Some(more.1)
                && point.text("fabric") == Some("cloudmatrix384")
                && point.text("baseline_plan") == Some("its own best")
                && point.number("workload.tpot_limit_ms") == Some(limit)
        };
        claim.readings.iter().find(wanted).unwrap()
    };
    let value = |reading: &supernode_bench::projection::claims::ClaimReading, figure: usize| {
        reading.values.get(figure).unwrap_or_else(|| panic!("{reading:?}")).value
    };
    let most = |model: &str, mode: &str, fabric: &str| {
        let flags = format!(
            "project --phase serving --search --json --type int8 --prompt-len 3584 --output-len 1536 --tpot-limit-ms 50 \
             --model {model} --mode {mode} --fabric {fabric}"
        );
        let mut command = Command::cargo_bin("supernode").unwrap();
        let output = command.args(flags.split_whitespace()).assert().success().get_output().stdout.clone();
        let front: Value = serde_json::from_slice(&output).unwrap();
        let rates = front.as_array().unwrap().iter().map(|point| point["tokens_per_s_per_chip"].as_f64().unwrap());
        rates.fold(0.0, f64::max)
    };
    for model in ["deepseek-v3", "qwen3-235b-a22b", "qwen2.5-72b"] {
        let decode = value(reading("decode", model, ("serving", "decode_only"), 50.0), 0).median;
        for mode in ["aggregated", "disaggregated"] {
            let served = reading("serving", model, ("plan.mode", mode), 50.0);
            let rate = value(served, 0);
            assert!(rate.low < rate.median && rate.median < rate.high, "{rate:?}");
            assert!(rate.median < decode, "{model} {mode}: {} and {decode} in decode alone", rate.median);
            let found = most(model, mode, "cloudmatrix384");
            // The front leaves out points that gain less than 2 %.
            assert!((0.98..=1.0 + 1e-9).contains(&(found / rate.median)), "{model} {mode}: {found} {rate:?}");
            let ratio = value(served, 1).median;
            let below = most(model, mode, "roce-cluster");
            assert!((rate.median / below / ratio - 1.0).abs() < 0.03, "{model} {mode}: {ratio} {below}");
        }
    }
}

#[test]
fn a_baseline_with_the_deployment_of_the_supernode_serves_as_many_clients() {
    let text = include_str!("../specs/claims/moe.toml");
    let (head, _) = text.split_once("[[readings.grid]]").unwrap();
    let head = head.replace("[\"deepseek-v3\", \"qwen3-235b-a22b\", \"qwen2.5-72b\"]", "\"qwen3-235b-a22b\"");
    let grid = "[[readings.grid]]\nphase = \"serving\"\nplan.mode = [\"aggregated\", \"disaggregated\"]\n\
        workload.prompt_len = 2000\nworkload.output_len = 500\nworkload.concurrency = 3000\n";
    let claim = judged(&format!("{head}{grid}"));
    assert_eq!(claim.readings.len(), 8);
    for reading in &claim.readings {
        assert_eq!(reading.values.len(), 2, "{reading:?}");
        let how = &reading.how;
        let (on, below) = how.split_once("; baseline ").unwrap();
        let plan = |text: &str| text.split_once(" at ").unwrap().1.split(", ").take(1).collect::<String>();
        if reading.point.text("baseline_plan") == Some("the supernode's") {
            assert_eq!(plan(on), plan(below), "{how}");
        }
        // Whatever is left to the baseline, the supernode is no slower.
        assert!(reading.values[1].value.median > 1.0, "{how}");
    }
}

#[test]
fn a_job_that_grows_with_the_machine_keeps_its_rate_and_one_that_stays_does_not() {
    let mut request = Request {
        model: Model::load("llama-3.1-405b").unwrap(),
        chip: ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        fabric: Fabric::load("cloudmatrix384").unwrap(),
        chips: 384,
        phase: Phase::Training,
        number_type: None,
        cache_type: None,
        workload: Workload::default(),
        pins: Pins::default(),
        framework: None,
    };
    let chips = [384, 1536, 24576];
    let weak = scaling(&request, &chips, GlobalBatch::Grows);
    assert_eq!(weak[0].efficiency.unwrap().median, 1.0);
    assert_eq!(weak[2].global_batch_tokens, 64.0 * weak[0].global_batch_tokens);
    let strong = scaling(&request, &chips, GlobalBatch::Stays);
    assert_eq!(strong[2].global_batch_tokens, strong[0].global_batch_tokens);
    let share = |points: &[supernode_bench::projection::scaling::ScalePoint]| points[1].efficiency.unwrap().median;
    assert!(share(&weak) > share(&strong), "{} {}", share(&weak), share(&strong));
    // A fabric that is too small is a typed answer, not a gap.
    request.fabric.tiers.truncate(2);
    assert!(
        scaling(&request, &chips, GlobalBatch::Grows)[1].infeasible.as_ref().unwrap().contains("joins at most 384")
    );
}

#[test]
fn a_published_utilisation_stands_for_the_projection_and_names_both_chips() {
    let claim = by_name("llama3");
    let wanted = |reading: &&supernode_bench::projection::claims::ClaimReading| {
        let at = |key: &str| reading.point.number(key);
        at("mfu") == Some(0.41)
            && at("baseline_mfu") == Some(0.41)
            && at("set.chip.peak_flop_per_s.bf16") == Some(780e12)
            && reading.point.text("model") == Some("llama-3.1-405b")
            && reading.point.text("flop_are") == Some("six a weight")
            && reading.point.text("baseline_chip") == Some("ascend-910b")
    };
    let reading = claim.readings.iter().find(wanted).unwrap();
    let weights = Model::load("llama-3.1-405b").unwrap().active_parameters();
    let [rate, speedup] = [reading.values[0].value, reading.values[1].value];
    assert!((rate.median / (0.41 * 780e12 / (6.0 * weights)) - 1.0).abs() < 1e-9, "{rate:?}");
    let below = Chip::load("ascend-910b").unwrap().peak_flop_per_s.bf16.unwrap().value;
    assert!((speedup.median / (780e12 / below) - 1.0).abs() < 1e-9, "{speedup:?}");
    // Shares in whole percent were rounded.
    assert!(rate.low < 131.5 && rate.high > 131.5, "{rate:?}");
    assert!(reading.how.contains("of ascend-910b"), "{}", reading.how);
}

#[test]
fn a_larger_chip_below_is_a_slower_figure_above() {
    let claim = by_name("llama3");
    let speedup = |chip: &str| {
        let wanted = |reading: &&supernode_bench::projection::claims::ClaimReading| {
            reading.point.text("baseline_chip") == Some(chip)
                && reading.point.number("mfu").is_none()
                && reading.point.number("chips") == Some(384.0)
                && reading.point.text("baseline_plan") == Some("its own best")
                && reading.point.text("baseline_overlap") == Some("hidden")
        };
        claim.readings.iter().find(wanted).unwrap().values[1].value.median
    };
    assert!(speedup("ascend-910b") > speedup("h100") && speedup("a100") > speedup("h100"));
}

#[test]
fn it_prints_every_figure_from_the_files_alone_and_again_with_a_record() {
    let text = output(&[]);
    for said in [
        "384 chips",
        "300 PFLOPS",
        "48 TB",
        "15 times",
        "200 ns",
        "2 us",
        "132 tokens/s",
        "2.5 times",
        "600 to 750",
        "3 times",
        "tens of thousands",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let table = text.split("\n\n").nth(1).unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
    assert!(!text.contains('\u{1b}'));
    // The record of a software adapter: its caveat must travel.
    let document = json(&["--record", "results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json"]);
    let llama = document["claims"].as_array().unwrap().iter().find(|claim| claim["name"] == "llama3").unwrap();
    let caveats = llama["caveats"].to_string();
    assert!(caveats.contains("CPU"), "{caveats}");
    assert!(llama["readings"][0]["point"]["chip"] == "measured");
    assert!(!document["record"].is_null());
}

#[test]
fn bad_input_is_one_line_with_exit_code_2() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("my.toml");
    let unknown =
        peak_claim("low = 1", "[\"bf16\"]").replace("peak_flop_per_s", "speedup").replace("ascend-910c", "z80");
    std::fs::write(&path, unknown.replace("[readings]", "[readings]\nmodel = \"deepseek-v3\"\nphase = \"decode\""))
        .unwrap();
    let other = dir.path().join("other.toml");
    let below = peak_claim("low = 1", "[\"bf16\"]").replace("peak_flop_per_s", "speedup");
    let asked =
        "[readings]\nmodel = \"deepseek-v3\"\nphase = \"decode\"\nbaseline = \"roce-cluster\"\nbaseline_chip = \"z80\"";
    std::fs::write(&other, below.replace("[readings]", asked)).unwrap();
    for (argument, expected) in [
        ("no-such", "no claim is called `no-such`"),
        (other.to_str().unwrap(), "`baseline_chip`: no chip is called `z80`"),
        (path.to_str().unwrap(), "no chip is called `z80`"),
        ("Cargo.toml", "Cargo.toml"),
        ("mine.json", "give a record as `--record mine.json`"),
    ] {
        let error = command(&[argument]).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{error}");
    }
}
