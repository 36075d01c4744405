//! Many devices at once: one process (a rank) per device, all devices measured together and alone, and the network between
//! them.
//!
//! [`Communicator`] is all that is asked of MPI, so that agreement, placement, schedule and statistics are tested with ranks
//! in one process. Only `mpi.rs` knows the library.

pub mod agreement;
mod communicator;
mod faulty;
#[cfg(test)]
mod in_process;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod network;
pub mod placement;
pub mod stages;

pub use communicator::Communicator;
pub use faulty::Faulty;
