// Sort of token slots by expert, launch 2 of 3: turns counts into positions. One workgroup. The rows of each expert
// begin at a multiple of row_tile. block_expert holds the expert of each block of row_tile rows. slot_of_row is set to
// NONE, which padding rows keep.
override WORKGROUP: u32 = 256u;

const MAX_EXPERTS: u32 = 512u;
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    experts: u32,
    chunks: u32,
    row_tile: u32,
    row_blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> chunk_count: array<u32>;  // [chunks, experts]: count in, first row out
@group(0) @binding(2) var<storage, read_write> expert_rows: array<u32>;  // [experts]: slots per expert
@group(0) @binding(3) var<storage, read_write> block_expert: array<u32>; // [row_blocks]
@group(0) @binding(4) var<storage, read_write> slot_of_row: array<u32>;  // [row_blocks * row_tile]

var<workgroup> first_block: array<u32, MAX_EXPERTS + 1>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var e = local; e < params.experts; e += WORKGROUP) {
        var total = 0u;
        for (var chunk = 0u; chunk < params.chunks; chunk++) {
            total += chunk_count[chunk * params.experts + e];
        }
        expert_rows[e] = total;
        first_block[e + 1u] = (total + params.row_tile - 1u) / params.row_tile;
    }
    workgroupBarrier();
    if local == 0u {
        first_block[0] = 0u;
        for (var e = 0u; e < params.experts; e++) {
            first_block[e + 1u] += first_block[e];
        }
    }
    workgroupBarrier();
    for (var e = local; e < params.experts; e += WORKGROUP) {
        var row = first_block[e] * params.row_tile;
        for (var chunk = 0u; chunk < params.chunks; chunk++) {
            let at = chunk * params.experts + e;
            let count = chunk_count[at];
            chunk_count[at] = row;
            row += count;
        }
        for (var block = first_block[e]; block < first_block[e + 1u]; block++) {
            block_expert[block] = e;
        }
    }
    for (var block = first_block[params.experts] + local; block < params.row_blocks; block += WORKGROUP) {
        block_expert[block] = NONE;
    }
    for (var row = local; row < params.row_blocks * params.row_tile; row += WORKGROUP) {
        slot_of_row[row] = NONE;
    }
}
