# SPDX-License-Identifier: Apache-2.0
# `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
export NODES ?= 3
# local: the cluster of deploy/local. kind: the one of deploy/kind, where Docker works.
CLUSTER ?= local
CLUSTER_COMMAND := deploy/$(CLUSTER)/cluster
export EVIDENCERUN_E2E_CLUSTER := $(CLUSTER)
PYTEST := $(BIN)/pytest

LOCKS := requirements.lock deploy/images/requirements-build.txt pyproject.toml
STAMP := $(VENV)/.made-from-$(shell cat $(LOCKS) | sha256sum | cut -c1-16)
COMPILE := uv pip compile -q --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  %-18s %s\n", $$1, $$2}'

# --- the programs -------------------------------------------------------------------------------------------------

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, this is {sys.version}")'
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked requirements into $(VENV)"
	@# Without --no-deps an older pip resolves anew, and refuses the lock once a dependency has a newer release.
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock -r deploy/images/requirements-build.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/pip check --disable-pip-version-check >/dev/null || { $(BIN)/pip check --disable-pip-version-check; exit 1; }
	@rm -f $(VENV)/.made-from-*; touch $@

.PHONY: dev
dev: $(STAMP) ## .venv with all locked requirements and this project, editable

.PHONY: lock
lock: $(STAMP) ## renew requirements.lock and the locks of the images from pyproject.toml
	@$(BIN)/pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/$(COMPILE) --universal pyproject.toml --all-extras --group dev -o requirements.lock
	$(BIN)/$(COMPILE) --python-platform linux pyproject.toml --extra operator --extra store \
	  -c requirements.lock -o deploy/images/requirements-evidencerun.txt
	$(BIN)/$(COMPILE) --python-platform linux deploy/images/requirements-probe.in \
	  -c requirements.lock -o deploy/images/requirements-probe.txt
	$(BIN)/$(COMPILE) --python-platform linux deploy/images/requirements-build.in \
	  -c requirements.lock -o deploy/images/requirements-build.txt

.PHONY: tools
tools: ## build kubectl, helm, cosign, oras and the cluster's programs (Go modules; cached outside the checkout)
	@deploy/local/tools build

.PHONY: images
images: $(STAMP) ## build both images as OCI archives below build/images, without Docker
	@$(BIN)/python deploy/images/build.py

.PHONY: images-check
images-check: $(STAMP) ## build the images twice, compare the digests, and try them (needs root)
	@$(BIN)/python deploy/images/build.py check

.PHONY: generate
generate: $(STAMP) ## write what is generated: CRDs, JSON Schemas, docs/rights.md, the chart's schema, kustomize manifests
	@$(BIN)/python -m evidencerun_operator.crd crds
	@rm -f charts/evidencerun/crds/*.yaml && cp crds/*.yaml charts/evidencerun/crds/
	@$(BIN)/python -m evidencerun.cli.spec_files docs
	@$(BIN)/python deploy/chart/rights.py
	@$(BIN)/python deploy/chart/values_schema.py
	@$(BIN)/python deploy/docs/errors.py
	@$(BIN)/python deploy/kustomize/render.py

# --- the cluster --------------------------------------------------------------------------------------------------

.PHONY: cluster-up
cluster-up: ## bring up a Kubernetes cluster on this machine (NODES=3, CLUSTER=local|kind)
	@$(CLUSTER_COMMAND) up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## end the cluster and leave nothing behind
	@$(CLUSTER_COMMAND) down

.PHONY: cluster-not-foreign
cluster-not-foreign:
	@# Exit code 3: another checkout's. Asked before anything that takes minutes.
	@words=$$($(CLUSTER_COMMAND) status 2>&1 >/dev/null) || { [ $$? -ne 3 ] || { echo "$$words" >&2; exit 3; }; }

.PHONY: install-local
install-local: cluster-not-foreign $(STAMP) ## build the images, load them into the cluster, install the chart there
	@$(BIN)/python deploy/demo/demo.py install

.PHONY: demo
demo: cluster-not-foreign $(STAMP) ## everything: cluster, install, run, signed bundle below build/demo, verified
	@$(BIN)/python deploy/demo/demo.py

# --- tests --------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: $(STAMP) ## ruff, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy deploy/chart/rights.py deploy/chart/values_schema.py deploy/kustomize/render.py
	@cd deploy/images && $(CURDIR)/$(BIN)/mypy --strict build.py
	@cd deploy/demo && $(CURDIR)/$(BIN)/mypy --strict demo.py bench.py bench_core.py bench_store.py
	@$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## format the Python files
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: test
test: ## lint, unit, integration and end-to-end tests, with the time of each
	@deploy/stages lint tools images test-unit test-integration test-e2e

.PHONY: test-unit
test-unit: $(STAMP) ## fast, offline, on all cores
	@$(PYTEST) -n auto --dist worksteal -m "not long" tests/unit

.PHONY: test-integration
test-integration: $(STAMP) ## against a real API server without nodes, and against the Go libraries that AICR uses
	@$(PYTEST) tests/integration tests/differential

.PHONY: test-e2e
test-e2e: $(STAMP) ## on the cluster, which is brought up if it does not run (CLUSTER=local|kind)
	@$(PYTEST) -m "not long" tests/e2e

.PHONY: test-long
test-long: $(STAMP) ## what takes longer: reproducible images, documents against yaml.v3, changed bundles, more faults
	@deploy/stages images-check test-unit-long test-differential test-hostile test-e2e-long

.PHONY: test-e2e-long
test-e2e-long: $(STAMP)
	@$(PYTEST) -m long tests/e2e

.PHONY: test-unit-long
test-unit-long: $(STAMP)
	@$(PYTEST) -m long tests/unit

.PHONY: test-hostile
test-hostile: $(STAMP) ## many more changed documents against the verifier than the unit tests try
	@EVIDENCERUN_TEST_ROUNDS=1500 $(PYTEST) tests/unit/evidencerun/verify/test_verify_hostile_documents.py

.PHONY: test-differential
test-differential: $(STAMP)
	@$(PYTEST) tests/differential

.PHONY: bench
bench: $(STAMP) ## measure the core, then runs on the cluster: seconds per state, memory, image sizes
	@$(BIN)/python deploy/demo/bench_core.py
	@$(BIN)/python deploy/demo/bench_store.py
	@$(BIN)/python deploy/demo/bench.py

.PHONY: clean
clean: ## remove what was built in the checkout (.venv stays; programs in the cache stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
