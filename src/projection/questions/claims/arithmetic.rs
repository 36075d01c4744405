//! Claims that follow from the files of chips and fabrics, with the arithmetic shown.

use crate::projection::questions::claims::reading::{self, ClaimReading};
use crate::projection::result::Interval;
use crate::specs::claim::{Claim, ClaimQuantity};
use crate::specs::grid::SettingTarget;
use crate::specs::{Chip, Fabric, LatencyIs, NumberType, Point, Provenance, Sourced, Tier};
use crate::units::with_prefix;

/// A figure, how it came about, and whether an input has it from the claim itself.
type Derived = Result<(Interval, String, bool), String>;

/// The claim under one reading.
pub(super) fn reading_of(claim: &Claim, point: Point) -> ClaimReading {
    let mut values = Vec::new();
    let mut how = Vec::new();
    let mut circular = false;
    let mut failed = None;
    for figure in &claim.figures {
        match derive(figure.of, &point) {
            Ok((value, text, circle)) => {
                values.push(value);
                how.push(text);
                circular |= circle;
            }
            Err(reason) => failed = Some(reason),
        }
    }
    let derived = reading::Derived { values, how: how.join("; "), circular };
    ClaimReading::new(claim, point, failed.map_or(Ok(derived), Err))
}

fn derive(quantity: ClaimQuantity, point: &Point) -> Derived {
    match quantity {
        ClaimQuantity::Chips => tier_chips(point),
        ClaimQuantity::PeakFlopPerS => peak(point),
        ClaimQuantity::MemoryBytes => memory(point),
        ClaimQuantity::BandwidthRatio => bandwidth_ratio(point),
        ClaimQuantity::LatencyS => latency(&fabric(point, "fabric", SettingTarget::Fabric)?, point, "tier"),
        ClaimQuantity::BaselineLatencyS => {
            latency(&fabric(point, "baseline", SettingTarget::Baseline)?, point, "baseline_tier")
        }
        ClaimQuantity::TokensPerSPerChip | ClaimQuantity::Speedup | ClaimQuantity::ChipsAtScale => {
            Err("this figure is projected, not derived".to_owned())
        }
    }
}

fn interval(value: &Sourced) -> Interval {
    Interval { median: value.value, low: value.low.unwrap_or(value.value), high: value.high.unwrap_or(value.value) }
}

fn times(interval: Interval, factor: f64) -> Interval {
    Interval { median: interval.median * factor, low: interval.low * factor, high: interval.high * factor }
}

fn chip(point: &Point) -> Result<Chip, String> {
    Chip::load_with(point.text("chip").unwrap_or("ascend-910c"), &point.settings(SettingTarget::Chip))
        .map_err(|error| error.to_string())
}

fn fabric(point: &Point, key: &str, target: SettingTarget) -> Result<Fabric, String> {
    let name = point.text(key).ok_or_else(|| format!("the reading names no {key}"))?;
    Fabric::load_with(name, &point.settings(target)).map_err(|error| error.to_string())
}

fn tier<'a>(fabric: &'a Fabric, point: &Point, key: &str) -> Result<(usize, &'a Tier), String> {
    let name = point.text(key).ok_or_else(|| format!("the reading names no {key}"))?;
    let found = fabric.tiers.iter().enumerate().find(|(_, tier)| tier.name == name);
    found.ok_or_else(|| format!("{} has no tier {name}", fabric.name))
}

fn chips(point: &Point) -> f64 {
    point.number("chips").unwrap_or(384.0)
}

fn tier_chips(point: &Point) -> Derived {
    let fabric = fabric(point, "fabric", SettingTarget::Fabric)?;
    let (index, tier) = tier(&fabric, point, "tier")?;
    let inner = index.checked_sub(1).and_then(|index| fabric.tiers.get(index)).map_or(1, |inner| inner.chips);
    let value = tier.chips as f64;
    let how = format!("{} x {inner} chips = {}", tier.chips / inner.max(1), tier.chips);
    Ok((Interval { median: value, low: value, high: value }, how, false))
}

