//! The comparison of documents as values: ratios, means, what is missing, regressions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::kernels::Family;
use crate::record::{Case, Record};
use crate::report::cases::{named_setting, setting};
use crate::report::compare::differences::{self, Missing};
use crate::report::compare::llama_bench::LlamaBench;
use crate::report::compare::portability::{self, Portability, question_of};
use crate::report::compare::ratio::{self, Mean, Ratio};
use crate::report::text::clean;
use crate::report::words;
use crate::units::Seconds;

/// What `supernode compare --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordComparison {
    /// The document that all others are compared with.
    pub base: ComparedRecord,
    /// The others, in the order given.
    pub against: Vec<Against>,
    /// How near to its own roofline each device comes, over all documents.
    pub portability: Portability,
    /// Whole-model figures of llama.cpp, compared with the base's ceilings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llama_bench: Option<LlamaBench>,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedRecord {
    /// Where it was read from.
    pub file: String,
    /// The device's name.
    pub device: String,
    /// Whether a CPU posed as the GPU.
    pub software: bool,
    /// Whether all planned cases are accounted for.
    pub complete: bool,
    /// What bounds the whole document.
    pub caveats: Vec<String>,
}

/// One document against the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// The document.
    pub other: ComparedRecord,
    /// Circumstances that differ, in words.
    pub differs: Vec<String>,
    /// The best variant on either side, for each kernel, type and shape that both have, in the order of the base.
    pub best: Vec<Speedup>,
    /// The same variant on both sides, in the order of the base.
    pub cases: Vec<Speedup>,
    /// Geometric mean of the best variants' speedups, by family.
    pub geometric_mean: BTreeMap<Family, Mean>,
    /// Cases that only the base has measured.
    pub only_in_base: Vec<Missing>,
    /// Cases that only this one has measured.
    pub only_in_other: Vec<Missing>,
}

/// One kernel, type and shape on two devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speedup {
    /// The case; where the variants differ, with `*` in place of the variant.
    pub id: String,
    /// Kernel family.
    pub family: Family,
    /// What is computed.
    pub kernel: String,
    /// Storage type of the operands.
    pub element: String,
    /// Family, model, phase and named sizes.
    pub setting: String,
    /// The same, with the shape as tables show it.
    #[serde(skip)]
    pub heading: String,
    /// Variant in the base.
    pub base_variant: String,
    /// Variant in the other document.
    pub other_variant: String,
    /// Median time in the base.
    pub base_s: Seconds,
    /// Median time in the other document.
    pub other_s: Seconds,
    /// `base_s / other_s` with its interval: above 1 the other is faster.
    #[serde(flatten)]
    pub ratio: Ratio,
    /// Fraction of its own roofline in the base.
    pub base_fraction: f64,
    /// Fraction of its own roofline in the other document.
    pub other_fraction: f64,
    /// What to keep in mind about either figure.
    pub caveats: Vec<String>,
}

/// A figure of the other document that is worse than allowed, or a result that has become wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Regression {
    /// The document.
    pub file: String,
    /// The case, or kernel, type and shape.
    pub id: String,
    /// By how much, or why.
    pub what: String,
}

/// Compares each of `others` with `base`. Each record comes with the name of its file.
pub fn compare(base: (&str, &Record), others: &[(&str, &Record)]) -> RecordComparison {
    let against = others.iter().map(|(file, other)| compare_pair(base.1, file, other)).collect();
    let all: Vec<(&str, &Record)> = std::iter::once(base).chain(others.iter().copied()).collect();
    RecordComparison { base: side(base.0, base.1), against, portability: portability::of(&all), llama_bench: None }
}

