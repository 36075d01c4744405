//! What the probes' shaders compute, line by line, for the executor without a device.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of a shader have 32 bits")]

use crate::kernels::{Launch, Tensor, Tensors};

/// The bytes of an output of a probe; none for other kernels.
pub(super) fn result(launch: &Launch, buffer: &str, inputs: &Tensors, subgroups: u32) -> Vec<u8> {
    let param = |name: &str| launch.params.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value);
    let size = |name: &str| param(name) as usize;
    match (launch.shader, buffer) {
        ("probe_launch", _) => inputs["word"].bytes().to_vec(),
        ("probe_copy", _) => inputs["data"].bytes().to_vec(),
        ("probe_write", _) => {
            let seed = inputs["seed"].index_at(&[0]);
            (0..param("invocations") * 16).flat_map(|at| at.wrapping_add(seed).to_le_bytes()).collect()
        }
        ("probe_read", _) => sums(&inputs["data"], size("vectors"), size("invocations"), 1, 0),
        ("probe_cache", _) => {
            sums(&inputs["data"], size("vectors"), size("invocations"), size("passes"), size("shift"))
        }
        ("probe_fma", _) => {
            let [factor, addend] = ["factor", "addend"].map(|name| f32::from_bits(param(name)));
            let chain = |start: f32| (0..param("rounds") * 16).fold(start, |x, _| x * factor + addend);
            let finish = |x: f32| 4.0 * (chain(x) + chain(x + 0.125) + chain(x + 0.25));
            floats(numbers(&inputs["start"]).into_iter().map(finish))
        }
        ("probe_outer", _) => {
            let starts = numbers(&inputs["start"]);
            floats(starts.chunks_exact(4).map(|a| outer([a[0], a[1], a[2], a[3]], size("rounds") * 16)))
        }
        ("probe_dot", _) => {
            let starts = inputs["start"].bytes().chunks_exact(4).map(word);
            starts.flat_map(|first| dot(first, launch).to_le_bytes()).collect()
        }
        ("probe_matrix", "ran") => subgroups.to_le_bytes().repeat(launch.grid[0] as usize),
        ("probe_matrix", _) => {
            let (a, b) = (&inputs["a"], &inputs["b"]);
            let at = |chain: usize, row: usize, column: usize| -> f64 {
                (0..16).map(|i| a.at(&[0, row, i]) * b.at(&[chain, i, column])).sum()
            };
            let tile = |chain: usize| (0..256).map(move |place| at(chain, place / 16, place % 16) as f32);
            floats((0..4).flat_map(tile)).repeat((launch.grid[0] * param("subgroups")) as usize)
        }
        _ => Vec::new(),
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.bytes().chunks_exact(4).map(|bytes| f32::from_bits(word(bytes))).collect()
}

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

/// Every `invocations`-th vec4, from a place further on in each pass: the sum of a column of that many.
fn sums(data: &Tensor, vectors: usize, invocations: usize, passes: usize, shift: usize) -> Vec<u8> {
    let data = numbers(data);
    let mut columns = vec![[0f64; 4]; invocations];
    for (vector, values) in data.chunks_exact(4).take(vectors).enumerate() {
        columns[vector % invocations].iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let sum = |invocation: usize, lane: usize| {
        let starts = (0..passes).map(|pass| invocation + pass * shift);
        starts.map(|start| columns[start % invocations][lane]).sum::<f64>() as f32
    };
    floats((0..invocations).flat_map(|invocation| [0, 1, 2, 3].map(|lane| sum(invocation, lane))))
}

fn outer(a: [f32; 4], steps: usize) -> f32 {
    let (mut p, mut q) = ([a[3], a[2]], [a[0], a[1]]);
    let mut c = [a; 4];
    for step in 0..steps {
        for (i, row) in c.iter_mut().enumerate() {
            let b = [p[0], p[1], q[0], q[1]];
            row.iter_mut().zip(b).for_each(|(c, b)| *c += a[(i + step) % 4] * b);
        }
        p = [p[0] - q[0], p[1] - q[1]];
        q = [q[0] + p[0], q[1] + p[1]];
    }
    c.iter().flatten().sum()
}

fn dot(first: u32, launch: &Launch) -> u32 {
    let [rounds, factor, spread] = [0, 1, 2].map(|at| launch.params[at].1);
    let mut sums: [u32; 8] = std::array::from_fn(|k| first.wrapping_add((k as u32).wrapping_mul(spread)));
    for step in 0..rounds as usize * 16 {
        let x = sums[step % 8].to_le_bytes();
        for k in (1..=8).map(|k| (step + k) % 8) {
            let f = (factor ^ ((k + step) as u32 % 8).wrapping_mul(0x0905_0301)).to_le_bytes();
            let products = x.iter().zip(f).map(|(x, f)| i32::from(x.cast_signed()) * i32::from(f.cast_signed()));
            sums[k] = sums[k].wrapping_add(products.sum::<i32>().cast_unsigned());
        }
    }
    sums.iter().fold(0, |mixed, sum| mixed ^ sum)
}
