# Two commands: `make demo` and `make test`. Both install first if needed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

# The first of these that runs and is 3.11 or 3.12; override with `make install PYTHON=/path/to/python`.
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& { echo $$name; break; }; done)

# sqlfluff renders each model with dbt, which wants a warehouse: an empty one of its own.
SCRATCH := $(VENV)/lint
SQLFLUFF = mkdir -p $(SCRATCH)/warehouse && ATTUNE_HOME=$(CURDIR)/$(SCRATCH) \
	DBT_TARGET_PATH=$(CURDIR)/$(SCRATCH)/dbt DBT_LOG_PATH=$(CURDIR)/$(SCRATCH)/dbt \
	DBT_SEND_ANONYMOUS_USAGE_STATS=false $(BIN)/sqlfluff
SQLFLUFF_QUIETLY := --processes 1 --disable-progress-bar

.PHONY: help install demo test lint lint-python lint-sql format docs lock migration clean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(STAMP)  ## locked install into .venv

# The lock is complete, so nothing needs to be resolved: --no-deps is exact, and quick. uv, itself from the lock,
# fetches and unpacks side by side, which halves the wait; where it cannot reach the packages (an index that only
# pip is told of), pip does the same. A package's template that is no Python is no failure of compileall.
LOCKED := --no-deps --require-hashes --requirement
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: neither Python 3.11 nor 3.12 was found; install one (Debian 12: \
	apt-get install python3.11-venv) or name it: make install PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) cannot \
	create a virtual environment; install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "installing the locked packages into $(VENV) (one to three minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(LOCKED) \
		<(sed -n '/^uv==/,/[^\]$$/p' requirements.lock)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python $(LOCKED) requirements.lock || \
		$(BIN)/python -m pip install --disable-pip-version-check --no-compile $(LOCKED) requirements.lock
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## simulate a shop and run the whole loop on it
	@$(BIN)/attune demo $(ARGS)

# A process for each core, a whole file on one of them; tests/conftest.py lets the longest start first.
# ARGS="-n 0" runs all in one.
test: install  ## every test that this machine can run
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: lint-python lint-sql  ## style, types, layers, SQL

lint-python: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-sql: install
	@$(SQLFLUFF) lint $(SQLFLUFF_QUIETLY) transforms/models transforms/tests

format: install  ## rewrite Python and SQL in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(SQLFLUFF) fix $(SQLFLUFF_QUIETLY) transforms/models transforms/tests

docs: install  ## write the pages that are made from code
	@$(BIN)/python docs/write_pages.py

# Keeps every pin that still fits; ARGS=--upgrade moves them all. NCCL is 300 MB that only several GPUs need.
lock:  ## resolve pyproject.toml again into requirements.lock
	@command -v uv >/dev/null || { echo "error: uv is not installed; pip install uv" >&2; exit 1; }
	uv pip compile pyproject.toml --extra dev --extra servers --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-package nvidia-nccl-cu12 \
		--output-file requirements.lock --quiet $(ARGS)

migration: install  ## write the next migration of the operational store; NAME="what changed"
	@$(BIN)/python -m serving.store.schema $(NAME)

clean:  ## remove the installation and caches; data in .attune stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
