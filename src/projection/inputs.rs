//! The inputs that a projection rests on, as one list: what is drawn, what a tornado shows, and where each comes from.
//!
//! The order of the list is the order of the draws: a new input that is drawn changes the drawn values of those after
//! it.

use std::borrow::Cow;
use std::fmt;

use crate::ordering::by_rising;
use crate::projection::chip::ClassEfficiency;
use crate::projection::expert_load::{ExpertLoad, RESIDUAL_SKEW};
use crate::projection::parallel_plan::Phase;
use crate::projection::request::Request;
use crate::projection::result::CostSource;
use crate::specs::{Sourced, Tier, TrainingFramework};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The hottest rank's load over the one that `expert_load` gives, at the ends of its band (assumed): from perfect
/// balance to a tenth more.
const SKEW: (f64, f64) = (1.0 / RESIDUAL_SKEW, 1.1);

/// One input of a projection.
pub(super) struct Input<'a> {
    /// Its name where one input is varied at a time.
    pub(super) name: InputName<'a>,
    /// Its value.
    pub(super) value: InputValue<'a>,
    /// How it appears among the sources; `None` if it does not.
    shown: Option<Shown<'a>>,
}

/// A name in parts: lists are made for every draw, and few of their names are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputName<'a>([&'a str; 3]);

impl fmt::Display for InputName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part))
    }
}

impl<'a> From<&'a str> for InputName<'a> {
    fn from(name: &'a str) -> Self {
        Self([name, "", ""])
    }
}

/// The value of an input.
pub(super) enum InputValue<'a> {
    /// Drawn within its band.
    Drawn(&'a mut Sourced),
    /// A factor that is drawn between two ends.
    Factor {
        /// The central value.
        value: &'a mut f64,
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// Taken as it is.
    Fixed(Cow<'a, Sourced>),
}

impl InputValue<'_> {
    /// Central value and ends of the band; `None` if it is not drawn.
    pub(super) fn band(&self) -> Option<Band> {
        match self {
            Self::Drawn(value) => Some(Band {
                value: value.value,
                low: value.low.unwrap_or(value.value),
                high: value.high.unwrap_or(value.value),
            }),
            Self::Factor { value, low, high } => Some(Band { value: **value, low: *low, high: *high }),
            Self::Fixed(_) => None,
        }
    }

    /// Sets the central value, if it is drawn.
    pub(super) fn set(&mut self, to: f64) {
        match self {
            Self::Drawn(value) => value.value = to,
            Self::Factor { value, .. } => **value = to,
            Self::Fixed(_) => {}
        }
    }
}

/// A central value between the ends of its band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Band {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// How an input appears among the sources.
struct Shown<'a> {
    name: InputName<'a>,
    unit: Unit,
    section: Section,
}

/// Sections of the sources, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Peak,
    AttentionPeak,
    Memory,
    Efficiency,
    Overhead,
    Fabric,
    Framework,
}

/// What a value counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    FlopPerSecond,
    BytesPerSecond,
    Bytes,
    Seconds,
    Share,
    Count,
    Factor,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::FlopPerSecond => FlopPerSecond::new(value).to_string(),
            Self::BytesPerSecond => BytesPerSecond::new(value).to_string(),
            Self::Bytes => Bytes::new(value).to_string(),
            Self::Seconds => Seconds::new(value).to_string(),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Count => value.to_string(),
            Self::Factor => format!("{value:.2}"),
        }
    }
}

impl<'a> Input<'a> {
    fn drawn(name: impl Into<InputName<'a>>, value: &'a mut Sourced) -> Self {
        Self { name: name.into(), value: InputValue::Drawn(value), shown: None }
    }

    fn fixed(name: impl Into<InputName<'a>>, value: Cow<'a, Sourced>) -> Self {
        Self { name: name.into(), value: InputValue::Fixed(value), shown: None }
    }

    /// Shows it among the sources under its name.
    fn shown(self, section: Section, unit: Unit) -> Self {
        let name = self.name;
        self.shown_as(name, section, unit)
    }

    /// Shows it among the sources under another name.
    fn shown_as(mut self, name: impl Into<InputName<'a>>, section: Section, unit: Unit) -> Self {
        self.shown = Some(Shown { name: name.into(), unit, section });
        self
    }

    /// Leaves it out of the sources where it plays no part.
    fn shown_if(mut self, plays_a_part: bool) -> Self {
        self.shown = self.shown.filter(|_| plays_a_part);
        self
    }

