//! Whole runs with ranks in one process and devices that answer from a document.

use std::path::{Path, PathBuf};

use super::super::in_process::on_ranks;
use super::super::network::ModelTokens;
use super::super::placement::{Introduction, place};
use super::*;
use crate::record::{Device, Host, Preset, Selection};
use crate::units::Seconds;

/// The record of a rank of the example, as this program would have written it.
fn record_of(rank: u32) -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fleet.json");
    let mut record = record::load_fleet(&path).unwrap().ranks.swap_remove(rank as usize).record.unwrap();
    record.tool = Tool::this();
    record
}

/// Two computers of two devices each.
fn placement() -> FleetPlacement {
    let host = Host { os: "Linux".to_owned(), cpu: "CPU".to_owned(), logical_cpus: 2, memory_bytes: 1, browser: None };
    let device = |id: &str| Device { pci_bus_id: Some(id.to_owned()), ..Device::default() };
    let introduced = |leader: u32| Introduction {
        host_name: format!("node{leader}"),
        leader,
        host: host.clone(),
        devices: vec![device("a"), device("b")],
    };
    place(&[introduced(0), introduced(0), introduced(2), introduced(2)], false).unwrap()
}

fn plan() -> FleetPlan {
    FleetPlan {
        ranks: 4,
        preset: Preset::Smoke,
        seed: record_of(0).protocol.seed,
        only: Vec::new(),
        selection: Selection::Tuned,
        runtime_checks: false,
        share_devices: false,
        alone: vec!["attention".to_owned()],
        network: true,
    }
}

fn network() -> NetworkOptions {
    let loads = vec![GateWeights::uniform(16, 2)];
    let tokens = ModelTokens { model: "small".to_owned(), dispatch_bytes: 8, combine_bytes: 16, loads };
    NetworkOptions { largest_bytes: 64, budget: Seconds::new(1e-4), most_pairs: 10, seed: 1, tokens }
}

/// What each rank returned, and the stages that each was asked for.
type Outcome = (Result<Option<FleetRecord>, String>, Vec<FleetStage>);

fn run(
    document: &Path,
    resume: bool,
    plan: &FleetPlan,
    measured: impl Fn(u32, AskedOfRank) -> Result<Record, String> + Sync,
) -> Vec<Outcome> {
    let placement = placement();
    on_ranks(4, |ranks| {
        let run = FleetRun {
            ranks,
            plan: plan.clone(),
            placement: &placement,
            document,
            resume,
            mpi_library: "in one process".to_owned(),
            network: network(),
            caveats: Vec::new(),
        };
        let mut asked_for = Vec::new();
        let mut measure = |asked: AskedOfRank| {
            asked_for.push(asked.stage);
            measured(ranks.rank(), asked)
        };
        let outcome = run.all(&mut measure, &mut |_| {});
        (outcome, asked_for)
    })
}

fn document(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("fleet.json")
}

/// Writes the journal as a session would.
fn kept(rank: u32, asked: AskedOfRank) -> Result<Record, String> {
    record::save(asked.journal, &record_of(rank)).unwrap();
    Ok(record_of(rank))
}

#[test]
fn every_rank_measures_together_and_alone_and_rank_0_has_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = run(&document(&folder), false, &plan(), kept);
    assert!(outcomes.iter().all(|(_, asked)| asked == &[FleetStage::Together, FleetStage::Alone]));
    let fleet = outcomes[0].0.clone().unwrap().unwrap();
    assert!(outcomes[1..].iter().all(|(outcome, _)| outcome == &Ok(None)));
    assert!(fleet.complete, "{:?}", fleet.lacking());
    assert_eq!(record::load_fleet(&document(&folder)).unwrap(), fleet);
    let network = fleet.network.as_ref().unwrap();
    assert!(network.refused.is_empty() && network.pairs.len() == 6);
    let loads: Vec<_> = network.collectives.iter().filter_map(|one| Some(one.traffic.as_ref()?.load)).collect();
    assert!(loads.contains(&record::TokenLoad::Measured), "the gate of the first record is one of the loads");
}

