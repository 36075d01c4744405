//! How evenly experts are visited: the load of the hottest rank over the mean.

use std::fmt;

use crate::specs::Moe;

/// How tokens spread over the experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExpertLoad {
    /// Real traffic after replication of hot experts: the hottest rank has [`RESIDUAL_SKEW`] of the mean.
    Replicated,
    /// Each expert is as likely as any other.
    Uniform,
    /// The expert at place i is visited in proportion to `i^-alpha`.
    Power(f64),
    /// Visits by expert, as counted: one number an expert, of any sum.
    Counted {
        /// By expert.
        visits: &'static [f64],
        /// Who counted, where that is known.
        source: Option<&'static str>,
    },
}

/// What replication of hot experts leaves: perfect balance would gain 18 % of prefill throughput, on CloudMatrix384 (6688
/// against 5655 tokens/s/chip, arXiv:2506.12708) as in SGLang on H100 (7417 against 6288), which a quarter more load of
/// the hottest rank brings about. Real traffic before replication has experts at 30 times the mean (arXiv:2508.02520).
pub const RESIDUAL_SKEW: f64 = 1.25;

impl fmt::Display for ExpertLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicated => {
                write!(f, "of real traffic after replication of hot experts ({RESIDUAL_SKEW} of the mean)")
            }
            Self::Uniform => f.write_str("uniform"),
            Self::Power(alpha) => write!(f, "power:{alpha}"),
            Self::Counted { visits, source: None } => write!(f, "counted over {} experts", visits.len()),
            Self::Counted { visits, source: Some(source) } => {
                write!(f, "counted over {} experts by {source}", visits.len())
            }
        }
    }
}

/// Load of the hottest of `ranks` over the mean, for `rows` routed rows a rank. Placement is as good as whole slots
/// allow: spare slots hold replicas of hot experts. On top comes chance: the largest of `ranks` Poisson variables,
/// `1 + sqrt(2 ln(ranks) / mean)` (Raab and Steger, 1998); never more than all of it.
pub fn hottest(load: ExpertLoad, moe: &Moe, ranks: f64, rows: f64) -> f64 {
    if rows <= 0.0 || ranks <= 1.0 {
        return 1.0;
    }
    let chance = 1.0 + (2.0 * ranks.ln() / rows).sqrt();
    let skew = match load {
        ExpertLoad::Replicated => RESIDUAL_SKEW,
        ExpertLoad::Uniform => 1.0,
        ExpertLoad::Power(alpha) => {
            let shares: Vec<f64> = (1..=moe.experts).map(|place| (place as f64).powf(-alpha)).collect();
            placed(&shares, moe, ranks)
        }
        ExpertLoad::Counted { visits, .. } => placed(visits, moe, ranks),
    };
    (chance * skew).min(ranks)
}

/// The smallest share a slot that all slots together can carry, times the ranks: what the hottest rank has over the
/// mean, where one slot of its own holds part of the hottest expert.
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

    #[test]
    fn even_counts_are_as_good_as_uniform() {
        let even: &'static [f64] = Box::leak(vec![3.0; 256].into_boxed_slice());
        let (uniform, counted) = (
            hottest(ExpertLoad::Uniform, &moe(), 256.0, 1000.0),
            hottest(ExpertLoad::Counted { visits: even, source: None }, &moe(), 256.0, 1000.0),
        );
        assert!((uniform - counted).abs() < 1e-6);
        assert!((hottest(ExpertLoad::Power(0.0), &moe(), 64.0, 1e12) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn skew_grows_with_the_exponent_and_shrinks_with_spare_slots() {
        let at = |alpha, ranks| hottest(ExpertLoad::Power(alpha), &moe(), ranks, 1e6);
        assert!(at(1.0, 256.0) > at(0.5, 256.0) && at(0.5, 256.0) > at(0.0, 256.0));
        assert!(at(1.0, 320.0) < at(1.0, 256.0));
    }
}
