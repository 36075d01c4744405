//! The JSON document: what was seen on one device, in one run.
//!
//! One struct is the schema ([`Record`]); `supernode schema` prints it as JSON Schema. Left of this module a GPU is
//! needed, right of it everything works from files. A stored [`Case`] always carries its [`Verification`]: there is no
//! way to write down a speed without saying that the result was right.
//!
//! From the ground up: `timing`, `ceiling`, `caveat`, `case`, `device`, `protocol` and `document` are the layout;
//! `validate` says what a document may hold, `io` reads and writes one, `place` says where one is kept, `journal` grows
//! one during a run, and `lock` keeps two runs off one file. `fleet` is the document of many devices, which holds one such
//! document per device.

mod case;
mod caveat;
mod ceiling;
mod check;
mod device;
mod document;
mod error;
mod fleet;
mod io;
mod journal;
mod lock;
mod place;
mod protocol;
mod timing;
mod validate;

pub use case::{Achieved, Bound, CacheState, Candidate, Case, LayerPart, LeftOut, Rejected, Second, Tuning};
pub use caveat::Caveat;
pub use ceiling::{CachePoint, Ceiling, CeilingKind, LastLevelCache, Quantity};
pub use device::{Browser, Device, DeviceType, Host, MemorySource, Tool};
pub use document::{Record, SCHEMA_VERSION};
pub use error::RecordError;
pub use fleet::{
    CaseSpread, CollectiveTime, DeviceOutlier, Document, FLEET_SCHEMA_VERSION, FleetCapacity, FleetCaveat,
    FleetCollective, FleetHost, FleetNetwork, FleetPlan, FleetRank, FleetRecord, GatherError, MergeError,
    MessageMemory, OutlierCriterion, OutlierSubject, PairTime, RankFiles, RankNote, RankTime, RefusedTransfer,
    SlowCause, TokenLoad, TokenTraffic, TransferTiming, fleet_schema, gather, load_document, load_fleet, load_note,
    merge, parse_document, parse_fleet, save_fleet,
};
pub use io::{load, parse, save, schema, write_atomically};
pub use journal::{Journal, ResumeError};
pub use lock::{Lock, Locked};
pub use place::{JournalPlace, Receiver};
pub use protocol::{ClockSteps, Protocol, Reading, Reference, RuntimeChecks, Selection, TimeSpent};
pub use timing::{Clock, Timing};

pub use crate::kernels::cases::Preset;
pub use crate::kernels::probes::FmaForm;
pub use crate::kernels::{Metric, Verification, Worst};
