//! Why ranks cannot be put on a fabric.

/// Why ranks cannot be put on a fabric.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// More than there are, or fewer than one.
    #[error("{ranks} ranks do not fit {fabric}: it has 1 to {most} {unit}s (`tiers.{tier}.chips`); ask for fewer")]
    Ranks {
        /// Asked for.
        ranks: usize,
        /// Offered.
        most: u64,
        /// `chip` or `die`.
        unit: &'static str,
        /// The fabric.
        fabric: String,
        /// Its outermost tier.
        tier: String,
    },
    /// A fault of what the fabric does not have.
    #[error("fault `{fault}`: {fabric} has {limit}")]
    Fault {
        /// The fault.
        fault: String,
        /// The fabric.
        fabric: String,
        /// What there is.
        limit: String,
    },
    /// Faults and hashed routes go pair by pair.
    #[error(
        "{ranks} ranks are too many to route pair by pair (faults, hashed planes, full meshes): ask for at most {most}"
    )]
    TooLarge {
        /// Asked for.
        ranks: usize,
        /// The most.
        most: usize,
    },
}
