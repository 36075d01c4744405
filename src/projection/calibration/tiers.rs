//! The tiers of a network from the times of messages between pairs of ranks: who shares a node, who a switch.
//!
//! - The distance of two ranks is `ln(time of the smallest message) + ln(time of the largest)`, so that a tier shows whether
//!   it differs in latency or in bandwidth.
//! - Ranks are joined by single linkage (Sneath and Sokal, Numerical Taxonomy, 1973): the nearest pair first. The distances
//!   at which groups join are sorted already.
//! - A gap between two of them parts two tiers where it is at least [`GapCriterion::least_factor`] as a ratio of times, and
//!   four times the samples' own uncertainty.
//! - A gap that leaves fewer than two groups of several ranks is no tier: a rank apart from all others is slow, and no node.

use serde::Serialize;

use crate::projection::calibration::least_squares::minimise;
use crate::statistics::{median, quantile};

/// A gap must be this many times the uncertainty of a distance.
const TIMES_THE_NOISE: f64 = 4.0;
/// The least ratio of the products of times that parts two tiers.
const LEAST_FACTOR: f64 = 1.5;
/// The least share of the largest message's time that its bytes take: less cannot be told from nothing.
const UNSEEN: f64 = 0.01;
/// The band of a tier's values holds this share of its pairs on each side.
const TAIL: f64 = 0.05;

/// Time of a message between two ranks, one way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairPoint {
    /// The ranks.
    pub ranks: [usize; 2],
    /// Size of the message.
    pub bytes: f64,
    /// Median time.
    pub time_s: f64,
    /// 95 % confidence interval of the median.
    pub ci_s: [f64; 2],
}

/// What parts two tiers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GapCriterion {
    /// The least ratio of `time of the smallest message x time of the largest`.
    pub least_factor: f64,
    /// The typical uncertainty of a distance, as a share: half of the widths of both confidence intervals.
    pub noise: f64,
}

/// A fitted value, and the values of 90 % of the pairs at both ends of their confidence intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairEstimate {
    /// Fitted on the medians over the pairs.
    pub value: f64,
    /// From the 5 % to the 95 % quantile.
    pub band: [f64; 2],
}

/// A tier of the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundTier {
    /// The ranks that it joins, a list for each of its groups.
    pub groups: Vec<Vec<usize>>,
    /// Pairs whose innermost common tier it is.
    pub pairs: usize,
    /// Time of a message without bytes, software included, in seconds.
    pub latency_s: PairEstimate,
    /// Bytes per second and direction, as one message between two ranks reaches it.
    pub bandwidth_bytes_per_s: PairEstimate,
    /// The next tier's time over this one's, as [`GapCriterion::least_factor`] counts it; absent for the outermost.
    pub gap: Option<f64>,
}

impl FoundTier {
    /// Ranks of its largest group.
    pub fn ranks(&self) -> usize {
        self.groups.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// The tiers of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundTiers {
    /// From the innermost outwards; the outermost joins all ranks.
    pub tiers: Vec<FoundTier>,
    /// What parted them.
    pub criterion: GapCriterion,
    /// Ranks that a gap parts from all others, and that are in no node of their own for that.
    pub apart: Vec<usize>,
}

/// Why no tiers were found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// Fewer than two ranks or sizes.
    #[error("give pairs of at least two ranks with messages of at least two sizes; measure the network again")]
    Few,
    /// No way between two parts of the fleet.
    #[error("no measured pair leads from rank 0 to rank {0}; measure the network of all ranks in one run")]
    Parted(usize),
    /// A time that no message can have.
    #[error("ranks {0} and {1}: a time or size that cannot be; measure the network again")]
    Value(usize, usize),
}

/// A pair with its times, ascending by size.
struct Pair {
    ranks: [usize; 2],
    points: Vec<PairPoint>,
    distance: f64,
    noise: f64,
}