#[test]
fn what_ranks_left_is_gathered_when_all_died_and_a_second_run_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = document(&folder);
    // Rank 2 dies in the first stage, so that there is no document: only notes and journals.
    let plan = FleetPlan { network: false, ..plan() };
    let outcomes =
        run(&path, false, &plan, |rank, asked| if rank == 2 { Err("died".to_owned()) } else { kept(rank, asked) });
    assert_eq!(outcomes[0].0.as_ref().unwrap().as_ref().unwrap().lacking(), [2]);
    std::fs::remove_file(&path).unwrap();
    let gathered = record::gather(&RankFiles::folder(&path)).unwrap();
    assert_eq!((gathered.lacking(), gathered.ranks.len()), (vec![2], 4));
    assert_eq!(gathered.host_of(2), "node2");
    let resumed = run(&path, true, &plan, kept);
    let fleet = resumed[0].0.clone().unwrap().unwrap();
    assert!(fleet.complete);
    assert_eq!(fleet.created_at, gathered.created_at, "it is the same run");
}

#[test]
fn a_device_that_fails_ends_nothing_for_the_others_and_the_document_says_why_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = run(&document(&folder), false, &plan(), |rank, asked| {
        if rank == 1 { Err("the device was lost".to_owned()) } else { kept(rank, asked) }
    });
    let fleet = outcomes[0].0.clone().unwrap().unwrap();
    assert_eq!(fleet.lacking(), [1]);
    assert_eq!(fleet.rank(1).unwrap().problem.as_deref(), Some("the device was lost"));
    assert!(fleet.network.is_some());
    assert_eq!(outcomes[1].1, [FleetStage::Together], "what fails together is not tried alone");
}

#[test]
fn a_run_with_other_options_does_not_go_on_with_the_files_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let plan = FleetPlan { network: false, ..plan() };
    run(&document(&folder), false, &plan, kept);
    let other = FleetPlan { alone: Vec::new(), ..plan };
    for (outcome, asked) in run(&document(&folder), true, &other, kept) {
        let line = outcome.unwrap_err();
        assert!(
            line.starts_with("rank 0: ") && line.contains("cannot resume, because it was written with another plan"),
            "{line}"
        );
        assert!(asked.is_empty(), "nothing is measured");
    }
}

#[test]
fn a_fresh_run_leaves_no_file_of_an_earlier_one_with_more_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let path = document(&folder);
    std::fs::create_dir(RankFiles::folder(&path)).unwrap();
    let stale = RankFiles::of(&RankFiles::folder(&path), 17).record;
    let foreign = RankFiles::folder(&path).join("notes.txt");
    std::fs::write(&stale, "{}").unwrap();
    std::fs::write(&foreign, "mine").unwrap();
    run(&path, false, &plan(), kept);
    assert!(!stale.exists() && foreign.exists());
}

#[test]
fn a_place_that_cannot_be_written_is_told_on_all_ranks_before_anything_is_measured() {
    let outcomes = run(Path::new("/dev/null/fleet.json"), false, &plan(), kept);
    for (outcome, asked) in outcomes {
        assert!(outcome.unwrap_err().contains("give another place with -o") && asked.is_empty());
    }
}

/// A device with this f32 rate and so many bytes for a case.
fn capacity(rate: f64, case_bytes: u64) -> Capacity {
    let arithmetic = Some(FlopPerSecond::new(rate));
    Capacity { arithmetic, memory: None, case_bytes, buffer_bytes: u64::MAX }
}

#[test]
fn all_ranks_keep_to_the_sizes_of_the_least_device_and_a_resumed_run_to_those_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let plan = FleetPlan { network: false, ..plan() };
    let first = run(&document(&folder), false, &plan, |rank, asked| {
        if rank == 3 {
            // Its device is lost before its roofs are known: the others do not wait for it.
            return Err("lost".to_owned());
        }
        let agreed = (asked.capacity)(capacity(100.0 + f64::from(rank), 9000 - u64::from(rank)));
        assert_eq!(agreed, capacity(100.0, 8998));
        kept(rank, asked)
    });
    let fleet = first[0].0.clone().unwrap().unwrap();
    assert_eq!(fleet.capacity.unwrap().case_bytes, 8998);
    let second = run(&document(&folder), true, &plan, |rank, asked| {
        assert_eq!((asked.capacity)(capacity(1.0, 1)), capacity(100.0, 8998), "rank {rank}");
        kept(rank, asked)
    });
    assert!(second[0].0.as_ref().unwrap().as_ref().unwrap().complete);
}
