//! Rate over arithmetic intensity, both logarithmic, under the roofs that were measured beside it.

use maud::{Markup, html};
use plotters::prelude::*;

use super::super::svg::{self, Area, Fault, Side, Tip};
use super::super::{best, clean, family_name, percent, setting};
use super::{WIDTH, family_colour};
use crate::kernels::{Element, Family};
use crate::record::{Case, Record};
use crate::units::with_prefix;

const HEIGHT: u32 = 480;
const LEFT: i32 = 96;
const RIGHT: i32 = 20;
const TOP: i32 = 26;
const BOTTOM: i32 = 52;
/// The most decades on an axis that get words.
const MOST_LABELS: i32 = 9;

/// The chart of one record, or nothing where no case has both arithmetic and traffic.
pub(in super::super) fn roofline(record: &Record) -> Markup {
    let cases: Vec<&Case> = record.cases.iter().filter(|case| has_place(case)).collect();
    if cases.is_empty() {
        return html! {};
    }
    let absent = record.cases.len() - cases.len();
    let label = format!(
        "Roofline of {}: {} cases by arithmetic intensity and achieved rate, under the measured ceilings",
        clean(&record.device.name),
        cases.len()
    );
    html! {
        figure {
            ul.legend {
                @for family in [Family::Gating, Family::ExpertMatmul, Family::Attention] {
                    li { span class={ "key " (family) } {} (family_name(family)) }
                }
                li.note { "filled f16 and narrower, hollow f32; pale where another variant is faster" }
            }
            (svg::chart(label.as_str(), (WIDTH, HEIGHT), |area| paint(area, record, &cases)))
            figcaption {
                "Each mark is one kernel case, the lines are the ceilings measured in the same run. "
                "The nearer to its line, the better; above it, see the caveats."
                @if absent > 0 { " Cases without floating-point work are in the table only (" (absent) ")." }
            }
        }
    }
}

fn has_place(case: &Case) -> bool {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    positive(case.work.arithmetic_intensity()) && positive(case.achieved.flop_per_s.get())
}

/// Pixels of the two logarithmic axes.
struct Axes {
    x: LogCoord<f64>,
    y: LogCoord<f64>,
}

type LogCoord<T> = plotters::coord::combinators::LogCoord<T>;

impl Axes {
    fn over(record: &Record, cases: &[&Case]) -> Self {
        let mut x: Vec<f64> = cases.iter().map(|case| case.work.arithmetic_intensity()).collect();
        let mut y: Vec<f64> = cases.iter().map(|case| case.achieved.flop_per_s.get()).collect();
        for roof in roofs(record) {
            y.push(roof.rate);
            x.extend(record.memory_ceiling().map(|memory| roof.rate / memory.get()));
        }
        Self { x: decades(&x), y: decades(&y) }
    }

    fn pixel(&self, intensity: f64, rate: f64) -> (i32, i32) {
        let (right, bottom) = (WIDTH.cast_signed() - RIGHT, HEIGHT.cast_signed() - BOTTOM);
        (self.x.map(&intensity, (LEFT, right)), self.y.map(&rate, (bottom, TOP)))
    }
}

/// A logarithmic axis over all `values`, a little beyond them on either side.
fn decades(values: &[f64]) -> LogCoord<f64> {
    let positive = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
    let least = positive().fold(f64::MAX, f64::min).max(1e-30);
    let most = positive().fold(least, f64::max).min(1e30);
    (least / 2.0..most.max(least) * 2.0).log_scale().into()
}

/// A horizontal roof.
struct Roof {
    name: String,
    rate: f64,
}

/// The arithmetic roofs, highest first.
fn roofs(record: &Record) -> Vec<Roof> {
    use crate::record::CeilingKind::{FmaF16, FmaF32};
    let mut roofs: Vec<Roof> = [("f32", FmaF32), ("f16", FmaF16)]
        .into_iter()
        .filter_map(|(name, kind)| record.ceilings.get(&kind).map(|ceiling| (name, ceiling.value)))
        .map(|(name, rate)| Roof { name: format!("{name} {}", with_prefix(rate, "FLOP/s")), rate })
        .collect();
    roofs.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    roofs
}

fn paint(area: &Area<'_>, record: &Record, cases: &[&Case]) -> Result<Vec<Tip>, Fault> {
    let axes = Axes::over(record, cases);
    grid(area, &axes)?;
    paint_roofs(area, &axes, record)?;
    let best = best(record);
    let mut tips = Vec::new();
    for case in cases {
        let at = axes.pixel(case.work.arithmetic_intensity(), case.achieved.flop_per_s.get());
        mark(area, at, case, if best.all.contains(&*case.id) { 1.0 } else { 0.4 })?;
        tips.push(Tip { frame: (at.0 - 8, at.1 - 8, 16, 16), text: tip(case) });
    }
    Ok(tips)
}

