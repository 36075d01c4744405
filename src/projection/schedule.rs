//! A list schedule of layers over the lanes of a rank: compute (whole, or two streams that split the cores) and fabric.
//!
//! One or two interleaved micro-batches are programs of nodes, taken from a list in a fixed order. Each moment of a step
//! is booked to the compute that runs then, or to communication where nothing else runs: parts add up, and exposed
//! communication falls out instead of being assumed.

/// Lanes of a rank: two streams of compute, and the links.
pub const LANES: usize = 3;
/// Whole compute, or the stream of attention where streams split the cores.
pub const COMPUTE: usize = 0;
/// The stream of experts where streams split the cores, or vector cores that work beside the whole.
pub const EXPERTS: usize = 1;
/// The links.
pub const FABRIC: usize = 2;

/// Bookings of a node's time: attention, expert matmul, gating, dense, dispatch, combine, other collectives, launch.
pub const BOOKS: usize = 8;
/// Time by booking, seconds.
pub type Books = [f64; BOOKS];

/// One block of a layer or one collective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Its name in a trace.
    pub name: &'static str,
    /// Its lane.
    pub lane: usize,
    /// Its time by booking.
    pub books: Books,
    /// Nodes back in the program that it waits for; 1 is the one before. A second dependency, if any, is `also`.
    pub after: usize,
    /// A second dependency, or 0.
    pub also: usize,
}

impl Node {
    /// A node that waits for the one before it.
    pub fn new(name: &'static str, lane: usize, books: Books) -> Self {
        Self { name, lane, books, after: 1, also: 0 }
    }

    /// Its time.
    pub fn time(&self) -> f64 {
        self.books.iter().sum()
    }
}

/// A node in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Which micro-batch.
    pub stream: usize,
    /// Which node of its program.
    pub index: usize,
    /// Its lane.
    pub lane: usize,
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
}

/// The steady state of a repeated layer: what one repetition adds, by booking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Time of one layer for all interleaved micro-batches.
    pub time: f64,
    /// The same by booking: what runs at each moment, compute before communication.
    pub books: Books,
    /// Nodes that the second micro-batch is behind the first.
    pub lag: usize,
}

const REPEATS: usize = 6;
/// Repetitions before the window that is measured; the last one, where streams run dry, is left out as well.
const WARM: usize = 2;
/// Layers in that window.
const LAYERS: f64 = (REPEATS - 1 - WARM) as f64;

/// One layer of one micro-batch.
pub fn alone(program: &[Node]) -> Period {
    if program.iter().all(|node| node.after <= 1) {
        let books = program.iter().fold([0.0; BOOKS], |mut sum, node| {
            sum.iter_mut().zip(node.books).for_each(|(total, book)| *total += book);
            sum
        });
        return Period { time: books.iter().sum(), books, lag: 1 };
    }
    let placed = place(program, 1, 1, 1);
    let end = placed.iter().map(|node| node.end).fold(0.0, f64::max);
    attribute(program, &placed, 0.0, end)
}

