//! Compiles pipelines inside a driver's process and prints a line of JSON for each. A driver may hang or die, so this runs
//! in a process of its own, which `compile` watches.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::{Need, Target};

use crate::assembly::{Mix, hottest};
use crate::ggml::Kernel;
use crate::pipelines::pipelines;
use crate::row::{Figures, Pipeline, Row, figures};
use crate::vulkan::{Compiled, Device, Facts, Shader};
use crate::{adreno, amd, apple, ggml, nvidia, translate};

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

/// Compiles all jobs from the `first` on: our pipelines, or the kernels of a list of ggml's.
pub fn run(first: usize, list: Option<&Path>) -> Result<()> {
    // ggml asks for no bounds checks of buffers, wgpu does.
    let device = Device::open(list.is_none())?;
    let mut capture = Capture::new()?;
    say(&Line::Device(device.facts.clone()))?;
    for (index, job) in jobs(list)?.iter().enumerate().skip(first) {
        say(&Line::Begun(index))?;
        let result = match job.lacks(&device.facts) {
            Some(why) => Err(why),
            None => compile(&device, job, &mut capture).map_err(|error| format!("{error:#}")),
        };
        let (figures, why) = match result {
            Ok(figures) => (Some(figures), None),
            Err(why) => (None, Some(why)),
        };
        let row = Row { key: job.key(), name: job.name(), figures, why };
        say(&Line::Done(index, Box::new(row)))?;
    }
    Ok(())
}

/// Subgroups from this width on are offered no variants made for eight invocations.
const WIDE: u32 = 16;

/// What a worker compiles.
#[derive(Debug)]
pub enum Job {
    /// A pipeline of this project.
    Ours(Pipeline),
    /// A kernel of ggml.
    Ggml(Kernel),
}

/// Our pipelines, or the kernels of a list.
pub fn jobs(list: Option<&Path>) -> Result<Vec<Job>> {
    Ok(match list {
        None => pipelines()?.into_iter().map(Job::Ours).collect(),
        Some(list) => ggml::read(list)?.into_iter().map(Job::Ggml).collect(),
    })
}

impl Job {
    /// See [`Row::key`]; empty for ggml's.
    pub fn key(&self) -> String {
        match self {
            Self::Ours(pipeline) => pipeline.key.clone(),
            Self::Ggml(_) => String::new(),
        }
    }

    /// See [`Row::name`].
    pub fn name(&self) -> String {
        match self {
            Self::Ours(pipeline) => pipeline.name.clone(),
            Self::Ggml(kernel) => format!("{}: {}", kernel.pair, kernel.name),
        }
    }

    fn lacks(&self, facts: &Facts) -> Option<String> {
        let lack = |needs: bool, has: bool, what: &str| (needs && !has).then(|| format!("the device has no {what}"));
        let matrices = |size| (facts.matrices.contains(&size), format!("f16 matrices of {size} x {size}"));
        let ((has_8, name_8), (has_16, name_16)) = (matrices(8), matrices(16));
        match self {
            Self::Ours(pipeline) => {
                let needs = |need| pipeline.launch.needs.contains(&need);
                if !pipeline.is_for_wide && facts.subgroup[0] >= WIDE {
                    return Some(format!("not offered to subgroups of {} and more", facts.subgroup[0]));
                }
                let target = Target { driver: facts.driver.to_lowercase(), ..Target::default() };
                let refused = |(kernel, variant): &(&str, &str)| target.refuses(kernel, variant);
                // A driver that needs half a minute for a pipeline is known by now, and the tool does not ask it.
                if pipeline.users.iter().all(|user| refused(user).is_some()) {
                    return pipeline.users.iter().find_map(refused);
                }
                lack(needs(Need::Matrix8), has_8, &name_8)
                    .or_else(|| lack(needs(Need::Matrix16), has_16, &name_16))
                    // No driver of a current Mesa lists them; Metal does.
                    .or_else(|| lack(needs(Need::Matrix8F32), false, "f32 matrices of 8 x 8"))
                    .or_else(|| lack(needs(Need::ShaderF16), facts.f16, "arithmetic in f16"))
            }
            Self::Ggml(kernel) => lack(kernel.matrices, has_16, &name_16),
        }
    }

    /// The shader, the bytes of its workgroup memory where its text tells, and the invocations of its workgroup.
    fn shader(&self, facts: &Facts) -> Result<(Shader, u32, u32)> {
        match self {
            Self::Ours(pipeline) => {
                let wgsl = pipeline.launch.wgsl().unwrap_or_default();
                let overrides =
                    pipeline.launch.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
                let (bytes, invocations) = translate::workgroup(&wgsl, &overrides)?;
                Ok((translate::translate(&wgsl, &overrides, facts.f16)?, bytes, invocations))
            }
            Self::Ggml(kernel) => {
                // RADV's default is the larger of its two sizes, and ggml takes the default.
                let lanes = if facts.driver == "radv" { facts.subgroup[1] } else { facts.subgroup[0] };
                let shader =
                    kernel.shader(lanes)?.with_context(|| format!("ggml has no constants for {lanes} lanes"))?;
                Ok((shader, 0, kernel.invocations(lanes)))
            }
        }
    }
}

/// Lines go to standard error: drivers print their texts to standard output.
fn say(line: &Line) -> Result<()> {
    writeln!(std::io::stderr(), "{}", serde_json::to_string(line)?)?;
    Ok(())
}

fn compile(device: &Device, job: &Job, capture: &mut Capture) -> Result<Figures> {
    let (shader, bytes, invocations) = job.shader(&device.facts)?;
    capture.begin()?;
    let compiled = device.compile(&shader, true)?;
    let printed = capture.end()?;
    let hot = hot(&compiled, &printed);
    Ok(figures(&device.facts, &compiled, (bytes, invocations), hot))
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
