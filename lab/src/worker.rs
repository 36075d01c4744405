//! Compiles pipelines inside a driver's process and prints a line of JSON for each. A driver may hang or die, so this runs
//! in a process of its own, which `compile` watches.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::Need;

use crate::assembly::{Mix, hottest};
use crate::pipelines::pipelines;
use crate::row::{Figures, Pipeline, Row, figures};
use crate::vulkan::{Compiled, Device, Facts};
use crate::{adreno, amd, apple, nvidia, translate};

/// A line of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// First, what the device is.
    Device(Facts),
    /// A pipeline is begun.
    Begun(usize),
    /// A pipeline is done.
    Done(usize, Box<Row>),
}

/// Compiles all pipelines from the `first` on.
pub fn run(first: usize) -> Result<()> {
    let device = Device::open(true)?;
    let mut capture = Capture::new()?;
    say(&Line::Device(device.facts.clone()))?;
    for (index, pipeline) in pipelines()?.iter().enumerate().skip(first) {
        say(&Line::Begun(index))?;
        let result = match lacks(&device.facts, pipeline) {
            Some(why) => Err(why),
            None => compile(&device, pipeline, &mut capture).map_err(|error| format!("{error:#}")),
        };
        let (figures, why) = match result {
            Ok(figures) => (Some(figures), None),
            Err(why) => (None, Some(why)),
        };
        let row = Row { key: pipeline.key.clone(), name: pipeline.name.clone(), figures, why };
        say(&Line::Done(index, Box::new(row)))?;
    }
    Ok(())
}

/// Lines go to standard error: drivers print their texts to standard output.
fn say(line: &Line) -> Result<()> {
    writeln!(std::io::stderr(), "{}", serde_json::to_string(line)?)?;
    Ok(())
}

fn lacks(facts: &Facts, pipeline: &Pipeline) -> Option<String> {
    let needs = &pipeline.launch.needs;
    let lack = |need, has: bool, what: &str| (needs.contains(&need) && !has).then(|| format!("the device has no {what}"));
    lack(Need::Matrix8, facts.matrices.contains(&8), "f16 matrices of 8 x 8")
        .or_else(|| lack(Need::Matrix16, facts.matrices.contains(&16), "f16 matrices of 16 x 16"))
        .or_else(|| lack(Need::ShaderF16, facts.f16, "arithmetic in f16"))
}

fn compile(device: &Device, pipeline: &Pipeline, capture: &mut Capture) -> Result<Figures> {
    let wgsl = pipeline.launch.wgsl().unwrap_or_default();
    let overrides = pipeline.launch.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let shader = translate::translate(&wgsl, &overrides, device.facts.f16)?;
    let workgroup = translate::workgroup(&wgsl, &overrides)?;
    capture.begin()?;
    let mut compiled = device.compile(&shader, false)?;
    let seconds = compiled.seconds;
    let printed = capture.end()?;
    // The texts take time to write, so they come from a second compilation; Apple's come with the first.
    if printed.is_empty() {
        compiled = device.compile(&shader, true)?;
    }
    compiled.seconds = seconds;
    let hot = hot(&compiled, &printed);
    Ok(figures(&device.facts, &compiled, workgroup, hot))
}

/// The hottest loop of the assembly, wherever the driver shows it.
pub fn hot(compiled: &Compiled, printed: &str) -> Option<Mix> {
    for (name, text) in &compiled.texts {
        match name.as_str() {
            "Assembly" => return Some(hottest(&amd::read(text, compiled.subgroup), &amd::length)),
            "NAK assembly" => return Some(hottest(&nvidia::read(text), &nvidia::length)),
            "IR3 Assembly" => return Some(hottest(&adreno::read(text), &adreno::length)),
            _ => {}
        }
    }
    (!printed.is_empty()).then(|| hottest(&apple::read(printed), &apple::length))
}

/// What a driver prints to standard output while it compiles.
pub struct Capture {
    file: File,
}

impl Capture {
    /// Takes standard output away from this process.
    pub fn new() -> Result<Self> {
        let file = tempfile::tempfile()?;
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(file.as_raw_fd(), 1) };
        Ok(Self { file })
    }

    /// Forgets what was printed so far.
    pub fn begin(&mut self) -> Result<()> {
        self.end()?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        Ok(())
    }

    /// What was printed since.
    pub fn end(&mut self) -> Result<String> {
        // SAFETY: flushes the streams of the C library, in which drivers print.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
