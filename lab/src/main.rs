//! supernode-bench's kernels as the compilers of GPUs see them that are not there.

mod amd;
mod assembly;
mod nvidia;
mod translate;
mod vulkan;

use std::collections::BTreeMap;

use clap::Parser;

#[derive(Parser)]
struct File {
    path: String,
    #[arg(long, default_value = "f32")]
    r#type: String,
    #[arg(long = "const")]
    constants: Vec<String>,
    #[arg(long = "set")]
    overrides: Vec<String>,
    #[arg(long)]
    matrices16: bool,
    #[arg(long)]
    texts: bool,
    #[arg(long)]
    subgroup: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let file = File::parse();
    let text = substituted(&file, std::fs::read_to_string(&file.path)?);
    let overrides: BTreeMap<String, f64> = file.overrides.iter().map(|o| { let (n, v) = o.split_once('=').unwrap(); (n.to_owned(), v.parse().unwrap()) }).collect();
    let device = vulkan::Device::open(true)?;
    println!("{:?}", device.facts);
    let shader = translate::translate(&text, &overrides, device.facts.f16)?;
    let (bytes, invocations) = translate::workgroup(&text, &overrides)?;
    println!("workgroup memory {bytes} B, {invocations} invocations");
    let compiled = device.compile(&shader, true)?;
    println!("compiled in {:.3} s, subgroup {}", compiled.seconds, compiled.subgroup);
    for (name, value) in &compiled.statistics { if !name.contains("ash") { println!("  {name}: {value}"); } }
    for (name, text) in &compiled.texts {
        if file.texts { println!("==== {name}\n{text}"); }
        let mix = match name.as_str() {
            "Assembly" => assembly::hottest(&amd::read(text, compiled.subgroup), &amd::length),
            "NAK assembly" => assembly::hottest(&nvidia::read(text), &nvidia::length),
            _ => continue,
        };
        let per = |x: f64| x / mix.multiply_adds.max(1.0);
        println!("HOT LOOP {mix:#?}\n=> instructions per multiply-add {:.3}, cycles per multiply-add {:.3}, LDS load bytes per multiply-add {:.3}, LDS loads per multiply-add {:.3}, math share of vector {:.2}",
            per(mix.instructions), per(mix.cycles), per(mix.lds_load_bytes), per(mix.lds_loads), (mix.fma + mix.dot + mix.matrix) / mix.vector.max(1.0));
    }
    Ok(())
}

fn substituted(file: &File, mut text: String) -> String {
    use supernode_bench::kernels::{MATRICES, STORAGE};
    let column = match file.r#type.as_str() { "f16" => 1, "bf16" => 2, _ => 0 };
    if column > 0 {
        if column == 1 && STORAGE.iter().any(|l| !text.contains(l[0])) && text.contains(STORAGE[0][0]) {
            text = format!("enable f16;\n{}", text.replace(STORAGE[0][0], "alias Element = f16;"));
        } else {
            for lines in STORAGE { text = text.replace(lines[0], lines[column]); }
        }
    }
    if file.matrices16 {
        for [small, large] in MATRICES { text = text.replace(small, large); }
        text = text.replace("const SIZE: u32 = 8u;", "const SIZE: u32 = 16u;");
        text = text.replace("coop_mat8x8<", "coop_mat16x16<");
    }
    for constant in &file.constants {
        let (name, value) = constant.split_once('=').unwrap();
        let begin = format!("const {name}: u32 = ");
        let (before, line) = text.split_once(&begin).expect("the const line");
        let after = line.split_once(';').unwrap().1;
        text = format!("{before}{begin}{value}u;{after}");
    }
    text
}
