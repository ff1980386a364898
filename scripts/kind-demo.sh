#!/bin/sh
# Run VectorCache on a local Kubernetes cluster with docker and kind. The script creates the cluster, builds and loads the
# images, and runs the quick start, which installs the chart, starts Azurite as the blob store, builds a collection with a
# Job, searches from a pod and prints the result. A second run reuses the cluster and starts from scratch.
#
#   scripts/kind-demo.sh [delete]
#
#   delete        delete the cluster
#   KIND_CLUSTER  name of the cluster, default vectorcache
#   E2E_LOAD      use the existing cluster in KUBECONFIG instead of kind. The value is the command that loads an archive
#                 of images into it; the file name is appended
#   KUBECONFIG    with E2E_LOAD: kubeconfig of the existing cluster
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
    say "Creating the cluster"
    export KUBECONFIG="$folder/kubeconfig"
    if kind get clusters | grep -qx "$name"; then
        kind export kubeconfig --name "$name"
    else
        kind create cluster --name "$name" --config examples/quickstart/kind.yaml --wait 2m
    fi
    export E2E_LOAD="kind load image-archive --name $name"
fi

say "Building and loading the images; the first build takes some minutes"
scripts/load_images.sh "$folder"

say "Running the quick start, after deleting the resources of an earlier run"
helm uninstall vectorcache --namespace vectorcache-system --ignore-not-found --wait
kubectl delete namespace words --ignore-not-found --timeout=2m
examples/quickstart/run.sh

say "Resources"
kubectl --namespace words get vectorcaches,pods --output wide
cat >&2 <<END

Next steps:
    export KUBECONFIG=$KUBECONFIG
    kubectl -n words scale vectorcache words --replicas=5
    kubectl -n words get vectorcache words --watch
    scripts/kind-demo.sh delete
END
