#!/bin/sh
# Fleets on one machine, with real MPI libraries: `make fleet-test`.
#   sh tests/fleet/run.sh            everything
#   sh tests/fleet/run.sh short      two ranks, one document (a minute when it is built)
#   sh tests/fleet/run.sh PART...    some of the parts at the end of this file
# It installs what it needs on Debian and Ubuntu, as root, and says so. With OPTIONAL=1 it is enough to say so where that fails. Ranks share the software adapter of this machine.
set -eu
cd "$(dirname "$0")/../.."
export NODEVICE_SELECT=1
CARGO=${CARGO:-cargo}
TARGET=${CARGO_TARGET_DIR:-target}
SUPERNODE=${SUPERNODE:-$TARGET/debug/supernode}
WORK=${FLEET_WORK:-$TARGET/fleet-test}
HERE=$PWD/tests/fleet
# Two kernels that run for milliseconds: attention in decode, and a gate, whose routing the network then uses.
CASES="--preset smoke --only attention/mla_decode/best/f32 --only gating/sigmoid_group_topk/best/f32/deepseek-v3/decode"

say() { echo "fleet-test: $*"; }
fail() { say "FAILED: $*"; exit 1; }

install() {
    missing=""
    for package in "$@"; do dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"; done
    [ -z "$missing" ] && return
    [ "$(id -u)" = 0 ] || fail "install$missing first (as root: apt-get install$missing)"
    say "installing$missing"
    if apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    then return; fi
    [ -n "${OPTIONAL:-}" ] || fail "$missing cannot be installed"
    say "NOT RUN:$missing cannot be installed"
    exit 0
}

# ranks N ARGS...: `supernode fleet` on N ranks of this machine under OpenMPI.
ranks() {
    count=$1; shift
    mpirun.openmpi --allow-run-as-root --oversubscribe -n "$count" "$SUPERNODE" fleet "$@"
}

# refused CODE TEXT COMMAND...: the command ends with this code and says this.
refused() {
    code=$1 text=$2; shift 2
    set +e; "$@" >"$WORK/out" 2>&1; found=$?; set -e
    [ "$found" = "$code" ] || { cat "$WORK/out"; fail "exit code $found instead of $code: $*"; }
    grep -q -e "$text" "$WORK/out" || { cat "$WORK/out"; fail "does not say \`$text\`: $*"; }
    [ "$(grep -c '^error: ' "$WORK/out")" = 1 ] || { cat "$WORK/out"; fail "not one line: $*"; }
}

# about FILE CODE: a check in Python of what `fleet show --json` says, as `f`.
about() {
    "$SUPERNODE" fleet show "$1" --json | python3 -c "import json, sys; f = json.load(sys.stdin)
$2"
}

part_short() {
    ranks 2 $CASES --share-devices --no-alone --largest-message 65536 -o "$WORK/short.json"
    about "$WORK/short.json" 'assert f["complete"] and f["plan"]["ranks"] == 2, f["lacking"]
assert len(f["network"]["pairs"]) == 3 and not f["network"]["refused"]'
    "$SUPERNODE" schema --check "$WORK/short.json"
}

part_four() {
    ranks 4 $CASES --share-devices --largest-message 65536 -o "$WORK/four.json"
    "$SUPERNODE" schema --check "$WORK/four.json"
    about "$WORK/four.json" '
n = f["network"]
assert f["complete"] and n["all_pairs"] and not n["refused"], f["lacking"]
assert len({(p["from"], p["to"]) for p in n["pairs"]}) == 6
kinds = {(c["collective"], c["ranks"]) for c in n["collectives"]}
names = ("all_reduce", "all_gather", "reduce_scatter", "dispatch", "combine")
assert kinds == {(name, ranks) for name in names for ranks in (2, 4)}, kinds
assert {c["traffic"]["load"] for c in n["collectives"] if "traffic" in c} == {"uniform", "power_law", "measured"}
assert any("together_over_alone" in c for c in f["spread"]), f["spread"]
for c in n["collectives"]:
    if c["ranks"] == 4: print(c["collective"], c["bytes"], "bytes", "%.1f us" % (c["timing"]["median_s"] * 1e6))'
    "$SUPERNODE" report "$WORK/four.json" --measured-only -o "$WORK/four.html" >/dev/null
    grep -q 'class="strip"' "$WORK/four.html" || fail "the page has no strip of devices"
    [ "$("$SUPERNODE" export "$WORK/four.json" --format csv | wc -l)" -gt 8 ] || fail "export has no line per rank and case"
    "$SUPERNODE" compare "$WORK/four.json" >/dev/null
    refused 2 "they overlap" "$SUPERNODE" fleet merge "$WORK/four.json" "$WORK/four.json" -o "$WORK/merged.json"
    head -c 40000 "$WORK/four.json" >"$WORK/cut.json"
    refused 2 "cut off" "$SUPERNODE" fleet show "$WORK/cut.json"
}

