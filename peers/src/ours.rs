//! supernode-bench's side: every variant that suits, verified, the fastest kept.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::attention::{Decode, Heads, Prefill};
use supernode_bench::kernels::gating::{Gate, Logits, TopK};
use supernode_bench::kernels::matmul::{Matmul, MatmulRole};
use supernode_bench::kernels::probes::FmaForm;
use supernode_bench::kernels::routing::{Load, NONE};
use supernode_bench::kernels::{Kernel, StorageType, Tensor, Tensors};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::host::process_cpu_time;
use supernode_bench::measure::{Executor, Prepared, features, planning, tuning};
use supernode_bench::specs::Scoring;
use supernode_bench::units::{FlopPerSecond, Seconds};

use crate::answer::Output;
use crate::case::{Op, Operands};
use crate::lap::{Clock, Lap};

/// The fastest variant, ready to run.
pub struct Ours<'a> {
    prepared: Box<dyn Prepared + 'a>,
    /// Its name.
    pub variant: String,
    /// What the first use cost: compiling and trying all variants.
    pub first_call: FirstCall,
    /// All that were tried.
    pub tried: Vec<Tried>,
    /// What it computes on, for the other side.
    pub operands: Operands,
    /// What it gave.
    pub output: Output,
    /// Copies of the operands that laps rotate over.
    pub sets: u32,
}

/// The cost of the first use of an operation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FirstCall {
    /// Wall time.
    pub wall_s: f64,
    /// CPU time of the process.
    pub cpu_s: Option<f64>,
}

/// A variant and its best time when it was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    /// Name.
    pub variant: String,
    /// Seconds on the deciding clock.
    pub best_s: f64,
}

/// Laps of a variant when it is tried.
const TRIALS: u32 = 3;
/// A lap beyond this is not repeated.
const LAPS_S: f64 = 0.06;
/// Of the operands.
const SEED: u64 = 1;
/// Multiply-adds of the twin for each variant; the fastest one's output is compared in full afterwards.
const EFFORT: u64 = 20_000_000;

impl<'a> Ours<'a> {
    /// Compiles, verifies and tries all variants that the device can run, as the product does; the fastest is prepared with
    /// as many copies of its operands as `copies` tells for their bytes. `roof` is the f32 multiply-add rate by the wall.
    pub fn new(
        gpu: &'a Gpu,
        op: Op,
        element: StorageType,
        clock: Clock,
        roof: f64,
        copies: impl Fn(u64) -> u32,
    ) -> Result<Self> {
        let kernel = kernel(op);
        let smaller = kernel.smaller(tuning::most(FlopPerSecond::new(roof), None, clock == Clock::Cpu));
        let trial = smaller.as_deref().unwrap_or(kernel.as_ref());
        let mut first_call = FirstCall { wall_s: 0.0, cpu_s: Some(0.0) };
        let mut tried = Vec::new();
        let mut best: Option<(f64, &str)> = None;
        let mut longest = 0.0_f64;
        for variant in kernel.candidates(&planning::target(&gpu.info), kernel.variants()) {
            // No variant that might not end within what a first use may take.
            let spent = first_call.cpu_s.filter(|_| clock == Clock::Cpu).unwrap_or(first_call.wall_s);
            if best.is_some() && tuning::is_over(Seconds::new(spent), Seconds::new(longest)) {
                break;
            }
            let exists = kernel.variant_elements(variant).contains(&element);
            if !exists || features::missing(&kernel.plan(variant, element), &gpu.info).is_some() {
                continue;
            }
            let plan = trial.plan(variant, element);
            let inputs = trial.inputs(variant, element, SEED);
            let begun = (Instant::now(), process_cpu_time());
            let mut prepared = gpu.prepare(&plan, &inputs, 1).with_context(|| variant.to_owned())?;
            prepared.run(1).with_context(|| variant.to_owned())?;
            let seconds = try_out(prepared.as_mut(), clock, best.map_or(f64::INFINITY, |best| best.0))?;
            first_call.wall_s += begun.0.elapsed().as_secs_f64();
            let cpu = begun.1.zip(process_cpu_time()).map(|(before, after)| (after - before).get());
            first_call.cpu_s = first_call.cpu_s.zip(cpu).map(|(sum, cpu)| sum + cpu);
            longest = longest.max(cpu.filter(|_| clock == Clock::Cpu).unwrap_or(begun.0.elapsed().as_secs_f64()));
            let outputs = outputs(prepared.as_mut(), trial, variant, element)?;
            let verification = trial.verify(&inputs, &outputs, element, EFFORT);
            if !verification.passed() {
                bail!("{variant} is wrong: error {:.2e}", verification.value);
            }
            tried.push(Tried { variant: variant.to_owned(), best_s: seconds });
            if best.is_none_or(|best| seconds < best.0) {
                best = Some((seconds, variant));
            }
        }
        let (_, variant) = best.ok_or_else(|| anyhow!("no variant runs on this device"))?;
        let inputs = kernel.inputs(variant, element, SEED);
        let operands = operands(op, &inputs)?;
        let sets = copies(operands.bytes(element));
        let mut prepared = gpu.prepare(&kernel.plan(variant, element), &inputs, sets)?;
        prepared.run(1)?;
        let outputs = outputs(prepared.as_mut(), kernel.as_ref(), variant, element)?;
        let output = output(op, &inputs, &outputs)?;
        Ok(Self { prepared, variant: variant.to_owned(), first_call, tried, operands, output, sets })
    }

