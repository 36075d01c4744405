//! One self-contained page: no network, light and dark, narrow and wide, screen and paper.

mod data;
mod embedded_model;
mod figures;
mod fleet;
mod html;
mod input;
mod sections;
pub(super) mod style;
mod tables;

pub use embedded_model::{EmbeddedModel, MOST_WITH_MODEL};
pub use html::{Fragment, chart_figures, fragment, page, page_with, projected_fragment, served_fragment};
pub use input::Page;
pub use sections::headline_text;
