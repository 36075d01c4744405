//! A Vulkan device that compiles and says what came out. Nothing is submitted.

use std::ffi::{CStr, CString};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use ash::{ext, khr, vk};
use serde::{Deserialize, Serialize};

/// The first device of the loader, opened with every feature that it has.
pub struct Device {
    // Keeps the loaded library.
    _entry: ash::Entry,
    instance: ash::Instance,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// What it is.
    pub facts: Facts,
}

/// What a device says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// The device's name.
    pub device: String,
    /// The driver, whose compiler it is.
    pub driver: String,
    /// The driver's version.
    pub driver_version: String,
    /// Invocations of its smallest and largest subgroup.
    pub subgroup: [u32; 2],
    /// Bytes of workgroup memory that one workgroup may have.
    pub workgroup_bytes: u32,
    /// Whether shaders compute in f16.
    pub f16: bool,
    /// Sizes of square f16 matrices with f32 sums.
    pub matrices: Vec<u32>,
}

/// A compute shader as a driver takes it.
#[derive(Debug, Clone)]
pub struct Shader {
    /// SPIR-V.
    pub words: Vec<u32>,
    /// The entry point.
    pub entry: String,
    /// Bindings of descriptor set 0: number, and whether it is a uniform.
    pub bindings: Vec<(u32, bool)>,
    /// Bytes of push constants.
    pub push_bytes: u32,
    /// Specialisation constants: id, and value as 32 bits.
    pub constants: Vec<(u32, u32)>,
    /// A fixed width of subgroups, where the program asks for one.
    pub subgroup: Option<u32>,
}

/// What a compiler made of a shader.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Seconds that the creation of the pipeline took.
    pub seconds: f64,
    /// The driver's statistics by its own names.
    pub statistics: Vec<(String, f64)>,
    /// Its internal texts by name: the assembly among them, where there is one.
    pub texts: Vec<(String, String)>,
    /// Invocations of a subgroup in this pipeline.
    pub subgroup: u32,
}