part_refusals() {
    refused 2 "finds no free device" ranks 2 $CASES -o "$WORK/few.json"
    refused 2 "rank 1 differs from rank 0 in --seed (2, where rank 0 has 1)" mpirun.openmpi --allow-run-as-root --oversubscribe \
        -n 1 "$SUPERNODE" fleet $CASES --share-devices --seed 1 -o "$WORK/differ.json" : \
        -n 1 "$SUPERNODE" fleet $CASES --share-devices --seed 2 -o "$WORK/differ.json"
    refused 2 "no such folder" ranks 2 $CASES --share-devices -o "$WORK/missing/fleet.json"
}

# Rank 2 takes eight times as long. Four ranks on two cores disturb each other so much that less may not be seen.
part_slow() {
    ranks 4 $CASES --share-devices --no-alone --no-network --inject-slow 2:8 -o "$WORK/slow.json"
    about "$WORK/slow.json" '
slower = [o for o in f["outliers"] if o["subject"]["kind"] == "kernels" and o["time_ratio"] > 1]
assert slower and slower[0]["rank"] == 2, f["outliers"]
for o in slower:
    print("rank %d: %.2f times the median, score %.0f, cause %s" % (o["rank"], o["time_ratio"], o["score"], o["cause"]))
assert slower[0]["time_ratio"] > 2, slower
assert f["caveats"][-1] == {"kind": "injected_slowdown", "rank": 2, "factor": 8.0}, f["caveats"]'
}

# What rank 1 receives is wrong by a bit.
part_wrong() {
    refused 1 "transfers brought wrong results" ranks 4 $CASES --share-devices --no-alone --largest-message 65536 \
        --inject-wrong 1 -o "$WORK/wrong.json"
    about "$WORK/wrong.json" '
n = f["network"]
# Rank 1 takes part in all of them; of a few tokens none may be for it.
assert all("traffic" in c for c in n["collectives"]) and len(n["refused"]) > 30, len(n["refused"])
assert all(1 not in (p["from"], p["to"]) for p in n["pairs"])
assert all(r["rank"] == 1 or "between" in r["what"] for r in n["refused"])
print(len(n["refused"]), "transfers refused, e.g.", n["refused"][-1])'
}

# Rank 2 is killed in the middle; MPI ends the others. A second run goes on with what is there.
part_killed() {
    cases="--preset smoke --only attention/mla_decode"
    rm -rf "$WORK/killed.json" "$WORK/killed.ranks"
    ranks 4 $cases --share-devices --no-alone --no-network -o "$WORK/killed.json" >"$WORK/killed.log" 2>&1 &
    launcher=$!
    record=$WORK/killed.ranks/rank-00002.record.json
    for _ in $(seq 600); do
        grep -q '"bound_by"' "$record" 2>/dev/null && break
        kill -0 $launcher 2>/dev/null || { cat "$WORK/killed.log"; fail "the run ended before a case was measured"; }
        sleep 0.2
    done
    for process in $(pgrep -f "fleet .*$WORK/killed.json"); do
        if tr '\0' '\n' <"/proc/$process/environ" | grep -q '^OMPI_COMM_WORLD_RANK=2$'; then kill -9 "$process"; fi
    done
    set +e; wait $launcher; code=$?; set -e
    [ $code != 0 ] || fail "mpirun did not notice the death of a rank"
    [ ! -e "$WORK/killed.json" ] || fail "there is a document before the first stage ended"
    first() { python3 -c "import json, sys; print(json.load(open('$record'))['cases'][0]['timing']['samples_s'])"; }
    before=$(first)
    "$SUPERNODE" fleet gather "$WORK/killed.ranks" -o "$WORK/gathered.json" | tee "$WORK/out"
    grep -q "of 4 ranks lack a complete record" "$WORK/out" || fail "gather does not say which ranks lack"
    ranks 4 $cases --share-devices --no-alone --no-network --resume -o "$WORK/killed.json" >/dev/null
    [ "$(first)" = "$before" ] || fail "what was finished was measured again"
    about "$WORK/killed.json" 'assert f["complete"], f["lacking"]'
}

