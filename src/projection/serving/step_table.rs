//! Times of an engine's steps over sequences and prompt tokens, for simulations that ask for millions of them.

use crate::projection::ops::Prompts;
use crate::projection::serving::engine::Engine;
use crate::projection::serving::load::Lengths;

/// Growth from one number of sequences, or of prompt tokens, to the next that is computed.
const GROWTH: f64 = 1.25;

/// A step of an engine, as a simulation meets it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetStep {
    /// Sequences in decode.
    pub sequences: usize,
    /// Tokens in their KV caches, all together.
    pub context: f64,
    /// Prompt tokens.
    pub prompt_tokens: f64,
    /// Pairs of a prompt token with a token before it.
    pub pairs: f64,
}

/// Times of steps. Between computed points they are interpolated. Attention is linear in the tokens that it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTable {
    /// Prompt tokens of the columns, 0 first.
    tokens: Vec<f64>,
    /// Seconds: a row for each number of sequences from 0 on.
    rows: Vec<Vec<f64>>,
    /// Context length of the rows.
    kv_len: f64,
    /// Seconds per token of context of each sequence, by row.
    per_context: Vec<f64>,
    /// Seconds per pair.
    per_pair: f64,
}

impl StepTable {
    /// The steps of an engine with up to `most` sequences of about these lengths.
    pub fn new(engine: &Engine<'_>, lengths: &Lengths, most: usize) -> Self {
        let tokens = token_columns(engine.chunk);
        let kv_len = lengths.in_decode();
        let chunk = |tokens: f64| Prompts { count: 1.0, tokens, before: 0.0 };
        let time = |sequences: f64, kv_len: f64, tokens: f64| {
            engine.step(sequences, kv_len, (tokens > 0.0).then(|| chunk(tokens)))
        };
        let computed = sequence_rows(most);
        let coarse: Vec<(usize, Vec<f64>, f64)> = computed
            .into_iter()
            .map(|row| {
                // An engine without sequences and prompts rests.
                let sequences = row as f64;
                let of = |tokens: &f64| if row == 0 && *tokens == 0.0 { 0.0 } else { time(sequences, kv_len, *tokens) };
                let steeper =
                    if row == 0 { 0.0 } else { time(sequences, 2.0 * kv_len, 0.0) - time(sequences, kv_len, 0.0) };
                (row, tokens.iter().map(of).collect(), steeper / kv_len)
            })
            .collect();
        let (mut rows, mut per_context) = (Vec::with_capacity(most + 1), Vec::with_capacity(most + 1));
        for pair in coarse.windows(2) {
            let [(from, low, low_slope), (to, high, high_slope)] = pair else { continue };
            for row in *from..*to {
                let share = (row - from) as f64 / (to - from) as f64;
                let between = |low: f64, high: f64| low + share * (high - low);
                rows.push(low.iter().zip(high).map(|(low, high)| between(*low, *high)).collect());
                per_context.push(between(*low_slope, *high_slope));
            }
        }
        if let Some((_, last, slope)) = coarse.into_iter().next_back() {
            rows.push(last);
            per_context.push(slope);
        }
        let after = |before: f64| engine.step(0.0, kv_len, Some(Prompts { before, ..chunk(engine.chunk) }));
        let per_pair = (after(kv_len) - after(0.0)) / (kv_len * engine.chunk);
        Self { tokens, rows, kv_len, per_context, per_pair }
    }

    /// Time of a step in seconds.
    pub fn time(&self, step: &MetStep) -> f64 {
        let row = step.sequences.min(self.rows.len() - 1);
        let times = &self.rows[row];
        let mut time = match self.tokens.iter().position(|tokens| *tokens >= step.prompt_tokens) {
            None => times[times.len() - 1],
            // Even one token of a prompt is a step of another kind: its first column is no neighbour.
            Some(at) if at < 2 => times[at],
            Some(at) => {
                let (low, high) = (self.tokens[at - 1], self.tokens[at]);
                times[at - 1] + (step.prompt_tokens - low) / (high - low) * (times[at] - times[at - 1])
            }
        };
        if step.sequences > 0 {
            time += self.per_context[row] * (step.context / step.sequences as f64 - self.kv_len);
        }
        if step.prompt_tokens > 0.0 {
            // The columns are of one prompt from its beginning.
            time += self.per_pair * (step.pairs - step.prompt_tokens * step.prompt_tokens / 2.0);
        }
        time.max(0.0)
    }
}

/// Numbers of sequences that are computed: all few, then in steps of a quarter.
pub(super) fn sequence_rows(most: usize) -> Vec<usize> {
    let mut rows = vec![0];
    let mut next = 1;
    while next < most {
        rows.push(next);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand at most")]
        let grown = (next as f64 * GROWTH) as usize;
        next = grown.max(next + 1);
    }
    rows.push(most.max(1));
    rows
}

/// Prompt tokens that are computed: none, one, and powers of two up to the chunk.
fn token_columns(chunk: f64) -> Vec<f64> {
    let mut columns = vec![0.0, 1.0];
    let mut next = 16.0;
    while next < chunk {
        columns.push(next);
        next *= 2.0;
    }
    columns.push(chunk.max(2.0));
    columns
}
