//! What the page's script draws: figures of records and projections, with their words ready to be shown.
//!
//! Texts of a record are cleaned here; the script only ever puts them into text nodes.

use serde::Serialize;

use crate::kernels::{Family, StorageType};
use crate::projection::outlook::{Front, Outlook};
use crate::projection::surface::Surface;
use crate::projection::timeline::Timeline;
use crate::projection::{Phase, Projection, ScoredPlan};
use crate::record::{CacheState, Case, CeilingKind, Record};
use crate::report::cases::{best, scale_words, setting};
use crate::report::numbers::{grouped_digits, percent};
use crate::report::page::input::Page;
use crate::report::projected::ProjectionPair;
use crate::report::text::{clean, short};
use crate::report::words;
use crate::units::Seconds;

/// The most samples of a case that are drawn, evenly chosen.
const MOST_SAMPLES: usize = 200;
/// The most cases of a record that are drawn; the tables have all.
const MOST_CASES: usize = 1000;

/// Everything that is drawn.
#[derive(Serialize)]
pub(super) struct Data<'a> {
    records: Vec<Drawn>,
    terms: Vec<TermBars>,
    outlook: Option<View<'a>>,
}

/// The figures of projections where nothing else is shown.
#[derive(Serialize)]
pub(super) struct ProjectedData {
    records: [Drawn; 0],
    terms: Vec<TermBars>,
}

/// A record.
#[derive(Serialize)]
struct Drawn {
    device: String,
    memory_bytes_per_s: Option<f64>,
    roofs: Vec<Roof>,
    cases: Vec<Mark>,
}

/// A horizontal roof.
#[derive(Serialize)]
struct Roof {
    name: &'static str,
    flop_per_s: f64,
}

/// A case.
#[derive(Serialize)]
struct Mark {
    id: String,
    /// The same for the same question on another device.
    question: String,
    /// Family, model and phase: cases under one heading.
    group: String,
    label: String,
    family: Family,
    kernel: String,
    element: StorageType,
    flop_per_byte: f64,
    flop_per_s: f64,
    fraction: f64,
    /// Of the ends of the median's interval, the slower end first.
    fraction_band: [f64; 2],
    median_s: f64,
    /// Whether no other variant is faster.
    is_best: bool,
    /// Whether it has one intensity and the roofs are its own: no whole layer, no warm case, some arithmetic.
    is_under_roofs: bool,
    samples_s: Vec<f64>,
    tip: String,
}

/// The parts of a phase's projections.
#[derive(Serialize)]
struct TermBars {
    pairs: Vec<TermPair>,
}

#[derive(Serialize)]
struct TermPair {
    chip: String,
    heading: String,
    bars: Vec<TermBar>,
}

/// Chip time per token on one fabric.
#[derive(Serialize)]
struct TermBar {
    fabric: String,
    s_per_token: f64,
    total: String,
    parts: Vec<TermPart>,
}

#[derive(Serialize)]
struct TermPart {
    term: &'static str,
    s_per_token: f64,
    tip: String,
}

/// The outlook with its front's words.
#[derive(Serialize)]
struct View<'a> {
    baseline: String,
    surface: Surface,
    fronts: Vec<FrontView>,
    timeline: &'a Timeline,
}

#[derive(Serialize)]
struct FrontView {
    fabric: String,
    points: Vec<FrontPoint>,
}

#[derive(Serialize)]
struct FrontPoint {
    s_per_token: f64,
    tokens_per_s_per_chip: f64,
    tip: String,
}

/// The page's figures.
pub(super) fn data<'a>(page: &Page<'a>) -> Data<'a> {
    Data {
        records: page.records.iter().map(drawn).collect(),
        terms: terms(page.projections),
        outlook: page.outlook.map(view),
    }
}

/// The figures of projections alone.
pub(super) fn projected_data(pairs: &[ProjectionPair]) -> ProjectedData {
    ProjectedData { records: [], terms: terms(pairs) }
}

fn terms(pairs: &[ProjectionPair]) -> Vec<TermBars> {
    let phases = [Phase::Prefill, Phase::Decode, Phase::Training].into_iter();
    phases.map(|phase| TermBars { pairs: term_pairs(pairs, phase) }).collect()
}

fn drawn(record: &Record) -> Drawn {
    let best = best(record);
    let roof = |kind, name| record.ceilings.get(&kind).map(|ceiling| Roof { name, flop_per_s: ceiling.value });
    let mut roofs: Vec<Roof> = [
        (CeilingKind::FmaF32, "f32"),
        (CeilingKind::FmaF16, "f16"),
        (CeilingKind::DotI8, "int8 dot"),
        (CeilingKind::MatrixF16, "f16 matrix"),
    ]
    .into_iter()
    .filter_map(|(kind, name)| roof(kind, name))
    .collect();
    roofs.sort_by(|a, b| b.flop_per_s.total_cmp(&a.flop_per_s));
    Drawn {
        device: clean(&record.device.name),
        memory_bytes_per_s: record.memory_ceiling().map(crate::units::BytesPerSecond::get),
        roofs,
        cases: record.cases.iter().take(MOST_CASES).map(|case| mark(case, best.all.contains(&*case.id))).collect(),
    }
}