impl RecordComparison {
    /// What got worse by more than `threshold` (0.05 for 5 %): the best variant of a kernel, type and shape whose whole
    /// interval lies beyond it, and cases that are rejected now.
    pub fn regressions(&self, threshold: f64) -> Vec<Regression> {
        let limit = 1.0 / (1.0 + threshold);
        let mut found = Vec::new();
        for against in &self.against {
            let file = || against.other.file.clone();
            let beyond = |case: &&Speedup| case.ratio.high.is_some_and(|high| high < limit);
            found.extend(against.best.iter().filter(beyond).map(|case| Regression {
                file: file(),
                id: case.id.clone(),
                what: format!(
                    "takes {:.3} times as long (at least {:.3})",
                    1.0 / case.ratio.speedup,
                    case.ratio.high.map_or(1.0, |high| 1.0 / high)
                ),
            }));
            found.extend(against.only_in_base.iter().filter(|missing| missing.rejected).map(|missing| Regression {
                file: file(),
                id: missing.id.clone(),
                what: missing.why.clone(),
            }));
        }
        found
    }
}

fn side(file: &str, record: &Record) -> ComparedRecord {
    ComparedRecord {
        file: clean(file),
        device: clean(&record.device.name),
        software: record.is_software(),
        complete: record.complete,
        caveats: record.caveats.iter().map(|caveat| clean(&caveat.to_string())).collect(),
    }
}

fn compare_pair(base: &Record, file: &str, other: &Record) -> Against {
    let by_id: BTreeMap<&str, &Case> = other.cases.iter().map(|case| (&*case.id, case)).collect();
    let base_ids: BTreeSet<&str> = base.cases.iter().map(|case| &*case.id).collect();
    let same = base.cases.iter().filter_map(|case| Some(speedup(case, by_id.get(&*case.id)?)));
    let best = best_pairs(base, other);
    Against {
        other: side(file, other),
        differs: differences::between(base, other),
        geometric_mean: means(&best),
        best,
        cases: same.collect(),
        only_in_base: differences::missing(base, &by_id.keys().copied().collect(), other),
        only_in_other: differences::missing(other, &base_ids, base),
    }
}

/// The fastest variant of each kernel, type and shape that both have, in the order of the base.
fn best_pairs(base: &Record, other: &Record) -> Vec<Speedup> {
    let theirs = portability::fastest(other);
    let ours = portability::fastest(base);
    let mut seen = BTreeSet::new();
    let questions =
        base.cases.iter().map(|case| question_of(&case.id)).filter(|question| seen.insert(question.clone()));
    questions.filter_map(|question| Some(speedup(ours.get(&question)?, theirs.get(&question)?))).collect()
}

fn speedup(base: &Case, other: &Case) -> Speedup {
    let id = if base.id == other.id { base.id.clone() } else { question_of(&base.id) };
    Speedup {
        id: clean(&id),
        family: base.family,
        kernel: clean(&base.kernel),
        element: base.element.to_string(),
        setting: format!("{}: {}", words::family(base.family), named_setting(base)),
        heading: format!("{}: {}", words::family(base.family), setting(base)),
        base_variant: clean(&base.variant),
        other_variant: clean(&other.variant),
        base_s: base.timing.median_s,
        other_s: other.timing.median_s,
        ratio: Ratio::of(&base.timing, &other.timing),
        base_fraction: base.achieved.fraction_of_roofline,
        other_fraction: other.achieved.fraction_of_roofline,
        caveats: caveats(base, other),
    }
}

fn caveats(base: &Case, other: &Case) -> Vec<String> {
    let of = |letter: &str, case: &Case| {
        let few = (case.timing.samples_s.len() < ratio::FEWEST_SAMPLES)
            .then(|| format!("{letter}: {} samples only, so its interval is below 95 %", case.timing.samples_s.len()));
        let caveats = case.caveats.iter().map(|caveat| format!("{letter}: {}", clean(&caveat.to_string())));
        caveats.chain(few).collect::<Vec<_>>()
    };
    [of("A", base), of("B", other)].concat()
}

fn means(cases: &[Speedup]) -> BTreeMap<Family, Mean> {
    let mut by_family: BTreeMap<Family, Vec<&Ratio>> = BTreeMap::new();
    for case in cases {
        by_family.entry(case.family).or_default().push(&case.ratio);
    }
    by_family.into_iter().filter_map(|(family, ratios)| Some((family, Mean::of(&ratios)?))).collect()
}
