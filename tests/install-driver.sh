#!/bin/sh
# Makes sure that a Vulkan driver is there: installs Mesa's software one on Debian and Ubuntu, says what to do elsewhere.
set -eu

has_driver() {
    for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d \
        "${HOME:-/root}/.local/share/vulkan/icd.d"; do
        if [ -d "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
            return 0
        fi
    done
    return 1
}

has_loader() {
    for folder in /usr/lib /usr/lib64 /usr/local/lib; do
        if [ -n "$(find "$folder" -maxdepth 2 -name 'libvulkan.so.1' 2>/dev/null | head -n 1)" ]; then
            return 0
        fi
    done
    return 1
}

case "$(uname -s)" in
Linux) ;;
*) exit 0 ;; # Metal and Direct3D 12 come with the system.
esac
if [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] || { has_driver && has_loader; }; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "No Vulkan driver found: install your GPU's, or Mesa's software one (Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast), and the loader (vulkan-loader, vulkan-icd-loader)." >&2
    exit 1
fi
echo "No Vulkan driver found: installing Mesa's (mesa-vulkan-drivers, libvulkan1), which includes a software one."
if [ "$(id -u)" = 0 ]; then
    SUDO=
elif command -v sudo >/dev/null 2>&1; then
    SUDO=sudo
else
    echo "This needs root: run 'apt-get install mesa-vulkan-drivers libvulkan1' as root, then again." >&2
    exit 1
fi
$SUDO apt-get update -qq
$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
