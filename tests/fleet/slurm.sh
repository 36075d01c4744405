#!/bin/sh
# Sweeps under Slurm, on this machine alone: slurm.sh. It starts munged, slurmctld and slurmd on loopback, sweeps a million
# points as a job array of four shards, merges them, queries the result with DuckDB and Polars as docs/COMMANDS.md does, and
# compares it with what one process writes. With a program that was built with MPI it also runs four ranks by srun.
# SUPERNODE names the program, which is built for release otherwise; GRID and POINTS another grid. Debian's packages of Slurm,
# GNU parallel and Python are installed where they lack. All files are in a temporary folder, and nothing goes on running.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/slurm-daemons.sh"

if [ -z "${SUPERNODE:-}" ]; then
    (cd "$root" && ${CARGO:-cargo} build --release --locked)
    SUPERNODE=${CARGO_TARGET_DIR:-$root/target}/release/supernode
fi
SUPERNODE=$(cd "$(dirname "$SUPERNODE")" && pwd)/$(basename "$SUPERNODE")
grid=${GRID:-$root/specs/sweeps/million.toml}
points=${POINTS:-1000000}

install_slurm
folder=$(mktemp -d)
venv=${VENV:-$folder/venv}
trap 'stop_slurm; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet duckdb polars
fi
mkdir "$folder/bin" "$folder/work"
ln -s "$SUPERNODE" "$folder/bin/supernode"
PATH=$folder/bin:$PATH
export PATH
start_slurm "$folder/slurm"
cd "$folder/work"

say() { echo "slurm: $*"; }
fail() {
    echo "slurm: $*" >&2
    for log in ./*.log; do [ ! -e "$log" ] || { echo "== $log"; cat "$log"; } >&2; done
    exit 1
}

# The ids of a real array that has gaps are refused, each task with exit code 2.
if sbatch --quiet --wait --array=1,3 --output=gaps-%a.log --wrap "supernode sweep $grid -o gaps.parquet"; then
    fail "an array with gaps was computed"
fi
grep -q "not contiguous: 2 of them from 1 to 3" gaps-1.log || fail "an array with gaps was not named"
rm -f gaps-*.log

# The array, a merge that waits for it, and the array once more, which has nothing to do.
begin=$(date +%s.%N)
job=$(sbatch --parsable "$root/examples/slurm/sweep.sbatch" "$grid")
sbatch --quiet --wait --dependency="afterok:$job" "$root/examples/slurm/merge.sbatch" || fail "no merge"
end=$(date +%s.%N)
for shard in 1 2 3 4; do
    grep -q "shard $shard/4, as this is a task of a job array" "sweep-$job-$shard.log" || fail "task $shard is no shard"
done
grep -q "all.parquet: $points points of 4 files" merge-*.log || fail "the merge has not $points points"
again=$(sbatch --parsable --wait "$root/examples/slurm/sweep.sbatch" "$grid") || fail "the second array failed"
[ "$(cat "sweep-$again"-*.log | grep -c "points already: nothing to do")" = 4 ] || fail "a finished shard did something"

# What one process makes of it, and three shards of four by GNU parallel with the same answer as the array's.
supernode sweep "$grid" -o single.parquet 2>single.log || fail "the single process"
"$venv/bin/python" "$here/check_sweep.py" "$root/docs/COMMANDS.md" "$points" sweep-"$job"-*.log single.log
say "array and merge took $(echo "$end - $begin" | bc -l | cut -c 1-6) s in all"

mkdir by-parallel
cat >small.toml <<'TOML'
model = "deepseek-v3"
phase = "decode"
plan.tp = [1, 2, 4]
workload.kv_len = { from = 1024, to = 8192, count = 20, spacing = "log" }
TOML
RAYON_NUM_THREADS=1 parallel --will-cite supernode --quiet sweep small.toml --shard {}/4 --resume -o by-parallel/part-{}.jsonl ::: 1 2 3 4
supernode --quiet sweep merge by-parallel/part-*.jsonl -o by-parallel/all.jsonl
supernode --quiet sweep small.toml -o small.jsonl
cmp by-parallel/all.jsonl small.jsonl || fail "shards by GNU parallel are not the sweep"
say "four shards by GNU parallel are the file of one process, byte for byte"

if ldd "$SUPERNODE" 2>/dev/null | grep -q libmpi; then
    sh "$here/srun.sh"
else
    say "this supernode was built without MPI: srun is not tried (--features mpi)"
fi
say "done"
