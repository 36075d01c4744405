// Sizes of subgroups as a kernel sees them: the size that the driver reports, and the invocations that a sum over the
// subgroup counts. Adapters report a range that may be far wider than the sizes that run.
@group(0) @binding(0) var<storage, read_write> sizes: array<vec2<u32>>; // [workgroups, 256]

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_size) size: u32,
) {
    sizes[group.x * 256u + lane] = vec2(size, subgroupAdd(1u));
}
