//! Everything that an adapter reports, for a bug report.

use std::collections::BTreeMap;

use serde::Serialize;

use super::describe::scalar_name;
use super::memory::{Heap, heaps};
use super::types::{Gpu, Listed};

/// What an adapter reports and no choice of kernels depends on.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterReport {
    /// Every feature of it, under wgpu's names.
    pub features: Vec<&'static str>,
    /// Every limit of it, under wgpu's names; bytes where they are sizes.
    pub limits: BTreeMap<&'static str, u64>,
    /// What of WebGPU it can do, under wgpu's names.
    pub downlevel: Vec<&'static str>,
    /// The shapes of cooperative matrices that it multiplies, whether kernels use them or not.
    pub cooperative_matrices: Vec<MatrixShape>,
    /// Its heaps, where it is Vulkan's.
    pub memory_heaps: Vec<Heap>,
}

/// Rows `m`, columns `n` and depth `k` of a product of cooperative matrices, and its types.
#[derive(Debug, Clone, Serialize)]
pub struct MatrixShape {
    /// Rows of the left operand and of the sums.
    pub m: u32,
    /// Columns of the right operand and of the sums.
    pub n: u32,
    /// Columns of the left operand, rows of the right one.
    pub k: u32,
    /// Type of the operands.
    pub operands: &'static str,
    /// Type of the sums.
    pub sums: &'static str,
    /// Whether sums can be clamped instead of overflowing.
    pub saturating: bool,
}

/// What only an open device reports.
#[derive(Debug, Clone, Serialize)]
pub struct OpenReport {
    /// Length of a timestamp tick; absent without timestamp queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_period_ns: Option<f64>,
    /// What did not work out at opening, and what was done about it.
    pub notes: Vec<String>,
}

impl Listed {
    /// Everything that the adapter reports without being opened.
    pub fn report(&self) -> AdapterReport {
        let shapes = self.adapter.cooperative_matrix_properties().into_iter().map(|p| MatrixShape {
            m: p.m_size,
            n: p.n_size,
            k: p.k_size,
            operands: scalar_name(p.ab_type),
            sums: scalar_name(p.cr_type),
            saturating: p.saturating_accumulation,
        });
        AdapterReport {
            features: self.adapter.features().iter_names().map(|(name, _)| name).collect(),
            limits: limits(&self.adapter.limits()),
            downlevel: self.adapter.get_downlevel_capabilities().flags.iter_names().map(|(name, _)| name).collect(),
            cooperative_matrices: shapes.collect(),
            memory_heaps: heaps(&self.adapter),
        }
    }
}

impl Gpu {
    /// What the device reports now that it is open.
    pub fn report(&self) -> OpenReport {
        OpenReport { timestamp_period_ns: self.timestamp_period_ns, notes: self.notes.clone() }
    }
}

/// Names and values of all fields; a field that is not listed does not compile.
macro_rules! named {
    ($limits:expr; $($name:ident),* $(,)?) => {{
        let wgpu::Limits { $($name),* } = $limits;
        BTreeMap::from([$((stringify!($name), u64::from(*$name))),*])
    }};
}

fn limits(limits: &wgpu::Limits) -> BTreeMap<&'static str, u64> {
    named! { limits;
        max_texture_dimension_1d, max_texture_dimension_2d, max_texture_dimension_3d, max_texture_array_layers,
        max_bind_groups, max_bind_groups_plus_vertex_buffers, max_bindings_per_bind_group,
        max_dynamic_uniform_buffers_per_pipeline_layout, max_dynamic_storage_buffers_per_pipeline_layout,
        max_sampled_textures_per_shader_stage, max_samplers_per_shader_stage, max_storage_buffers_per_shader_stage,
        max_storage_textures_per_shader_stage, max_uniform_buffers_per_shader_stage,
        max_binding_array_elements_per_shader_stage, max_binding_array_acceleration_structure_elements_per_shader_stage,
        max_binding_array_sampler_elements_per_shader_stage, max_uniform_buffer_binding_size,
        max_storage_buffer_binding_size, max_vertex_buffers, max_buffer_size, max_vertex_attributes,
        max_vertex_buffer_array_stride, max_inter_stage_shader_variables, min_uniform_buffer_offset_alignment,
        min_storage_buffer_offset_alignment, max_color_attachments, max_color_attachment_bytes_per_sample,
        max_compute_workgroup_storage_size, max_compute_invocations_per_workgroup, max_compute_workgroup_size_x,
        max_compute_workgroup_size_y, max_compute_workgroup_size_z, max_compute_workgroups_per_dimension,
        max_immediate_size, max_non_sampler_bindings, max_task_workgroup_total_count, max_task_workgroups_per_dimension,
        max_mesh_workgroup_total_count, max_mesh_workgroups_per_dimension, max_task_invocations_per_workgroup,
        max_task_invocations_per_dimension, max_mesh_invocations_per_workgroup, max_mesh_invocations_per_dimension,
        max_task_payload_size, max_mesh_output_vertices, max_mesh_output_primitives, max_mesh_output_layers,
        max_mesh_multiview_view_count, max_blas_primitive_count, max_blas_geometry_count, max_tlas_instance_count,
        max_acceleration_structures_per_shader_stage, max_buffers_and_acceleration_structures_per_shader_stage,
        max_multiview_view_count, max_ray_dispatch_count, max_ray_recursion_depth,
    }
}
