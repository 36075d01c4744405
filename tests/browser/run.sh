#!/bin/sh
# Drives the report page in headless Chromium (tests/browser.rs). Without Chromium and node, which setup.sh tries to install, it
# says so and succeeds, unless REQUIRE_BROWSER is set.
set -eu
folder=$(dirname "$0")
. "$folder/setup.sh"
${CARGO:-cargo} test --locked --no-default-features --test browser -- --ignored --nocapture
