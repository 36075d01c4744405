//! Whole sessions on devices that are not here: which preset, which cases, how long, how much memory; and laws that hold
//! on every one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use rayon::prelude::*;

use super::super::estimate::{self, Estimate};
use super::super::into_record::{document, protocol};
use super::super::planning::{self, PlannedFor};
use super::super::preset::choose_preset;
use super::super::simulated::{self, Seen, SimulatedDevice};
use super::cases::LONGEST_SUBMISSION;
use super::*;
use crate::kernels::{Family, KernelPhase};
use crate::record::{Clock, Journal, Preset, Reference, Selection};
use crate::specs::DeviceProfile;

/// A session that has ended.
struct Played {
    profile: DeviceProfile,
    preset: Preset,
    estimate: Estimate,
    planned: Vec<PlannedCase>,
    record: Record,
    seen: Seen,
    /// The sample furthest from the time at the full clock, and its case.
    slowest_sample: (f64, String),
}

fn options() -> Options {
    Options {
        preset: None,
        seed: 1,
        only: Vec::new(),
        runtime_checks: false,
        resume: false,
        selection: Selection::Tuned,
        tuning_cache: None,
        retune: false,
    }
}

/// The whole session on a device, by default with the preset that is chosen there.
fn play(profile: DeviceProfile, asked: Option<Preset>) -> Played {
    let device = simulated::device(&profile);
    let ceilings = simulated::ceilings(&profile);
    let reference = Reference { invocations: 1 << 19, rounds: 64, threshold: 1.1, readings: Vec::new() };
    let empty = |preset| {
        let protocol = protocol(preset, "chosen".to_owned(), Clock::Device, &device, &ceilings, &options());
        let mut record = document(&device, protocol, Some(reference.clone()));
        record.ceilings = ceilings.clone();
        record
    };
    let machine = SimulatedDevice::new(profile.clone(), empty(Preset::Quick));
    let planned = |preset| {
        let on = PlannedFor::device(&planning::within(Some(preset), &device), &ceilings);
        planning::cases(preset, &Selection::Tuned, &[], &on).unwrap()
    };
    let estimated = |preset| Ok(estimate::estimate(&planned(preset), &empty(preset), machine.host()));
    let rate = profile.rates.fma_f32_flop_per_s.value;
    let chosen = choose_preset(asked, &device, Some(rate), &estimated).unwrap();
    let planned = simulated::hollowed(planned(chosen.preset));
    let mut record = empty(chosen.preset);
    record.planned = planned.iter().map(|case| case.id.clone()).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&folder.path().join("a.json"), record).unwrap();
    let mut cache = TuningCache::in_memory();
    let interrupted = AtomicBool::new(false);
    let again = Rc::clone(&machine);
    let mut reopen = || Ok(Box::new(Rc::clone(&again)) as Box<dyn Executor>);
    let mut state = RunState {
        journal: &mut journal,
        cache: &mut cache,
        interval: Duration::ZERO,
        interrupted: &interrupted,
        tell: &mut |_| {},
    };
    all(Box::new(Rc::clone(&machine)), &mut reopen, &planned, &mut state).unwrap();
    let record = journal.record().clone();
    let slowest_sample = slowest_sample(&record, &planned, &machine);
    let seen = machine.seen.borrow().clone();
    Played { profile, preset: chosen.preset, estimate: chosen.estimate, planned, record, seen, slowest_sample }
}

/// Every device with its session, played once for all tests.
fn all_devices() -> &'static [Played] {
    static PLAYED: OnceLock<Vec<Played>> = OnceLock::new();
    let by_default = |name| play(DeviceProfile::load(name).unwrap(), None);
    PLAYED.get_or_init(|| DeviceProfile::names().collect::<Vec<_>>().into_par_iter().map(by_default).collect())
}

