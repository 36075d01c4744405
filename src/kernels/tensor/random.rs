//! Tensors of random numbers, in any type and order in memory, made on all cores.

use std::slice;
use std::sync::Arc;

use crate::kernels::tensor::codec::{encode, largest_code, quantise, store};
use crate::kernels::tensor::draw::{Draw, Place, Random};
use crate::kernels::tensor::layout::{Layout, MemoryAxis, ScaleLayout};
use crate::kernels::tensor::operand::Tensor;
use crate::kernels::tensor::parts::{MemoryPart, Order};
use crate::kernels::types::StorageType;

impl Tensor {
    /// Random numbers with these dimensions. `padded` are the dimensions in memory, each at least as large as in `dims`. All
    /// types round the same numbers, whatever the padding.
    pub fn random(dims: &[usize], padded: &[usize], element: StorageType, numbers: Random) -> Self {
        Self::random_in_order(dims, &MemoryAxis::row_major(padded), element, numbers)
    }

    /// As [`Tensor::random`], with any order in memory.
    pub fn random_in_order(dims: &[usize], axes: &[MemoryAxis], element: StorageType, numbers: Random) -> Self {
        let mut tensor = Self::zeros(dims, Layout::new(dims, axes), element.into());
        let size = tensor.kind.bits() / 8;
        let draw = Draw { dims, numbers };
        tensor.fill(axes, &vec![1; dims.len()], |layout, part| {
            let ranges = part.numbers(dims);
            let place = Place::new(layout, &ranges, part.start);
            draw.rows(&ranges, |row, numbers| {
                place.runs(row, |columns, at, stride| {
                    let (numbers, bytes) = (&numbers[columns], &mut part.bytes[at * size..]);
                    if stride == 1 {
                        encode(numbers, element.into(), bytes);
                    } else {
                        let places = bytes.chunks_mut(stride.max(1) * size);
                        places.zip(numbers).for_each(|(bytes, number)| encode(&[*number], element.into(), bytes));
                    }
                });
            });
        });
        tensor
    }

    /// As [`Tensor::random_in_order`], quantised to codes of `element`. Of the numbers that share a scale, the one of largest
    /// magnitude has the largest code.
    pub fn random_quantised(
        dims: &[usize],
        axes: &[MemoryAxis],
        element: StorageType,
        scaling: &ScaleLayout,
        numbers: Random,
    ) -> Self {
        Self::random_quantised_twice(dims, axes, element, scaling, None, numbers)
    }

    /// As [`Tensor::random_quantised`], where the scales have scales of their own: one per index along each dimension that
    /// `outer` has more than once.
    pub fn random_quantised_twice(
        dims: &[usize],
        axes: &[MemoryAxis],
        element: StorageType,
        scaling: &ScaleLayout,
        outer: Option<Self>,
        numbers: Random,
    ) -> Self {
        let draw = Draw { dims, numbers };
        let scales = scales(&draw, scaling, largest_code(element), outer);
        let shared = shared(&scales.layout, dims, &scaling.block);
        let mut codes = Self::zeros(dims, Layout::new(dims, axes), element.into());
        let bits = codes.kind.bits();
        codes.fill(axes, &vec![1; dims.len()], |layout, part| {
            let ranges = part.numbers(dims);
            let place = Place::new(layout, &ranges, part.start);
            let scale_place = Place::new(&shared, &ranges, 0);
            let (mut row_scales, mut row_codes) = (Vec::new(), Vec::new());
            draw.rows(&ranges, |row, numbers| {
                row_scales.resize(numbers.len(), 0.0);
                row_codes.resize(numbers.len(), 0);
                scale_place.runs(row, |columns, at, stride| {
                    scales.decode_run(at, stride, &mut row_scales[columns]);
                });
                let unit = unit(scales.scales(), row);
                for ((code, number), scale) in row_codes.iter_mut().zip(numbers).zip(&row_scales) {
                    *code = quantise(number / (scale * unit), element);
                }
                place.runs(row, |columns, at, stride| {
                    store(&row_codes[columns], bits, at, stride, part.bytes);
                });
            });
        });
        codes.scales = Some((Box::new(scales), scaling.block.clone()));
        codes
    }

    /// Fills the memory with `work`, which all cores run on parts of it.
    fn fill(&mut self, axes: &[MemoryAxis], block: &[usize], work: impl Fn(&Layout, &mut MemoryPart) + Sync) {
        let order = Order { axes, bits: self.kind.bits(), block };
        let used = (self.layout.length * order.bits).div_ceil(8);
        let bytes = &mut Arc::make_mut(&mut self.bytes)[..used];
        MemoryPart::whole(&order, bytes).divide(&|mut part| work(&self.layout, &mut part));
    }
}

/// The scales: the largest magnitude of the numbers that share one, divided by the largest code and by the scale's own
/// scale.
fn scales(draw: &Draw, scaling: &ScaleLayout, most: f32, outer: Option<Tensor>) -> Tensor {
    let ScaleLayout { block, axes, kind } = scaling;
    let dims: Vec<usize> = draw.dims.iter().zip(block).map(|(dim, block)| dim.div_ceil(*block)).collect();
    let mut scales = Tensor::zeros(&dims, Layout::new(&dims, axes), *kind);
    let shared = shared(&scales.layout, draw.dims, block);
    scales.fill(axes, block, |_, part| {
        let ranges = part.numbers(draw.dims);
        let place = Place::new(&shared, &ranges, part.start);
        let mut largest = vec![0f32; part.elements()];
        draw.rows(&ranges, |row, numbers| {
            let unit = unit(outer.as_ref(), row);
            place.runs(row, |columns, at, stride| {
                let (numbers, largest) = (&numbers[columns], &mut largest[at..]);
                let raise = |(most, number): (&mut f32, &f32)| *most = most.max(number.abs() / unit);
                match stride {
                    0 => numbers.iter().for_each(|number| raise((&mut largest[0], number))),
                    1 => largest.iter_mut().zip(numbers).for_each(raise),
                    _ => largest.iter_mut().step_by(stride).zip(numbers).for_each(raise),
                }
            });
        });
        largest.iter_mut().for_each(|scale| *scale /= most);
        encode(&largest, *kind, part.bytes);
    });
    scales.scales = outer.map(|outer| {
        let shares = dims.iter().zip(&outer.dims).map(|(dim, of)| if *of == 1 { (*dim).max(1) } else { 1 });
        let shares = shares.collect();
        (Box::new(outer), shares)
    });
    scales
}

/// The scale of the scales in a row of numbers; 1 where they have none.
fn unit(outer: Option<&Tensor>, row: &[usize]) -> f32 {
    let Some(outer) = outer else { return 1.0 };
    let at: Vec<usize> = outer.dims.iter().zip(row).map(|(dim, i)| if *dim == 1 { 0 } else { *i }).collect();
    let mut unit = 1.0;
    outer.decode_run(outer.layout.offset(&at), 0, slice::from_mut(&mut unit));
    unit
}

/// The layout that maps the index of an element to the place of its scale.
fn shared(scales: &Layout, dims: &[usize], block: &[usize]) -> Layout {
    let tables = scales.tables.iter().zip(dims.iter().zip(block));
    let tables = tables.map(|(table, (&dim, block))| (0..dim).map(|i| table[i / block]).collect()).collect();
    Layout { tables, strides: scales.strides.clone(), length: scales.length }
}
