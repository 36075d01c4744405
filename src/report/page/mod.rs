//! One self-contained page: no network, light and dark, narrow and wide, screen and paper.

mod data;
mod figures;
mod html;
mod input;
pub(super) mod style;
mod tables;

pub use html::page;
pub use input::Page;
