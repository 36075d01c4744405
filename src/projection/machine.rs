//! Chip and fabric as one rank sees them, at one end of every band: what a plan's time is computed from.
//!
//! A rank is one die. It has its share of the package's peaks, memory, bandwidth and links, and holds its own weights.

use std::sync::Arc;

use crate::operators::{AskedType, Coverage, FoundTime, OperatorFamily, OperatorShape, OperatorTables, RankPeaks};
use crate::projection::chip::{ByClass, ChipModel, ClassEfficiency};
use crate::projection::costs::Costs;
use crate::projection::fabric::{Link, rank_links};
use crate::projection::framework_costs::FrameworkCosts;
use crate::projection::op::{Class, Op, OpTime};
use crate::projection::ops::{Stored, Widths};
use crate::projection::parallel_plan::Phase;
use crate::projection::request::{Infeasible, Request};
use crate::specs::{CheckpointType, NumberType, Scenario, Sourced};
use crate::units::{Bytes, BytesPerSecond, Flop, FlopPerSecond, Seconds};

/// Roofs of a class of ops: peaks times the shares that kernels of the class reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// Of arithmetic.
    pub compute: FlopPerSecond,
    /// Of memory traffic.
    pub memory: BytesPerSecond,
}

/// Share of the cores that a dispatch or combine holds while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldCores {
    /// By kernels for many tokens: prefill and training.
    pub many_tokens: f64,
    /// By kernels for few tokens: decode.
    pub few_tokens: f64,
}

/// Factors on the times of dispatch and combine: 1, except where the network itself is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WireFactors {
    /// On a dispatch.
    pub dispatch: f64,
    /// On a combine.
    pub combine: f64,
}

/// Everything about chip and fabric that a plan's time depends on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Arithmetic peak of matrix products, of a package.
    pub peak: FlopPerSecond,
    /// Ranks of a package.
    pub dies: f64,
    /// Roofs by class of op, of a rank.
    pub roofs: ByClass<Roofs>,
    /// Memory bandwidth of a rank that streaming work reaches, such as the optimizer.
    pub streaming: BytesPerSecond,
    /// Cost of a kernel besides its work.
    pub launch: Seconds,
    /// The same of a measured operator, whose time has the device's part of it.
    pub tabled_launch: Seconds,
    /// Cost of a step besides everything else.
    pub step: Seconds,
    /// Cores that communication holds.
    pub held_cores: HeldCores,
    /// Share of the cores that reaches the whole memory bandwidth.
    pub saturating_cores: f64,
    /// Whether two micro-batches may run side by side on a die.
    pub splits_cores: bool,
    /// Whether the roofs meet smoothly: a kernel near the ridge reaches neither roof.
    pub smooth_ridge: bool,
    /// Tiers of the fabric, by rank.
    pub links: Vec<Link>,
    /// Bytes per element.
    pub widths: Widths,
    /// Type of weights, and of matrix products unless the chip widens it.
    pub number_type: NumberType,
    /// Memory of a rank that may be filled.
    pub capacity: Bytes,
    /// Positions per sequence whose logits a causal pass computes: one in serving, all in training.
    pub head_positions: f64,
    /// Measured kernels, if the chip comes from a record.
    pub costs: Option<Arc<Costs>>,
    /// Measured operators of others, if they were given.
    pub operators: Option<Arc<OperatorTables>>,
    /// Ranks that the chip's own links join: collectives among these may be measured ones.
    pub node_ranks: f64,
    /// The whole peaks of a rank.
    pub rank_peaks: RankPeaks,
    /// Factor on the time of measured kernels: 1, except where uncertainty is drawn.
    pub cost_factor: f64,
    /// Factor on the load of the hottest rank: 1, except where uncertainty is drawn.
    pub skew: f64,
    /// Factors on dispatch and combine.
    pub wire_factors: WireFactors,
    /// What a framework adds, in training.
    pub framework: Option<FrameworkCosts>,
}

