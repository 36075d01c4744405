//! The division of a tensor among cores. Each part is one piece of memory and holds a box of indices.

use std::ops::Range;

use crate::kernels::tensor::layout::MemoryAxis;

/// Numbers beyond which a part is divided. So many take some tenths of a millisecond.
const MOST_NUMBERS: usize = 1 << 16;
/// Columns that a part keeps at least. Shorter pieces of rows waste numbers of a batch of the generator.
const LEAST_COLUMNS: usize = 64;

/// How the elements of a tensor follow one another in memory.
pub(super) struct Order<'a> {
    /// From the outermost to the innermost.
    pub(super) axes: &'a [MemoryAxis],
    /// Bits of an element.
    pub(super) bits: usize,
    /// Numbers along each dimension that belong to one element: more than one for a scale.
    pub(super) block: &'a [usize],
}

/// A piece of memory and the indices that it holds.
pub(super) struct MemoryPart<'a> {
    order: &'a Order<'a>,
    /// Axes, from the outermost on, that the part restricts. It holds one value of each but the last.
    entered: usize,
    /// Values that it holds of the last of these.
    values: usize,
    /// Indices along each dimension, padding included.
    ranges: Vec<Range<usize>>,
    /// Elements of the tensor before this part.
    pub(super) start: usize,
    /// The elements.
    pub(super) bytes: &'a mut [u8],
}

impl<'a> MemoryPart<'a> {
    /// All elements of a tensor.
    pub(super) fn whole(order: &'a Order, bytes: &'a mut [u8]) -> Self {
        let extent = |dim| order.axes.iter().filter(|axis| axis.dim == dim).map(|axis| axis.count).product();
        let ranges = (0..order.block.len()).map(|dim| 0..extent(dim)).collect();
        Self { order, entered: 0, values: 1, ranges, start: 0, bytes }
    }

    /// Divides the part until no piece takes a core long, and runs `work` on the pieces on all cores.
    pub(super) fn divide(self, work: &(impl Fn(MemoryPart) + Sync)) {
        match self.halves() {
            Ok((first, second)) => {
                rayon::join(|| first.divide(work), || second.divide(work));
            }
            Err(part) => work(part),
        }
    }

    fn halves(mut self) -> Result<(Self, Self), Self> {
        while self.values <= 1 {
            if !self.enter_next_axis() {
                return Err(self);
            }
        }
        let Order { axes, bits, block } = *self.order;
        let (outer, inner) = axes.split_at(self.entered);
        let Some(axis) = outer.last() else { return Err(self) };
        let (first, second) = (self.values / 2, self.values.div_ceil(2));
        let of_a_value: usize = inner.iter().map(|axis| axis.count).product();
        let numbers = self.values * of_a_value * block.iter().product::<usize>();
        let columns = first * axis.step * block[axis.dim];
        let is_narrow = axis.dim + 1 == block.len() && columns < LEAST_COLUMNS;
        let ends_inside_a_byte = !(first * of_a_value * bits).is_multiple_of(8);
        if numbers <= MOST_NUMBERS || is_narrow || ends_inside_a_byte {
            return Err(self);
        }
        let Self { order, entered, mut ranges, start, bytes, .. } = self;
        let mut later = ranges.clone();
        let middle = ranges[axis.dim].start + first * axis.step;
        ranges[axis.dim].end = middle;
        later[axis.dim].start = middle;
        let (bytes, later_bytes) = bytes.split_at_mut(first * of_a_value * bits / 8);
        let later_start = start + first * of_a_value;
        Ok((
            Self { order, entered, values: first, ranges, start, bytes },
            Self { order, entered, values: second, ranges: later, start: later_start, bytes: later_bytes },
        ))
    }

    /// Goes on to the next axis if a share of its values is a range of indices.
    fn enter_next_axis(&mut self) -> bool {
        let next = self.order.axes.get(self.entered);
        let Some(next) = next.filter(|next| self.ranges[next.dim].len() == next.step * next.count) else {
            return false;
        };
        self.entered += 1;
        self.values = next.count;
        true
    }

    /// The range of numbers along each dimension that the part covers, in a tensor of these dimensions.
    pub(super) fn numbers(&self, dims: &[usize]) -> Vec<Range<usize>> {
        let ranges = self.ranges.iter().zip(self.order.block).zip(dims);
        ranges.map(|((range, block), &dim)| (range.start * block).min(dim)..(range.end * block).min(dim)).collect()
    }

    /// The elements of the part, padding included.
    pub(super) fn elements(&self) -> usize {
        self.bytes.len() * 8 / self.order.bits
    }
}
