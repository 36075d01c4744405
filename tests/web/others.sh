#!/bin/sh
# The page in the engines of Safari (WebKitGTK) and of Firefox, on Debian: others.sh [FOLDER]. FOLDER is a page that `make web` has built. Without the
# browsers, which are installed where that is possible, it says so and fails. SUPERNODE names a native program to compare with.
set -eu
cd "$(dirname "$0")/../.."
page=${1:-out/web}
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
[ -e "$page/reader_bg.wasm" ] || { echo "others: $page has no page: run make web" >&2; exit 1; }
missing=""
for package in webkit2gtk-driver firefox-esr xvfb xauth nodejs; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "others: installing$missing"
    # shellcheck disable=SC2086 # one word each
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null
fi
# Mozilla's driver is a program in Rust.
if [ ! -x "$target/web-tools/bin/geckodriver" ]; then
    echo "others: building geckodriver (5 minutes)"
    $cargo install --quiet --locked --version 0.36.0 --root "$target/web-tools" geckodriver
fi
if [ -z "${SUPERNODE:-}" ]; then
    $cargo build --locked
    SUPERNODE=$target/debug/supernode
fi
[ -e tests/browser/node_modules/.package-lock.json ] || npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --silent
xvfb-run -a node tests/web/others.mjs "$page" "$SUPERNODE" webkit WebKitWebDriver
xvfb-run -a node tests/web/others.mjs "$page" "$SUPERNODE" firefox "$target/web-tools/bin/geckodriver"
