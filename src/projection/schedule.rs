//! A list schedule of layers over the lanes of a rank: compute (whole, or two streams that split the cores) and fabric.
//!
//! One or two interleaved micro-batches are programs of nodes, taken from a list in a fixed order. What a step
//! costs is read off the critical path, so parts add up and exposed communication falls out instead of being assumed.

/// Lanes of a rank: two streams of compute, and the links.
pub const LANES: usize = 3;
/// Whole compute, or the stream of attention where streams split the cores.
pub const COMPUTE: usize = 0;
/// The stream of experts where streams split the cores.
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
    /// What it waited for last: position in the list of placed nodes, or itself.
    binding: usize,
}

/// The steady state of a repeated layer: what one repetition adds, by booking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Time of one layer for all interleaved micro-batches.
    pub time: f64,
    /// The same by booking: the critical path.
    pub books: Books,
}

const REPEATS: usize = 6;
/// Repetitions before the window that is measured; the last one, where streams run dry, is left out as well.
const WARM: usize = 2;

/// One layer of one or two micro-batches in the steady state of many. Two micro-batches go in a fixed order, one some
/// nodes behind the other; the best distance is taken. In a fixed order no node starts later if another is faster, which
/// an order chosen on the way would not guarantee (Graham, 1969).
pub fn period(program: &[Node], streams: usize) -> Period {
    let nothing = Period { time: 0.0, books: [0.0; BOOKS] };
    if streams <= 1 {
        let books = program.iter().fold([0.0; BOOKS], |mut sum, node| {
            sum.iter_mut().zip(node.books).for_each(|(total, book)| *total += book);
            sum
        });
        if program.iter().all(|node| node.after <= 1) {
            return Period { time: books.iter().sum(), books };
        }
        let placed = place(program, 1, 1, 1);
        let end = placed.iter().map(|node| node.end).fold(0.0, f64::max);
        return walk(program, &placed, placed.iter().position(|node| node.end >= end), 0.0, end);
    }
    let mut best: Option<(f64, Vec<Placed>)> = None;
    for lag in 1..program.len().max(2) {
        let placed = place(program, streams, REPEATS, lag);
        let Some(((from, _), (to, _))) = window(program, &placed) else { return nothing };
        if best.as_ref().is_none_or(|(time, _)| to - from < *time) {
            best = Some((to - from, placed));
        }
    }
    let Some((_, placed)) = best else { return nothing };
    let Some(((from, _), (to, last))) = window(program, &placed) else { return nothing };
    let layers = (REPEATS - 1 - WARM) as f64;
    let whole = walk(program, &placed, Some(last), from, to);
    Period { time: whole.time / layers, books: whole.books.map(|book| book / layers) }
}

/// Start, and what it waited for, of where the first micro-batch begins one layer and where it begins a later one: the
/// lanes are in the same state.
fn window(program: &[Node], placed: &[Placed]) -> Option<((f64, usize), (f64, usize))> {
    let begins = |layer: usize| {
        let first = |node: &&Placed| node.stream == 0 && node.index == layer * program.len();
        placed.iter().find(first).map(|node| (node.start, node.binding))
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
    let mut free: [(f64, Option<usize>); LANES] = [(0.0, None); LANES];
    while placed.len() < length * streams {
        let first = streams < 2 || next[1] >= length || (next[0] < length && next[0] < next[1] + lag);
        let stream = usize::from(!first);
        let index = next[stream];
        let (start, binding) = ready(program, &placed, &landed[stream * length..], index, &free);
        let node = &program[index % program.len()];
        let end = start + node.time();
        let position = placed.len();
        placed.push(Placed { stream, index, lane: node.lane, start, end, binding: binding.unwrap_or(position) });
        landed[stream * length + index] = position;
        free[node.lane] = (end, Some(position));
        next[stream] += 1;
    }
    placed
}

/// When the node could start, and what it waits for.
fn ready(
    program: &[Node],
    placed: &[Placed],
    landed: &[usize],
    index: usize,
    free: &[(f64, Option<usize>); LANES],
) -> (f64, Option<usize>) {
    let node = &program[index % program.len()];
    let (mut start, mut binding) = free[node.lane];
    for back in [node.after, node.also] {
        if back > 0 && index >= back {
            let position = landed[index - back];
            if placed[position].end > start || binding.is_none() {
                (start, binding) = (placed[position].end.max(start), Some(position));
            }
        }
    }
    (start, binding)
}

/// The critical path that ends with a node, between two times, by booking. It has no gaps: a node starts when what it
/// waits for ends.
fn walk(program: &[Node], placed: &[Placed], last: Option<usize>, from: f64, to: f64) -> Period {
    let mut books = [0.0; BOOKS];
    let Some(mut at) = last else { return Period { time: 0.0, books } };
    while let Some(node) = placed.get(at) {
        let parts = &program[node.index % program.len()].books;
        let (whole, inside) = (node.end - node.start, node.end.min(to) - node.start.max(from));
        if whole > 0.0 && inside > 0.0 {
            for (book, part) in books.iter_mut().zip(parts) {
                *book += part * (inside / whole);
            }
        }
        if node.start <= from || node.binding == at {
            break;
        }
        at = node.binding;
    }
    Period { time: books.iter().sum(), books }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &'static str, lane: usize, time: f64) -> Node {
        let mut books = [0.0; BOOKS];
        books[if lane == FABRIC { 4 } else { 0 }] = time;
        Node::new(name, lane, books)
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
