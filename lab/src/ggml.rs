//! ggml's Vulkan shaders as jobs of the laboratory: its GLSL through glslc, with its own defines and constants.
//!
//! `ggml.json` lists the kernels that are like ours. Nothing of ggml is kept here but these names and numbers, from
//! vulkan-shaders-gen.cpp and ggml-vulkan.cpp of the sources that `ggml.sh` fetches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::vulkan::Shader;

/// A kernel of the list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    /// What it computes, as the tables name it.
    pub pair: String,
    /// Its name and tile.
    pub name: String,
    source: String,
    /// Whether it needs cooperative matrices.
    pub matrices: bool,
    bindings: u32,
    defines: Vec<String>,
    constants: BTreeMap<u32, Vec<u32>>,
    /// The compiled shader, once there is one.
    #[serde(default)]
    spirv: PathBuf,
}

/// Push constants that every driver takes; ggml's are smaller.
const PUSH_BYTES: u32 = 128;

impl Kernel {
    /// The shader for subgroups of so many invocations; `None` where ggml has no constants for them.
    pub fn shader(&self, lanes: u32) -> Result<Option<Shader>> {
        let Some(values) = self.constants.get(&lanes) else { return Ok(None) };
        let bytes = std::fs::read(&self.spirv).with_context(|| self.spirv.display().to_string())?;
        let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Some(Shader {
            words,
            entry: "main".to_owned(),
            bindings: (0..self.bindings).map(|binding| (binding, false)).collect(),
            push_bytes: PUSH_BYTES,
            constants: (0..).zip(values.iter().copied()).collect(),
            subgroup: Some(lanes),
        }))
    }

    /// Invocations of its workgroup.
    pub fn invocations(&self, lanes: u32) -> u32 {
        self.constants.get(&lanes).and_then(|values| values.first()).copied().unwrap_or(0)
    }
}

/// Compiles the list's GLSL into a folder and writes the list with the paths there: what a worker reads.
pub fn prepare(sources: &Path, glslc: &[String], folder: &Path) -> Result<PathBuf> {
    let mut kernels: Vec<Kernel> = serde_json::from_str(include_str!("../ggml.json"))?;
    for (index, kernel) in kernels.iter_mut().enumerate() {
        kernel.spirv = folder.join(format!("{index}.spv"));
        let [program, arguments @ ..] = glslc else { bail!("no command for glslc") };
        let status = Command::new(program)
            .args(arguments)
            .args(["-fshader-stage=compute", "--target-env=vulkan1.2", "-O", "-o"])
            .arg(&kernel.spirv)
            .args(kernel.defines.iter().map(|define| format!("-D{define}")))
            .arg(sources.join(&kernel.source))
            .status()
            .with_context(|| program.clone())?;
        if !status.success() {
            bail!("glslc refuses {} ({})", kernel.source, kernel.name);
        }
    }
    let list = folder.join("kernels.json");
    std::fs::write(&list, serde_json::to_string(&kernels)?)?;
    Ok(list)
}

/// The kernels of a list that [`prepare`] has written.
pub fn read(list: &Path) -> Result<Vec<Kernel>> {
    Ok(serde_json::from_str(&std::fs::read_to_string(list)?)?)
}
