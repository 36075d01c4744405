#!/bin/sh
# Compiles every pipeline with Tint (Dawn, through the npm package `webgpu`). Without node or the package it says so and is
# content: the translations to Metal, Direct3D and SPIR-V are tests of their own.
set -eu
folder=$(dirname "$0")
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "second compiler: NOT RUN, it needs node 20 or newer with npm" >&2
    exit 0
fi
# npm leaves this file when it has installed what the lock names.
if [ ! -e "$folder/node_modules/.package-lock.json" ] || [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
    if ! npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent; then
        echo "second compiler: NOT RUN, npm could not install the package webgpu" >&2
        exit 0
    fi
fi
# A driver that Dawn takes: Debian's chromium brings SwiftShader; Mesa 22's software driver lacks what Dawn asks for.
if [ -z "${VK_DRIVER_FILES:-}" ] && [ -e /usr/lib/chromium/vk_swiftshader_icd.json ]; then
    VK_DRIVER_FILES=/usr/lib/chromium/vk_swiftshader_icd.json
    export VK_DRIVER_FILES
fi
${CARGO:-cargo} test --locked --test second_compiler every_pipeline_compiles_under_tint -- --ignored --nocapture