    fn source(&self) -> Option<(Section, CostSource)> {
        let Shown { name, unit, section } = self.shown.as_ref()?;
        let value = match &self.value {
            InputValue::Drawn(value) => &**value,
            InputValue::Fixed(value) => value.as_ref(),
            InputValue::Factor { .. } => return None,
        };
        let show = |value: f64| unit.show(value);
        let text = match (value.low, value.high) {
            (None, None) => show(value.value),
            (low, high) => {
                let (low, high) = (low.unwrap_or(value.value), high.unwrap_or(value.value));
                if low == high { show(low) } else { format!("{} ({} to {})", show(value.value), show(low), show(high)) }
            }
        };
        let (provenance, source) = (value.provenance, value.source_with_mark());
        Some((*section, CostSource { what: name.to_string(), value: text, provenance, source }))
    }
}

/// Where the inputs of a request come from: chip, then fabric from the node outwards.
pub(super) fn sources(request: &Request) -> Vec<CostSource> {
    let mut scratch = request.clone();
    let list: Vec<_> = inputs(&mut scratch).iter().filter_map(Input::source).collect();
    by_rising(list, |(section, _)| [f64::from(*section as u8), 0.0]).into_iter().map(|(_, source)| source).collect()
}

/// All inputs of a request.
pub(super) fn inputs(request: &mut Request) -> Vec<Input<'_>> {
    let (number_type, product_type) = (request.type_in_use(), request.product_type());
    let attention_type = request.chip.attention_type(number_type);
    let chips = u64::from(request.chips);
    let training = request.phase == Phase::Training;
    let ranks = request.chip.ranks(request.chips);
    let Request { chip, fabric, workload, model, framework, .. } = request;
    // A tier without a bandwidth of its own takes that of the chip's links.
    let scale_up = chip.scale_up.clone();
    let mut list = Vec::with_capacity(48);
    for (kind, peak) in &mut chip.peaks {
        // The peaks of 4-bit types came after the others. Drawn where they are not in use, they would shift all draws.
        if kind.widens() && *kind != product_type {
            continue;
        }
        let section = if *kind == product_type { Section::Peak } else { Section::AttentionPeak };
        let input = Input::drawn(InputName(["peak ", kind.name(), ""]), peak).shown(section, Unit::FlopPerSecond);
        list.push(input.shown_if(*kind == product_type || *kind == attention_type));
    }
    let classes = &mut chip.efficiency;
    add_class(&mut list, "attention", "attention", &mut classes.attention, ShownRoofs::Both);
    add_class(&mut list, "prefill attention", "", &mut classes.prefill_attention, ShownRoofs::Neither);
    add_class(&mut list, "experts", "matmul", &mut classes.expert, ShownRoofs::Both);
    add_class(&mut list, "products", "", &mut classes.dense, ShownRoofs::Neither);
    add_class(&mut list, "gating", "gating", &mut classes.gating, ShownRoofs::Memory);
    add_class(&mut list, "elementwise", "elementwise", &mut classes.vector, ShownRoofs::Memory);
    let measured = chip.costs.is_some();
    let spread = chip.spread.as_mut();
    let clock_drops = chip.sustained_clock.value < 1.0;
    let several_dies = chip.dies.value > 1.0;
    use Section::{Memory, Overhead};
    list.extend([
        Input::drawn("memory bandwidth", &mut chip.bandwidth).shown(Memory, Unit::BytesPerSecond),
        Input::fixed("memory capacity", Cow::Borrowed(&chip.capacity)).shown(Memory, Unit::Bytes),
        Input::fixed("usable memory", Cow::Borrowed(&chip.usable)).shown(Memory, Unit::Share),
        Input::drawn("links of the chip", &mut chip.scale_up),
        Input::drawn("launch", &mut chip.launch).shown(Overhead, Unit::Seconds),
        Input::drawn("fixed time of a step", &mut chip.step).shown(Overhead, Unit::Seconds),
        Input::drawn("clock under load", &mut chip.sustained_clock)
            .shown_as("clock under long load", Overhead, Unit::Share)
            .shown_if(clock_drops),
        Input::drawn("cores held by communication", &mut chip.communication_cores).shown(Overhead, Unit::Share),
        Input::drawn("cores held by communication, decode", &mut chip.decode_communication_cores),
        Input::drawn("cores that fill the memory", &mut chip.saturating_cores)
            .shown(Overhead, Unit::Share)
            .shown_if(chip.splits_cores),
        Input::fixed("dies a chip", Cow::Borrowed(&chip.dies)).shown(Overhead, Unit::Count).shown_if(several_dies),
        Input::drawn("measured kernels", &mut chip.cost_factor)
            .shown_as("measured kernels, factor on time", Overhead, Unit::Factor)
            .shown_if(measured),
    ]);
    let mut inner = 1;
    for tier in &mut fabric.tiers {
        // A tier that these chips do not reach plays no part.
        let reached = inner < chips;
        inner = tier.chips;
        add_tier(&mut list, tier, &scale_up, reached);
    }
    if model.moe.is_some() {
        let low = if workload.expert_load == ExpertLoad::Replicated { SKEW.0 } else { 1.0 };
        let (low, high) = (workload.skew * low, workload.skew * SKEW.1);
        let value = InputValue::Factor { value: &mut workload.skew, low, high };
        list.push(Input { name: "skew of expert load".into(), value, shown: None });
    }
    if let Some(framework) = framework.as_mut().filter(|_| training) {
        add_framework(&mut list, framework);
    }
    if let Some(spread) = spread {
        let shown = Input::fixed("spread of devices", Cow::Owned(spread.share.clone()));
        list.push(shown.shown(Overhead, Unit::Share));
        if let Some((low, high)) = spread.band(ranks) {
            let value = InputValue::Factor { value: &mut spread.share.value, low, high };
            list.push(Input { name: "slowest rank".into(), value, shown: None });
        }
    }
    list
}

