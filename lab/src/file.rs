//! One WGSL file on one device: for work on a shader.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use supernode_bench::kernels::{MATRICES, STORAGE};

use crate::vulkan::Device;
use crate::{translate, worker};

/// A shader with the substitutions that a launch makes.
#[derive(Args)]
pub struct File {
    /// The file.
    path: PathBuf,
    /// The storage type: f32, f16 or bf16.
    #[arg(long, default_value = "f32")]
    r#type: String,
    /// NAME=8 changes a line `const NAME: u32 = ...`.
    #[arg(long = "const", value_parser = pair)]
    constants: Vec<(String, f64)>,
    /// NAME=8 sets an override; false is 0.
    #[arg(long = "set", value_parser = pair)]
    overrides: Vec<(String, f64)>,
    /// Matrices of 16 x 16.
    #[arg(long)]
    matrices16: bool,
    /// Print the driver's texts as well, the assembly among them.
    #[arg(long)]
    texts: bool,
}

fn pair(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    Ok((name.to_owned(), value.parse().map_err(|error| format!("{error}"))?))
}

/// Compiles it and prints what came out.
pub fn run(file: &File) -> Result<()> {
    let text = std::fs::read_to_string(&file.path).with_context(|| file.path.display().to_string())?;
    let text = substituted(file, text);
    let overrides: BTreeMap<String, f64> = file.overrides.iter().cloned().collect();
    let device = Device::open(true)?;
    let shader = translate::translate(&text, &overrides, device.facts.f16)?;
    let (bytes, invocations) = translate::workgroup(&text, &overrides)?;
    let mut capture = worker::Capture::new()?;
    capture.begin()?;
    let compiled = device.compile(&shader, true)?;
    let printed = capture.end()?;
    let facts = &device.facts;
    eprintln!("{} ({}, {})", facts.device, facts.driver, facts.driver_version);
    eprintln!("workgroup memory {bytes} B, {invocations} invocations, subgroups of {}", compiled.subgroup);
    eprintln!("compiled in {:.3} s", compiled.seconds);
    for (name, value) in compiled.statistics.iter().filter(|(name, _)| !name.contains("ash")) {
        eprintln!("  {name}: {value}");
    }
    if file.texts {
        compiled.texts.iter().for_each(|(name, text)| eprintln!("==== {name}\n{text}"));
        eprintln!("{printed}");
    }
    if let Some(mix) = worker::hot(&compiled, &printed) {
        let per = |x: f64| x / mix.multiply_adds.max(1.0);
        eprintln!("hottest loop: {mix:?}");
        eprintln!(
            "per multiply-add: instructions {:.3}, cycles {:.3}, LDS bytes loaded {:.3}, LDS loads {:.3}; math share {:.2}",
            per(mix.instructions),
            per(mix.cycles),
            per(mix.lds_load_bytes),
            per(mix.lds_loads),
            (mix.fma + mix.dot + mix.matrix) / mix.vector.max(1.0)
        );
    }
    Ok(())
}

fn substituted(file: &File, mut text: String) -> String {
    let column = match file.r#type.as_str() {
        "f16" => 1,
        "bf16" => 2,
        _ => 0,
    };
    if column == 1 && text.contains(STORAGE[0][0]) && STORAGE.iter().any(|lines| !text.contains(lines[0])) {
        text = format!("enable f16;\n{}", text.replace(STORAGE[0][0], "alias Element = f16;"));
    } else if column > 0 {
        text = STORAGE.iter().fold(text, |text, lines| text.replace(lines[0], lines[column]));
    }
    if file.matrices16 {
        text = MATRICES.iter().fold(text, |text, [small, large]| text.replace(small, large));
        text = text.replace("const SIZE: u32 = 8u;", "const SIZE: u32 = 16u;");
    }
    for (name, value) in &file.constants {
        let begin = format!("const {name}: u32 = ");
        if let Some((before, rest)) = text.split_once(&begin)
            && let Some((_, after)) = rest.split_once(';')
        {
            text = format!("{before}{begin}{value}u;{after}");
        }
    }
    text
}
