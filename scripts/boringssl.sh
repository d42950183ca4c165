#!/bin/sh
# Builds BoringSSL: static, hidden symbols, prefixed with TPB_, from the distribution's source tarball.
#
#   scripts/boringssl.sh PREFIX_DIR [SOURCE_DIR]
#
# PREFIX_DIR receives include/ and lib/. A finished build carries the file PREFIX_DIR/.done, and a second
# run returns at once. With SOURCE_DIR (a BoringSSL tree with android-sources.cmake) nothing is downloaded.
# No Go and no Perl are needed: the tarball brings its generated files.
set -eu

version=14.0.0+r45
sha256=f9223e8c15ad5d9e3f1cd50861f4c272658864661e2332bea5d60952aa0930cd
name=android-platform-external-boringssl
# Debian 12's own version, for mirrors that no longer carry the newer one.
fallback_version=13.0.0+r24

prefix=${1:?usage: boringssl.sh PREFIX_DIR [SOURCE_DIR]}
source_dir=${2:-}
here=$(cd "$(dirname "$0")" && pwd)

[ -f "$prefix/.done" ] && exit 0
mkdir -p "$prefix"
work=$(mktemp -d "$prefix/build.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# Every Debian mirror that this system's package configuration names.
mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null | sort -u
}

fetch() {
    for mirror in $(mirrors); do
        url="${mirror%/}/pool/main/a/$name/${name}_$version.orig.tar.xz"
        echo "boringssl: fetching ${name}_$version from the configured mirror" >&2
        if /usr/lib/apt/apt-helper download-file "$url" "$work/src.tar.xz" "SHA256:$sha256" >"$work/fetch.log" 2>&1; then
            return 0
        fi
    done
    return 1
}

# The tarball of the distribution's own release, checked by apt against the signed index.
fetch_fallback() {
    echo "boringssl: $version is not on the mirror, trying $fallback_version" >&2
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    for mirror in $(mirrors); do
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
    done > "$work/apt/sources.list"
    (
        cd "$work"
        set -- -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache"
        apt-get "$@" update >/dev/null 2>&1 || true
        apt-get "$@" source --download-only "$name" >/dev/null 2>&1
        mv "${name}_$fallback_version".orig.tar.xz src.tar.xz
    )
}

if [ -z "$source_dir" ]; then
    if ! fetch && ! fetch_fallback; then
        echo "boringssl: no configured mirror serves ${name}; give a source tree with -DTPORT_BORINGSSL_ROOT=DIR" >&2
        exit 1
    fi
    mkdir "$work/src"
    tar -xJf "$work/src.tar.xz" -C "$work/src" --strip-components=1
    source_dir=$work/src
fi

generator="Unix Makefiles"
command -v ninja >/dev/null 2>&1 && generator=Ninja
configure() {
    cmake -S "$here/../cmake/boringssl" -B "$work/$1" -G "$generator" -DCMAKE_BUILD_TYPE=Release \
        -DBORINGSSL_ROOT="$source_dir/" -DPREFIX_INCLUDE="$2" >"$work/$1.log" 2>&1
}

# First pass: the symbols there are. Second pass: the same, each with our prefix.
echo "boringssl: building (about three minutes on two cores, once per machine)" >&2
configure plain ""
cmake --build "$work/plain" -j "$(nproc)" >>"$work/plain.log" 2>&1 || { tail -20 "$work/plain.log" >&2; exit 1; }
mkdir "$work/prefix"
nm -g --defined-only "$work/plain/libbcrypto.a" "$work/plain/libbssl.a" 2>/dev/null |
    awk 'NF==3 && $3 !~ /^_Z/ {print $3}' | sort -u > "$work/symbols"
for form in "" _asm; do
    guard="TPB_PREFIX_SYMBOLS${form}_H"
    {
        echo "#ifndef $guard"
        echo "#define $guard"
        echo "#ifndef BORINGSSL_ADD_PREFIX"
        echo "#define BORINGSSL_ADD_PREFIX_INNER(a, b) a##_##b"
        echo "#define BORINGSSL_ADD_PREFIX(a, b) BORINGSSL_ADD_PREFIX_INNER(a, b)"
        echo "#endif"
        awk '{printf "#define %s BORINGSSL_ADD_PREFIX(BORINGSSL_PREFIX, %s)\n", $1, $1}' "$work/symbols"
        echo "#endif"
    } > "$work/prefix/boringssl_prefix_symbols$form.h"
done
configure final "$work/prefix"
cmake --build "$work/final" -j "$(nproc)" >>"$work/final.log" 2>&1 || { tail -20 "$work/final.log" >&2; exit 1; }

if nm -g --defined-only "$work/final/libbcrypto.a" "$work/final/libbssl.a" 2>/dev/null |
    awk 'NF==3 && $3 !~ /^_Z/ && $3 !~ /^TPB_/ {found=1} END {exit !found}'; then
    echo "boringssl: some symbols kept their plain names; the build would clash with OpenSSL" >&2
    exit 1
fi

mkdir -p "$prefix/include" "$prefix/lib"
cp -r "$source_dir/src/include/openssl" "$prefix/include/"
cp "$work/prefix/"*.h "$prefix/include/"
cp "$work/final/libbcrypto.a" "$work/final/libbssl.a" "$prefix/lib/"
touch "$prefix/.done"
echo "boringssl: kept in $prefix" >&2
