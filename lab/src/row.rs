//! What is kept of a pipeline on a device: the fields of the results.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use supernode_bench::kernels::Launch;

use crate::assembly::{Mix, is_zero};
use crate::vulkan::{Compiled, Facts};

/// All pipelines of one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// What the device says of itself.
    pub device: Facts,
    /// The pipelines by name.
    pub pipelines: Vec<Row>,
}

impl Document {
    /// The document with a line for each pipeline, so that a difference shows.
    pub fn json(&self) -> serde_json::Result<String> {
        let rows: Result<Vec<String>, _> = self.pipelines.iter().map(serde_json::to_string).collect();
        let device = serde_json::to_string(&self.device)?;
        Ok(format!("{{\"device\":{device},\n\"pipelines\":[\n{}\n]}}\n", rows?.join(",\n")))
    }
}

/// One pipeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Hash of the shader's text and of the values of its overrides: what a driver compiles.
    pub key: String,
    /// Shader, type, constants and overrides in one line.
    pub name: String,
    /// What came out; `None` where nothing did.
    pub figures: Option<Figures>,
    /// Why nothing came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a compiler says of a pipeline. A field that its driver does not tell is absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds to compile.
    pub seconds: f64,
    /// Invocations per subgroup.
    pub lanes: u32,
    /// Invocations per workgroup.
    pub invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Registers per invocation, 32 bits each (Apple: 16).
    pub registers: f64,
    /// Registers that were spilled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spills: f64,
    /// Bytes of local or scratch memory per invocation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch_bytes: f64,
    /// Subgroups in flight as the driver counts them: per SIMD (AMD), SM (NVIDIA), or core (Apple, Adreno).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupancy: Option<f64>,
    /// Instructions of the whole program.
    pub instructions: f64,
    /// Cycles of the whole program by the compiler's estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<f64>,
    /// The hottest loop; `None` where the driver shows no assembly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<Mix>,
}

/// A launch that is compiled: its texts, once.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// See [`Row::key`].
    pub key: String,
    /// See [`Row::name`].
    pub name: String,
    /// The launch.
    pub launch: Launch,
    /// The kernels and variants that launch it.
    pub users: BTreeSet<(&'static str, &'static str)>,
    /// Whether a GPU with wide subgroups is offered one of them.
    pub is_for_wide: bool,
}

/// Reads a driver's statistics by its own names.
pub fn figures(facts: &Facts, compiled: &Compiled, workgroup: (u32, u32), hot: Option<Mix>) -> Figures {
    let of = |name: &str| compiled.statistics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let first = |names: &[&str]| names.iter().find_map(|name| of(name));
    let sum = |names: &[&str]| names.iter().filter_map(|name| of(name)).sum();
    // Turnip states stalls and instructions; its schedule is their sum.
    let adreno = of("Estimated cycles stalled on SS")
        .map(|ss| ss + of("Estimated cycles stalled on SY").unwrap_or(0.0) + of("Instruction Count").unwrap_or(0.0));
    Figures {
        seconds: (compiled.seconds * 1e3).round() / 1e3,
        lanes: if compiled.subgroup == 0 { facts.subgroup[0] } else { compiled.subgroup },
        invocations: workgroup.1,
        workgroup_bytes: match of("LDS size") {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a workgroup")]
            Some(bytes) if workgroup.0 == 0 => bytes as u32,
            _ => workgroup.0,
        },
        registers: match of("Registers used") {
            // ir3 counts vec4 registers of 32 bits.
            Some(full) => 4.0 * full,
            None => first(&["VGPRs", "Number of GPRs", "GPRs"]).unwrap_or(0.0),
        },
        spills: sum(&["Spilled VGPRs", "Spilled SGPRs", "Spills to memory", "Spills", "STP Count"]),
        scratch_bytes: sum(&["Scratch size", "SLM size", "Scratch"]),
        occupancy: first(&["Subgroups per SIMD", "Max warps/SM", "Max Waves Per Core"])
            .or_else(|| of("Threads").map(|threads| threads / 32.0)),
        instructions: first(&["Instructions", "Instruction count", "Instruction Count"]).unwrap_or(0.0),
        cycles: first(&["Inverse Throughput", "Static cycle count", "ALU"]).or(adreno),
        hot: hot.filter(|mix| mix.instructions > 0.0),
    }
}
