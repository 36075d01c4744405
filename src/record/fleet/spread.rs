//! How far the devices of a fleet are apart, and which of them differ from the others.

use std::collections::{BTreeMap, BTreeSet};

use super::super::case::Case;
use super::super::ceiling::{CeilingKind, Quantity};
use super::super::document::Record;
use super::document::{FleetRank, FleetRecord};
use super::outlier::{CaseSpread, DeviceOutlier, OutlierCriterion, OutlierSubject, RankTime, SlowCause};
use crate::statistics::median;
use crate::units::Seconds;

/// The least deviation that scores divide by, as a share of the median: clocks and samples know no better.
const LEAST_DEVIATION: f64 = 0.005;
/// A MAD of normally distributed values is this much of their standard deviation (Iglewicz and Hoaglin, How to Detect and
/// Handle Outliers, 1993), so the score below counts standard deviations.
const MAD_OF_NORMAL: f64 = 0.6745;
/// A cause explains an outlier where it is at least this share of what the outlier lacks.
const SHARE_OF_CAUSE: f64 = 0.5;

impl FleetRecord {
    /// By rank, the time of its device over the median of all devices: the median over all cases. A rank without a case has
    /// none.
    pub fn time_ratios(&self) -> BTreeMap<u32, f64> {
        overall(&self.ranks)
    }

    /// The rank whose device is nearest to the median of all; `None` where no rank has a case.
    pub fn typical(&self) -> Option<&FleetRank> {
        let ratios = self.time_ratios();
        let distance = |ratio: &f64| ratio.ln().abs();
        let nearest = ratios.iter().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))?;
        self.rank(*nearest.0)
    }

    /// The same document with spread, outliers and completeness as its records give them.
    pub fn worked_out(mut self) -> Self {
        self.spread = spread(&self.ranks);
        self.outliers = outliers(&self.ranks, &self.criterion);
        self.complete = self.lacking().is_empty() && (self.network.is_some() || !self.plan.network);
        self
    }
}

/// The spread of each case, in the order of measurement.
fn spread(ranks: &[FleetRank]) -> Vec<CaseSpread> {
    let mut order = Vec::new();
    let mut times: BTreeMap<&str, Vec<RankTime>> = BTreeMap::new();
    for (rank, case) in cases(ranks) {
        let found = times.entry(&case.id).or_insert_with(|| {
            order.push(case.id.as_str());
            Vec::new()
        });
        found.push(RankTime { rank: rank.rank, median_s: case.timing.median_s });
    }
    let over_alone = over_alone(ranks);
    order.into_iter().filter_map(|id| of_case(id, times.get(id)?, over_alone.get(id).copied())).collect()
}

fn of_case(id: &str, times: &[RankTime], together_over_alone: Option<f64>) -> Option<CaseSpread> {
    let by_time = |a: &&RankTime, b: &&RankTime| a.median_s.get().total_cmp(&b.median_s.get());
    let Centre { median, mad } = Centre::of(times.iter().map(|time| time.median_s.get()))?;
    Some(CaseSpread {
        id: id.to_owned(),
        ranks: u32::try_from(times.len()).ok()?,
        median_s: Seconds::new(median),
        mad_s: Seconds::new(mad),
        fastest: *times.iter().min_by(by_time)?,
        slowest: *times.iter().max_by(by_time)?,
        together_over_alone,
    })
}

/// By rank, its time over the median of all ranks: the median over all cases that it measured.
fn overall(ranks: &[FleetRank]) -> BTreeMap<u32, f64> {
    let medians: BTreeMap<String, f64> = spread(ranks).into_iter().map(|case| (case.id, case.median_s.get())).collect();
    let mut ratios: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (rank, case) in cases(ranks) {
        if let Some(median) = medians.get(&case.id) {
            ratios.entry(rank.rank).or_default().push(case.timing.median_s.get() / median);
        }
    }
    let middle = |(rank, found): (u32, Vec<f64>)| Some((rank, Centre::of(found.into_iter())?.median));
    ratios.into_iter().filter_map(middle).collect()
}

/// By case, the median over the ranks of the time among neighbours over the time alone.
fn over_alone(ranks: &[FleetRank]) -> BTreeMap<&str, f64> {
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (rank, case) in cases(ranks) {
        let alone = rank.alone.as_ref().and_then(|alone| alone.case(&case.id));
        if let Some(alone) = alone {
            ratios.entry(&case.id).or_default().push(case.timing.median_s / alone.timing.median_s);
        }
    }
    let middle = |ratios: Vec<f64>| Centre::of(ratios.into_iter()).map(|centre| centre.median);
    ratios.into_iter().filter_map(|(id, found)| Some((id, middle(found)?))).collect()
}

fn cases(ranks: &[FleetRank]) -> impl Iterator<Item = (&FleetRank, &Case)> {
    ranks.iter().filter_map(of_rank).flat_map(|(rank, record)| record.cases.iter().map(move |case| (rank, case)))
}

fn of_rank(rank: &FleetRank) -> Option<(&FleetRank, &Record)> {
    Some((rank, rank.record.as_ref()?))
}