    /// Runs it `runs` times in one submission.
    pub fn lap(&mut self, runs: u32) -> Result<Lap> {
        lap(self.prepared.as_mut(), runs)
    }
}

/// The best of a few laps; one is enough of a variant that takes twice as long as `best`, or longer than a trial's laps may.
fn try_out(prepared: &mut dyn Prepared, clock: Clock, best: f64) -> Result<f64> {
    let mut seconds = f64::INFINITY;
    for _ in 0..TRIALS {
        let lap = lap(prepared, 1)?;
        seconds = seconds.min(lap.on(clock).unwrap_or(lap.wall_s));
        if seconds > 2.0 * best || lap.wall_s > LAPS_S {
            break;
        }
    }
    Ok(seconds)
}

fn lap(prepared: &mut dyn Prepared, runs: u32) -> Result<Lap> {
    let lap = prepared.run(runs)?;
    let each = f64::from(runs);
    Ok(Lap {
        device_s: lap.device.map(|time| time.get() / each),
        wall_s: lap.wall.get() / each,
        cpu_s: lap.cpu.map(|time| time.get() / each),
    })
}

/// What an f32 or f16 product stays within, as a relative Frobenius error.
pub fn tolerance(element: StorageType) -> f64 {
    if element == StorageType::F32 { 1e-5 } else { 1.5e-3 }
}

/// The f32 multiply-add rate of the device on the deciding clock, in FLOP/s: the roof of every matmul.
pub fn fma_ceiling(gpu: &Gpu, clock: Clock) -> Result<f64> {
    let (mut invocations, mut rounds) = (1 << 14, 32);
    loop {
        let probe = FmaForm::Chains.probe(invocations, rounds);
        let plan = probe.plan("probe", StorageType::F32);
        let mut prepared = gpu.prepare(&plan, &probe.inputs("probe", StorageType::F32, 1), 1)?;
        prepared.run(1)?;
        let mut seconds = f64::INFINITY;
        for _ in 0..5 {
            let lap = lap(prepared.as_mut(), 1)?;
            seconds = seconds.min(lap.on(clock).unwrap_or(lap.wall_s));
        }
        if seconds > 20e-3 || rounds >= 1 << 13 {
            return Ok(plan.work.flop.get() / seconds);
        }
        if invocations < 1 << 19 { invocations *= 4 } else { rounds *= 4 }
    }
}

