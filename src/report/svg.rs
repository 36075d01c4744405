//! A chart as inline SVG: what all charts share. Colours are fixed here and replaced by the page's style sheet, which
//! finds them by attribute and knows light from dark.

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The surface of a chart, in pixels.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Why a chart could not be drawn.
pub(super) type Fault = DrawingAreaErrorKind<std::io::Error>;

/// Words.
pub(super) const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
/// Words of lesser weight.
pub(super) const MUTED: RGBColor = RGBColor(0x5B, 0x67, 0x75);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xE4, 0xE8, 0xED);
/// Roofs and whiskers.
pub(super) const LINE: RGBColor = RGBColor(0x3A, 0x46, 0x53);

/// Something to point at: a place on the chart and what it says.
pub(super) struct Tip {
    /// Left, top, width, height in pixels.
    pub(super) frame: (i32, i32, i32, i32),
    /// The words.
    pub(super) text: String,
}

/// Draws on a surface of `size` pixels. `label` tells in words what the chart shows, for those who cannot see it.
pub(super) fn chart(label: &str, size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<Vec<Tip>, Fault>) -> Markup {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area).and_then(|tips| area.present().map(|()| tips))
    };
    match drawn {
        Ok(tips) => html! { div.chart { (PreEscaped(described(&svg, label, size, &tips))) } },
        Err(_) => html! { p.note { "This chart could not be drawn; the table has its figures." } },
    }
}

/// Replaces the opening tag by one that scales and has a name, and puts the tips on top of all else.
fn described(svg: &str, label: &str, size: (u32, u32), tips: &[Tip]) -> String {
    let body = svg.split_once('>').map_or("", |(_, rest)| rest);
    let body = body.trim_end().strip_suffix("</svg>").unwrap_or(body);
    let (width, height) = size;
    html! {
        svg role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            (PreEscaped(body))
            @for Tip { frame: (x, y, width, height), text } in tips {
                rect.tip x=(x) y=(y) width=(width) height=(height) { title { (text) } }
            }
        }
    }
    .into_string()
}

/// Which end of a text its position is.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// The text begins there.
    Left,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    Right,
}

/// Writes `text` at a pixel, vertically centred.
pub(super) fn write(area: &Area<'_>, text: &str, at: (i32, i32), side: Side, colour: RGBColor) -> Result<(), Fault> {
    let horizontal = match side {
        Side::Left => HPos::Left,
        Side::Middle => HPos::Center,
        Side::Right => HPos::Right,
    };
    // The backend divides sizes by 1.24.
    let style = ("sans-serif", 13.0 * 1.24).into_font().color(&colour).pos(Pos::new(horizontal, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
}

/// Draws a line through pixels.
pub(super) fn line(area: &Area<'_>, points: &[(i32, i32)], colour: RGBColor, width: u32) -> Result<(), Fault> {
    area.draw(&PathElement::new(points.to_vec(), colour.stroke_width(width)))
}

/// Fills the rectangle between two pixels.
pub(super) fn fill(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor) -> Result<(), Fault> {
    area.draw(&Rectangle::new(corners, colour.filled()))
}
