//! The spread of devices in a projection: a step waits for the slowest of its ranks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use serde_json::Value;
use supernode_bench::projection::slowest::DeviceSpread;
use supernode_bench::projection::{ChipModel, Phase, Pins, Request, Workload, project};
use supernode_bench::specs::{Chip, Fabric, Model, Scenario};

fn request(chip: &str, phase: Phase, chips: u32) -> Request {
    Request {
        model: Model::load("deepseek-v3").unwrap(),
        chip: ChipModel::from_spec(&Chip::load(chip).unwrap()),
        fabric: Fabric::load("cloudmatrix384").unwrap(),
        chips,
        phase,
        number_type: None,
        cache_type: None,
        workload: Workload::default(),
        // With a plan that is searched, a slower step would also mean a smaller batch within the latency limit.
        pins: Pins {
            tp: Some(1),
            pp: Some(1),
            ep: Some(64),
            microbatches: Some(1),
            batch_per_chip: Some(16.0),
            ..Pins::default()
        },
        framework: None,
    }
}

fn supernode(arguments: &str) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.args(arguments.split_whitespace());
    command
}

fn json(arguments: &str) -> Value {
    let output = supernode(arguments).arg("--json").assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn a_wider_spread_is_never_faster_and_none_changes_nothing() {
    for phase in [Phase::Prefill, Phase::Decode] {
        let mut asked = request("ascend-910c", phase, 384);
        let alike = project(&asked).unwrap();
        let mut before = alike.tokens_per_s_per_chip.median;
        asked.chip.spread = Some(DeviceSpread::stated(0.0));
        assert_eq!(project(&asked).unwrap().tokens_per_s_per_chip, alike.tokens_per_s_per_chip);
        for share in [0.01, 0.03, 0.1] {
            asked.chip.spread = Some(DeviceSpread::stated(share));
            let answer = project(&asked).unwrap();
            assert!(answer.tokens_per_s_per_chip.median < before, "{share}");
            // The factor is on kernels alone: a step is longer by no more than that.
            let factor = asked.chip.slowest(384, Scenario::Nominal);
            assert!(answer.tokens_per_s_per_chip.median >= alike.tokens_per_s_per_chip.median / factor * 0.999);
            before = answer.tokens_per_s_per_chip.median;
        }
    }
}

#[test]
fn the_answer_says_for_whom_it_waits_and_where_the_spread_comes_from() {
    let asked = "project --model deepseek-v3 --phase decode --chips 384";
    let (without, with) = (json(asked), json(&format!("{asked} --device-spread 3%")));
    assert!(with["step_s"].as_f64() > without["step_s"].as_f64());
    let caveats = with["caveats"].to_string();
    assert!(
        caveats.contains("waits for the slowest of 768 ranks, which takes 1.09")
            && caveats.contains("given on the command line"),
        "{caveats}"
    );
    assert!(!without["caveats"].to_string().contains("slowest"));
    let sources = with["provenance"].as_array().unwrap();
    let source = sources.iter().find(|source| source["what"] == "spread of devices").unwrap();
    assert_eq!((&source["value"], &source["provenance"]), (&"3.0 %".into(), &"assumed".into()));
    for spread in ["3", "x%", "-1%", "60%", "nan%"] {
        supernode(&format!("{asked} --device-spread={spread}")).assert().code(2);
    }
}

#[test]
fn explain_shows_the_slowest_rank_as_a_cause() {
    let asked = "explain --model qwen3-30b-a3b --phase decode --chips 64 --device-spread 2%";
    let words = supernode(asked).assert().success().get_output().stdout.clone();
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("slowest rank: kernels of a step take x 1.0"), "{words}");
    let steps = json(asked)["steps"].as_array().unwrap().clone();
    assert_eq!(steps.last().unwrap()["cause"], "slowest rank");
}

/// Two computers with two ranks each: 20 us and 10 Gbit/s inside, 200 us and 1 Gbit/s between them.
const FLEET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fleet.json");

