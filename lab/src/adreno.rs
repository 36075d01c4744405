//! ir3's text for Adreno.

use std::collections::BTreeSet;

use crate::assembly::{Block, Does, Instruction, linked};

/// Blocks of the text.
pub fn read(text: &str) -> Vec<Block> {
    let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with([';', '@', '-']));
    let mut names: Vec<String> = vec![String::new()];
    let mut blocks: Vec<Block> = vec![Block::default()];
    for line in code.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '(')) {
        if line.starts_with('l') && line.ends_with(':') {
            names.push(line.trim_end_matches(':').to_owned());
            blocks.push(Block::default());
            continue;
        }
        let (flags, code) = flags(line);
        let count = |name: &str| {
            let rest = flags.split_once(&format!("({name}"))?.1;
            rest.split(')').next()?.parse::<f64>().ok()
        };
        let (repeats, nops) = (count("rpt").unwrap_or(0.0) + 1.0, count("nop").unwrap_or(0.0));
        let does = does(code);
        let times = |n: f64| n * repeats;
        let does = match does {
            Does::Fma(n) => Does::Fma(times(n)),
            Does::Dot(n) => Does::Dot(times(n)),
            other => other,
        };
        let last = blocks.len() - 1;
        blocks[last].instructions.push(Instruction { does, text: code.to_owned(), cycles: repeats + nops });
        let name = code.split_whitespace().next().unwrap_or("");
        if ["br", "jump", "end", "bany", "ball", "brac", "brao", "braa"].contains(&name) {
            names.push(String::new());
            blocks.push(Block::default());
        }
    }
    linked(blocks, |instruction| {
        let name = instruction.text.split_whitespace().next().unwrap_or("");
        let to = instruction.text.rsplit_once('#').and_then(|(_, to)| names.iter().position(|n| n == to.trim()));
        let jumps = ["br", "jump", "bany", "ball", "brac", "brao", "braa"].contains(&name);
        (to.filter(|_| jumps), name == "jump" || name == "end")
    })
}

/// The flags before an instruction's name, and the rest.
fn flags(line: &str) -> (&str, &str) {
    let mut at = 0;
    while line[at..].starts_with('(') {
        at += line[at..].find(')').map_or(line.len() - at, |end| end + 1);
        at += line[at..].len() - line[at..].trim_start().len();
    }
    (&line[..at], &line[at..])
}

fn does(code: &str) -> Does {
    let name = code.split_whitespace().next().unwrap_or("");
    // The last operand of loads and stores counts their values.
    let values = code.rsplit(',').next().and_then(|n| n.trim().parse::<f64>().ok()).unwrap_or(1.0);
    let size = if name.contains("16") {
        2.0
    } else if name.ends_with('8') {
        1.0
    } else {
        4.0
    };
    match name {
        _ if name.starts_with("mad.f") => Does::Fma(1.0),
        _ if name.starts_with("dp4acc") => Does::Dot(4.0),
        _ if name.starts_with("dp2acc") => Does::Dot(2.0),
        _ if name.starts_with("ldl") => Does::LdsLoad(values * size),
        _ if name.starts_with("stl") => Does::LdsStore(values * size),
        _ if name.starts_with("ldp") || name.starts_with("stp") => Does::Scratch,
        _ if name.starts_with("isam") => Does::Load(
            4.0 * f64::from(
                u32::try_from(code.split_once("(u32)(").map_or(4, |(_, r)| r.find(')').unwrap_or(4))).unwrap_or(4),
            ),
        ),
        _ if name.starts_with("ldib") || name.starts_with("ldg") => Does::Load(values * size),
        _ if name.starts_with("stib") || name.starts_with("stg") => Does::Store(values * size),
        _ if name.starts_with("bar") => Does::Barrier,
        "nop" | "br" | "jump" | "end" | "predt" | "predf" | "prede" | "shps" | "shpe" | "getone" => Does::Other,
        _ if name.starts_with("ld") || name.starts_with("st") => Does::Other,
        _ => Does::Vector,
    }
}

/// The text does not tell how often a loop runs.
pub fn length(_: &[Block], _: &BTreeSet<usize>, _: usize) -> Option<f64> {
    None
}
