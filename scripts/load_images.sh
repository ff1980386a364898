#!/bin/sh
# Build all images, including Azurite, and load them into a cluster without a registry.
#
#   scripts/load_images.sh DIRECTORY   DIRECTORY is used for temporary archives
#
#   E2E_LOAD           command that loads an archive of images into the cluster; the file name is appended. Default: the
#                      command of the test cluster if there is one, otherwise kind
#   E2E_NEXT_TAG       second tag of the node image, for tests of rolling updates; default: none
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