impl Machine {
    /// The machine of a request.
    ///
    /// # Errors
    /// [`Infeasible::NoSuchType`].
    pub fn new(request: &Request, scenario: Scenario) -> Result<Self, Infeasible> {
        let chip = &request.chip;
        let (number_type, product_type) = (request.type_in_use(), request.product_type());
        let peak_of = |wanted: NumberType| {
            chip.peaks.get(&wanted).map(|peak| scenario.rate(peak)).ok_or_else(|| Infeasible::NoSuchType {
                chip: chip.name.clone(),
                asked: wanted.name(),
                offered: chip.peaks.keys().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
            })
        };
        let dies = chip.dies.value.max(1.0);
        let framework = request.framework.as_ref().filter(|_| request.phase == Phase::Training);
        let framework = framework.map(|framework| FrameworkCosts::new(framework, scenario));
        let nominal = peak_of(product_type)?;
        let clock = if request.phase == Phase::Decode { 1.0 } else { scenario.rate(&chip.sustained_clock) };
        let peak = nominal * clock;
        let product_peak = peak / dies / framework.map_or(1.0, |costs| costs.product_factor);
        let attention_peak = peak_of(chip.attention_type(number_type))? * clock / dies;
        let bandwidth = scenario.rate(&chip.bandwidth) / dies;
        let prompts = chip.serving_framework.as_ref().filter(|_| request.phase == Phase::Prefill);
        let slower = prompts.map_or(1.0, |times| scenario.time(&times.prompt_factor));
        let slower = slower * chip.slowest(request.chips, scenario);
        let roofs = |peak: f64, share: &ClassEfficiency<Sourced>| Roofs {
            compute: FlopPerSecond::new(peak * scenario.rate(&share.compute) / slower),
            memory: BytesPerSecond::new(bandwidth * scenario.rate(&share.memory) / slower),
        };
        let host = prompts.map(|times| Seconds::new(scenario.time(&times.prompt_op_s)));
        let classes = &chip.efficiency;
        let vector = roofs(attention_peak, &classes.vector);
        Ok(Self {
            peak: FlopPerSecond::new(nominal),
            dies,
            roofs: ByClass {
                attention: roofs(attention_peak, &classes.attention),
                prefill_attention: roofs(attention_peak, &classes.prefill_attention),
                expert: roofs(product_peak, &classes.expert),
                dense: roofs(product_peak, &classes.dense),
                // The router runs in 16 bits at least.
                gating: roofs(attention_peak, &classes.gating),
                vector,
            },
            streaming: BytesPerSecond::new(bandwidth * scenario.rate(&classes.dense.memory)),
            launch: host.unwrap_or_else(|| Seconds::new(scenario.time(&chip.launch))),
            tabled_launch: host.unwrap_or(Seconds::ZERO),
            step: Seconds::new(scenario.time(&chip.step)),
            held_cores: HeldCores {
                many_tokens: scenario.time(&chip.communication_cores).min(0.9),
                few_tokens: scenario.time(&chip.decode_communication_cores).min(0.9),
            },
            saturating_cores: scenario.time(&chip.saturating_cores).min(1.0),
            splits_cores: chip.splits_cores,
            smooth_ridge: chip.costs.is_none(),
            links: links_of(request, dies, scenario),
            widths: widths(request, scenario),
            number_type,
            capacity: Bytes::new(chip.capacity.value * chip.usable.value / dies),
            head_positions: if request.phase == Phase::Training { f64::INFINITY } else { 1.0 },
            costs: chip.costs.clone(),
            operators: chip.operators.clone(),
            node_ranks: node_ranks(request, dies),
            rank_peaks: chip.rank_peaks(scenario),
            cost_factor: scenario.time(&chip.cost_factor) * slower,
            skew: request.workload.skew,
            wire_factors: WireFactors { dispatch: 1.0, combine: 1.0 },
            framework,
        })
    }

    /// Time of an op by resource.
    pub fn op(&self, op: &Op) -> OpTime {
        if let Some(found) = self.tabled(op) {
            let time = Seconds::new(found.time_s * self.cost_factor);
            let launch = self.tabled_launch;
            return if found.by_arithmetic {
                OpTime { compute: time, launch, ..OpTime::default() }
            } else {
                OpTime { memory: time, launch, ..OpTime::default() }
            };
        }
        if let (Some(costs), Some(shape)) = (&self.costs, &op.kernel)
            && let Some(time) = costs.time(shape, op, self.number_type, self.cost_factor)
        {
            return time;
        }
        let roofs = self.class(op.class);
        let compute = if op.flop > Flop::ZERO { op.flop / (roofs.compute * op.peak) } else { Seconds::ZERO };
        OpTime { compute, memory: op.bytes / roofs.memory, launch: self.launch }
    }

