//! Which inputs a projection rests on, and where each comes from.

use super::request::Request;
use super::result::CostSource;
use crate::specs::{NumberType, Sourced};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The inputs of this request, in the order chip, then fabric from the node outwards.
pub(super) fn sources(request: &Request, number_type: NumberType) -> Vec<CostSource> {
    let chip = &request.chip;
    let rate = |value: f64| FlopPerSecond::new(value).to_string();
    let bandwidth = |value: f64| BytesPerSecond::new(value).to_string();
    let time = |value: f64| Seconds::new(value).to_string();
    let share = |value: f64| format!("{:.1} %", value * 100.0);
    let mut list = Vec::new();
    let attention_type = chip.attention_type(number_type);
    for kind in [Some(number_type), (attention_type != number_type).then_some(attention_type)].into_iter().flatten() {
        if let Some(peak) = chip.peaks.get(&kind) {
            list.push(source(format!("peak {}", kind.name()), peak, rate));
        }
    }
    list.push(source("memory bandwidth".to_owned(), &chip.bandwidth, bandwidth));
    list.push(source("memory capacity".to_owned(), &chip.capacity, |value| Bytes::new(value).to_string()));
    list.push(source("usable memory".to_owned(), &chip.usable, share));
    let classes = &chip.efficiency;
    let classes = [
        ("attention", &classes.attention),
        ("matmul", &classes.expert),
        ("gating", &classes.gating),
        ("elementwise", &classes.vector),
    ];
    for (name, class) in classes {
        if name == "attention" || name == "matmul" {
            list.push(source(format!("{name}, of the arithmetic peak"), &class.compute, share));
        }
        list.push(source(format!("{name}, of the memory bandwidth"), &class.memory, share));
    }
    list.push(source("launch".to_owned(), &chip.launch, time));
    list.push(source("fixed time of a step".to_owned(), &chip.step, time));
    if chip.sustained_clock.value < 1.0 {
        list.push(source("clock under long load".to_owned(), &chip.sustained_clock, share));
    }
    list.push(source("cores held by communication".to_owned(), &chip.communication_cores, share));
    if chip.splits_cores {
        list.push(source("cores that fill the memory".to_owned(), &chip.saturating_cores, share));
    }
    if chip.dies.value > 1.0 {
        list.push(source("dies a chip".to_owned(), &chip.dies, |value| value.to_string()));
    }
    if chip.costs.is_some() {
        list.push(source("measured kernels, factor on time".to_owned(), &chip.cost_factor, |value| {
            format!("{value:.2}")
        }));
    }
    let mut inner = 1;
    for tier in &request.fabric.tiers {
        // A tier that these chips do not reach plays no part.
        if inner >= u64::from(request.chips) {
            break;
        }
        inner = tier.chips;
        let link = tier.bandwidth_bytes_per_s.as_ref().unwrap_or(&chip.scale_up);
        list.push(source(format!("{} bandwidth", tier.name), link, bandwidth));
        list.push(source(format!("{} link efficiency", tier.name), &tier.link_efficiency, share));
        list.push(source(format!("{} latency", tier.name), &tier.latency_s, time));
        list.push(source(format!("{} message overhead", tier.name), &tier.message_overhead_s, time));
        list.push(source(format!("{} fixed cost, collective", tier.name), &tier.collective_fixed_s, time));
        list.push(source(format!("{} fixed cost, dispatch or combine", tier.name), &tier.all_to_all_fixed_s, time));
    }
    list
}

fn source(what: String, value: &Sourced, show: impl Fn(f64) -> String) -> CostSource {
    let shown = match (value.low, value.high) {
        (None, None) => show(value.value),
        (low, high) => {
            let (low, high) = (low.unwrap_or(value.value), high.unwrap_or(value.value));
            if low == high { show(low) } else { format!("{} ({} to {})", show(value.value), show(low), show(high)) }
        }
    };
    CostSource { what, value: shown, provenance: value.provenance, source: value.source_with_mark() }
}
