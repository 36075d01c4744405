//! `supernode measure`: verify and time the kernels, write the record.

use std::path::{Path, PathBuf};

use crate::cli::device::DeviceArgs;
use crate::cli::error::Error;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::output::{print, print_json};
use crate::cli::progress::{self, Progress, Shown};
use crate::cli::selection::SelectionArgs;
use crate::files;
use crate::measure::estimate::Estimate;
use crate::measure::options::Options;
use crate::measure::planning::{self, PlannedFor};
use crate::measure::session::{self, Event, OpenDevice, SessionError};
use crate::measure::{Executor, tuning_cache};
use crate::record::{Device, Lock, Preset, Record, Selection, Tuning};
use crate::report::ceilings::ceiling_value;
use crate::report::{terminal, words};

/// Verify and time the kernels on one device and write a result document
#[derive(Debug, clap::Args)]
#[command(
    after_help = "By default every variant of a kernel is tried briefly, and the fastest is measured; trials are kept under the user's cache directory for this device and driver. Exit code 1 when a kernel is wrong.\n\nExamples:\n  supernode measure\n  supernode measure --all-variants\n  supernode measure --preset quick --only attention -o attention.json\n  supernode measure --resume"
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: MeasureArgs,
    /// List the cases of the preset (default: full) and stop
    #[arg(long)]
    list: bool,
    /// Print the record as JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What `measure` and `run` share.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MeasureArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Set of shapes: layers scaled down, true sizes of four models, of all; default: by the device's measured speed
    #[arg(long)]
    preset: Option<Preset>,
    /// Only cases whose id contains this (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Seed of all inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the record; default: out/VENDOR-DEVICE-BACKEND.json
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on with the record that is there, instead of replacing it
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    variants: SelectionArgs,
    /// Try the variants again, whatever an earlier run found
    #[arg(long)]
    retune: bool,
}

impl MeasureArgs {
    fn selection(&self) -> Selection {
        self.variants.selection()
    }
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    if args.list {
        let preset = args.common.preset.unwrap_or(Preset::Full);
        let planned = planning::cases(preset, &args.common.selection(), &args.common.only, &PlannedFor::anything());
        let planned = planned.map_err(|error| Error::Input(error.to_string()))?;
        let ids: Vec<String> = planned.into_iter().map(|case| case.id).collect();
        return if args.json { print_json(&ids) } else { print(&(ids.join("\n") + "\n")) };
    }
    let (record, path) = measure(&args.common)?;
    if args.json {
        print_json(&record)?;
    } else {
        print(&terminal::table(&record))?;
        print(&format!("\nrecord  {}\n", path.display()))?;
    }
    all_right(&record)
}

/// The exit code of a run with wrong kernels.
pub(super) fn all_right(record: &Record) -> Result<(), Error> {
    if record.rejected.is_empty() {
        return Ok(());
    }
    let count = record.rejected.len();
    Err(Error::Negative(format!(
        "{count} cases are wrong or failed on {}: `supernode report RECORD --details` lists them",
        record.device.name
    )))
}

/// Measures and gives back the record and where it is.
pub(super) fn measure(args: &MeasureArgs) -> Result<(Record, PathBuf), Error> {
    let interrupted = interrupt_flag()?;
    let gpu = args.device.open()?;
    let path = args.output.clone().unwrap_or_else(|| Path::new("out").join(file_name(&gpu.info)));
    prepare_folder(&path, args.output.is_some())?;
    let _lock = Lock::take(&path).map_err(|locked| Error::Input(locked.to_string()))?;
    let options = Options {
        preset: args.preset,
        seed: args.seed,
        only: args.only.clone(),
        runtime_checks: args.device.runtime_checks,
        resume: args.resume,
        selection: args.selection(),
        tuning_cache: tuning_cache::directory(),
        retune: args.retune,
    };
    progress::note(&format!("{} ({}, {})", gpu.info.name, gpu.info.backend, gpu.info.driver_info));
    let mut progress = Progress::new(0, Shown::UnlessQuiet);
    let (info, has_device_clock) = (gpu.info.clone(), gpu.has_timestamps());
    let mut reopen = || reopened(&args.device, &info);
    let device =
        OpenDevice { info: &info, has_device_clock, executor: Box::new(gpu), reopen: &mut reopen, capacity: None };
    let outcome = session::run(device, &options, &path, interrupted, &mut |event| show(&event, &mut progress));
    progress.finish();
    match outcome {
        Ok(record) => Ok((record, path)),
        Err(error) => Err(as_cli_error(&error)),
    }
}

