#!/bin/sh
# Puts a current Mesa (Debian 13 with its backports, 350 MB) into a folder, for its software driver with cooperative
# matrices and for its drivers of GPUs that are not there: install.sh [FOLDER]
#
# Downloads the packages and what they need, the C library included, and unpacks them: no root, nothing installed, no
# script of a package runs. `run.sh` beside this file starts programs there. The packages come from the Debian mirror of
# this machine's apt sources, or from DEBIAN_MIRROR, and apt checks their signatures.
set -eu

packages="mesa-vulkan-drivers mesa-drm-shim libvulkan1 spirv-tools glslc"
folder=${1:-${CURRENT_MESA:-${CARGO_TARGET_DIR:-target}/current-mesa}}
list=$folder/packages.txt # written last, so it stands for a whole folder

say() { echo "current Mesa: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

if [ -e "$list" ]; then
    say "$(sed -n 's/^mesa-vulkan-drivers_/version /p' "$list") is in $folder"
    exit 0
fi
if [ -e "$folder" ]; then
    fail "$folder is there and is no Mesa of this script: move it away, or name another folder"
fi
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    fail "cannot be set up, it takes apt-get and dpkg-deb (Debian, Ubuntu)"
fi

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' |
    awk '$1 ~ /\/debian\/?$/ || ($2 == "Debian" && $1 !~ /security/) { print $1; exit }')}
if [ -z "$mirror" ]; then
    fail "cannot be set up, this machine's apt sources name no Debian mirror; set DEBIAN_MIRROR to one"
fi
keys=
for file in "${DEBIAN_KEYRING:-}" /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
    if [ -z "$keys" ] && [ -n "$file" ] && [ -e "$file" ]; then keys=$file; fi
done
if [ -z "$keys" ]; then
    fail "cannot be set up, Debian's keys are missing: install debian-archive-keyring, or set DEBIAN_KEYRING to its file"
fi

partial=$folder.partial
rm -rf "$partial"
mkdir -p "$partial/apt/lists/partial" "$partial/apt/archives/partial"
partial=$(cd "$partial" && pwd)
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' INT TERM
for suite in trixie trixie-backports; do
    echo "deb [signed-by=$keys] $mirror $suite main"
done >"$partial/apt/sources.list"
# The machine's settings for proxies stay; sources, pins and the list of what is installed are the folder's own.
: >"$partial/apt/status"
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq \
        -o Dir::Etc::sourcelist="$partial/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$partial/apt" -o Dir::State::status="$partial/apt/status" \
        -o Dir::Cache="$partial/apt" -o Dir::Cache::archives="$partial/apt/archives" \
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any -o Debug::NoLocking=true "$@"
}

say "reading the packages of Debian 13 and its backports"
apt update || fail "cannot be set up, the mirror does not answer or has no Debian 13 with backports"
say "downloading $packages and what they need (65 MB)"
# shellcheck disable=SC2086 # one word each
apt install -y --download-only --no-install-recommends -t trixie-backports $packages >/dev/null ||
    fail "cannot be set up, a package is missing"
say "unpacking into $folder"
for package in "$partial"/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$partial"
    dpkg-deb -W --showformat='${Package}_${Version}\n' "$package"
done >"$partial/packages.txt"
rm -rf "$partial/apt"
mv "$partial" "$folder"
trap - EXIT
say "$(sed -n 's/^mesa-vulkan-drivers_/version /p' "$list") is in $folder"
