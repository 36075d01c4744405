//! Serving under a load: laws that every deployment obeys, and what users meet on the command line.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use assert_cmd::Command;
use predicates::prelude::*;
use supernode_bench::projection::phases::evaluate;
use supernode_bench::projection::serving::band::around;
use supernode_bench::projection::serving::deployment::{Deployment, ServingPoint, aggregated};
use supernode_bench::projection::serving::disaggregated::{DecodeWorker, Pair, PrefillWorker};
use supernode_bench::projection::serving::engine::{Engine, ServingMachines};
use supernode_bench::projection::serving::picture::{MOST_EVENTS, MOST_REQUESTS, Picture};
use supernode_bench::projection::serving::search::{pareto, splits};
use supernode_bench::projection::serving::{
    Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRequest, WorkerPins, answer, front, watched,
};
use supernode_bench::projection::{ChipModel, ParallelPlan, Phase, Pins, Request};
use supernode_bench::specs::{Chip, Fabric, Framework, Model};

/// Model, chip, fabric, chips, tp, ep.
type Setting = (&'static str, &'static str, &'static str, u32, u32, u32);

const SETTINGS: [Setting; 4] = [
    ("llama-3.1-70b", "h200", "hgx-400g", 8, 8, 1),
    ("qwen3-235b-a22b", "h200", "hgx-400g", 8, 4, 8),
    ("deepseek-v3", "ascend-910c", "cloudmatrix384", 32, 1, 64),
    ("gpt-oss-120b", "h100", "hgx-400g", 8, 1, 8),
];

const LENGTHS: [Lengths; 3] = [
    Lengths { prompt: 2000.0, output: 300.0, cached: 0.0, spread: 0.0 },
    Lengths { prompt: 9000.0, output: 120.0, cached: 0.25, spread: 0.0 },
    Lengths { prompt: 200.0, output: 900.0, cached: 0.0, spread: 0.0 },
];

fn on((model, chip, fabric, chips, tp, ep): Setting, lengths: &Lengths) -> Request {
    let chip = ChipModel::from_spec(&Chip::load(chip).unwrap());
    let mut request =
        Request::new(Model::load(model).unwrap(), chip, Fabric::load(fabric).unwrap(), chips, Phase::Decode);
    request.workload.kv_len = lengths.in_decode();
    request.pins = Pins { tp: Some(tp), pp: Some(1), ep: Some(ep), ..Pins::default() };
    request
}

/// Calls `check` with the engine of each setting.
fn each_engine(lengths: &Lengths, chunk: f64, check: impl Fn(&Engine<'_>)) {
    for setting in SETTINGS {
        let request = on(setting, lengths);
        let machines = ServingMachines::new(&request).unwrap();
        let plan = splits(&request).unwrap()[0];
        check(&Engine { request: &request, plan: &plan, experts: None, machines: &machines, chunk });
    }
}

fn close(a: f64, b: f64, within: f64) -> bool {
    (a / b - 1.0).abs() <= within
}

fn asked(setting: Setting, load: Option<ServingLoad>, lengths: Lengths) -> ServingRequest {
    ServingRequest {
        on: on(setting, &lengths),
        load,
        lengths,
        trace: Vec::new(),
        caches_repeats: false,
        limits: ServiceLimits { ttft_s: f64::INFINITY, tpot_s: f64::INFINITY },
        limits_bind: false,
        chunk: 8192.0,
        mode: ServingMode::Aggregated,
    }
}

#[test]
fn more_load_is_never_faster_for_a_user() {
    let slower = |points: &[ServingPoint], what: &str| {
        for pair in points.windows(2) {
            assert!(pair[1].ttft_s >= pair[0].ttft_s * (1.0 - 1e-9), "{what}: {pair:?}");
            assert!(pair[1].tpot_s >= pair[0].tpot_s * (1.0 - 1e-9), "{what}: {pair:?}");
            assert!(pair[1].request_rate >= pair[0].request_rate * (1.0 - 1e-9), "{what}: {pair:?}");
        }
    };
    for lengths in &LENGTHS {
        each_engine(lengths, 4096.0, |engine| {
            let name = &engine.request.model.name;
            let clients = (0..12).map(|power| ServingLoad::Concurrency(engine.count() * f64::from(1 << power)));
            let points: Vec<_> = clients.filter_map(|load| aggregated(engine, load, lengths)).collect();
            assert_eq!(points.len(), 12);
            slower(&points, name);
            let most = engine.capacity(lengths);
            let rates = (1..40).map(|share| ServingLoad::RequestRate(most * f64::from(share) / 40.0));
            let points: Vec<_> = rates.filter_map(|load| aggregated(engine, load, lengths)).collect();
            assert_eq!(points.len(), 39, "{name}: all rates below the capacity are answered");
            slower(&points, name);
            assert!(aggregated(engine, ServingLoad::RequestRate(most * 1.01), lengths).is_none(), "{name}");
        });
    }
}

#[test]
fn one_client_gets_decode_alone_after_one_prefill() {
    for setting in [SETTINGS[0], ("deepseek-v3", "h200", "hgx-400g", 8, 8, 8)] {
        let lengths = LENGTHS[0];
        let request = on(setting, &lengths);
        let machines = ServingMachines::new(&request).unwrap();
        let plan = splits(&request).unwrap()[0];
        let engine = Engine { request: &request, plan: &plan, experts: None, machines: &machines, chunk: 8192.0 };
        let point = aggregated(&engine, ServingLoad::Concurrency(1.0), &lengths).unwrap();
        let one = ParallelPlan { batch_per_chip: 1.0 / f64::from(plan.chips), ..plan };
        let decode = evaluate(&request, &one, &machines.decode).terms.total().get();
        assert!(close(point.tpot_s, decode, 1e-9), "{} of {decode}", point.tpot_s);
        let mut prompts = Request { phase: Phase::Prefill, ..request.clone() };
        prompts.workload.prompt_len = lengths.prompt;
        let prefill = evaluate(&prompts, &one, &machines.prompts).terms.total().get();
        assert!(close(point.ttft_s, prefill, 1e-9), "{} of {prefill}", point.ttft_s);
        let alone = prefill + (lengths.output - 1.0) * decode;
        assert!(close(point.request_rate, 1.0 / alone, 1e-9) && close(point.concurrency, 1.0, 1e-9));
    }
}

#[test]
fn disaggregated_with_one_worker_each_and_free_transfer_equals_its_parts() {
    let lengths = LENGTHS[0];
    each_engine(&lengths, 8192.0, |engine| {
        let (prefill, decode) =
            (PrefillWorker::new(engine, &lengths).unwrap(), DecodeWorker::new(engine, &lengths).unwrap());
        let pair =
            |transfer_s| Pair { prefill: &prefill, prefill_workers: 1, decode: &decode, decode_workers: 1, transfer_s };
        let point = pair(0.0).under(engine, ServingLoad::Concurrency(1.0), &lengths).unwrap();
        let alone = aggregated(engine, ServingLoad::Concurrency(1.0), &lengths).unwrap();
        assert!(
            close(point.ttft_s, alone.ttft_s, 1e-6) && close(point.tpot_s, alone.tpot_s, 1e-6),
            "{point:?} {alone:?}"
        );
        // Under more load, answers come in steps of decode alone, and prompts wait for prompts alone.
        let rate = 0.4 * pair(0.0).capacity();
        let point = pair(0.0).under(engine, ServingLoad::RequestRate(rate), &lengths).unwrap();
        let decoding = rate / engine.count() * decode.steps * point.tpot_s;
        assert!(close(point.tpot_s, engine.step(1.0 + decoding, lengths.in_decode(), None), 0.01), "{point:?}");
        let used = rate / engine.count() * prefill.service_s;
        let waits = used / (2.0 * (1.0 - used)) * prefill.service_s;
        assert!(close(point.ttft_s, alone.ttft_s + waits, 1e-6), "{point:?}");
        let slower = pair(0.2).under(engine, ServingLoad::RequestRate(rate), &lengths).unwrap();
        assert!(close(slower.ttft_s, point.ttft_s + 0.2, 1e-9) && close(slower.tpot_s, point.tpot_s, 1e-9));
    });
}

#[test]
fn an_aggregated_engine_is_limited_by_its_step() {
    each_engine(&LENGTHS[0], 4096.0, |engine| {
        // Long prompts and short answers: every step has a full chunk.
        let prompts = Lengths { prompt: 4096.0, output: 4.0, cached: 0.0, spread: 0.0 };
        let full = engine.step_time(&prompts)(3.0, 4096.0);
        let most = aggregated(engine, ServingLoad::Concurrency(engine.count() * 256.0), &prompts).unwrap();
        assert!(close(most.request_rate, engine.count() / full, 1e-9), "{most:?}");
        // Short prompts and long answers: every step is one of decode with all sequences.
        let answers = Lengths { prompt: 16.0, output: 40_000.0, cached: 0.0, spread: 0.0 };
        let clients = engine.most(answers.reserved()).min(64.0);
        let decode = engine.step(clients, answers.in_decode(), None);
        let most = aggregated(engine, ServingLoad::Concurrency(engine.count() * clients), &answers).unwrap();
        assert!(close(most.tpot_s, decode, 0.02), "{most:?} {decode}");
        let rate = engine.count() * clients / decode;
        assert!(close(most.request_rate * answers.output, rate, 0.02), "{most:?} {rate}");
    });
}

#[test]
fn the_simulation_meets_the_closed_form_where_it_holds() {
    // Prompts are whole chunks. Independent requests use up to 15 % of the capacity.
    let mut missed = Vec::new();
    for setting in SETTINGS {
        for (prompt, output) in [(8192.0, 257.0), (16384.0, 200.0)] {
            let lengths = Lengths { prompt, output, cached: 0.0, spread: 0.0 };
            let engines = f64::from(setting.3) / f64::from(setting.4);
            let one = answer(&asked(setting, Some(ServingLoad::Concurrency(engines)), lengths)).unwrap();
            let clients = [1.0, 8.0, 32.0].map(|clients| ServingLoad::Concurrency(clients * engines));
            let rates = [0.05, 0.15].map(|share| ServingLoad::RequestRate(share * one.most_requests_per_s));
            for load in clients.into_iter().chain(rates) {
                let found = answer(&asked(setting, Some(load), lengths)).unwrap();
                let closed = found.closed_form;
                for (what, seen, expected) in [
                    ("ttft", found.ttft_s.mean, closed.ttft_s),
                    ("tpot", found.tpot_s.mean, closed.tpot_s),
                    ("rate", found.request_rate, closed.request_rate),
                ] {
                    if !close(seen, expected, 0.03) {
                        let name = setting.0;
                        missed.push(format!(
                            "{name} {prompt} {load:?} {what}: {seen} for {expected}: {}",
                            seen / expected
                        ));
                    }
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn lengths_that_vary_keep_the_throughput_and_stretch_the_tail() {
    let same = asked(SETTINGS[0], Some(ServingLoad::RequestRate(1.0)), LENGTHS[0]);
    let mut asked = same.clone();
    asked.lengths.spread = 0.8;
    let (same, varied) = (answer(&same).unwrap(), answer(&asked).unwrap());
    assert!(close(varied.tokens_per_s_per_chip, same.tokens_per_s_per_chip, 0.04), "{varied:?}");
    assert!(varied.ttft_s.p99 > 1.3 * same.ttft_s.p99, "{:?} {:?}", varied.ttft_s, same.ttft_s);
    assert_eq!(varied, answer(&asked).unwrap(), "the seed gives the same again");
}

#[test]
fn a_front_has_no_point_that_another_beats_and_holds_both_modes() {
    let lengths = LENGTHS[0];
    let mut open = asked(SETTINGS[1], None, lengths);
    open.on.pins = Pins::default();
    open.on.chips = 16;
    for mode in [
        ServingMode::Aggregated,
        ServingMode::Disaggregated { prefill: WorkerPins::default(), decode: WorkerPins::default() },
    ] {
        open.mode = mode;
        let found = front(&open).unwrap();
        assert!(found.len() > 5, "{found:?}");
        for pair in found.windows(2) {
            assert!(pair[0].tokens_per_s_per_user >= pair[1].tokens_per_s_per_user);
            assert!(pair[0].tokens_per_s_per_chip < pair[1].tokens_per_s_per_chip);
        }
        assert!(found.iter().all(|point| point.deployment.chips() <= 16.0));
        assert_eq!(pareto(found.clone()), found);
    }
}

#[test]
fn a_framework_is_never_faster_per_token_and_delays_the_first() {
    let lengths = Lengths { prompt: 100.0, ..LENGTHS[0] };
    let mut request = asked(SETTINGS[0], Some(ServingLoad::Concurrency(8.0)), lengths);
    let alone = answer(&request).unwrap();
    let framework = Framework::load("sglang").unwrap();
    request.on.chip.set_serving_framework(&framework);
    let with = answer(&request).unwrap();
    let added_s = framework.with_shares.step_s.value - Chip::load("h200").unwrap().overhead.step_s.value;
    assert!(added_s > 0.0 && with.tpot_s.mean >= alone.tpot_s.mean + added_s, "{:?}", with.tpot_s);
    assert!(with.ttft_s.mean > alone.ttft_s.mean + framework.with_shares.request_s.value);
}

#[test]
fn queueing_is_none_for_one_client_and_what_more_of_them_add() {
    let pins = WorkerPins::default();
    for mode in [ServingMode::Aggregated, ServingMode::Disaggregated { prefill: pins, decode: pins }] {
        let ask = |clients: f64| {
            let mut asked = asked(SETTINGS[1], Some(ServingLoad::Concurrency(clients)), LENGTHS[0]);
            (asked.mode, asked.on.pins) = (mode, Pins::default());
            answer(&asked).unwrap()
        };
        let [one, many] = [1.0, 300.0].map(ask);
        assert!(close(one.ttft_s.mean, one.ttft_alone_s, 0.01), "{} of {}", one.ttft_s.mean, one.ttft_alone_s);
        assert!(many.ttft_s.mean > 1.05 * many.ttft_alone_s, "{} of {}", many.ttft_s.mean, many.ttft_alone_s);
    }
}

#[test]
fn an_interval_holds_each_mean_of_an_answer() {
    let asked = asked(SETTINGS[0], Some(ServingLoad::Concurrency(32.0)), LENGTHS[0]);
    let answer = answer(&asked).unwrap();
    let intervals = around(&asked, &answer);
    for (interval, mean) in [
        (intervals.tokens_per_s_per_chip, answer.tokens_per_s_per_chip),
        (intervals.ttft_s, answer.ttft_s.mean),
        (intervals.tpot_s, answer.tpot_s.mean),
    ] {
        assert_eq!(interval.median, mean);
        assert!(interval.low <= mean && mean <= interval.high && interval.low < interval.high, "{interval:?}");
    }
}

#[test]
fn the_workers_that_are_given_are_used() {
    let mut given = asked(SETTINGS[1], Some(ServingLoad::Concurrency(64.0)), LENGTHS[0]);
    given.on.pins = Pins::default();
    given.on.chips = 24;
    let workers = |workers, tp, dp, ep| WorkerPins { workers: Some(workers), tp: Some(tp), dp: Some(dp), ep: Some(ep) };
    given.mode = ServingMode::Disaggregated { prefill: workers(2, 4, 1, 4), decode: workers(1, 4, 4, 16) };
    let found = answer(&given).unwrap();
    let Deployment::Disaggregated { prefill_workers, prefill, decode_workers, decode } = found.deployment else {
        panic!("{:?}", found.deployment)
    };
    assert_eq!((prefill_workers, prefill.chips, prefill.tp, prefill.ep), (2, 4, 4, 4));
    assert_eq!((decode_workers, decode.chips, decode.dp, decode.ep), (1, 16, 4, 16));
    assert!(close(found.tpot_s.mean, found.closed_form.tpot_s, 0.03), "{found:?}");
    assert!(close(found.request_rate, found.closed_form.request_rate, 0.03), "{found:?}");
}

fn project(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.args(["project", "--phase", "serving", "--model", "llama-3.1-70b", "--chip", "h200"]);
    command.args(["--fabric", "hgx-400g", "--chips", "8"]).args(arguments);
    command
}

#[test]
fn a_load_beyond_capacity_is_an_answer_and_bad_input_is_one_line() {
    let each = ["--prompt-len", "2000", "--output-len", "256"];
    let negative = |arguments: &[&str], expected: &str| {
        project(&[each.as_slice(), arguments].concat())
            .assert()
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains(expected));
    };
    negative(&["--request-rate", "1000"], "unstable above");
    negative(&["--concurrency", "64", "--ttft-limit-ms", "1"], "no deployment keeps the limits; the nearest has");
    negative(&["--concurrency", "64", "--cp", "2"], "cp 2 is not modelled in serving");
    negative(&["--concurrency", "64", "--chip-memory-gb", "5"], "not enough memory");
    negative(&["--concurrency", "64", "--mode", "attention-ffn"], "llama-3.1-70b has no experts");
    for (arguments, expected) in [
        (&["--batch-per-chip", "3"][..], "the batch follows from the load"),
        (&["--concurrency", "4", "--trace", "no/such/x.json"], "no/such/x.json"),
        (&["--flows"], "--flows is a question about one step"),
        (&["--requests", "no-such-trace"], "no-such-trace"),
        (&["--prefix-cache", "trace"], "needs a trace"),
        (&["--prefill-tp", "2"], "add --mode disaggregated"),
        (&["--ffn-ep", "2"], "add --mode attention-ffn"),
        (&["--mode", "attention-ffn", "--tp", "2"], "--tp says nothing of three kinds of chips"),
        (&["--mode", "attention-ffn", "--decode-tp", "2"], "--decode-tp is of workers with both attention and experts"),
        (&["--mode", "attention-ffn", "--moe-tp", "2"], "give --ffn-ep and --ffn-tp"),
        (&["--mode", "disaggregated", "--tp", "2"], "give --prefill-tp and --decode-tp"),
    ] {
        let error =
            project(&[each.as_slice(), arguments].concat()).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{error}");
    }
    project(&["--concurrency", "4"]).assert().code(2).stderr(predicate::str::contains("give --output-len"));
    let plain = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("supernode").unwrap();
        command.args(arguments).assert().code(2).get_output().stderr.clone()
    };
    let error = plain(&["project", "--phase", "decode", "--model", "deepseek-v3", "--concurrency", "3"]);
    assert!(String::from_utf8(error).unwrap().contains("add --phase serving"));
}

/// A span of a picture: its name, beginning and end in seconds.
type DrawnSpan = (String, f64, f64);

/// Spans of a picture by process and line, in the order of time.
fn spans(picture: &serde_json::Value) -> BTreeMap<(u64, u64), Vec<DrawnSpan>> {
    let mut lines: BTreeMap<(u64, u64), Vec<DrawnSpan>> = BTreeMap::new();
    for event in picture["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X") {
        let number = |key: &str| event[key].as_f64().unwrap_or_else(|| panic!("{key}: {event}"));
        let (from, to) = (number("ts") / 1e6, (number("ts") + number("dur")) / 1e6);
        let line = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        lines.entry(line).or_default().push((event["name"].as_str().unwrap().to_owned(), from, to));
    }
    for line in lines.values_mut() {
        line.sort_by(|a, b| a.1.total_cmp(&b.1));
    }
    lines
}

#[test]
fn a_picture_of_serving_has_steps_and_requests_one_after_the_other_and_is_bounded() {
    let apart = ServingMode::Disaggregated { prefill: WorkerPins::default(), decode: WorkerPins::default() };
    for mode in [ServingMode::Aggregated, apart] {
        let mut asked = asked(SETTINGS[1], Some(ServingLoad::Concurrency(48.0)), LENGTHS[1]);
        asked.on.pins = Pins::default();
        asked.mode = mode;
        let mut picture = Picture::default();
        let found = watched(&asked, &mut picture).unwrap();
        assert_eq!(found, answer(&asked).unwrap(), "to watch changes nothing");
        let picture = picture.chrome_trace();
        let lines = spans(&picture);
        for line in lines.values() {
            assert!(line.iter().all(|(_, from, to)| *from >= 0.0 && to > from));
            for pair in line.windows(2) {
                assert!(pair[1].1 >= pair[0].2 - 1e-6, "{pair:?}");
            }
        }
        let named = picture["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] != "M").count();
        assert!((MOST_EVENTS..=MOST_EVENTS + MOST_REQUESTS + 2).contains(&named), "{named}");
        // Whole decodes of the picture take what the answer says, and each comes after its prompt.
        let requests: Vec<_> = lines.iter().filter(|((process, _), _)| *process == 0).collect();
        assert!(!requests.is_empty() && requests.len() <= MOST_REQUESTS);
        let mut decodes = Vec::new();
        for (_, line) in requests {
            for pair in line.windows(2) {
                if pair[1].0 == "decode" && pair[1].2 < line.last().unwrap().2 {
                    decodes.push(pair[1].2 - pair[1].1);
                    let before =
                        if mode == ServingMode::Aggregated { ["prefill"; 2] } else { ["cache travels", "waits"] };
                    assert!(before.contains(&pair[0].0.as_str()), "{pair:?}");
                }
            }
        }
        let mean = decodes.iter().sum::<f64>() / decodes.len() as f64 / (asked.lengths.output - 1.0);
        assert!(decodes.len() > 50 && close(mean, found.tpot_s.mean, 0.05), "{mean} for {:?}", found.tpot_s);
    }
}

#[test]
fn the_command_draws_serving_and_a_trace_of_requests() {
    let folder = tempfile::tempdir().unwrap();
    let (requests, out) = (folder.path().join("requests.csv"), folder.path().join("out.json"));
    let rows: String = (0..30).map(|at| format!("2024-05-10 00:00:{at:02}.0,1000,20\n")).collect();
    std::fs::write(&requests, format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")).unwrap();
    project(&["--requests", requests.to_str().unwrap(), "--trace", out.to_str().unwrap()]).assert().success();
    let picture: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let lines = spans(&picture);
    let count = |wanted: &str| lines.values().flatten().filter(|(name, ..)| name == wanted).count();
    // Each request has a prompt on its own line, and the engine a step for it.
    assert_eq!((count("prefill"), lines.keys().filter(|(process, _)| *process == 0).count()), (60, 1));
}

#[test]
fn a_search_covers_all_modes_unless_one_or_a_degree_is_given() {
    let modes = |arguments: &[&str]| {
        let each = ["--prompt-len", "2000", "--output-len", "256", "--search", "--json"];
        let output = project(&[&each, arguments].concat()).assert().success().get_output().stdout.clone();
        let front: serde_json::Value = serde_json::from_slice(&output).unwrap();
        let of = |point: &serde_json::Value| point["deployment"]["mode"].as_str().unwrap().to_owned();
        front.as_array().unwrap().iter().map(of).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(Vec::from_iter(modes(&[])), ["aggregated", "disaggregated"]);
    assert_eq!(Vec::from_iter(modes(&["--tp", "8"])), ["aggregated"]);
    assert_eq!(Vec::from_iter(modes(&["--mode", "disaggregated"])), ["disaggregated"]);
}

#[test]
fn a_trace_is_served_request_by_request_and_one_with_a_hole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    let line = |at: u64, ids: &str| {
        format!("{{\"timestamp\": {at}, \"input_length\": 2048, \"output_length\": 64, \"hash_ids\": [{ids}]}}\n")
    };
    let lines: String = (0..200).map(|at| line(at * 100, "1, 2, 3, 4")).collect();
    std::fs::write(&path, &lines).unwrap();
    let file = path.to_str().unwrap();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = project(&[arguments, &["--json"]].concat()).assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    };
    let whole = json(&["--requests", file]);
    assert_eq!(whole["simulated_requests"], 200);
    assert!(whole["ttft_s"]["p99"].as_f64().unwrap() >= whole["ttft_s"]["p50"].as_f64().unwrap());
    let cached = json(&["--requests", file, "--prefix-cache", "trace"]);
    assert!(cached["ttft_s"]["p50"].as_f64().unwrap() < 0.5 * whole["ttft_s"]["p50"].as_f64().unwrap());
    std::fs::write(&path, line(200, "1") + &line(100, "1")).unwrap();
    project(&["--requests", file])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("line 2: its time is 0.1 s before"));
}
