#!/bin/sh
# The whole tool in headless Chromium on its software GPU: run.sh [FOLDER]. FOLDER is a page that `make web` has built;
# without one it is built first. Without Chromium and node, which are installed where that is possible, it says so and
# succeeds, unless REQUIRE_BROWSER is set. MODULES="model reader" leaves out what measures, and its tests. SUPERNODE names a
# native program to compare with, which is built otherwise; SCREENSHOTS=FOLDER leaves pictures of the page there.
set -eu
here=$(dirname "$0")
folder=$here/../browser
. "$folder/setup.sh"
page=${1:-}
if [ -z "$page" ]; then
    page=out/web
    sh "$here/../../web/build.sh"
fi
cargo=${CARGO:-cargo}
if [ -z "${SUPERNODE:-}" ]; then
    $cargo build --locked
    SUPERNODE=${CARGO_TARGET_DIR:-target}/debug/supernode
fi
# The report page with this model in it.
PAGE=$(cd "$page" && pwd) $cargo test --locked --test browser -- --ignored --nocapture
node "$here/page.mjs" "$page" "$CHROMIUM" "$SUPERNODE"
if [ -e "$page/tool_bg.wasm" ]; then node "$here/tool.mjs" "$page" "$CHROMIUM"; fi
