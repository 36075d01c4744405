//! What a page shows.

use crate::projection::claims::Judged;
use crate::projection::outlook::Outlook;
use crate::record::{FleetRecord, Record};
use crate::report::page::embedded_model::EmbeddedModel;
use crate::report::projected::ProjectionPair;

/// What a page shows; what is empty gets no section.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    /// Measured devices.
    pub records: &'a [Record],
    /// Fleets: a strip of their devices, the outliers, the network. The typical device of each is among `records`.
    pub fleets: &'a [FleetRecord],
    /// What chips would deliver. The first one's chip is that of the headline.
    pub projections: &'a [ProjectionPair],
    /// One model's decode in depth.
    pub outlook: Option<&'a Outlook>,
    /// The announcement against the model.
    pub claims: &'a [Judged],
    /// What answers the sliders instead of the grid of the outlook.
    pub model: Option<&'a EmbeddedModel>,
}