fn slowest_sample(record: &Record, planned: &[PlannedCase], machine: &SimulatedDevice) -> (f64, String) {
    let mut slowest = (0.0, String::new());
    for case in &record.cases {
        let of = planned.iter().find(|planned| planned.id == case.id);
        let plan = of.map(|planned| planned.spec.kernel.plan(&case.variant, case.element));
        // A layer takes other parts than the planned one, and a case that was made smaller is not planned.
        let Some(plan) = plan.filter(|plan| plan.parts.is_empty()) else { continue };
        let full = machine.run_at_full_clock(&plan);
        let off = case.timing.samples_s.iter().map(|s| (s.get() / full - 1.0).abs()).fold(0.0, f64::max);
        if off > slowest.0 {
            slowest = (off, case.id.clone());
        }
    }
    slowest
}

/// What a person would want to know before pressing the button.
fn summary(played: &Played) -> String {
    let Played { profile, preset, estimate, planned, record, seen, .. } = played;
    let mut text = format!(
        "{}: {:?}, {} cases, {} measured, {} left out, {} rejected\n",
        profile.name,
        preset,
        planned.len(),
        record.cases.len(),
        record.left_out.len(),
        record.rejected.len()
    );
    let _ = writeln!(
        text,
        "  predicted {:.1} min, took {:.1} min; host {:.1} GB, device {:.1} GB predicted, {:.1} GB taken",
        estimate.wall.get() / 60.0,
        seen.now / 60.0,
        estimate.host_bytes.get() / 1e9,
        estimate.device_bytes.get() / 1e9,
        seen.most_bytes as f64 / 1e9
    );
    let mut orders: BTreeMap<String, String> = BTreeMap::new();
    for case in planned.iter().filter(|case| case.candidates.len() > 1) {
        let kernel = case.spec.kernel.as_ref();
        let key = format!("{} {} {}", kernel.name(), case.spec.phase, case.spec.element);
        orders.entry(key).or_insert_with(|| case.candidates.join(" "));
    }
    let shown = ["gate_up prefill f32", "gate_up prefill f16", "gate_up decode f16", "gate_up prefill int8"];
    let attention = ["prefill prefill f16", "decode decode f16", "decode_paged decode f16", "mla_decode decode f16"];
    for key in shown.iter().chain(&attention) {
        if let Some(order) = orders.get(*key) {
            let _ = writeln!(text, "  {key}: {order}");
        }
    }
    text
}

