# Sourced by build.sh: what builds WebAssembly. Sets up, under $TARGET (the target directory), what is missing, and says so:
# - `wasm_cargo ARGUMENTS`: cargo with a standard library for wasm32-unknown-unknown.
# - $BINDGEN: the program that makes a module loadable from JavaScript.
# - $WASM_OPT: the optimiser, a script for node.
# Nothing is installed on the system, and no script of a package runs. WASM_FROM=debian takes the long way even where there is a
# short one.

say() { echo "web: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

WASM=wasm32-unknown-unknown
# Debian's compiler for browsers comes with the sources of its standard library. Only the first three are of interest; the others
# are what the compiler loads.
DEBIAN_PACKAGES="rustc-web libstd-rust-web-dev rust-web-src libllvm22 libz3-4 libxml2 libedit2 libbsd0 libmd0 libffi8 libzstd1 libicu72"

host_sysroot() { ${RUSTC:-rustc} --print sysroot; }

# The short way: the installed toolchain has the library, or its rustup gets it.
has_wasm_library() {
    if [ "${WASM_FROM:-}" = debian ]; then return 1; fi
    if [ -n "$(find "$(host_sysroot)/lib/rustlib/$WASM/lib" -name 'libstd-*.rlib' 2>/dev/null | head -n 1)" ]; then return 0; fi
    if [ -e "$TARGET/wasm-compiler/done" ] || ! command -v rustup >/dev/null 2>&1; then return 1; fi
    say "asking rustup for the standard library of $WASM"
    if ! rustup target add "$WASM" >/dev/null 2>&1; then return 1; fi
    [ -d "$(host_sysroot)/lib/rustlib/$WASM/lib" ]
}

# The long way: the packages of Debian's security archive, unpacked into a folder.
unpack_compiler() {
    compiler=$TARGET/wasm-compiler
    if [ -e "$compiler/done" ]; then return 0; fi
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
        fail "there is no standard library for $WASM: run 'rustup target add $WASM', or build on Debian"
    fi
    say "rustup has no $WASM here, so Debian's compiler for it is unpacked into $compiler (140 MB)"
    rm -rf "$compiler"
    mkdir -p "$compiler/packages"
    # The library's package has its version in its name.
    library=$(apt-cache depends rustc-web libstd-rust-web-dev | grep -o 'libstd-rust-web-[0-9.]*' | sort -V | tail -n 1)
    # shellcheck disable=SC2086 # one word each
    (cd "$compiler/packages" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" $DEBIAN_PACKAGES $library >/dev/null) ||
        fail "Debian's packages cannot be had: run 'apt-get update', and check that the apt sources name the security archive"
    for package in "$compiler"/packages/*.deb; do dpkg-deb -x "$package" "$compiler"; done
    rm -rf "$compiler/packages"
    touch "$compiler/done"
}

# Only the compiler is Debian's. Cargo and the linker are those of the installed toolchain, cargo without rustup's proxy, which
# would put its own compiler in front.
wasm_cargo() {
    if [ -n "$WASM_IS_INSTALLED" ]; then
        ${CARGO:-cargo} "$@" --target "$WASM"
        return
    fi
    host=$(host_sysroot)
    triple=$(${RUSTC:-rustc} -vV | sed -n 's/^host: //p')
    RUSTC=$TARGET/wasm-compiler/usr/bin/rustc \
        LD_LIBRARY_PATH=$(dirname "$TARGET"/wasm-compiler/usr/lib/*/librustc_driver-*.so) \
        RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$host/lib/rustlib/$triple/bin/rust-lld \
        "$host/bin/cargo" "$@" -Z build-std=std,panic_abort --target "$WASM"
}

build_bindgen() {
    BINDGEN=$TARGET/web-tools/release/web-bindgen
    if [ ! -e "$BINDGEN" ] || [ "$WEB/bindgen/Cargo.lock" -nt "$BINDGEN" ] || [ "$WEB/bindgen/src/main.rs" -nt "$BINDGEN" ]; then
        say "building the program that makes modules loadable from JavaScript (2 minutes on one core)"
        CARGO_TARGET_DIR=$TARGET/web-tools ${CARGO:-cargo} build --release --locked --quiet --manifest-path "$WEB/bindgen/Cargo.toml"
        touch "$BINDGEN"
    fi
}

install_optimiser() {
    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        fail "the optimiser needs node 18 or newer with npm (Debian: apt-get install nodejs npm)"
    fi
    # npm leaves this file when it has installed what the lock names.
    if [ ! -e "$WEB/node_modules/.package-lock.json" ] || [ "$WEB/package-lock.json" -nt "$WEB/node_modules/.package-lock.json" ]; then
        say "installing the optimiser (npm's binaryen) into $WEB/node_modules"
        npm ci --prefix "$WEB" --ignore-scripts --no-audit --no-fund --silent || fail "npm could not install binaryen"
    fi
    WASM_OPT=$WEB/node_modules/binaryen/bin/wasm-opt
}

WASM_IS_INSTALLED=
if has_wasm_library; then WASM_IS_INSTALLED=yes; else unpack_compiler; fi
build_bindgen
install_optimiser
