#!/bin/sh
# Builds the page into out/web, a static folder: build.sh [PROFILE]. PROFILE is `release` or, faster to build, `dev`.
# MODULES="model" builds only some of the modules, where the folder has the others of an earlier build.
set -eu
WEB=$(cd "$(dirname "$0")" && pwd)
cd "$WEB/.."
TARGET=${CARGO_TARGET_DIR:-target}
mkdir -p "$TARGET"
TARGET=$(cd "$TARGET" && pwd)
profile=${1:-release}
out=${OUT:-out/web}

. "$WEB/toolchain.sh"

# What rustc and wasm-bindgen use, by name: with --all-features browsers would refuse the module.
wasm_features="--enable-bulk-memory --enable-bulk-memory-opt --enable-exception-handling --enable-multivalue
    --enable-mutable-globals --enable-nontrapping-float-to-int --enable-reference-types --enable-sign-ext
    --enable-call-indirect-overlong"

module() {
    folder=$TARGET/web-$1
    # The others are downloaded by many visitors; the tool's CPU references take seconds.
    if [ "$1" = tool ]; then optimise=2; else optimise=z; fi
    say "building the module $1 ($profile)"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$optimise CARGO_TARGET_DIR=$folder wasm_cargo build --profile "$profile" --locked --quiet --manifest-path "$WEB/Cargo.toml" --features "$1"
    built=$folder/$WASM/$(if [ "$profile" = dev ]; then echo debug; else echo "$profile"; fi)/supernode_web.wasm
    "$BINDGEN" "$built" "$folder/bound" "$1"
    if [ "$profile" != dev ]; then
        # shellcheck disable=SC2086 # one word each
        node "$WASM_OPT" -O$optimise $wasm_features "$folder/bound/$1_bg.wasm" -o "$folder/bound/$1_bg.opt.wasm"
        mv "$folder/bound/$1_bg.opt.wasm" "$folder/bound/$1_bg.wasm"
    fi
    cp "$folder/bound/$1.js" "$folder/bound/$1_bg.wasm" "$out/"
    say "$1_bg.wasm: $(wc -c <"$out/$1_bg.wasm") bytes, $(gzip -9 -c "$out/$1_bg.wasm" | wc -c) gzipped"
}

mkdir -p "$out"
for name in ${MODULES:-model reader tool}; do module "$name"; done
node "$WEB/assemble.mjs" "$out"
say "the page is in $out"
