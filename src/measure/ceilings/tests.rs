use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::super::fake::{self, Fake};
use super::super::sampling::{Pace, Sampling};
use super::*;
use crate::kernels::Work;
use crate::kernels::probes::FmaForm;
use crate::record::LastLevelCache;
use crate::record::{ClockSteps, DeviceType};
use crate::units::{Bytes, Seconds};

/// A GPU with f16 and matrices whose buffers are small, so that tests are short.
fn device() -> Device {
    let features = ["cooperative_matrix_16x16x16_f16_f32", "shader_f16", "subgroup"];
    let limits = [
        ("max_storage_buffer_binding_size", 8 << 20),
        ("max_buffer_size", 8 << 20),
        ("min_subgroup_size", 32),
        ("max_subgroup_size", 32),
    ];
    Device {
        features: features.map(str::to_owned).to_vec(),
        limits: limits.map(|(name, value)| (name.to_owned(), value)).into(),
        ..fake::device()
    }
}

struct Outcome {
    result: Result<Ceilings, RunError>,
    told: Vec<CeilingKind>,
    opened: usize,
    fake: Rc<Fake>,
}

impl Outcome {
    fn found(&self) -> &BTreeMap<CeilingKind, Ceiling> {
        &self.result.as_ref().unwrap().found
    }

    fn left_out(&self) -> Vec<(&str, &str)> {
        let left_out = &self.result.as_ref().unwrap().left_out;
        left_out.iter().map(|left_out| (&*left_out.id, &*left_out.reason)).collect()
    }
}

fn go_on(fake: Fake, device: &Device) -> Outcome {
    let fake = Rc::new(fake);
    let (again, mut opened) = (Rc::clone(&fake), 1);
    let mut reopen = || {
        opened += 1;
        Ok(Box::new(Rc::clone(&again)) as Box<dyn Executor>)
    };
    let interrupted = AtomicBool::new(false);
    let (budget, pace) = (Seconds::new(0.05), Pace::SOFTWARE);
    let sampling =
        Sampling { target_relative_ci: 0.02, budget, runs_per_sample: None, pace, clock_steps: ClockSteps::default() };
    let protocol = CaseProtocol { seed: 1, sets: 1, effort: u64::MAX, sampling, interrupted: &interrupted };
    let mut executor: Box<dyn Executor> = Box::new(Rc::clone(&fake));
    let mut told = Vec::new();
    let result = measure(&mut executor, &mut reopen, device, &protocol, |kind, _| told.push(kind));
    Outcome { result, told, opened, fake }
}

fn go(fake: Fake) -> Outcome {
    go_on(fake, &device())
}

/// A run of any probe takes 20 ms, so that the first size is large enough.
const RUN: f64 = 20e-3;

fn steady() -> Fake {
    Fake::new(|_, _| RUN)
}

fn always(shader: &'static str, error: LaunchError) -> (&'static str, LaunchError, Cell<usize>) {
    (shader, error, Cell::new(usize::MAX))
}

fn refused() -> LaunchError {
    LaunchError::Refused("no such thing".to_owned())
}

const SHADERS: [&str; 8] =
    ["probe_read", "probe_write", "probe_copy", "probe_fma", "probe_outer", "probe_cache", "probe_dot", "probe_matrix"];

/// The same device where only these probes and launches run: the others take the tests' time.
fn only(mut fake: Fake, shaders: &[&str]) -> Fake {
    let others = SHADERS.iter().filter(|shader| !shaders.contains(shader));
    fake.broken.extend(others.map(|shader| always(shader, refused())));
    fake
}

/// Times of the multiply-add probes by form, in workgroups of 64 and of 256: 64 and 16 of them at the first size.
fn with_times(chains: [f64; 2], outer: [f64; 2]) -> Fake {
    Fake::new(move |shader, workgroups| match shader {
        "probe_fma" => chains[usize::from(workgroups == 16)],
        "probe_outer" => outer[usize::from(workgroups == 16)],
        _ => RUN,
    })
}

#[test]
fn every_roof_of_a_device_that_has_them_all_is_measured_and_told() {
    let outcome = go(steady());
    assert_eq!(outcome.told, KINDS);
    assert_eq!(outcome.found().len(), KINDS.len());
    assert_eq!(outcome.left_out(), []);
}

