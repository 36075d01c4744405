//! Opening: with every feature and limit that the kernels can use, and with less where the driver refuses some.

use std::mem;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::types::{Gpu, GpuError, Listed, MATRIX, WANTED, patience};
use crate::kernels::Tensors;
use crate::kernels::probes::subgroup;
use crate::measure::{Executor, LaunchError, waiting};

/// The probe runs for microseconds, its compilation not counted.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

impl Listed {
    /// Opens the device with every feature and limit that the kernels can use, and looks which sizes of subgroups it
    /// runs. [`Gpu::notes`] says what did not work out on the way.
    ///
    /// # Errors
    /// [`GpuError::Open`].
    pub fn open(&self, runtime_checks: bool) -> Result<Gpu, GpuError> {
        open_and_see(|| self.open_unseen(runtime_checks), sizes_seen)
    }

    fn open_unseen(&self, runtime_checks: bool) -> Result<Gpu, GpuError> {
        let wanted = WANTED.iter().fold(wgpu::Features::empty(), |all, (feature, _)| all | *feature);
        let request = |features| {
            waiting::block_on(self.adapter.request_device(&wgpu::DeviceDescriptor {
                label: Some("supernode"),
                required_features: features,
                required_limits: self.adapter.limits(),
                experimental_features: experimental(features),
                memory_hints: wgpu::MemoryHints::Performance,
                ..Default::default()
            }))
        };
        let Opened { got: (device, queue), features, note } = open_with(self.adapter.features() & wanted, request)
            .map_err(|error| GpuError::Open { name: self.device.name.clone(), message: error.to_string() })?;
        let timestamp_period_ns =
            features.contains(wgpu::Features::TIMESTAMP_QUERY).then(|| f64::from(queue.get_timestamp_period()));
        let lost = Arc::new(OnceLock::new());
        let reason_lost = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            // The first reason is the cause.
            let _ = reason_lost.set(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        let mut info = self.device.clone();
        #[cfg(target_arch = "wasm32")]
        {
            info = crate::measure::browser::complete(info, &device);
            info.device_type = super::describe::device_type(self.adapter.get_info().device_type, &info.name);
        }
        if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            info.features.retain(|feature| !feature.starts_with(MATRIX));
        }
        let (notes, pipelines) = (Vec::from_iter(note), Mutex::default());
        let patience = patience(&info);
        Ok(Gpu { device, queue, timestamp_period_ns, runtime_checks, patience, lost, pipelines, notes, info })
    }
}

/// A device whose subgroup sizes cannot be measured is opened nevertheless.
fn open_and_see(
    mut open: impl FnMut() -> Result<Gpu, GpuError>,
    see: impl FnOnce(&mut Gpu) -> Result<Vec<u32>, LaunchError>,
) -> Result<Gpu, GpuError> {
    let mut gpu = open()?;
    let error = match see(&mut gpu) {
        Ok(sizes) => {
            gpu.info.subgroup_sizes_seen = sizes;
            return Ok(gpu);
        }
        Err(error) => error,
    };
    if error.ends_the_device() {
        // Closing it would wait for the hung work.
        std::mem::forget(gpu);
        gpu = open()?;
    }
    gpu.notes.push(format!("sizes of subgroups are those that the adapter reports; measuring them failed: {error}"));
    Ok(gpu)
}

/// An opened device, and the features that it was opened with.
#[derive(Debug, PartialEq)]
struct Opened<T> {
    got: T,
    features: wgpu::Features,
    /// Features that had to be given up, with the reasons.
    note: Option<String>,
}

/// Opens with `features`, and where that fails once more without the experimental one among them.
fn open_with<T, E: std::fmt::Display>(
    features: wgpu::Features,
    mut open: impl FnMut(wgpu::Features) -> Result<T, E>,
) -> Result<Opened<T>, E> {
    let refused = match open(features) {
        Ok(got) => return Ok(Opened { got, features, note: None }),
        Err(refused) => refused,
    };
    let fewer = features - wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    if fewer == features {
        return Err(refused);
    }
    let note = format!("opened without cooperative matrices, since the driver refused them: {refused}");
    open(fewer).map(|got| Opened { got, features: fewer, note: Some(note) })
}

