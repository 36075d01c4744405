//! Chip and fabric at one end of their bands: plain numbers that plans are evaluated with.

use super::chip::ByClass;
use super::fabric::{Link, links};
use super::request::{Infeasible, Request};
use super::result::Phase;
use super::roofline::Roofs;
use super::uncertainty::Scenario;
use crate::specs::NumberType;

/// Everything about the machine that a plan's time depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Arithmetic peak of matrix products, FLOP/s.
    pub peak: f64,
    /// Roofs by class of op.
    pub roofs: ByClass<Roofs>,
    /// Memory bandwidth of streaming work such as norms and optimizer, bytes per second.
    pub streaming: f64,
    /// Seconds a launch.
    pub launch: f64,
    /// Seconds a step, beside everything else.
    pub step: f64,
    /// Share of communication that hides behind compute.
    pub overlap: f64,
    /// Tiers of the fabric.
    pub links: Vec<Link>,
    /// Bytes of a weight.
    pub weight_bytes: f64,
    /// Bytes of an element of activations and KV cache.
    pub activation_bytes: f64,
    /// Type of matrix products.
    pub number_type: NumberType,
    /// Bytes a chip that may be filled.
    pub capacity: f64,
    /// Which end.
    pub scenario: Scenario,
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
        let peak = peak_of(number_type)?;
        let attention_peak = peak_of(chip.attention_type(number_type))?;
        let bandwidth = scenario.rate(&chip.bandwidth);
        let share = |class: &super::chip::ClassEfficiency<crate::specs::Sourced>| super::chip::ClassEfficiency {
            compute: scenario.rate(&class.compute),
            memory: scenario.rate(&class.memory),
        };
        let classes = &chip.efficiency;
        let dense = Roofs::new(peak, bandwidth, &share(&classes.dense));
        Ok(Self {
            peak,
            roofs: ByClass {
                attention: Roofs::new(attention_peak, bandwidth, &share(&classes.attention)),
                expert: Roofs::new(peak, bandwidth, &share(&classes.expert)),
                dense,
                // The router runs in 16 bits at least.
                gating: Roofs::new(attention_peak, bandwidth, &share(&classes.gating)),
            },
            streaming: dense.memory.get(),
            launch: scenario.time(&chip.launch),
            step: scenario.time(&chip.step),
            overlap: scenario.rate(&chip.overlap).min(1.0),
            links: links(&request.fabric, &chip.scale_up, scenario),
            weight_bytes: number_type.size_bytes(),
            activation_bytes: number_type.size_bytes().max(2.0),
            number_type,
            capacity: scenario_free_capacity(request),
            scenario,
        })
    }
}

/// Memory does not depend on the scenario: a plan fits or not.
fn scenario_free_capacity(request: &Request) -> f64 {
    request.chip.capacity.value * request.chip.usable.value
}
