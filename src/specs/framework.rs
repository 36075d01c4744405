//! Frameworks: what they add to the times of a chip's kernels, in serving and in training.

mod profiles;
mod serving;
mod training;

pub use profiles::FrameworkUse;
pub use serving::{Framework, FrameworkTimes};
pub use training::TrainingFramework;
