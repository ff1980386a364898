# The habits of the house; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BLOB ?= folder
PYTEST_ARGS ?=
JOBS ?= 2
DEMO_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv azurite demo test lint format bench bench-large images e2e kind-demo generate clean

help: ## List what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make the virtual environment in .venv (PYTHON=python3.11 chooses the Python)

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(wildcard core/vectorcache/vectors/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make venv PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@  # bytecode comes as modules are imported: to compile all of them would take as long as the rest

azurite: ## Install Azurite, the emulator of Azure Blob Storage, below build/ (needs npm)
	scripts/azurite.sh

demo: venv $(if $(filter azurite,$(BLOB)),azurite) ## See it run on real data (BLOB=folder or azurite, DEMO_ARGS=--quick)
	$(BIN)/vectorcache demo --blobs $(BLOB) $(DEMO_ARGS)

test: venv ## Run the tests (PYTEST_ARGS='-k ring', JOBS=2); those of Azurite are skipped where npm cannot install it
	@! command -v npm >/dev/null || scripts/azurite.sh >/dev/null || echo "Azurite could not be installed" >&2
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadgroup -m "not alone" $(PYTEST_ARGS)
	$(BIN)/pytest -m alone $(PYTEST_ARGS) || [ $$? -eq 5 ]  # 5: it has none of these

lint: venv ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## Bring the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: venv ## Measure the figures of docs/benchmarks.md; results and a plot come to build/benchmarks (20 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.lru
	$(BIN)/python -m benchmarks.codes
	$(BIN)/python -m benchmarks.exact_search
	$(BIN)/python -m benchmarks.centroids
	$(BIN)/python -m benchmarks.placement
	$(BIN)/python -m benchmarks.chunk_index
	$(BIN)/python -m benchmarks.http_search
	$(BIN)/python -m benchmarks.llm_index
	$(BIN)/python -m benchmarks.llm_response
	$(BIN)/python -m benchmarks.llm_wrong_hits

bench-large: venv azurite ## Measure what takes long: growth, peers, little memory, a cold start, a model of a large fleet (1 hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.chunk_index text-256 --vectors 500000
	$(BIN)/python -m benchmarks.chunk_index text-384 --vectors 100000
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.tight_memory
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.scale_model

images: ## Build the images of the operator, node, router and client, by docker or buildah (TAG=0.1.0)
	scripts/images.sh $(if $(TAG),--tag $(TAG))

e2e: venv ## Run the end-to-end tests on the cluster that KUBECONFIG names (see scripts/e2e.sh)
	scripts/e2e.sh $(E2E_ARGS)

kind-demo: ## See it run on a Kubernetes cluster of its own (needs docker, kind, kubectl and helm)
	scripts/kind-demo.sh

generate: venv ## Write anew what is generated: the resource's reference, the chart's README and its CRD
	$(BIN)/python -P scripts/resource_docs.py
	$(BIN)/python -P scripts/chart_crd.py
	$(BIN)/python -P scripts/chart_docs.py

clean: ## Remove what was built; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
