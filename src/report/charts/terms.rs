//! Where a chip's time goes: a projection's terms as stacked bars, the bus fabric beside the cluster.

use maud::{Markup, html};
use plotters::prelude::RGBColor;

use super::super::svg::{self, Area, Fault, Side, Tip};
use super::super::{ProjectionPair, clean, grouped_digits, number_type_name, phase_name, short, term_name};
use super::{HEADING, ROW, Scale, WIDTH, height};
use crate::projection::{Phase, Projection};
use crate::units::Seconds;

/// Where the bars begin.
const LEFT: i32 = 190;
/// Room for the total after the longest bar.
const RIGHT: i32 = 210;
/// Room for the words below the axis.
const BOTTOM: i32 = 48;

/// One chart of all pairs of a phase, or nothing where there is none. The length of a bar is the time that one chip
/// spends on a token, so that plans with different batches compare.
pub(in super::super) fn terms(pairs: &[&ProjectionPair], phase: Phase) -> Markup {
    let shown: Vec<&Projection> = pairs.iter().flat_map(|pair| sides(pair)).collect();
    if shown.is_empty() {
        return html! {};
    }
    let height = (height(&rows(pairs)) + BOTTOM).unsigned_abs();
    let label = format!("{}: chip time per token by its parts, for {} projections", phase_name(phase), shown.len());
    html! {
        figure {
            ul.legend {
                @for (i, (name, _)) in shown[0].terms_s.named().into_iter().enumerate() {
                    @if shown.iter().any(|one| one.terms_s.named()[i].1.is_positive()) {
                        li { span class={ "key " (name) } {} (term_name(name)) }
                    }
                }
            }
            (svg::chart(label.as_str(), (WIDTH, height), |area| paint(area, pairs)))
            figcaption {
                "Time that one chip spends on one token, by its parts; shorter is better. Projected, not measured."
            }
        }
    }
}

fn sides(pair: &ProjectionPair) -> impl Iterator<Item = &Projection> {
    std::iter::once(&pair.on_fabric).chain(&pair.on_baseline)
}

fn rows(pairs: &[&ProjectionPair]) -> Vec<usize> {
    pairs.iter().map(|pair| sides(pair).count()).collect()
}

/// Chip time per token, or zero where the throughput is no number above zero.
fn per_token(projection: &Projection) -> Seconds {
    let rate = projection.tokens_per_s_per_chip.median;
    if rate.is_finite() && rate > 0.0 { Seconds::new(1.0 / rate) } else { Seconds::ZERO }
}

fn paint(area: &Area<'_>, pairs: &[&ProjectionPair]) -> Result<Vec<Tip>, Fault> {
    let longest = pairs.iter().flat_map(|pair| sides(pair)).map(per_token).fold(Seconds::ZERO, Seconds::max);
    let scale = Scale::new(longest.get(), (LEFT, WIDTH.cast_signed() - RIGHT));
    scale.grid(area, &rows(pairs), |seconds| Seconds::new(seconds).to_string())?;
    let below = height(&rows(pairs)) + 36;
    svg::write(area, "chip time per token", (WIDTH.cast_signed() - RIGHT, below), Side::Right, svg::INK)?;
    let mut tips = Vec::new();
    let mut y = 0;
    for pair in pairs {
        let first = &pair.on_fabric;
        let heading =
            format!("{} on {}, {}", clean(&first.model), clean(&first.chip), number_type_name(first.number_type));
        svg::write(area, &short(&heading, 110), (0, y + HEADING / 2 + 3), Side::Left, svg::MUTED)?;
        y += HEADING;
        for projection in sides(pair) {
            tips.extend(bar(area, &scale, projection, y)?);
            y += ROW;
        }
    }
    Ok(tips)
}

fn bar(area: &Area<'_>, scale: &Scale, projection: &Projection, y: i32) -> Result<Vec<Tip>, Fault> {
    let middle = y + ROW / 2;
    svg::write(area, &short(&projection.fabric, 28), (LEFT - 10, middle), Side::Right, svg::INK)?;
    let (per_token, total) = (per_token(projection), projection.terms_s.total());
    let mut tips = Vec::new();
    let mut done = Seconds::ZERO;
    for (name, time) in projection.terms_s.named() {
        if !time.is_positive() || !total.is_positive() {
            continue;
        }
        let from = scale.pixel((per_token * (done / total)).get());
        done += time;
        let to = scale.pixel((per_token * (done / total)).get());
        // A hair of the page between two parts, unless the part is thinner than that.
        let gap = i32::from(to - from > 2);
        if to > from {
            svg::fill(area, [(from, y + 3), (to - gap, y + ROW - 3)], term_colour(name))?;
        }
        tips.push(Tip { frame: (from, y, (to - from).max(1), ROW), text: tip(name, time, total) });
    }
    let words = format!("{per_token}, {} tokens/s", grouped_digits(projection.tokens_per_s_per_chip.median));
    svg::write(area, &words, (scale.pixel(per_token.get()) + 8, middle), Side::Left, svg::INK)?;
    Ok(tips)
}

fn tip(name: &str, time: Seconds, step: Seconds) -> String {
    format!("{}: {time} of a step of {step}", term_name(name))
}

/// Cool for computing, warm for talking, grey for waiting.
fn term_colour(name: &str) -> RGBColor {
    match name {
        "attention" => RGBColor(0x12, 0x8C, 0x7E),
        "expert_matmul" => RGBColor(0x2F, 0x6F, 0xD6),
        "gating" => RGBColor(0x8B, 0x5C, 0xC7),
        "dense" => RGBColor(0x6F, 0xA8, 0xDC),
        "dispatch" => RGBColor(0xC8, 0x55, 0x2B),
        "combine" => RGBColor(0xE8, 0x96, 0x4A),
        "other_collectives" => RGBColor(0xC2, 0x9A, 0x1E),
        "bubble" => RGBColor(0xA3, 0xAD, 0xB8),
        _ => RGBColor(0x6E, 0x78, 0x84),
    }
}