fn mark(case: &Case, is_best: bool) -> Mark {
    let warm = if case.cache == CacheState::Cold { "" } else { " warm" };
    let label = format!("{} {} {}{warm}", clean(&case.kernel), clean(&case.variant), case.element);
    let fraction = case.achieved.fraction_of_roofline;
    let end = |time: Seconds| {
        if time.is_positive() { case.achieved.roofline_s / time } else { fraction }
    };
    let [low, high] = case.timing.ci95_s;
    let tip = format!(
        "{label}\n{}\n{}, {}\n{} of the roofline, bound by {}",
        setting(case),
        case.timing.median_s,
        case.achieved.flop_per_s,
        percent(fraction),
        words::bound(case.achieved.bound_by)
    );
    let intensity = case.work.arithmetic_intensity();
    let positive = |value: f64| value.is_finite() && value > 0.0;
    Mark {
        id: short(&case.id, 300),
        question: format!("{} {} {}{warm}, {}", clean(&case.kernel), case.element, case.family, setting(case)),
        group: format!("{}: {} {}{}", words::family(case.family), clean(&case.model), case.phase, scale_words(case)),
        label: short(&label, 44),
        family: case.family,
        kernel: clean(&case.kernel),
        element: case.element,
        flop_per_byte: rounded(intensity),
        flop_per_s: rounded(case.achieved.flop_per_s.get()),
        fraction: rounded(fraction),
        fraction_band: [end(high), end(low)].map(rounded),
        median_s: case.timing.median_s.get(),
        is_best,
        is_under_roofs: case.family != Family::Layer
            && case.cache == CacheState::Cold
            && positive(intensity)
            && positive(case.achieved.flop_per_s.get()),
        samples_s: if is_best { thinned(case) } else { Vec::new() },
        tip,
    }
}

/// The samples of a case, or some of them, evenly chosen, in their order.
fn thinned(case: &Case) -> Vec<f64> {
    let samples = &case.timing.samples_s;
    let step = samples.len().div_ceil(MOST_SAMPLES).max(1);
    samples.iter().step_by(step).map(|sample| rounded(sample.get())).collect()
}

/// Four digits: more than any eye or interpolation needs, and a fourth of the bytes.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

fn term_pairs(pairs: &[ProjectionPair], phase: Phase) -> Vec<TermPair> {
    let of_phase = pairs.iter().filter(|pair| pair.on_fabric.phase == phase);
    of_phase
        .map(|pair| {
            let first = &pair.on_fabric;
            let kind = first.number_type.name();
            TermPair {
                chip: clean(&first.chip),
                heading: format!("{} on {}, {kind}", clean(&first.model), clean(&first.chip)),
                bars: std::iter::once(first).chain(&pair.on_baseline).map(term_bar).collect(),
            }
        })
        .collect()
}

/// The length of a bar is the time that one chip spends on a token, so that plans with different batches compare.
fn term_bar(projection: &Projection) -> TermBar {
    let rate = projection.tokens_per_s_per_chip.median;
    let s_per_token = if rate.is_finite() && rate > 0.0 { 1.0 / rate } else { 0.0 };
    let step = projection.terms_s.total();
    let parts = projection.terms_s.named().into_iter().filter(|(_, time)| time.is_positive() && step.is_positive());
    TermBar {
        fabric: clean(&projection.fabric),
        s_per_token,
        total: format!("{}, {} tokens/s", Seconds::new(s_per_token), grouped_digits(rate)),
        parts: parts
            .map(|(term, time)| TermPart {
                term,
                s_per_token: s_per_token * (time / step),
                tip: format!("{}: {time} of a step of {step}, {}", words::term(term), percent(time / step)),
            })
            .collect(),
    }
}

fn view(outlook: &Outlook) -> View<'_> {
    View {
        baseline: clean(&outlook.baseline),
        surface: Surface {
            tokens_per_s_per_chip: outlook.surface.tokens_per_s_per_chip.iter().map(|rate| rate.map(rounded)).collect(),
            ..outlook.surface.clone()
        },
        fronts: outlook.fronts.iter().map(front).collect(),
        timeline: &outlook.timeline,
    }
}

fn front(front: &Front) -> FrontView {
    let point = |candidate: &ScoredPlan| {
        let plan = &candidate.plan;
        FrontPoint {
            s_per_token: candidate.latency_s,
            tokens_per_s_per_chip: candidate.tokens_per_s_per_chip,
            tip: format!(
                "{}: {} per token, {} tokens/s per chip\nTP {} PP {} EP {} DP {}, {} micro-batch(es), {} sequences per chip",
                clean(&front.fabric),
                Seconds::new(candidate.latency_s),
                grouped_digits(candidate.tokens_per_s_per_chip),
                plan.tp,
                plan.pp,
                plan.ep,
                plan.dp,
                plan.microbatches,
                grouped_digits(plan.batch_per_chip)
            ),
        }
    };
    FrontView { fabric: clean(&front.fabric), points: front.candidates.iter().map(point).collect() }
}
