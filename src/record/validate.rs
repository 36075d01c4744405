//! What a document must satisfy beyond its types, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Achieved, CacheState, Case, LayerPart, Tuning};
use super::caveat::Caveat;
use super::ceiling::{Ceiling, CeilingKind, LastLevelCache, Quantity};
use super::check::{
    Problem, RATIO_SLACK, Sound, at_least_one, count, finite, named, named_numbers, number, ordered, positive, ratio,
    text, unique,
};
use super::device::{Device, Host};
use super::document::Record;
use super::protocol::{Protocol, Reference, RuntimeChecks, Selection, TimeSpent};
use super::timing::Timing;
use crate::kernels::{Verification, Work};
use crate::printable::printable;
use crate::units::{Bytes, Seconds};

/// The most entries of any list but the samples.
const MAX_ENTRIES: usize = 20_000;
/// The most samples of one case.
const MAX_SAMPLES: usize = 100_000;
/// The most experts of a routing.
const MAX_EXPERTS: usize = 65_536;
/// The most sizes of subgroups that one device can show.
const MAX_SUBGROUP_SIZES: usize = 32;

/// Refuses a record with a value that cannot be.
pub(in crate::record) fn check(record: &Record) -> Sound {
    text("created_at", &record.created_at)?;
    if record.created_at.parse::<jiff::Timestamp>().is_err() {
        return Err(Problem::new("created_at", "not an RFC 3339 time"));
    }
    text("tool.name", &record.tool.name)?;
    text("tool.version", &record.tool.version)?;
    text("tool.git_commit", record.tool.git_commit.as_deref().unwrap_or_default())?;
    host(&record.host)?;
    device(&record.device).map_err(|p| p.within("device"))?;
    protocol(&record.protocol).map_err(|p| p.within("protocol"))?;
    in_a_browser(record)?;
    caveats(&record.caveats)?;
    for (kind, roof) in &record.ceilings {
        ceiling(*kind, roof).map_err(|p| p.within(&format!("ceilings.{kind:?}")))?;
    }
    record.reference.as_ref().map_or(Ok(()), reference).map_err(|p| p.within("reference"))?;
    record.time_spent.as_ref().map_or(Ok(()), time_spent).map_err(|p| p.within("time_spent"))?;
    ids(record)?;
    for found in &record.cases {
        case(found, &record.ceilings)
            .map_err(|p| Problem { at: format!("case {}, {}", printable(&found.id, 120), p.at), ..p })?;
    }
    reasons(record)
}

fn host(host: &Host) -> Sound {
    text("host.os", &host.os)?;
    text("host.cpu", &host.cpu)?;
    let Some(browser) = &host.browser else { return Ok(()) };
    named("host.browser.name", &browser.name)?;
    named("host.browser.version", &browser.version)
}

fn device(device: &Device) -> Sound {
    let texts = [
        ("name", &device.name),
        ("vendor", &device.vendor),
        ("driver", &device.driver),
        ("driver_info", &device.driver_info),
        ("backend", &device.backend),
    ];
    texts.into_iter().try_for_each(|(at, value)| text(at, value))?;
    count("features", device.features.len(), MAX_ENTRIES)?;
    device.features.iter().try_for_each(|feature| text("features", feature))?;
    subgroups(&device.subgroup_sizes_seen)?;
    if device.memory_bytes == Some(0) {
        return Err(Problem::new("memory_bytes", "zero"));
    }
    if device.memory_bytes.is_some() != device.memory_source.is_some() {
        return Err(Problem::new("memory_source", "told without memory_bytes, or the other way round"));
    }
    device.pci_bus_id.as_deref().map_or(Ok(()), |id| named("pci_bus_id", id))?;
    named_numbers("limits", &device.limits)
}

fn subgroups(seen: &[u32]) -> Sound {
    count("subgroup_sizes_seen", seen.len(), MAX_SUBGROUP_SIZES)?;
    seen.iter().try_for_each(|size| at_least_one("subgroup_sizes_seen", *size))?;
    if seen.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    Err(Problem::new("subgroup_sizes_seen", "not ascending"))
}

