#!/bin/sh
# Install Azurite, the emulator of Azure Blob Storage, into build/ and print the path of its program.
# If this version is already installed, the script needs no network.
set -eu

version=3.35.0
build=$(cd "$(dirname "$0")/.." && pwd)/build
home=$build/azurite
program=$home/node_modules/.bin/azurite-blob

installed() {
    [ -x "$program" ] && grep -q "\"azurite\": \"$version\"" "$home/package.json"
}

if ! installed; then
    # Installed into a temporary directory and then renamed, so that concurrent or aborted runs leave no partial install.
    mkdir -p "$build"
    work=$(mktemp -d "$build/azurite.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    npm install --prefix "$work" --no-audit --no-fund --save-exact "azurite@$version" >&2
    installed || { rm -rf "$home" && mv "$work" "$home"; }
fi
echo "$program"
