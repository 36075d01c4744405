//! The layout of activations and weights in memory.
//!
//! Weights are stored in panels as wide as a workgroup, so that each workgroup reads one stream: [experts, panels, k,
//! columns of the panel]. Inside a panel the columns of gate come before those of up. int8 puts 4 neighbours along k into
//! one word.
//!
//! Where only the weights are quantised, a word holds one of k: four columns in fp8; four columns and those half a panel
//! further in the types of 4 bits. Four words of k follow each other, so that an invocation reads 16 bytes at a time.
//!
//! The matrix techniques put the 32 of k of a column together, whatever the type.

use crate::kernels::matmul::variant::{MATRIX_STEP, Variant};
use crate::kernels::tensor::{MemoryAxis, Random, ScaleLayout, Tensor, TensorType, Tensors};
use crate::kernels::types::StorageType;

/// Bytes of one number of a type that has whole bytes.
pub(super) fn bytes(element: StorageType) -> usize {
    usize::try_from(element.size_bytes()).unwrap_or(4)
}

/// Bytes of `count` weights without their scales.
pub(super) fn weight_bytes(count: usize, element: StorageType) -> usize {
    count * usize::try_from(element.weight_bits()).unwrap_or(32) / 8
}

/// k with the zeros that fill its last step.
pub(super) fn padded_k(k: usize, element: StorageType) -> usize {
    k.next_multiple_of(match element {
        StorageType::Int8 => 16,
        _ => element.weight_step().unwrap_or(4),
    })
}

/// The type of the scales of a type that quantises only the weights.
fn scale_kind(element: StorageType) -> TensorType {
    match element {
        StorageType::Mxfp4 => TensorType::Exponent,
        StorageType::Nvfp4 => StorageType::Fp8.into(),
        StorageType::Fp8 => StorageType::F32.into(),
        _ => StorageType::F16.into(),
    }
}

/// k of the weights in memory, with the zeros that fill the last step of the variant.
pub(super) fn weights_k(k: usize, variant: &Variant, element: StorageType) -> usize {
    padded_k(k, element).next_multiple_of(variant.k_together(element))
}

fn axis(dim: usize, step: usize, count: usize) -> MemoryAxis {
    MemoryAxis { dim, step, count }
}

/// Activations [rows, k], in int8 with one scale per row. Memory has `in_memory` rows; those beyond `rows` hold zeros.
pub(super) fn activations(rows: usize, in_memory: usize, k: usize, element: StorageType, seed: u64) -> Tensor {
    let axes = [axis(0, 1, in_memory), axis(1, 1, padded_k(k, element))];
    let dims = [rows, k];
    if element == StorageType::Int8 {
        let scaling = ScaleLayout {
            block: vec![1, k],
            axes: vec![axis(0, 1, in_memory), axis(1, 1, 1)],
            kind: StorageType::F32.into(),
        };
        return Tensor::random_quantised(&dims, &axes, element, &scaling, Random { sigma: 1.0, seed });
    }
    Tensor::random_in_order(&dims, &axes, element.activation(), Random { sigma: 1.0, seed })
}

/// The weights of a grouped GEMM: [experts, k, n], or [experts, k, 2, n] for gate and up.
pub(super) struct Weights {
    /// Matrices.
    pub(super) experts: usize,
    /// Rows.
    pub(super) k: usize,
    /// Columns of the output.
    pub(super) n: usize,
    /// Matrices per expert, side by side: 2 for gate and up, otherwise 1.
    pub(super) matrices: usize,
}

impl Weights {
    /// Panels per expert.
    pub(super) fn panels(&self, variant: &Variant) -> usize {
        self.n.div_ceil(self.output_columns(variant))
    }

    /// Columns of the output per panel.
    fn output_columns(&self, variant: &Variant) -> usize {
        variant.panel_columns() / self.matrices
    }