fn protocol(protocol: &Protocol) -> Sound {
    text("preset_reason", &protocol.preset_reason)?;
    if let Selection::Named { variant } = &protocol.selection {
        named("selection.variant", variant)?;
    }
    let steps = protocol.clock_steps.unwrap_or_default();
    for (at, step) in [("clock_steps.device_s", steps.device_s), ("clock_steps.wall_s", steps.wall_s)] {
        step.map_or(Ok(()), |step| positive(at, step.get()))?;
    }
    number("target_relative_ci", protocol.target_relative_ci)?;
    number("sample_budget_s", protocol.sample_budget_s.get())
}

/// A browser checks shaders by itself, and nothing else does.
fn in_a_browser(record: &Record) -> Sound {
    let checks = record.protocol.runtime_checks == RuntimeChecks::Browser;
    match (&record.host.browser, checks) {
        (Some(_), false) => Err(Problem::new("protocol.runtime_checks", "not \"browser\", but host.browser names one")),
        (None, true) => Err(Problem::new("protocol.runtime_checks", "a browser's, but there is no host.browser")),
        _ => Ok(()),
    }
}

/// The parts exclude each other; the clocks' ticks may make them a little more than the whole.
fn time_spent(time: &TimeSpent) -> Sound {
    let TimeSpent { wall_s, kernels_s, preparation_s, verification_s } = time;
    let parts = [("kernels_s", kernels_s), ("preparation_s", preparation_s), ("verification_s", verification_s)];
    for (name, part) in std::iter::once(("wall_s", wall_s)).chain(parts) {
        number(name, part.get())?;
    }
    if (*kernels_s + *preparation_s + *verification_s).get() > wall_s.get() * 1.01 + 1e-3 {
        return Err(Problem::new("wall_s", format!("{wall_s} is less than its parts")));
    }
    Ok(())
}

fn reference(reference: &Reference) -> Sound {
    at_least_one("invocations", reference.invocations)?;
    at_least_one("rounds", reference.rounds)?;
    number("threshold", reference.threshold)?;
    if reference.threshold <= 1.0 {
        return Err(Problem::new("threshold", format!("{} is no factor above 1", reference.threshold)));
    }
    count("readings", reference.readings.len(), MAX_SAMPLES)?;
    reference.readings.iter().try_for_each(|reading| {
        number("readings.at_s", reading.at_s.get())?;
        number("readings.median_s", reading.median_s.get())
    })
}

fn caveats(caveats: &[Caveat]) -> Sound {
    count("caveats", caveats.len(), MAX_ENTRIES)?;
    caveats.iter().try_for_each(|caveat| match caveat {
        Caveat::Drift { ratio: value }
        | Caveat::Noisy { relative_ci: value }
        | Caveat::ClocksDisagree { ratio: value }
        | Caveat::AboveRoofline { fraction: value }
        | Caveat::AboveCeiling { fraction: value, .. }
        | Caveat::ReferenceMoved { ratio: value }
        | Caveat::CoarseClock { step_s: value, .. }
        | Caveat::ShortBatch { share: value }
        | Caveat::HostPaused { seconds: value }
        | Caveat::SlowCompilation { seconds: value } => number("caveats", *value),
        Caveat::SoftwareAdapter
        | Caveat::Browser
        | Caveat::WallClock
        | Caveat::Cached { .. }
        | Caveat::MissingCeiling { .. } => Ok(()),
    })
}

fn ceiling(kind: CeilingKind, ceiling: &Ceiling) -> Sound {
    match kind.quantity() {
        // A clock too coarse to see an empty launch says zero.
        Quantity::Seconds => number("value", ceiling.value)?,
        Quantity::FlopPerSecond | Quantity::OperationsPerSecond | Quantity::BytesPerSecond => {
            positive("value", ceiling.value)?;
        }
    }
    number("working_set_bytes", ceiling.working_set_bytes.unwrap_or_default().get())?;
    ceiling.workgroup.map_or(Ok(()), |workgroup| at_least_one("workgroup", workgroup))?;
    working_sets(kind, ceiling)?;
    work(&ceiling.work)?;
    timing(&ceiling.timing).map_err(|p| p.within("timing"))?;
    verified(&ceiling.verification).map_err(|p| p.within("verification"))
}