/// The distance at which two micro-batches take the least time in the steady state of many layers, and that time of a layer;
/// `None` if it cannot be less than `at_most`. They go in a fixed order, one some nodes behind the other: in a fixed order no
/// node starts later if another is faster, which an order chosen on the way would not guarantee (Graham, 1969). Nothing is
/// laid out: most of the time of a search goes into distances that lose.
pub fn best_lag(program: &[Node], at_most: f64) -> Option<(f64, usize)> {
    let times: Vec<f64> = program.iter().map(Node::time).collect();
    let bound = least_period(program, &times);
    if bound >= at_most {
        return None;
    }
    let mut ends = vec![0.0; 2 * program.len() * REPEATS];
    let mut best: Option<(f64, usize)> = None;
    // Half a layer apart is often as good as can be, which ends the search.
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

/// No order of two micro-batches takes less: the busiest lane's work, and the chain of one micro-batch.
fn least_period(program: &[Node], times: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let mut ends: Vec<f64> = Vec::with_capacity(program.len());
    for (index, (node, time)) in program.iter().zip(times).enumerate() {
        lanes[node.lane] += time;
        let waits = [node.after, node.also].into_iter().filter(|&back| back > 0 && back <= index);
        let start = waits.map(|back| ends[index - back]).fold(0.0, f64::max);
        ends.push(start + time);
    }
    let chain = ends.last().copied().unwrap_or(0.0);
    lanes.into_iter().fold(chain, |most, lane| most.max(2.0 * lane))
}

/// The steady state of two micro-batches at this distance.
pub fn period_of(program: &[Node], lag: usize) -> Period {
    let placed = place(program, 2, REPEATS, lag);
    let Some((from, to)) = window(program, &placed) else {
        return Period { time: 0.0, books: [0.0; BOOKS], lag };
    };
    let whole = attribute(program, &placed, from, to);
    Period { time: whole.time / LAYERS, books: whole.books.map(|book| book / LAYERS), lag }
}

/// The length of the [`window`] of two streams that [`place`] would lay out, without laying them out. `ends` is room for
/// the end of each node of both streams.
fn window_time(program: &[Node], times: &[f64], lag: usize, ends: &mut [f64]) -> f64 {
    let length = program.len() * REPEATS;
    let (first, second) = ends.split_at_mut(length);
    let streams: [&mut [f64]; 2] = [first, second];
    let (mut next, mut within) = ([0_usize; 2], [0_usize; 2]);
    let mut free = [0.0_f64; LANES];
    let (mut from, mut to) = (0.0, 0.0);
    while next[0] < length || next[1] < length {
        let stream = usize::from(next[1] < length && !(next[0] < length && next[0] < next[1] + lag));
        let (index, place) = (next[stream], within[stream]);
        let node = &program[place];
        let mut start = free[node.lane];
        for back in [node.after, node.also] {
            if back > 0 && index >= back {
                start = start.max(streams[stream][index - back]);
            }
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
        free[node.lane] = end;
        next[stream] += 1;
        within[stream] = if place + 1 == program.len() { 0 } else { place + 1 };
    }
    to - from
}

/// When the first micro-batch begins one layer and when it begins a later one: the lanes are in the same state.
fn window(program: &[Node], placed: &[Placed]) -> Option<(f64, f64)> {
    let begins = |layer: usize| {
        let first = |node: &&Placed| node.stream == 0 && node.index == layer * program.len();
        placed.iter().find(first).map(|node| node.start)
    };
    Some((begins(WARM)?, begins(REPEATS - 1)?))
}

/// Places `repeats` layers of `streams` micro-batches, the second `lag` nodes behind the first.
pub fn place(program: &[Node], streams: usize, repeats: usize, lag: usize) -> Vec<Placed> {
    let (length, streams) = (program.len() * repeats, streams.min(2));
    let mut placed: Vec<Placed> = Vec::with_capacity(length * streams);
    // Where each node of each stream landed.
    let mut landed = vec![0_usize; length * streams];
    let mut next = [0_usize; 2];
    let mut free = [0.0_f64; LANES];
    while placed.len() < length * streams {
        let first = streams < 2 || next[1] >= length || (next[0] < length && next[0] < next[1] + lag);
        let stream = usize::from(!first);
        let index = next[stream];
        let start = ready(program, &placed, &landed[stream * length..], index, &free);
        let node = &program[index % program.len()];
        let end = start + node.time();
        landed[stream * length + index] = placed.len();
        placed.push(Placed { stream, index, lane: node.lane, start, end });
        free[node.lane] = end;
        next[stream] += 1;
    }
    placed
}

/// When the node can start: its lane is free, and what it waits for has ended.
fn ready(program: &[Node], placed: &[Placed], landed: &[usize], index: usize, free: &[f64; LANES]) -> f64 {
    let node = &program[index % program.len()];
    let mut start = free[node.lane];
    for back in [node.after, node.also] {
        if back > 0 && index >= back {
            start = start.max(placed[landed[index - back]].end);
        }
    }
    start
}

/// The time between two moments by booking: each moment goes to the compute that runs then, in equal shares where two
/// streams do, and to communication where it is alone. Something always runs: a node starts when what it waits for ends.
fn attribute(program: &[Node], placed: &[Placed], from: f64, to: f64) -> Period {
    let mut books = [0.0; BOOKS];
    let mut lanes: [Vec<&Placed>; LANES] = Default::default();
    for node in placed.iter().filter(|node| node.end > from && node.start < to && node.end > node.start) {
        lanes[node.lane].push(node);
    }
    let (mut next, mut now) = ([0_usize; LANES], from);
    while now < to {
        let mut until = to;
        let mut runs: [Option<&Placed>; LANES] = [None; LANES];
        for lane in 0..LANES {
            while lanes[lane].get(next[lane]).is_some_and(|node| node.end <= now) {
                next[lane] += 1;
            }
            if let Some(node) = lanes[lane].get(next[lane]) {
                let running = node.start <= now;
                until = until.min(if running { node.end } else { node.start });
                runs[lane] = running.then_some(*node);
            }
        }
        if runs[COMPUTE].is_some() || runs[EXPERTS].is_some() {
            runs[FABRIC] = None;
        }
        let count = runs.iter().flatten().count() as f64;
        for node in runs.iter().flatten() {
            let share = (until - now) / count / (node.end - node.start);
            let parts = &program[node.index % program.len()].books;
            books.iter_mut().zip(parts).for_each(|(book, part)| *book += part * share);
        }
        now = until;
    }
    Period { time: books.iter().sum(), books, lag: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &'static str, lane: usize, time: f64) -> Node {
        let mut books = [0.0; BOOKS];
        books[if lane == FABRIC { 4 } else { 0 }] = time;
        Node::new(name, lane, books)
    }

    fn period(program: &[Node], streams: usize) -> Period {
        if streams == 1 { alone(program) } else { period_of(program, best_lag(program, f64::INFINITY).unwrap().1) }
    }

    /// Shared experts beside the wire.
    fn layer_with_a_branch() -> [Node; 5] {
        let mut program = [
            node("a", COMPUTE, 1.3),
            node("d", FABRIC, 0.7),
            node("s", EXPERTS, 0.2),
            node("e", EXPERTS, 0.4),
            node("c", FABRIC, 1.1),
        ];
        program[2].after = 2;
        program[3].after = 2;
        program
    }

    #[test]
    fn one_micro_batch_takes_the_sum_of_its_nodes() {
        let program = [node("a", COMPUTE, 2.0), node("b", FABRIC, 3.0), node("c", COMPUTE, 1.0)];
        let period = period(&program, 1);
        assert!((period.time - 6.0).abs() < 1e-12);
        assert!((period.books[4] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn two_micro_batches_hide_communication_that_fits_under_compute() {
        let program = [node("a", COMPUTE, 3.0), node("b", FABRIC, 2.0)];
        let period = period(&program, 2);
        assert!((period.time - 6.0).abs() < 1e-9, "{period:?}");
        assert!(period.books[4] < 1e-9);
    }

    #[test]
    fn two_micro_batches_leave_exposed_what_does_not_fit() {
        let program = [node("a", COMPUTE, 2.0), node("b", FABRIC, 5.0)];
        let period = period(&program, 2);
        // The fabric is busy all the time.
        assert!((period.time - 10.0).abs() < 1e-9, "{period:?}");
        assert!((period.books.iter().sum::<f64>() - period.time).abs() < 1e-9);
    }

    #[test]
    fn streams_that_split_the_cores_run_side_by_side() {
        let program = [node("a", COMPUTE, 3.0), node("b", FABRIC, 1.0), node("c", EXPERTS, 2.0)];
        let period = period(&program, 2);
        assert!((period.time - 6.0).abs() < 1e-9, "{period:?}");
    }

    #[test]
    fn streams_side_by_side_share_the_time_between_them() {
        let mut program = [node("a", COMPUTE, 3.0), node("b", FABRIC, 1.0), node("c", EXPERTS, 2.0)];
        program[2].books = [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let period = period(&program, 2);
        // Attention runs all the time; for four of six seconds, experts run beside it.
        assert!((period.books[0] - 4.0).abs() < 1e-9, "{period:?}");
        assert!((period.books[1] - 2.0).abs() < 1e-9, "{period:?}");
        assert_eq!(period.books[4], 0.0);
    }

    #[test]
    fn no_distance_beats_the_bound_and_the_best_one_is_that_of_all() {
        let mut program = layer_with_a_branch();
        for factor in [0.1, 0.5, 1.0, 2.0, 5.0] {
            program[1].books[4] = 0.7 * factor;
            let times: Vec<f64> = program.iter().map(Node::time).collect();
            let bound = least_period(&program, &times);
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
            [node("a", COMPUTE, 1.3), node("d", FABRIC, 0.7), node("e", COMPUTE, 0.4), node("c", FABRIC, 1.1)];
        let placed = place(&program, 2, 5, 2);
        for lane in 0..LANES {
            let mut nodes: Vec<_> = placed.iter().filter(|node| node.lane == lane).collect();
            nodes.sort_by(|a, b| a.start.total_cmp(&b.start));
            assert!(nodes.windows(2).all(|pair| pair[0].end <= pair[1].start + 1e-12));
        }
    }
}
