//! A run over MPI: who is there, who takes which device, and what each stage measures.

use std::path::Path;

use crate::cli::error::Error;
use crate::cli::fleet::options::{ALONE, RunArgs};
use crate::cli::interrupt::interrupt_flag;
use crate::cli::measure;
use crate::cli::output::print;
use crate::cli::progress::{self, Progress, Shown};
use crate::fleet::mpi::Mpi;
use crate::fleet::network::{GateWeights, ModelTokens, NetworkEvent, NetworkOptions};
use crate::fleet::placement::{FleetPlacement, Introduction, RankPlace};
use crate::fleet::stages::{AskedOfRank, FleetRun, FleetStage, StageEvent};
use crate::fleet::{Communicator, Faulty, agreement};
use crate::measure::gpu::{self, Listed};
use crate::measure::options::Options;
use crate::measure::planning::{self, PlannedFor};
use crate::measure::session::{self, OpenDevice};
use crate::measure::slowed::Slowed;
use crate::measure::{Executor, host, tuning_cache};
use crate::projection::wire::dispatch_token_bytes;
use crate::record::{Device, DeviceType, FleetCaveat, FleetPlan, FleetRecord, Lock, Preset, Record};
use crate::report::terminal;
use crate::specs::Model;
use crate::units::Seconds;

/// Time that the samples of one transfer may take.
const TRANSFER_BUDGET: Seconds = Seconds::new(0.3);
/// All pairs of 64 ranks; of more ranks a sample of this size.
const MOST_PAIRS: usize = 2016;
/// Bytes of an element on its way back from an expert.
const COMBINE_ELEMENT_BYTES: u64 = 2;

/// Measures on all ranks; rank 0 writes and prints.
///
/// # Errors
/// On rank 0 the line; on all others [`Error::Told`] with the same exit code.
pub(super) fn run(args: &RunArgs) -> Result<(), Error> {
    let mpi = Mpi::start().map_err(Error::Input)?;
    let ranks = communicator(&mpi, args);
    if ranks.rank() != 0 {
        progress::set_quiet(true);
    }
    let outcome = measured(args, &mpi, ranks.as_ref());
    // Whoever is first would leave the others waiting for a rank that is gone.
    ranks.wait();
    match outcome {
        Err(error) if ranks.rank() != 0 => Err(Error::Told(Box::new(error))),
        Err(error) => Err(error),
        Ok(None) => Ok(()),
        Ok(Some(fleet)) => {
            print(&terminal::fleet::fleet(&fleet, false))?;
            print(&format!("\nfleet   {}\n", args.output.display()))
        }
    }
}

fn communicator<'a>(mpi: &'a Mpi, args: &RunArgs) -> Box<dyn Communicator + 'a> {
    let world = Box::new(mpi.world());
    match args.inject_wrong {
        Some(rank) => Box::new(Faulty { inner: world, rank }),
        None => world,
    }
}

/// The document on rank 0. What is wrong is wrong on all ranks.
fn measured(args: &RunArgs, mpi: &Mpi, ranks: &dyn Communicator) -> Result<Option<FleetRecord>, Error> {
    agreement::same_on_all(ranks, &args.common()).map_err(Error::Input)?;
    let interrupted = interrupt_flag();
    let lock = match (&interrupted, ranks.rank()) {
        (Ok(_), 0) => prepared(&args.output).map(Some),
        (Ok(_), _) => Ok(None),
        (Err(error), _) => Err(error.to_string()),
    };
    let tokens = tokens(&args.model).map_err(|error| error.to_string());
    let asked = plan_of_cases(args).map_err(|error| error.to_string());
    let ready = lock.as_ref().map(|_| ()).map_err(String::clone);
    let ready = ready.and(tokens.as_ref().map(|_| ()).map_err(String::clone));
    agreement::all_well(ranks, ready.and(asked)).map_err(Error::Input)?;
    let (interrupted, tokens) = (interrupted?, tokens.map_err(Error::Input)?);

    let devices = devices(args);
    let introduction = Introduction {
        host_name: Mpi::host_name(),
        leader: mpi.leader(),
        host: host::describe(),
        devices: devices.iter().map(|listed| listed.device.clone()).collect(),
    };
    let placement = FleetPlacement::of(ranks, &introduction, args.share_devices).map_err(Error::Input)?;
    let own = placement.ranks.get(ranks.rank() as usize).and_then(|place| devices.get(place.device));
    let own = own.ok_or_else(|| Error::Input("this rank has no device".to_owned()))?;
    let plan = plan(args, ranks, &own.device)?;
    note_start(&plan, &placement);
    let run = FleetRun {
        ranks,
        plan: plan.clone(),
        placement: &placement,
        document: &args.output,
        resume: args.resume,
        mpi_library: Mpi::library(),
        network: NetworkOptions {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 or more, as the flag says")]
            largest_bytes: args.largest_message as u64,
            budget: TRANSFER_BUDGET,
            most_pairs: MOST_PAIRS,
            seed: args.seed,
            tokens,
        },
        caveats: caveats(args, &placement),
    };
    let slow = args.inject_slow.filter(|(rank, _)| *rank == ranks.rank()).map(|(_, factor)| factor);
    let mut progress = Progress::new(0, Shown::UnlessQuiet);
    let mut measure = |asked: AskedOfRank| on_device(args, &plan, own, slow, &asked, interrupted);
    let outcome = run.all(&mut measure, &mut |event| show(&event, &mut progress));
    progress.finish();
    let fleet = outcome.map_err(Error::Input)?;
    let verdict = fleet.as_ref().map_or(Ok(()), |fleet| judge(fleet, &args.output));
    agreed(ranks, verdict)?;
    Ok(fleet)
}

