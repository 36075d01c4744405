//! A chip as the projection sees it: from its file of facts, or from a record of this tool.

mod fleet;
mod measured;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::operators::{OperatorTables, RankPeaks};
use crate::projection::caveat::ProjectionCaveat;
use crate::projection::costs::Costs;
use crate::projection::parallel_plan::Phase;
use crate::projection::slowest::DeviceSpread;
use crate::specs::{Chip, Framework, FrameworkTimes, NumberType, Scenario, Sourced};

/// A chip: peaks, memory, links, fixed costs, and the shares of its peaks that kernels reach. Its JSON holds all of it, so that
/// a page can ask about a measured chip without reading the record again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipModel {
    /// Name.
    pub name: String,
    /// Arithmetic peak by type.
    pub peaks: BTreeMap<NumberType, Sourced>,
    /// Memory bandwidth, bytes per second.
    pub bandwidth: Sourced,
    /// Memory size, bytes.
    pub capacity: Sourced,
    /// Share of the memory that may be filled.
    pub usable: Sourced,
    /// Links inside a node, bytes per second and direction.
    pub scale_up: Sourced,
    /// Time of a launch, seconds.
    pub launch: Sourced,
    /// Share of the arithmetic peak that the clock keeps under long load.
    pub sustained_clock: Sourced,
    /// Fixed time of a step, seconds.
    pub step: Sourced,
    /// Dies of a package. Each is a rank.
    pub dies: Sourced,
    /// Power of a package at most, watts; `None` where nothing says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Sourced>,
    /// Share of the cores that a dispatch or combine of many tokens holds while it runs.
    pub communication_cores: Sourced,
    /// Share of the cores that a dispatch or combine of few tokens (decode) holds.
    pub decode_communication_cores: Sourced,
    /// Share of the cores that fills the memory.
    pub saturating_cores: Sourced,
    /// Whether two micro-batches may run side by side on a die.
    pub splits_cores: bool,
    /// Measured kernels, where the chip is a record's.
    pub costs: Option<Arc<Costs>>,
    /// Measured operators of others, where they were given.
    #[serde(skip)]
    pub operators: Option<Arc<OperatorTables>>,
    /// What a framework adds to steps and requests in serving, where one is named.
    #[serde(skip)]
    pub serving_framework: Option<FrameworkTimes>,
    /// The chip's own fixed time of a step, where that of a framework stands in its place.
    #[serde(skip)]
    pub own_step: Option<Sourced>,
    /// Factor on the time of measured kernels: 1 with the band of noise and interpolation.
    pub cost_factor: Sourced,
    /// How far devices of this kind are apart, where it is known: a step waits for the slowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<DeviceSpread>,
    /// Share of the roofs that kernels reach.
    pub efficiency: ByClass<ClassEfficiency<Sourced>>,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
}

/// Share of each roof.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassEfficiency<T> {
    /// Of the arithmetic peak.
    pub compute: T,
    /// Of the memory bandwidth.
    pub memory: T,
}

/// One value for each class of op.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByClass<T> {
    /// Attention proper, without its projections.
    pub attention: T,
    /// Routed experts.
    pub expert: T,
    /// Projections, dense FFN, shared experts, LM head.
    pub dense: T,
    /// Router, top-k, sort.
    pub gating: T,
    /// Causal attention of prefill and training.
    pub prefill_attention: T,
    /// Streams through the vector units: norms, rotations, activations, casts.
    pub vector: T,
}

/// The share of the cores that fills the memory, where no file says it.
fn saturating_cores() -> Sourced {
    Sourced::assumed(0.5, 0.33, 0.67, "half of the cores fill the memory; no published figure")
}

/// Degrees count dies, as published ones do.
fn die_caveat(chip: &Chip) -> Vec<ProjectionCaveat> {
    let dies = chip.dies.value;
    let caveat = ProjectionCaveat::DegreesCountDies { dies, chip: chip.name.clone() };
    if dies > 1.0 { vec![caveat] } else { Vec::new() }
}

impl ChipModel {
    /// From a file of facts.
    pub fn from_spec(chip: &Chip) -> Self {
        let peaks = NumberType::ALL
            .into_iter()
            .filter_map(|number_type| Some((number_type, chip.peak_flop_per_s.of(number_type)?.clone())))
            .collect();
        let share = &chip.efficiency;
        let gemm = ClassEfficiency { compute: share.gemm_compute.clone(), memory: share.gemm_memory.clone() };
        Self {
            name: chip.name.clone(),
            peaks,
            bandwidth: chip.memory.bandwidth_bytes_per_s.clone(),
            capacity: chip.memory.capacity_bytes.clone(),
            usable: chip.memory.usable_fraction.clone(),
            scale_up: chip.links.scale_up_bytes_per_s.clone(),
            launch: chip.overhead.launch_s.clone(),
            step: chip.overhead.step_s.clone(),
            sustained_clock: chip.overhead.sustained_clock.clone(),
            dies: chip.dies.clone(),
            power: chip.power_w.clone(),
            communication_cores: chip.overhead.communication_cores.clone(),
            decode_communication_cores: chip.overhead.decode_communication_cores.clone(),
            saturating_cores: chip.memory.saturating_cores.clone().unwrap_or_else(saturating_cores),
            splits_cores: chip.splits_cores,
            costs: None,
            operators: None,
            serving_framework: None,
            own_step: None,
            cost_factor: Sourced::assumed(1.0, 1.0, 1.0, "no measured kernels"),
            spread: None,
            efficiency: ByClass {
                attention: ClassEfficiency {
                    compute: share.attention_compute.clone(),
                    memory: share.attention_memory.clone(),
                },
                prefill_attention: ClassEfficiency {
                    compute: share.prefill_attention_compute.as_ref().unwrap_or(&share.attention_compute).clone(),
                    memory: share.attention_memory.clone(),
                },
                expert: gemm.clone(),
                dense: gemm.clone(),
                gating: ClassEfficiency { compute: gemm.compute.clone(), memory: share.gating_memory.clone() },
                vector: ClassEfficiency { compute: gemm.compute, memory: share.vector_memory.clone() },
            },
            caveats: die_caveat(chip),
        }
    }

