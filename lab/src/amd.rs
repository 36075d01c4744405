//! ACO's text for RDNA.

use std::collections::BTreeSet;

use crate::assembly::{Block, Does, Instruction, linked};

/// Blocks of the text; `lanes` are the invocations of a subgroup, among which a matrix instruction is shared.
pub fn read(text: &str, lanes: u32) -> Vec<Block> {
    let mut names: Vec<&str> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or("").trim();
        if line.ends_with(':') {
            names.push(line.trim_end_matches(':'));
            blocks.push(Block::default());
        } else if let Some(block) = blocks.last_mut()
            && line.starts_with(|c: char| c.is_ascii_lowercase())
        {
            // s_delay_alu is a hint that is folded into issue; s_nop and s_clause cost an issue slot and stay.
            block.instructions.push(Instruction { does: does(line, lanes), text: line.to_owned(), cycles: 0.0 });
        }
    }
    linked(blocks, |instruction| {
        let mut words = instruction.text.split_whitespace();
        let name = words.next().unwrap_or("");
        let to = words.next().and_then(|to| names.iter().position(|n| *n == to));
        let jumps = name.starts_with("s_cbranch") || name == "s_branch";
        (to.filter(|_| jumps), name == "s_branch" || name == "s_endpgm")
    })
}

fn does(line: &str, lanes: u32) -> Does {
    let name = line.split_whitespace().next().unwrap_or("");
    let is_fma = |name: &str| {
        [
            "fma_f32",
            "fmac_f32",
            "fmaak_f32",
            "fmamk_f32",
            "fma_mix_f32",
            "fma_mixlo_f16",
            "fma_mixhi_f16",
            "fma_f16",
            "fmac_f16",
        ]
        .iter()
        .any(|fma| name.contains(fma))
    };
    if name.starts_with("v_wmma") || name.starts_with("v_swmmac") {
        return Does::Matrix(4096.0 / f64::from(lanes));
    }
    if name.starts_with("v_dual_") {
        let count = line.split("::").filter(|part| is_fma(part.split_whitespace().next().unwrap_or(""))).count();
        return if count > 0 { Does::Fma(count as f64) } else { Does::Vector };
    }
    if name.starts_with("v_pk_fma_f16") || name.starts_with("v_pk_fmac_f16") {
        return Does::Fma(2.0);
    }
    if name.starts_with("v_dot2") {
        return Does::Fma(2.0);
    }
    if name.starts_with("v_dot4") {
        return Does::Dot(4.0);
    }
    if name.starts_with("v_dot8") {
        return Does::Dot(8.0);
    }
    if name.starts_with("v_") && is_fma(name) {
        return Does::Fma(1.0);
    }
    if name.starts_with("v_") {
        return Does::Vector;
    }
    if name.starts_with("scratch_") {
        return Does::Scratch;
    }
    if name.starts_with("ds_load") || name.starts_with("ds_read") {
        return Does::LdsLoad(bytes(name));
    }
    if name.starts_with("ds_store") || name.starts_with("ds_write") {
        return Does::LdsStore(bytes(name));
    }
    if name.starts_with("ds_") {
        return Does::Other;
    }
    if name.starts_with("buffer_load") || name.starts_with("global_load") || name.starts_with("flat_load") {
        return Does::Load(bytes(name));
    }
    if name.starts_with("buffer_store") || name.starts_with("global_store") {
        return Does::Store(bytes(name));
    }
    if name.starts_with("s_waitcnt") || name.starts_with("s_wait_") {
        return if name == "s_waitcnt_depctr" { Does::Other } else { Does::Wait };
    }
    if name.starts_with("s_barrier") {
        return Does::Barrier;
    }
    Does::Other
}

/// Bytes per invocation by the end of an instruction's name: b128, b96, b64, b32, u16, u8; two addresses count twice.
fn bytes(name: &str) -> f64 {
    let times = if name.contains("2addr") { 2.0 } else { 1.0 };
    let of = [("b128", 16.0), ("b96", 12.0), ("b64", 8.0), ("b32", 4.0), ("16", 2.0), ("8", 1.0)];
    times * of.iter().find(|(end, _)| name.contains(end)).map_or(4.0, |(_, bytes)| *bytes)
}

/// Passes of a loop that counts a scalar register up to a constant.
pub fn length(blocks: &[Block], of: &BTreeSet<usize>, head: usize) -> Option<f64> {
    let inside = || of.iter().flat_map(|&block| &blocks[block].instructions);
    let parts = |text: &str| -> Vec<String> { text.replace(',', " ").split_whitespace().map(str::to_owned).collect() };
    for compare in inside().filter(|i| i.text.starts_with("s_cmp")) {
        let [name, register, limit] = &parts(&compare.text)[..] else { continue };
        let Some(limit) = number(limit) else { continue };
        let step = inside().find_map(|i| {
            let parts = parts(&i.text);
            let is_add = parts[0].starts_with("s_add");
            match &parts[..] {
                [_, to, from, by] if is_add && to == register && from == register => number(by),
                [_, to, by] if is_add && to == register => number(by),
                _ => None,
            }
        });
        let first = (0..head).rev().flat_map(|block| blocks[block].instructions.iter().rev()).find_map(|i| {
            let parts = parts(&i.text);
            match &parts[..] {
                [name, to, value] if name.starts_with("s_mov") && to == register => Some(number(value)),
                _ => None,
            }
        });
        if let (Some(step), Some(Some(first))) = (step, first)
            && step != 0.0
        {
            let passes = ((limit - first) / step).abs().ceil();
            let _ = name;
            if passes >= 1.0 && passes < 4096.0 {
                return Some(passes);
            }
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let value = match text.strip_prefix("0x") {
        Some(hex) => {
            let raw = i64::from_str_radix(hex, 16).ok()?;
            // Constants of 16 bits are signed.
            if raw > 0x7FFF_FFFF { (raw - (1 << 32)) as f64 } else { raw as f64 }
        }
        None => text.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}