    /// Random weights of deviation 1 / sqrt(k), in panels of the variant.
    pub(super) fn draw(&self, variant: &Variant, element: StorageType, seed: u64) -> Tensor {
        let dims = self.dims();
        let numbers = Random { sigma: self.sigma(), seed };
        match element {
            StorageType::F32 | StorageType::F16 | StorageType::Bf16 => {
                let axes =
                    self.rows_of_panels(variant, variant.k_together(element), weights_k(self.k, variant, element));
                Tensor::random_in_order(&dims, &axes, element, numbers)
            }
            StorageType::Int8 => {
                let axes =
                    self.rows_of_panels(variant, variant.k_together(element), weights_k(self.k, variant, element));
                let scale_axes = self.rows_of_panels(variant, 1, 1);
                let kind = StorageType::F32.into();
                let scaling = ScaleLayout { block: self.block(self.k, 1), axes: scale_axes, kind };
                Tensor::random_quantised(&dims, &axes, element, &scaling, numbers)
            }
            StorageType::Int4 | StorageType::Fp8 | StorageType::Mxfp4 | StorageType::Nvfp4 => {
                let axes = self.words_of_columns(variant, element);
                let scaling = self.scaling(variant, element);
                let outer = (element == StorageType::Nvfp4).then(|| self.scales_of_matrices());
                Tensor::random_quantised_twice(&dims, &axes, element, &scaling, outer, numbers)
            }
        }
    }

    /// The dimension of the columns comes last, that of gate and up before it.
    fn dims(&self) -> Vec<usize> {
        let Self { experts, k, n, matrices } = *self;
        if matrices == 2 { vec![experts, k, 2, n] } else { vec![experts, k, n] }
    }

    fn block(&self, of_k: usize, of_n: usize) -> Vec<usize> {
        let mut block = vec![1; self.dims().len()];
        block[1] = of_k;
        *block.last_mut().unwrap_or(&mut 1) = of_n;
        block
    }

    fn sigma(&self) -> f64 {
        1.0 / (self.k as f64).sqrt()
    }

    /// [experts, panels, k, columns of the panel], with `per_word` neighbours along k inside the last.
    fn rows_of_panels(&self, variant: &Variant, per_word: usize, k: usize) -> Vec<MemoryAxis> {
        let (last, columns) = (self.dims().len() - 1, self.output_columns(variant));
        let mut axes = vec![
            axis(0, 1, self.experts),
            axis(last, columns, self.panels(variant)),
            axis(1, per_word, k.div_ceil(per_word)),
        ];
        if self.matrices == 2 {
            axes.push(axis(2, 1, 2));
        }
        axes.extend([axis(last, 1, columns), axis(1, 1, per_word)]);
        axes
    }

    /// The left and the right half of a panel: neighbouring blocks of columns, or gate and up.
    fn halves(&self, variant: &Variant) -> MemoryAxis {
        if self.matrices == 2 { axis(2, 1, 2) } else { axis(2, 4 * variant.width, 2) }
    }

    /// The words of weights that alone are quantised; see the head of this file.
    fn words_of_columns(&self, variant: &Variant, element: StorageType) -> Vec<MemoryAxis> {
        if variant.has_matrices() {
            return self.rows_of_panels(variant, MATRIX_STEP, weights_k(self.k, variant, element));
        }
        let (last, columns) = (self.dims().len() - 1, self.output_columns(variant));
        let outer = [
            axis(0, 1, self.experts),
            axis(last, columns, self.panels(variant)),
            axis(1, 4, padded_k(self.k, element) / 4),
        ];
        let (vectors, halves) = (axis(last, 4, variant.width), self.halves(variant));
        let inner = if element == StorageType::Fp8 {
            [halves, vectors, axis(1, 1, 4), axis(last, 1, 4)]
        } else {
            [vectors, axis(1, 1, 4), axis(last, 1, 4), halves]
        };
        [outer.as_slice(), &inner].concat()
    }

