//! NAK's text for NVIDIA.

use std::collections::BTreeSet;

use crate::assembly::{Block, Does, Instruction};

/// Blocks of the text.
pub fn read(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        if line.starts_with("block") {
            blocks.push(Block::default());
        } else if let Some(next) = line.strip_prefix("} -> [") {
            if let Some(block) = blocks.last_mut() {
                block.next = next.trim_end_matches(']').split(',').filter_map(|n| n.trim().parse().ok()).collect();
            }
        } else if let Some(block) = blocks.last_mut()
            && !line.starts_with('}')
        {
            let (code, notes) = line.split_once("//").unwrap_or((line, ""));
            let delay = notes.split_once("delay=").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
            let code = code.trim();
            if !code.is_empty() {
                block.instructions.push(Instruction {
                    does: does(code, notes),
                    text: code.to_owned(),
                    cycles: delay.unwrap_or(1.0),
                });
            }
        }
    }
    blocks
}

/// The operation of a line, without its predicate and its destination.
fn operation(code: &str) -> &str {
    code.rsplit_once(" = ").map_or(code, |(_, rest)| rest)
}

fn does(code: &str, notes: &str) -> Does {
    let code = code.strip_prefix('@').map_or(code, |rest| rest.split_once(' ').map_or(rest, |(_, rest)| rest.trim()));
    let full = operation(code);
    let name = full.split_whitespace().next().unwrap_or("");
    let width = |name: &str| {
        [("b128", 16.0), ("b64", 8.0), ("b32", 4.0), ("16", 2.0), ("8", 1.0)]
            .iter()
            .find(|(end, _)| name.ends_with(end))
            .map_or(4.0, |(_, bytes)| *bytes)
    };
    if name.starts_with("hmma") {
        // m16n8k16 and m16n8k8, shared by 32 invocations.
        return Does::Matrix(if name.contains("k16") { 64.0 } else { 32.0 });
    }
    if name.starts_with("imma") {
        return Does::Matrix(64.0);
    }
    if name.starts_with("ffma") || name.starts_with("dfma") {
        return Does::Fma(1.0);
    }
    if name.starts_with("hfma2") {
        return Does::Fma(2.0);
    }
    if name.starts_with("idp4") {
        return Does::Dot(4.0);
    }
    if name.starts_with("ldsm") {
        return Does::LdsLoad(if name.contains("x4") { 16.0 } else { 8.0 });
    }
    if name.starts_with("ld.shared") {
        return Does::LdsLoad(width(name));
    }
    if name.starts_with("st.shared") {
        return Does::LdsStore(width(name));
    }
    if name.starts_with("ld.local") || name.starts_with("st.local") {
        return Does::Scratch;
    }
    if name.starts_with("ld.global") {
        return Does::Load(width(name));
    }
    if name.starts_with("st.global") {
        return Does::Store(width(name));
    }
    if name.starts_with("bar.") {
        return Does::Barrier;
    }
    if notes.contains(" wt=") && matches!(name, "nop") {
        return Does::Wait;
    }
    let is_other = name.starts_with('u')
        || ["bra", "bsync", "bssy", "bclear", "nop", "membar", "ldc", "s2r", "exit", "r2ur", "warpsync", "break"]
            .iter()
            .any(|other| name.starts_with(other))
        || code.starts_with("ur")
        || code.starts_with("up");
    if is_other { Does::Other } else { Does::Vector }
}

/// Passes of a loop that counts a register up to a constant.
pub fn length(blocks: &[Block], of: &BTreeSet<usize>, head: usize) -> Option<f64> {
    let inside = || of.iter().flat_map(|&block| &blocks[block].instructions);
    let number = |text: &str| -> Option<f64> {
        match text.strip_prefix("0x") {
            Some(hex) => Some(f64::from(u32::from_str_radix(hex, 16).ok()?.cast_signed())),
            None if text == "rZ" || text == "urZ" => Some(0.0),
            None => text.parse().ok(),
        }
    };
    for compare in inside().filter(|i| i.text.contains("isetp")) {
        let words: Vec<&str> = operation(&compare.text).split_whitespace().collect();
        let [_, register, limit, ..] = words[..] else { continue };
        let Some(limit) = number(limit) else { continue };
        let defines = |i: &Instruction| {
            i.text.split_once(" = ").is_some_and(|(to, _)| to.split_whitespace().next() == Some(register))
        };
        let step = inside().filter(|i| defines(i)).find_map(|i| {
            let words: Vec<&str> = operation(&i.text).split_whitespace().collect();
            let is_add = words[0].starts_with("iadd") || words[0].starts_with("uiadd");
            if is_add && words.get(1) == Some(&register) { number(words[2]) } else { None }
        });
        let first = (0..head)
            .rev()
            .flat_map(|block| blocks[block].instructions.iter().rev())
            .find(|i| defines(i))
            .and_then(|i| number(operation(&i.text).split_whitespace().nth(1)?));
        if let (Some(step), Some(first)) = (step, first)
            && step != 0.0
        {
            let passes = ((limit - first) / step).abs().ceil();
            if (1.0..4096.0).contains(&passes) {
                return Some(passes);
            }
        }
    }
    None
}
