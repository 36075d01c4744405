//! What a reader must keep in mind about a figure, as a typed value with its advice in the text.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ceiling::CeilingKind;

/// A caveat. It travels with the record into comparison, projection and report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Caveat {
    /// A CPU posed as the GPU.
    SoftwareAdapter,
    /// Measured by a page of a browser.
    Browser,
    /// No timestamp queries: samples include submission and wait.
    WallClock,
    /// The second half of the samples is slower or faster than the first.
    Drift {
        /// Median of the second half over that of the first.
        ratio: f64,
    },
    /// The interval of the median stayed wider than the protocol asks.
    Noisy {
        /// Half the width of the 95 % interval over the median.
        relative_ci: f64,
    },
    /// All buffer sets together fit the last-level cache or the rotation was cut short.
    Cached {
        /// Memory touched between two uses of one buffer set.
        rotation_bytes: u64,
    },
    /// Device clock and wall clock disagree on the same work; wall time was used.
    ClocksDisagree {
        /// Device time over wall time.
        ratio: f64,
    },
    /// The kernel beat the measured ceiling: the ceiling is too low, the input was cached, or the count of work is off.
    AboveRoofline {
        /// The fraction reached.
        fraction: f64,
    },
    /// A rate above one measured ceiling: the ceiling is too low, the input was cached, or the count of work is off.
    AboveCeiling {
        /// Which.
        ceiling: CeilingKind,
        /// The fraction reached.
        fraction: f64,
    },
    /// A ceiling that this case runs under could not be measured, so the roofline is of the others alone.
    MissingCeiling {
        /// Which.
        ceiling: CeilingKind,
    },
    /// The reference kernel ran at another speed after this case than in the rest of the run, and again when the case was
    /// repeated.
    ReferenceMoved {
        /// Time of the reference over its median.
        ratio: f64,
    },
    /// The driver took long to compile the kernel: a program that uses it seems to hang at its first use.
    SlowCompilation {
        /// Until the pipeline was there.
        seconds: f64,
    },
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SoftwareAdapter => {
                write!(f, "software adapter: a CPU posed as the GPU, so these figures say nothing about a GPU")
            }
            Self::Browser => {
                write!(f, "browser: it keeps bounds checks of its own in every shader, so a native run may be faster")
            }
            Self::WallClock => {
                write!(f, "wall clock: the adapter has no timestamp queries, so times include submission and wait")
            }
            Self::Drift { ratio } => write!(
                f,
                "drift: the second half of the samples took {ratio:.2} times the first; let the device cool and repeat"
            ),
            Self::Noisy { relative_ci } => write!(
                f,
                "noisy: the median is known to +-{:.0} % only; close other programs and repeat",
                relative_ci * 100.0
            ),
            Self::Cached { rotation_bytes } => write!(
                f,
                "cached: inputs rotate over {:.1} MB only, so some may come from a cache",
                *rotation_bytes as f64 / 1e6
            ),
            Self::ClocksDisagree { ratio } => {
                write!(
                    f,
                    "clocks disagree: device time is {ratio:.2} of wall time for the same work, so wall time is used"
                )
            }
            Self::AboveRoofline { fraction } => {
                write!(f, "above the roofline: {fraction:.2} of the measured ceiling; see the ceilings")
            }
            Self::AboveCeiling { ceiling, fraction } => write!(
                f,
                "above the ceiling: {fraction:.2} of the measured {}; that ceiling is too low, or the input was cached",
                ceiling.label()
            ),
            Self::SlowCompilation { seconds } => {
                write!(f, "slow compilation: the driver took {seconds:.1} s to compile this kernel")
            }
            Self::MissingCeiling { ceiling } => write!(
                f,
                "no ceiling: the device's {} could not be measured, so its roofline is that of the \
                 others alone",
                ceiling.label()
            ),
            Self::ReferenceMoved { ratio } => write!(
                f,
                "reference moved: a fixed kernel beside this case took {ratio:.2} times its usual time, and again after \
                 a repeat; the device was throttled or shared"
            ),
        }
    }
}
