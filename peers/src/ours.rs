//! supernode-bench's side: every variant that suits, verified, the fastest kept.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use half::f16;
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::attention::{Decode, Heads, Prefill};
use supernode_bench::kernels::gating::{Gate, Logits, TopK};
use supernode_bench::kernels::matmul::{Matmul, MatmulRole};
use supernode_bench::kernels::probes::Probe;
use supernode_bench::kernels::routing::{self, Layout, Load, NONE};
use supernode_bench::kernels::{Element, Kernel, Tensor, Tensors};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::host::process_cpu_time;
use supernode_bench::measure::{Executor, Prepared, launch};

use crate::answer::{Answer, Closeness, Output};
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
    /// Of the variant.
    pub closeness: Closeness,
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

impl<'a> Ours<'a> {
    /// Compiles, verifies and tries all variants that the device can run.
    pub fn new(
        gpu: &'a Gpu,
        op: Op,
        element: Element,
        operands: &Operands,
        answer: &Answer,
        sets: u32,
        clock: Clock,
    ) -> Result<Self> {
        let kernel = kernel(op);
        let mut first_call = FirstCall { wall_s: 0.0, cpu_s: Some(0.0) };
        let mut tried = Vec::new();
        let mut best: Option<(f64, &str, Closeness)> = None;
        for &variant in kernel.variants().iter().filter(|variant| kernel.suits(variant)) {
            let plan = kernel.plan(variant, element);
            if launch::missing(&plan, &gpu.info).is_some() {
                continue;
            }
            let (inputs, layout) = inputs(kernel.as_ref(), variant, element, op, operands)?;
            let begun = (Instant::now(), process_cpu_time());
            let mut prepared = gpu.prepare(&plan, &inputs, 1).with_context(|| variant.to_owned())?;
            prepared.run(1).with_context(|| variant.to_owned())?;
            let seconds = try_out(prepared.as_mut(), clock, best.as_ref().map_or(f64::INFINITY, |best| best.0))?;
            first_call.wall_s += begun.0.elapsed().as_secs_f64();
            let cpu = begun.1.zip(process_cpu_time()).map(|(before, after)| (after - before).get());
            first_call.cpu_s = first_call.cpu_s.zip(cpu).map(|(sum, cpu)| sum + cpu);
            let output = output(prepared.as_mut(), kernel.as_ref(), variant, element, op, layout.as_ref())?;
            let closeness = answer.check(&output, tolerance(element)).with_context(|| variant.to_owned())?;
            tried.push(Tried { variant: variant.to_owned(), best_s: seconds });
            if best.as_ref().is_none_or(|best| seconds < best.0) {
                best = Some((seconds, variant, closeness));
            }
        }
        let (_, variant, closeness) = best.ok_or_else(|| anyhow!("no variant runs on this device"))?;
        let (inputs, _) = inputs(kernel.as_ref(), variant, element, op, operands)?;
        let prepared = gpu.prepare(&kernel.plan(variant, element), &inputs, sets)?;
        Ok(Self { prepared, variant: variant.to_owned(), first_call, tried, closeness })
    }

    /// Runs it `runs` times in one submission.
    pub fn lap(&mut self, runs: u32) -> Result<Lap> {
        lap(self.prepared.as_mut(), runs)
    }
}

