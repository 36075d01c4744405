#!/usr/bin/env python3
"""What PyTorch reaches at the shapes of a record, on the GPU that the record is of.

    python3 torch_ceiling.py ../../results/<record>.json
    python3 torch_ceiling.py record.json --only prefill --dtype bf16 --json

PyTorch hands matmul to cuBLAS and attention to its fused kernels: the vendor's ceiling. For each kernel, type and shape of the
record the fastest variant stands beside PyTorch's median, timed with CUDA events over operands that rotate through more
memory than the L2 cache holds. Experts are compared at equal rows an expert, and gate_up against the two matmuls without the
SwiGLU: both favour PyTorch. With --device cpu the script runs on the CPU, which is good for trying it and nothing else.
"""

import argparse
import json
import math
import statistics
import sys
import time

try:
    import torch
    from torch.nn import functional
except ImportError:
    sys.exit("error: this needs PyTorch (pip install torch), on the machine with the GPU")

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# PyTorch has no matmul of these with our scales: bf16 is what a user would run instead.
STAND_IN = {"int8": "bf16", "int4": "bf16"}


def main():
    args = arguments()
    record = load(args.record)
    device = open_device(args.device)
    clock = CudaClock() if device.type == "cuda" else WallClock()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    ours_name = record["device"]["name"]
    if name.lower() not in ours_name.lower() and ours_name.lower() not in name.lower():
        print(f"warning: the record is of {ours_name}, PyTorch runs on {name}: the ratios mean nothing", file=sys.stderr)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    rows = []
    for case in fastest_cases(record, args.only):
        row = compare(case, args, device, clock)
        rows.append(row)
        if not args.json:
            print(f"{case['kernel']} {case['element']} {shape_text(case)}", file=sys.stderr)
    if not rows:
        sys.exit("error: no case of the record is left to compare")
    if args.json:
        document = {"record": args.record, "record_device": ours_name, "torch_device": name, "torch": torch.__version__, "cases": rows}
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        show(rows, name, clock)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="a document that `supernode measure` wrote")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (default: cuda)")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="PyTorch's type, whatever the record's (default: the same)")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="only cases whose id contains this")
    parser.add_argument("--samples", type=int, default=25, help="samples a case (default: 25)")
    parser.add_argument("--seconds", type=float, default=3.0, help="stop a case after this long, with 5 samples at least")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.samples < 1:
        parser.error("--samples must be 1 or more")
    return args


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        record["device"]["name"], record["cases"]
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {path} is no record of supernode: {error}")


def open_device(wanted):
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        sys.exit(f"error: --device {wanted}: {str(error).splitlines()[0]}")


def fastest_cases(record, only):
    """The fastest variant of each kernel, type and shape, in the record's order."""
    best = {}
    for case in record["cases"]:
        if only and not any(part in case["id"] for part in only):
            continue
        key = (case["kernel"], case["element"], tuple(sorted(case["shape"].items())))
        if key not in best or case["timing"]["median_s"] < best[key]["timing"]["median_s"]:
            best[key] = case
    return list(best.values())


def shape_text(case):
    return ", ".join(f"{name} {size}" for name, size in sorted(case["shape"].items()))


def compare(case, args, device, clock):
    row = {"id": case["id"], "kernel": case["kernel"], "element": case["element"], "variant": case["variant"], "shape": case["shape"]}
    row["ours_s"] = case["timing"]["median_s"]
    row["ours_ci95_s"] = case["timing"]["ci95_s"]
    dtype_name = args.dtype or STAND_IN.get(case["element"], case["element"])
    row["torch_dtype"] = dtype_name
    build = OPERATIONS.get(case["kernel"])
    if build is None or dtype_name not in DTYPES:
        row["problem"] = "PyTorch has no such operation"
        return row
    try:
        make, run, reference = build(case["shape"], DTYPES[dtype_name], device)
        check(make, run, reference, DTYPES[dtype_name])
        samples = sample(make, run, device, clock, args)
    except (RuntimeError, ValueError) as error:
        row["problem"] = str(error).splitlines()[0]
        return row
    row["torch_s"] = statistics.median(samples)
    row["torch_quartiles_s"] = quartiles(samples)
    row["samples_s"] = samples
    # Above 1 ours is faster.
    row["ratio"] = row["torch_s"] / row["ours_s"]
    low, high = row["torch_quartiles_s"]
    ours_low, ours_high = row["ours_ci95_s"]
    row["ratio_spread"] = [low / ours_high, high / ours_low]
    return row


def quartiles(samples):
    if len(samples) < 2:
        return [samples[0], samples[0]]
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return [low, high]


# Operations: each gives a maker of operands, the call that is timed, and a float64 answer for one set of operands.


def random(device, dtype, *dims, scale=1.0):
    return (torch.randn(*dims, device=device) * scale).to(dtype)


def matmul(columns_factor):
    def build(shape, dtype, device):
        experts, k = shape["experts"], shape["k"]
        columns = shape["n"] * columns_factor
        rows = math.ceil(shape["tokens"] * shape.get("top_k", 1) / experts)
        lead = () if experts == 1 else (experts,)

        def make():
            a = random(device, dtype, *lead, rows, k)
            return a, random(device, dtype, *lead, k, columns, scale=k**-0.5)

        return make, torch.matmul, lambda a, b: torch.matmul(a.double(), b.double())

    return build


