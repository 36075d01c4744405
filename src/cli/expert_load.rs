//! Token counts by expert from a file: a list, an object with a list, or the routing that a result document holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::error::Error;
use crate::files::{ReadError, read_within};
use crate::printable::printable;
use crate::projection::ExpertLoad;
use crate::record::{self, Record};
use crate::specs::Model;

/// The largest file that is read: no result document is larger.
const MOST_BYTES: u64 = 64 << 20;
/// The longest list that is read: no model has more experts.
const MOST_EXPERTS: usize = 1 << 20;

/// What a file of counts holds.
#[derive(Debug, Clone)]
pub(super) enum Counts {
    /// One count per expert.
    List(Vec<f64>),
    /// A result document, some of whose cases hold a routing, and its path.
    Record(PathBuf, Arc<Record>),
}

impl Counts {
    /// Reads a file.
    ///
    /// # Errors
    /// One line that does not name the flag.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = printable(&path.display().to_string(), 200);
        let bytes = bytes(path).map_err(|reason| format!("{shown}: {reason}"))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {error}"))?;
        if value.get("schema_version").is_some() {
            let record = record::parse(&bytes, path).map_err(|error| error.to_string())?;
            return Ok(Self::Record(path.to_path_buf(), Arc::new(record)));
        }
        let list = value.get("tokens_per_expert").unwrap_or(&value).as_array();
        let counts: Option<Vec<f64>> = list.and_then(|list| list.iter().map(serde_json::Value::as_f64).collect());
        let counts =
            counts.filter(|counts| !counts.is_empty()).ok_or_else(|| format!("{shown}: no list of numbers"))?;
        if counts.len() > MOST_EXPERTS {
            return Err(format!("{shown}: {} counts, where {MOST_EXPERTS} are the most", counts.len()));
        }
        let sum: f64 = counts.iter().sum();
        if counts.iter().any(|count| *count < 0.0) || !sum.is_finite() || sum <= 0.0 {
            return Err(format!("{shown}: counts must be 0 or more, and not all of them 0"));
        }
        Ok(Self::List(counts))
    }

    /// Counts over so many experts (any number where `None`; a list is taken as it is), and the case of the record that
    /// they come from.
    ///
    /// # Errors
    /// One line: the record holds no such routing.
    pub(super) fn over(&self, experts: Option<usize>) -> Result<(Vec<f64>, Option<String>), String> {
        let (path, record) = match self {
            Self::List(counts) => return Ok((counts.clone(), None)),
            Self::Record(path, record) => (path, record),
        };
        let shown = printable(&path.display().to_string(), 200);
        if let Some(case) = record.routing(experts) {
            let counts = case.tokens_per_expert.iter().copied().map(f64::from).collect();
            return Ok((counts, Some(format!("case {} of {shown}", printable(&case.id, 300)))));
        }
        let wanted = experts.map_or(String::new(), |experts| format!(" over {experts} experts"));
        let counted = record.cases.iter().map(|case| case.tokens_per_expert.len()).filter(|n| *n > 0);
        let known: Vec<String> = counted.collect::<BTreeSet<_>>().iter().map(usize::to_string).collect();
        Err(if known.is_empty() {
            format!(
                "{shown}: no case of this record holds a routing; measure the gating kernels again (`supernode measure --only gating`)"
            )
        } else {
            format!("{shown}: no case of this record routes{wanted}; it has routings over {}", known.join(", "))
        })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("not a file".to_owned());
    }
    read_within(path, MOST_BYTES).map_err(|error| match error {
        ReadError::Io(error) => error.to_string(),
        ReadError::TooLarge { .. } => "larger than 64 MiB".to_owned(),
    })
}

/// The value of `--expert-load`.
#[derive(Debug, Clone)]
pub(super) enum ExpertLoadFlag {
    /// The same for every model.
    Named(ExpertLoad),
    /// By the model's number of experts.
    Counted(Counts),
}

impl ExpertLoadFlag {
    /// Parses `replicated`, `uniform`, `power:ALPHA` or the path of a file.
    ///
    /// # Errors
    /// One line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(load) = ExpertLoad::named(text, 0)? {
            return Ok(Self::Named(load));
        }
        let help =
            "give `replicated`, `uniform`, `power:ALPHA`, a JSON file with a list of counts, or a result document";
        Counts::read(Path::new(text)).map(Self::Counted).map_err(|reason| format!("{reason}; {help}"))
    }

    /// The load of a model; of a dense one, which has no experts, the default.
    ///
    /// # Errors
    /// [`Error::Input`] where the record holds no routing over this model's experts.
    pub(super) fn of(&self, model: &Model) -> Result<ExpertLoad, Error> {
        let counts = match self {
            Self::Named(load) => return Ok(load.clone()),
            Self::Counted(counts) => counts,
        };
        let Some(moe) = &model.moe else { return Ok(ExpertLoad::Replicated) };
        let (visits, source) = counts
            .over(usize::try_from(moe.experts).ok())
            .map_err(|reason| Error::Input(format!("--expert-load {reason} ({} is asked for)", model.name)))?;
        Ok(ExpertLoad::counted(visits, source))
    }
}
