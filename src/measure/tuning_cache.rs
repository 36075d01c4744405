//! Trials of earlier runs, kept under the user's cache directory: one file per device, valid for one driver and one build.
//!
//! A cache is never worth a failed run. Where it cannot be read or written, a note says so, and the run goes on without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::planning::{BEST, PlannedCase};
use super::tuning::{self, Choice};
use crate::files::{self, ReadError};
use crate::kernels::SHADERS;
use crate::record::{Candidate, Device, Tuning};
use crate::units::Seconds;

/// A full run has a few hundred trials of some hundred bytes.
const MAX_BYTES: u64 = 8 << 20;

/// The trials of one device.
#[derive(Debug)]
pub struct TuningCache {
    path: Option<PathBuf>,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Device, driver and build; trials of another are of no use.
    made_by: String,
    /// By id with `best` for the variant.
    trials: BTreeMap<String, Trial>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    candidates: Vec<Candidate>,
    #[serde(default)]
    smaller_shape: BTreeMap<String, u64>,
    cost_s: Seconds,
    cost_cpu_s: Option<Seconds>,
}

/// The directory for the files: `supernode-bench` under `$XDG_CACHE_HOME`, `~/.cache` or the system's equivalent. `None`
/// where there is no home.
#[cfg(not(target_arch = "wasm32"))]
pub fn directory() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    etcetera::base_strategy::choose_base_strategy().ok().map(|base| base.cache_dir().join(env!("CARGO_PKG_NAME")))
}

impl TuningCache {
    /// A cache that is not kept.
    pub fn in_memory() -> Self {
        Self { path: None, content: Content::default() }
    }

    /// The file of this device in `directory`, and a note where it was damaged. It is made when the first trial is kept.
    pub fn open(directory: &Path, device: &Device, runtime_checks: bool) -> (Self, Option<String>) {
        let path = directory.join(format!("tuning-{}.json", slug(device)));
        let fresh = Content { made_by: made_by(device, runtime_checks), trials: BTreeMap::new() };
        let (content, note) = match read(&path) {
            Ok(Some(found)) if found.made_by == fresh.made_by => (found, None),
            Ok(_) => (fresh, None),
            Err(problem) => {
                let note = format!("{}: {problem}; variants are tried again", path.display());
                (fresh, Some(note))
            }
        };
        (Self { path: Some(path), content }, note)
    }

    /// Drops every trial, so that all are made again and replace the old ones.
    pub fn forget(&mut self) {
        self.content.trials.clear();
    }

    /// The choice of an earlier trial of the very same candidates.
    pub fn get(&self, case: &PlannedCase) -> Option<Choice> {
        let trial = self.content.trials.get(&case.spec.id_as(BEST))?;
        let names: Vec<&str> = trial.candidates.iter().map(|candidate| &*candidate.variant).collect();
        let sound = |time: Seconds| time.is_finite() && time.get() >= 0.0;
        if names != case.candidates || !trial.candidates.iter().filter_map(|c| c.time_s).all(sound) {
            return None;
        }
        let ranked = tuning::ranked(&case.candidates, &trial.candidates);
        let default_variant = *case.candidates.first()?;
        let tuning = Tuning {
            candidates: trial.candidates.clone(),
            default_variant: default_variant.to_owned(),
            regret: tuning::regret(default_variant, &trial.candidates),
            smaller_shape: trial.smaller_shape.clone(),
            cost_s: trial.cost_s,
            cost_cpu_s: trial.cost_cpu_s,
            cached: true,
            second: None,
        };
        (!ranked.is_empty()).then_some(Choice { ranked, tuning, rejected: Vec::new(), lasting: true })
    }

    /// Keeps a trial. A trial is not kept if a variant was wrong (every run must report that), ran out of memory, or was
    /// not tried for lack of time. Returns a note the first time that the file cannot be written.
    pub fn put(&mut self, case: &PlannedCase, choice: &Choice) -> Option<String> {
        if !choice.rejected.is_empty() || choice.ranked.is_empty() || !choice.lasting {
            return None;
        }
        let Tuning { candidates, smaller_shape, cost_s, cost_cpu_s, .. } = choice.tuning.clone();
        let trial = Trial { candidates, smaller_shape, cost_s, cost_cpu_s };
        self.content.trials.insert(case.spec.id_as(BEST), trial);
        let path = self.path.clone()?;
        let written = serde_json::to_vec_pretty(&self.content).map_err(|error| error.to_string()).and_then(|bytes| {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(|error| error.to_string())?;
            files::write_atomically(&path, &bytes).map_err(|error| error.to_string())
        });
        let problem = written.err()?;
        self.path = None;
        Some(format!("the choice of variants is not kept for the next run: {problem}"))
    }
}

fn read(path: &Path) -> Result<Option<Content>, String> {
    let bytes = match files::read_within(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(ReadError::Io(error)) => return Err(error.to_string()),
        Err(ReadError::TooLarge { .. }) => return Err("damaged (too large)".to_owned()),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| "damaged".to_owned())
}

fn slug(device: &Device) -> String {
    let own = device.own_memory_bytes().map_or(String::new(), |bytes| format!(" {}m", bytes >> 20));
    let words = format!("{} {} {:x}{own} {}", device.vendor, device.name, device.device_id, device.backend);
    files::slug(&words).chars().take(120).collect()
}

/// Everything that a trial depends on besides the case.
fn made_by(device: &Device, runtime_checks: bool) -> String {
    format!(
        "{} {} {} {} | {} {} | {} {} | shaders {} | checks {runtime_checks}",
        device.vendor,
        device.name,
        device.own_memory_bytes().unwrap_or(0),
        device.backend,
        device.driver,
        device.driver_info,
        env!("CARGO_PKG_VERSION"),
        option_env!("SUPERNODE_GIT_COMMIT").unwrap_or("-"),
        shaders_hash(),
    )
}

/// The beginning of SHA-256 over all shaders, so that a build from an edited tree does not take the choices of the one
/// before.
fn shaders_hash() -> String {
    let mut hash = Sha256::new();
    for (name, text) in SHADERS {
        hash.update(name);
        hash.update(text);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::MemorySource;

    #[test]
    fn two_devices_of_one_name_share_no_trials_where_their_own_memory_differs() {
        let device = |gib: u64, source| Device {
            name: "GeForce RTX 3060".to_owned(),
            memory_bytes: Some(gib << 30),
            memory_source: Some(source),
            ..Device::default()
        };
        let own = |gib| device(gib, MemorySource::DeviceHeap);
        assert_ne!(slug(&own(8)), slug(&own(12)));
        assert_ne!(made_by(&own(8), false), made_by(&own(12), false));
        // A stick more in the host is the same device.
        let shared = |gib| device(gib, MemorySource::HostMemory);
        assert_eq!(slug(&shared(16)), slug(&shared(32)));
        assert_eq!(made_by(&shared(16), false), made_by(&shared(32), false));
    }
}
