//! Chip and fabric as plain numbers that plans are evaluated with, by rank.
//!
//! A rank is one die: it has its share of the package's peaks, memory, bandwidth and links, and holds its own weights.

use std::sync::Arc;

use super::chip::{ByClass, ClassEfficiency};
use super::costs::Costs;
use super::fabric::{Link, rank_links};
use super::ops::{Class, Op};
use super::request::{Infeasible, Request};
use super::result::Phase;
use super::uncertainty::Scenario;
use crate::specs::{NumberType, Sourced};

/// Roofs of a class of ops, shares included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// FLOP/s that kernels of the class reach.
    pub compute: f64,
    /// Bytes per second that kernels of the class reach.
    pub memory: f64,
}

/// Everything about the machine that a plan's time depends on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Arithmetic peak of matrix products, FLOP/s of a package.
    pub peak: f64,
    /// Ranks of a package.
    pub dies: f64,
    /// Roofs by class of op, of a rank.
    pub roofs: ByClass<Roofs>,
    /// Memory bandwidth of streaming work such as norms and the optimizer, bytes per second of a rank.
    pub streaming: f64,
    /// Seconds a kernel, beside its work.
    pub launch: f64,
    /// Seconds a step, beside everything else.
    pub step: f64,
    /// Share of the cores that a dispatch or combine of many tokens holds while it runs.
    pub communication_cores: f64,
    /// The same in decode.
    pub decode_communication_cores: f64,
    /// Share of the cores that reaches what all of them reach of the memory.
    pub saturating_cores: f64,
    /// Whether two micro-batches may run side by side on a die.
    pub splits_cores: bool,
    /// Whether the roofs meet smoothly: a kernel near the ridge reaches neither roof.
    pub smooth_ridge: bool,
    /// Tiers of the fabric, by rank.
    pub links: Vec<Link>,
    /// Bytes of a weight.
    pub weight_bytes: f64,
    /// Bytes of an activation.
    pub activation_bytes: f64,
    /// Bytes of an element of the KV cache.
    pub cache_bytes: f64,
    /// Type of matrix products.
    pub number_type: NumberType,
    /// Bytes a rank that may be filled.
    pub capacity: f64,
    /// Positions of a sequence whose logits a causal pass computes: one in serving, all in training.
    pub head_positions: f64,
    /// Measured kernels, if the chip is a record's.
    pub costs: Option<Arc<Costs>>,
    /// Factor on the time of measured kernels: 1, except where uncertainty is drawn.
    pub cost_factor: f64,
    /// Factor on the load of the hottest rank beyond what routing says.
    pub skew: f64,
    /// Factors on the times of dispatch and combine: 1, except where flows say otherwise.
    pub wire_factors: [f64; 2],
}

/// Time of an op: what the cores need, what the memory needs, and what it costs beside both.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OpTime {
    /// Arithmetic, seconds.
    pub compute: f64,
    /// Traffic, seconds.
    pub memory: f64,
    /// Launch, seconds.
    pub launch: f64,
}