fn tip(case: &Case) -> String {
    let what = format!("{} {} {}", clean(&case.kernel), clean(&case.variant), case.element);
    let fraction = percent(case.achieved.fraction_of_roofline);
    format!("{what}\n{}\n{}, {fraction} of the roofline", setting(case), case.achieved.flop_per_s)
}

fn grid(area: &Area<'_>, axes: &Axes) -> Result<(), Fault> {
    let (left, right) = (LEFT, WIDTH.cast_signed() - RIGHT);
    let (top, bottom) = (TOP, HEIGHT.cast_signed() - BOTTOM);
    for intensity in powers(&axes.x) {
        let x = axes.x.map(&intensity, (left, right));
        svg::line(area, &[(x, top), (x, bottom)], svg::GRID, 1)?;
        svg::write(area, &plain(intensity), (x, bottom + 15), Side::Middle, svg::MUTED)?;
    }
    for rate in powers(&axes.y) {
        let y = axes.y.map(&rate, (bottom, top));
        svg::line(area, &[(left, y), (right, y)], svg::GRID, 1)?;
        svg::write(area, &round(rate), (left - 10, y), Side::Right, svg::MUTED)?;
    }
    svg::write(area, "arithmetic intensity, FLOP per byte", (right, bottom + 38), Side::Right, svg::INK)?;
    svg::write(area, "achieved rate", (4, 10), Side::Left, svg::INK)
}

/// The powers of ten on an axis, or every second, third ... of them where they are many.
fn powers(axis: &LogCoord<f64>) -> Vec<f64> {
    let range = axis.range();
    let exponent = |value: f64| value.log10().clamp(-300.0, 300.0);
    let within = |power: &i32| (exponent(range.start)..=exponent(range.end)).contains(&f64::from(*power));
    let all: Vec<i32> = (-300..=300).filter(within).collect();
    let step = i32::try_from(all.len()).unwrap_or(1) / MOST_LABELS + 1;
    all.into_iter().filter(|power| power % step == 0).map(|power| 10f64.powi(power)).collect()
}

fn plain(value: f64) -> String {
    if (1e-3..1e6).contains(&value) { format!("{value}") } else { format!("{value:e}") }
}

/// `1.00 TFLOP/s` without the zeros that a round value does not need.
fn round(rate: f64) -> String {
    with_prefix(rate, "FLOP/s").replacen(".00", "", 1).replacen(".0 ", " ", 1)
}

fn paint_roofs(area: &Area<'_>, axes: &Axes, record: &Record) -> Result<(), Fault> {
    let (x, y) = (axes.x.range(), axes.y.range());
    let memory = record.memory_ceiling().map(crate::units::BytesPerSecond::get);
    let mut above = None;
    for roof in roofs(record) {
        let ridge = memory.map_or(x.start, |memory| (roof.rate / memory).max(x.start));
        let (from, to) = (axes.pixel(ridge, roof.rate), axes.pixel(x.end, roof.rate));
        svg::line(area, &[from, to], svg::LINE, 2)?;
        // Two roofs close together: the lower one's words go below its line.
        let offset = if above.is_some_and(|above| to.1 - above < 24) { 12 } else { -11 };
        svg::write(area, &roof.name, (to.0, to.1 + offset), Side::Right, svg::INK)?;
        above = Some(to.1);
    }
    let Some(memory) = memory else { return Ok(()) };
    let top = roofs(record).first().map_or(y.end, |roof| roof.rate);
    let (start, end) = (x.start.max(y.start / memory), x.end.min(top / memory));
    svg::line(area, &[axes.pixel(start, start * memory), axes.pixel(end, end * memory)], svg::LINE, 2)?;
    // The slope is steepest to its left, where no mark can be: a third of the way up there is room for words.
    let third = (start.ln() + (end.ln() - start.ln()) * 0.6).exp();
    let at = axes.pixel(third, third * memory);
    svg::write(area, &format!("memory {}", with_prefix(memory, "B/s")), (at.0 - 12, at.1 - 10), Side::Right, svg::INK)
}

/// Circle, square or triangle by family; hollow for f32 and filled for narrower types.
fn mark(area: &Area<'_>, at: (i32, i32), case: &Case, opacity: f64) -> Result<(), Fault> {
    let colour = family_colour(case.family).mix(opacity);
    let style = match case.element {
        Element::F32 => colour.stroke_width(2),
        _ => colour.filled(),
    };
    let (x, y) = at;
    match (case.family, case.element) {
        (Family::Gating, _) => area.draw(&Circle::new(at, 6, style)),
        (Family::ExpertMatmul, _) => area.draw(&Rectangle::new([(x - 5, y - 5), (x + 5, y + 5)], style)),
        (Family::Attention, Element::F32) => area.draw(&PathElement::new(triangle(at).to_vec(), style)),
        (Family::Attention, _) => area.draw(&Polygon::new(triangle(at).to_vec(), style)),
    }
}

/// Closed, so that its outline is whole.
fn triangle((x, y): (i32, i32)) -> [(i32, i32); 4] {
    [(x, y - 7), (x + 7, y + 5), (x - 7, y + 5), (x, y - 7)]
}
