# Everything below needs Python 3.11 or newer, make, and the Python package index; `make interop` needs more
# (tests/interop/tools.txt). The environment is made in .venv and made anew when what it is made of changes.

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps
TIMED := .ci/timed
SCALE ?= 1

# Content, not times: a fresh checkout of the same pins keeps its environment. The folder counts too,
# for an environment cannot be moved; and the entry points, for they are written on installation.
ENTRY := sed -n '/^\[project.scripts\]/,/^\[tool/p' pyproject.toml
RUN_STAMP := $(VENV)/run-$(shell (cat requirements.txt; $(ENTRY); pwd) | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/dev-$(shell (cat requirements.txt requirements-dev.txt; $(ENTRY); pwd) | cksum | cut -d' ' -f1)

.PHONY: help quickstart test check lint format types contracts docs interop interop-tools soak bench dist env clean \
	lock-requirements upgrade-requirements lock-image
.DELETE_ON_ERROR:

help:
	@echo 'make quickstart         try the whole journey on loopback, with samples'
	@echo 'make test               every test but the interop and soak ones, and the coverage of lines'
	@echo 'make check              lint, format, types, import contract, architecture, generated docs'
	@echo 'make interop            against real programs: docker-registry, skopeo, crane, helm, chromium'
	@echo 'make interop-tools      provide those programs (apt, go install)'
	@echo 'make soak               long runs; SCALE=0.05 for a taste'
	@echo 'make bench              pairs against regsync, crane, skopeo and regctl; writes docs/reference/benchmarks.md'
	@echo 'make dist               what carries bundlectl across a gap: offline installer, container image, wheel, source'
	@echo 'make format             let ruff write what `make check` asks for'
	@echo 'make docs               write the generated reference pages'
	@echo 'make lock-requirements  pin again what pyproject.toml asks for (upgrade-requirements: newest)'
	@echo 'make lock-image         pin again the Debian packages that the container image is made of'
	@echo 'make clean              remove the environment and everything made here'

$(RUN_STAMP): | requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		f"bundlectl needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	@echo 'environment: $(VENV)' >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) -r requirements.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) | requirements-dev.txt
	@echo 'environment: $(VENV), with what tests and checks need' >&2
	@$(PIP) -r requirements-dev.txt
	@touch $@

env: $(DEV_STAMP)

quickstart:
	@$(TIMED) 'make quickstart' $(MAKE) --no-print-directory run-quickstart

.PHONY: run-quickstart run-check run-interop run-soak run-bench run-dist
run-quickstart: $(RUN_STAMP)
	@$(BIN)/bundlectl quickstart

# Ends with pytest's own line, which tells the time.
test: $(DEV_STAMP)
	@$(BIN)/python -m pytest -m 'not interop and not soak' -n auto --dist worksteal -q \
		--cov --cov-report= --cov-fail-under=85

check:
	@$(TIMED) 'make check' $(MAKE) --no-print-directory run-check

run-check: lint types contracts
	@$(BIN)/python -m pytest -q tests/architecture
	@$(BIN)/python docs/generate_reference.py --check

lint: $(DEV_STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(DEV_STAMP)
	@$(BIN)/mypy

contracts: $(DEV_STAMP)
	@$(BIN)/lint-imports

format: $(DEV_STAMP)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(DEV_STAMP)
	@$(BIN)/python docs/generate_reference.py

interop:
	@$(TIMED) 'make interop' $(MAKE) --no-print-directory run-interop

run-interop: $(DEV_STAMP)
	@$(BIN)/python -m pytest -m interop -n auto --dist loadfile -q -rs --timeout 600 tests/interop

interop-tools:
	@$(TIMED) 'make interop-tools' tests/interop/provision

soak:
	@$(TIMED) 'make soak' $(MAKE) --no-print-directory run-soak

run-soak: $(DEV_STAMP)
	@$(BIN)/python benchmarks/run.py --scale $(SCALE)

bench:
	@$(TIMED) 'make bench' $(MAKE) --no-print-directory run-bench

run-bench: $(DEV_STAMP)
	@$(BIN)/python benchmarks/bench.py --scale $(SCALE)

dist:
	@$(TIMED) 'make dist' $(MAKE) --no-print-directory run-dist

run-dist: $(DEV_STAMP)
	@$(BIN)/python shipping/build.py

lock-image: $(DEV_STAMP)
	@$(BIN)/python shipping/build.py --lock-image

lock-requirements: $(DEV_STAMP)
	@PYTHON=$(BIN)/python .ci/lock-requirements

upgrade-requirements: $(DEV_STAMP)
	@PYTHON=$(BIN)/python .ci/lock-requirements --upgrade

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
