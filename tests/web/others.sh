#!/bin/sh
# The page in the engines of Safari (WebKitGTK) and of Firefox, on Debian: others.sh [FOLDER]. FOLDER is a page that `make web` has
# built. Without the browsers, which are installed where that is possible, it says so and fails. SUPERNODE names a native program
# to compare with.
set -eu
cd "$(dirname "$0")/../.."
page=${1:-out/web}
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
[ -e "$page/reader_bg.wasm" ] || { echo "others: $page has no page: run make web" >&2; exit 1; }
folder=tests/browser
REQUIRE_BROWSER=1
. "$folder/setup.sh"
for package in webkit2gtk-driver firefox-esr xvfb xauth; do
    dpkg -s "$package" >/dev/null 2>&1 || install "$package"
done
# Mozilla's driver is a program in Rust.
if [ ! -x "$target/web-tools/bin/geckodriver" ]; then
    echo "others: building geckodriver (5 minutes)"
    $cargo install --quiet --locked --version 0.36.0 --root "$target/web-tools" geckodriver
fi
if [ -z "${SUPERNODE:-}" ]; then
    $cargo build --locked
    SUPERNODE=$target/debug/supernode
fi
xvfb-run -a node tests/web/others.mjs "$page" "$SUPERNODE" webkit WebKitWebDriver
xvfb-run -a node tests/web/others.mjs "$page" "$SUPERNODE" firefox "$target/web-tools/bin/geckodriver"
