//! A list schedule of layers over the lanes of a rank.
//!
//! One or two interleaved micro-batches are programs of nodes, taken from a list in a fixed order. Each moment of a
//! step counts as the compute that runs then, or as communication where nothing else runs. So the terms add up to the
//! step, and the schedule says how much of the communication is exposed.

use crate::projection::terms::TermTimes;

/// What runs one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// All cores, or those of the attention stream where two streams split them.
    Compute,
    /// The cores of the expert stream where two streams split them, or vector cores that work next to all others.
    Experts,
    /// The links.
    Fabric,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Self; 3] = [Self::Compute, Self::Experts, Self::Fabric];

    const fn index(self) -> usize {
        self as usize
    }
}

/// One value per lane, by [`Lane::index`].
type ByLane<T> = [T; Lane::ALL.len()];

/// One block of a layer, or one collective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Its name in a trace.
    pub name: &'static str,
    /// Its lane.
    pub lane: Lane,
    /// Its time by term.
    pub times: TermTimes,
    /// How many nodes back in the program the node is that it waits for; 1 is the one before.
    pub after: usize,
}

impl Node {
    /// A node that waits for the one before it.
    pub fn new(name: &'static str, lane: Lane, times: TermTimes) -> Self {
        Self { name, lane, times, after: 1 }
    }

    /// Its time, in seconds.
    pub fn time(&self) -> f64 {
        self.times.total()
    }
}

/// A node in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Which micro-batch.
    pub stream: usize,
    /// Which node, counted over the repetitions of the program.
    pub index: usize,
    /// Its lane.
    pub lane: Lane,
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
}

/// The steady state of a repeated layer: what one repetition adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Time of one layer for all interleaved micro-batches, in seconds.
    pub time: f64,
    /// The same by term.
    pub times: TermTimes,
    /// Nodes by which the second micro-batch is behind the first.
    pub lag: usize,
}

/// Layers that are laid out to find a steady state.
const REPEATS: usize = 6;
/// Layers before the measured window. The last layer, where the streams run dry, is outside of it too.
const WARM: usize = 2;
/// Layers in that window.
const LAYERS: f64 = (REPEATS - 1 - WARM) as f64;

/// One layer of one micro-batch.
pub fn alone(program: &[Node]) -> Period {
    if program.iter().all(|node| node.after <= 1) {
        let mut times = TermTimes::default();
        program.iter().for_each(|node| times.add_scaled(&node.times, 1.0));
        return Period { time: times.total(), times, lag: 1 };
    }
    let placed = place(program, 1, 1, 1);
    let end = placed.iter().map(|node| node.end).fold(0.0, f64::max);
    attribute(program, &placed, 0.0, end)
}

/// The best lag of two micro-batches: `(time of a layer in seconds, lag in nodes)`, or `None` if no lag takes less than
/// `at_most`.
///
/// The two go in a fixed order, one `lag` nodes behind the other. In a fixed order no node starts later if another is
/// faster; an order chosen on the way has anomalies (Graham, 1969). Only the ends of nodes are computed, not whole
/// layouts: a search spends most of its time on lags that lose.
pub fn best_lag(program: &[Node], at_most: f64) -> Option<(f64, usize)> {
    let times: Vec<f64> = program.iter().map(Node::time).collect();
    let bound = least_period(program, &times, 2);
    if bound >= at_most {
        return None;
    }
    let mut ends = vec![0.0; 2 * program.len() * REPEATS];
    let mut best: Option<(f64, usize)> = None;
    // A lag of half a layer often reaches the bound, which ends the search.
    let half = program.len() / 2;
    let lags = (half.max(1)..program.len().max(2)).chain((1..half).rev());
    for lag in lags {
        let time = window_time(program, &times, lag, &mut ends) / LAYERS;
        if best.is_none_or(|(least, _)| time < least) {
            best = Some((time, lag));
        }
        if time <= bound * (1.0 + 1e-12) {
            break;
        }
    }
    best.filter(|(time, _)| *time < at_most)
}

