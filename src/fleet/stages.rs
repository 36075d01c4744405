//! A run from the first rank's note to the last transfer: all devices at once, each without its neighbours, the network.
//!
//! Each rank writes a note and its journals into a folder beside the document, and rank 0 writes the document after every
//! stage. An MPI library ends all ranks when one dies; what is in the files is then all there is, and is enough to go on.

use std::cell::Cell;
use std::path::Path;

use super::agreement::{all_well, of_rank_0};
use super::communicator::Communicator;
use super::network::{self, GateWeights, NetworkEvent, NetworkOptions};
use super::placement::{FleetPlacement, RankPlace};
use crate::kernels::cases::Capacity;
use crate::record::{
    self, FLEET_SCHEMA_VERSION, FleetCapacity, FleetCaveat, FleetNetwork, FleetPlan, FleetRank, FleetRecord,
    OutlierCriterion, RankFiles, RankNote, Record, Tool,
};
use crate::units::{BytesPerSecond, FlopPerSecond};

/// With or without neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetStage {
    /// All ranks measure at once.
    Together,
    /// No other rank of the computer measures.
    Alone,
}

/// What a rank was asked to measure, and where its journal is.
#[derive(Clone, Copy)]
pub struct AskedOfRank<'a> {
    /// With or without neighbours.
    pub stage: FleetStage,
    /// The journal.
    pub journal: &'a Path,
    /// What the rank measured among its neighbours; `None` before.
    pub together: Option<&'a Record>,
    /// Of how large a case may be on this rank's device, how large it is to be on all; ranks wait for each other at the first
    /// call.
    pub capacity: &'a dyn Fn(Capacity) -> Capacity,
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum StageEvent<'a> {
    /// A stage begins.
    Begun(&'a str),
    /// Something about the network.
    Network(NetworkEvent<'a>),
}

/// A run.
pub struct FleetRun<'a> {
    /// All ranks.
    pub ranks: &'a dyn Communicator,
    /// What was asked for, the same on all ranks.
    pub plan: FleetPlan,
    /// Where the ranks are.
    pub placement: &'a FleetPlacement,
    /// The fleet document.
    pub document: &'a Path,
    /// Go on with what is there.
    pub resume: bool,
    /// The MPI library.
    pub mpi_library: String,
    /// How the network is measured; the gate that was measured is added.
    pub network: NetworkOptions,
    /// Caveats from the beginning.
    pub caveats: Vec<FleetCaveat>,
}

