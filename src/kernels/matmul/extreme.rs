//! An int8 product with extreme codes, for the verification suite alone.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::matmul::grouped::Matmul;
use crate::kernels::plan::{Output, Plan};
use crate::kernels::tensor::Tensors;
use crate::kernels::types::StorageType;
use crate::kernels::verification::Verification;

/// Weights with the code 127, and then with -126: 127 * 126 * 128 = 126 * 127 * 128, so their products cancel exactly. They
/// are so many that each of eight invocations that divide k exceeds what f32 holds exactly.
const RISING: usize = 126 * 128;
const FALLING: usize = 127 * 128;

/// A product whose activations all have the code 127. The partial sums rise to 260 million, far beyond the integers that
/// f32 holds exactly. They return to zero, and only the last weight is left, which is small. A kernel whose f32 sums exceed
/// 2^24, or whose integers overflow, is wrong by more than the result.
#[derive(Debug, Clone)]
pub struct ExtremeInt8(Matmul);

impl ExtremeInt8 {
    /// `m` rows by `n` columns.
    pub fn new(m: usize, n: usize) -> Self {
        Self(Matmul::dense(m, RISING + FALLING + 1, n))
    }
}

/// The code of the weight at `k` in a column.
fn code(k: usize, column: usize) -> i8 {
    if k < RISING {
        127
    } else if k < RISING + FALLING {
        -126
    } else {
        i8::try_from(3 - column % 3).unwrap_or(1)
    }
}

impl Kernel for ExtremeInt8 {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        self.0.shape()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.0.variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::Int8]
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        if self.0.variant_elements(variant).contains(&StorageType::Int8) { &[StorageType::Int8] } else { &[] }
    }

    fn suits(&self, variant: &str) -> bool {
        self.0.suits(variant)
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        self.0.plan(variant, element)
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let mut inputs = self.0.inputs(variant, element, seed);
        let a = inputs["a"].with_codes(|_| 127);
        let b = inputs["b"].with_codes(|at| code(at[1], at[2]));
        for (name, tensor) in [("a", a), ("b", b)] {
            if let Some(scales) = tensor.scales().cloned() {
                inputs.insert(if name == "a" { "a_scale" } else { "b_scale" }, scales);
            }
            inputs.insert(name, tensor);
        }
        inputs
    }

    fn outputs(&self, variant: &str, element: StorageType) -> Vec<Output> {
        self.0.outputs(variant, element)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        self.0.verify(inputs, outputs, element, effort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Target, twin};

    #[test]
    fn all_but_the_last_product_cancel() {
        let extreme = ExtremeInt8::new(2, 5);
        let inputs = extreme.inputs(extreme.default_variant(&Target::default()), StorageType::Int8, 1);
        for column in 0..5 {
            let product = twin::matmul::product(&inputs["a"], &inputs["b"], 1, 0, column);
            assert_eq!(product, 127.0 * (3.0 - (column % 3) as f64));
        }
    }
}