#[test]
fn a_default_session_on_each_device_is_the_one_that_was_seen_before() {
    let text: String = all_devices().iter().map(summary).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn no_device_is_asked_for_more_than_it_bears() {
    for Played { profile, estimate, record, seen, .. } in all_devices() {
        let name = &profile.name;
        let (longest, shader) = seen.longest;
        // A prediction is off by the padding of a trial's tiles, and the first runs are made while the clock rises.
        let most = 1.15 * LONGEST_SUBMISSION.get() / profile.clock.idle_share.value.min(0.9);
        assert!(longest <= most, "{name}: a submission of {longest} s by {shader}");
        assert_eq!(seen.watchdog, 0, "{name}");
        assert!(seen.largest_buffer <= profile.limits["max_storage_buffer_binding_size"], "{name}");
        let capacity = profile.memory.capacity_bytes.value;
        assert!(seen.most_bytes as f64 <= 0.6 * capacity, "{name}: {}", seen.most_bytes);
        assert!(estimate.host_bytes.get() <= 4e9, "{name}: {}", estimate.host_bytes);
        assert!(record.complete && record.rejected.is_empty(), "{name}: {:?}", record.rejected.first());
    }
}

#[test]
fn a_first_run_ends_within_minutes_and_the_estimate_says_how_many() {
    for Played { profile, estimate, seen, .. } in all_devices() {
        let most = if profile.rates.fma_f32_flop_per_s.value >= 30e12 { 5.0 } else { 10.0 };
        let (minutes, predicted) = (seen.now / 60.0, estimate.wall.get() / 60.0);
        assert!(minutes <= most, "{}: {minutes:.1} min", profile.name);
        assert!((0.7..1.5).contains(&(predicted / minutes)), "{}: {predicted:.1} of {minutes:.1} min", profile.name);
    }
}

#[test]
fn no_sample_is_of_a_device_that_still_clocks_up() {
    for Played { profile, slowest_sample: (off, id), .. } in all_devices() {
        assert!(*off < 0.02, "{} {id}: {off}", profile.name);
    }
}

#[test]
fn every_kernel_is_measured_on_every_device() {
    let kernels = |ids: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> {
        ids.filter_map(|id| id.split('/').nth(1)).map(str::to_owned).collect()
    };
    for Played { profile, planned, record, .. } in all_devices() {
        let all = kernels(&mut planned.iter().map(|case| &*case.id));
        assert_eq!(all, kernels(&mut record.cases.iter().map(|case| &*case.id)), "{}", profile.name);
    }
}

/// The devices that each preset for browsers is for.
const CLASSES: [(Preset, &[&str]); 3] = [
    (Preset::Phone, &["adreno-740"]),
    (Preset::Laptop, &["apple-m1", "apple-m2", "apple-m2-max"]),
    (Preset::Desktop, &["rtx-2060", "rtx-3060", "rtx-4090", "rx-7900-xtx", "rx-9070-xt", "arc-a770"]),
];

/// The device as a browser shows it: WebGPU's default limits with bindings of 1 GiB, no matrices, and one thread.
fn in_a_browser(name: &str) -> DeviceProfile {
    let mut profile = DeviceProfile::load(name).unwrap();
    for (limit, most) in [
        ("max_compute_invocations_per_workgroup", 256),
        ("max_compute_workgroup_storage_size", 32 << 10),
        ("max_storage_buffer_binding_size", 1 << 30),
        ("max_buffer_size", 1 << 30),
        ("max_storage_buffers_per_shader_stage", 10),
    ] {
        let own = profile.limits.entry(limit.to_owned()).or_insert(most);
        *own = most.min(*own);
    }
    profile.features.retain(|feature| !feature.starts_with("cooperative_matrix"));
    profile.backend = "browser_webgpu".to_owned();
    profile.host.cores.value = 1.0;
    profile
}

#[test]
fn presets_for_browsers_stay_within_their_minutes_and_memory_on_the_devices_that_they_are_for() {
    let sessions: Vec<(Preset, &str)> =
        CLASSES.into_iter().flat_map(|(preset, names)| names.iter().map(move |name| (preset, *name))).collect();
    let played: Vec<Played> =
        sessions.into_par_iter().map(|(preset, name)| play(in_a_browser(name), Some(preset))).collect();
    let text: String = played.iter().map(summary).collect();
    insta::assert_snapshot!(text);
    for Played { profile, preset, estimate, record, seen, .. } in &played {
        let (name, memory) = (&profile.name, preset.most_memory().unwrap() as f64);
        let most = f64::from(preset.most_minutes().unwrap());
        let minutes = [estimate.wall.get() / 60.0, seen.now / 60.0];
        assert!(minutes.iter().all(|minutes| *minutes <= most), "{preset:?} on {name}: {minutes:?} min");
        let host = estimate.host_bytes.get();
        let planned = host + estimate.device_bytes.get();
        let taken = host + seen.most_bytes as f64;
        assert!(planned <= memory && taken <= memory, "{preset:?} on {name}: {planned} and {taken} of {memory} B");
        assert!(host <= 2e9, "{preset:?} on {name}: {host} B of wasm32's memory");
        assert!(record.complete && record.rejected.is_empty(), "{name}: {:?}", record.rejected.first());
        assert_eq!(seen.watchdog, 0, "{name}");
    }
}

#[test]
fn presets_for_browsers_measure_every_family_in_both_phases_and_f32_where_there_is_nothing_else() {
    for (preset, names) in CLASSES {
        let mut profile = in_a_browser(names[0]);
        profile.features.clear();
        let Played { record, .. } = play(profile, Some(preset));
        let measured: BTreeSet<(Family, KernelPhase)> =
            record.cases.iter().map(|case| (case.family, case.phase)).collect();
        for family in [Family::Gating, Family::ExpertMatmul, Family::Attention] {
            for phase in [KernelPhase::Prefill, KernelPhase::Decode] {
                assert!(measured.contains(&(family, phase)), "{preset:?}: {family:?} {phase:?}");
            }
        }
        assert!(measured.contains(&(Family::Layer, KernelPhase::Decode)), "{preset:?}");
    }
}
