//! The document of a fleet: what was seen on many devices at once, and on the network between them.
//!
//! `document` is the layout, `network` its part about the network, and `note` what each rank leaves beside its journal.
//! `spread` works out from the records what `outlier` lays out, and never believes it from a file. `validate` and `io` read what strangers wrote;
//! `gather` makes a document of what ranks left in a folder, and `merge` one of two.

mod document;
mod gather;
mod io;
mod merge;
mod network;
mod note;
mod outlier;
mod spread;
mod validate;

pub use document::{FLEET_SCHEMA_VERSION, FleetCapacity, FleetCaveat, FleetHost, FleetPlan, FleetRank, FleetRecord};
pub use gather::{GatherError, gather, load_note};
pub use io::{Document, fleet_schema, load_document, load_fleet, parse_document, parse_fleet, save_fleet};
pub use merge::{MergeError, merge};
pub use network::{
    CollectiveTime, FleetCollective, FleetNetwork, MessageMemory, PairTime, RefusedTransfer, TokenLoad, TokenTraffic,
    TransferTiming,
};
pub use note::{RankFiles, RankNote};
pub use outlier::{CaseSpread, DeviceOutlier, OutlierCriterion, OutlierSubject, RankTime, SlowCause};
