#!/bin/sh
# web.sh OUT: the built browser UI, compressed, into the folder OUT (for the assembler). Built once for each state of web/
# and kept in ~/.cache/tport/web, so that only a change of web/ needs node and npm.
set -eu
out=$1
source=$(cd "$(dirname "$0")/../web" && pwd)
cache=${TPORT_CACHE:-$HOME/.cache/tport}/web
state=$(cd "$source" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-32)
mkdir -p "$cache" "$out"
exec 9>"$cache/lock"
flock 9

if [ ! -f "$cache/$state/web_assets.inc" ]; then
    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        echo "web.sh: the browser UI needs node (18 or newer) and npm to be built; run \"scripts/install-deps build\", then build again" >&2
        exit 1
    fi
    modules=$cache/modules-$(cat "$source/package.json" "$source/package-lock.json" | sha256sum | cut -c1-32)
    if [ ! -f "$modules/.done" ]; then
        rm -rf "$modules"
        mkdir -p "$modules"
        cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$modules"
        if ! (cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$cache/npm.log" 2>&1; then
            cat "$cache/npm.log" >&2
            echo "web.sh: npm could not fetch what the browser UI is made of (see above); it needs its package registry once" >&2
            exit 1
        fi
        touch "$modules/.done"
    fi
    work=$cache/work
    rm -rf "$work"
    mkdir -p "$work"
    tar -C "$source" --exclude=./node_modules --exclude=./dist -cf - . | tar -C "$work" -xf -
    ln -s "$modules/node_modules" "$work/node_modules"
    (cd "$work" && npm run --silent build >"$cache/build.log" 2>&1) || { cat "$cache/build.log" >&2; exit 1; }
    (cd "$work" && node embed.mjs dist "$cache/new")
    rm -rf "${cache:?}/$state" "$work"
    mv "$cache/new" "$cache/$state"
    # States of old days go; those of other trees of the last days stay.
    find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -rf {} +
fi
rm -f "$out"/asset*.gz
cp "$cache/$state"/* "$out/"
touch "$out/web_assets.inc"
