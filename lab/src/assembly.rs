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
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instructions: f64,
    /// Vector arithmetic, the next three included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vector: f64,
    /// Instructions that multiply and add; a dual one counts as one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fma: f64,
    /// Packed dot products.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dot: f64,
    /// Matrix instructions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub matrix: f64,
    /// Multiply-adds of all three.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub multiply_adds: f64,
    /// Reads of workgroup memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lds_loads: f64,
    /// Bytes that they read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lds_load_bytes: f64,
    /// Writes of workgroup memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lds_stores: f64,
    /// Reads of storage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub loads: f64,
    /// Bytes that they read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub load_bytes: f64,
    /// Writes of storage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stores: f64,
    /// Accesses to spilled registers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch: f64,
    /// Waits for memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waits: f64,
    /// Barriers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub barriers: f64,
    /// Cycles by the compiler's own schedule, where it states them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cycles: f64,
    /// Whether an inner loop has a length that the text does not tell; it counts once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_unknown_loop: bool,
}

/// For fields that are left out of the JSON.
pub fn is_zero(value: &f64) -> bool {
    *value == 0.0
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

/// Blocks with their successors set. `jump` says where an instruction may jump to, and whether it never goes on below.
pub fn linked(mut blocks: Vec<Block>, jump: impl Fn(&Instruction) -> (Option<usize>, bool)) -> Vec<Block> {
    for at in 0..blocks.len() {
        let mut next = Vec::new();
        let mut falls = true;
        for (to, ends) in blocks[at].instructions.iter().map(&jump) {
            next.extend(to);
            falls &= !ends;
        }
        if falls {
            next.push(at + 1);
        }
        blocks[at].next = next;
    }
    blocks
}

/// A natural loop: its head and all of its blocks.
#[derive(Debug, Clone)]
struct Loop {
    head: usize,
    blocks: BTreeSet<usize>,
}

/// The loop that multiplies most, over all of its body; the whole program where nothing loops.
///
/// It is the outermost one whose inner loops have lengths that are known from the text. Where most of its multiply-adds
/// are in an inner loop of unknown length, that one is taken.
pub fn hottest(blocks: &[Block], length: &dyn Fn(&[Block], &BTreeSet<usize>, usize) -> Option<f64>) -> Mix {
    let loops = loops(blocks);
    let lengths: Vec<Option<f64>> = loops.iter().map(|l| length(blocks, &l.blocks, l.head)).collect();
    let is_inside =
        |inner: &Loop, outer: &Loop| inner.blocks.len() < outer.blocks.len() && inner.blocks.is_subset(&outer.blocks);
    let mix_of = |outer: &Loop| {
        let mut mix = Mix::default();
        for &block in &outer.blocks {
            let mut times = 1.0;
            for (inner, length) in loops.iter().zip(&lengths).filter(|(inner, _)| is_inside(inner, outer)) {
                if inner.blocks.contains(&block) {
                    times *= length.unwrap_or(1.0);
                    mix.has_unknown_loop |= length.is_none() && has_math(blocks, &inner.blocks);
                }
            }
            blocks[block].instructions.iter().for_each(|instruction| mix.add(instruction, times));
        }
        mix
    };
    let mixes: Vec<Mix> = loops.iter().map(mix_of).collect();
    let most = |among: &dyn Fn(&Loop) -> bool| {
        let known = (0..loops.len()).filter(|&at| among(&loops[at]));
        known.max_by(|&a, &b| mixes[a].multiply_adds.total_cmp(&mixes[b].multiply_adds))
    };
    let Some(mut best) = most(&|_| true) else {
        let mut mix = Mix::default();
        blocks.iter().flat_map(|block| &block.instructions).for_each(|instruction| mix.add(instruction, 1.0));
        return mix;
    };
    while mixes[best].has_unknown_loop
        && let Some(inner) = most(&|inner| is_inside(inner, &loops[best]))
        && mixes[inner].multiply_adds > 0.7 * mixes[best].multiply_adds
    {
        best = inner;
    }
    mixes[best]
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
