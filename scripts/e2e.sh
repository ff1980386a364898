#!/bin/sh
# Run the end-to-end tests (tests/e2e) on the cluster in KUBECONFIG: build the images, load them, and run the tests.
# Arguments are passed to pytest:
#
#   scripts/e2e.sh -k scaling
#   scripts/e2e.sh --images     only build and load the images
#
#   E2E_LOAD         command that loads an archive of images into the cluster; the file name is appended. Default: the
#                    command of the test cluster if there is one, otherwise kind
#   E2E_BUILD        0: the images are already in the cluster
#   E2E_CUT, E2E_HEAL  commands that disconnect a Kubernetes node from the network and reconnect it; the node name is
#                    appended. Default: the commands of the test cluster; without them, that test is skipped
#   E2E_IDLE_SECONDS time for which an idle operator is observed, default 60
#   E2E_PREFIX       for a shared cluster: prefix of the names of all namespaces; the operator watches only these
#   E2E_RESULTS      directory for figures and for the diagnostics of failed tests, default build/e2e
set -eu

cd "$(dirname "$0")/.."
: "${KUBECONFIG:?must be set to the kubeconfig of a cluster}"
results=${E2E_RESULTS:-build/e2e}
cluster=$PWD/../shared/cluster/cluster
if [ -x "$cluster" ]; then
    # The commands take the number of a node: 2 for kube-node-2.
    [ -n "${E2E_CUT+set}" ] || export E2E_CUT="sh -c '$cluster cut \${0##*-}'"
    [ -n "${E2E_HEAL+set}" ] || export E2E_HEAL="sh -c '$cluster heal \${0##*-}'"
fi
export E2E=1 E2E_RESULTS="$results" E2E_NEXT_TAG=next

mkdir -p "$results"
if [ "${E2E_BUILD:-1}" != 0 ]; then
    echo "Building and loading the images; the log is $results/images.log" >&2
    scripts/load_images.sh "$results" >"$results/images.log" 2>&1 || { tail -n 40 "$results/images.log" >&2; exit 1; }
fi
[ "${1:-}" != --images ] || exit 0
exec .venv/bin/python -m pytest tests/e2e "$@"