fn peak(point: &Point) -> Derived {
    let chip = chip(point)?;
    let name = point.text("type").unwrap_or("bf16");
    let peak = NumberType::named(name).and_then(|number_type| chip.peak_flop_per_s.of(number_type));
    let peak = peak.ok_or_else(|| format!("{} does not compute in {name}", chip.name))?;
    let value = times(interval(peak), chips(point));
    let how = format!(
        "{} x {} dense = {} ({})",
        chips(point),
        with_prefix(peak.value, "FLOP/s"),
        with_prefix(value.median, "FLOP/s"),
        peak.source_with_mark()
    );
    Ok((value, how, peak.claimed))
}

/// In binary units a chip's GB and the sum's TB are GiB and TiB, and the same digits are read as decimal.
fn memory(point: &Point) -> Derived {
    let chip = chip(point)?;
    let capacity = &chip.memory.capacity_bytes;
    let binary = point.text("units") == Some("binary");
    let (unit, sum, step) = if binary { ("GiB", "TiB", 1024.0) } else { ("GB", "TB", 1000.0) };
    let value = times(interval(capacity), chips(point) * 1e3 / step);
    let how = format!(
        "{} x {} {unit} / {step} = {:.2} {sum} ({})",
        chips(point),
        capacity.value / 1e9,
        value.median / 1e12,
        capacity.source_with_mark()
    );
    Ok((value, how, capacity.claimed))
}

fn bandwidth_ratio(point: &Point) -> Derived {
    let (on, below) =
        (fabric(point, "fabric", SettingTarget::Fabric)?, fabric(point, "baseline", SettingTarget::Baseline)?);
    let ((_, above), (_, under)) = (tier(&on, point, "tier")?, tier(&below, point, "baseline_tier")?);
    let reached = point.text("bandwidth_is") == Some("reached by collectives");
    let of = |tier: &Tier| -> Result<(Interval, bool), String> {
        let link = tier.bandwidth_bytes_per_s.as_ref();
        let link = link.ok_or_else(|| format!("tier {} takes the bandwidth of the chip's links", tier.name))?;
        let (rate, share) = (interval(link), interval(&tier.link_efficiency));
        let rate = if reached {
            Interval { median: rate.median * share.median, low: rate.low * share.low, high: rate.high * share.high }
        } else {
            rate
        };
        Ok((rate, link.claimed))
    };
    let ((fast, circle), (slow, _)) = (of(above)?, of(under)?);
    let value = Interval { median: fast.median / slow.median, low: fast.low / slow.high, high: fast.high / slow.low };
    let how =
        format!("{} / {} = {:.1}", with_prefix(fast.median, "B/s"), with_prefix(slow.median, "B/s"), value.median);
    Ok((value, how, circle))
}

fn latency(fabric: &Fabric, point: &Point, key: &str) -> Derived {
    let (index, tier) = tier(fabric, point, key)?;
    let time = interval(&tier.latency_s);
    let hops = tier.hops as f64;
    let circle = tier.latency_s.claimed;
    let text = |value: f64| with_prefix(value, "s");
    let end_to_end = if tier.latency_is == LatencyIs::Hop { times(time, hops) } else { time };
    let assumed = if tier.latency_s.provenance == Provenance::Assumed { "assumed: " } else { "" };
    let source = format!("{assumed}{}", tier.latency_s.source_with_mark());
    match point.text("latency_is") {
        Some("an equal share of each hop") => {
            let value = times(end_to_end, 1.0 / hops);
            let how = format!("{} over {hops} hop(s) = {} ({source})", text(end_to_end.median), text(value.median));
            Ok((value, how, circle))
        }
        Some("of a hop more") => {
            let inner = index.checked_sub(1).and_then(|index| fabric.tiers.get(index));
            let inner = inner.filter(|inner| inner.hops < tier.hops && inner.latency_is == tier.latency_is);
            let inner = inner.ok_or_else(|| format!("tier {} has no hop more than the tier inside it", tier.name))?;
            let more = (tier.hops - inner.hops) as f64;
            let within = interval(&inner.latency_s);
            let value = Interval {
                median: (time.median - within.median) / more,
                low: ((time.low - within.high) / more).max(0.0),
                high: (time.high - within.low) / more,
            };
            let how = format!(
                "({} - {}) over {more} hops more = {}",
                text(time.median),
                text(within.median),
                text(value.median)
            );
            Ok((value, how, circle))
        }
        _ => {
            let how = format!("{} from chip to chip ({source})", text(end_to_end.median));
            Ok((end_to_end, how, circle))
        }
    }
}
