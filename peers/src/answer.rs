//! What the operation must give, in f64, and how far an output is from it.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::case::{Op, Operands};

/// An output in the layout of the operands: matmul [batch m, n], attention [position, head, head_dim].
pub enum Output {
    /// Numbers.
    Dense(Vec<f32>),
    /// Weights and experts, [tokens, top_k], each token's in any order.
    TopK(Vec<f32>, Vec<u32>),
}

/// How close an output is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Closeness {
    /// Frobenius norm of the difference over that of the answer.
    pub relative_error: f64,
    /// Elements compared; all of them unless the operation is so large that rows are sampled.
    pub checked: u64,
}

/// Rows of the f64 answer.
pub struct Answer {
    rows: Vec<(usize, Vec<f64>)>,
    op: Op,
}

/// Multiply-adds that an answer may cost.
const EFFORT: usize = 2_000_000_000;

impl Answer {
    /// Computes as many rows as a budget allows, spread over the output.
    pub fn of(op: Op, operands: &Operands) -> Self {
        let (rows, cost) = match op {
            Op::Matmul { batch, m, k, n } => (batch * m, k * n),
            Op::Attention { heads, q_len, kv_len, head_dim } => (q_len * heads, 2 * kv_len * head_dim),
            Op::Gate { tokens, experts, .. } => (tokens, experts),
        };
        let step = (rows * cost).div_ceil(EFFORT).max(1);
        // A stride that shares no factor with powers of two visits every place in a tile.
        let step = if step == 1 { 1 } else { step | 1 };
        let rows = (0..rows).step_by(step).map(|row| (row, answer_row(op, operands, row))).collect();
        Self { rows, op }
    }

    /// Compares an output.
    pub fn check(&self, output: &Output, tolerance: f64) -> Result<Closeness> {
        let mut difference = 0.0;
        let mut norm = 0.0;
        let mut worst: f64 = 0.0;
        let mut checked = 0u64;
        let mut pair = |got: f64, want: f64| {
            let error = if got.is_finite() { got - want } else { f64::MAX.sqrt() };
            difference += error * error;
            norm += want * want;
            worst = worst.max(error.abs());
            checked += 1;
        };
        for (row, want) in &self.rows {
            match output {
                Output::Dense(values) => {
                    let width = want.len();
                    let Some(got) = values.get(row * width..(row + 1) * width) else {
                        bail!("the output is too short")
                    };
                    got.iter().zip(want).for_each(|(&got, &want)| pair(f64::from(got), want));
                }
                Output::TopK(weights, experts) => {
                    let Op::Gate { top_k, .. } = self.op else { bail!("no top-k was asked for") };
                    for (got, want) in top_k_pairs(want, *row, top_k, weights, experts)? {
                        pair(got, want);
                    }
                }
            }
        }
        let relative_error = (difference / norm).sqrt();
        let root_mean_square = (norm / checked.max(1) as f64).sqrt();
        if relative_error.is_nan() || relative_error > tolerance || worst > 64.0 * tolerance * root_mean_square {
            bail!("wrong result: relative error {relative_error:.2e}, worst element off by {worst:.2e}");
        }
        Ok(Closeness { relative_error, checked })
    }
}

/// Each chosen expert's weight against its own probability, and against that of the same rank in the answer.
fn top_k_pairs(
    probabilities: &[f64],
    row: usize,
    top_k: usize,
    weights: &[f32],
    experts: &[u32],
) -> Result<Vec<(f64, f64)>> {
    let slots = row * top_k..(row + 1) * top_k;
    let (Some(weights), Some(experts)) = (weights.get(slots.clone()), experts.get(slots)) else {
        bail!("the output is too short")
    };
    let mut got: Vec<(f64, usize)> =
        weights.iter().map(|&w| f64::from(w)).zip(experts.iter().map(|&e| e as usize)).collect();
    got.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut distinct: Vec<usize> = got.iter().map(|(_, expert)| *expert).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != top_k {
        bail!("token {row} has an expert twice");
    }
    let mut best = probabilities.to_vec();
    best.sort_by(|a, b| b.total_cmp(a));
    let mut pairs = Vec::new();
    for ((weight, expert), want) in got.into_iter().zip(best) {
        let Some(&own) = probabilities.get(expert) else { bail!("token {row} has expert {expert}") };
        pairs.push((weight, own));
        pairs.push((weight, want));
    }
    Ok(pairs)
}

