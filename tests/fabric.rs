//! The fabric as a whole: what must hold for any topology, traffic and fault, and the commands.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use assert_cmd::Command;
use predicates::prelude::*;
use proptest::prelude::*;
use serde_json::Value;
use supernode_bench::projection::ExpertLoad;
use supernode_bench::projection::fabric::Mode;
use supernode_bench::projection::fabric::exchange::{Answer, Direction, Exchange, Payload, Site, exchange, flows};
use supernode_bench::projection::fabric::faults::FabricFault;
use supernode_bench::projection::fabric::flows::{Fairness, run};
use supernode_bench::projection::fabric::placement::{Experts, Placement};
use supernode_bench::specs::{Fabric, Scenario, Sourced, Spread, Topology};

fn exactly(value: f64) -> Sourced {
    Sourced::assumed(value, value, value, "a test")
}

/// A random fabric of up to three tiers.
#[derive(Debug, Clone)]
struct Shape {
    base: &'static str,
    members: [u64; 3],
    bandwidth: [f64; 3],
    latency: [f64; 3],
    planes: u64,
    oversubscription: f64,
    one_port: bool,
    hashed: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let rate = || 1e9f64..1e12;
    let time = || 0.0f64..1e-5;
    (
        prop::sample::select(vec!["cloudmatrix384", "h800-ib", "h800-ib-rdma", "ub-mesh-pod"]),
        [2u64..6, 2u64..6, 2u64..6],
        [rate(), rate(), rate()],
        [time(), time(), time()],
        1u64..8,
        1.0f64..4.0,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(base, members, bandwidth, latency, planes, oversubscription, one_port, hashed)| Shape {
            base,
            members,
            bandwidth,
            latency,
            planes,
            oversubscription,
            one_port,
            hashed,
        })
}

fn fabric(shape: &Shape) -> Fabric {
    let mut fabric = Fabric::load(shape.base).unwrap();
    let mesh = fabric.topology == Topology::FullMesh;
    let mut chips = 1;
    for (place, tier) in fabric.tiers.iter_mut().enumerate() {
        let place = place.min(2);
        chips *= shape.members[place];
        tier.chips = chips;
        tier.bandwidth_bytes_per_s = Some(exactly(shape.bandwidth[place]));
        tier.latency_s = exactly(shape.latency[place]);
        if shape.one_port && !mesh {
            tier.port = "one".to_owned();
        }
        if !mesh {
            tier.planes = shape.planes;
            tier.spread = if shape.hashed { Spread::Hash } else { Spread::Spray };
            tier.oversubscription = Some(exactly(shape.oversubscription));
        }
    }
    fabric.validate("a random fabric").unwrap();
    fabric
}

/// Random traffic: a share of the fabric's ranks, and how skewed.
#[derive(Debug, Clone)]
struct Traffic {
    share: f64,
    exponent: f64,
    seed: u64,
    tokens: f64,
    combine: bool,
    normal: bool,
}

