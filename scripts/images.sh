#!/bin/sh
# Build the images with docker or buildah, and print their names.
#
#   scripts/images.sh [--name PREFIX] [--tag TAG] [--save FILE.tar] [IMAGE...]
#
#   IMAGE          operator, node, router or client; default: all four. azurite builds the emulator of Azure Blob Storage
#                  for the quick start, always as localhost/azurite:3
#   --name PREFIX  prefix of the image names, default vectorcache/
#   --tag TAG      tag of the images, default: the version
#   --save FILE    also save the images to an archive for `kind load image-archive` and `ctr images import`
#
#   CONTAINER_TOOL docker or buildah; default: the first of them that works
#   BASE           base image, default: that of the Dockerfile
#   BUILD_FLAGS    additional flags for the build
set -eu

cd "$(dirname "$0")/.."
name=vectorcache/
tag=
save=
images=

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
        --name) name=$2; shift 2 ;;
        --tag) tag=$2; shift 2 ;;
        --save) save=$2; shift 2 ;;
        -h | --help) usage; exit ;;
        operator | node | router | client | azurite) images="$images $1"; shift ;;
        *) usage >&2; exit 2 ;;
    esac
done
images=${images:-operator node router client}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' core/vectorcache/__init__.py)
tag=${tag:-$version}

tool=${CONTAINER_TOOL:-}
if [ -z "$tool" ]; then
    if docker info >/dev/null 2>&1; then
        tool=docker
    elif command -v buildah >/dev/null; then
        tool=buildah
    else
        echo "neither a running docker nor buildah was found; set CONTAINER_TOOL" >&2
        exit 1
    fi
fi

# A test cluster without a registry provides its own base image and build flags.
cluster=$PWD/../shared/cluster/cluster
if [ -z "${BUILD_FLAGS+set}" ] && [ "$tool" = buildah ] && [ -x "$cluster" ]; then
    "$cluster" base-image
    BUILD_FLAGS=$("$cluster" build-flags)
fi

# All files and images get the same timestamp, so that the same sources produce the same image.
epoch=315532800
set -- --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
[ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"

build() { # FLAG...
    case $tool in
        buildah)
            # shellcheck disable=SC2086 # flags are words
            buildah bud --layers --timestamp $epoch ${BUILD_FLAGS:-} "$@"
            ;;
        *)
            # shellcheck disable=SC2086
            SOURCE_DATE_EPOCH=$epoch DOCKER_BUILDKIT=1 "$tool" build ${BUILD_FLAGS:-} "$@"
            ;;
    esac
}

archive() { # FILE NAME...
    file=$1
    shift
    mkdir -p "$(dirname "$file")"
    if [ "$tool" != buildah ]; then
        "$tool" save --output "$file" "$@"
        return
    fi
    # All images are written to one OCI layout, because they share most of their layers.
    layout=$PWD/build/images/layout
    rm -rf "$layout"
    mkdir -p "$layout"
    for one; do
        buildah push --quiet --compression-format zstd --compression-level 1 "$one" "oci:$layout:$one"
    done
    # containerd needs image names with a registry. Without one, container runtimes assume that of the Dockerfile's base.
    registry=$(sed -n 's#^ARG BASE=\([^/]*/\).*#\1#p' Dockerfile)
    key=org.opencontainers.image.ref.name
    sed -i "s#\"$key\":\"\([^\"]*\)\"#&,\"io.containerd.image.name\":\"$registry\1\"#g
        s#\"$registry\([^/\"]*[.:][^/\"]*/\|localhost/\)#\"\1#g" "$layout/index.json"
    manifests=$(blobs "$layout/index.json")
    # shellcheck disable=SC2086 # paths without spaces
    (cd "$layout" && blobs $manifests) | sort -u | tar --create --file "$file" --directory "$layout" \
        oci-layout index.json $manifests --files-from -
}

blobs() { # FILE...: print the paths of the blobs that the files refer to
    grep -ohE '"digest": *"sha256:[0-9a-f]{64}' "$@" | sed 's#.*"sha256:#blobs/sha256/#' | sort -u
}

for image in $images; do
    if [ "$image" = azurite ]; then
        full=localhost/azurite:3
        build "$@" --tag $full examples/azurite >&2
    else
        full=$name$image:$tag
        build "$@" --target "$image" --tag "$full" . >&2
    fi
    names="${names:-} $full"
done
# shellcheck disable=SC2086 # names are words
[ -z "$save" ] || archive "$save" $names >&2
# shellcheck disable=SC2086
printf '%s\n' $names
