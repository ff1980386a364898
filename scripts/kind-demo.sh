#!/bin/sh
# VectorCache on a cluster of its own on this machine, by docker and kind: creates the cluster, builds and loads the images,
# and runs the quick start, which installs the chart, starts Azurite as the blob store, builds a collection with a Job,
# searches from a pod and prints the answer. A second run begins anew on the same cluster.
#
#   scripts/kind-demo.sh [delete]
#
#   delete        removes the cluster
#   KIND_CLUSTER  its name, default vectorcache
#   KUBECONFIG    with E2E_LOAD: of a cluster that is there already; then kind is not needed and nothing is created
#   E2E_LOAD      command that loads an archive of images into that cluster; the file's name is appended
set -eu

cd "$(dirname "$0")/.."
name=${KIND_CLUSTER:-vectorcache}
folder=$PWD/build/kind-demo

need() { # PROGRAM...
    for program; do
        command -v "$program" >/dev/null || { echo "$program is needed" >&2; exit 1; }
    done
}

say() {
    printf '\n=== %s\n' "$*" >&2
}

mkdir -p "$folder"
need kubectl helm
if [ -z "${E2E_LOAD:-}" ]; then
    need docker kind
    if [ "${1:-}" = delete ]; then
        kind delete cluster --name "$name"
        exit
    fi
    say "a cluster"
    export KUBECONFIG="$folder/kubeconfig"
    if kind get clusters | grep -qx "$name"; then
        kind export kubeconfig --name "$name"
    else
        kind create cluster --name "$name" --config examples/quickstart/kind.yaml --wait 2m
    fi
    export E2E_LOAD="kind load image-archive --name $name"
fi

say "images; the first time takes some minutes"
scripts/load_images.sh "$folder"

say "the quick start, after what is left of an earlier one is gone"
helm uninstall vectorcache --namespace vectorcache-system --ignore-not-found --wait
kubectl delete namespace words --ignore-not-found --timeout=2m
examples/quickstart/run.sh

say "what there is now"
kubectl --namespace words get vectorcaches,pods --output wide
cat >&2 <<END

Go on:
    export KUBECONFIG=$KUBECONFIG
    kubectl -n words scale vectorcache words --replicas=5
    kubectl -n words get vectorcache words --watch
    scripts/kind-demo.sh delete
END
