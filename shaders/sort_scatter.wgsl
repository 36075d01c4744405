// Sort of token slots by expert, launch 3 of 3: writes each slot to its row, in the order of slots. The sort is stable,
// so every run gives the same result. One workgroup per chunk of WORKGROUP slots; the chunks are those of launch 1.
override WORKGROUP: u32 = 256u; // a multiple of 4

struct Params {
    slots: u32,
    experts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_of_slot: array<u32>;    // [slots]
@group(0) @binding(2) var<storage, read> chunk_count: array<u32>;       // [chunks, experts]: first row
@group(0) @binding(3) var<storage, read_write> slot_of_row: array<u32>; // [rows]
@group(0) @binding(4) var<storage, read_write> row_of_slot: array<u32>; // [slots]

var<workgroup> expert_here: array<vec4<u32>, WORKGROUP / 4u>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = group.x * WORKGROUP + local;
    if local < WORKGROUP / 4u {
        let at = group.x * WORKGROUP + 4u * local;
        let last = params.slots - 1u;
        expert_here[local] = vec4(
            expert_of_slot[min(at, last)],
            expert_of_slot[min(at + 1u, last)],
            expert_of_slot[min(at + 2u, last)],
            expert_of_slot[min(at + 3u, last)],
        );
    }
    workgroupBarrier();
    if slot >= params.slots {
        return;
    }
    let expert = expert_here[local / 4u][local % 4u];
    var row = chunk_count[group.x * params.experts + expert];
    for (var before = 0u; before < local / 4u; before++) {
        let equal = select(vec4<u32>(), vec4(1u), expert_here[before] == vec4(expert));
        row += equal.x + equal.y + equal.z + equal.w;
    }
    // Of the last four slots, those before this one.
    let last = select(vec4<u32>(), vec4(1u), expert_here[local / 4u] == vec4(expert));
    for (var before = 0u; before < local % 4u; before++) {
        row += last[before];
    }
    slot_of_row[row] = slot;
    row_of_slot[slot] = row;
}
