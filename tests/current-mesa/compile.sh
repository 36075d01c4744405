#!/bin/sh
# Asks Mesa's drivers of GPUs that are not there what they offer, and compiles every pipeline of the tool with them:
# compile.sh [DEVICE...], by default all of `run.sh`. Into FOLDER (default: tests/data/devices) go
#   DEVICE.json          what `supernode devices --json` prints
#   DEVICE.compile.txt   what `supernode verify --compile-only` prints, or how it ended
#   summary.txt          a line for each device that has such a file
# LIMIT_S (default 600): seconds after which no further pipeline of a device is begun; those left are listed.
set -eu
here=$(dirname "$0")
out=${FOLDER:-$here/../data/devices}
limit=${LIMIT_S:-600}
[ $# -gt 0 ] || set -- $(sh "$here/run.sh")
mkdir -p "$out"
export MESA_SHADER_CACHE_DISABLE=true # a compiler is timed, not its cache
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# supernode DEVICE SECONDS ARGUMENT...: prints what it prints. A driver that hangs or dies is a finding and no end.
supernode() {
    device=$1 seconds=$2
    shift 2
    status=0
    timeout -k 10 "$seconds" sh "$here/run.sh" "$device" supernode "$@" --backend vulkan 2>"$log" || status=$?
    case $status in
    0 | 1) return 0 ;; # 1: a pipeline is refused, which the output says
    124 | 137) echo "did not end within $seconds s; last: $(tail -n 1 "$log")" ;;
    *) echo "ended with exit code $status; last: $(tail -n 1 "$log")" ;;
    esac
    [ "$status" != 130 ] || exit 130
    return 1
}

for device in "$@"; do
    echo "$device: listing, then compiling for at most $limit s" >&2
    if supernode "$device" 60 devices --json >"$out/$device.json"; then
        supernode "$device" $((limit + 300)) verify --compile-only --limit-s "$limit" >"$out/$device.compile.txt" || true
    else
        mv "$out/$device.json" "$out/$device.compile.txt"
    fi
done

row() { printf '%-14s %9s %8s %5s %7s %8s %9s %8s\n' "$@"; }
{
    row device pipelines compiled slow refused 'left out' 'not tried' seconds
    for device in $(sh "$here/run.sh"); do
        file=$out/$device.compile.txt
        [ -e "$file" ] || continue
        # "497 pipelines: 471 compiled, 3 slow, 0 refused, 26 left out, 0 not tried"
        if tail -n 1 "$file" | grep -q ' pipelines: '; then
            # shellcheck disable=SC2046 # one number each
            row "$device" $(tail -n 1 "$file" | tr -dc '0-9 ') "$(sed -n 's/^\([0-9.]*\) s on .*/\1/p' "$file")"
        else
            echo "$device: $(tail -n 1 "$file")"
        fi
    done
} | tee "$out/summary.txt"
