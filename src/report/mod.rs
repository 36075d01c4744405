//! How it is shown: tables for a terminal, a comparison of documents, exports, one HTML page.
//!
//! No arithmetic beyond formatting and ratios. Text from a document is a stranger's: it is shown through `text::clean`.

mod cases;
pub(crate) mod ceilings;
mod claims;
pub mod compare;
mod escape;
pub mod export;
mod fleet;
mod numbers;
mod page;
mod projected;
mod record_summary;
mod served;
mod shown;
pub mod terminal;
mod text;
mod token_costs;
pub(crate) mod words;

pub use cases::shape;
pub use page::{
    EmbeddedModel, Fragment, MOST_WITH_MODEL, Page, chart_figures, fragment, headline_text, page, page_with,
    projected_fragment, served_fragment,
};
pub use projected::{ProjectedCosts, ProjectedJson, ProjectedRow, ProjectionPair};
pub use record_summary::RecordSummary;
pub use served::{ServedJson, ServedRow, point_text, served_title, service_words};
pub use shown::{ShownAnswer, ShownFigure};
pub use token_costs::{CostQuestion, SearchWithCosts, WithCosts};
