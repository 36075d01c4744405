#!/bin/sh
# Compiles every pipeline on the devices of tests/current-mesa/run.sh that are not there, two at a time, and writes
# lab/results, specs/compilers.json and the tables of docs/KERNELS.md. PEERS=1 does the same with ggml's kernels.
# DEVICES="apple-m1 adreno-740" takes some devices only.
set -eu
cd "$(dirname "$0")/.."
mesa=tests/current-mesa
sh $mesa/install.sh
folder=${CURRENT_MESA:-${CARGO_TARGET_DIR:-target}/current-mesa}
target=${CARGO_TARGET_DIR:-target}/lab
CARGO_TARGET_DIR=$target ${CARGO:-cargo} build --release --locked --manifest-path lab/Cargo.toml
lab=$target/release/supernode-lab
devices=${DEVICES:-"nvidia-ampere adreno-740 nvidia-turing rx-7900-xtx apple-m1 rdna4"}
mkdir -p lab/results
for device in $devices; do echo "$device"; done |
    xargs -P 2 -I DEVICE "$lab" compile DEVICE --output lab/results/DEVICE.json
if [ "${PEERS:-}" = 1 ]; then
    sources=$target/ggml
    [ -e "$sources/done" ] || sh lab/ggml.sh "$sources"
    for device in $devices; do echo "$device"; done |
        xargs -P 2 -I DEVICE "$lab" compile DEVICE --ggml "$sources/vulkan-shaders" \
            --glslc "sh $mesa/run.sh llvmpipe $folder/usr/bin/glslc" --output lab/results/ggml-DEVICE.json
fi
"$lab" write
