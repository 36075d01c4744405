// Sizes of subgroups as a kernel sees them: what the driver says, and how many invocations a sum over the subgroup counts.
// Adapters report a range that may be far wider than what runs.
@group(0) @binding(0) var<storage, read_write> sizes: array<vec2<u32>>; // [workgroups, 256]

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_size) size: u32,
) {
    sizes[group.x * 256u + lane] = vec2(size, subgroupAdd(1u));
}
