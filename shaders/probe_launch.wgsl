// Cost of a launch: one workgroup writes one word.
@group(0) @binding(0) var<storage, read> word: array<u32>;
@group(0) @binding(1) var<storage, read_write> echo: array<u32>;

@compute @workgroup_size(1, 1, 1)
fn main() {
    echo[0] = word[0];
}