/// A time that no order of `streams` micro-batches takes less than, in seconds.
pub fn least_time(program: &[Node], streams: usize) -> f64 {
    let times: Vec<f64> = program.iter().map(Node::time).collect();
    least_period(program, &times, streams)
}

/// A lower bound of any order of `streams` micro-batches: the larger of the busiest lane's work and the chain of one
/// micro-batch.
fn least_period(program: &[Node], times: &[f64], streams: usize) -> f64 {
    let mut lanes: ByLane<f64> = [0.0; 3];
    let mut ends: Vec<f64> = Vec::with_capacity(program.len());
    for (index, (node, time)) in program.iter().zip(times).enumerate() {
        lanes[node.lane.index()] += time;
        let start = if (1..=index).contains(&node.after) { ends[index - node.after] } else { 0.0 };
        ends.push(start + time);
    }
    let chain = ends.last().copied().unwrap_or(0.0);
    lanes.into_iter().fold(chain, |most, lane| most.max(streams as f64 * lane))
}

/// The steady state of two micro-batches at this lag.
pub fn period_of(program: &[Node], lag: usize) -> Period {
    let placed = place(program, 2, REPEATS, lag);
    let Some((from, to)) = window(program, &placed) else {
        return Period { time: 0.0, times: TermTimes::default(), lag };
    };
    let whole = attribute(program, &placed, from, to);
    Period { time: whole.time / LAYERS, times: whole.times.divided_by(LAYERS), lag }
}

/// The length of the [`window`] of the layout that [`place`] would make of two micro-batches. `ends` is scratch space
/// for the end of each node of both.
fn window_time(program: &[Node], times: &[f64], lag: usize, ends: &mut [f64]) -> f64 {
    let length = program.len() * REPEATS;
    let (first, second) = ends.split_at_mut(length);
    let streams: [&mut [f64]; 2] = [first, second];
    let (mut next, mut within) = ([0_usize; 2], [0_usize; 2]);
    let mut free: ByLane<f64> = [0.0; 3];
    let (mut from, mut to) = (0.0, 0.0);
    while next[0] < length || next[1] < length {
        let stream = usize::from(next[1] < length && !(next[0] < length && next[0] < next[1] + lag));
        let (index, place) = (next[stream], within[stream]);
        let node = &program[place];
        let lane = node.lane.index();
        let mut start = free[lane];
        if (1..=index).contains(&node.after) {
            start = start.max(streams[stream][index - node.after]);
        }
        if stream == 0 && place == 0 {
            if index == WARM * program.len() {
                from = start;
            } else if index == (REPEATS - 1) * program.len() {
                to = start;
            }
        }
        let end = start + times[place];
        streams[stream][index] = end;
        free[lane] = end;
        next[stream] += 1;
        within[stream] = if place + 1 == program.len() { 0 } else { place + 1 };
    }
    to - from
}

/// The measured window: from when the first micro-batch begins layer `WARM` to when it begins the last layer. The lanes
/// are in the same state at both ends.
fn window(program: &[Node], placed: &[Placed]) -> Option<(f64, f64)> {
    let begins = |layer: usize| {
        let first = |node: &&Placed| node.stream == 0 && node.index == layer * program.len();
        placed.iter().find(first).map(|node| node.start)
    };
    Some((begins(WARM)?, begins(REPEATS - 1)?))
}

