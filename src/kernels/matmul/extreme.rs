//! Products with given codes, for the verification suite alone.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::matmul::grouped::Matmul;
use crate::kernels::matmul::variant::Variant;
use crate::kernels::plan::{Output, Plan};
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::types::StorageType;
use crate::kernels::verification::Verification;

/// Weights with the code 127, and then with -126: 127 * 126 * 128 = 126 * 127 * 128, so their products cancel exactly. They
/// are so many that each of eight invocations that divide k exceeds what f32 holds exactly.
const RISING: usize = 126 * 128;
const FALLING: usize = 127 * 128;

/// Which codes an [`ExtremeProduct`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtremeCodes {
    /// int8 activations of code 127, and weights whose products with them rise to 260 million, far beyond the integers
    /// that f32 holds exactly. They return to zero, and only the last weight is left. A kernel whose f32 sums exceed 2^24,
    /// or whose integers overflow, is wrong by more than the result.
    Cancelling,
    /// Each code of a weight that is a number, so that a wrong one shows. In fp8 each 128 columns hold the numbers of one
    /// exponent, and their scale makes up for it: beside larger numbers an error in subnormal ones would be lost.
    Every,
    /// Scales of each exponent, one per group of k. Activations make up for it.
    Scales,
}

/// A dense product whose weights have given codes.
#[derive(Debug, Clone)]
pub struct ExtremeProduct {
    matmul: Matmul,
    codes: ExtremeCodes,
}

impl ExtremeProduct {
    /// int8 codes that cancel, for `m` rows by `n` columns.
    pub fn cancelling(m: usize, n: usize) -> Self {
        Self { matmul: Matmul::dense(m, RISING + FALLING + 1, n), codes: ExtremeCodes::Cancelling }
    }

    /// Each code, in `m` rows.
    pub fn every(m: usize) -> Self {
        Self { matmul: Matmul::dense(m, 66, 16 * 128 + 5), codes: ExtremeCodes::Every }
    }

    /// Scales of each exponent, for `m` rows by `n` columns.
    pub fn scales(m: usize, n: usize) -> Self {
        Self { matmul: Matmul::dense(m, 32 * 21 - 3, n), codes: ExtremeCodes::Scales }
    }
}

/// The int8 code of the weight at `k` in a column.
fn cancelling(k: usize, column: usize) -> i8 {
    if k < RISING {
        127
    } else if k < RISING + FALLING {
        -126
    } else {
        i8::try_from(3 - column % 3).unwrap_or(1)
    }
}

/// The code of the weight at `k` in a column. Neighbours differ, and each column begins with another code.
fn every(k: usize, column: usize, element: StorageType) -> u8 {
    let [code, ..] = ((7 * k + 3 * column + k / 16 + column / 16) % 16).to_le_bytes();
    if element != StorageType::Fp8 {
        return code;
    }
    let [exponent, ..] = (column / 128 % 16).to_le_bytes();
    let (sign, mantissa) = (code & 8, code & 7);
    // Mantissa 7 of the last exponent is not a number.
    let mantissa = if exponent == 15 { mantissa.min(6) } else { mantissa };
    sign << 4 | exponent << 3 | mantissa
}

