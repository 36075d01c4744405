//! What to do about what was found, most likely first.

use crate::cli::doctor::adapters::Adapters;
use crate::cli::doctor::linux::{Facts, Maker};

/// Steps for a person, each one or more lines; none where a GPU was found.
pub(super) fn on(adapters: Adapters, facts: &Facts, os: &str) -> Vec<String> {
    let mut steps = Vec::new();
    match adapters {
        Adapters::Gpu => return steps,
        Adapters::NotBuilt => {
            steps.push("Install with GPU support, which is the default: cargo install --path . (without --no-default-features).".to_owned());
        }
        Adapters::None | Adapters::SoftwareOnly => {}
    }
    match os {
        "linux" => linux(facts, &mut steps),
        "macos" => steps.push("Every Mac since 2012 has Metal: update macOS; in a virtual machine, give it a paravirtual GPU.".to_owned()),
        "windows" => steps.push(
            "Install the maker's driver (nvidia.com/drivers, amd.com/support, intel.com/download-center); Windows Update's \
             is often enough.\nOver Remote Desktop or in a virtual machine only Microsoft's Basic Render Driver, a software \
             adapter, may be left."
                .to_owned(),
        ),
        _ => steps.push("Install your GPU's Vulkan driver and the Vulkan loader.".to_owned()),
    }
    if adapters == Adapters::SoftwareOnly {
        steps.push(
            "To try the tool without a GPU, go on: it runs on the software adapter, and marks every figure so."
                .to_owned(),
        );
    }
    if adapters == Adapters::None && os == "linux" {
        steps.push("To try the tool without a GPU, install Mesa's software driver.\nDebian, Ubuntu: apt install mesa-vulkan-drivers libvulkan1\nFedora: dnf install mesa-vulkan-drivers vulkan-loader\nArch: pacman -S vulkan-swrast vulkan-icd-loader".to_owned());
    }
    steps
}

fn linux(facts: &Facts, steps: &mut Vec<String>) {
    if let Some(variable) = facts.overridden_by {
        steps.push(format!("{variable} limits the drivers that are tried: unset it, unless that is what you want."));
    }
    if !facts.denied.is_empty() {
        steps.push(format!(
            "You may not open {}.\nJoin the groups that own it, then log in again: sudo usermod -aG render,video $USER",
            facts.denied.join(", ")
        ));
    }
    if facts.wsl {
        wsl(facts, steps);
        return;
    }
    if !facts.loader {
        steps.push("Install the Vulkan loader.\nDebian, Ubuntu: apt install libvulkan1\nFedora: dnf install vulkan-loader\nArch: pacman -S vulkan-icd-loader".to_owned());
    }
    if facts.container && !facts.render_node && !facts.nvidia_node {
        steps.push(
            "Start the container with its GPU.\nNVIDIA: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility \
             ... (graphics brings Vulkan)\nAMD, Intel: docker run --device /dev/dri --group-add render ... (AMD compute also \
             --device /dev/kfd)"
                .to_owned(),
        );
    }
    let mut makers: Vec<Maker> = Vec::new();
    for gpu in &facts.gpus {
        if !makers.contains(&gpu.maker) {
            makers.push(gpu.maker);
            steps.extend(driver(gpu.maker, gpu.driver.as_deref(), facts));
        }
    }
    if facts.gpus.is_empty() && !facts.container {
        steps.push(
            "No GPU is on the PCI bus: check that it is seated and powered, enabled in the firmware, or passed through to this \
             virtual machine.\nGPUs of systems on a chip (Arm boards) are not on that bus; they need Mesa's driver: apt install \
             mesa-vulkan-drivers"
                .to_owned(),
        );
    }
    if !facts.broken_manifests.is_empty() {
        steps.push(format!(
            "A driver is half installed ({}): install its package again, or remove the manifest.",
            facts.broken_manifests.join(", ")
        ));
    }
}

fn wsl(facts: &Facts, steps: &mut Vec<String>) {
    if !facts.dxg {
        steps.push("Use WSL 2 with a current kernel (in Windows: wsl --update, wsl --set-version DISTRO 2) and a GPU driver on Windows.".to_owned());
    }
    steps.push(
        "Vulkan in WSL goes through Mesa's driver dzn, which Debian and Ubuntu 24.04 and later ship: apt install \
         mesa-vulkan-drivers libvulkan1\nSimpler and faster: run the Windows build of supernode, which uses Direct3D 12."
            .to_owned(),
    );
}

fn driver(maker: Maker, kernel: Option<&str>, facts: &Facts) -> Option<String> {
    let container = if facts.container { " on the host of this container" } else { "" };
    match (maker, kernel) {
        (Maker::Nvidia, Some("nvidia")) if facts.has_driver_of(maker) => None,
        (Maker::Nvidia, Some("nvidia")) => Some(
            "NVIDIA's kernel driver runs, but its Vulkan part is missing.\nDebian: apt install nvidia-vulkan-icd; Ubuntu: apt \
             install libnvidia-gl-VERSION, of the same version as the kernel driver (cat /proc/driver/nvidia/version)"
                .to_owned(),
        ),
        (Maker::Nvidia, Some("nouveau")) => Some(
            "The GPU runs on nouveau. Install NVIDIA's driver for full speed.\nDebian: apt install nvidia-driver nvidia-vulkan-icd; \
             Ubuntu: ubuntu-drivers install; Fedora: akmod-nvidia from RPM Fusion"
                .to_owned(),
        ),
        (Maker::Nvidia, _) => Some(format!(
            "No driver holds the NVIDIA GPU. Install NVIDIA's driver{container} and restart.\nDebian: apt install nvidia-driver \
             nvidia-vulkan-icd; Ubuntu: ubuntu-drivers install; Fedora: akmod-nvidia from RPM Fusion"
        )),
        (Maker::Amd, None) => Some(format!(
            "No driver holds the AMD GPU: load the kernel's amdgpu{container} (sudo modprobe amdgpu), with the package \
             firmware-amd-graphics on Debian."
        )),
        (Maker::Intel, None) => {
            Some(format!("No driver holds the Intel GPU: load the kernel's i915 or xe{container} (sudo modprobe i915)."))
        }
        (Maker::Amd | Maker::Intel, Some(_)) if !facts.has_driver_of(maker) => Some(
            "The kernel driver runs, but no Vulkan driver is installed.\nDebian, Ubuntu: apt install mesa-vulkan-drivers; Fedora: \
             dnf install mesa-vulkan-drivers; Arch: pacman -S vulkan-radeon (AMD) or vulkan-intel"
                .to_owned(),
        ),
        (Maker::Other, _) => Some("The GPU is of a maker that this tool does not know: install its Vulkan driver.".to_owned()),
        _ => None,
    }
}