/// Rank 0's verdict on every rank, so that all end with one exit code.
fn agreed(ranks: &dyn Communicator, verdict: Result<(), Error>) -> Result<(), Error> {
    let code = match &verdict {
        Ok(()) => 0,
        Err(Error::Negative(_)) => 1,
        Err(_) => 2,
    };
    let told = agreement::of_rank_0(ranks, &[code]);
    match told.as_slice() {
        _ if ranks.rank() == 0 => verdict,
        [0] => Ok(()),
        [1] => Err(Error::Negative(String::new())),
        _ => Err(Error::Input(String::new())),
    }
}

/// Why the document is not all that was asked for.
fn judge(fleet: &FleetRecord, path: &Path) -> Result<(), Error> {
    let refused = fleet.network.as_ref().map_or(0, |network| network.refused.len());
    let rejected: usize = fleet.records().map(|(_, record)| record.rejected.len()).sum();
    let path = path.display();
    if let Some(rank) = fleet.ranks.iter().find(|rank| rank.problem.is_some()) {
        let problem = rank.problem.as_deref().unwrap_or_default();
        let (rank, host) = (rank.rank, fleet.host_of(rank.rank));
        let line = format!("rank {rank} on {host}: {problem}; {path} has what is done, go on with --resume");
        return Err(Error::Input(line));
    }
    if refused + rejected > 0 {
        let line = format!(
            "{rejected} cases and {refused} transfers brought wrong results; `supernode fleet show {path}` lists them"
        );
        return Err(Error::Negative(line));
    }
    Ok(())
}

/// Makes the default folder, and takes the lock of the document.
fn prepared(path: &Path) -> Result<Lock, String> {
    measure::prepare_folder(path, path != Path::new("out/fleet.json")).map_err(|error| error.to_string())?;
    Lock::take(path).map_err(|locked| locked.to_string())
}

/// Whether there are such cases.
fn plan_of_cases(args: &RunArgs) -> Result<(), planning::PlanError> {
    let preset = args.preset.unwrap_or(Preset::Smoke);
    planning::cases(preset, &args.selection(), &args.only, &PlannedFor::anything()).map(|_| ())
}

/// The devices that a rank may take: of the kind of the best, so that no software adapter stands beside GPUs.
fn devices(args: &RunArgs) -> Vec<Listed> {
    let named = |listed: &Listed| {
        let name = listed.device.name.to_lowercase();
        args.adapter.as_ref().is_none_or(|part| name.contains(&part.to_lowercase()))
    };
    let mut devices: Vec<Listed> = gpu::list(args.backend).into_iter().filter(named).collect();
    let kind = devices.first().map(|listed| listed.device.device_type);
    devices.retain(|listed| Some(listed.device.device_type) == kind);
    // The driver's order may differ between processes; the bus has one order.
    devices.sort_by(|a, b| a.device.pci_bus_id.cmp(&b.device.pci_bus_id));
    devices
}

/// What all ranks measure. The preset follows from the slowest kind of device among them.
fn plan(args: &RunArgs, ranks: &dyn Communicator, device: &Device) -> Result<FleetPlan, Error> {
    let is_software = u8::from(device.device_type == DeviceType::Software);
    let any_software = ranks.share(&[is_software]).iter().any(|told| told == &[1]);
    let preset = args.preset.unwrap_or(if any_software { Preset::Smoke } else { Preset::Quick });
    Ok(FleetPlan {
        ranks: ranks.size(),
        preset,
        seed: args.seed,
        only: args.only.clone(),
        selection: args.selection(),
        runtime_checks: args.runtime_checks,
        share_devices: args.share_devices,
        alone: alone(args, preset)?,
        network: !args.no_network,
    })
}

/// The parts of ids that are measured alone, of those that are measured at all.
fn alone(args: &RunArgs, preset: Preset) -> Result<Vec<String>, Error> {
    if args.no_alone {
        return Ok(Vec::new());
    }
    let planned = planning::cases(preset, &args.selection(), &args.only, &PlannedFor::anything());
    let planned = planned.map_err(|error| Error::Input(error.to_string()))?;
    let is_there = |part: &str| planned.iter().any(|case| case.id.contains(part));
    if let Some(part) = args.alone.iter().find(|part| !is_there(part)) {
        return Err(Error::Input(format!("--alone {part}: no case of this run has it in its id; see measure --list")));
    }
    let default = || ALONE.into_iter().filter(|part| is_there(part)).map(str::to_owned).collect();
    Ok(if args.alone.is_empty() { default() } else { args.alone.clone() })
}