    /// Measured operators, if they were given. A page has none, so that its module need not carry what reads them.
    fn tables(&self) -> Option<&OperatorTables> {
        if cfg!(target_arch = "wasm32") { None } else { self.operators.as_deref() }
    }

    /// What measured operators say of an op, its launch included; `None` where there are none, or none like it.
    pub fn tabled(&self, op: &Op) -> Option<FoundTime> {
        let tables = self.tables()?;
        [op.module, op.tabled].into_iter().flatten().find_map(|asked| {
            let found = tables.time(&asked.shape, asked.types, &self.rank_peaks)?;
            Some(FoundTime { time_s: found.time_s * asked.share, ..found })
        })
    }

    /// The measured time of an all-reduce over neighbours of a node; `None` where no table has it.
    pub fn tabled_all_reduce(&self, ranks: f64, bytes: Bytes) -> Option<(Seconds, Coverage)> {
        let shape = OperatorShape::new(OperatorFamily::AllReduce, &[ranks, bytes.get() / 2.0]);
        let types = AskedType { weight_bytes: 2.0, operand_bytes: 2.0 };
        self.tabled_collective(&shape, types, ranks <= self.node_ranks)
    }

    /// The measured time of a dispatch or a combine of few tokens over a whole node: `sizes` are hidden, tokens of a rank, top-k
    /// and experts, `bytes` those of a token. `None` where no table has it.
    pub fn tabled_exchange(
        &self,
        family: OperatorFamily,
        ranks: f64,
        bytes: Bytes,
        [hidden, tokens, top_k, experts]: [f64; 4],
    ) -> Option<(Seconds, Coverage)> {
        // The tables are of tokens that go out in 8 bits and come back in 16, over nodes of 8.
        let element = if family == OperatorFamily::Dispatch { 1.0 } else { 2.0 };
        let is_same = (bytes.get() / hidden / element - 1.0).abs() < 0.2 && ranks == 8.0 && ranks == self.node_ranks;
        let shape = OperatorShape::new(family, &[1.0, hidden, tokens, top_k, experts]);
        self.tabled_collective(&shape, AskedType { weight_bytes: 1.0, operand_bytes: 1.0 }, is_same)
    }

