//! Random numbers by seed: the same on every platform, and whatever the division of the work.

use std::ops::Range;
use std::slice;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::tensor::layout::Layout;

/// Numbers that the generator makes at a time.
const BATCH: usize = 32;

/// Zero-mean random numbers: sums of four uniforms, so within 3.5 standard deviations. A seed gives the same numbers on
/// every platform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Random {
    /// Standard deviation.
    pub sigma: f64,
    /// The seed.
    pub seed: u64,
}

/// The numbers of a tensor. Each row along the last dimension is a stream of its own, which can be entered anywhere. A
/// tensor of one dimension is a column.
pub(super) struct Draw<'a> {
    /// Dimensions of the tensor.
    pub(super) dims: &'a [usize],
    /// Their deviation and the seed of all streams.
    pub(super) numbers: Random,
}

impl Draw<'_> {
    /// Draws the numbers of a box of indices. `put` receives the index of each row and its numbers.
    pub(super) fn rows(&self, ranges: &[Range<usize>], mut put: impl FnMut(&[usize], &[f32])) {
        let (rows, columns) = match ranges {
            [rows @ .., columns] if !rows.is_empty() => (rows, columns.clone()),
            rows => (rows, 0..1),
        };
        // The sum of four uniforms on 0..65536 has mean 2 * 65535 and standard deviation 65536 / sqrt(3).
        #[expect(clippy::cast_possible_truncation, reason = "inputs are f32 by definition")]
        let scale = (self.numbers.sigma * 3f64.sqrt() / 65536.0) as f32;
        let mut rng = ChaCha8Rng::seed_from_u64(self.numbers.seed);
        let mut numbers = vec![0.0; columns.len()];
        let mut bytes = [0; 8 * BATCH];
        let mut indices = Indices::of(rows);
        while let Some(row) = indices.next() {
            let stream = row.iter().zip(self.dims).fold(0, |stream, (&i, &dim)| stream * dim + i);
            // Without this the generator would first make the next numbers of the stream that it leaves.
            rng.set_word_pos(0);
            rng.set_stream(stream as u64);
            // A number takes two words.
            rng.set_word_pos(2 * columns.start as u128);
            for numbers in numbers.chunks_mut(BATCH) {
                let bytes = &mut bytes[..8 * numbers.len()];
                rng.fill_bytes(bytes);
                from_bits(bytes, scale, numbers);
            }
            put(row, &numbers);
        }
    }
}

/// Makes each number from four uniforms of 16 bits; no number is zero.
fn from_bits(bytes: &[u8], scale: f32, numbers: &mut [f32]) {
    let mut pairs = [0; 2 * BATCH];
    for (pair, word) in pairs.iter_mut().zip(bytes.as_chunks().0) {
        let word = u32::from_le_bytes(*word);
        *pair = (word & 0xFFFF) + (word >> 16);
    }
    for (number, [first, second]) in numbers.iter_mut().zip(pairs.as_chunks().0) {
        #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
        let value = ((first + second) as i32 - 2 * 65535) as f32 * scale;
        *number = if value == 0.0 { scale } else { value };
    }
}

/// All indices of a box, the last dimension fastest.
pub(super) struct Indices<'a> {
    ranges: &'a [Range<usize>],
    at: Vec<usize>,
    is_first: bool,
}

impl<'a> Indices<'a> {
    pub(super) fn of(ranges: &'a [Range<usize>]) -> Self {
        Self { ranges, at: ranges.iter().map(|range| range.start).collect(), is_first: true }
    }

    pub(super) fn next(&mut self) -> Option<&[usize]> {
        if self.is_first {
            self.is_first = false;
            return (!self.ranges.iter().any(Range::is_empty)).then_some(&self.at);
        }
        for (i, range) in self.at.iter_mut().zip(self.ranges).rev() {
            *i += 1;
            if *i < range.end {
                return Some(&self.at);
            }
            *i = range.start;
        }
        None
    }
}

/// Neighbouring columns at even distances in memory.
struct Run {
    columns: Range<usize>,
    at: usize,
    stride: usize,
}

/// The places of the numbers of a box of indices in a part of a tensor.
pub(super) struct Place<'a> {
    layout: &'a Layout,
    start: usize,
    runs: Vec<Run>,
}

impl<'a> Place<'a> {
    /// The part begins after `start` elements of the tensor.
    pub(super) fn new(layout: &'a Layout, ranges: &[Range<usize>], start: usize) -> Self {
        let columns = match (layout.tables.as_slice(), ranges) {
            ([_, .., table], [.., columns]) => &table[columns.clone()],
            _ => slice::from_ref(&0),
        };
        Self { layout, start, runs: runs(columns) }
    }

    /// The places of a row's numbers. `put` receives some columns, the place of the first, and the distance between two.
    pub(super) fn runs(&self, row: &[usize], mut put: impl FnMut(Range<usize>, usize, usize)) {
        let at: usize = row.iter().zip(&self.layout.tables).map(|(&i, table)| table[i]).sum();
        for run in &self.runs {
            put(run.columns.clone(), at + run.at - self.start, run.stride);
        }
    }
}

fn runs(places: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (column, &at) in places.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.columns.len() == 1 && at >= run.at => {
                run.stride = at - run.at;
                run.columns.end += 1;
            }
            Some(run) if at == run.at + run.columns.len() * run.stride => run.columns.end += 1,
            _ => runs.push(Run { columns: column..column + 1, at, stride: 1 }),
        }
    }
    runs
}
