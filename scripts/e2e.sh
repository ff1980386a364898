#!/bin/sh
# The end-to-end tests (tests/e2e) on the cluster that KUBECONFIG names: build the images, load them, run the tests.
# Arguments go to pytest:
#
#   scripts/e2e.sh -k scaling
#   scripts/e2e.sh --images     only build and load the images
#
#   E2E_LOAD         command that loads an archive of images into the cluster; the file's name is appended. Default: the
#                    test cluster's, or else kind's
#   E2E_BUILD        0: the images are in the cluster already
#   E2E_CUT, E2E_HEAL  commands that take a Kubernetes node off the network and put it back; the node's name is appended.
#                    Default: the test cluster's; without them that test is skipped
#   E2E_IDLE_SECONDS how long an idle operator is watched, default 60
#   E2E_PREFIX       for a cluster that others use too: before the names of all namespaces; the operator watches only these
#   E2E_RESULTS      folder of figures and of what failed tests leave for diagnosis, default build/e2e
set -eu

cd "$(dirname "$0")/.."
: "${KUBECONFIG:?names no cluster}"
results=${E2E_RESULTS:-build/e2e}
cluster=$PWD/../shared/cluster/cluster
if [ -x "$cluster" ]; then
    # It numbers its nodes: kube-node-2 is 2.
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