def attention(q_len, batch):
    def build(shape, dtype, device):
        heads, kv_heads, dim, keys = shape["heads"], shape["kv_heads"], shape["head_dim"], shape["kv_len"]
        queries = shape[q_len] if q_len else 1
        sequences = shape[batch] if batch else 1
        grouped = heads != kv_heads
        causal = queries > 1
        mask = None
        if causal and queries != keys:
            # The last queries of a longer cache: SDPA's own causal flag would align them with the first keys.
            mask = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
            causal = False

        def make():
            q = random(device, dtype, sequences, heads, queries, dim)
            k = random(device, dtype, sequences, kv_heads, keys, dim)
            return q, k, random(device, dtype, sequences, kv_heads, keys, dim)

        def run(q, k, v):
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)

        def reference(q, k, v):
            group = heads // kv_heads
            k, v = (x[:1].double().repeat_interleave(group, dim=1) for x in (k, v))
            scores = q[:1].double() @ k.transpose(-1, -2) / math.sqrt(dim)
            if queries > 1:
                visible = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
                scores = scores.masked_fill(~visible, -math.inf)
            return torch.softmax(scores, dim=-1) @ v

        return make, run, reference

    return build


def gate(shape, dtype, device):
    def make():
        return (random(device, torch.float32, shape["tokens"], shape["experts"]),)

    def run(logits):
        return torch.topk(torch.softmax(logits, dim=-1), shape["top_k"], dim=-1).values

    return make, run, lambda logits: torch.topk(torch.softmax(logits.double(), -1), shape["top_k"], -1).values


OPERATIONS = {
    "dense": matmul(1),
    "down": matmul(1),
    "gate_up": matmul(2),
    "router_logits": matmul(1),
    "prefill": attention("q_len", None),
    "decode": attention(None, "sequences"),
    "softmax_topk": gate,
    "softmax_topk_renorm": gate,
}


def check(make, run, reference, dtype):
    """PyTorch against float64, so that both sides of a ratio are right. A batch's first sequence stands for all."""
    operands = make()
    got = run(*operands)
    want = reference(*operands)
    got = got[: want.shape[0]].double()
    error = (torch.linalg.vector_norm(got - want) / torch.linalg.vector_norm(want)).item()
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}[dtype]
    if not error <= tolerance:
        raise ValueError(f"PyTorch's result is off by {error:.1e}, more than {tolerance:.1e}")


class CudaClock:
    name = "CUDA events"

    def time(self, calls):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3


class WallClock:
    name = "wall clock"

    def time(self, calls):
        begin = time.perf_counter()
        for call in calls:
            call()
        return time.perf_counter() - begin


def rotation_bytes(device):
    if device.type != "cuda":
        return 64 << 20
    cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
    return max(4 * cache, 256 << 20)


def sample(make, run, device, clock, args):
    """Seconds of one call, `args.samples` times; operands rotate past the last-level cache."""
    first = make()
    size = sum(x.numel() * x.element_size() for x in first)
    sets = [first] + [make() for _ in range(min(max(math.ceil(rotation_bytes(device) / size), 1), 64) - 1)]
    turn = 0

    def calls(count):
        nonlocal turn
        chosen = [sets[(turn + i) % len(sets)] for i in range(count)]
        turn = (turn + count) % len(sets)
        return [lambda operands=operands: run(*operands) for operands in chosen]

    clock.time(calls(3))
    count = min(max(math.ceil(1e-3 / max(clock.time(calls(3)) / 3, 1e-7)), 1), 1000)
    clock.time(calls(count))
    samples = []
    deadline = time.monotonic() + args.seconds
    while len(samples) < args.samples and (len(samples) < 5 or time.monotonic() < deadline):
        samples.append(clock.time(calls(count)) / count)
    return samples


def show(rows, name, clock):
    print("| kernel | type | our variant | shape | ours | PyTorch (quartiles) | PyTorch's type | PyTorch over ours (spread) |")
    print("|---|---|---|---|--:|--:|---|--:|")
    for row in rows:
        begin = f"| {row['kernel']} | {row['element']} | {row['variant']} | {shape_text(row)} | {us(row['ours_s'])} us "
        if "problem" in row:
            print(f"{begin}| {row['problem']} | {row['torch_dtype']} | - |")
            continue
        low, high = row["torch_quartiles_s"]
        spread = "{:.2f} to {:.2f}".format(*row["ratio_spread"])
        times = f"{us(row['torch_s'])} us ({us(low)} to {us(high)})"
        print(f"{begin}| {times} | {row['torch_dtype']} | {row['ratio']:.2f} ({spread}) |")
    print(f"\nPyTorch {torch.__version__} on {name}, {clock.name}, cold operands. Above 1 ours is faster.")


def us(seconds):
    return f"{seconds * 1e6:.1f}"


if __name__ == "__main__":
    main()
