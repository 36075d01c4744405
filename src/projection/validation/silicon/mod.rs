//! Measured serving deployments next to what the model says of them.
//!
//! A [`Row`] of a file becomes a [`MeasuredDeployment`], or a reason why it cannot. A deployment has the [`DeploymentCosts`] of its steps,
//! which know nothing of a framework; [`predict`] makes times to first token and per token of them.

mod costs;
mod deployment;
mod fit;
mod predict;
mod reading;
mod row;
mod summary;

pub use costs::{DeploymentCosts, StepCost, WorkerCosts};
pub use deployment::{DeploymentFacts, MeasuredDeployment, Unexpressed, Worker};
pub use fit::{FitReport, FittedProfile, UnseenGroup, fit};
pub use predict::{Prediction, Profile, predict};
pub use row::{Degrees, Row, Sharing, Workers, parse};
pub use summary::{ErrorFigures, FrameworkChoice, Outcome, ReportGroup, SiliconReport, UnexpressedRows, evaluate};