/// Lays out `repeats` layers of `streams` micro-batches, the second `lag` nodes behind the first.
pub fn place(program: &[Node], streams: usize, repeats: usize, lag: usize) -> Vec<Placed> {
    let (length, streams) = (program.len() * repeats, streams.min(2));
    let mut placed: Vec<Placed> = Vec::with_capacity(length * streams);
    // Index in `placed` of each node of each stream.
    let mut landed = vec![0_usize; length * streams];
    let mut next = [0_usize; 2];
    let mut free: ByLane<f64> = [0.0; 3];
    while placed.len() < length * streams {
        let first = streams < 2 || next[1] >= length || (next[0] < length && next[0] < next[1] + lag);
        let stream = usize::from(!first);
        let index = next[stream];
        let start = ready(program, &placed, &landed[stream * length..], index, &free);
        let node = &program[index % program.len()];
        let end = start + node.time();
        landed[stream * length + index] = placed.len();
        placed.push(Placed { stream, index, lane: node.lane, start, end });
        free[node.lane.index()] = end;
        next[stream] += 1;
    }
    placed
}

/// When a node can start: its lane is free, and the node that it waits for has ended.
fn ready(program: &[Node], placed: &[Placed], landed: &[usize], index: usize, free: &ByLane<f64>) -> f64 {
    let node = &program[index % program.len()];
    let start = free[node.lane.index()];
    if (1..=index).contains(&node.after) { start.max(placed[landed[index - node.after]].end) } else { start }
}

/// The time between two moments by term. A moment counts as the compute that runs then; two streams that compute share
/// it equally. Where communication runs alone, it counts as communication. Something always runs: a node starts when
/// the node that it waits for ends.
fn attribute(program: &[Node], placed: &[Placed], from: f64, to: f64) -> Period {
    let mut times = TermTimes::default();
    let mut lanes: ByLane<Vec<&Placed>> = Default::default();
    for node in placed.iter().filter(|node| node.end > from && node.start < to && node.end > node.start) {
        lanes[node.lane.index()].push(node);
    }
    let (mut next, mut now): (ByLane<usize>, f64) = ([0; 3], from);
    while now < to {
        let mut until = to;
        let mut runs: ByLane<Option<&Placed>> = [None; 3];
        for lane in Lane::ALL.map(Lane::index) {
            while lanes[lane].get(next[lane]).is_some_and(|node| node.end <= now) {
                next[lane] += 1;
            }
            if let Some(node) = lanes[lane].get(next[lane]) {
                let running = node.start <= now;
                until = until.min(if running { node.end } else { node.start });
                runs[lane] = running.then_some(*node);
            }
        }
        if runs[Lane::Compute.index()].is_some() || runs[Lane::Experts.index()].is_some() {
            runs[Lane::Fabric.index()] = None;
        }
        let count = runs.iter().flatten().count() as f64;
        for node in runs.iter().flatten() {
            let share = (until - now) / count / (node.end - node.start);
            times.add_scaled(&program[node.index % program.len()].times, share);
        }
        now = until;
    }
    Period { time: times.total(), times, lag: 1 }
}

#[cfg(test)]
mod tests {
    use super::Lane::{Compute, Experts, Fabric};
    use super::*;
    use crate::projection::terms::Term;

    fn node(name: &'static str, lane: Lane, time: f64) -> Node {
        let term = if lane == Fabric { Term::Dispatch } else { Term::Attention };
        Node::new(name, lane, TermTimes::of(term, time))
    }

    fn period(program: &[Node], streams: usize) -> Period {
        if streams == 1 { alone(program) } else { period_of(program, best_lag(program, f64::INFINITY).unwrap().1) }
    }

    /// Shared experts that run during the dispatch.
    fn layer_with_a_branch() -> [Node; 5] {
        let mut program = [
            node("a", Compute, 1.3),
            node("d", Fabric, 0.7),
            node("s", Experts, 0.2),
            node("e", Experts, 0.4),
            node("c", Fabric, 1.1),
        ];
        program[2].after = 2;
        program[3].after = 2;
        program
    }