    /// Scales of blocks are a matrix, as checkpoints have it; the kernels read [`Weights::of_halves`]. Those of columns
    /// are in panels, eight per invocation.
    fn scaling(&self, variant: &Variant, element: StorageType) -> ScaleLayout {
        let [of_k, of_n] = element.weight_group().unwrap_or([1, 1]);
        let (last, columns) = (self.dims().len() - 1, self.output_columns(variant));
        let groups = self.k.div_ceil(of_k);
        let axes = if of_n > 1 {
            let mut axes = vec![axis(0, 1, self.experts), axis(1, 1, groups)];
            axes.extend((self.matrices == 2).then(|| axis(2, 1, 2)));
            axes.push(axis(last, 1, self.n.div_ceil(of_n)));
            axes
        } else if variant.has_matrices() {
            self.rows_of_panels(variant, MATRIX_STEP / of_k, groups)
        } else {
            let outer = [axis(0, 1, self.experts), axis(last, columns, self.panels(variant)), axis(1, 1, groups)];
            let inner = [axis(last, 4, variant.width), self.halves(variant), axis(last, 1, 4)];
            [outer, inner].concat()
        };
        ScaleLayout { block: self.block(of_k, of_n), axes, kind: scale_kind(element) }
    }

    /// Adds to `inputs` the scales of quantised weights `b` as the kernels read them.
    pub(super) fn insert_scales(&self, inputs: &mut Tensors, variant: &Variant, element: StorageType) {
        let Some(scales) = inputs["b"].scales().cloned() else { return };
        if let Some(of_matrices) = scales.scales().cloned() {
            let repeated = variant.has_matrices().then(|| self.of_halves(&of_matrices, variant, [self.k, self.n]));
            inputs.insert("matrix_scale", repeated.unwrap_or(of_matrices));
        }
        let repeated = match element.weight_group() {
            Some(block) if block[1] > 1 => Some(self.of_halves(&scales, variant, block)),
            _ => None,
        };
        inputs.insert("b_scale", repeated.unwrap_or(scales));
    }

    /// The scales of blocks, repeated for each 32 of k and for either half of each panel, which lies in one block.
    fn of_halves(&self, scales: &Tensor, variant: &Variant, [of_k, of_n]: [usize; 2]) -> Tensor {
        let (panels, steps) = (self.panels(variant), self.k.div_ceil(MATRIX_STEP));
        let mut repeated = Vec::new();
        for (expert, panel) in (0..self.experts).flat_map(|e| (0..panels).map(move |panel| (e, panel))) {
            for (step, half) in (0..steps).flat_map(|step| (0..2).map(move |half| (step, half))) {
                let first = panel * self.output_columns(variant);
                let column = if self.matrices == 2 { first } else { first + half * 4 * variant.width };
                let (k, block) = (step * MATRIX_STEP / of_k, column.min(self.n - 1) / of_n);
                let at = if self.matrices == 2 { vec![expert, k, half, block] } else { vec![expert, k, block] };
                #[expect(clippy::cast_possible_truncation, reason = "a scale is f32 by definition")]
                repeated.push(scales.at(&at) as f32);
            }
        }
        Tensor::floats(&[self.experts, panels, steps, 2], &repeated)
    }

    /// One scale per matrix: the largest number that can be drawn becomes 448 * 6. Calibration leaves some room, which
    /// differs by matrix.
    fn scales_of_matrices(&self) -> Tensor {
        let mut dims = vec![1; self.dims().len()];
        dims[0] = self.experts;
        if self.matrices == 2 {
            dims[2] = 2;
        }
        // No number that is drawn lies beyond 3.5 standard deviations.
        let least = 3.5 * self.sigma() / (448.0 * 6.0);
        #[expect(clippy::cast_possible_truncation, reason = "a scale is f32 by definition")]
        let scales: Vec<f32> =
            (0..self.experts * self.matrices).map(|i| (least * (1.0 + (i % 7) as f64 / 8.0)) as f32).collect();
        Tensor::floats(&dims, &scales)
    }

    /// The least bytes of the scales of weights that alone are quantised.
    pub(super) fn least_scale_bytes(&self, element: StorageType) -> usize {
        let Some([of_k, of_n]) = element.weight_group() else { return 0 };
        let of_groups = self.k.div_ceil(of_k) * self.n.div_ceil(of_n) * self.matrices * scale_bytes(element);
        of_groups + if element == StorageType::Nvfp4 { 4 * self.matrices } else { 0 }
    }

