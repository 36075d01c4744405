#!/bin/sh
# Makes docs/page.png, the README's picture of the report page: the first screen of the page of all records in results/.
# PROGRAM names a built supernode; without it a release build is made.
set -eu
folder=$(dirname "$0")
REQUIRE_BROWSER=1
. "$folder/setup.sh"
page=${CARGO_TARGET_DIR:-target}/picture/page.html
mkdir -p "$(dirname "$page")"
if [ -z "${PROGRAM:-}" ]; then
    ${CARGO:-cargo} build --release --locked
    PROGRAM=${CARGO_TARGET_DIR:-target}/release/supernode
fi
"$PROGRAM" --quiet report results/*.json -o "$page"
node "$folder/picture.mjs" "$page" docs/page.png "$CHROMIUM"