fn answer_row(op: Op, Operands(operands): &Operands, row: usize) -> Vec<f64> {
    match op {
        Op::Matmul { m, k, n, .. } => {
            let (a, b) = (&operands[0][row * k..], &operands[1][row / m * k * n..]);
            let mut sum = vec![0.0; n];
            for (i, &a) in a[..k].iter().enumerate() {
                for (sum, &b) in sum.iter_mut().zip(&b[i * n..]) {
                    *sum += f64::from(a) * f64::from(b);
                }
            }
            sum
        }
        Op::Attention { heads, q_len, kv_len, head_dim } => {
            let (position, head) = (row / heads, row % heads);
            let at = |of: &'static str, key: usize| {
                let start = (key * heads + head) * head_dim;
                &operands[if of == "k" { 1 } else { 2 }][start..start + head_dim]
            };
            let query = &operands[0][row * head_dim..(row + 1) * head_dim];
            let visible = kv_len - q_len + position + 1;
            let scale = 1.0 / (head_dim as f64).sqrt();
            let scores: Vec<f64> = (0..visible).map(|key| scale * dot(query, at("k", key))).collect();
            let mut sum = vec![0.0; head_dim];
            for (key, weight) in softmax(&scores).into_iter().enumerate() {
                sum.iter_mut().zip(at("v", key)).for_each(|(sum, &v)| *sum += weight * f64::from(v));
            }
            sum
        }
        Op::Gate { experts, .. } => {
            let logits: Vec<f64> =
                operands[0][row * experts..(row + 1) * experts].iter().map(|&x| f64::from(x)).collect();
            softmax(&logits)
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATMUL: Op = Op::Matmul { batch: 2, m: 1, k: 2, n: 2 };

    fn operands() -> Operands {
        Operands(vec![vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, 2.0]])
    }

    #[test]
    fn each_batch_is_multiplied_with_its_own_matrix() {
        let answer = Answer::of(MATMUL, &operands());
        assert!(answer.check(&Output::Dense(vec![1.0, 2.0, 10.0, 11.0]), 1e-6).is_ok());
        assert!(answer.check(&Output::Dense(vec![1.0, 2.0, 10.0, 12.0]), 1e-6).is_err());
        assert!(answer.check(&Output::Dense(vec![1.0, 2.0, 10.0]), 1e-6).is_err());
        assert!(answer.check(&Output::Dense(vec![f32::NAN; 4]), 1e-6).is_err());
    }

    #[test]
    fn the_first_position_attends_to_itself_alone() {
        let op = Op::Attention { heads: 1, q_len: 2, kv_len: 2, head_dim: 1 };
        let operands = Operands(vec![vec![1.0, 0.0], vec![5.0, -5.0], vec![7.0, 9.0]]);
        assert!(Answer::of(op, &operands).check(&Output::Dense(vec![7.0, 8.0]), 1e-6).is_ok());
    }

    #[test]
    fn a_gate_may_give_its_experts_in_any_order_but_not_twice_nor_others() {
        let op = Op::Gate { tokens: 1, experts: 3, top_k: 2 };
        let operands = Operands(vec![vec![0.0, 2f32.ln(), 5f32.ln()]]);
        let answer = Answer::of(op, &operands);
        assert!(answer.check(&Output::TopK(vec![0.25, 0.625], vec![1, 2]), 1e-6).is_ok());
        assert!(answer.check(&Output::TopK(vec![0.625, 0.625], vec![2, 2]), 1e-6).is_err());
        assert!(answer.check(&Output::TopK(vec![0.625, 0.125], vec![2, 0]), 1e-6).is_err());
        assert!(answer.check(&Output::TopK(vec![0.625, 0.25], vec![2, 9]), 1e-6).is_err());
    }
}
