#!/bin/sh
# Makes plot.js from the versions that package-lock.json names: run it after a change of version or of entry.js.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund --silent
field() { node -p "JSON.parse(require('fs').readFileSync('node_modules/$1/package.json')).$2"; }
npx esbuild entry.js --bundle --minify --format=iife --global-name=Plot --target=es2020 --charset=ascii --legal-comments=none \
    --banner:js="/* Observable Plot $(field @observablehq/plot version) and what it uses of D3 $(field d3 version), ISC license, see LICENSES. Made by build.sh. */" \
    --outfile=plot.js
{
    for package in @observablehq/plot d3 interval-tree-1d binary-search-bounds isoformat; do
        printf '== %s ==\n' "$package"
        echo "License: $(field "$package" license)"
        find "node_modules/$package" -maxdepth 1 -iname 'license*' -exec cat {} +
        printf '\n'
    done
} >LICENSES
rm -rf node_modules