/// The most working sets of a cache's roof.
const MAX_POINTS: usize = 64;

/// They are a cache's, grow, and the roof and the end of the cache are among them.
fn working_sets(kind: CeilingKind, ceiling: &Ceiling) -> Sound {
    let Ceiling { points, last_level_cache, .. } = ceiling;
    if kind != CeilingKind::CacheRead && !(points.is_empty() && last_level_cache.is_none()) {
        return Err(Problem::new("points", "of a roof that is no cache's"));
    }
    count("points", points.len(), MAX_POINTS)?;
    for point in points {
        positive("points.working_set_bytes", point.working_set_bytes.get())?;
        positive("points.bytes_per_s", point.bytes_per_s.get())?;
        at_least_one("points.invocations", point.invocations)?;
    }
    if points.windows(2).any(|pair| pair[0].working_set_bytes >= pair[1].working_set_bytes) {
        return Err(Problem::new("points", "working sets that do not grow"));
    }
    let of = |bytes: Bytes| points.iter().find(|point| point.working_set_bytes == bytes);
    match ceiling.working_set_bytes.and_then(of) {
        Some(fastest) => ratio("points.bytes_per_s", fastest.bytes_per_s.get(), ceiling.value)?,
        None if points.is_empty() => {}
        None => return Err(Problem::new("working_set_bytes", "not among the points")),
    }
    match last_level_cache.and_then(LastLevelCache::bytes) {
        Some(bytes) if of(bytes).is_none() => Err(Problem::new("last_level_cache.bytes", "not among the points")),
        _ => Ok(()),
    }
}

fn case(case: &Case, ceilings: &BTreeMap<CeilingKind, Ceiling>) -> Sound {
    let texts = [("kernel", &case.kernel), ("variant", &case.variant), ("model", &case.model)];
    texts.into_iter().try_for_each(|(at, value)| named(at, value))?;
    at_least_one("scale_divisor", case.scale_divisor)?;
    named_numbers("shape", &case.shape)?;
    work(&case.work)?;
    verified(&case.verification).map_err(|p| p.within("verification"))?;
    if case.verification.checked == 0 {
        return Err(Problem::new("verification.checked", "nothing was compared"));
    }
    timing(&case.timing).map_err(|p| p.within("timing"))?;
    positive("timing.median_s", case.timing.median_s.get())?;
    achieved(case).map_err(|p| p.within("achieved"))?;
    fractions(case, ceilings).map_err(|p| p.within("achieved.fractions"))?;
    arithmetic(case)?;
    routing(case).map_err(|p| p.within("tokens_per_expert"))?;
    case.tuning.as_ref().map_or(Ok(()), tuning).map_err(|p| p.within("tuning"))?;
    count("parts", case.parts.len(), 100)?;
    case.parts.iter().try_for_each(|found| part(found).map_err(|p| p.within("parts")))?;
    caveats(&case.caveats)
}

/// Typed operations add up to the work, and padding only adds.
fn arithmetic(case: &Case) -> Sound {
    case.operations.values().try_for_each(|flop| number("operations", flop.get()))?;
    if !case.operations.is_empty() {
        ratio("operations", case.operations.values().map(|flop| flop.get()).sum(), case.work.flop.get())?;
    }
    let Some(issued) = case.issued_flop else { return Ok(()) };
    number("issued_flop", issued.get())?;
    let useful = case.work.flop;
    if issued.get() < useful.get() * (1.0 - RATIO_SLACK) {
        return Err(Problem::new("issued_flop", format!("{issued} is less than the useful {useful}")));
    }
    Ok(())
}