#[test]
fn a_fabric_is_made_of_what_a_fleet_measured_and_a_projection_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("measured.toml");
    let file = file.to_str().unwrap();
    let words =
        supernode(&format!("fabric fit --fleet {FLEET} -o {file}")).assert().success().get_output().stdout.clone();
    let words = String::from_utf8(words).unwrap();
    assert!(
        words.contains("use it as --fabric") && words.contains("all-reduce") && words.contains("combine"),
        "{words}"
    );
    let fabric = Fabric::load(file).unwrap();
    assert_eq!(fabric.name, "measured");
    let found: Vec<(&str, u64)> = fabric.tiers.iter().map(|tier| (tier.name.as_str(), tier.chips)).collect();
    assert_eq!(found, [("node", 2), ("tier2", 4)]);
    for (tier, (latency, bandwidth)) in fabric.tiers.iter().zip([(20e-6, 1.25e9), (200e-6, 125e6)]) {
        assert!((tier.latency_s.value / latency - 1.0).abs() < 0.1, "{}", tier.latency_s.value);
        let reached = tier.bandwidth_bytes_per_s.as_ref().unwrap().value;
        assert!((reached / bandwidth - 1.0).abs() < 0.1, "{reached}");
    }
    supernode(&format!("fabric check {file}")).assert().success();
    let asked = format!("project --fabric {file} --model qwen3-30b-a3b --phase decode --chips 4 --chip h100");
    assert_eq!(json(&asked)["fabric"], "measured");
    // The fleet goes on to as many chips as are asked for, and the file says so.
    supernode(&format!("fabric fit --fleet {FLEET} --chips 64 -o {file}")).assert().success();
    let fabric = Fabric::load(file).unwrap();
    assert!(fabric.max_chips() == 64 && fabric.title.contains("to 64 chips (assumed)"), "{}", fabric.title);
    assert_eq!(
        json(&format!("fabric fit --fleet {FLEET}"))["found"]["tiers"][0]["groups"],
        serde_json::json!([[0, 1], [2, 3]])
    );
}

#[test]
fn a_fleet_as_a_record_is_its_middle_device_with_the_spread_of_all() {
    let asked = format!("project --record {FLEET} --model qwen3-30b-a3b --phase decode --chips 64");
    let caveats = json(&asked)["caveats"].to_string();
    assert!(caveats.contains("the middle one of 4 in a fleet"), "{caveats}");
    assert!(
        caveats.contains("the slowest of 64 ranks") && caveats.contains("over 4 devices of the fleet"),
        "{caveats}"
    );
    // What the user states goes before.
    let stated = json(&format!("{asked} --device-spread 0%"))["caveats"].to_string();
    assert!(stated.contains("takes 1.000 (1.000 to 1.000)"), "{stated}");
}

#[test]
fn a_fleet_that_makes_no_fabric_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let whole: Value = serde_json::from_slice(&std::fs::read(FLEET).unwrap()).unwrap();
    let refusal = |change: &dyn Fn(&mut Value), arguments: &str| {
        let mut fleet = whole.clone();
        change(&mut fleet);
        let file = folder.path().join("changed.json");
        std::fs::write(&file, serde_json::to_vec(&fleet).unwrap()).unwrap();
        let command = format!("fabric fit --fleet {} {arguments}", file.display());
        let error = supernode(&command).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        error
    };
    let without = refusal(&|fleet| drop(fleet.as_object_mut().unwrap().remove("network")), "");
    assert!(without.contains("it has no network"), "{without}");
    let parted = refusal(&|fleet| fleet["network"]["pairs"].as_array_mut().unwrap().retain(|pair| pair["to"] != 3), "");
    assert!(parted.contains("rank 0 to rank 3"), "{parted}");
    assert!(refusal(&|_| {}, "--chips 2").contains("2 chips are fewer than the 4 ranks"));
    supernode("fabric fit h100-ib --fleet x.json").assert().code(2);
    supernode("fabric fit --fleet x.json").assert().code(2);
    supernode("fabric fit --chips 8").assert().code(2);
}
