#!/bin/sh
# Runs a program on a device of the current Mesa that `install.sh` set up: run.sh DEVICE PROGRAM [ARGUMENT...]
# `run.sh` alone lists the devices; the program `supernode` is that of a release build.
#
# Only llvmpipe runs kernels. The others are real drivers with their real limits and compilers, which open a card that
# Mesa's no-op shims pretend: what is submitted there does nothing. They are Mesa's, not the vendors' own.
set -eu

devices="llvmpipe rx-7900-xtx rdna4 nvidia-ampere nvidia-turing apple-m1 adreno-740"
if [ $# -eq 0 ]; then
    echo "$devices"
    exit 0
fi
device=$1
shift
folder=${CURRENT_MESA:-${CARGO_TARGET_DIR:-target}/current-mesa}
if [ ! -e "$folder/packages.txt" ]; then
    echo "current Mesa: none in $folder, run tests/current-mesa/install.sh first" >&2
    exit 1
fi

case $device in
llvmpipe) driver=lvp shim= ;;
rx-7900-xtx) driver=radeon shim=amdgpu && export AMDGPU_GPU_ID=navi31 ;;
rdna4) driver=radeon shim=amdgpu && export AMDGPU_GPU_ID=gfx1201 ;;
nvidia-ampere) driver=nouveau shim=nouveau && export NOUVEAU_CHIPSET=172 ;;
nvidia-turing) driver=nouveau shim=nouveau && export NOUVEAU_CHIPSET=162 ;;
apple-m1) driver=asahi shim=asahi ;;
adreno-740) driver=freedreno shim=freedreno && export FD_GPU_ID=740 ;;
*)
    echo "current Mesa: no device $device, there are: $devices" >&2
    exit 2
    ;;
esac

folder=$(cd "$folder" && pwd)
export VK_DRIVER_FILES="$folder/usr/share/vulkan/icd.d/${driver}_icd.json"
export NODEVICE_SELECT=1 # Mesa's device-select layer looks for a display
# The folder's loader takes its own C library, so this works where the machine's is older.
loader=$(echo "$folder"/usr/lib/*/ld-linux-*.so.*)
libraries=$(dirname "$loader")
if [ "$1" = supernode ]; then program=${CARGO_TARGET_DIR:-target}/release/supernode; else program=$1; fi
program=$(command -v "$program") || {
    echo "current Mesa: no program $1" >&2
    exit 2
}
shift
exec "$loader" --library-path "$libraries" ${shim:+--preload "$libraries/lib${shim}_noop_drm_shim.so"} "$program" "$@"