/// Finds the tiers of `ranks` ranks.
///
/// # Errors
/// [`TierError`].
pub fn find_tiers(ranks: usize, points: &[PairPoint]) -> Result<FoundTiers, TierError> {
    let pairs = pairs(ranks, points)?;
    let mut noises: Vec<f64> = pairs.iter().map(|pair| pair.noise).collect();
    noises.sort_by(f64::total_cmp);
    let criterion = GapCriterion { least_factor: LEAST_FACTOR, noise: median(&noises).unwrap_or(0.0) };
    let least_gap = LEAST_FACTOR.ln().max(TIMES_THE_NOISE * criterion.noise);
    let joins = single_linkage(ranks, &pairs)?;
    let mut cuts: Vec<(Vec<usize>, Option<f64>)> = Vec::new();
    let mut apart = Vec::new();
    for (place, step) in joins.windows(2).enumerate() {
        let [before, after] = step else { continue };
        let gap = after.distance - before.distance;
        if gap < least_gap {
            continue;
        }
        let groups = groups_after(ranks, &joins[..=place]);
        let sizes = sizes(&groups);
        if sizes.iter().filter(|size| **size > 1).count() < 2 {
            apart.extend((0..ranks).filter(|rank| sizes[groups[*rank]] == 1));
            continue;
        }
        // A slow rank that joins its node late leaves the node's size as it was: the later cut has it inside.
        let largest = sizes.iter().max();
        cuts.retain(|(groups, _)| self::sizes(groups).iter().max() != largest);
        cuts.push((groups, Some(gap.exp())));
    }
    cuts.push((vec![0; ranks], None));
    apart.sort_unstable();
    apart.dedup();
    let tiers = tiers(&cuts, &pairs);
    apart.retain(|rank| {
        !tiers.iter().rev().skip(1).any(|tier| tier.groups.iter().any(|group| group.len() > 1 && group.contains(rank)))
    });
    Ok(FoundTiers { tiers, criterion, apart })
}

/// The points by pair, checked.
fn pairs(ranks: usize, points: &[PairPoint]) -> Result<Vec<Pair>, TierError> {
    let mut by_pair: std::collections::BTreeMap<[usize; 2], Vec<PairPoint>> = std::collections::BTreeMap::new();
    for point in points {
        let [a, b] = point.ranks;
        let good = |value: f64| value.is_finite() && value > 0.0;
        if a == b
            || a.max(b) >= ranks
            || !good(point.bytes)
            || ![point.time_s, point.ci_s[0], point.ci_s[1]].into_iter().all(good)
        {
            return Err(TierError::Value(a, b));
        }
        by_pair.entry([a.min(b), a.max(b)]).or_default().push(*point);
    }
    let pairs = by_pair.into_iter().filter_map(|(ranks, mut points)| {
        points.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
        let (first, last) = (*points.first()?, *points.last()?);
        let noise = |point: PairPoint| (point.ci_s[1] - point.ci_s[0]) / point.time_s / 2.0;
        let several = first.bytes < last.bytes;
        several.then(|| Pair {
            ranks,
            distance: first.time_s.ln() + last.time_s.ln(),
            noise: noise(first) + noise(last),
            points,
        })
    });
    let pairs: Vec<Pair> = pairs.collect();
    if ranks < 2 || pairs.is_empty() { Err(TierError::Few) } else { Ok(pairs) }
}

/// Two groups that become one.
struct Join {
    ranks: [usize; 2],
    distance: f64,
}

/// The joins, the nearest first: the edges of a minimum spanning tree, by Kruskal's algorithm.
fn single_linkage(ranks: usize, pairs: &[Pair]) -> Result<Vec<Join>, TierError> {
    let mut order: Vec<&Pair> = pairs.iter().collect();
    order.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    let mut groups: Vec<usize> = (0..ranks).collect();
    let mut joins = Vec::new();
    for pair in order {
        let [a, b] = pair.ranks.map(|rank| groups[rank]);
        if a != b {
            groups.iter_mut().filter(|group| **group == b).for_each(|group| *group = a);
            joins.push(Join { ranks: pair.ranks, distance: pair.distance });
        }
    }
    match groups.iter().position(|group| *group != groups[0]) {
        Some(rank) => Err(TierError::Parted(rank)),
        None => Ok(joins),
    }
}

