#!/bin/sh
# Asks Mesa's drivers of GPUs that are not there what they offer, and compiles every pipeline of the tool with them:
# compile.sh [DEVICE...], by default all of `run.sh`. Into FOLDER (default: tests/data/devices) go, for each device,
#   DEVICE.json          what `supernode devices --json` prints
#   DEVICE.compile.txt   what `supernode verify --compile-only` prints
#   summary.txt          a line a device, of this run's devices
# LIMIT_S (default 600): seconds after which no further pipeline of a device is begun; those left are listed.
set -eu
here=$(dirname "$0")
out=${FOLDER:-$here/../data/devices}
limit=${LIMIT_S:-600}
[ $# -gt 0 ] || set -- $(sh "$here/run.sh")
mkdir -p "$out"
export MESA_SHADER_CACHE_DISABLE=true # a compiler is timed, not its cache
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM

# A driver that hangs or dies is a finding and no end: the last line that it left is kept.
died() { # FILE STATUS LOG
    last=$(tail -n 1 "$3")
    case $2 in
    124 | 137) what="did not end in time" ;;
    *) what="ended with exit code $2" ;;
    esac
    echo "$what; last: $last" | tee -a "$1"
}

table=$logs/summary.txt
printf '%-14s %9s %8s %5s %7s %8s %9s %8s\n' device pipelines compiled slow refused 'left out' 'not tried' seconds >"$table"
for device in "$@"; do
    echo "$device: listing, then compiling for at most $limit s" >&2
    log=$logs/$device.txt
    status=0
    timeout -k 10 60 sh "$here/run.sh" "$device" supernode devices --backend vulkan --json >"$out/$device.json" 2>"$log" || status=$?
    if [ "$status" != 0 ]; then
        rm -f "$out/$device.json" "$out/$device.compile.txt"
        echo "$device: cannot be listed, $(died /dev/null "$status" "$log")" | tee -a "$table" >&2
        continue
    fi
    file=$out/$device.compile.txt
    timeout -k 10 $((limit + 300)) sh "$here/run.sh" "$device" \
        supernode verify --compile-only --backend vulkan --limit-s "$limit" >"$file" 2>"$log" || status=$?
    case $status in
    0 | 1) ;; # 1: a pipeline is refused, which the file says
    130) exit 130 ;;
    *)
        echo "$device: $(died "$file" "$status" "$log")" | tee -a "$table" >&2
        continue
        ;;
    esac
    seconds=$(sed -n 's/^\([0-9.]*\) s on .*/\1/p' "$file")
    # "497 pipelines: 471 compiled, 3 slow, 0 refused, 26 left out, 0 not tried"
    tail -n 1 "$file" | tr -dc '0-9 \n' | {
        read -r all compiled slow refused left_out not_tried
        printf '%-14s %9s %8s %5s %7s %8s %9s %8s\n' "$device" "$all" "$compiled" "$slow" "$refused" "$left_out" "$not_tried" "$seconds"
    } >>"$table"
done
cp "$table" "$out/summary.txt"
cat "$table"
