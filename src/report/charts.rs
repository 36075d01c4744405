//! The charts of the page: a roofline, kernels as bars, a projection's terms as stacked bars.

mod bars;
mod roofline;
mod terms;

pub(super) use bars::bars;
pub(super) use roofline::roofline;
pub(super) use terms::terms;

use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::RGBColor;

use super::svg::{self, Area, Fault, Side};
use crate::kernels::Family;

/// Width of every chart in pixels, before the page scales it.
const WIDTH: u32 = 920;
/// Height of a bar's row.
const ROW: i32 = 24;
/// Height of a heading's row.
const HEADING: i32 = 34;

/// A family has one colour (and one shape) on the whole page.
pub(super) const fn family_colour(family: Family) -> RGBColor {
    match family {
        Family::Gating => RGBColor(0x8B, 0x5C, 0xC7),
        Family::ExpertMatmul => RGBColor(0x2F, 0x6F, 0xD6),
        Family::Attention => RGBColor(0x12, 0x8C, 0x7E),
        Family::Layer => RGBColor(0x6B, 0x72, 0x80),
    }
}

/// A linear horizontal axis of bars, from zero.
struct Scale {
    coordinate: RangedCoordf64,
    pixels: (i32, i32),
}

impl Scale {
    /// From zero to `most`, or to one where that is no length.
    fn new(most: f64, pixels: (i32, i32)) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        Self { coordinate: (0.0..most).into(), pixels }
    }

    fn pixel(&self, value: f64) -> i32 {
        self.coordinate.map(&value, self.pixels).clamp(self.pixels.0, self.pixels.1)
    }

    /// Lines at round values behind each block of `rows`, and their words below the last.
    fn grid(&self, area: &Area<'_>, rows: &[usize], words: impl Fn(f64) -> String) -> Result<(), Fault> {
        for value in self.coordinate.key_points(6) {
            let x = self.pixel(value);
            self.upright(area, rows, value, svg::GRID)?;
            svg::write(area, &words(value), (x, height(rows) + 14), Side::Middle, svg::MUTED)?;
        }
        Ok(())
    }

    /// A vertical line at `value` behind each block of `rows`; headings stay clear of it.
    fn upright(&self, area: &Area<'_>, rows: &[usize], value: f64, colour: RGBColor) -> Result<(), Fault> {
        let x = self.pixel(value);
        let mut y = 0;
        for block in rows {
            let end = y + height(&[*block]);
            svg::line(area, &[(x, y + HEADING), (x, end)], colour, 1)?;
            y = end;
        }
        Ok(())
    }
}

/// Height of blocks of rows, each under a heading.
fn height(rows: &[usize]) -> i32 {
    rows.iter().map(|count| HEADING + ROW * i32::try_from(*count).unwrap_or_default()).sum()
}