/// The best of a few laps; one is enough of a variant that takes twice as long as `best`.
fn try_out(prepared: &mut dyn Prepared, clock: Clock, best: f64) -> Result<f64> {
    let mut seconds = f64::INFINITY;
    for _ in 0..TRIALS {
        let lap = lap(prepared, 1)?;
        seconds = seconds.min(lap.on(clock).unwrap_or(lap.wall_s));
        if seconds > 2.0 * best {
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
pub fn tolerance(element: Element) -> f64 {
    if element == Element::F32 { 1e-5 } else { 1.5e-3 }
}

/// The f32 multiply-add rate of the device on the deciding clock, in FLOP/s: the roof of every matmul.
pub fn fma_ceiling(gpu: &Gpu, clock: Clock) -> Result<f64> {
    let (mut invocations, mut rounds) = (1 << 14, 32);
    loop {
        let probe = Probe::Fma { invocations, rounds };
        let plan = probe.plan("probe", Element::F32);
        let mut prepared = gpu.prepare(&plan, &probe.inputs("probe", Element::F32, 1), 1)?;
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
            load: Load::Uniform,
        }),
        Op::Attention { heads, q_len, kv_len, head_dim } => {
            let heads = Heads { heads, kv_heads: heads, head_dim };
            if q_len == 1 {
                Box::new(Decode { heads, sequences: 1, kv_len })
            } else {
                Box::new(Prefill { heads, q_len, kv_len })
            }
        }
        Op::Gate { tokens, experts, top_k } => Box::new(TopK {
            gate: Gate { experts, top_k, sigmoid: false, groups: 1, kept_groups: 1, renormalise: false, scale: 1.0 },
            tokens,
            logits: Logits::Random,
        }),
    }
}

/// The operands in the layout of a variant; for a matmul with the rows of each batch padded to the variant's tile.
fn inputs(
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    op: Op,
    Operands(operands): &Operands,
) -> Result<(Tensors, Option<Layout>)> {
    let mut inputs = kernel.inputs(variant, element, 1);
    let mut layout = None;
    let mut replace = |name: &'static str, values: &[f32]| match inputs.get_mut(name) {
        Some(tensor) => {
            let dims = tensor.dims().to_vec();
            *tensor = of_values(&dims, values, element);
            Ok(())
        }
        None => bail!("{variant} has no input {name}"),
    };
    match op {
        Op::Matmul { batch, m, k, .. } => {
            replace("b", &operands[1])?;
            let given = |name: &str| {
                inputs.get(name).map(|tensor| tensor.dims()[0]).ok_or_else(|| anyhow!("{variant} has no input {name}"))
            };
            let (rows, blocks) = (given("slot_of_row")?, given("block_expert")?);
            let slots: Vec<u32> = (0..batch * m).map(|slot| u32::try_from(slot / m)).collect::<Result<_, _>>()?;
            let balanced = routing::layout(&slots, batch, rows / blocks);
            let mut a = vec![0.0; rows * k];
            for (slot, &row) in balanced.row_of_slot.iter().enumerate() {
                let row = row as usize;
                a[row * k..(row + 1) * k].copy_from_slice(&operands[0][slot * k..(slot + 1) * k]);
            }
            inputs.insert("a", of_values(&[rows, k], &a, element));
            inputs.insert("block_expert", Tensor::indices(&balanced.block_expert));
            inputs.insert("slot_of_row", Tensor::indices(&balanced.slot_of_row));
            layout = Some(balanced);
        }
        Op::Attention { .. } => {
            for (name, values) in ["q", "k", "v"].into_iter().zip(operands) {
                replace(name, values)?;
            }
        }
        Op::Gate { .. } => replace("logits", &operands[0])?,
    }
    Ok((inputs, layout))
}

fn of_values(dims: &[usize], values: &[f32], element: Element) -> Tensor {
    match element {
        Element::F16 => {
            let bytes = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
            Tensor::from_bytes(dims, dims, element.into(), bytes)
        }
        _ => Tensor::floats(dims, values),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the output is f32 or f16")]
fn output(
    prepared: &mut dyn Prepared,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    op: Op,
    layout: Option<&Layout>,
) -> Result<Output> {
    let mut outputs = Tensors::new();
    for output in kernel.outputs(variant, element) {
        let bytes = prepared.read(output.name)?;
        outputs.insert(output.name, Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes));
    }
    let get = |name: &str| outputs.get(name).ok_or_else(|| anyhow!("{variant} has no output {name}"));
    Ok(match op {
        Op::Matmul { n, .. } => {
            let c = get("c")?;
            let layout = layout.ok_or_else(|| anyhow!("a matmul has a layout"))?;
            let rows = layout.row_of_slot.iter().filter(|row| **row != NONE);
            Output::Dense(
                rows.flat_map(|&row| (0..n).map(move |column| c.at(&[row as usize, column]) as f32)).collect(),
            )
        }
        Op::Attention { heads, head_dim, q_len, .. } => {
            let out = get("out")?;
            let at = |i: usize| out.at(&[i / (heads * head_dim), i / head_dim % heads, i % head_dim]) as f32;
            Output::Dense((0..q_len * heads * head_dim).map(at).collect())
        }
        Op::Gate { tokens, top_k, .. } => {
            let (weight, expert) = (get("weight")?, get("expert_of_slot")?);
            let slots = || (0..tokens * top_k).map(|slot| [slot / top_k, slot % top_k]);
            Output::TopK(
                slots().map(|slot| weight.at(&slot) as f32).collect(),
                slots().map(|slot| expert.index_at(&slot)).collect(),
            )
        }
    })
}