impl Device {
    /// Opens the first device; `robust` asks for the bounds checks of buffers that wgpu asks for.
    pub fn open(robust: bool) -> Result<Self> {
        // SAFETY: the handles are made and used in order, and live as long as this value.
        unsafe {
            let entry = ash::Entry::load().context("no Vulkan loader")?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&app), None)?;
            let physical = *instance.enumerate_physical_devices()?.first().context("no Vulkan device")?;
            let facts = facts(&entry, &instance, physical);
            let offered: Vec<CString> = instance
                .enumerate_device_extension_properties(physical)?
                .iter()
                .filter_map(|e| Some(e.extension_name_as_c_str().ok()?.to_owned()))
                .collect();
            let has = |name: &CStr| offered.iter().any(|o| o.as_c_str() == name);
            if !has(khr::pipeline_executable_properties::NAME) {
                bail!("{} has no VK_KHR_pipeline_executable_properties", facts.device);
            }
            let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
            let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let mut all = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13)
                .push_next(&mut executables);
            let mut names = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
            if has(khr::cooperative_matrix::NAME) {
                names.push(khr::cooperative_matrix::NAME.as_ptr());
                all = all.push_next(&mut matrices);
            }
            if robust && has(ext::robustness2::NAME) {
                names.push(ext::robustness2::NAME.as_ptr());
                all = all.push_next(&mut robustness);
            }
            instance.get_physical_device_features2(physical, &mut all);
            if !robust {
                all.features.robust_buffer_access = vk::FALSE;
            }
            // As wgpu does it, where one feature stands for both.
            let queue = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&names)
                .push_next(&mut all);
            let device = instance.create_device(physical, &create, None)?;
            let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { _entry: entry, instance, device, executables, facts })
        }
    }

    /// Compiles a shader. With `texts` the driver's internal texts come too.
    pub fn compile(&self, shader: &Shader, texts: bool) -> Result<Compiled> {
        // SAFETY: as above; what is made here is destroyed at the end.
        unsafe {
            let module =
                self.device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&shader.words), None)?;
            let bindings: Vec<_> = shader
                .bindings
                .iter()
                .map(|&(binding, uniform)| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(binding)
                        .descriptor_count(1)
                        .descriptor_type(if uniform {
                            vk::DescriptorType::UNIFORM_BUFFER
                        } else {
                            vk::DescriptorType::STORAGE_BUFFER
                        })
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                })
                .collect();
            let set = self.device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?;
            let push = [vk::PushConstantRange {
                stage_flags: vk::ShaderStageFlags::COMPUTE,
                offset: 0,
                size: shader.push_bytes,
            }];
            let layout = self.device.create_pipeline_layout(
                &vk::PipelineLayoutCreateInfo::default()
                    .set_layouts(&[set])
                    .push_constant_ranges(if shader.push_bytes == 0 { &[] } else { &push }),
                None,
            )?;
            let entry = CString::new(shader.entry.as_str())?;
            let values: Vec<u8> = shader.constants.iter().flat_map(|(_, value)| value.to_le_bytes()).collect();
            let entries: Vec<_> = (0u32..)
                .zip(&shader.constants)
                .map(|(i, (id, _))| vk::SpecializationMapEntry { constant_id: *id, offset: 4 * i, size: 4 })
                .collect();
            let special = vk::SpecializationInfo::default().map_entries(&entries).data(&values);
            let mut width = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default()
                .required_subgroup_size(shader.subgroup.unwrap_or(0));
            let mut stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry)
                .specialization_info(&special);
            if shader.subgroup.is_some() {
                stage = stage.push_next(&mut width);
            } else if self.facts.subgroup[0] != self.facts.subgroup[1] {
                stage = stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
            }
            let mut flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
            if texts {
                flags |= vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            }
            let create = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags);
            let began = Instant::now();
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let seconds = began.elapsed().as_secs_f64();
            let result = match made {
                Err((_, error)) => Err(error.into()),
                Ok(made) => {
                    let read = self.read(made[0], seconds, texts);
                    self.device.destroy_pipeline(made[0], None);
                    read
                }
            };
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(set, None);
            self.device.destroy_shader_module(module, None);
            result
        }
    }

    unsafe fn read(&self, pipeline: vk::Pipeline, seconds: f64, with_texts: bool) -> Result<Compiled> {
        // SAFETY: the pipeline is alive, and was made with the flags that these calls need.
        unsafe {
            let (raw, device) = (self.executables.fp(), self.device.handle());
            let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let mut count = 0;
            (raw.get_pipeline_executable_properties_khr)(device, &info, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutablePropertiesKHR::default(); count as usize];
            (raw.get_pipeline_executable_properties_khr)(device, &info, &mut count, found.as_mut_ptr()).result()?;
            // Turnip keeps the compute shader first as well.
            let subgroup = found.first().context("the pipeline has no executable")?.subgroup_size;
            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
            let mut count = 0;
            (raw.get_pipeline_executable_statistics_khr)(device, &info, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutableStatisticKHR::default(); count as usize];
            (raw.get_pipeline_executable_statistics_khr)(device, &info, &mut count, found.as_mut_ptr()).result()?;
            let statistics = found.iter().map(|s| (text(&s.name), number(s))).collect();
            let mut texts = Vec::new();
            if with_texts {
                let mut count = 0;
                let read = raw.get_pipeline_executable_internal_representations_khr;
                read(device, &info, &mut count, std::ptr::null_mut()).result()?;
                let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
                read(device, &info, &mut count, found.as_mut_ptr()).result()?;
                let mut data: Vec<Vec<u8>> = found.iter().map(|f| vec![0; f.data_size]).collect();
                for (one, data) in found.iter_mut().zip(&mut data) {
                    one.p_data = data.as_mut_ptr().cast();
                }
                read(device, &info, &mut count, found.as_mut_ptr()).result()?;
                for (one, data) in found.iter().zip(&data) {
                    let body = String::from_utf8_lossy(data).trim_end_matches('\0').to_owned();
                    texts.push((text(&one.name), body));
                }
            }
            Ok(Compiled { seconds, statistics, texts, subgroup })
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: nothing of the device is in use.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(statistic: &vk::PipelineExecutableStatisticKHR<'_>) -> f64 {
    // SAFETY: the format says which field of the union is set.
    unsafe {
        match statistic.format {
            vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(statistic.value.b32),
            vk::PipelineExecutableStatisticFormatKHR::INT64 => statistic.value.i64 as f64,
            vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => statistic.value.f64,
            _ => statistic.value.u64 as f64,
        }
    }
}

unsafe fn facts(entry: &ash::Entry, instance: &ash::Instance, physical: vk::PhysicalDevice) -> Facts {
    // SAFETY: the device belongs to the instance.
    unsafe {
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut sizes = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
        let mut all = vk::PhysicalDeviceProperties2::default().push_next(&mut driver).push_next(&mut sizes);
        instance.get_physical_device_properties2(physical, &mut all);
        let properties = all.properties;
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
        let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut v12);
        instance.get_physical_device_features2(physical, &mut features);
        let load = khr::cooperative_matrix::Instance::new(entry, instance);
        let is_ours = |m: &vk::CooperativeMatrixPropertiesKHR<'_>| {
            m.m_size == m.n_size
                && m.n_size == m.k_size
                && m.a_type == vk::ComponentTypeKHR::FLOAT16
                && m.b_type == vk::ComponentTypeKHR::FLOAT16
                && m.c_type == vk::ComponentTypeKHR::FLOAT32
                && m.result_type == vk::ComponentTypeKHR::FLOAT32
        };
        let has_matrices = instance
            .enumerate_device_extension_properties(physical)
            .is_ok_and(|all| all.iter().any(|e| e.extension_name_as_c_str() == Ok(khr::cooperative_matrix::NAME)));
        let listed = if has_matrices {
            load.get_physical_device_cooperative_matrix_properties(physical).unwrap_or_default()
        } else {
            Vec::new()
        };
        let mut matrices: Vec<u32> = listed.iter().filter(|m| is_ours(m)).map(|m| m.m_size).collect();
        matrices.sort_unstable();
        matrices.dedup();
        Facts {
            device: text(&properties.device_name),
            driver: text(&driver.driver_name),
            driver_version: text(&driver.driver_info),
            subgroup: [sizes.min_subgroup_size, sizes.max_subgroup_size],
            workgroup_bytes: properties.limits.max_compute_shared_memory_size,
            f16: v12.shader_float16 == vk::TRUE,
            matrices,
        }
    }
}
