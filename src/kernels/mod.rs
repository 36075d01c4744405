//! What is computed: shapes, inputs, launches and the work they must do, as plain data.
//!
//! Nothing here knows wgpu, so a [`Plan`] can be printed, checked by another WGSL compiler, or run elsewhere. Each family
//! has one folder with its shapes and plans, and a CPU twin under [`twin`] that shares no helper with it.
//!
//! This file only lists the modules and re-exports the vocabulary. Modules import from the file that defines a name.

pub mod attention;
pub mod cases;
pub mod compilers;
mod dequantise;
mod gate;
pub mod gating;
mod kernel;
mod kernel_case;
pub mod layer;
pub mod matmul;
mod plan;
pub mod probes;
pub mod routing;
mod sources;
mod target;
mod tensor;
pub mod twin;
mod types;
mod verification;

pub use dequantise::{MATRIX_WEIGHTS, WEIGHTS};
pub use kernel::{BestVariant, Kernel, Made};
pub use kernel_case::KernelCase;
pub use plan::{Buffer, Launch, Need, Output, POISON_WORD, PartOf, Plan, Role};
pub use sources::{MATRICES, SHADERS, STORAGE, wgsl};
pub use target::{DeviceClass, Target, is_narrow};
pub use tensor::{MemoryAxis, Random, ScaleLayout, Tensor, TensorType, Tensors};
#[cfg(feature = "gpu")]
pub(crate) use types::word;
pub use types::{Extent, Family, KernelPhase, Operation, StorageType, Work};
pub use verification::{Computed, Metric, Verification, Worst};