/// The device that was lost, and no other that answers in its place.
fn reopened(device: &DeviceArgs, before: &Device) -> Result<Box<dyn Executor>, String> {
    let gpu = device.open_again().map_err(|error| format!("it cannot be opened again ({error})"))?;
    if gpu.is(before) {
        return Ok(Box::new(gpu));
    }
    Err(format!("it is gone, and {} answers in its place", gpu.info.name))
}

/// Makes the default folder. A given one has to exist: an error before anything is measured.
pub(super) fn prepare_folder(path: &Path, given: bool) -> Result<(), Error> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) else {
        return Ok(());
    };
    let shown = parent.display();
    if given {
        return Err(Error::Input(format!("{shown}: no such folder; create it or give another place with -o")));
    }
    std::fs::create_dir_all(parent)
        .map_err(|error| Error::Input(format!("{shown}: cannot be created ({error}); give another place with -o")))
}

fn as_cli_error(error: &SessionError) -> Error {
    let advice = if error.is_resumable() { "; finished cases are kept, go on with --resume" } else { "" };
    let message = format!("{error}{advice}");
    if matches!(error, SessionError::Interrupted) { Error::Interrupted(message) } else { Error::Input(message) }
}

pub(super) fn show(event: &Event, progress: &mut Progress) {
    match event {
        Event::Ceiling(kind, value) => {
            progress.line(&format!("ceiling {}: {}", words::ceiling(*kind), ceiling_value(*kind, *value)));
        }
        Event::Planned { cases, done, preset, reason, estimate } => {
            progress.finish();
            *progress = Progress::new(cases - done, Shown::UnlessQuiet);
            let preset = words::preset(*preset);
            progress.line(&format!("preset {preset} ({reason}): {cases} cases, {done} done before"));
            progress.line(&format!("takes {}", what_it_takes(estimate)));
        }
        Event::Started(id) => progress.now(id),
        Event::Trying(id, variant) => progress.now(&format!("compiling and trying {variant} of {id}")),
        Event::Tuned(id, tuning) if !tuning.cached => progress.line(&format!("tried {id}: {}", trial(tuning))),
        Event::Tuned(..) => {}
        Event::Repeated(id, ratio) => {
            progress.line(&format!("again {id}: the reference kernel took {ratio:.2} times its usual time"));
        }
        Event::Paused(id, pause) => progress.line(&format!("again {id}: the host stood still for {pause}")),
        Event::Note(text) => progress.line(&format!("note: {text}")),
        Event::Measured(case) => progress.step(&format!(
            "case {} {} {} {:.0} % of the roofline",
            case.id,
            case.timing.median_s,
            case.achieved.flop_per_s,
            case.achieved.fraction_of_roofline * 100.0
        )),
        Event::LeftOut(case) => progress.step(&format!("left out {}: {}", case.id, case.reason)),
        Event::Rejected(case) => {
            progress.line(&format!("REJECTED {}: {}", case.id, case.reason));
            progress.step_silently();
        }
    }
}

/// Minutes and memory in words.
fn what_it_takes(estimate: &Estimate) -> String {
    let Estimate { wall, host_bytes, device_bytes } = estimate;
    let minutes = (wall.get() / 60.0).ceil();
    format!("about {minutes} min, up to {host_bytes} of memory and {device_bytes} on the device")
}

/// Each variant with its time, fastest first, and what the trial cost.
fn trial(tuning: &Tuning) -> String {
    let mut timed: Vec<_> = tuning.candidates.iter().filter_map(|c| Some((c.time_s?, &*c.variant))).collect();
    timed.sort_by(|a, b| a.0.get().total_cmp(&b.0.get()));
    let variants: Vec<String> = timed.iter().map(|(time, variant)| format!("{variant} {time}")).collect();
    format!("{} ({} in all)", variants.join(", "), tuning.cost_s)
}

/// `vendor-device-backend.json`.
fn file_name(device: &Device) -> String {
    format!("{}.json", files::slug(&format!("{} {} {}", device.vendor, device.name, device.backend)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::DeviceType;

    #[test]
    fn a_file_name_is_made_of_letters_digits_and_dashes() {
        let device = Device {
            name: "llvmpipe (LLVM 15.0.6, 256 bits)/../x".to_owned(),
            vendor: "Mesa".to_owned(),
            vendor_id: 0x10005,
            device_id: 0,
            driver: String::new(),
            driver_info: String::new(),
            backend: "vulkan".to_owned(),
            device_type: DeviceType::Software,
            features: Vec::new(),
            limits: BTreeMap::new(),
            ..Device::default()
        };
        assert_eq!(file_name(&device), "mesa-llvmpipe-llvm-15-0-6-256-bits-x-vulkan.json");
    }
}