impl FleetRun<'_> {
    /// Measures everything that is not in the files yet. The document is whole on rank 0; the others get `None`.
    ///
    /// `measure` gives the record of a stage, or a line why there is none. A device that fails ends nothing: the other
    /// ranks go on, and the document says which rank lacks.
    ///
    /// # Errors
    /// One line, the same on all ranks: a file that cannot be read or written, or that is of another run.
    pub fn all(
        &self,
        measure: &mut dyn FnMut(AskedOfRank) -> Result<Record, String>,
        tell: &mut dyn FnMut(StageEvent),
    ) -> Result<Option<FleetRecord>, String> {
        let created_at = self.begin()?;
        let mut own = self.own();
        let files = self.files();
        tell(StageEvent::Begun("all devices at once"));
        self.ranks.wait();
        let agreed = Agreed { run: self, created_at: &created_at, found: Cell::new(self.earlier_capacity()?) };
        let capacity = |own: Capacity| agreed.capacity(own);
        let asked =
            AskedOfRank { stage: FleetStage::Together, journal: &files.record, together: None, capacity: &capacity };
        (own.record, own.problem) = outcome(&files.record, measure(asked));
        // A rank whose device failed before keeps no other waiting.
        agreed.capacity(Capacity::unlimited());
        let mut fleet = self.gathered(&created_at, &own, None)?;
        if !self.plan.alone.is_empty() {
            self.alone(&mut own, &files, &capacity, measure, tell);
            fleet = self.gathered(&created_at, &own, None)?;
        }
        if self.plan.network {
            let network = self.network(&created_at, own.record.as_ref(), tell)?;
            fleet = self.gathered(&created_at, &own, network)?;
        }
        Ok(fleet)
    }

    fn place(&self) -> Option<&RankPlace> {
        self.placement.ranks.get(self.ranks.rank() as usize)
    }

    fn own(&self) -> FleetRank {
        let (host, local_rank) = self.place().map_or((0, 0), |place| (place.host, place.local_rank));
        FleetRank { rank: self.ranks.rank(), host, local_rank, record: None, alone: None, problem: None }
    }

    fn files(&self) -> RankFiles {
        RankFiles::of(&RankFiles::folder(self.document), self.ranks.rank())
    }

    /// Makes the folder and the rank's note, and returns when the run began.
    fn begin(&self) -> Result<String, String> {
        let earlier = if self.resume { earlier_note(&self.files().note) } else { Ok(None) };
        let began = earlier.as_ref().ok().and_then(Option::as_ref).map(|note| note.created_at.clone());
        let began = began.unwrap_or_else(|| jiff::Timestamp::now().to_string());
        let created_at = String::from_utf8_lossy(&of_rank_0(self.ranks, began.as_bytes())).into_owned();
        let prepared = earlier.and_then(|earlier| self.prepare(earlier.as_ref(), &created_at));
        all_well(self.ranks, prepared)?;
        // No rank writes before the first of its computer has cleared the folder.
        all_well(self.ranks, self.write_note(&created_at, None))?;
        Ok(created_at)
    }

    /// Writes the rank's note; what is known of the sizes of cases stays in it.
    fn write_note(&self, created_at: &str, capacity: Option<FleetCapacity>) -> Result<(), String> {
        let earlier = if self.resume { earlier_note(&self.files().note)? } else { None };
        let capacity = capacity.or(earlier.and_then(|note| note.capacity));
        let note = RankNote { capacity, ..self.note(created_at)? };
        let bytes = serde_json::to_vec_pretty(&note).map_err(|error| error.to_string())?;
        record::write_atomically(&self.files().note, &bytes).map_err(|error| error.to_string())
    }

    /// The sizes that the cases of an earlier run stayed within, where a rank's note has them.
    fn earlier_capacity(&self) -> Result<Option<Capacity>, String> {
        let earlier = if self.resume { earlier_note(&self.files().note) } else { Ok(None) };
        all_well(self.ranks, earlier.as_ref().map(|_| ()).map_err(String::clone))?;
        let own = earlier?.and_then(|note| note.capacity);
        let told = serde_json::to_vec(&own).map_err(|error| error.to_string())?;
        let all = self.ranks.share(&told);
        let found = all.iter().find_map(|bytes| serde_json::from_slice::<Option<FleetCapacity>>(bytes).ok().flatten());
        Ok(found.map(|kept| Capacity {
            arithmetic: kept.arithmetic_flop_per_s,
            memory: kept.memory_bytes_per_s,
            case_bytes: kept.case_bytes,
            buffer_bytes: kept.buffer_bytes,
        }))
    }

    fn note(&self, created_at: &str) -> Result<RankNote, String> {
        let own = self.own();
        let host = self.placement.hosts.get(own.host as usize).cloned();
        Ok(RankNote {
            fleet_schema_version: FLEET_SCHEMA_VERSION,
            created_at: created_at.to_owned(),
            tool: Tool::this(),
            plan: self.plan.clone(),
            capacity: None,
            rank: own.rank,
            local_rank: own.local_rank,
            host: host.ok_or("no computer is known for this rank")?,
        })
    }

    /// Clears the folder, or refuses to go on with files of another run.
    fn prepare(&self, earlier: Option<&RankNote>, created_at: &str) -> Result<(), String> {
        let folder = RankFiles::folder(self.document);
        if let Some(earlier) = earlier {
            return match differs(earlier, &self.note(created_at)?) {
                None => Ok(()),
                Some((what, there, here)) => Err(format!(
                    "{}: cannot resume, because it was written with another {what} ({there}, now {here}); start the same \
                     ranks in the same order, or drop --resume to start over",
                    self.files().note.display()
                )),
            };
        }
        if self.place().is_none_or(|place| place.local_rank != 0) || self.resume {
            return std::fs::create_dir_all(&folder).map_err(|error| cannot(&folder, &error));
        }
        std::fs::create_dir_all(&folder).map_err(|error| cannot(&folder, &error))?;
        let entries = std::fs::read_dir(&folder).map_err(|error| cannot(&folder, &error))?;
        for entry in entries.filter_map(Result::ok) {
            if RankFiles::is_one(&entry.file_name().to_string_lossy()) {
                // The first rank of another computer may have removed it from a folder that both see.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Ranks of one computer take turns; those of different computers measure at the same time.
    fn alone(
        &self,
        own: &mut FleetRank,
        files: &RankFiles,
        capacity: &dyn Fn(Capacity) -> Capacity,
        measure: &mut dyn FnMut(AskedOfRank) -> Result<Record, String>,
        tell: &mut dyn FnMut(StageEvent),
    ) {
        let turns = self.placement.most_local();
        for turn in 0..turns {
            tell(StageEvent::Begun(&format!("alone on each computer: turn {} of {turns}", turn + 1)));
            self.ranks.wait();
            let is_whole = own.record.as_ref().is_some_and(|record| record.complete);
            if own.local_rank == turn && is_whole {
                let together = own.record.as_ref();
                let asked = AskedOfRank { stage: FleetStage::Alone, journal: &files.alone, together, capacity };
                let (record, problem) = outcome(&files.alone, measure(asked));
                own.alone = record;
                own.problem = problem;
            }
        }
        self.ranks.wait();
    }

    /// The network, from the document where an earlier run has measured it.
    fn network(
        &self,
        created_at: &str,
        record: Option<&Record>,
        tell: &mut dyn FnMut(StageEvent),
    ) -> Result<Option<FleetNetwork>, String> {
        let earlier = if self.resume && self.ranks.rank() == 0 { self.earlier_network(created_at) } else { None };
        if of_rank_0(self.ranks, &[u8::from(earlier.is_some())]) == [1] {
            return Ok(earlier);
        }
        tell(StageEvent::Begun("the network"));
        let routing = record.and_then(|record| measured_gate(record, self.network.tokens.loads.first()));
        let told = serde_json::to_vec(&routing).map_err(|error| error.to_string())?;
        let routing: Option<(Vec<u32>, u32)> =
            serde_json::from_slice(&of_rank_0(self.ranks, &told)).unwrap_or_default();
        let mut options = self.network.clone();
        options.tokens.loads.extend(routing.map(|(counts, top_k)| GateWeights::measured(&counts, top_k)));
        Ok(network::measure(self.ranks, &options, &mut |event| tell(StageEvent::Network(event))))
    }

    fn earlier_network(&self, created_at: &str) -> Option<FleetNetwork> {
        let fleet = record::load_fleet(self.document).ok()?;
        fleet.network.filter(|network| fleet.created_at == created_at && network.refused.is_empty())
    }

    /// Everyone's records on rank 0, where the document is written.
    fn gathered(
        &self,
        created_at: &str,
        own: &FleetRank,
        network: Option<FleetNetwork>,
    ) -> Result<Option<FleetRecord>, String> {
        let told = serde_json::to_vec(own).map_err(|error| error.to_string())?;
        let all = self.ranks.gather(&told);
        if self.ranks.rank() != 0 {
            return all_well(self.ranks, Ok(())).map(|()| None);
        }
        let written = self.written(created_at, &all, network);
        all_well(self.ranks, written.as_ref().map(|_| ()).map_err(String::clone))?;
        written.map(Some)
    }

    fn written(&self, created_at: &str, all: &[Vec<u8>], network: Option<FleetNetwork>) -> Result<FleetRecord, String> {
        let ranks: Result<Vec<FleetRank>, _> = all.iter().map(|bytes| serde_json::from_slice(bytes)).collect();
        let earlier = || if self.resume { self.earlier_network(created_at) } else { None };
        let fleet = FleetRecord {
            fleet_schema_version: FLEET_SCHEMA_VERSION,
            complete: false,
            created_at: created_at.to_owned(),
            tool: Tool::this(),
            mpi_library: Some(self.mpi_library.clone()),
            plan: self.plan.clone(),
            capacity: earlier_note(&self.files().note)?.and_then(|note| note.capacity),
            hosts: self.placement.hosts.clone(),
            ranks: ranks.map_err(|error| error.to_string())?,
            network: network.or_else(earlier),
            criterion: OutlierCriterion::default(),
            spread: Vec::new(),
            outliers: Vec::new(),
            caveats: self.caveats.clone(),
        };
        let fleet = fleet.worked_out();
        record::save_fleet(self.document, &fleet).map_err(|error| error.to_string())?;
        Ok(fleet)
    }
}

/// The sizes that all ranks keep to: the least of all devices in each value.
struct Agreed<'a> {
    run: &'a FleetRun<'a>,
    created_at: &'a str,
    found: Cell<Option<Capacity>>,
}

impl Agreed<'_> {
    fn capacity(&self, own: Capacity) -> Capacity {
        if let Some(found) = self.found.get() {
            return found;
        }
        let ranks = self.run.ranks;
        // Roofs take as long as they take; nobody keeps a processor busy for that.
        ranks.wait();
        let found = least_of_all(ranks, own);
        self.found.set(Some(found));
        let kept = FleetCapacity {
            arithmetic_flop_per_s: found.arithmetic,
            memory_bytes_per_s: found.memory,
            case_bytes: found.case_bytes,
            buffer_bytes: found.buffer_bytes,
        };
        // Only a resumed run misses it, and would agree anew.
        let _ = self.run.write_note(self.created_at, Some(kept));
        found
    }
}