/// The group of each rank after some joins, numbered from 0 in the order of the ranks.
fn groups_after(ranks: usize, joins: &[Join]) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..ranks).collect();
    for join in joins {
        let [a, b] = join.ranks.map(|rank| groups[rank]);
        let (kept, gone) = (a.min(b), a.max(b));
        groups.iter_mut().filter(|group| **group == gone).for_each(|group| *group = kept);
    }
    let mut names = groups.clone();
    names.sort_unstable();
    names.dedup();
    groups.iter().map(|group| names.binary_search(group).unwrap_or(0)).collect()
}

/// Ranks of each group.
fn sizes(groups: &[usize]) -> Vec<usize> {
    let mut sizes = vec![0; groups.iter().max().map_or(0, |most| most + 1)];
    groups.iter().for_each(|group| sizes[*group] += 1);
    sizes
}

/// Each tier with the pairs that have it as their innermost.
fn tiers(cuts: &[(Vec<usize>, Option<f64>)], pairs: &[Pair]) -> Vec<FoundTier> {
    let place = |pair: &Pair| cuts.iter().position(|(groups, _)| groups[pair.ranks[0]] == groups[pair.ranks[1]]);
    let mut tiers = Vec::new();
    for (number, (groups, gap)) in cuts.iter().enumerate() {
        let own: Vec<&Pair> = pairs.iter().filter(|pair| place(pair) == Some(number)).collect();
        let mut members = vec![Vec::new(); sizes(groups).len()];
        groups.iter().enumerate().for_each(|(rank, group)| members[*group].push(rank));
        let [latency_s, bandwidth_bytes_per_s] = estimates(&own);
        tiers.push(FoundTier { groups: members, pairs: own.len(), latency_s, bandwidth_bytes_per_s, gap: *gap });
    }
    tiers
}

/// Latency and bandwidth of some pairs.
fn estimates(pairs: &[&Pair]) -> [PairEstimate; 2] {
    let mut by_size: std::collections::BTreeMap<u64, Vec<f64>> = std::collections::BTreeMap::new();
    for point in pairs.iter().flat_map(|pair| &pair.points) {
        by_size.entry(point.bytes.to_bits()).or_default().push(point.time_s);
    }
    let medians = by_size.into_iter().filter_map(|(bytes, mut times)| {
        times.sort_by(f64::total_cmp);
        Some((f64::from_bits(bytes), median(&times)?))
    });
    let values = line(&medians.collect::<Vec<_>>());
    let ends = pairs.iter().flat_map(|pair| {
        let of = |time: fn(&PairPoint) -> f64| {
            line(&pair.points.iter().map(|point| (point.bytes, time(point))).collect::<Vec<_>>())
        };
        [of(|point| point.time_s), of(|point| point.ci_s[0]), of(|point| point.ci_s[1])]
    });
    let ends: Vec<[f64; 2]> = ends.collect();
    [0, 1].map(|which| {
        let mut list: Vec<f64> = ends.iter().map(|pair| pair[which]).collect();
        list.sort_by(f64::total_cmp);
        let value = values[which];
        let end = |share| quantile(&list, share).unwrap_or(value);
        PairEstimate { value, band: [end(TAIL).min(value), end(1.0 - TAIL).max(value)] }
    })
}

/// A fit by least squares of the logarithms of times.
struct Line {
    latency_s: f64,
    s_per_byte: f64,
    /// Sum of the squared residuals.
    misfit: f64,
}

/// Larger messages ask before they are sent only where that leaves this share of the misfit, or less.
const ASKING: f64 = 0.25;
/// A misfit that samples have anyway.
const SMALL_MISFIT: f64 = 1e-4;

