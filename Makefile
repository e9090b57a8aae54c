# `make run` needs Python 3.11 or later and nothing else; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/pytest
SERVICES := marketdata strategy order risk portfolio
# The first interpreter that is new enough and built with profile-guided optimization, as a system's own is: it serves a
# fifth more orders than one built without. Where there is none, the first that can make environments. PYTHON=… overrides.
OPTIMIZED := import ensurepip, sys, sysconfig as s; \
	sys.exit(sys.base_prefix != "/usr" and "--enable-optimizations" not in (s.get_config_var("CONFIG_ARGS") or ""))
PYTHON ?= $(shell for wanted in '$(OPTIMIZED)' 'import ensurepip' ''; do for p in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && $$p -c "$$wanted" 2>/dev/null && echo $$p && exit; done; done)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Cached bytecode halves a start; nothing is written outside .venv and the project.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run setup setup-dev test test-unit test-component test-integration test-e2e \
	bench lint lint-style lint-types lint-imports lint-contract format gen gen-check third-party lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

run: setup ## start the mesh, replay real prices, watch it; Ctrl-C stops it
	@$(BIN)/tickmesh up

# --- environment: pip brings uv from its own lock, uv installs the others; a stamp makes a second run instant

setup: .venv/.stamp-run ## what `make run` needs
	@:
setup-dev: .venv/.stamp-dev ## what `make test`, `lint` and `gen` need
	@:

.venv/.stamp-build: requirements-build.txt
	@test -n "$(PYTHON)" || { echo "tickmesh needs Python 3.11 or later"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install python3-venv"; exit 1; }
	@echo "setting up .venv ($$($(PYTHON) --version), $(PYTHON))"
	@# Anew: of two interpreters one environment is neither's.
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	@touch $@

.venv/.stamp-run: .venv/.stamp-build requirements.txt pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@# Compiles what the services import once; five of them would do it side by side at their first start.
	@$(BIN)/python -c 'import alembic.command, services.console.main, $(SERVICES:%=services.%.main,) gateway.render'
	@touch $@

.venv/.stamp-dev: .venv/.stamp-run requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@touch $@

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --custom-compile-command "make lock" $(LOCKFLAGS)
lock: .venv/.stamp-build ## renew the hashed locks; LOCKFLAGS=--upgrade takes newer versions
	@$(LOCK) --all-extras pyproject.toml -o requirements.txt
	@$(LOCK) --all-extras --group gen --group lint --group test pyproject.toml -c requirements.txt -o requirements-dev.txt
	@$(LOCK) --group build -c requirements-dev.txt -o requirements-build.txt

# --- tests, cheapest first; pytest's 5 is "nothing collected", as with -k in PYTESTFLAGS: a failure under CI=true alone

run-tests = $(PYTEST) $(1) $(2) $(PYTESTFLAGS) || [ $$? -eq 5 -a "$$CI" != true ]
# Two files at a time, as there are two cores wherever this runs; each has ports and folders of its own.
PARALLEL := -n 2 --dist loadfile

test: test-unit test-component test-integration test-e2e ## every test
test-unit: setup-dev
	@$(call run-tests,tests/unit,$(PARALLEL))
test-component: setup-dev
	@$(call run-tests,tests/component,$(PARALLEL))
test-integration: setup-dev
	@$(call run-tests,tests/integration,$(PARALLEL))
test-e2e: setup-dev
	@$(call run-tests,tests/e2e,$(PARALLEL))

bench: setup-dev ## every benchmark, twelve minutes; BENCHFLAGS="--quick --only cycle", --output=PATH
	python -m tests.performance $(BENCHFLAGS)

# --- lint and generation

lint: lint-style lint-types lint-imports lint-contract gen-check ## style, types, who imports whom, contract, freshness of gen/
lint-style: setup-dev
	ruff check
	ruff format --check
lint-types: setup-dev
	mypy
lint-imports: setup-dev
	PYTHONPATH=.ci lint-imports --no-logo
lint-contract: third-party
	buf format proto --diff --exit-code
	buf lint
	.ci/breaking

format: setup-dev ## let the tools fix what they can
	ruff check --fix --exit-zero
	ruff format
	buf format proto --write

gen: setup-dev ## generate gen/ from proto/, what the gateway derives from it, and the lifecycle's diagram
	python -m gen.generator
	python -m gateway.generate
	python -m gen.generator.lifecycle

gen-check: setup-dev ## fail when gen/ is not what proto/ gives, or what is derived from it or from the lifecycle is stale
	python -m gen.generator --check
	python -m gateway.generate --check
	python -m gen.generator.lifecycle --check

third-party: setup-dev
	@python -m gen.generator --third-party

clean: ## remove caches and build folders; keeps .venv and .tickmesh
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
