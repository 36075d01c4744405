//! Operands as bytes with dimensions. The device and the twin read exactly the same bytes.

mod codec;
mod draw;
mod layout;
mod minifloat;
mod operand;
mod parts;
mod random;
mod rows;

pub use draw::Random;
pub use layout::{MemoryAxis, ScaleLayout, TensorType};
pub use operand::{Tensor, Tensors};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