/// The devices that differ from the others, the farthest first.
fn outliers(ranks: &[FleetRank], criterion: &OutlierCriterion) -> Vec<DeviceOutlier> {
    let whole = Ratios::between(ranks, |rank| rank.record.as_ref());
    let alone = Ratios::between(ranks, |rank| rank.alone.as_ref());
    let mut found = Vec::new();
    for (subject, ratios) in &whole.by_subject {
        if (ratios.len() as u64) < u64::from(criterion.fewest_ranks) {
            continue;
        }
        let Some(Centre { median, mad }) = Centre::of(ratios.values().copied()) else { continue };
        for (&rank, &ratio) in ratios {
            let share = (ratio / median - 1.0).abs();
            let score = MAD_OF_NORMAL * share / (mad / median).max(LEAST_DEVIATION);
            if share >= criterion.least_share && score >= criterion.least_score {
                let cause = cause(rank, *subject, ratio / median, &whole, &alone, ranks);
                found.push(DeviceOutlier { rank, subject: *subject, time_ratio: ratio / median, score, cause });
            }
        }
    }
    let distance = |outlier: &DeviceOutlier| outlier.time_ratio.ln().abs();
    found.sort_by(|a, b| distance(b).total_cmp(&distance(a)).then(a.rank.cmp(&b.rank)));
    found
}

/// The cause that explains at least half of what the rank lacks, from its roofs, its time alone and its variants.
fn cause(
    rank: u32,
    subject: OutlierSubject,
    time_ratio: f64,
    whole: &Ratios,
    alone: &Ratios,
    ranks: &[FleetRank],
) -> SlowCause {
    let lacks = time_ratio.ln();
    let explains = |ratio: Option<f64>| ratio.is_some_and(|ratio| ratio.ln() / lacks >= SHARE_OF_CAUSE);
    let family = match subject {
        OutlierSubject::Kernels { .. } => subject,
        // A roof has no cause below it.
        OutlierSubject::Ceiling { .. } => return SlowCause::Unknown,
    };
    if alone.of(rank, family).is_some_and(|ratio| !explains(Some(ratio))) {
        return SlowCause::Neighbours;
    }
    let roof = |ceiling| explains(whole.of(rank, OutlierSubject::Ceiling { ceiling }));
    match (roof(CeilingKind::FmaF32), roof(CeilingKind::MemoryRead)) {
        (true, true) => SlowCause::Device,
        (true, false) => SlowCause::Clocks,
        (false, true) => SlowCause::Memory,
        (false, false) if has_other_variants(rank, family, ranks) => SlowCause::Variant,
        (false, false) => SlowCause::Unknown,
    }
}

/// Whether most cases of the subject have another variant on this rank than on most ranks.
fn has_other_variants(rank: u32, subject: OutlierSubject, ranks: &[FleetRank]) -> bool {
    let mut votes: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for (_, case) in cases(ranks) {
        *votes.entry(&case.id).or_default().entry(&case.variant).or_default() += 1;
    }
    let usual =
        |case: &Case| votes.get(case.id.as_str())?.iter().max_by_key(|(_, count)| **count).map(|(name, _)| *name);
    let own = cases(ranks).filter(|(one, case)| one.rank == rank && subject_of(case) == subject);
    let (differ, all) = own.fold((0u32, 0u32), |(differ, all), (_, case)| {
        (differ + u32::from(usual(case).is_some_and(|name| name != case.variant)), all + 1)
    });
    differ * 2 > all
}

fn subject_of(case: &Case) -> OutlierSubject {
    OutlierSubject::Kernels { family: case.family, phase: case.phase }
}

/// Times over the median of all ranks, by subject and rank.
struct Ratios {
    by_subject: BTreeMap<OutlierSubject, BTreeMap<u32, f64>>,
}

impl Ratios {
    /// From one record per rank. A case counts where at least half of the ranks have it.
    fn between<'a>(ranks: &'a [FleetRank], record: impl Fn(&'a FleetRank) -> Option<&'a Record>) -> Self {
        let records: Vec<(u32, &Record)> = ranks.iter().filter_map(|rank| Some((rank.rank, record(rank)?))).collect();
        let mut times: BTreeMap<(OutlierSubject, &str), Vec<(u32, f64)>> = BTreeMap::new();
        for (rank, record) in &records {
            for case in &record.cases {
                times.entry((subject_of(case), &case.id)).or_default().push((*rank, case.timing.median_s.get()));
            }
            for (&ceiling, found) in &record.ceilings {
                // What a launch costs is the host's affair as much as the device's.
                if ceiling.quantity() != Quantity::Seconds {
                    let subject = OutlierSubject::Ceiling { ceiling };
                    times.entry((subject, "")).or_default().push((*rank, found.value.recip()));
                }
            }
        }
        let mut ratios: BTreeMap<OutlierSubject, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
        for ((subject, _), found) in &times {
            let Some(Centre { median, .. }) = Centre::of(found.iter().map(|(_, time)| *time)) else { continue };
            let distinct: BTreeSet<u32> = found.iter().map(|(rank, _)| *rank).collect();
            if distinct.len() * 2 < records.len() {
                continue;
            }
            for (rank, time) in found {
                ratios.entry(*subject).or_default().entry(*rank).or_default().push(time / median);
            }
        }
        let middle = |of: BTreeMap<u32, Vec<f64>>| -> BTreeMap<u32, f64> {
            of.into_iter().filter_map(|(rank, found)| Some((rank, Centre::of(found.into_iter())?.median))).collect()
        };
        Self { by_subject: ratios.into_iter().map(|(subject, of)| (subject, middle(of))).collect() }
    }

    fn of(&self, rank: u32, subject: OutlierSubject) -> Option<f64> {
        self.by_subject.get(&subject)?.get(&rank).copied()
    }
}

/// Median and MAD of some numbers.
struct Centre {
    median: f64,
    mad: f64,
}

impl Centre {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = median(&sorted)?;
        let mut deviations: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        Some(Self { median: middle, mad: median(&deviations)? })
    }
}