# Four computers of a shaped network: 1 and 2, 3 and 4 are near each other (400 Mbit/s, 2 ms), the others far (100 Mbit/s, 10 ms).
part_shaped() {
    names="fleet1 fleet2 fleet3 fleet4"
    unshape() {
        [ -z "${shaper:-}" ] || kill "$shaper" 2>/dev/null || true
        for name in $names; do ip netns del "$name" 2>/dev/null || true; done
    }
    unshape
    for name in $names; do
        ip netns add "$name"
        # A message after a pause would begin slowly, whatever the link carries.
        ip netns exec "$name" sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_slow_start_after_idle'
    done
    trap unshape EXIT
    python3 "$HERE/shaper.py" fleet1,fleet2,fleet3,fleet4 fleet1-fleet2=400e6:2e-3 fleet3-fleet4=400e6:2e-3 \
        default=100e6:10e-3 >"$WORK/shaper.log" &
    shaper=$!
    for _ in $(seq 50); do grep -q ready "$WORK/shaper.log" && break; sleep 0.1; done
    # Only messages of TCP may go between ranks, and no rank may keep a processor from the shaper while it waits.
    ip netns exec fleet1 mpirun.openmpi --allow-run-as-root --host 10.77.0.1,10.77.0.2,10.77.0.3,10.77.0.4 -n 4 \
        --mca plm_rsh_agent "$HERE/agent.sh" --mca btl tcp,self --mca pml ob1 --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 --mca mpi_yield_when_idle 1 -x NODEVICE_SELECT \
        "$PWD/$(realpath --relative-to=. "$SUPERNODE")" fleet $CASES --no-alone --largest-message 1048576 \
        -o "$(realpath "$WORK")/shaped.json"
    about "$WORK/shaped.json" '
assert f["complete"] and len(f["hosts"]) == 4, f["hosts"]
times = {(p["from"], p["to"], p["bytes"]): p["timing"]["median_s"] for p in f["network"]["pairs"]}
wrong = []
for a, b in ((0, 1), (2, 3), (0, 2), (0, 3), (1, 2), (1, 3)):
    latency, rate = (2e-3, 50e6) if b - a == 1 and a % 2 == 0 else (10e-3, 12.5e6)
    small, middle, large = times[a, b, 8], times[a, b, 1 << 16], times[a, b, 1 << 20]
    # Both of these ask before they send, so that the difference is the way of the bytes alone.
    reached = ((1 << 20) - (1 << 16)) / (large - middle)
    print(f"ranks {a} and {b}: {small * 1e3:.2f} ms of {latency * 1e3:.0f}, {reached / 1e6:.1f} MB/s of {rate / 1e6:.1f}")
    wrong += [(a, b)] if not (0.9 < small / latency < 1.1 and 0.9 < reached / rate < 1.1) else []
assert not wrong, wrong'
    # The fit finds the tiers without being told, and their speeds again.
    "$SUPERNODE" fabric fit --fleet "$WORK/shaped.json" -o "$WORK/shaped.toml" --json >"$WORK/fit.json"
    python3 - "$WORK/fit.json" <<'PYTHON'
import json, sys
tiers = json.load(open(sys.argv[1]))["fabric"]["tiers"]
assert [tier["chips"] for tier in tiers] == [2, 4], [tier["chips"] for tier in tiers]
for tier, latency, rate in zip(tiers, (2e-3, 10e-3), (50e6, 12.5e6)):
    found = tier["latency_s"]["value"], tier["bandwidth_bytes_per_s"]["value"]
    print(f"tier {tier['name']}: {found[0] * 1e3:.2f} ms of {latency * 1e3:.0f}, {found[1] / 1e6:.1f} MB/s of {rate / 1e6:.1f}")
    assert 0.9 < found[0] / latency < 1.1 and 0.9 < found[1] / rate < 1.1, found
PYTHON
    "$SUPERNODE" project --chip h100 --model qwen3-30b-a3b --phase decode --chips 4 --fabric "$WORK/shaped.toml" >/dev/null
    unshape
    shaper=""
    trap - EXIT
}

part_mpich() {
    install mpich libmpich-dev
    # Another MPI is another program: it has a folder of its own.
    target=${MPICH_TARGET_DIR:-$TARGET/mpich}
    free=$(df --output=avail -BG . | tail -1 | tr -dc 0-9)
    if [ "$free" -lt 8 ] && [ ! -x "$target/debug/supernode" ]; then say "mpich: NOT RUN, $free GB are free and 8 are needed"; return; fi
    MPICC=mpicc.mpich CARGO_TARGET_DIR=$target $CARGO build --locked --features mpi ${JOBS:-}
    mpirun.mpich -n 2 "$target/debug/supernode" fleet $CASES --share-devices --no-alone --largest-message 65536 \
        -o "$WORK/mpich.json"
    about "$WORK/mpich.json" 'assert f["complete"] and not f["network"]["refused"], f["lacking"]'
    grep -q '"mpi_library": "MPICH' "$WORK/mpich.json" || fail "the document does not name MPICH"
}

# A Slurm of its own on loopback: a million points as a job array of four shards, merged and queried; four ranks by srun.
part_slurm() {
    MPICC=mpicc.openmpi $CARGO build --release --locked --features mpi ${JOBS:-}
    SUPERNODE=$TARGET/release/supernode sh tests/fleet/slurm.sh
}

sh tests/install-driver.sh
install openmpi-bin libopenmpi-dev libclang-dev python3 iproute2 procps
mkdir -p "$WORK"
[ -n "${BUILT:-}" ] || MPICC=mpicc.openmpi $CARGO build --locked --features mpi ${JOBS:-}
for part in ${*:-short four refusals slow wrong killed shaped slurm mpich}; do
    began=$(date +%s)
    say "$part"
    "part_$part"
    say "$part: ok ($(($(date +%s) - began)) s)"
done
