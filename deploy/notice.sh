#!/bin/sh
# Collects the licences of everything that the binaries contain, for the image: `deploy/notice.sh DIRECTORY`.
#
# Writes DIRECTORY/NOTICE, one line for each crate with its licence, and the licence texts of each crate and of the C libraries
# inside it below DIRECTORY/licenses. Run it after a build, in the workspace: the sources are in Cargo's registry then.
set -eu

target=$1
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
mkdir -p "$target/licenses"
{
    echo "Millrace is licensed under Apache-2.0. Its binaries contain these packages; their texts are in licenses/."
    echo
    cargo tree --locked --edges normal,no-proc-macro --prefix none --no-dedupe --format '{p} ({l})' \
        --package ingest --package enrich --package aggregate --package millrace \
        | grep -v "^$\| (/\|(proc-macro)" | sed 's/ (\*)$//' | sort -u
} > "$target/NOTICE"

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