    fn tabled_collective(&self, shape: &OperatorShape, types: AskedType, is_same: bool) -> Option<(Seconds, Coverage)> {
        let tables = self.tables().filter(|_| is_same)?;
        let found = tables.time(shape, types, &self.rank_peaks)?;
        Some((Seconds::new(found.time_s * self.cost_factor), found.coverage))
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

    /// Time of an op on a share of the cores, without its launch.
    ///
    /// - Arithmetic takes `compute / cores`.
    /// - Traffic takes `memory * max(1, saturating_cores / cores)`: too few cores have too few requests in flight.
    /// - Together they take the larger of the two (Williams et al., Roofline, 2009), or `sqrt(compute^2 + memory^2)`
    ///   where the roofs meet smoothly. The root fits DeepGEMM's published rows near the ridge (256 rows per group).
    pub fn busy(&self, time: &OpTime, cores: f64) -> Seconds {
        let compute = time.compute.get() / cores;
        let memory = time.memory.get() * (self.saturating_cores / cores).max(1.0);
        Seconds::new(if self.smooth_ridge { (compute * compute + memory * memory).sqrt() } else { compute.max(memory) })
    }
}

/// How each part of the model is stored: as its checkpoint has it, or in the type in use.
fn widths(request: &Request, scenario: Scenario) -> Widths {
    let (chip, checkpoint) = (&request.chip, &request.model.checkpoint);
    let (number_type, product_type) = (request.type_in_use(), request.product_type());
    let activation = product_type.size_bytes().max(2.0);
    let in_use = Stored { weight: number_type.size_bytes(), operand: product_type.size_bytes(), peak: 1.0 };
    let serves = request.phase != Phase::Training && !checkpoint.is_plain();
    let stored = |kind: CheckpointType| if serves { part(request, in_use, scenario, kind) } else { in_use };
    let has_narrow = serves && checkpoint.has_four_bits();
    // An indexer multiplies in 8 bits where the other products have as few or fewer.
    let indexed = if product_type.widens() { eight_bits(chip) } else { Some(product_type) };
    let index_peak = indexed.map_or(1.0, |own| share(chip, scenario, own, chip.attention_type(number_type)));
    Widths {
        in_use,
        mixer: stored(checkpoint.mixer),
        dense: stored(checkpoint.dense),
        shared: stored(checkpoint.shared),
        experts: stored(checkpoint.experts),
        index_peak: index_peak.max(1.0),
        head: if serves { checkpoint.head.bytes().min(activation) } else { activation },
        head_peak: if request.phase == Phase::Training { head_peak(request, scenario) } else { 1.0 },
        table: if has_narrow { activation } else { in_use.weight },
        activation,
        cache: cache_width(request, activation),
    }
}

/// Bytes of an element of the KV cache. Training keeps activations instead.
fn cache_width(request: &Request, activation: f64) -> f64 {
    let checkpoint = request.model.checkpoint.cache;
    match request.cache_type {
        _ if request.phase == Phase::Training => activation,
        Some(asked) => asked.size_bytes(),
        None if checkpoint.bits() < 16 => checkpoint.bytes(),
        None => activation,
    }
}

/// The peak of the LM head in training over that of the other products: it stays in 16 bits where they have 8
/// (DeepSeek-V3 report, section 3.3.1; Megatron-Core's output layer).
fn head_peak(request: &Request, scenario: Scenario) -> f64 {
    let product_type = request.product_type();
    share(&request.chip, scenario, request.chip.attention_type(product_type), product_type)
}

/// A part of a quantised checkpoint.
///
/// - Wider than the type in use and than other parts, it stays so, and its products run at the peak of its own width. The
///   narrowest parts are what the type in use stands for.
/// - Of four bits, it stays so: kernels expand such weights while they multiply, unless the chip has units for them.
/// - Otherwise it is converted to the type in use as it is loaded.
fn part(request: &Request, in_use: Stored, scenario: Scenario, kind: CheckpointType) -> Stored {
    let width = kind.bits() as f64 / 8.0;
    if width > in_use.weight && kind.bits() > request.model.checkpoint.least_bits() {
        let chip = &request.chip;
        let wide = chip.attention_type(request.type_in_use());
        let own = if width < 2.0 { eight_bits(chip).unwrap_or(wide) } else { wide };
        let peak = share(chip, scenario, own, request.product_type());
        return Stored { weight: kind.bytes(), operand: own.size_bytes(), peak };
    }
    let weight = if kind.bits() == 4 { kind.bytes() } else { in_use.weight };
    Stored { weight, ..in_use }
}

/// The type of 8 bits that a chip computes in, if any.
fn eight_bits(chip: &ChipModel) -> Option<NumberType> {
    [NumberType::Fp8, NumberType::Int8].into_iter().find(|kind| chip.peaks.contains_key(kind))
}

/// The peak of a type over that of another; 1 where the chip lacks one of them.
fn share(chip: &ChipModel, scenario: Scenario, own: NumberType, of: NumberType) -> f64 {
    let peak = |kind: NumberType| chip.peaks.get(&kind).map(|peak| scenario.rate(peak));
    peak(own).zip(peak(of)).map_or(1.0, |(own, of)| own / of)
}

/// Ranks of the innermost tier, where the chip's own links serve it.
fn node_ranks(request: &Request, dies: f64) -> f64 {
    let tier = request.fabric.tiers.first().filter(|tier| tier.bandwidth_bytes_per_s.is_none() && dies <= 1.0);
    tier.map_or(0.0, |tier| tier.chips as f64)
}

/// Tiers as ranks see them. A fabric's file knows the dies of the chip that it was built for. On another chip of
/// several dies, each die has its share of the ports.
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
