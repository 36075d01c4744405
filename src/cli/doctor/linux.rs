//! What lies between a program and a GPU on Linux. All paths are below a root, so that tests can build a computer of files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::read_at_most;
use crate::printable::printable;
use crate::report::terminal::doctor::{Check, CheckState};

/// Where to look.
pub(super) struct Computer {
    root: PathBuf,
    variable: fn(&str) -> Option<String>,
}

impl Computer {
    /// The one that the program runs on.
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/"), variable: |name| std::env::var(name).ok().filter(|value| !value.is_empty()) }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// A maker of GPUs, by PCI id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Nvidia,
    Amd,
    Intel,
    Other,
}

impl Facts {
    /// Whether a Vulkan driver for this maker's GPUs is installed.
    pub(super) fn has_driver_of(&self, maker: Maker) -> bool {
        let words: &[&str] = match maker {
            Maker::Nvidia => &["nvidia", "libglx_nvidia", "nouveau"],
            Maker::Amd => &["radeon", "amdvlk", "amd"],
            Maker::Intel => &["intel"],
            Maker::Other => &[""],
        };
        self.hardware_libraries.iter().any(|library| words.iter().any(|word| library.contains(word)))
    }
}

/// A GPU on the PCI bus and the kernel driver that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PciGpu {
    pub(super) maker: Maker,
    pub(super) driver: Option<String>,
}

/// What was found, for the advice.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) checks: Vec<Check>,
    pub(super) loader: bool,
    /// Libraries of the drivers that are no software adapters.
    pub(super) hardware_libraries: Vec<String>,
    pub(super) broken_manifests: Vec<String>,
    pub(super) overridden_by: Option<&'static str>,
    pub(super) gpus: Vec<PciGpu>,
    pub(super) denied: Vec<String>,
    pub(super) render_node: bool,
    pub(super) nvidia_node: bool,
    pub(super) container: bool,
    pub(super) wsl: bool,
    pub(super) dxg: bool,
}

/// Looks at everything once.
pub(super) fn look(computer: &Computer) -> Facts {
    let mut facts = Facts::default();
    surroundings(computer, &mut facts);
    pci(computer, &mut facts);
    device_files(computer, &mut facts);
    loader(computer, &mut facts);
    manifests(computer, &mut facts);
    facts
}

fn surroundings(computer: &Computer, facts: &mut Facts) {
    let version = first_bytes(&computer.at("/proc/version")).unwrap_or_default().to_lowercase();
    facts.wsl = version.contains("microsoft");
    facts.dxg = computer.at("/dev/dxg").exists();
    if facts.wsl {
        let (state, found) = if facts.dxg {
            (CheckState::Ok, "yes, and /dev/dxg gives access to the host's GPU")
        } else {
            (CheckState::Problem, "yes, without /dev/dxg: the host's GPU is not passed through")
        };
        facts.checks.push(Check::new(state, "WSL", found));
    }
    let cgroup = first_bytes(&computer.at("/proc/1/cgroup")).unwrap_or_default();
    let named = ["docker", "kubepods", "containerd", "libpod", "lxc"].iter().any(|name| cgroup.contains(name));
    let marked = computer.at("/.dockerenv").exists() || computer.at("/run/.containerenv").exists();
    facts.container = marked || named || (computer.variable)("container").is_some();
    if facts.container {
        facts.checks.push(Check::new(
            CheckState::Note,
            "container",
            "yes: it sees only devices that it was started with",
        ));
    }
}

/// Display controllers (class 0x03) and processing accelerators (0x12).
fn pci(computer: &Computer, facts: &mut Facts) {
    for device in entries(&computer.at("/sys/bus/pci/devices")) {
        let read = |name: &str| first_bytes(&device.join(name)).map(|text| text.trim().to_lowercase());
        let Some(class) = read("class").filter(|class| class.starts_with("0x03") || class.starts_with("0x12")) else {
            continue;
        };
        let vendor = read("vendor").unwrap_or_default();
        let (maker, name) = match vendor.as_str() {
            "0x10de" => (Maker::Nvidia, "NVIDIA"),
            "0x1002" => (Maker::Amd, "AMD"),
            "0x8086" => (Maker::Intel, "Intel"),
            _ => (Maker::Other, "another maker"),
        };
        // Display controllers of virtual machines compute nothing.
        let emulated =
            ["0x1234", "0x1af4", "0x15ad", "0x1013", "0x80ee", "0x1414", "0x1b36"].contains(&vendor.as_str());
        let driver = fs::read_link(device.join("driver")).ok();
        let driver = driver.and_then(|link| Some(printable(&link.file_name()?.to_string_lossy(), 40)));
        let state = if emulated || driver.is_none() { CheckState::Note } else { CheckState::Ok };
        let held = driver.as_deref().unwrap_or("none");
        let kind = if emulated { "emulated display of a virtual machine" } else { name };
        let found =
            format!("{kind} {} (class {}), kernel driver {held}", printable(&vendor, 10), printable(&class, 10));
        facts.checks.push(Check::new(state, "on the PCI bus", found));
        if !emulated {
            facts.gpus.push(PciGpu { maker, driver });
        }
    }
    if facts.gpus.is_empty() {
        facts.checks.push(Check::new(CheckState::Note, "on the PCI bus", "no GPU"));
    }
}