/// Which shares of a class appear among the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShownRoofs {
    Both,
    Memory,
    Neither,
}

/// The two shares of a class, by its name in a tornado and its name among the sources.
fn add_class<'a>(
    list: &mut Vec<Input<'a>>,
    name: &'a str,
    shown: &'a str,
    class: &'a mut ClassEfficiency<Sourced>,
    roofs: ShownRoofs,
) {
    let (compute, memory) = (", of the arithmetic peak", ", of the memory bandwidth");
    list.push(
        Input::drawn(InputName([name, compute, ""]), &mut class.compute)
            .shown_as(InputName([shown, compute, ""]), Section::Efficiency, Unit::Share)
            .shown_if(roofs == ShownRoofs::Both),
    );
    list.push(
        Input::drawn(InputName([name, memory, ""]), &mut class.memory)
            .shown_as(InputName([shown, memory, ""]), Section::Efficiency, Unit::Share)
            .shown_if(roofs != ShownRoofs::Neither),
    );
}

fn add_framework<'a>(list: &mut Vec<Input<'a>>, framework: &'a mut TrainingFramework) {
    let shown = [
        ("host time of an op", Unit::Seconds),
        ("host time of an expert's product", Unit::Seconds),
        ("wait for the host at an expert layer", Unit::Seconds),
        ("passes over routed tokens", Unit::Count),
        ("cast to 8 bits, of an element", Unit::Bytes),
        ("time of products, factor", Unit::Factor),
    ];
    for ((name, unit), (_, value)) in shown.into_iter().zip(framework.values_mut()) {
        list.push(Input::drawn(name, value).shown(Section::Framework, unit));
    }
}

fn add_tier<'a>(list: &mut Vec<Input<'a>>, tier: &'a mut Tier, scale_up: &Sourced, reached: bool) {
    let name = |what: &'static str| InputName([&tier.name, " ", what]);
    let bandwidth = match &mut tier.bandwidth_bytes_per_s {
        Some(bandwidth) => Input::drawn(name("bandwidth"), bandwidth),
        None => Input::fixed(name("bandwidth"), Cow::Owned(scale_up.clone())),
    };
    let values = [
        bandwidth.shown(Section::Fabric, Unit::BytesPerSecond),
        Input::drawn(name("link efficiency"), &mut tier.link_efficiency).shown(Section::Fabric, Unit::Share),
        Input::drawn(name("latency"), &mut tier.latency_s).shown(Section::Fabric, Unit::Seconds),
        Input::drawn(name("message overhead"), &mut tier.message_overhead_s).shown(Section::Fabric, Unit::Seconds),
        Input::drawn(name("fixed cost, collective"), &mut tier.collective_fixed_s)
            .shown(Section::Fabric, Unit::Seconds),
        Input::drawn(name("fixed cost, dispatch or combine"), &mut tier.all_to_all_fixed_s)
            .shown(Section::Fabric, Unit::Seconds),
    ];
    list.extend(values.map(|input| input.shown_if(reached)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::chip::ChipModel;
    use crate::specs::{Chip, Fabric, Model};

    #[test]
    fn every_source_is_an_input_and_fixed_ones_are_not_drawn() {
        let model = Model::load("deepseek-v3").unwrap();
        let chip = ChipModel::from_spec(&Chip::load("ascend-910c").unwrap());
        let mut request = Request::new(model, chip, Fabric::load("cloudmatrix384").unwrap(), 384, Phase::Decode);
        let sources = sources(&request);
        let what: Vec<&str> = sources.iter().map(|source| source.what.as_str()).collect();
        assert_eq!(what[..4], ["peak int8", "peak bf16", "memory bandwidth", "memory capacity"]);
        // The outermost tier joins more chips than are in use.
        assert!(what.contains(&"supernode latency") && !what.contains(&"scale-out latency"), "{what:?}");
        let list = inputs(&mut request);
        assert!(list.len() > sources.len());
        let fixed = list.iter().filter(|input| input.value.band().is_none()).map(|input| input.name.to_string());
        assert_eq!(fixed.collect::<Vec<_>>(), ["memory capacity", "usable memory", "dies a chip"]);
    }
}
