//! What a fleet document says in words: outliers, ranks that lack, transfers.

use crate::kernels::KernelPhase;
use crate::record::{
    CollectiveTime, DeviceOutlier, FleetNetwork, FleetRecord, OutlierCriterion, OutlierSubject, PairTime, SlowCause,
    TransferTiming,
};
use crate::report::numbers::percent;
use crate::report::text::clean;
use crate::report::words;
use crate::units::{Bytes, BytesPerSecond, Seconds};

/// An outlier as a sentence, e.g. `rank 17 on node03 is 9.0 % slower in decode attention: clocks`.
pub(super) fn outlier(fleet: &FleetRecord, outlier: &DeviceOutlier) -> String {
    let (rank, ratio) = (outlier.rank, outlier.time_ratio);
    let (share, word) = if ratio >= 1.0 { (ratio - 1.0, "slower") } else { (1.0 - ratio, "faster") };
    let host = clean(fleet.host_of(rank));
    let cause = cause(outlier.cause).map_or(String::new(), |cause| format!(": {cause}"));
    format!("rank {rank} on {host} is {} {word} in {}{cause}", percent(share), subject(outlier.subject))
}

/// In what a device differs.
fn subject(subject: OutlierSubject) -> String {
    match subject {
        OutlierSubject::Kernels { family, phase } => {
            let phase = if phase == KernelPhase::Prefill { "prefill" } else { "decode" };
            let family = words::family(family);
            // Only a word in capitals stays as it is.
            let family = if family.starts_with("MoE") { family.to_owned() } else { family.to_lowercase() };
            format!("{phase} {family}")
        }
        OutlierSubject::Ceiling { ceiling } => format!("its ceiling of {}", words::ceiling(ceiling)),
    }
}

/// Why, where the record tells.
fn cause(cause: SlowCause) -> Option<&'static str> {
    match cause {
        SlowCause::Clocks => Some("clocks (its arithmetic ceiling differs as much, its memory does not)"),
        SlowCause::Memory => Some("memory (its bandwidth differs as much, its arithmetic does not)"),
        SlowCause::Device => Some("the whole device (its ceilings differ as much)"),
        SlowCause::Neighbours => Some("neighbours (measured alone it does not differ as much)"),
        SlowCause::Variant => Some("another variant was chosen on it"),
        SlowCause::Unknown => None,
    }
}

/// When a device counts as an outlier.
pub(super) fn criterion(criterion: &OutlierCriterion) -> String {
    format!(
        "An outlier is at least {} from the median of all ranks, with a modified z-score (by MAD) of at least {}",
        percent(criterion.least_share),
        criterion.least_score
    )
}

/// Which ranks lack something, e.g. `2 of 8 ranks lack a complete record: 3, 5`; `None` where none does.
pub(super) fn lacking(fleet: &FleetRecord) -> Option<String> {
    /// More are counted, not named.
    const MOST_NAMED: usize = 20;
    let lacking = fleet.lacking();
    if lacking.is_empty() {
        return None;
    }
    let named: Vec<String> = lacking.iter().take(MOST_NAMED).map(u32::to_string).collect();
    let more = if lacking.len() > MOST_NAMED { ", ..." } else { "" };
    Some(format!("{} of {} ranks lack a complete record: {}{more}", lacking.len(), fleet.plan.ranks, named.join(", ")))
}

/// Pairs of ranks by whether they share a computer: what a small message takes, and what a large one reaches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairSummary {
    /// Inside a computer, or between two.
    pub(super) where_: &'static str,
    /// Pairs.
    pub(super) pairs: usize,
    /// Fastest, median and slowest time of the smallest message.
    pub(super) latency: [Seconds; 3],
    /// Lowest, median and highest rate of the largest message.
    pub(super) rate: [BytesPerSecond; 3],
    /// Sizes of the two.
    pub(super) sizes: [Bytes; 2],
}

/// Pairs inside a computer and between computers; what has no pair is left out.
pub(super) fn pairs(fleet: &FleetRecord, network: &FleetNetwork) -> Vec<PairSummary> {
    let host = |rank| fleet.rank(rank).map(|rank| rank.host);
    let sides = [("inside a computer", true), ("between computers", false)];
    let of = |(name, inside): (&'static str, bool)| {
        let own: Vec<&PairTime> =
            network.pairs.iter().filter(|pair| (host(pair.from) == host(pair.to)) == inside).collect();
        let (least, most) = (own.iter().map(|pair| pair.bytes).min()?, own.iter().map(|pair| pair.bytes).max()?);
        let times =
            |bytes: u64| own.iter().filter(move |pair| pair.bytes == bytes).map(|pair| pair.timing.median_s.get());
        let latency = three(times(least))?.map(Seconds::new);
        let rate = three(times(most).map(|time| most as f64 / time))?.map(BytesPerSecond::new);
        let sizes = [Bytes::new(least as f64), Bytes::new(most as f64)];
        Some(PairSummary { where_: name, pairs: times(least).count(), latency, rate, sizes })
    };
    sides.into_iter().filter_map(of).collect()
}

/// The least, the median and the largest of some numbers.
fn three(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    Some([*sorted.first()?, crate::statistics::median(&sorted)?, *sorted.last()?])
}

/// A collective's name, with its tokens where it has some.
pub(super) fn collective(time: &CollectiveTime) -> String {
    let name = time.collective.name();
    match &time.traffic {
        Some(traffic) => format!("{name}, {} tokens per rank, {}", traffic.tokens, traffic.load.name()),
        None => name.to_owned(),
    }
}

/// Half the width of the median's interval, the wider side, over the median.
pub(super) fn half_interval(timing: &TransferTiming) -> String {
    let [low, high] = timing.ci95_s;
    format!("±{}", percent((high - timing.median_s).max(timing.median_s - low) / timing.median_s))
}
