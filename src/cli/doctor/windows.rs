//! What Direct3D 12 compiles shaders with on Windows.

use std::path::PathBuf;

use crate::printable::printable;
use crate::report::terminal::doctor::{Check, CheckState};

const COMPILER: &str = "dxcompiler.dll";

/// Where wgpu has Windows look for the compiler: in the folder of the program, then in the folders of `PATH`.
pub(super) fn folders() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_path_buf()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.into_iter().chain(std::env::split_paths(&path)).collect()
}

/// Whether Direct3D 12 has a compiler for all kernels, and whether that matters: `backends` are those of the adapters.
pub(super) fn direct3d(backends: &[String], folders: &[PathBuf]) -> Check {
    let what = "Direct3D 12";
    if let Some(folder) = folders.iter().find(|folder| folder.join(COMPILER).is_file()) {
        let folder = printable(&folder.display().to_string(), 120);
        return Check::new(
            CheckState::Ok,
            what,
            format!("{COMPILER} is in {folder}; Vulkan is preferred where it is there"),
        );
    }
    let without = format!(
        "without {COMPILER} it compiles with FXC: no f16, no subgroups, minutes for large shaders; Vulkan is preferred"
    );
    let only = !backends.is_empty() && backends.iter().all(|backend| backend == "dx12");
    let found = if only {
        format!(
            "{without}, and no driver offers it. Install the maker's driver, or put {COMPILER} (1.8.2502 or newer, of \
             DirectXShaderCompiler) beside supernode.exe"
        )
    } else {
        without
    };
    Check::new(CheckState::Note, what, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_compiler_is_told_with_what_it_costs_and_a_remedy_where_vulkan_is_missing_too() {
        let empty = tempfile::tempdir().unwrap();
        let folders = [empty.path().to_path_buf()];
        let told = |backend: &str| direct3d(&[backend.to_owned()], &folders);
        let (only, beside) = (told("dx12"), told("vulkan"));
        for check in [&only, &beside] {
            let found = &check.found;
            assert!(found.contains("FXC: no f16, no subgroups") && found.contains("Vulkan is preferred"), "{found}");
            assert_eq!(check.state, CheckState::Note);
        }
        assert!(only.found.contains("beside supernode.exe") && !beside.found.contains("beside supernode.exe"));
    }

    #[test]
    fn a_compiler_is_found_in_any_of_the_folders() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(full.path().join(COMPILER), "").unwrap();
        let folders = [empty.path().to_path_buf(), full.path().to_path_buf()];
        let check = direct3d(&["dx12".to_owned()], &folders);
        assert!(
            check.state == CheckState::Ok && check.found.contains(&*full.path().to_string_lossy()),
            "{}",
            check.found
        );
    }
}
