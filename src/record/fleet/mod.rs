//! The document of a fleet: what was seen on many devices at once, and on the network between them.
//!
//! `document` is the layout, `rank` and `network` its parts, and `note` what each rank leaves beside its journal.
//! `spread` is worked out from the records, and never believed from a file. `validate` and `io` read what strangers wrote;
//! `gather` makes a document of what ranks left in a folder, and `merge` one of two.

mod document;
mod gather;
mod io;
mod merge;
mod network;
mod note;
mod rank;
mod spread;
mod validate;

pub use document::{FLEET_SCHEMA_VERSION, FleetCapacity, FleetCaveat, FleetHost, FleetPlan, FleetRecord};
pub use gather::{GatherError, gather, load_note};
pub use io::{Document, fleet_schema, load_document, load_fleet, parse_document, parse_fleet, save_fleet};
pub use merge::{MergeError, merge};
pub use network::{
    CollectiveTime, FleetCollective, FleetNetwork, MessageMemory, PairTime, RefusedTransfer, TokenLoad, TokenTraffic,
    TransferTiming,
};
pub use note::{RankFiles, RankNote};
pub use rank::FleetRank;
pub use spread::{CaseSpread, DeviceOutlier, OutlierCriterion, OutlierSubject, RankTime, SlowCause};
