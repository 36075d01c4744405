//! The fastest variant of each case as a bar: how much of the roofline it reaches, with the interval of its median.

use maud::{Markup, html};

use super::super::svg::{self, Area, Fault, Side, Tip};
use super::super::{best, clean, family_name, percent, setting, short};
use super::{HEADING, ROW, Scale, WIDTH, family_colour};
use crate::record::{Case, Record};

/// Where the bars begin.
const LEFT: i32 = 210;
/// Room for a value after the longest bar.
const RIGHT: i32 = 70;
/// Room for the words below the axis.
const BOTTOM: i32 = 30;
/// The most bars that are drawn; the table has all.
const MOST: usize = 150;

/// The chart of one record, or nothing where it has no case.
pub(in super::super) fn bars(record: &Record) -> Markup {
    let groups = groups(record);
    let rows: usize = groups.iter().map(|group| group.cases.len()).sum();
    if rows == 0 {
        return html! {};
    }
    let label = format!("Fraction of the roofline of {rows} kernels on {}", clean(&record.device.name));
    let content: i32 = groups.iter().map(Group::height).sum();
    let height = (content + BOTTOM).unsigned_abs();
    html! {
        figure {
            (svg::chart(label.as_str(), (WIDTH, height), |area| paint(area, &groups, content)))
            figcaption {
                "Fraction of the roofline, fastest variant of each case; the whisker is the 95 % interval of the median."
                @if rows == MOST { " Only the first " (MOST) " are drawn." }
            }
        }
    }
}

/// Cases of one family and setting.
struct Group<'a> {
    heading: String,
    cases: Vec<&'a Case>,
}

impl Group<'_> {
    fn height(&self) -> i32 {
        HEADING + ROW * i32::try_from(self.cases.len()).unwrap_or_default()
    }
}

fn groups(record: &Record) -> Vec<Group<'_>> {
    let best = best(record);
    let mut cases: Vec<&Case> = record.cases.iter().filter(|case| best.all.contains(&*case.id)).take(MOST).collect();
    cases.sort_by_key(|case| (case.family, case.phase, setting(case)));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for case in cases {
        let heading = format!("{}: {}", family_name(case.family), setting(case));
        match groups.last_mut() {
            Some(group) if group.heading == heading => group.cases.push(case),
            _ => groups.push(Group { heading, cases: vec![case] }),
        }
    }
    groups
}

/// The fractions that the ends of the median's interval give, slowest first.
fn whisker(case: &Case) -> (f64, f64) {
    let roofline = case.achieved.roofline_s;
    let [low, high] = case.timing.ci95_s;
    let best = if low.is_positive() { roofline / low } else { case.achieved.fraction_of_roofline };
    let worst = if high.is_positive() { roofline / high } else { case.achieved.fraction_of_roofline };
    (worst, best)
}

fn paint(area: &Area<'_>, groups: &[Group<'_>], bottom: i32) -> Result<Vec<Tip>, Fault> {
    let longest = groups.iter().flat_map(|group| &group.cases).map(|case| whisker(case).1).fold(1.0, f64::max);
    let scale = Scale::new(longest * 1.02, (LEFT, WIDTH.cast_signed() - RIGHT));
    scale.grid(area, HEADING / 2, bottom, percent_tick)?;
    let full = scale.pixel(1.0);
    svg::line(area, &[(full, HEADING / 2), (full, bottom)], svg::LINE, 1)?;
    let mut tips = Vec::new();
    let mut y = 0;
    for group in groups {
        svg::write(area, &short(&group.heading, 110), (0, y + HEADING / 2 + 3), Side::Left, svg::MUTED)?;
        y += HEADING;
        for case in &group.cases {
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
