//! burn's side: the same operands through its tensor API, as a user would write it.

use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn_tensor::activation::softmax;
use burn_tensor::module::attention;
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{Device, DeviceKind, FloatDType, Int, ProfileOptions, Tensor, TensorData};
use supernode_bench::kernels::StorageType;
use supernode_bench::measure::host::process_cpu_time;
use supernode_bench::record::{self, DeviceType};

use crate::answer::{Answer, Closeness, Output};
use crate::case::{Op, Operands};
use crate::lap::Lap;
use crate::ours::{FirstCall, tolerance};

/// An operation on burn, with copies of its operands to rotate over.
pub struct Theirs {
    device: Device,
    operands: Vec<Set>,
    op: Op,
    next: usize,
}

/// One copy of the operands.
#[derive(Clone)]
enum Set {
    Matmul(Tensor<2>, Tensor<2>),
    Batched(Tensor<3>, Tensor<3>),
    Attention(Tensor<4>, Tensor<4>, Tensor<4>),
    Gate(Tensor<2>),
}

/// What an operation gives; kept until the device has finished, so that nothing can be left out as unused.
enum Given {
    Two(Tensor<2>),
    Three(Tensor<3>),
    Four(Tensor<4>),
    TopK(Tensor<2>, Tensor<2, Int>),
}

/// Opens burn's device and makes sure that it is the adapter that we measure.
pub fn open(ours: &record::Device) -> Result<Device> {
    let kind = match ours.device_type {
        DeviceType::Software => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    };
    let (device, setup) =
        Device::wgpu_options().device_kind(kind).init_with_setup().map_err(|error| anyhow!("burn: {error}"))?;
    let name = setup.adapter.get_info().name;
    if name != ours.name {
        bail!(
            "burn opened {name}, we measure {}; choose with --adapter, or with CUBECL_WGPU_DEFAULT_DEVICE",
            ours.name
        );
    }
    Ok(device)
}

impl Theirs {
    /// Uploads `sets` copies of the operands.
    pub fn new(device: Device, op: Op, element: StorageType, operands: &Operands, sets: u32) -> Result<Self> {
        let dtype = match element {
            StorageType::F32 => FloatDType::F32,
            StorageType::F16 => FloatDType::F16,
            #[allow(unreachable_patterns, reason = "the library may know more types than burn multiplies in")]
            _ => bail!("{element} is not compared"),
        };
        let operands = (0..sets).map(|_| Set::new(&device, op, dtype, operands)).collect();
        device.sync().map_err(|error| anyhow!("burn: {error}"))?;
        Ok(Self { device, operands, op, next: 0 })
    }

    /// The first use: compilation and autotune, until the result is on the host.
    pub fn first_call(&mut self, answer: &Answer, element: StorageType) -> Result<(FirstCall, Closeness)> {
        let begun = (Instant::now(), process_cpu_time());
        let given = run(&self.operands[0], self.op);
        let output = given.read()?;
        let cpu = begun.1.zip(process_cpu_time()).map(|(before, after)| (after - before).get());
        let first_call = FirstCall { wall_s: begun.0.elapsed().as_secs_f64(), cpu_s: cpu };
        Ok((first_call, answer.check(&output, tolerance(element))?))
    }

    /// Runs it `runs` times, then waits.
    pub fn lap(&mut self, runs: u32) -> Result<Lap> {
        let sets = self.turn(runs);
        let begun = (Instant::now(), process_cpu_time());
        let given: Vec<Given> = sets.iter().map(|set| run(set, self.op)).collect();
        self.device.sync().map_err(|error| anyhow!("burn: {error}"))?;
        let (wall, cpu) = (begun.0.elapsed(), process_cpu_time());
        drop(given);
        let each = f64::from(runs);
        Ok(Lap {
            device_s: None,
            wall_s: wall.as_secs_f64() / each,
            cpu_s: begun.1.zip(cpu).map(|(before, after)| (after - before).get() / each),
        })
    }

    /// As [`Self::lap`], under burn's profiler, which reads the device's clock.
    pub fn profiled_lap(&mut self, runs: u32) -> Result<Lap> {
        let (sets, op) = (self.turn(runs), self.op);
        let begun = (Instant::now(), process_cpu_time());
        let (given, profile) = self
            .device
            .profile_with(ProfileOptions::default().flush(), move || {
                sets.iter().map(|set| run(set, op)).collect::<Vec<Given>>()
            })
            .map_err(|error| anyhow!("burn: {error}"))?;
        self.device.sync().map_err(|error| anyhow!("burn: {error}"))?;
        let (wall, cpu) = (begun.0.elapsed(), process_cpu_time());
        drop(given);
        let each = f64::from(runs);
        let ticks = pollster::block_on(profile.resolve());
        Ok(Lap {
            device_s: ticks.map(|ticks| ticks.duration().as_secs_f64() / each),
            wall_s: wall.as_secs_f64() / each,
            cpu_s: begun.1.zip(cpu).map(|(before, after)| (after - before).get() / each),
        })
    }

