# Development tasks; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BLOB ?= folder
PYTEST_ARGS ?=
JOBS ?= 2
DEMO_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv azurite demo test test-exhaustive test-all lint format docs bench bench-large images e2e kind-demo generate clean

help: ## List the targets of this Makefile
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Create the virtual environment in .venv (PYTHON=python3.11 selects the interpreter)

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(wildcard core/vectorcache/vectors/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make venv PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@  # --no-compile above: modules are compiled on import; compiling all of them would double the time

azurite: ## Install Azurite, the emulator of Azure Blob Storage, into build/ (needs npm)
	scripts/azurite.sh

demo: venv $(if $(filter azurite,$(BLOB)),azurite) ## Run the demo on real data (BLOB=folder or azurite, DEMO_ARGS=--quick)
	$(BIN)/vectorcache demo --blobs $(BLOB) $(DEMO_ARGS)

test: venv ## Run the tests (PYTEST_ARGS='-k ring', JOBS=2); without npm, tests that need Azurite are skipped
	@! command -v npm >/dev/null || scripts/azurite.sh >/dev/null || echo "Azurite could not be installed" >&2
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadgroup -m "not exhaustive" $(PYTEST_ARGS)

test-exhaustive: venv ## Run the sweeps that `make test` leaves out
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadgroup -m exhaustive $(PYTEST_ARGS)

test-all: test test-exhaustive ## Run all tests, as CI does

lint: venv ## Check style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## Format the code and fix lint errors
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: venv ## Build the documentation site in build/site; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: venv ## Run the benchmarks of docs/benchmarks.md; results are written to build/benchmarks (20 minutes)
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

bench-large: venv azurite ## Run the long benchmarks: growth, other databases, little memory, cold start, large fleets (1 hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.chunk_index text-256 --vectors 500000
	$(BIN)/python -m benchmarks.chunk_index text-384 --vectors 100000
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.tight_memory
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.scale_model

images: ## Build the images of the operator, node, router and client with docker or buildah (TAG=0.2.0)
	scripts/images.sh $(if $(TAG),--tag $(TAG))

e2e: venv ## Run the end-to-end tests on the cluster in KUBECONFIG (see scripts/e2e.sh)
	scripts/e2e.sh $(E2E_ARGS)

kind-demo: ## Run the quick start on a new local Kubernetes cluster (needs docker, kind, kubectl and helm)
	scripts/kind-demo.sh

generate: venv ## Regenerate the resource reference, the chart's README and its CRD
	$(BIN)/python -P scripts/resource_docs.py
	$(BIN)/python -P scripts/chart_crd.py
	$(BIN)/python -P scripts/chart_docs.py

clean: ## Remove build results and tool caches, but keep .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