/// A count for each expert of the shape, and no slot lost or invented.
fn routing(case: &Case) -> Sound {
    let counts = &case.tokens_per_expert;
    if counts.is_empty() {
        return Ok(());
    }
    count("entries", counts.len(), MAX_EXPERTS)?;
    let size = |name: &str| {
        let known = case.shape.get(name).copied();
        known.ok_or_else(|| Problem::new("shape", format!("the shape has no {name}, so nothing is routed")))
    };
    let (tokens, top_k, experts) = (size("tokens")?, size("top_k")?, size("experts")?);
    if counts.len() as u64 != experts {
        return Err(Problem::new("entries", format!("{} for {experts} experts", counts.len())));
    }
    // At most 65,536 counts of 32 bits: the sum cannot overflow, the product of a stranger's sizes can.
    let sum: u64 = counts.iter().copied().map(u64::from).sum();
    if tokens.checked_mul(top_k) != Some(sum) {
        return Err(Problem::new("sum", format!("{sum} slots, where {tokens} tokens pick {top_k} experts each")));
    }
    Ok(())
}

/// The stored fractions are those of the stored rates and ceilings.
fn fractions(case: &Case, ceilings: &BTreeMap<CeilingKind, Ceiling>) -> Sound {
    for (kind, fraction) in &case.achieved.fractions {
        let Some(ceiling) = ceilings.get(kind) else {
            return Err(Problem::new(format!("{kind:?}"), "of a ceiling that the document does not have"));
        };
        number(&format!("{kind:?}"), *fraction)?;
        if kind.quantity() == Quantity::BytesPerSecond {
            let rate = case.achieved.bytes_per_s.get();
            let of = |roof: f64| ratio(&format!("{kind:?}"), *fraction, rate / roof);
            // A cache's roof is lower for a larger working set.
            let lower = ceiling.points.iter().any(|point| of(point.bytes_per_s.get()).is_ok());
            if !lower {
                of(ceiling.value)?;
            }
        }
    }
    let is_cache = case.achieved.fractions.contains_key(&CeilingKind::CacheRead);
    if is_cache && case.cache == CacheState::Cold {
        return Err(Problem::new("CacheRead", "the case is cold"));
    }
    Ok(())
}

fn tuning(tuning: &Tuning) -> Sound {
    count("candidates", tuning.candidates.len(), 1000)?;
    for candidate in &tuning.candidates {
        named("candidates.variant", &candidate.variant)?;
        number("candidates.time_s", candidate.time_s.unwrap_or_default().get())?;
        number("candidates.compilation_s", candidate.compilation_s.unwrap_or_default().get())?;
        text("candidates.reason", candidate.reason.as_deref().unwrap_or_default())?;
    }
    if let Some(second) = &tuning.second {
        named("second.variant", &second.variant)?;
        number("second.time_ratio", second.time_ratio)?;
        verified(&second.agreement).map_err(|p| p.within("second.agreement"))?;
    }
    unique("candidates.variant", tuning.candidates.iter().map(|candidate| &*candidate.variant))?;
    text("default_variant", &tuning.default_variant)?;
    finite("regret", tuning.regret.unwrap_or_default())?;
    named_numbers("smaller_shape", &tuning.smaller_shape)?;
    number("cost_cpu_s", tuning.cost_cpu_s.unwrap_or_default().get())?;
    number("cost_s", tuning.cost_s.get())
}

fn part(part: &LayerPart) -> Sound {
    named("kernel", &part.kernel)?;
    named("variant", &part.variant)?;
    at_least_one("launches", part.launches)?;
    work(&part.work)?;
    let [low, high] = part.ci95_s;
    let times = [("median_s", part.median_s), ("ci95_s", low), ("ci95_s", high), ("roofline_s", part.roofline_s)];
    times.into_iter().try_for_each(|(at, time)| number(at, time.get()))?;
    ordered("ci95_s", "not around the median", &[low, part.median_s, high])
}

fn work(work: &Work) -> Sound {
    number("work.flop", work.flop.get())?;
    number("work.bytes_read", work.bytes_read.get())?;
    number("work.bytes_written", work.bytes_written.get())
}

/// The stored rates are those of the stored work and time.
fn achieved(case: &Case) -> Sound {
    let Achieved { flop_per_s, bytes_per_s, roofline_s, fraction_of_roofline, bound_by: _, fractions: _ } =
        &case.achieved;
    let median = case.timing.median_s;
    ratio("flop_per_s", flop_per_s.get(), (case.work.flop / median).get())?;
    ratio("bytes_per_s", bytes_per_s.get(), (case.bytes() / median).get())?;
    number("roofline_s", roofline_s.get())?;
    ratio("fraction_of_roofline", *fraction_of_roofline, *roofline_s / median)
}

