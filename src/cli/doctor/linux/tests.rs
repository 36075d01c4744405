use super::*;
use crate::cli::doctor::adapters::Adapters;
use crate::cli::doctor::advice;

/// A computer made of files.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn gpu(self, vendor: &str, driver: Option<&str>) -> Self {
        let made = self
            .file("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
            .file("/sys/bus/pci/devices/0000:01:00.0/vendor", &format!("{vendor}\n"));
        #[cfg(unix)]
        if let Some(driver) = driver {
            let link = made.0.path().join("sys/bus/pci/devices/0000:01:00.0/driver");
            std::os::unix::fs::symlink(format!("/sys/bus/pci/drivers/{driver}"), link).unwrap();
        }
        made
    }

    fn loader(self) -> Self {
        self.file("/usr/lib/x86_64-linux-gnu/libvulkan.so.1", "")
    }

    fn manifest(self, name: &str, library: &str) -> Self {
        let text = format!(r#"{{"file_format_version": "1.0.0", "ICD": {{"library_path": "{library}"}}}}"#);
        self.file(&format!("/usr/share/vulkan/icd.d/{name}.json"), &text)
    }

    fn looked(&self) -> Facts {
        look(&Computer { root: self.0.path().to_path_buf(), variable: |_| None })
    }

    fn advised(&self, adapters: Adapters) -> String {
        advice::on(adapters, &self.looked(), "linux").join("\n")
    }
}

#[test]
fn the_owner_of_a_bare_computer_is_advised_to_get_loader_driver_and_gpu() {
    let told = Made::new().advised(Adapters::None);
    for part in ["libvulkan1", "No GPU is on the PCI bus", "mesa-vulkan-drivers"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[cfg(unix)]
#[test]
fn each_driver_s_gap_has_its_own_advice() {
    let nouveau = Made::new().loader().gpu("0x10de", Some("nouveau")).advised(Adapters::SoftwareOnly);
    assert!(nouveau.contains("nouveau") && nouveau.contains("nvidia-vulkan-icd"), "{nouveau}");
    let no_vulkan = Made::new().loader().gpu("0x10de", Some("nvidia")).advised(Adapters::None);
    assert!(no_vulkan.contains("its Vulkan part is missing"), "{no_vulkan}");
    let unbound = Made::new().loader().gpu("0x10de", None).advised(Adapters::None);
    assert!(unbound.contains("No driver holds the NVIDIA GPU"), "{unbound}");
    let amd = Made::new().loader().gpu("0x1002", Some("amdgpu")).advised(Adapters::None);
    assert!(amd.contains("vulkan-radeon"), "{amd}");
    let intel = Made::new().loader().gpu("0x8086", None).advised(Adapters::None);
    assert!(intel.contains("i915"), "{intel}");
}

#[test]
fn an_emulated_display_is_no_gpu() {
    let made = Made::new().loader().gpu("0x1234", None);
    assert!(made.looked().gpus.is_empty());
    assert!(made.advised(Adapters::None).contains("No GPU is on the PCI bus"));
}

#[test]
fn a_container_without_devices_is_told_how_to_get_them() {
    let told = Made::new().loader().file("/.dockerenv", "").advised(Adapters::SoftwareOnly);
    assert!(told.contains("--gpus all") && told.contains("--device /dev/dri"), "{told}");
}

#[test]
fn wsl_is_told_of_dzn_and_of_the_windows_build() {
    let made = Made::new().file("/proc/version", "Linux version 5.15.0-microsoft-standard-WSL2");
    let facts = made.looked();
    assert!(facts.wsl && !facts.dxg);
    let told = made.advised(Adapters::None);
    assert!(told.contains("dzn") && told.contains("wsl --update") && told.contains("Direct3D 12"), "{told}");
}

#[test]
fn manifests_are_software_hardware_or_broken() {
    let made = Made::new()
        .loader()
        .file("/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so", "")
        .manifest("lvp", "/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so");
    assert!(made.looked().hardware_libraries.is_empty() && made.looked().broken_manifests.is_empty());
    let made = made
        .manifest("radeon", "libvulkan_radeon.so")
        .file("/usr/share/vulkan/icd.d/bad.json", "{\"ICD\": \"\u{1b}[31m\"}");
    let facts = made.looked();
    assert!(!facts.has_driver_of(Maker::Amd), "its library is missing");
    assert_eq!(facts.broken_manifests.len(), 2);
    assert!(facts.checks.iter().all(|check| !check.found.contains(char::is_control)));
    let made = made.file("/usr/lib/x86_64-linux-gnu/libvulkan_radeon.so", "");
    assert!(made.looked().has_driver_of(Maker::Amd) && !made.looked().has_driver_of(Maker::Nvidia));
}

#[test]
fn a_variable_that_limits_the_drivers_is_told() {
    let made = Made::new().loader();
    let variable = |name: &str| (name == "VK_ICD_FILENAMES").then(|| "/nowhere.json".to_owned());
    let facts = look(&Computer { root: made.0.path().to_path_buf(), variable });
    assert_eq!(facts.overridden_by, Some("VK_ICD_FILENAMES"));
    assert!(advice::on(Adapters::None, &facts, "linux")[0].contains("VK_ICD_FILENAMES"));
}

#[test]
fn every_system_gets_advice_and_a_found_gpu_none() {
    let facts = Facts::default();
    for os in ["macos", "windows", "freebsd", "linux"] {
        assert!(!advice::on(Adapters::None, &facts, os).is_empty(), "{os}");
        assert_eq!(advice::on(Adapters::Gpu, &facts, os), Vec::<String>::new());
    }
    assert!(advice::on(Adapters::NotBuilt, &facts, "linux")[0].contains("cargo install"));
}