fn device_files(computer: &Computer, facts: &mut Facts) {
    let mut nodes: Vec<PathBuf> = entries(&computer.at("/dev/dri"));
    nodes.retain(|path| name_of(path).starts_with("renderD"));
    facts.render_node = !nodes.is_empty();
    let nvidia = entries(&computer.at("/dev")).into_iter().filter(|path| name_of(path).starts_with("nvidia"));
    let nvidia: Vec<PathBuf> = nvidia.filter(|path| !path.is_dir()).collect();
    facts.nvidia_node = nvidia.iter().any(|path| name_of(path).chars().any(|c| c.is_ascii_digit()));
    nodes.extend(nvidia);
    nodes.extend([computer.at("/dev/kfd"), computer.at("/dev/dxg")].into_iter().filter(|path| path.exists()));
    for node in &nodes {
        let name = printable(&node.display().to_string(), 80);
        match fs::File::options().read(true).write(true).open(node) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                facts.checks.push(Check::new(CheckState::Problem, "device file", format!("{name}: permission denied")));
                facts.denied.push(name);
            }
            Err(error) => facts.checks.push(Check::new(CheckState::Note, "device file", format!("{name}: {error}"))),
            Ok(_) => facts.checks.push(Check::new(CheckState::Ok, "device file", format!("{name} can be opened"))),
        }
    }
    if nodes.is_empty() {
        facts.checks.push(Check::new(
            CheckState::Note,
            "device file",
            "none of /dev/dri/renderD*, /dev/nvidia*, /dev/kfd, /dev/dxg",
        ));
    }
}

fn loader(computer: &Computer, facts: &mut Facts) {
    let found = library(computer, "libvulkan.so.1");
    facts.loader = found.is_some();
    facts.checks.push(match found {
        Some(path) => Check::new(CheckState::Ok, "Vulkan loader", printable(&path.display().to_string(), 120)),
        None => {
            Check::new(CheckState::Problem, "Vulkan loader", "libvulkan.so.1 is not where libraries are looked for")
        }
    });
}

/// Where a library of this name lies, in the folders of `LD_LIBRARY_PATH`, the system's, and those of ld.so.conf.
fn library(computer: &Computer, name: &str) -> Option<PathBuf> {
    let set = (computer.variable)("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = set.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect();
    for base in ["/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib", "/run/opengl-driver/lib"] {
        let base = computer.at(base);
        // One level down as well: /usr/lib/x86_64-linux-gnu.
        folders.extend(entries(&base).into_iter().filter(|path| name_of(path).contains("-linux-") && path.is_dir()));
        folders.push(base);
    }
    for file in entries(&computer.at("/etc/ld.so.conf.d")) {
        let text = first_bytes(&file).unwrap_or_default();
        folders.extend(text.lines().filter(|line| line.starts_with('/')).map(|line| computer.at(line.trim())));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists())
}

/// The part of a driver's manifest that matters here.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "ICD")]
    icd: Icd,
}

#[derive(Deserialize)]
struct Icd {
    library_path: String,
}

fn manifests(computer: &Computer, facts: &mut Facts) {
    let variables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
    let set = variables.iter().find_map(|name| Some((*name, (computer.variable)(name)?)));
    let files: Vec<PathBuf> = match &set {
        Some((_, value)) => value.split(':').map(PathBuf::from).collect(),
        None => standard_manifests(computer),
    };
    if let Some((name, value)) = &set {
        facts.overridden_by = Some(name);
        let found = format!("{name} is set, so only these drivers are tried: {}", printable(value, 120));
        facts.checks.push(Check::new(CheckState::Note, "environment", found));
    }
    let mut any = false;
    for file in files {
        any = true;
        let name = printable(&file.display().to_string(), 120);
        match library_of(computer, &file) {
            Ok(library) => {
                let software = ["lvp", "lavapipe", "swiftshader", "swrast"]
                    .iter()
                    .any(|word| library.to_lowercase().contains(word) || name.to_lowercase().contains(word));
                let kind = if software { " (software)" } else { "" };
                facts.checks.push(Check::new(CheckState::Ok, "Vulkan driver", format!("{name}: {library}{kind}")));
                if !software {
                    facts.hardware_libraries.push(library.to_lowercase());
                }
            }
            Err(why) => {
                facts.checks.push(Check::new(CheckState::Problem, "Vulkan driver", format!("{name}: {why}")));
                facts.broken_manifests.push(name);
            }
        }
    }
    if !any {
        facts.checks.push(Check::new(
            CheckState::Problem,
            "Vulkan driver",
            "no manifest in /usr/share/vulkan/icd.d or /etc/vulkan/icd.d",
        ));
    }
}

fn standard_manifests(computer: &Computer) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"]
        .into_iter()
        .chain(["/run/opengl-driver/share/vulkan/icd.d"])
        .map(|folder| computer.at(folder))
        .collect();
    if let Some(home) = (computer.variable)("HOME") {
        folders.push(Path::new(&home).join(".local/share/vulkan/icd.d"));
    }
    let files = folders.iter().flat_map(|folder| entries(folder));
    files.filter(|file| file.extension().is_some_and(|ending| ending == "json")).collect()
}

/// The library that a manifest names, if it is there.
fn library_of(computer: &Computer, file: &Path) -> Result<String, String> {
    let text = first_bytes(file).ok_or("cannot be read")?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|_| "not a manifest of a Vulkan driver")?;
    let named = manifest.icd.library_path;
    let shown = printable(&named, 120);
    let there = if named.starts_with('/') {
        computer.at(&named).exists()
    } else if named.contains('/') {
        file.parent().is_some_and(|folder| folder.join(&named).exists())
    } else {
        library(computer, &named).is_some()
    };
    if there { Ok(shown) } else { Err(format!("its library {shown} is missing")) }
}

/// Names in a folder, sorted; empty where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = found.take(10_000).filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// The beginning of a text file.
fn first_bytes(path: &Path) -> Option<String> {
    let bytes = read_at_most(path, 64 << 10).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