/// The statistics fit the samples.
fn timing(timing: &Timing) -> Sound {
    at_least_one("runs_per_sample", timing.runs_per_sample)?;
    at_least_one("buffer_sets", timing.buffer_sets)?;
    count("samples_s", timing.samples_s.len(), MAX_SAMPLES)?;
    if timing.samples_s.is_empty() {
        return Err(Problem::new("samples_s", "empty"));
    }
    timing.samples_s.iter().try_for_each(|sample| number("samples_s", sample.get()))?;
    let [low, high] = timing.ci95_s;
    let cpu = timing.cpu_median_s.unwrap_or_default();
    let times = [
        ("median_s", timing.median_s),
        ("mad_s", timing.mad_s),
        ("ci95_s", low),
        ("ci95_s", high),
        ("wall_median_s", timing.wall_median_s),
        ("cpu_median_s", cpu),
    ];
    times.into_iter().try_for_each(|(at, time)| number(at, time.get()))?;
    let least = timing.samples_s.iter().copied().fold(Seconds::new(f64::INFINITY), Seconds::min);
    let most = timing.samples_s.iter().copied().fold(Seconds::ZERO, Seconds::max);
    ordered("median_s", "outside its samples", &[least, timing.median_s, most])?;
    ordered("ci95_s", "not around the median", &[low, timing.median_s, high])
}

fn verified(verification: &Verification) -> Sound {
    comparison(verification)?;
    if verification.passed() {
        return Ok(());
    }
    let Verification { value, tolerance, worst_error, worst_tolerance, .. } = verification;
    let (key, value, tolerance) =
        if value <= tolerance { ("worst_error", worst_error, worst_tolerance) } else { ("value", value, tolerance) };
    Err(Problem::new(key, format!("{value:e} is above the tolerance {tolerance:e}, so the result was wrong")))
}

fn comparison(verification: &Verification) -> Sound {
    number("value", verification.value)?;
    number("tolerance", verification.tolerance)?;
    number("worst_error", verification.worst_error)?;
    number("worst_tolerance", verification.worst_tolerance)?;
    if verification.checked > verification.total {
        return Err(Problem::new("checked", "more elements than the output has"));
    }
    let Some(worst) = &verification.worst else { return Ok(()) };
    text("worst.output", &worst.output)?;
    count("worst.at", worst.at.len(), 16)?;
    finite("worst.want", worst.want)?;
    worst.got.map_or(Ok(()), |got| finite("worst.got", got))
}

/// Every id once, and a complete document accounts for all that was planned.
fn ids(record: &Record) -> Sound {
    count("planned", record.planned.len(), MAX_ENTRIES)?;
    let planned: BTreeSet<&str> = unique("planned", record.planned.iter().map(String::as_str))?;
    count("cases", record.cases.len(), MAX_ENTRIES)?;
    count("left_out", record.left_out.len(), MAX_ENTRIES)?;
    count("rejected", record.rejected.len(), MAX_ENTRIES)?;
    let done = unique("cases, left_out and rejected", done_ids(record))?;
    match planned.difference(&done).next() {
        Some(missing) if record.complete => {
            Err(Problem::new("complete", format!("true, but the planned case {missing} is missing")))
        }
        _ => Ok(()),
    }
}

/// Ids of all cases that are measured, left out or rejected.
pub(super) fn done_ids(record: &Record) -> impl Iterator<Item = &str> {
    let cases = record.cases.iter().map(|case| &case.id);
    let left_out = record.left_out.iter().map(|case| &case.id);
    let rejected = record.rejected.iter().map(|case| &case.id);
    cases.chain(left_out).chain(rejected).map(String::as_str)
}

fn reasons(record: &Record) -> Sound {
    record.left_out.iter().try_for_each(|case| text("left_out.reason", &case.reason))?;
    record.rejected.iter().try_for_each(|case| {
        text("rejected.reason", &case.reason)?;
        case.verification.as_ref().map_or(Ok(()), comparison).map_err(|p| p.within("rejected.verification"))
    })
}
