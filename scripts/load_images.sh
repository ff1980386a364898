#!/bin/sh
# Build all images, Azurite's too, and load them into a cluster that has no registry.
#
#   scripts/load_images.sh FOLDER      FOLDER is where archives are for a while
#
#   E2E_LOAD           command that loads an archive of images into the cluster; the file's name is appended. Default: the
#                      test cluster's, or else kind's
#   E2E_NEXT_TAG       a second tag of the node's image, for tests that roll to another one; none unless given
set -eu

cd "$(dirname "$0")/.."
folder=$1
cluster=$PWD/../shared/cluster/cluster
mkdir -p "$folder"

load() { # FILE
    if [ -n "${E2E_LOAD:-}" ]; then
        $E2E_LOAD "$1"
    elif [ -x "$cluster" ]; then
        "$cluster" load "$1"
    else
        kind load image-archive "$1"
    fi
    rm -f "$1"
}

azurite=azurite
if [ -x "$cluster" ] && [ -z "${E2E_LOAD:-}" ]; then
    "$cluster" azurite-image
    azurite=
fi
scripts/images.sh --save "$folder/images.tar" operator node router client $azurite
load "$folder/images.tar"
if [ -n "${E2E_NEXT_TAG:-}" ]; then
    scripts/images.sh --tag "$E2E_NEXT_TAG" --save "$folder/next.tar" node
    load "$folder/next.tar"
fi
