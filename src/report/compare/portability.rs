//! How near to its own roofline each device comes, and one number for all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::kernels::Family;
use crate::record::{Case, Record};
use crate::report::text::clean;

/// How near to its own roofline each device comes: here a small GPU can win.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Portability {
    /// The documents' files; efficiencies follow their order.
    pub files: Vec<String>,
    /// By kernel family.
    pub families: BTreeMap<Family, FamilyPortability>,
}

/// One family over all devices. A question is a kernel, type and shape; each device answers with its best variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FamilyPortability {
    /// Questions that every device has measured.
    pub everywhere: usize,
    /// Questions that some device measured and another cannot run or gets wrong: their portability is 0.
    pub not_everywhere: usize,
    /// Geometric mean of each device's fraction of its own roofline, over the questions measured everywhere.
    pub efficiency: Vec<Option<f64>>,
    /// Geometric mean, over the questions measured everywhere, of each one's portability: the harmonic mean of the
    /// devices' fractions of their rooflines (Pennycook, Sewall and Lee, Future Generation Computer Systems 92 (2019),
    /// 947-958, equation 1, architectural efficiency). A fraction above 1 counts as 1.
    pub portability: Option<f64>,
}

/// The question that a case answers: its id without the variant, which is the third part.
pub fn question_of(id: &str) -> String {
    let mut parts = id.splitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(family), Some(kernel), Some(_), Some(rest)) => format!("{family}/{kernel}/*/{rest}"),
        _ => id.to_owned(),
    }
}

/// The fastest case of each question.
pub(super) fn fastest(record: &Record) -> BTreeMap<String, &Case> {
    let mut fastest: BTreeMap<String, &Case> = BTreeMap::new();
    for case in &record.cases {
        let best = fastest.entry(question_of(&case.id)).or_insert(case);
        if case.timing.median_s < best.timing.median_s {
            *best = case;
        }
    }
    fastest
}

/// Questions that a device cannot answer: their cases were left out or rejected.
fn unanswered(record: &Record) -> BTreeSet<String> {
    let left_out = record.left_out.iter().map(|case| &case.id);
    left_out.chain(record.rejected.iter().map(|case| &case.id)).map(|id| question_of(id)).collect()
}

pub(super) fn of(records: &[(&str, &Record)]) -> Portability {
    let answers: Vec<_> = records.iter().map(|(_, record)| (fastest(record), unanswered(record))).collect();
    let mut questions: BTreeMap<&str, Family> = BTreeMap::new();
    for (answered, _) in &answers {
        questions.extend(answered.iter().map(|(question, case)| (&**question, case.family)));
    }
    let mut tallies: BTreeMap<Family, Tally> = BTreeMap::new();
    for (question, family) in questions {
        let tally = tallies.entry(family).or_default();
        let fractions: Option<Vec<f64>> =
            answers.iter().map(|(answered, _)| Some(answered.get(question)?.achieved.fraction_of_roofline)).collect();
        match fractions {
            Some(fractions) => tally.add(&fractions),
            None => {
                tally.not_everywhere += usize::from(
                    answers
                        .iter()
                        .any(|(answered, cannot)| cannot.contains(question) && !answered.contains_key(question)),
                )
            }
        }
    }
    let families = tallies.into_iter().map(|(family, tally)| (family, tally.finish(records.len()))).collect();
    Portability { files: records.iter().map(|(file, _)| clean(file)).collect(), families }
}

/// Sums of logarithms over the questions that all devices answer.
#[derive(Default)]
struct Tally {
    everywhere: usize,
    not_everywhere: usize,
    efficiency: Vec<f64>,
    portability: f64,
}

impl Tally {
    fn add(&mut self, fractions: &[f64]) {
        self.everywhere += 1;
        self.efficiency.resize(fractions.len(), 0.0);
        for (sum, fraction) in self.efficiency.iter_mut().zip(fractions) {
            *sum += fraction.ln();
        }
        self.portability += harmonic_mean(fractions).ln();
    }

    fn finish(self, devices: usize) -> FamilyPortability {
        let mean = |sum: f64| (self.everywhere > 0).then(|| (sum / self.everywhere as f64).exp());
        let efficiency = (0..devices).map(|device| mean(self.efficiency.get(device).copied().unwrap_or(0.0))).collect();
        FamilyPortability {
            everywhere: self.everywhere,
            not_everywhere: self.not_everywhere,
            efficiency,
            portability: mean(self.portability),
        }
    }
}

fn harmonic_mean(fractions: &[f64]) -> f64 {
    fractions.len() as f64 / fractions.iter().map(|fraction| 1.0 / fraction.min(1.0)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_an_id_without_its_variant() {
        let id = "attention/decode/split/f16/qwen3/decode/heads=4,kv_len=1024";
        assert_eq!(question_of(id), "attention/decode/*/f16/qwen3/decode/heads=4,kv_len=1024");
        assert_eq!(question_of("a stranger's id"), "a stranger's id");
    }

    #[test]
    fn portability_is_the_harmonic_mean_and_nothing_counts_as_more_than_whole() {
        assert!((harmonic_mean(&[0.5, 0.25]) - 1.0 / 3.0).abs() < 1e-12);
        assert!((harmonic_mean(&[1.4, 1.0]) - 1.0).abs() < 1e-12);
        assert_eq!(harmonic_mean(&[0.0, 1.0]), 0.0);
    }
}