impl Machine {
    /// The machine of a request.
    ///
    /// # Errors
    /// [`Infeasible::NoSuchType`].
    pub fn new(request: &Request, scenario: Scenario) -> Result<Self, Infeasible> {
        let chip = &request.chip;
        let number_type = request.number_type.unwrap_or_else(|| chip.default_type(request.phase == Phase::Training));
        let peak_of = |wanted: NumberType| {
            chip.peaks.get(&wanted).map(|peak| scenario.rate(peak)).ok_or_else(|| Infeasible::NoSuchType {
                chip: chip.name.clone(),
                asked: wanted.name(),
                offered: chip.peaks.keys().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
            })
        };
        let dies = chip.dies.value.max(1.0);
        let nominal = peak_of(number_type)?;
        let clock = if request.phase == Phase::Decode { 1.0 } else { scenario.rate(&chip.sustained_clock) };
        let peak = nominal * clock;
        let attention_peak = peak_of(chip.attention_type(number_type))? * clock / dies;
        let bandwidth = scenario.rate(&chip.bandwidth) / dies;
        let roofs = |peak: f64, share: &ClassEfficiency<Sourced>| Roofs {
            compute: peak * scenario.rate(&share.compute),
            memory: bandwidth * scenario.rate(&share.memory),
        };
        let classes = &chip.efficiency;
        let vector = roofs(attention_peak, &classes.vector);
        Ok(Self {
            peak: nominal,
            dies,
            roofs: ByClass {
                attention: roofs(attention_peak, &classes.attention),
                prefill_attention: roofs(attention_peak, &classes.prefill_attention),
                expert: roofs(peak / dies, &classes.expert),
                dense: roofs(peak / dies, &classes.dense),
                // The router runs in 16 bits at least.
                gating: roofs(attention_peak, &classes.gating),
                vector,
            },
            streaming: bandwidth * scenario.rate(&classes.dense.memory),
            launch: scenario.time(&chip.launch),
            step: scenario.time(&chip.step),
            communication_cores: scenario.time(&chip.communication_cores).min(0.9),
            decode_communication_cores: scenario.time(&chip.decode_communication_cores).min(0.9),
            saturating_cores: scenario.time(&chip.saturating_cores).min(1.0),
            splits_cores: chip.splits_cores,
            smooth_ridge: chip.costs.is_none(),
            links: links_of(request, dies, scenario),
            weight_bytes: number_type.size_bytes(),
            activation_bytes: number_type.size_bytes().max(2.0),
            cache_bytes: number_type.size_bytes().max(2.0),
            number_type,
            capacity: chip.capacity.value * chip.usable.value / dies,
            head_positions: if request.phase == Phase::Training { f64::INFINITY } else { 1.0 },
            costs: chip.costs.clone(),
            cost_factor: scenario.time(&chip.cost_factor),
            skew: request.workload.skew,
            wire_factors: [1.0; 2],
        })
    }

    /// Time of an op by resource.
    pub fn op(&self, op: &Op) -> OpTime {
        if let (Some(costs), Some(kernel)) = (&self.costs, &op.kernel)
            && let Some(time) = costs.time(kernel, op, self)
        {
            return OpTime { launch: 0.0, ..time };
        }
        let roofs = self.class(op.class);
        let compute = if op.flop > 0.0 { op.flop / roofs.compute } else { 0.0 };
        OpTime { compute, memory: op.bytes / roofs.memory, launch: self.launch }
    }

    /// The roofs of a class.
    pub fn class(&self, class: Class) -> &Roofs {
        match class {
            Class::Attention => &self.roofs.attention,
            Class::PrefillAttention => &self.roofs.prefill_attention,
            Class::Expert => &self.roofs.expert,
            Class::Dense => &self.roofs.dense,
            Class::Gating => &self.roofs.gating,
            Class::Vector => &self.roofs.vector,
        }
    }

    /// Work of an op on a share of the cores, without its launch: arithmetic slows with the share, traffic once the share
    /// has too few requests in flight to fill the memory. Williams et al., Roofline, 2009; where the roofs meet
    /// smoothly, the root of the sum of squares: it fits DeepGEMM's published rows near the ridge (256 rows a group).
    pub fn busy(&self, time: &OpTime, cores: f64) -> f64 {
        let compute = time.compute / cores;
        let memory = time.memory * (self.saturating_cores / cores).max(1.0);
        if self.smooth_ridge { (compute * compute + memory * memory).sqrt() } else { compute.max(memory) }
    }

    /// Ranks of a number of chips.
    pub fn ranks(&self, chips: u32) -> f64 {
        f64::from(chips) * self.dies
    }
}

/// Tiers as ranks see them. A fabric knows the dies of the chip it was built for; for another chip of several dies each die
/// has its share of the ports.
fn links_of(request: &Request, dies: f64, scenario: Scenario) -> Vec<Link> {
    let links = rank_links(&request.fabric, &request.chip.scale_up, scenario);
    let known = request.fabric.ranks_per_chip() as f64;
    let share = dies / known;
    let of_chip = |link: Link| Link {
        chips: link.chips * share,
        bandwidth: link.bandwidth / share,
        all_to_all_bandwidth: link.all_to_all_bandwidth / share,
        ..link
    };
    if (share - 1.0).abs() < 1e-9 {
        return links;
    }
    // The link between the dies of another package is not this chip's.
    links.into_iter().filter(|link| !link.on_package).map(of_chip).collect()
}