/// Sizes of subgroups of an open device, in invocations, ascending; empty where it has none.
fn sizes_seen(gpu: &mut Gpu) -> Result<Vec<u32>, LaunchError> {
    if !gpu.info.features.iter().any(|feature| feature == "subgroup") {
        return Ok(Vec::new());
    }
    let usual = mem::replace(&mut gpu.patience, PROBE_PATIENCE);
    let written = launch_subgroup_probe(gpu);
    gpu.patience = usual;
    let impossible = || LaunchError::Refused("the probe wrote sizes that cannot be".to_owned());
    subgroup::sizes(&written?).ok_or_else(impossible)
}

fn launch_subgroup_probe(gpu: &Gpu) -> Result<Vec<u8>, LaunchError> {
    let mut prepared = gpu.prepare(&subgroup::plan(), &Tensors::new(), 1)?;
    prepared.run(1)?;
    prepared.read(subgroup::SIZES)
}

/// Cooperative matrices are experimental in wgpu 30; nothing else experimental is ever asked for.
#[expect(
    unsafe_code,
    reason = "the feature cannot be had without this acknowledgement, and each use of it is verified"
)]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        // SAFETY: acknowledges that the feature may have faults in wgpu; it takes part in no memory safety of ours.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

#[cfg(test)]
mod tests {
    use wgpu::Features;

    use super::*;
    use crate::measure::gpu::{AdapterChoice, select};

    const ALL: Features = Features::SUBGROUP.union(Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

    #[test]
    fn a_driver_that_refuses_cooperative_matrices_is_opened_without_them_and_a_note_says_so() {
        let mut asked = Vec::new();
        let opened = open_with(ALL, |features| {
            asked.push(features);
            if features == ALL { Err("unsupported") } else { Ok(()) }
        });
        let opened = opened.unwrap();
        assert_eq!((asked, opened.features), (vec![ALL, Features::SUBGROUP], Features::SUBGROUP));
        assert!(opened.note.unwrap().ends_with("refused them: unsupported"));
    }

    #[test]
    fn a_driver_that_takes_all_is_asked_once_and_there_is_no_note() {
        let mut times = 0;
        let opened = open_with(ALL, |_| {
            times += 1;
            Ok::<_, String>(times)
        });
        assert_eq!(opened, Ok(Opened { got: 1, features: ALL, note: None }));
    }

    #[test]
    fn nothing_is_tried_again_where_nothing_experimental_was_asked_for() {
        let mut times = 0;
        let opened = open_with(Features::SUBGROUP, |_| {
            times += 1;
            Err::<(), _>("gone")
        });
        assert_eq!((opened, times), (Err("gone"), 1));
    }

    fn listed() -> Listed {
        select(&AdapterChoice::default()).unwrap()
    }

    #[test]
    fn an_opened_device_has_seen_sizes_within_those_that_its_adapter_reports() {
        let gpu = listed().open(true).unwrap();
        let (seen, limit) = (&gpu.info.subgroup_sizes_seen, |name: &str| gpu.info.limits[name]);
        if !gpu.info.features.contains(&"subgroup".to_owned()) {
            assert!(seen.is_empty());
            return;
        }
        let reported = limit("min_subgroup_size")..=limit("max_subgroup_size");
        assert!(!seen.is_empty() && seen.iter().all(|size| reported.contains(&u64::from(*size))), "{seen:?}");
        assert!(gpu.notes.is_empty() && gpu.patience == patience(&gpu.info), "{:?}", gpu.notes);
    }

    #[test]
    fn a_device_whose_subgroups_cannot_be_seen_is_opened_and_again_where_it_did_not_survive() {
        let refused = LaunchError::Refused("no".to_owned());
        for (error, openings) in [(refused, 1), (LaunchError::Device("gone".to_owned()), 2)] {
            let (listed, mut opened) = (listed(), 0);
            let open = || {
                opened += 1;
                listed.open_unseen(true)
            };
            let gpu = open_and_see(open, |_| Err(error)).unwrap();
            assert_eq!((opened, gpu.notes.len()), (openings, 1));
            assert!(gpu.info.subgroup_sizes_seen.is_empty() && gpu.lost().is_none());
        }
    }
}
