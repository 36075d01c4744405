//! How tokens spread over the experts, and how much load the hottest rank has over the mean.

use std::fmt;
use std::sync::Arc;

use crate::specs::Moe;

/// The steepest power law that a flag may ask for.
const STEEPEST: f64 = 20.0;

/// How tokens spread over the experts.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpertLoad {
    /// Real traffic after replication of hot experts: the hottest rank has [`RESIDUAL_SKEW`] of the mean.
    Replicated,
    /// Each expert is as likely as any other.
    Uniform,
    /// The expert at place `i` of an order is visited in proportion to `i^-exponent`.
    PowerLaw {
        /// 0 is uniform; 0.6 to 1.2 are common.
        exponent: f64,
        /// Seed of the order. It says which expert is hot, not how hot.
        seed: u64,
    },
    /// Visits as counted.
    Counted {
        /// One count per expert, of any sum.
        visits: Arc<[f64]>,
        /// Who counted, where that is known.
        source: Option<Arc<str>>,
    },
}

/// Load of the hottest rank over the mean that replication of hot experts leaves. Perfect balance would gain 18 % of
/// prefill throughput: on CloudMatrix384 6688 against 5655 tokens/s/chip (arXiv:2506.12708), in SGLang on H100 7417
/// against 6288. A hottest rank with a quarter more load costs as much. Before replication, experts reach 30 times the
/// mean (arXiv:2508.02520).
pub const RESIDUAL_SKEW: f64 = 1.25;

impl ExpertLoad {
    /// The load that a flag names: `replicated`, `uniform` or `power:EXPONENT`, whose order of experts is drawn from
    /// `seed`. `None` for any other text, which may be the path of a file with counts.
    ///
    /// # Errors
    /// One line: the exponent is no number from 0 to 20.
    pub fn named(text: &str, seed: u64) -> Result<Option<Self>, String> {
        let Some(exponent) = text.strip_prefix("power:") else {
            return Ok(match text {
                "replicated" => Some(Self::Replicated),
                "uniform" => Some(Self::Uniform),
                _ => None,
            });
        };
        let exponent: f64 = exponent.parse().map_err(|_| "not a number".to_owned())?;
        // A NaN is in no range.
        if !(0.0..=STEEPEST).contains(&exponent) {
            return Err(format!("give a number from 0 to {STEEPEST}"));
        }
        Ok(Some(Self::PowerLaw { exponent, seed }))
    }

    /// Counts by expert, and who counted them.
    pub fn counted(visits: Vec<f64>, source: Option<String>) -> Self {
        Self::Counted { visits: visits.into(), source: source.map(Into::into) }
    }
}

impl fmt::Display for ExpertLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicated => {
                write!(f, "of real traffic after replication of hot experts ({RESIDUAL_SKEW} of the mean)")
            }
            Self::Uniform => f.write_str("uniform"),
            Self::PowerLaw { exponent, .. } => write!(f, "power:{exponent}"),
            Self::Counted { visits, source: None } => write!(f, "counted over {} experts", visits.len()),
            Self::Counted { visits, source: Some(source) } => {
                write!(f, "counted over {} experts by {source}", visits.len())
            }
        }
    }
}

/// Load of the hottest of `ranks` over the mean, for `rows` routed rows per rank: `skew * chance`, at most `ranks`.
///
/// - `skew`: what the load leaves where placement is as good as whole slots allow. Spare slots hold replicas of hot
///   experts.
/// - `chance = 1 + sqrt(2 ln(ranks) / rows)`: the largest of `ranks` Poisson variables (Raab and Steger, 1998).
pub fn hottest(load: &ExpertLoad, moe: &Moe, ranks: f64, rows: f64) -> f64 {
    if rows <= 0.0 || ranks <= 1.0 {
        return 1.0;
    }
    let chance = 1.0 + (2.0 * ranks.ln() / rows).sqrt();
    let skew = match load {
        ExpertLoad::Replicated => RESIDUAL_SKEW,
        ExpertLoad::Uniform => 1.0,
        ExpertLoad::PowerLaw { exponent, .. } => {
            let shares: Vec<f64> = (1..=moe.experts).map(|place| (place as f64).powf(-exponent)).collect();
            placed(&shares, moe, ranks)
        }
        ExpertLoad::Counted { visits, .. } => placed(visits, moe, ranks),
    };
    (chance * skew).min(ranks)
}

/// Skew of placed experts: `ranks * share`, where `share` is the smallest load per slot at which all experts and their
/// replicas fit into the slots. Found by bisection.
fn placed(shares: &[f64], moe: &Moe, ranks: f64) -> f64 {
    let total: f64 = shares.iter().sum();
    if total <= 0.0 {
        return 1.0;
    }
    let slots = (moe.experts as f64 / ranks).ceil() * ranks;
    let largest = shares.iter().copied().fold(0.0, f64::max) / total;
    let fits = |most: f64| shares.iter().map(|share| (share / total / most).ceil().max(1.0)).sum::<f64>() <= slots;
    let (mut low, mut high) = (1.0 / slots, largest);
    if !fits(high) {
        return (largest * ranks).max(1.0);
    }
    for _ in 0..24 {
        let middle = f64::midpoint(low, high);
        if fits(middle) { high = middle } else { low = middle }
    }
    (high * ranks).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specs::Model;

    fn moe() -> Moe {
        Model::load("deepseek-v3").unwrap().moe.unwrap()
    }

    fn power(exponent: f64) -> ExpertLoad {
        ExpertLoad::PowerLaw { exponent, seed: 0 }
    }

    #[test]
    fn a_flag_names_a_load_or_a_file() {
        let named = |text| ExpertLoad::named(text, 3);
        assert_eq!(named("replicated"), Ok(Some(ExpertLoad::Replicated)));
        assert_eq!(named("power:0.5"), Ok(Some(ExpertLoad::PowerLaw { exponent: 0.5, seed: 3 })));
        assert_eq!(named("counts.json"), Ok(None));
        for text in ["power:", "power:x", "power:-1", "power:21", "power:nan"] {
            assert!(named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn even_counts_are_as_good_as_uniform() {
        let uniform = hottest(&ExpertLoad::Uniform, &moe(), 256.0, 1000.0);
        let counted = hottest(&ExpertLoad::counted(vec![3.0; 256], None), &moe(), 256.0, 1000.0);
        assert!((uniform - counted).abs() < 1e-6);
        assert!((hottest(&power(0.0), &moe(), 64.0, 1e12) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn skew_grows_with_the_exponent_and_shrinks_with_spare_slots() {
        let at = |alpha, ranks| hottest(&power(alpha), &moe(), ranks, 1e6);
        assert!(at(1.0, 256.0) > at(0.5, 256.0) && at(0.5, 256.0) > at(0.0, 256.0));
        assert!(at(1.0, 320.0) < at(1.0, 256.0));
    }
}
