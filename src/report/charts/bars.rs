//! The fastest variant of each case as a bar: how much of the roofline it reaches, with the interval of its median.

use maud::{Markup, html};

use super::super::svg::{self, Area, Fault, Side, Tip};
use super::super::{best, clean, groups, percent, short};
use super::{HEADING, ROW, Scale, WIDTH, family_colour, height};
use crate::record::{Case, Record};

/// Where the bars begin.
const LEFT: i32 = 232;
/// Room for a value after the longest bar.
const RIGHT: i32 = 70;
/// Room for the words below the axis.
const BOTTOM: i32 = 30;
/// The most bars that are drawn; the table has all.
const MOST: usize = 150;

/// The chart of one record, or nothing where it has no case.
pub(in super::super) fn bars(record: &Record) -> Markup {
    let best = best(record);
    let cases: Vec<&Case> = record.cases.iter().filter(|case| best.all.contains(&*case.id)).take(MOST).collect();
    let count = cases.len();
    let groups = groups(cases);
    if count == 0 {
        return html! {};
    }
    let label = format!("Fraction of the roofline of {count} kernels on {}", clean(&record.device.name));
    let height = (height(&rows(&groups)) + BOTTOM).unsigned_abs();
    html! {
        figure {
            (svg::chart(label.as_str(), (WIDTH, height), |area| paint(area, &groups)))
            figcaption {
                "Fraction of the roofline, fastest variant of each case; the whisker is the 95 % interval of the median."
                @if count == MOST { " Only the first " (MOST) " are drawn." }
            }
        }
    }
}

/// Cases of one family and setting, under their heading.
type Group<'a> = (String, Vec<&'a Case>);

fn rows(groups: &[Group<'_>]) -> Vec<usize> {
    groups.iter().map(|(_, cases)| cases.len()).collect()
}

/// The fractions that the ends of the median's interval give, slowest first.
fn whisker(case: &Case) -> (f64, f64) {
    let roofline = case.achieved.roofline_s;
    let [low, high] = case.timing.ci95_s;
    let best = if low.is_positive() { roofline / low } else { case.achieved.fraction_of_roofline };
    let worst = if high.is_positive() { roofline / high } else { case.achieved.fraction_of_roofline };
    (worst, best)
}

fn paint(area: &Area<'_>, groups: &[Group<'_>]) -> Result<Vec<Tip>, Fault> {
    let longest = groups.iter().flat_map(|(_, cases)| cases).map(|case| whisker(case).1).fold(1.0, f64::max);
    let scale = Scale::new(longest * 1.02, (LEFT, WIDTH.cast_signed() - RIGHT));
    scale.grid(area, &rows(groups), percent_tick)?;
    scale.upright(area, &rows(groups), 1.0, svg::LINE)?;
    let mut tips = Vec::new();
    let mut y = 0;
    for (heading, cases) in groups {
        svg::write(area, &short(heading, 110), (0, y + HEADING / 2 + 3), Side::Left, svg::MUTED)?;
        y += HEADING;
        for case in cases {
            bar(area, &scale, case, y)?;
            tips.push(Tip { frame: (0, y, WIDTH.cast_signed(), ROW), text: tip(case) });
            y += ROW;
        }
    }
    Ok(tips)
}

fn percent_tick(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

fn bar(area: &Area<'_>, scale: &Scale, case: &Case, y: i32) -> Result<(), Fault> {
    let middle = y + ROW / 2;
    let name = format!("{} {} {}", clean(&case.kernel), clean(&case.variant), case.element);
    svg::write(area, &short(&name, 30), (LEFT - 10, middle), Side::Right, svg::INK)?;
    let fraction = case.achieved.fraction_of_roofline;
    // A bar is never thinner than a hair: zero and almost zero are not the same.
    let end = scale.pixel(fraction).max(LEFT + 1);
    svg::fill(area, [(LEFT, y + 4), (end, y + ROW - 4)], family_colour(case.family))?;
    let (worst, best) = whisker(case);
    let (from, to) = (scale.pixel(worst), scale.pixel(best));
    svg::line(area, &[(from, middle), (to, middle)], svg::LINE, 1)?;
    for x in [from, to] {
        svg::line(area, &[(x, middle - 4), (x, middle + 4)], svg::LINE, 1)?;
    }
    svg::write(area, &percent(fraction), (to.max(end) + 8, middle), Side::Left, svg::INK)
}

fn tip(case: &Case) -> String {
    format!("{}\n{}, {}, bound by {}", clean(&case.id), case.timing.median_s, case.achieved.flop_per_s, bound(case))
}

fn bound(case: &Case) -> &'static str {
    super::super::terminal::bound_name(case.achieved.bound_by)
}
