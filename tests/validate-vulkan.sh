#!/bin/sh
# Runs the verification suite under Vulkan's validation layers (core and synchronisation checks) and fails on any finding
# of theirs; then once more with wgpu's runtime checks in the shaders. Debian and Ubuntu: installs vulkan-validationlayers.
set -eu
cd "$(dirname "$0")/.."

has_layer() {
    for folder in /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan "${HOME:-/root}/.local/share/vulkan"; do
        if [ -e "$folder/explicit_layer.d/VkLayer_khronos_validation.json" ]; then return 0; fi
    done
    [ -n "${VK_LAYER_PATH:-}${VK_ADD_LAYER_PATH:-}" ]
}

if ! has_layer; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "validate-vulkan: install Vulkan's validation layers (Fedora, Arch: vulkan-validation-layers; or the Vulkan SDK)" >&2
        exit 1
    fi
    echo "validate-vulkan: installing vulkan-validationlayers"
    if [ "$(id -u)" = 0 ]; then SUDO=; else SUDO=sudo; fi
    $SUDO apt-get update -qq
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends vulkan-validationlayers
fi

${CARGO:-cargo} build --release --locked
supernode=${CARGO_TARGET_DIR:-target}/release/supernode
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
log=$folder/findings.txt
cat >"$folder/vk_layer_settings.txt" <<SETTINGS
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.log_filename = $log
khronos_validation.report_flags = error,warn,perf,info
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
SETTINGS

# The layer logs that it is active: without that line an empty log would prove nothing.
under_layers() {
    rm -f "$log"
    VK_LAYER_SETTINGS_PATH=$folder VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation "$@" >"$folder/output.txt" ||
        { cat "$folder/output.txt"; exit 1; }
    if ! grep -q 'Khronos Validation Layer Active' "$log" 2>/dev/null; then
        echo "validate-vulkan: the validation layer was not loaded (is the adapter a Vulkan one?)" >&2
        exit 1
    fi
    if grep -E '\((ERROR|WARN|PERF)' "$log"; then
        echo "validate-vulkan: the layers have findings on: $*" >&2
        exit 1
    fi
    tail -n 1 "$folder/output.txt"
}

under_layers "$supernode" verify --backend vulkan "$@"
under_layers "$supernode" verify --backend vulkan --runtime-checks "$@"
echo "validate-vulkan: no finding of the validation layers, without and with wgpu's runtime checks"