fn least_of_all(ranks: &dyn Communicator, own: Capacity) -> Capacity {
    let rates = [own.arithmetic.map(FlopPerSecond::get), own.memory.map(BytesPerSecond::get)];
    // The largest of the negatives is the least.
    let mut least = rates.map(|rate| -rate.unwrap_or(f64::INFINITY));
    ranks.largest(&mut least);
    let [arithmetic, memory] = least.map(|rate| Some(-rate).filter(|rate| rate.is_finite()));
    let bytes = [own.case_bytes, own.buffer_bytes].map(u64::to_le_bytes).concat();
    let all = ranks.share(&bytes);
    let least_at = |at: usize| {
        let found = all.iter().filter_map(|bytes| bytes.get(at..at + 8)?.try_into().ok()).map(u64::from_le_bytes);
        found.min().unwrap_or(u64::MAX)
    };
    Capacity {
        arithmetic: arithmetic.map(FlopPerSecond::new),
        memory: memory.map(BytesPerSecond::new),
        case_bytes: least_at(0),
        buffer_bytes: least_at(8),
    }
}

/// What a rank has of a stage: the record, or what its journal holds and why there is no more.
fn outcome(journal: &Path, measured: Result<Record, String>) -> (Option<Record>, Option<String>) {
    match measured {
        Ok(record) => (Some(record), None),
        Err(problem) => (record::load(journal).ok(), Some(crate::printable::printable(&problem, 500))),
    }
}

