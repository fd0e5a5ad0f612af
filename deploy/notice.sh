#!/bin/sh
# Collects the licences of everything that the binaries contain, for the image: `deploy/notice.sh DIRECTORY`.
#
# Writes DIRECTORY/NOTICE, one line for each crate with its licence, and the licence texts of each crate and of the C libraries
# inside it below DIRECTORY/licenses. Run it after a build, in the workspace: the sources are in Cargo's registry then.
set -eu

target=$1
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
mkdir -p "$target/licenses"

# A file instead of a pipe: a pipe hides the failure of its first command.
tree() {
    cargo tree --locked --edges "$1" --prefix none --no-dedupe --format '{p} ({l})' \
        --package ingest --package enrich --package aggregate --package millrace > "$target/tree"
}
tree normal,no-proc-macro
grep -v "^$\| (/\|(proc-macro)" "$target/tree" > "$target/crates"
# OpenSSL's source is a dependency of a build script, and is linked into the binaries. Other dependencies of build scripts are not.
tree normal,build,no-proc-macro
sed -n '/^openssl-src v/p' "$target/tree" >> "$target/crates"
{
    echo "Millrace is licensed under Apache-2.0. Its binaries contain these packages; their texts are in licenses/."
    echo
    sed 's/ (\*)$//' "$target/crates" | sort -u
} > "$target/NOTICE"
rm "$target/tree" "$target/crates"

for crate in rdkafka-sys openssl-src; do
    if ! grep -q "^$crate v" "$target/NOTICE"; then
        echo "error: $crate is not in $target/NOTICE, although the binaries contain it" >&2
        exit 1
    fi
done

sed -n 's/^\([A-Za-z0-9_-]*\) v\([^ ]*\) (.*/\1-\2/p' "$target/NOTICE" | while read -r crate; do
    source=$(find "$sources" -mindepth 2 -maxdepth 2 -name "$crate" | head -n 1)
    if [ -z "$source" ]; then
        echo "error: $crate is not in $sources: build first" >&2
        exit 1
    fi
    (cd "$source" && find . -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'copyright*' \) \
        ! -name '*.rs' ! -name '*.html' -print) | while read -r text; do
        mkdir -p "$target/licenses/$crate/$(dirname "$text")"
        cp "$source/$text" "$target/licenses/$crate/$text"
    done
done