/// Latency and bandwidth of `time = latency + bytes / bandwidth`. MPI libraries ask the receiver before they send a large message:
/// where sizes show it, messages above a limit have a further constant. Where times do not grow with the size, the bandwidth is one
/// whose transfer nobody would see.
fn line(points: &[(f64, f64)]) -> [f64; 2] {
    let Some(last) = points.last() else { return [0.0, 1.0] };
    let plain = fitted(points, f64::INFINITY);
    let limits = points.iter().take(points.len().saturating_sub(2)).map(|(bytes, _)| *bytes);
    let asking = limits.map(|limit| fitted(points, limit)).min_by(|a, b| a.misfit.total_cmp(&b.misfit));
    let asks = |one: &Line| plain.misfit > SMALL_MISFIT && one.misfit < ASKING * plain.misfit;
    let chosen = asking.filter(asks).unwrap_or(plain);
    [chosen.latency_s, 1.0 / chosen.s_per_byte.max(UNSEEN * last.1 / last.0)]
}

/// The fit where messages above `limit` bytes have a further constant.
fn fitted(points: &[(f64, f64)], limit: f64) -> Line {
    let (Some(first), [.., last]) = (points.first(), points) else {
        return Line { latency_s: 0.0, s_per_byte: 1.0, misfit: f64::INFINITY };
    };
    let above = points.iter().find(|(bytes, _)| *bytes > limit);
    // Of two sizes above the limit, the difference is the way of the bytes alone.
    let slope = above.map_or(last.1 / last.0, |above| (last.1 - above.1) / (last.0 - above.0)).max(f64::MIN_POSITIVE);
    let asking = above.map(|above| (above.1 - first.1 - slope * above.0).max(0.0));
    let start: Vec<f64> = [first.1, slope].into_iter().chain(asking).collect();
    let residuals = |values: &[f64]| -> Result<Vec<f64>, std::convert::Infallible> {
        let further = values.get(2).map_or(0.0, |further| further.max(0.0));
        let time = |bytes: f64| values[0] + values[1] * bytes + if bytes > limit { further } else { 0.0 };
        Ok(points.iter().map(|(bytes, measured)| (time(*bytes).max(1e-15) / measured).ln()).collect())
    };
    let Ok(values) = minimise(&residuals, &start, &vec![f64::INFINITY; start.len()]);
    let Ok(left) = residuals(&values);
    Line { latency_s: values[0], s_per_byte: values[1], misfit: left.iter().map(|one| one * one).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_asks_before_it_sends_large_messages_hides_no_bandwidth() {
        // Measured over a link of 2 ms and 50 MB/s with OpenMPI, whose limit lies between 4 and 64 KiB.
        let asking = [(8.0, 2.062e-3), (4096.0, 2.151e-3), (65536.0, 7.525e-3), (1_048_576.0, 27.468e-3)];
        let [latency_s, bandwidth] = line(&asking);
        assert!((latency_s / 2e-3 - 1.0).abs() < 0.05, "{latency_s}");
        assert!((bandwidth / 50e6 - 1.0).abs() < 0.05, "{bandwidth}");
    }

    #[test]
    fn a_line_without_such_a_limit_is_taken_as_it_is() {
        let noise = [1.03, 0.97, 1.04, 0.96, 1.02];
        let sizes = [8.0, 1024.0, 16384.0, 262_144.0, 4_194_304.0];
        let points: Vec<(f64, f64)> =
            sizes.iter().zip(noise).map(|(bytes, noise)| (*bytes, (20e-6 + bytes / 1.25e9) * noise)).collect();
        let [latency_s, bandwidth] = line(&points);
        assert!(
            (latency_s / 20e-6 - 1.0).abs() < 0.1 && (bandwidth / 1.25e9 - 1.0).abs() < 0.1,
            "{latency_s} {bandwidth}"
        );
    }
}