#[test]
fn the_faster_form_in_the_faster_workgroups_is_the_roof_and_is_named() {
    // Per run the outer product does 640 operations where the chains do 384.
    let cases = [
        (with_times([20e-3, 21e-3], [30e-3, 31e-3]), FmaForm::Outer, 64, 640.0 / 30e-3),
        (with_times([20e-3, 21e-3], [31e-3, 30e-3]), FmaForm::Outer, 256, 640.0 / 30e-3),
        (with_times([20e-3, 21e-3], [40e-3, 41e-3]), FmaForm::Chains, 64, 384.0 / 20e-3),
        (with_times([21e-3, 20e-3], [40e-3, 41e-3]), FmaForm::Chains, 256, 384.0 / 20e-3),
    ];
    for (fake, form, workgroup, rate) in cases {
        let outcome = go(only(fake, &["probe_fma", "probe_outer"]));
        for kind in [CeilingKind::FmaF32, CeilingKind::FmaF16] {
            let roof = &outcome.found()[&kind];
            assert_eq!((roof.form, roof.workgroup), (Some(form), Some(workgroup)), "{kind:?}");
            assert!((roof.value / (rate * 4096.0 * 32.0) - 1.0).abs() < 1e-9, "{kind:?} {}", roof.value);
        }
    }
}

#[test]
fn a_form_that_is_wrong_or_refused_gives_way_to_the_next_fastest() {
    let mut fake = with_times([20e-3, 21e-3], [10e-3, 10e-3]);
    fake.wrong_probes = vec![("probe_outer", StorageType::F32)];
    let outcome = go(only(fake, &["probe_fma", "probe_outer"]));
    assert_eq!(outcome.found()[&CeilingKind::FmaF32].form, Some(FmaForm::Chains));
    assert_eq!(outcome.found()[&CeilingKind::FmaF16].form, Some(FmaForm::Outer));
    let outcome = go(only(steady(), &["probe_outer"]));
    assert_eq!(outcome.found()[&CeilingKind::FmaF32].form, Some(FmaForm::Outer));
}

#[test]
fn a_probe_that_fails_costs_its_roof_and_no_other() {
    const LEFT_OUT: [&str; 2] = ["ceiling/cache_read", "ceiling/dot_i8"];
    let roofs = [
        ("probe_read", "ceiling/memory_read"),
        ("probe_write", "ceiling/memory_write"),
        ("probe_copy", "ceiling/memory_copy"),
        ("probe_matrix", "ceiling/matrix_f16"),
    ];
    for (failing, id) in roofs {
        // The cache and the dot products fail each time.
        let running = SHADERS.iter().filter(|shader| !["probe_cache", "probe_dot", failing].contains(shader));
        let outcome = go(only(steady(), &running.copied().collect::<Vec<_>>()));
        let mut ids: Vec<&str> = outcome.left_out().iter().map(|(id, _)| *id).collect();
        ids.retain(|left_out| !LEFT_OUT.contains(left_out));
        assert_eq!(ids, [id]);
        assert_eq!(outcome.found().len(), KINDS.len() - 3);
        assert!(outcome.left_out().iter().all(|(_, reason)| *reason == "launch was refused: no such thing"));
    }
}

#[test]
fn f16_arithmetic_that_is_wrong_costs_the_roof_of_f16_with_the_reason() {
    let mut fake = steady();
    fake.wrong_probes = vec![("probe_fma", StorageType::F16), ("probe_outer", StorageType::F16)];
    let outcome = go(only(fake, &["probe_fma", "probe_outer"]));
    let f16 = outcome.left_out().into_iter().find(|(id, _)| *id == "ceiling/fma_f16");
    assert!(f16.is_some_and(|(_, reason)| reason.starts_with("wrong result")), "{f16:?}");
    assert!(outcome.found().contains_key(&CeilingKind::FmaF32));
}

#[test]
fn a_device_without_a_unit_says_what_it_lacks() {
    let outcome = go_on(only(steady(), &[]), &Device { features: Vec::new(), ..device() });
    for id in ["ceiling/fma_f16", "ceiling/matrix_f16"] {
        assert!(outcome.left_out().contains(&(id, "the adapter lacks the feature shader_f16")));
    }
}

#[test]
fn a_run_goes_on_without_arithmetic_and_ends_with_the_first_reason_where_nothing_runs() {
    let outcome = go(only(steady(), &[]));
    assert_eq!(outcome.told, [CeilingKind::Launch, CeilingKind::Submit]);
    let mut fake = only(steady(), &["probe_write"]);
    fake.broken.push(always("probe_launch", refused()));
    assert_eq!(go(fake).result.unwrap_err(), RunError::Launch(refused()));
}

#[test]
fn a_device_that_a_probe_loses_or_hangs_is_opened_again_for_the_others() {
    for error in [LaunchError::Device("gone".to_owned()), LaunchError::Hung(Seconds::new(120.0))] {
        let mut fake = only(steady(), &["probe_copy", "probe_write", "probe_fma", "probe_matrix"]);
        fake.broken.extend([always("probe_matrix", error.clone()), ("probe_copy", error.clone(), Cell::new(1))]);
        let outcome = go(fake);
        let reason = error.to_string();
        for id in ["ceiling/memory_copy", "ceiling/matrix_f16"] {
            assert!(outcome.left_out().contains(&(id, &*reason)), "{:?}", outcome.left_out());
        }
        assert_eq!(outcome.opened, 3);
        let found = [CeilingKind::MemoryWrite, CeilingKind::FmaF32, CeilingKind::FmaF16];
        assert!(found.iter().all(|kind| outcome.found().contains_key(kind)));
    }
}