    /// The next `runs` copies in turn.
    fn turn(&mut self, runs: u32) -> Vec<Set> {
        let sets = self.operands.len();
        let first = self.next;
        self.next = (first + runs as usize) % sets;
        (0..runs as usize).map(|run| self.operands[(first + run) % sets].clone()).collect()
    }
}

impl Set {
    fn new(device: &Device, op: Op, dtype: FloatDType, Operands(operands): &Operands) -> Self {
        fn tensor<const D: usize>(values: &[f32], dims: [usize; D], device: &Device, dtype: FloatDType) -> Tensor<D> {
            Tensor::<D>::from_data(TensorData::new(values.to_vec(), dims), device).cast(dtype)
        }
        match op {
            Op::Matmul { batch: 1, m, k, n } => {
                Self::Matmul(tensor(&operands[0], [m, k], device, dtype), tensor(&operands[1], [k, n], device, dtype))
            }
            Op::Matmul { batch, m, k, n } => Self::Batched(
                tensor(&operands[0], [batch, m, k], device, dtype),
                tensor(&operands[1], [batch, k, n], device, dtype),
            ),
            Op::Attention { heads, q_len, kv_len, head_dim } => {
                // burn's layout is [batch, head, position, head_dim].
                let heads_first = |values: &[f32], positions: usize| {
                    let mut turned = Vec::with_capacity(values.len());
                    for head in 0..heads {
                        for position in 0..positions {
                            let start = (position * heads + head) * head_dim;
                            turned.extend_from_slice(&values[start..start + head_dim]);
                        }
                    }
                    tensor(&turned, [1, heads, positions, head_dim], device, dtype)
                };
                let [q, k, v] = [&operands[0], &operands[1], &operands[2]];
                Self::Attention(heads_first(q, q_len), heads_first(k, kv_len), heads_first(v, kv_len))
            }
            Op::Gate { tokens, experts, .. } => Self::Gate(tensor(&operands[0], [tokens, experts], device, dtype)),
        }
    }
}

fn run(set: &Set, op: Op) -> Given {
    match set {
        Set::Matmul(a, b) => Given::Two(a.clone().matmul(b.clone())),
        Set::Batched(a, b) => Given::Three(a.clone().matmul(b.clone())),
        Set::Attention(q, k, v) => {
            // One query at the end of the cache sees all keys: no mask is the cheaper way to say so.
            let is_causal = matches!(op, Op::Attention { q_len, .. } if q_len > 1);
            let options = AttentionModuleOptions { is_causal, ..AttentionModuleOptions::default() };
            Given::Four(attention(q.clone(), k.clone(), v.clone(), None, None, options))
        }
        Set::Gate(logits) => {
            let top_k = if let Op::Gate { top_k, .. } = op { top_k } else { 1 };
            let (weights, experts) = softmax(logits.clone(), 1).topk_with_indices(top_k, 1);
            Given::TopK(weights, experts)
        }
    }
}

impl Given {
    fn read(self) -> Result<Output> {
        let floats = |data: TensorData| data.try_into_vec::<f32>().map_err(|error| anyhow!("burn: {error:?}"));
        Ok(match self {
            Self::Two(tensor) => Output::Dense(floats(tensor.into_data_as::<f32>())?),
            Self::Three(tensor) => Output::Dense(floats(tensor.into_data_as::<f32>())?),
            Self::Four(tensor) => {
                // Back to [position, head, head_dim].
                let [_, heads, positions, head_dim] = tensor.dims();
                let values = floats(tensor.into_data_as::<f32>())?;
                let mut turned = Vec::with_capacity(values.len());
                for position in 0..positions {
                    for head in 0..heads {
                        let start = (head * positions + position) * head_dim;
                        turned.extend_from_slice(&values[start..start + head_dim]);
                    }
                }
                Output::Dense(turned)
            }
            Self::TopK(weights, experts) => {
                let experts =
                    experts.into_data_as::<i32>().try_into_vec::<i32>().map_err(|error| anyhow!("burn: {error:?}"))?;
                let experts = experts.into_iter().map(|e| u32::try_from(e).unwrap_or(u32::MAX)).collect();
                Output::TopK(floats(weights.into_data_as::<f32>())?, experts)
            }
        })
    }
}