fn traffic() -> impl Strategy<Value = Traffic> {
    (0.05f64..1.0, 0.0f64..2.0, any::<u64>(), 1.0f64..5000.0, any::<bool>(), any::<bool>()).prop_map(
        |(share, exponent, seed, tokens, combine, normal)| Traffic { share, exponent, seed, tokens, combine, normal },
    )
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a few hundred ranks")]
fn ranks(fabric: &Fabric, traffic: &Traffic) -> usize {
    ((fabric.max_ranks().min(150) as f64 * traffic.share) as usize).max(2)
}

fn asked(fabric: &Fabric, traffic: &Traffic) -> Exchange {
    let ranks = ranks(fabric, traffic);
    Exchange {
        direction: if traffic.combine { Direction::Combine } else { Direction::Dispatch },
        mode: if traffic.normal { Mode::Normal } else { Mode::LowLatency },
        tokens: traffic.tokens,
        hidden: 4096.0,
        payload: Payload::Bf16,
        experts: Experts { experts: ranks * 4, redundant: 0, top_k: 4, ranks, placement: Placement::InOrder },
        load: ExpertLoad::PowerLaw { exponent: traffic.exponent, seed: traffic.seed },
        most_groups: None,
    }
}

fn answer(fabric: &Fabric, traffic: &Traffic, faults: &[FabricFault]) -> Option<Answer> {
    let own = exactly(392e9);
    let site = Site { fabric, scale_up: &own, scenario: Scenario::Nominal };
    exchange(&site, &asked(fabric, traffic), faults).ok()
}

/// A fault of a random element that this fabric has.
fn fault(fabric: &Fabric, traffic: &Traffic, kind: usize, place: usize, left: f64) -> FabricFault {
    let count = ranks(fabric, traffic);
    let planes = usize::try_from(fabric.tiers[0].planes).unwrap();
    let node = usize::try_from(fabric.tiers[0].chips * fabric.ranks_per_chip()).unwrap();
    let (rank, plane, unit) = (place % count, place % planes, place % count.div_ceil(node));
    let text = match kind {
        _ if fabric.topology == Topology::FullMesh => format!("link=0-1@{left}"),
        0 => format!("link={rank}.{plane}@{left}"),
        1 => format!("plane={plane}@{left}"),
        2 => format!("switch={unit}.{plane}@{left}"),
        3 => format!("uplink={unit}.{plane}@{left}"),
        4 => format!("core-switch={plane}@{left}"),
        _ => format!("rank={rank}@{left}"),
    };
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn bytes_out_are_bytes_in_and_all_that_was_asked(shape in shape(), traffic in traffic(), by_flow in any::<bool>()) {
        let fabric = fabric(&shape);
        let own = exactly(392e9);
        let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
        let (network, list) = flows(&site, &asked(&fabric, &traffic), &[]).unwrap();
        let fairness = if by_flow { Fairness::PerFlow } else { Fairness::PerCopy };
        let schedule = run(&network, &list, fairness).unwrap();
        for rank in 0..network.ranks {
            let of = |wanted: bool| list.iter().filter(|f| if wanted { f.from == rank } else { f.to == rank }).map(|f| f.bytes).sum::<f64>();
            prop_assert!((schedule.sent[rank] - of(true)).abs() <= 1e-6 * of(true).max(1.0));
            prop_assert!((schedule.received[rank] - of(false)).abs() <= 1e-6 * of(false).max(1.0));
        }
        // No schedule beats the busiest resource.
        let mut loads = vec![0.0; network.capacities().len()];
        for flow in &list {
            network.each_hop(flow.from, flow.to, &mut |resource, share| loads[resource] += flow.bytes * share);
        }
        let bound = loads.iter().zip(network.capacities()).map(|(load, capacity)| load / capacity).fold(0.0, f64::max);
        prop_assert!(schedule.makespan_s >= bound * (1.0 - 1e-9));
    }

    #[test]
    fn more_bandwidth_or_less_latency_is_never_slower(
        shape in shape(), traffic in traffic(), tier in 0usize..3, factor in 1.0f64..20.0,
        kind in 0usize..6, place in 0usize..10_000, left in 0.05f64..1.0
    ) {
        let slow = fabric(&shape);
        let faults = [fault(&slow, &traffic, kind, place, left)];
        for faults in [&[][..], &faults[..]] {
            let Some(before) = answer(&slow, &traffic, faults) else { continue };
            let tier = tier.min(slow.tiers.len() - 1);
            let mut fast = slow.clone();
            let bandwidth = fast.tiers[tier].bandwidth_bytes_per_s.as_mut().unwrap();
            *bandwidth = exactly(bandwidth.value * factor);
            let after = answer(&fast, &traffic, faults).unwrap();
            prop_assert!(after.latency_s <= before.latency_s * (1.0 + 1e-9), "bandwidth: {} to {}", before.latency_s, after.latency_s);
            let mut near = slow.clone();
            near.tiers[tier].latency_s = exactly(near.tiers[tier].latency_s.value / factor);
            prop_assert!(answer(&near, &traffic, faults).unwrap().latency_s <= before.latency_s * (1.0 + 1e-9));
        }
    }

    #[test]
    fn a_fault_is_never_faster_and_a_worse_one_of_a_plane_is_slower_still(
        shape in shape(), traffic in traffic(), kind in 0usize..6, place in 0usize..10_000, left in 0.0f64..1.0
    ) {
        let fabric = fabric(&shape);
        let whole = answer(&fabric, &traffic, &[]).unwrap();
        let one = fault(&fabric, &traffic, kind, place, left);
        if let Some(broken) = answer(&fabric, &traffic, &[one]) {
            prop_assert!(broken.latency_s >= whole.latency_s * (1.0 - 1e-9), "{} to {}", whole.latency_s, broken.latency_s);
        }
        if fabric.topology == Topology::Switched && !shape.hashed {
            let plane = |left: f64| [fault(&fabric, &traffic, 1, place, left)];
            let half = answer(&fabric, &traffic, &plane(left)).map(|answer| answer.latency_s);
            let worse = answer(&fabric, &traffic, &plane(left / 2.0)).map(|answer| answer.latency_s);
            if let (Some(half), Some(worse)) = (half, worse) {
                prop_assert!(worse >= half * (1.0 - 1e-9));
            }
        }
    }

    #[test]
    fn the_curve_is_smooth_and_rises_with_ranks_tokens_and_hidden_size(step in 1usize..40, tokens in 1.0f64..4000.0) {
        for name in ["cloudmatrix384", "h800-ib", "h100-ib"] {
            let fabric = Fabric::load(name).unwrap();
            let at = |ranks: usize, tokens: f64, hidden: f64| {
                let own = exactly(392e9);
                let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
                let experts = Experts { experts: ranks, redundant: 0, top_k: 8.min(ranks), ranks, placement: Placement::InOrder };
                let asked = Exchange {
                    direction: Direction::Combine, mode: Mode::LowLatency, tokens, hidden, payload: Payload::Bf16,
                    experts, load: ExpertLoad::Uniform, most_groups: None,
                };
                exchange(&site, &asked, &[]).unwrap().latency_s
            };
            let (few, many) = (at(16 * step, tokens, 7168.0), at(16 * (step + 1), tokens, 7168.0));
            prop_assert!(many >= few * (1.0 - 1e-9));
            // Beyond two nodes no step of 16 ranks makes a jump.
            prop_assert!(step < 2 || many <= few * 1.35, "{name}: {few} to {many} at {}", 16 * step);
            prop_assert!(at(16 * step, tokens * 1.1, 7168.0) >= few);
            prop_assert!(at(16 * step, tokens, 8192.0) >= few);
        }
    }
}

#[test]
fn another_topology_gives_another_answer() {
    let traffic = Traffic { share: 0.5, exponent: 0.3, seed: 1, tokens: 128.0, combine: true, normal: true };
    let base = Fabric::load("h800-ib").unwrap();
    let time = |fabric: &Fabric| answer(fabric, &traffic, &[]).unwrap().latency_s;
    let mut wide = base.clone();
    wide.set("node.chips=32").unwrap();
    let mut narrow = base.clone();
    narrow.set("network.oversubscription=3").unwrap();
    assert!(time(&wide) < time(&base));
    assert!(time(&narrow) > time(&base));
}

fn supernode(arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("supernode").unwrap().args(arguments).assert()
}

fn json(arguments: &[&str]) -> Value {
    let output = supernode(arguments).success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn bench_prints_the_promised_keys() {
    for op in ["dispatch", "combine", "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "send"] {
        let list = json(&["fabric", "bench", "--op", op, "--ep", "8,64", "--json"]);
        for (object, ep) in list.as_array().unwrap().iter().zip([8, 64]) {
            assert_eq!(object["op"], op);
            assert_eq!(object["ep"], ep);
            for key in ["latency_s", "bandwidth_bytes_per_s"] {
                assert!(object[key].as_f64().unwrap() > 0.0, "{op}: {key}");
            }
            for key in ["algorithm", "hottest_link"] {
                assert!(!object[key].as_str().unwrap().is_empty(), "{op}: {key}");
            }
            let parts = object["parts"].as_object().unwrap().values().map(|part| part.as_f64().unwrap());
            let sum: f64 = parts.sum();
            assert!((sum / object["latency_s"].as_f64().unwrap() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn the_command_says_what_the_published_table_says() {
    let list = json(&[
        "fabric",
        "bench",
        "--fabric",
        "cloudmatrix384",
        "--op",
        "dispatch",
        "--ep",
        "8,32,128,256",
        "--tokens",
        "128",
        "--hidden",
        "7168",
        "--top-k",
        "8",
        "--experts",
        "256",
        "--mode",
        "low-latency",
        "--dispatch-type",
        "int8",
        "--json",
    ]);
    // arXiv:2506.12708, Table 6.
    for (object, published) in list.as_array().unwrap().iter().zip([116e-6, 133e-6, 152e-6, 152e-6]) {
        let error = object["latency_s"].as_f64().unwrap() / published - 1.0;
        assert!(error.abs() < 0.12, "{error}");
    }
}

#[test]
fn a_trace_holds_every_flow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    supernode(&["fabric", "bench", "--ep", "16", "--trace", path.to_str().unwrap()]).success();
    let trace: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let begun = events.iter().filter(|event| event["ph"] == "b").count();
    assert_eq!(begun, 16 * 15);
    assert_eq!(events.iter().filter(|event| event["ph"] == "e").count(), begun);
}

#[test]
fn a_histogram_from_a_file_is_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counts.json");
    let mut counts = vec![100; 256];
    counts[77] = 3000;
    std::fs::write(&path, serde_json::to_string(&serde_json::json!({ "tokens_per_expert": counts })).unwrap()).unwrap();
    let list = json(&["fabric", "bench", "--ep", "64", "--load", path.to_str().unwrap(), "--json"]);
    assert_eq!(list[0]["hottest_rank"], 77 / 4);
    assert!(list[0]["slowdown"].as_f64().unwrap() > 1.0);
}

#[test]
fn the_routing_of_a_record_is_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let name = path.to_str().unwrap();
    let mut record = fixture::record("Example X1", &fixture::FAST);
    supernode_bench::record::save(&path, &record).unwrap();
    for command in
        [&["fabric", "bench", "--load", name][..], &["project", "--model", "deepseek-v3", "--expert-load", name]]
    {
        let none = supernode(command).code(2).stdout("").stderr(predicate::str::contains("holds a routing"));
        assert_eq!(String::from_utf8_lossy(&none.get_output().stderr).trim_end().lines().count(), 1);
    }
    let mut counts = vec![100; 256];
    counts[77] = 3100;
    let case = record.cases.iter_mut().find(|case| case.kernel == "topk").unwrap();
    case.shape = [("tokens", 3575), ("top_k", 8), ("experts", 256)].map(|(name, n)| (name.to_owned(), n)).into();
    case.tokens_per_expert = counts;
    let id = case.id.clone();
    supernode_bench::record::save(&path, &record).unwrap();
    let list = json(&["fabric", "bench", "--ep", "64", "--load", name, "--json"]);
    assert_eq!(list[0]["hottest_rank"], 77 / 4);
    supernode(&["fabric", "bench", "--ep", "64", "--load", name]).success().stderr(predicate::str::contains(&*id));
    supernode(&["fabric", "bench", "--experts", "128", "--load", name])
        .code(2)
        .stderr(predicate::str::contains("routes over 128 experts; it has routings over 256"));
    let asked = ["project", "--model", "deepseek-v3", "--phase", "decode", "--json", "--expert-load"];
    let rate = |load: &str| {
        let answer = json(&[&asked[..], &[load]].concat());
        (answer["tokens_per_s_per_chip"]["median"].as_f64().unwrap(), answer["caveats"].to_string())
    };
    let (counted, caveats) = rate(name);
    assert!(counted < rate("uniform").0 && caveats.contains(&*id), "{caveats}");
    let model = "qwen3-235b-a22b";
    supernode(&["project", "--model", model, "--expert-load", name]).code(2).stderr(predicate::str::contains(model));
    let spec = folder.path().join("sweep.toml");
    std::fs::write(&spec, "model = \"deepseek-v3\"\nphase = \"decode\"\nchips = 64\n").unwrap();
    let swept = |load: &str| {
        let output = supernode(&["sweep", spec.to_str().unwrap(), "--expert-load", load]).success();
        serde_json::from_slice::<serde_json::Value>(&output.get_output().stdout).unwrap()
    };
    assert_ne!(swept(name), swept("uniform"));
    for hostile in
        ["{\"schema_version\": 3}", "[-1, 2]", "[0, 0]", "[]", "[1e999]", "\u{1b}[31m", "{\"tokens_per_expert\": 3}"]
    {
        std::fs::write(&path, hostile).unwrap();
        let error = supernode(&["fabric", "bench", "--load", name]).code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.trim_end().lines().count() == 1 && !error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, include_str!("../specs/fabrics/nvl72.toml").replace("value = 900e9", "value = -900e9"))
        .unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["bench", "--fabric", file], "tiers.nvlink.bandwidth_bytes_per_s"),
        (&["check", file], "tiers.nvlink.bandwidth_bytes_per_s"),
        (&["check", "nowhere.toml"], "nowhere.toml"),
        (&["bench", "--fabric", "myrinet"], "myrinet"),
        (&["bench", "--fabric", "cloudmatrix384-announced", "--ep", "512"], "tiers.supernode.chips"),
        (&["bench", "--ep", "8", "--experts", "255"], "--redundant-experts 1"),
        (&["bench", "--ep", "8", "--top-k", "300", "--experts", "256"], "top-k"),
        (&["bench", "--set", "node.bandwidth=nan"], "node.bandwidth"),
        (&["bench", "--set", "rack.bandwidth=1"], "rack.bandwidth"),
        (&["bench", "--fault", "plane=9"], "planes 0 to 6"),
        (&["bench", "--load", "power:x"], "power"),
        (&["bench", "--load", "missing.json"], "missing.json"),
    ];
    for (arguments, expected) in cases {
        let all: Vec<&str> = std::iter::once("fabric").chain(arguments.iter().copied()).collect();
        let result = supernode(&all).code(2).stdout("").stderr(predicate::str::contains(expected));
        let text = String::from_utf8(result.get_output().stderr.clone()).unwrap();
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    }
    supernode(&["fabric", "bench", "--ep", "64", "--fault", "node=2"])
        .code(1)
        .stderr(predicate::str::contains("cut off"));
}

#[test]
fn validate_fit_and_show_speak() {
    supernode(&["validate"]).success().stdout(predicate::str::contains("mean absolute error"));
    let rows = json(&["validate", "fabric", "--json"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["source"].as_str().is_some_and(|source| !source.is_empty())));
    supernode(&["fabric", "fit"]).success().stdout(predicate::str::contains("dispatch_copy_s"));
    supernode(&["fabric", "show"]).success().stdout(predicate::str::contains("supercluster"));
    for name in Fabric::builtin_names() {
        supernode(&["fabric", "show", name]).success();
        supernode(&["fabric", "check", name]).success();
    }
}

#[test]
fn a_shown_fabric_says_what_a_system_draws_and_whence_that_is_known() {
    let shown = |arguments: &[&str], expected: &str| {
        supernode(&[&["fabric", "show"], arguments].concat()).success().stdout(predicate::str::contains(expected));
    };
    shown(&["nvl72"], "power of the system over its packages: 1.68 times (1.39 times to 1.68 times) [derived: 145 kW");
    shown(&["nvl72", "--chip", "gb200"], "power of a package: 1200 W [published:");
    shown(&["ub-mesh-pod", "--chip", "h100"], "nothing says what ub-mesh-pod draws");
    supernode(&["fabric", "show", "nvl72", "--chip", "z80"]).code(2);
}

#[test]
fn a_measured_network_becomes_a_fabric_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("run.txt"), include_str!("data/nccl-all-reduce.txt")).unwrap();
    let fitted = json(&["fabric", "fit", "h100-ib", "--nccl", &at("run.txt"), "-o", &at("mine.toml"), "--json"]);
    assert_eq!(fitted["rows"].as_array().unwrap().len(), 12);
    assert!(fitted["mean_absolute_error"].as_f64().unwrap() < 0.15, "{fitted}");
    let fabric = Fabric::load(&at("mine.toml")).unwrap();
    assert_eq!((fabric.name.as_str(), fabric.fit), ("mine", None));
    let tier = &fabric.tiers[1];
    assert_eq!(tier.link_efficiency.provenance, supernode_bench::specs::Provenance::Measured);
    assert!(tier.link_efficiency.source.contains("12 measured rows of run.txt"), "{}", tier.link_efficiency.source);
    let latency = |fabric: &str| {
        let bench =
            ["fabric", "bench", "--fabric", fabric, "--op", "all-reduce", "--ep", "16", "--bytes", "1e9", "--json"];
        json(&bench)[0]["latency_s"].as_f64().unwrap()
    };
    let (before, after) = (latency("h100-ib"), latency(&at("mine.toml")));
    assert!(after > 1.1 * before, "the measured network is slower than the modelled one");
    // Refusals: no fabric, a collective that is none, a file of something else; nothing is written then.
    for (arguments, told) in [
        (vec!["fabric", "fit", "--nccl", "run.txt"], "name the one fabric"),
        (vec!["fabric", "fit", "h100-ib", "--nccl", "run.txt", "--op", "dispatch"], "have none"),
        (vec!["fabric", "fit", "h100-ib", "--nccl", "mine.toml", "-o", "other.toml"], "no row"),
        (vec!["fabric", "fit", "nvl72", "--nccl", "run.txt", "--ranks", "100000"], "ranks"),
    ] {
        let mut command = assert_cmd::Command::cargo_bin("supernode").unwrap();
        command.current_dir(folder.path()).args(&arguments).assert().code(2).stderr(predicates::str::contains(told));
    }
    assert!(!folder.path().join("other.toml").exists());
}