    #[test]
    fn one_micro_batch_takes_the_sum_of_its_nodes() {
        let program = [node("a", Compute, 2.0), node("b", Fabric, 3.0), node("c", Compute, 1.0)];
        let period = period(&program, 1);
        assert!((period.time - 6.0).abs() < 1e-12);
        assert!((period.times[Term::Dispatch] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn two_micro_batches_hide_communication_that_fits_under_compute() {
        let program = [node("a", Compute, 3.0), node("b", Fabric, 2.0)];
        let period = period(&program, 2);
        assert!((period.time - 6.0).abs() < 1e-9, "{period:?}");
        assert!(period.times[Term::Dispatch] < 1e-9);
    }

    #[test]
    fn two_micro_batches_leave_exposed_what_does_not_fit() {
        let program = [node("a", Compute, 2.0), node("b", Fabric, 5.0)];
        let period = period(&program, 2);
        // The fabric is busy all the time.
        assert!((period.time - 10.0).abs() < 1e-9, "{period:?}");
        assert!((period.times.total() - period.time).abs() < 1e-9);
    }

    #[test]
    fn streams_that_split_the_cores_run_side_by_side() {
        let program = [node("a", Compute, 3.0), node("b", Fabric, 1.0), node("c", Experts, 2.0)];
        let period = period(&program, 2);
        assert!((period.time - 6.0).abs() < 1e-9, "{period:?}");
    }

    #[test]
    fn streams_side_by_side_share_the_time_between_them() {
        let mut program = [node("a", Compute, 3.0), node("b", Fabric, 1.0), node("c", Experts, 2.0)];
        program[2].times = TermTimes::of(Term::ExpertMatmul, 2.0);
        let period = period(&program, 2);
        // Attention runs all the time; for four of six seconds, experts run too.
        assert!((period.times[Term::Attention] - 4.0).abs() < 1e-9, "{period:?}");
        assert!((period.times[Term::ExpertMatmul] - 2.0).abs() < 1e-9, "{period:?}");
        assert_eq!(period.times[Term::Dispatch], 0.0);
    }

    #[test]
    fn no_distance_beats_the_bound_and_the_best_one_is_that_of_all() {
        let mut program = layer_with_a_branch();
        for factor in [0.1, 0.5, 1.0, 2.0, 5.0] {
            program[1].times = TermTimes::of(Term::Dispatch, 0.7 * factor);
            let times: Vec<f64> = program.iter().map(Node::time).collect();
            let bound = least_period(&program, &times, 2);
            let every = (1..program.len()).map(|lag| period_of(&program, lag).time);
            let least = every.fold(f64::INFINITY, f64::min);
            let (best, lag) = best_lag(&program, f64::INFINITY).unwrap();
            assert!((best - least).abs() < 1e-12 && bound <= best + 1e-12, "{factor}: {bound} {best} {least}");
            assert!((period_of(&program, lag).time - best).abs() < 1e-12);
            assert_eq!(best_lag(&program, bound), None);
        }
    }

    #[test]
    fn the_window_without_a_layout_is_that_of_the_layout() {
        let program = layer_with_a_branch();
        let times: Vec<f64> = program.iter().map(Node::time).collect();
        let mut ends = vec![0.0; 2 * program.len() * REPEATS];
        for lag in 1..program.len() {
            let (from, to) = window(&program, &place(&program, 2, REPEATS, lag)).unwrap();
            assert_eq!(window_time(&program, &times, lag, &mut ends), to - from, "lag {lag}");
        }
    }

    #[test]
    fn nodes_of_a_lane_never_overlap() {
        let program =
            [node("a", Compute, 1.3), node("d", Fabric, 0.7), node("e", Compute, 0.4), node("c", Fabric, 1.1)];
        let placed = place(&program, 2, 5, 2);
        for lane in Lane::ALL {
            let mut nodes: Vec<_> = placed.iter().filter(|node| node.lane == lane).collect();
            nodes.sort_by(|a, b| a.start.total_cmp(&b.start));
            assert!(nodes.windows(2).all(|pair| pair[0].end <= pair[1].start + 1e-12));
        }
    }
}
