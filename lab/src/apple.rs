//! Honeykrisp's text for Apple's GPUs, as its debugging output prints it.

use std::collections::{BTreeMap, BTreeSet};

use crate::assembly::{Block, Does, Instruction, linked};

/// Blocks of the longest program in the text; what a driver compiles first is a short preamble.
pub fn read(text: &str) -> Vec<Block> {
    let mut programs: Vec<Vec<(u64, String)>> = Vec::new();
    for line in text.lines() {
        let Some((address, rest)) = line.trim_start().split_once(':') else { continue };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        let code = rest.trim_start().split_once(' ').map_or("", |(_, code)| code.trim());
        if address == 0 || programs.is_empty() {
            programs.push(Vec::new());
        }
        if let Some(program) = programs.last_mut() {
            program.push((address, code.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    let Some(program) = programs.into_iter().max_by_key(Vec::len) else { return Vec::new() };
    let target = |address: u64, code: &str| -> Option<u64> {
        let offset: i64 = code.strip_prefix("jmp_")?.split_once(' ')?.1.parse().ok()?;
        address.checked_add_signed(offset)
    };
    let heads: BTreeSet<u64> = program.iter().filter_map(|(address, code)| target(*address, code)).collect();
    let mut starts: BTreeMap<u64, usize> = BTreeMap::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut targets: BTreeMap<String, u64> = BTreeMap::new();
    let mut opens = true;
    for (address, code) in &program {
        if opens || heads.contains(address) {
            starts.insert(*address, blocks.len());
            blocks.push(Block::default());
        }
        opens = false;
        let mut text = code.clone();
        if let Some(to) = target(*address, code) {
            text = format!("{} @{address:x}", code.split_whitespace().next().unwrap_or(""));
            targets.insert(text.clone(), to);
            opens = true;
        }
        if let Some(block) = blocks.last_mut() {
            block.instructions.push(Instruction { does: does(code), text, cycles: cycles(code) });
        }
    }
    linked(blocks, |instruction| {
        let to = targets.get(&instruction.text).and_then(|to| starts.get(to)).copied();
        (to, instruction.text == "stop")
    })
}

/// Issue cycles of 32 invocations, as Honeykrisp's own statistics count them: 16-bit and 32-bit arithmetic take one,
/// integer multiplications and special functions four.
fn cycles(code: &str) -> f64 {
    match code.split_whitespace().next().unwrap_or("") {
        "imad" | "imul" | "imadd" | "rcp" | "rsqrt" | "exp2" | "log2" | "sin_pt_1" | "sin_pt_2" => 4.0,
        "wait" | "stop" | "trap" => 0.0,
        _ => 1.0,
    }
}

fn does(code: &str) -> Does {
    let mut words = code.split_whitespace();
    let name = words.next().unwrap_or("");
    let to = words.next().unwrap_or("");
    // The registers of a load are joined by underscores; one that ends in l or h has 16 bits.
    let bytes = to.split('_').map(|r| if r.trim_end_matches(',').ends_with(['l', 'h']) { 2.0 } else { 4.0 }).sum();
    match name {
        "ffma" | "ffmas" | "hfma" | "hfmas" => Does::Fma(1.0),
        "simd_matrix" | "matrix" => Does::Matrix(16.0),
        "lload" => Does::LdsLoad(bytes),
        "lstore" => Does::LdsStore(bytes),
        "load" => Does::Load(bytes),
        "store" => Does::Store(bytes),
        "stack_load" | "stack_store" | "ldstack" | "ststack" => Does::Scratch,
        "wait" => Does::Wait,
        "barrier" => Does::Barrier,
        "if" | "else" | "while" | "pop_exec" | "push_exec" | "break" | "stop" | "trap" => Does::Other,
        _ if name.starts_with("jmp") || name.starts_with("stack") => Does::Other,
        _ => Does::Vector,
    }
}

/// Passes of a loop that counts a register up to a constant, from 0 in steps of its addition.
pub fn length(blocks: &[Block], of: &BTreeSet<usize>, _: usize) -> Option<f64> {
    let inside = || of.iter().flat_map(|&block| &blocks[block].instructions);
    let words = |text: &str| text.replace([',', '$'], " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for compare in inside().filter(|i| i.text.starts_with("while")) {
        let [_, register, limit, ..] = &words(&compare.text)[..] else { continue };
        let Ok(limit) = limit.parse::<f64>() else { continue };
        let step = inside().find_map(|i| match &words(&i.text)[..] {
            [name, to, _, by, ..] if name == "iadd" && to == register => by.parse::<f64>().ok(),
            _ => None,
        });
        let passes = (limit / step.unwrap_or(1.0)).ceil();
        if (2.0..4096.0).contains(&passes) {
            return Some(passes);
        }
    }
    None
}
