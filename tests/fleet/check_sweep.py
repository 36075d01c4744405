"""Holds a merged sweep against a single process's, runs the queries of a guide on it, and compares their rates:
check_sweep.py GUIDE POINTS LOG... SINGLE_LOG, in the folder with all.parquet and single.parquet."""

import re
import sys

import polars as pl
from polars.testing import assert_frame_equal

guide, points, *logs = sys.argv[1:]
points = int(points)

whole, single = pl.read_parquet("all.parquet"), pl.read_parquet("single.parquet")
assert_frame_equal(whole, single, check_exact=True)
assert whole.height == points, f"{whole.height} rows, not {points}"
assert whole["index"].to_list() == list(range(points)), "the rows are not in the order of the points"
plans = whole["tokens_per_s_per_chip_median"].count()
print(f"slurm: the merged file is the single process's, row for row: {points} points, {plans} with a plan")
del whole, single

# Each block of Python in the guide leaves its answer in `best`, and all must agree; one shows what a file says of itself.
answers = []
for block in re.findall(r"^```python\n(.*?)^```", open(guide).read(), re.M | re.S):
    scope = {}
    exec(block, scope)
    if "said" in scope:
        said = scope["said"].fetchall()[0][0]
        assert f'"of_points":{points}' in said, said
        print(f"slurm: all.parquet says {said}")
        continue
    answers.append([tuple(row) for row in scope["best"]])
    print(f"slurm: a query of {guide} gives {answers[-1]}")
assert len(answers) >= 2 and all(answer == answers[0] for answer in answers), answers
assert answers[0], "the queries find nothing"


def work(log):
    """Points and core seconds, as the program has noted them."""
    found = re.search(r"(\d+) points in [\d.]+ s: ([\d.]+) per second and thread", open(log).read())
    return int(found.group(1)), int(found.group(1)) / float(found.group(2))


def rate(logs):
    """Points per second and core over all of these: shards differ in how many of their points have a plan."""
    done = [work(log) for log in logs]
    return sum(points for points, _ in done) / sum(seconds for _, seconds in done)


shards, one = rate(logs[:-1]), rate(logs[-1:])
share = shards / one
print(f"slurm: points per second and core: {shards:.0f} in {len(logs) - 1} shards, {one:.0f} in a single process: {share:.0%}")
if share < 0.9:
    sys.exit("the shards reach less than 90 % of the single process")
