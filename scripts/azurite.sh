#!/bin/sh
# Install Azurite, the emulator of Azure Blob Storage, below build/ and print the path of its program.
# Does nothing, and needs no network, where that version is there already.
set -eu

version=3.35.0
build=$(cd "$(dirname "$0")/.." && pwd)/build
home=$build/azurite
program=$home/node_modules/.bin/azurite-blob

installed() {
    [ -x "$program" ] && grep -q "\"azurite\": \"$version\"" "$home/package.json"
}

if ! installed; then
    # Beside its place and then renamed: two of these at once, or one that breaks off, leave no half of it.
    mkdir -p "$build"
    work=$(mktemp -d "$build/azurite.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    npm install --prefix "$work" --no-audit --no-fund --save-exact "azurite@$version" >&2
    installed || { rm -rf "$home" && mv "$work" "$home"; }
fi
echo "$program"