fn kernel(op: Op) -> Box<dyn Kernel> {
    match op {
        Op::Matmul { batch, m, k, n } => Box::new(Matmul {
            role: if batch == 1 { MatmulRole::Dense } else { MatmulRole::Down },
            experts: batch,
            tokens: batch * m,
            top_k: 1,
            k,
            n,
            load: Load::Even,
        }),
        Op::Attention { heads, q_len, kv_len, head_dim } => {
            let shape = Heads { heads, kv_heads: heads, head_dim };
            if q_len == 1 {
                Box::new(Decode::new(shape, 1, kv_len))
            } else {
                Box::new(Prefill::causal(shape, q_len, kv_len))
            }
        }
        Op::Gate { tokens, experts, top_k } => Box::new(TopK {
            gate: Gate {
                experts,
                top_k,
                scoring: Scoring::Softmax,
                groups: 1,
                kept_groups: 1,
                renormalise: false,
                scale: 1.0,
            },
            tokens,
            logits: Logits::Random,
        }),
    }
}

fn get<'t>(tensors: &'t Tensors, name: &str) -> Result<&'t Tensor> {
    tensors.get(name).ok_or_else(|| anyhow!("our kernel has no operand {name}"))
}

/// The row of each slot, in order of the slots: rows of a matmul are sorted by matrix and padded.
fn rows_in_order(inputs: &Tensors) -> Result<Vec<usize>> {
    let slot_of_row = get(inputs, "slot_of_row")?;
    let mut rows: Vec<(u32, usize)> = (0..slot_of_row.dims()[0])
        .map(|row| (slot_of_row.index_at(&[row]), row))
        .filter(|(slot, _)| *slot != NONE)
        .collect();
    rows.sort_unstable();
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// What the variant computes on, without its order in memory and its padding.
fn operands(op: Op, inputs: &Tensors) -> Result<Operands> {
    Ok(Operands(match op {
        Op::Matmul { batch, k, n, .. } => {
            let (a, b) = (get(inputs, "a")?, get(inputs, "b")?);
            let rows = rows_in_order(inputs)?;
            vec![
                rows.iter().flat_map(|&row| (0..k).map(move |i| value(a, &[row, i]))).collect(),
                (0..batch * k * n).map(|at| value(b, &[at / (k * n), at / n % k, at % n])).collect(),
            ]
        }
        Op::Attention { .. } => {
            ["q", "k", "v"].into_iter().map(|name| get(inputs, name).map(flat)).collect::<Result<_>>()?
        }
        Op::Gate { .. } => vec![flat(get(inputs, "logits")?)],
    }))
}

/// All elements in row-major order.
fn flat(tensor: &Tensor) -> Vec<f32> {
    let dims = tensor.dims();
    let mut index = vec![0; dims.len()];
    (0..dims.iter().product())
        .map(|at: usize| {
            let mut left = at;
            for (index, dim) in index.iter_mut().zip(dims).rev() {
                *index = left % dim;
                left /= dim;
            }
            value(tensor, &index)
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the tensor holds f32 or f16")]
fn value(tensor: &Tensor, at: &[usize]) -> f32 {
    tensor.at(at) as f32
}

fn outputs(prepared: &mut dyn Prepared, kernel: &dyn Kernel, variant: &str, element: StorageType) -> Result<Tensors> {
    let mut outputs = Tensors::new();
    for output in kernel.outputs(variant, element) {
        let bytes = prepared.read(output.name)?;
        outputs.insert(output.name, Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes));
    }
    Ok(outputs)
}

fn output(op: Op, inputs: &Tensors, outputs: &Tensors) -> Result<Output> {
    Ok(match op {
        Op::Matmul { n, .. } => {
            let c = get(outputs, "c")?;
            let rows = rows_in_order(inputs)?;
            Output::Dense(rows.iter().flat_map(|&row| (0..n).map(move |column| value(c, &[row, column]))).collect())
        }
        Op::Attention { .. } => Output::Dense(flat(get(outputs, "out")?)),
        Op::Gate { .. } => {
            let expert = get(outputs, "expert_of_slot")?;
            let [tokens, top_k] = [expert.dims()[0], expert.dims()[1]];
            let experts = (0..tokens * top_k).map(|slot| expert.index_at(&[slot / top_k, slot % top_k])).collect();
            Output::TopK(flat(get(outputs, "weight")?), experts)
        }
    })
}