    /// The whole peaks of a die.
    pub fn rank_peaks(&self, scenario: Scenario) -> RankPeaks {
        let dies = self.dies.value.max(1.0);
        RankPeaks {
            arithmetic: self.peaks.iter().map(|(kind, peak)| (*kind, scenario.rate(peak) / dies)).collect(),
            memory: scenario.rate(&self.bandwidth) / dies,
            scale_up: scenario.rate(&self.scale_up) / dies,
        }
    }

    /// Takes the times of ops from measured operators wherever they cover a shape; `of_other` names the system that they are
    /// of, where it is another one's.
    pub fn set_operators(&mut self, tables: Arc<OperatorTables>, of_other: Option<&str>) {
        let (spread, source) = (tables.spread, "interpolation of measured operators");
        self.cost_factor = Sourced::assumed(1.0, 1.0 / (1.0 + spread), 1.0 + spread, source);
        self.caveats.push(ProjectionCaveat::MeasuredOperators { source: tables.source.clone(), spread });
        if let Some(system) = of_other {
            let (system, chip) = (system.to_owned(), self.name.clone());
            self.caveats.push(ProjectionCaveat::OperatorsOfOther { system, chip });
        }
        self.operators = Some(tables);
    }

    /// Takes the fixed times of a framework that serves. Measured operators come first: beside them it adds other times.
    pub fn set_serving_framework(&mut self, framework: &Framework) {
        let times = framework.times(self.operators.is_some());
        let own = std::mem::replace(&mut self.step, times.step_s.clone());
        self.own_step.get_or_insert(own);
        self.caveats.push(ProjectionCaveat::ServedWith { framework: framework.title.clone() });
        self.serving_framework = Some(times.clone());
    }

    /// The chip with what serves on another one; with nothing where nothing does there.
    #[must_use]
    pub fn served_as(&self, other: &Self) -> Self {
        let own = self.own_step.as_ref().unwrap_or(&self.step);
        let step = other.serving_framework.as_ref().map_or(own, |times| &times.step_s).clone();
        Self { step, own_step: Some(own.clone()), serving_framework: other.serving_framework.clone(), ..self.clone() }
    }

    /// The title of what serves on it; `None` where nothing is named.
    pub fn served_with(&self) -> Option<&str> {
        self.caveats.iter().find_map(|caveat| {
            if let ProjectionCaveat::ServedWith { framework } = caveat { Some(framework.as_str()) } else { None }
        })
    }

    /// Seconds of a request before its first token that no chip works on.
    pub fn request_s(&self) -> f64 {
        self.serving_framework.as_ref().map_or(0.0, |times| times.request_s.value)
    }

    /// Ranks of so many chips: each die is one.
    pub fn ranks(&self, chips: u32) -> f64 {
        f64::from(chips) * self.dies.value.max(1.0)
    }

    /// Factor on the times of kernels where `chips` of them wait for the slowest of their ranks: 1 without a spread.
    pub fn slowest(&self, chips: u32, scenario: Scenario) -> f64 {
        self.spread.as_ref().map_or(1.0, |spread| spread.factor(self.ranks(chips), scenario))
    }

    /// Sets the memory size, in bytes, that the user gave.
    pub fn set_capacity(&mut self, bytes: f64) {
        self.capacity = Sourced::assumed(bytes, bytes, bytes, "given on the command line");
    }

    /// The type of a phase where none is asked for. Serving takes the 8 bits that the chip computes in faster than in 16,
    /// training 16 bits. Nothing takes 4 bits unasked: not every model is given out in them.
    pub fn default_type(&self, phase: Phase) -> NumberType {
        use NumberType::{F32, Fp8, Int8};
        let wide = self.wide_type().unwrap_or(F32);
        let rate = |number_type: NumberType| self.peaks.get(&number_type).map_or(0.0, |peak| peak.value);
        match phase {
            Phase::Training => wide,
            Phase::Prefill | Phase::Decode => {
                [Int8, Fp8].into_iter().find(|narrow| rate(*narrow) > rate(wide)).unwrap_or(wide)
            }
        }
    }

    /// The widest of the types for models that the chip computes in: 16 bits, else f32.
    fn wide_type(&self) -> Option<NumberType> {
        use NumberType::{Bf16, F16, F32};
        [Bf16, F16, F32].into_iter().find(|number_type| self.peaks.contains_key(number_type))
    }

    /// The type that attention runs in: 16 bits where weights have fewer (as FlashMLA, and MLA on Ascend, do).
    pub fn attention_type(&self, number_type: NumberType) -> NumberType {
        use NumberType::{Bf16, F16, F32};
        match number_type {
            F32 | Bf16 | F16 => number_type,
            narrow => self.wide_type().unwrap_or(narrow),
        }
    }

    /// The type that products of weights in `number_type` run in: 16 bits where the chip has no unit for 4, so that it
    /// widens the weights as it multiplies.
    pub fn product_type(&self, number_type: NumberType) -> NumberType {
        if number_type.widens() && !self.peaks.contains_key(&number_type) {
            self.wide_type().unwrap_or(number_type)
        } else {
            number_type
        }
    }
}
