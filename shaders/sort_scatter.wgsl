// Sort of token slots by expert, launch 3 of 3: each slot to its row, in the order of slots (stable, so the result is
// the same in every run). One workgroup a chunk of WORKGROUP slots, the chunks of launch 1.
override WORKGROUP: u32 = 256u;

struct Params {
    slots: u32,
    experts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_of_slot: array<u32>;    // [slots]
@group(0) @binding(2) var<storage, read> chunk_count: array<u32>;       // [chunks, experts]: first row
@group(0) @binding(3) var<storage, read_write> slot_of_row: array<u32>; // [rows]
@group(0) @binding(4) var<storage, read_write> row_of_slot: array<u32>; // [slots]

var<workgroup> expert_here: array<u32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = group.x * WORKGROUP + local;
    if slot < params.slots {
        expert_here[local] = expert_of_slot[slot];
    }
    workgroupBarrier();
    if slot >= params.slots {
        return;
    }
    let expert = expert_here[local];
    var row = chunk_count[group.x * params.experts + expert];
    for (var before = 0u; before < local; before++) {
        row += select(0u, 1u, expert_here[before] == expert);
    }
    slot_of_row[row] = slot;
    row_of_slot[slot] = row;
}