#[test]
fn memory_is_streamed_over_many_sets_of_buffers_on_hardware_and_over_one_on_a_software_adapter() {
    let streams = ["probe_read", "probe_write", "probe_copy"];
    let outcome = go(only(steady(), &streams));
    // Nothing is known of this device's memory: 1 GiB, in buffers of 8 MiB.
    for (shader, kind, sets) in [
        ("probe_read", CeilingKind::MemoryRead, 128),
        ("probe_write", CeilingKind::MemoryWrite, 128),
        ("probe_copy", CeilingKind::MemoryCopy, 64),
    ] {
        assert_eq!(outcome.fake.sets.borrow()[shader], sets);
        assert_eq!(outcome.found()[&kind].timing.buffer_sets, sets);
    }
    let software = Device { device_type: DeviceType::Software, ..device() };
    let outcome = go_on(only(steady(), &["probe_read", "probe_write", "probe_copy", "probe_cache"]), &software);
    assert!(outcome.fake.sets.borrow().values().all(|sets| *sets == 1));
    let by = &outcome.found()[&CeilingKind::CacheRead].points;
    assert!(by.iter().all(|point| point.invocations == 16 * 1024));
}

#[test]
fn where_memory_runs_out_the_stream_takes_half_as_many_sets_and_half_again() {
    let mut fake = only(steady(), &["probe_copy"]);
    fake.broken.push(("probe_copy", LaunchError::OutOfMemory("full".to_owned()), Cell::new(2)));
    assert_eq!(go(fake).found()[&CeilingKind::MemoryCopy].timing.buffer_sets, 16);
}

#[test]
fn the_cache_roof_keeps_every_working_set_by_the_faster_number_of_threads_and_says_where_the_cache_ends() {
    // 8 MiB of memory in 20 ms; a working set takes so long for 64 MiB that it is 5, 3 and 1 times as fast.
    let memory = f64::from(8 << 20) / RUN;
    let rates = [5.0, 3.0, 1.0].map(|times| times * memory);
    let set_bytes = Rc::new(Cell::new(0));
    let seen = Rc::clone(&set_bytes);
    let mut fake = Fake::new(move |shader, workgroups| {
        let rate = match seen.get() >> 20 {
            2 => rates[0],
            4 => rates[1],
            _ => rates[2],
        };
        // 4 MiB are read faster by 64 Ki threads, 8 MiB are not; 2 MiB are too few for them.
        let slow = matches!((workgroups, seen.get() >> 20), (256, 4) | (1024, 8));
        if shader == "probe_cache" { f64::from(64 << 20) / rate * if slow { 1.5 } else { 1.0 } } else { RUN }
    });
    fake.set_bytes = set_bytes;
    let fake = only(fake, &["probe_read", "probe_cache"]);
    let outcome = go(fake);
    let roof = &outcome.found()[&CeilingKind::CacheRead];
    let mib = |size: u32| Bytes::new(f64::from(size << 20));
    let points: Vec<_> = roof.points.iter().map(|point| (point.working_set_bytes, point.invocations)).collect();
    assert_eq!(points, [(mib(2), 16_384), (mib(4), 65_536), (mib(8), 16_384)]);
    assert_eq!(roof.last_level_cache, Some(LastLevelCache::Measured { bytes: mib(4) }));
    assert_eq!(roof.working_set_bytes, Some(mib(2)));
    assert!((roof.value / rates[0] - 1.0).abs() < 1e-9);
}

#[test]
fn matrices_are_counted_by_the_subgroups_that_ran() {
    let flop = |subgroups: u32| {
        let mut fake = only(steady(), &["probe_matrix"]);
        fake.subgroups = subgroups;
        go(fake).found()[&CeilingKind::MatrixF16].work
    };
    // 64 workgroups, 4 chains of 2 * 8 * 8 + 1 products of 16 x 16 x 16 each.
    let one = Work { flop: crate::units::Flop::new(64.0 * 4.0 * 129.0 * 8192.0), ..Work::default() };
    for subgroups in [1, 2, 4, 8] {
        assert_eq!(flop(subgroups).flop, one.flop * f64::from(subgroups));
    }
    for nonsense in [0, 99] {
        let mut fake = only(steady(), &["probe_matrix"]);
        fake.subgroups = nonsense;
        let reason =
            format!("launch was refused: a workgroup of 128 invocations says that it has {nonsense} subgroups");
        assert!(go(fake).left_out().contains(&("ceiling/matrix_f16", &*reason)));
    }
}
