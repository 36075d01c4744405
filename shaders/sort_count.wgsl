// Sort of token slots by expert, launch 1 of 3: counts the slots of each chunk per expert. One workgroup per chunk of
// WORKGROUP slots.
override WORKGROUP: u32 = 256u;

const MAX_EXPERTS: u32 = 512u;

struct Params {
    slots: u32,
    experts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_of_slot: array<u32>;    // [slots]
@group(0) @binding(2) var<storage, read_write> chunk_count: array<u32>; // [chunks, experts]

var<workgroup> count: array<atomic<u32>, MAX_EXPERTS>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    for (var e = local; e < params.experts; e += WORKGROUP) {
        atomicStore(&count[e], 0u);
    }
    workgroupBarrier();
    let slot = group.x * WORKGROUP + local;
    if slot < params.slots {
        atomicAdd(&count[expert_of_slot[slot]], 1u);
    }
    workgroupBarrier();
    for (var e = local; e < params.experts; e += WORKGROUP) {
        chunk_count[group.x * params.experts + e] = atomicLoad(&count[e]);
    }
}
