# Sourced by run.sh and picture.sh, with the folder of both in $folder: finds Chromium, node and the npm packages, and installs
# what is missing on Debian and Ubuntu. Where that cannot be had it says so and ends the script: with success, unless
# REQUIRE_BROWSER is set.

not_run() {
    echo "browser: NOT RUN, $1" >&2
    if [ -n "${REQUIRE_BROWSER:-}" ]; then exit 1; fi
    exit 0
}

install() {
    if ! command -v apt-get >/dev/null 2>&1; then return 1; fi
    if [ "$(id -u)" = 0 ]; then SUDO=; elif command -v sudo >/dev/null 2>&1; then SUDO=sudo; else return 1; fi
    echo "browser: installing $*"
    $SUDO apt-get update -qq && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [ -z "${CHROMIUM:-}" ]; then
    for name in chromium chromium-browser google-chrome; do
        CHROMIUM=$(command -v "$name" || true)
        if [ -n "$CHROMIUM" ]; then break; fi
    done
    if [ -z "$CHROMIUM" ]; then
        install chromium fonts-dejavu-core || not_run "there is no Chromium: install the package chromium, or name one in CHROMIUM"
        CHROMIUM=$(command -v chromium)
    fi
    export CHROMIUM
fi
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    install nodejs npm || not_run "it needs node 18 or newer with npm"
fi
if [ ! -e "$folder/node_modules/.package-lock.json" ] || [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent || not_run "npm could not install playwright-core and axe-core"
fi