/// Tokens by expert of the record's gate, and experts per token; that over as many experts as the model has, if there is one.
fn measured_gate(record: &Record, model: Option<&GateWeights>) -> Option<(Vec<u32>, u32)> {
    let same = model.and_then(|model| record.routing(Some(model.weights.len())));
    let case = same.or_else(|| record.routing(None))?;
    let top_k = u32::try_from(*case.shape.get("top_k")?).ok()?;
    Some((case.tokens_per_expert.clone(), top_k))
}

fn earlier_note(path: &Path) -> Result<Option<RankNote>, String> {
    path.exists().then(|| record::load_note(path).map_err(|error| error.to_string())).transpose()
}

fn differs(earlier: &RankNote, now: &RankNote) -> Option<(&'static str, String, String)> {
    let shown = |plan: &FleetPlan| format!("{plan:?}");
    let version = |tool: &Tool| format!("{} {}", tool.version, tool.git_commit.as_deref().unwrap_or("none"));
    let pairs = [
        ("computer", earlier.host.name.clone(), now.host.name.clone()),
        ("number on its computer", earlier.local_rank.to_string(), now.local_rank.to_string()),
        ("number of ranks", earlier.plan.ranks.to_string(), now.plan.ranks.to_string()),
        ("program", version(&earlier.tool), version(&now.tool)),
        ("plan", shown(&earlier.plan), shown(&now.plan)),
        ("start", earlier.created_at.clone(), now.created_at.clone()),
    ];
    pairs.into_iter().find(|(_, there, here)| there != here)
}

fn cannot(folder: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be made or listed ({error}); give another place with -o", folder.display())
}

#[cfg(test)]
mod tests;
