#!/bin/sh
# The quick start: install the operator, start a blob store, build a collection, create a cache, and search. Images must be
# built with scripts/images.sh and loaded into the cluster or pushed to its registry. README.md shows the same commands, and
# the end-to-end tests run this script.
set -eux
cd "$(dirname "$0")/../.."

helm install vectorcache charts/vectorcache --namespace vectorcache-system --create-namespace --wait
kubectl create namespace words
kubectl --namespace words apply -f examples/quickstart/azurite.yaml
kubectl --namespace words apply -f examples/quickstart/build.yaml
kubectl --namespace words wait --for=condition=Complete job/build-glove --timeout=5m
kubectl --namespace words apply -f examples/quickstart/vectorcache.yaml
kubectl --namespace words wait --for=condition=Ready vectorcache/words --timeout=2m
kubectl --namespace words apply -f examples/quickstart/search.yaml
kubectl --namespace words wait --for=condition=Complete job/search --timeout=1m
kubectl --namespace words logs job/search