    /// Bytes in memory of the scales by column, or by half of a panel, and of those by matrix.
    pub(super) fn scale_bytes(&self, variant: &Variant, element: StorageType) -> [usize; 2] {
        let Some([of_k, of_n]) = element.weight_group() else { return [0; 2] };
        let of_halves = 2 * 4 * self.panels(variant) * self.k.div_ceil(MATRIX_STEP);
        let of_matrices = match (element, variant.has_matrices()) {
            (StorageType::Nvfp4, true) => of_halves,
            (StorageType::Nvfp4, false) => 4 * self.matrices,
            _ => 0,
        };
        let mut groups = self.k.div_ceil(of_k);
        if variant.has_matrices() {
            groups = groups.next_multiple_of(MATRIX_STEP.div_ceil(of_k));
        }
        let of_columns = groups * self.panels(variant) * variant.panel_columns() * scale_bytes(element);
        [if of_n > 1 { of_halves } else { of_columns }, of_matrices].map(|bytes| self.experts * bytes)
    }
}

fn scale_bytes(element: StorageType) -> usize {
    match scale_kind(element) {
        TensorType::Float(StorageType::F32) => 4,
        TensorType::Float(StorageType::F16) => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each technique, with panels of 64, 128 and 256 columns.
    const VARIANTS: [&str; 6] =
        ["subgroup_8x64", "tiled_128x128", "streamed_8x256", "matrix8_64x64", "matrix16_64x128", "matrix16_16x128"];

    #[test]
    fn quantised_weights_are_the_same_numbers_in_the_order_of_each_variant() {
        use StorageType::{Fp8, Int4, Int8, Mxfp4, Nvfp4};
        let types = [Int8, Int4, Fp8, Mxfp4, Nvfp4];
        for (element, matrices) in types.into_iter().flat_map(|element| [(element, 1), (element, 2)]) {
            let weights = Weights { experts: 2, k: 165, n: 301, matrices };
            let tensors = VARIANTS.map(|variant| weights.draw(Variant::of(variant), element, 7));
            let number = |tensor: &Tensor, [expert, k, half, column]: [usize; 4]| match matrices {
                1 => tensor.at(&[expert, k, column]),
                _ => tensor.at(&[expert, k, half, column]),
            };
            for (k, column) in (0..165).flat_map(|k| (0..301).step_by(3).map(move |column| (k, column))) {
                let at = [k % 2, k, k / 2 % matrices, column];
                let numbers = tensors.each_ref().map(|tensor| number(tensor, at));
                assert!(numbers.iter().all(|number| *number == numbers[0]), "{element} {at:?}: {numbers:?}");
            }
        }
    }

    /// The first bytes of memory hold k 0 to 31 of the first column where matrices are multiplied.
    #[test]
    fn the_matrix_techniques_find_32_of_k_of_a_column_together() {
        let weights = Weights { experts: 1, k: 64, n: 128, matrices: 1 };
        let [rows, tiles] =
            ["subgroup_8x64", "matrix8_64x64"].map(|variant| weights.draw(Variant::of(variant), StorageType::Int8, 7));
        for k in 0..32 {
            // Four of k are a word of 64 columns elsewhere.
            assert_eq!(tiles.bytes()[k], rows.bytes()[k / 4 * 64 * 4 + k % 4]);
        }
    }

    #[test]
    fn a_half_of_a_panel_has_the_scale_of_the_block_that_it_lies_in() {
        for matrices in [1, 2] {
            let weights = Weights { experts: 2, k: 300, n: 500, matrices };
            for name in VARIANTS {
                let variant = Variant::of(name);
                let mut inputs = Tensors::from([("b", weights.draw(variant, StorageType::Fp8, 7))]);
                weights.insert_scales(&mut inputs, variant, StorageType::Fp8);
                let (halves, blocks) = (&inputs["b_scale"], inputs["b"].scales().unwrap());
                let width = variant.panel_columns() / 2;
                for (step, column) in (0..10).flat_map(|step| (0..500).map(move |column| (step, column))) {
                    let (block, k) = (column / 128, step / 4);
                    let (panel, half, at) = match matrices {
                        1 => (column / (2 * width), column / width % 2, vec![1, k, block]),
                        _ => (column / width, step % 2, vec![1, k, step % 2, block]),
                    };
                    assert_eq!(halves.at(&[1, panel, step, half]), blocks.at(&at), "{name} {step} {column}");
                }
            }
        }
    }
}
