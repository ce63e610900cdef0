# Everything starts here: `make run` and `make test` need Python 3.11 and make, nothing else.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v $$p && break; done)
STAMP := $(VENV)/.installed

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

.PHONY: help run test test-all check format setup lock ui repro clean bench-drift bench-windows bench-process bench-retail bench-simclr
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP)  ## the environment alone, in .venv

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 found (looked for python3.11, python3 and python on PATH)." >&2; \
		echo "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@echo "Installing the locked environment into $(VENV) with $(PYTHON): about 7 GB, some minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP)  ## the image pipeline, from stream to registered champion
	@evergreen run images

test: $(STAMP)  ## the tests (under 10 minutes on 2 cores)
	@OMP_WAIT_POLICY=PASSIVE python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)  ## the tests, the long ones too
	@OMP_WAIT_POLICY=PASSIVE python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m ''

check: $(STAMP)  ## ruff, ruff format, mypy, floors between the packages
	ruff check .
	ruff format --check .
	mypy
	python -m pytest -q tests/test_architecture.py tests/test_dvc_deps.py

format: $(STAMP)  ## let ruff tidy up
	ruff check --fix .
	ruff format .

repro: $(STAMP)  ## rebuild everything with DVC alone, no server
	@dvc repro

ui: $(STAMP)  ## MLflow and Prefect in the browser
	@evergreen ui

lock: $(STAMP)  ## resolve pyproject.toml anew into the lock files
	uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements.lock
	uv pip compile pyproject.toml --extra dev --constraint requirements.lock --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements-dev.lock
	uv pip compile pyproject.toml --extra bench --constraint requirements.lock --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements-bench.lock

bench-drift: $(STAMP)  ## drift detectors side by side, on images and on event logs (EVERGREEN_BENCH_DATA)
	@python benchmarks/drift.py

bench-windows: $(STAMP)  ## records per second and memory of the window engine
	@python benchmarks/windowing.py

bench-retail: $(STAMP)  ## all churn models on two streams in both views, three seeds (EVERGREEN_BENCH_DATA); takes about an hour
	@python benchmarks/retail.py

bench-process: $(STAMP)  ## the process model and its rivals on event logs, all seeds (EVERGREEN_BENCH_DATA); takes long
	@python benchmarks/process.py --models all

bench-simclr: $(VENV)/.bench  ## SimCLR against lightly (WORKSPACE=DIR of ingested images, ARGS=... as in benchmarks/simclr.py); takes an hour
	@python benchmarks/simclr.py $(if $(WORKSPACE),--workspace "$(WORKSPACE)") $(ARGS)

$(VENV)/.bench: $(STAMP) requirements-bench.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-bench.lock
	@touch $@

clean:  ## remove the environment; data, models and state stay
	rm -rf $(VENV) build *.egg-info
