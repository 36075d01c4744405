//! The assembly that a driver hands back, as blocks of instructions, and what its hottest loop is made of.
//!
//! Each instruction set has a reader of its own ([`amd`], [`nvidia`], [`adreno`], [`apple`]); loops and counts are common.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What an instruction does, as far as the counts tell it apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Does {
    /// Multiply-adds per invocation: fused, packed or dual ones count each of theirs.
    Fma(f64),
    /// Multiply-adds of a packed integer dot product.
    Dot(f64),
    /// Multiply-adds per invocation of a matrix instruction.
    Matrix(f64),
    /// Any other vector arithmetic.
    Vector,
    /// Reads of workgroup memory, with the bytes per invocation.
    LdsLoad(f64),
    /// Writes of workgroup memory.
    LdsStore(f64),
    /// Reads of storage, with the bytes per invocation.
    Load(f64),
    /// Writes of storage.
    Store(f64),
    /// Reads or writes of registers that were spilled.
    Scratch,
    /// Waits for memory.
    Wait,
    /// Barriers of a workgroup.
    Barrier,
    /// Scalar arithmetic, branches and the rest.
    Other,
}

/// One instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// What it does.
    pub does: Does,
    /// Its name and operands.
    pub text: String,
    /// Cycles until the next one, where the compiler states them.
    pub cycles: f64,
}

/// Instructions without a jump between them.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// Its instructions in order.
    pub instructions: Vec<Instruction>,
    /// Where it may go on: indices of blocks.
    pub next: Vec<usize>,
}

/// Counts of a loop's body, per invocation and pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// All instructions that are issued.
    pub instructions: f64,
    /// Vector arithmetic, the next three included.
    pub vector: f64,
    /// Instructions that multiply and add; a dual one counts as one.
    pub fma: f64,
    /// Packed dot products.
    pub dot: f64,
    /// Matrix instructions.
    pub matrix: f64,
    /// Multiply-adds of all three.
    pub multiply_adds: f64,
    /// Reads of workgroup memory.
    pub lds_loads: f64,
    /// Bytes that they read.
    pub lds_load_bytes: f64,
    /// Writes of workgroup memory.
    pub lds_stores: f64,
    /// Reads of storage.
    pub loads: f64,
    /// Bytes that they read.
    pub load_bytes: f64,
    /// Writes of storage.
    pub stores: f64,
    /// Accesses to spilled registers.
    pub scratch: f64,
    /// Waits for memory.
    pub waits: f64,
    /// Barriers.
    pub barriers: f64,
    /// Cycles by the compiler's own schedule, where it states them.
    pub cycles: f64,
    /// Whether an inner loop has a length that the text does not tell; it counts once.
    pub has_unknown_loop: bool,
}

impl Mix {
    fn add(&mut self, instruction: &Instruction, times: f64) {
        self.instructions += times;
        self.cycles += instruction.cycles * times;
        match instruction.does {
            Does::Fma(n) => {
                self.fma += times;
                self.multiply_adds += n * times;
                self.vector += times;
            }
            Does::Dot(n) => {
                self.dot += times;
                self.multiply_adds += n * times;
                self.vector += times;
            }
            Does::Matrix(n) => {
                self.matrix += times;
                self.multiply_adds += n * times;
                self.vector += times;
            }
            Does::Vector => self.vector += times,
            Does::LdsLoad(bytes) => {
                self.lds_loads += times;
                self.lds_load_bytes += bytes * times;
            }
            Does::LdsStore(_) => self.lds_stores += times,
            Does::Load(bytes) => {
                self.loads += times;
                self.load_bytes += bytes * times;
            }
            Does::Store(_) => self.stores += times,
            Does::Scratch => self.scratch += times,
            Does::Wait => self.waits += times,
            Does::Barrier => self.barriers += times,
            Does::Other => {}
        }
    }
}

/// A natural loop: its head and all of its blocks.
#[derive(Debug, Clone)]
struct Loop {
    head: usize,
    blocks: BTreeSet<usize>,
}

/// The loop that multiplies most, over all of its body; the whole program where nothing loops.
///
/// An outer loop is taken as long as the lengths of the loops inside it are known from the text.
pub fn hottest(blocks: &[Block], length: &dyn Fn(&[Block], &BTreeSet<usize>, usize) -> Option<f64>) -> Mix {
    let loops = loops(blocks);
    let lengths: Vec<Option<f64>> = loops.iter().map(|l| length(blocks, &l.blocks, l.head)).collect();
    let mut best: Option<(f64, Mix)> = None;
    for (index, this) in loops.iter().enumerate() {
        let mut mix = Mix::default();
        for &block in &this.blocks {
            let mut times = 1.0;
            for (inner, other) in loops.iter().enumerate() {
                let is_inside = inner != index && other.blocks.contains(&block) && other.blocks.len() < this.blocks.len();
                if is_inside {
                    times *= lengths[inner].unwrap_or(1.0);
                    mix.has_unknown_loop |= lengths[inner].is_none() && has_math(blocks, &other.blocks);
                }
            }
            blocks[block].instructions.iter().for_each(|instruction| mix.add(instruction, times));
        }
        // A loop with an inner one of unknown length says little: its inner one is looked at instead.
        let weight = if mix.has_unknown_loop { mix.multiply_adds * 1e-3 } else { mix.multiply_adds };
        if best.as_ref().is_none_or(|(most, _)| weight > *most) {
            best = Some((weight, mix));
        }
    }
    best.map_or_else(
        || {
            let mut mix = Mix::default();
            blocks.iter().flat_map(|block| &block.instructions).for_each(|instruction| mix.add(instruction, 1.0));
            mix
        },
        |(_, mix)| mix,
    )
}

fn has_math(blocks: &[Block], of: &BTreeSet<usize>) -> bool {
    let is_math = |i: &Instruction| matches!(i.does, Does::Fma(_) | Does::Dot(_) | Does::Matrix(_));
    of.iter().flat_map(|&block| &blocks[block].instructions).any(is_math)
}

/// All natural loops; those with one head are joined.
fn loops(blocks: &[Block]) -> Vec<Loop> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); blocks.len()];
    for (at, block) in blocks.iter().enumerate() {
        block.next.iter().filter(|next| **next < blocks.len()).for_each(|&next| before[next].push(at));
    }
    let mut by_head: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (at, block) in blocks.iter().enumerate() {
        // Compilers place a loop's head before its body, so a jump backwards closes a loop.
        for &head in block.next.iter().filter(|next| **next <= at) {
            let found = by_head.entry(head).or_default();
            found.insert(head);
            let mut open = vec![at];
            while let Some(block) = open.pop() {
                if block >= head && found.insert(block) {
                    open.extend(&before[block]);
                }
            }
        }
    }
    by_head.into_iter().map(|(head, blocks)| Loop { head, blocks }).collect()
}