/// 2 to the power of `exponent`.
fn power(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

/// The scale of a group of k in a column, and the exponent that the activations make up for.
fn group_scale(group: usize, column: usize, element: StorageType) -> (f32, i32) {
    let group = i32::try_from(group).unwrap_or_default();
    if element == StorageType::Mxfp4 {
        let exponent = group % 21 - 10;
        return (power(exponent) * if column.is_multiple_of(2) { 1.0 } else { 2.0 }, exponent);
    }
    // e4m3 has eight numbers of each exponent. Those of the lowest are subnormal.
    let exponent = (group % 15 - 7).max(-6);
    let eighths = [1u8, 2, 3, 4, 5, 6, 7, 0][column % 8];
    let whole = if group % 15 == 0 { 0.0 } else { 1.0 };
    let number = (whole + f32::from(eighths) / 8.0).max(0.125);
    (power(exponent) * number, exponent)
}

impl ExtremeProduct {
    fn weights(&self, of: &Tensor, element: StorageType) -> Tensor {
        match self.codes {
            ExtremeCodes::Cancelling => of.with_codes(|at| cancelling(at[1], at[2]).to_ne_bytes()[0], |_| 1.0),
            ExtremeCodes::Every => {
                let scale = |at: &[usize]| match element {
                    StorageType::Fp8 => power(8 - i32::try_from(at[2] % 16).unwrap_or_default()),
                    _ => 1.0,
                };
                of.with_codes(|at| every(at[1], at[2], element), scale)
            }
            ExtremeCodes::Scales => {
                of.with_codes(|at| every(at[1], at[2], element), |at| group_scale(at[1], at[2], element).0)
            }
        }
    }

    fn activations(&self, of: &Tensor, element: StorageType) -> Tensor {
        match (self.codes, element.weight_group()) {
            (ExtremeCodes::Cancelling, _) => of.with_codes(|_| 127, |_| 1.0),
            (ExtremeCodes::Scales, Some([group, _])) => {
                let values = (0..of.rows()).flat_map(|row| (0..of.dims()[1]).map(move |k| (row, k)));
                #[expect(clippy::cast_possible_truncation, reason = "it was f16, and becomes f16 again")]
                let made_up = |(row, k)| of.at(&[row, k]) as f32 * power(-group_scale(k / group, 0, element).1);
                of.with_values(&values.map(made_up).collect::<Vec<f32>>())
            }
            _ => of.clone(),
        }
    }
}

impl Kernel for ExtremeProduct {
    fn name(&self) -> &'static str {
        self.matmul.name()
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        self.matmul.shape()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.matmul.variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        use StorageType::{Fp8, Int4, Int8, Mxfp4, Nvfp4};
        match self.codes {
            ExtremeCodes::Cancelling => &[Int8],
            ExtremeCodes::Every => &[Int4, Fp8, Mxfp4, Nvfp4],
            ExtremeCodes::Scales => &[Mxfp4, Nvfp4],
        }
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        // A variant has all of these types, or none.
        let has = |element| self.matmul.variant_elements(variant).contains(element);
        if self.elements().iter().all(has) { self.elements() } else { &[] }
    }

    fn suits(&self, variant: &str) -> bool {
        self.matmul.suits(variant)
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        self.matmul.plan(variant, element)
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let mut inputs = self.matmul.inputs(variant, element, seed);
        inputs.insert("b", self.weights(&inputs["b"], element));
        inputs.insert("a", self.activations(&inputs["a"], element));
        self.matmul.insert_scales(&mut inputs, Variant::of(variant), element);
        inputs
    }

    fn outputs(&self, variant: &str, element: StorageType) -> Vec<Output> {
        self.matmul.outputs(variant, element)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        self.matmul.verify(inputs, outputs, element, effort)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernels::{Target, twin};

    #[test]
    fn all_but_the_last_product_cancel() {
        let extreme = ExtremeProduct::cancelling(2, 5);
        let inputs = extreme.inputs(extreme.default_variant(&Target::default()), StorageType::Int8, 1);
        for column in 0..5 {
            let product = twin::matmul::product(&inputs["a"], &inputs["b"], 1, 0, column);
            assert_eq!(product, 127.0 * (3.0 - (column % 3) as f64));
        }
    }

    const QUANTISED: [StorageType; 4] = [StorageType::Int4, StorageType::Fp8, StorageType::Mxfp4, StorageType::Nvfp4];

    #[test]
    fn each_code_that_is_a_number_is_in_each_place_of_a_word() {
        for (element, codes) in [(StorageType::Int4, 16), (StorageType::Mxfp4, 16), (StorageType::Fp8, 254)] {
            for (row, column) in (0..4).flat_map(|row| (0..8).map(move |column| (row, column))) {
                let places = (row..66).step_by(4).flat_map(|k| (column..2048).step_by(8).map(move |n| (k, n)));
                let found: BTreeSet<u8> = places.map(|(k, n)| every(k, n, element)).collect();
                assert_eq!(found.len(), codes, "{element} {row} {column}");
            }
        }
    }

    /// The result of a kernel that takes one code for another: what the twin makes of weights with the other code.
    #[expect(clippy::cast_possible_truncation, reason = "results are rounded more coarsely than to f32")]
    fn judged(element: StorageType, code: u8, other: u8) -> Verification {
        let product = ExtremeProduct::every(1);
        let inputs = product.inputs("blocked_8x64", element, 1);
        let scales = inputs["b"].scales().cloned();
        let scale = |at: &[usize]| scales.as_ref().map_or(1.0, |scales| scales.at(at) as f32);
        let wrong = |at: &[usize]| match every(at[1], at[2], element) {
            same if same == code => other,
            same => same,
        };
        let mistaken = inputs["b"].with_codes(wrong, scale);
        let n = mistaken.dims()[2];
        let c: Vec<f32> =
            (0..n).map(|column| twin::matmul::product(&inputs["a"], &mistaken, 0, 0, column) as f32).collect();
        let c = Tensor::floats(&[1, c.len()], &c);
        product.verify(&inputs, &Tensors::from([("c", c)]), element, u64::MAX)
    }

    #[test]
    fn a_kernel_that_takes_one_code_for_its_neighbour_fails() {
        for element in QUANTISED {
            assert!(judged(element, 0, 0).passed(), "{element}");
            let codes = if element == StorageType::Fp8 { 0u8..=255 } else { 0..=15 };
            for code in codes.filter(|code| element != StorageType::Fp8 || code & 0x7F < 0x7E) {
                assert!(!judged(element, code, code ^ 1).passed(), "{element} {code:#x}");
            }
        }
    }

    #[test]
    fn the_twin_reads_the_numbers_of_codes_and_scales() {
        for (element, code, number) in [
            (StorageType::Int4, 3, -5.0),
            (StorageType::Fp8, 0x7E, 448.0),
            (StorageType::Mxfp4, 0xF, -6.0),
            (StorageType::Nvfp4, 5, 3.0),
        ] {
            let drawn = Matmul::dense(1, 40, 20).inputs("blocked_8x64", element, 3);
            let weights = drawn["b"].with_codes(|_| code, |_| 0.25);
            assert_eq!(weights.at(&[0, 39, 19]), number / 4.0, "{element}");
        }
    }
}