/// The tokens of a model, with the loads that are drawn.
fn tokens(model: &str) -> Result<ModelTokens, Error> {
    let model = Model::load(model)?;
    let moe = model.moe.as_ref().ok_or_else(|| Error::Input(format!("--model {}: it has no experts", model.name)))?;
    let width = model.expert_width(moe);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the width of a model in bytes")]
    let bytes = |bytes: f64| bytes.clamp(1.0, 1e9) as u32;
    let experts = usize::try_from(moe.experts).unwrap_or(1);
    let top_k = u32::try_from(moe.top_k).unwrap_or(1);
    Ok(ModelTokens {
        model: model.name.clone(),
        dispatch_bytes: bytes(dispatch_token_bytes(width)),
        combine_bytes: bytes(width * COMBINE_ELEMENT_BYTES as f64),
        loads: vec![GateWeights::uniform(experts, top_k), GateWeights::power_law(experts, top_k)],
    })
}

fn caveats(args: &RunArgs, placement: &FleetPlacement) -> Vec<FleetCaveat> {
    let shared = placement.ranks.iter().filter(|place: &&RankPlace| place.shared).count();
    let shared = u32::try_from(shared).ok().filter(|ranks| *ranks > 0);
    let shared = shared.map(|ranks| FleetCaveat::SharedDevices { ranks });
    let slow = args.inject_slow.map(|(rank, factor)| FleetCaveat::InjectedSlowdown { rank, factor });
    shared.into_iter().chain(slow).collect()
}

fn note_start(plan: &FleetPlan, placement: &FleetPlacement) {
    let names: Vec<&str> = placement.hosts.iter().map(|host| host.name.as_str()).collect();
    progress::note(&format!("{} ranks on {} computers: {}", plan.ranks, names.len(), names.join(", ")));
}

/// A stage on the device of this rank.
fn on_device(
    args: &RunArgs,
    plan: &FleetPlan,
    listed: &Listed,
    slow: Option<f64>,
    asked: &AskedOfRank,
    interrupted: &'static std::sync::atomic::AtomicBool,
) -> Result<Record, String> {
    let gpu = listed.open(plan.runtime_checks).map_err(|error| error.to_string())?;
    let (info, has_device_clock) = (gpu.info.clone(), gpu.has_timestamps());
    let slowed = |inner: Box<dyn Executor>| -> Box<dyn Executor> {
        match slow {
            Some(factor) => Box::new(Slowed { inner, factor }),
            None => inner,
        }
    };
    let mut reopen = || {
        let gpu = listed.open(plan.runtime_checks).map_err(|error| format!("it cannot be opened again ({error})"))?;
        if gpu.is(&info) { Ok(slowed(Box::new(gpu))) } else { Err("another device answers in its place".to_owned()) }
    };
    let options = Options {
        preset: Some(plan.preset),
        seed: plan.seed,
        only: only(plan, asked),
        runtime_checks: plan.runtime_checks,
        resume: args.resume,
        selection: plan.selection.clone(),
        // Trials of a slowed device are not those of the device.
        tuning_cache: tuning_cache::directory().filter(|_| slow.is_none()),
        retune: false,
    };
    let (executor, capacity) = (slowed(Box::new(gpu)), Some(asked.capacity));
    let device = OpenDevice { info: &info, has_device_clock, executor, reopen: &mut reopen, capacity };
    let mut progress = Progress::new(0, Shown::UnlessQuiet);
    let outcome = session::run(device, &options, asked.journal, interrupted, &mut |event| {
        measure::show(&event, &mut progress);
    });
    progress.finish();
    outcome.map_err(|error| error.to_string())
}

/// Of the cases measured together, those that are measured alone.
fn only(plan: &FleetPlan, asked: &AskedOfRank) -> Vec<String> {
    let Some(record) = asked.together.filter(|_| asked.stage == FleetStage::Alone) else { return plan.only.clone() };
    let wanted = |id: &&String| plan.alone.iter().any(|part| id.contains(part.as_str()));
    record.planned.iter().filter(wanted).cloned().collect()
}

fn show(event: &StageEvent, progress: &mut Progress) {
    match event {
        StageEvent::Begun(stage) => {
            progress.finish();
            progress.line(&format!("stage: {stage}"));
        }
        StageEvent::Network(NetworkEvent::Planned(transfers)) => {
            *progress = Progress::new(*transfers, Shown::UnlessQuiet);
        }
        StageEvent::Network(NetworkEvent::Done(what)) => progress.step(what),
    }
}
