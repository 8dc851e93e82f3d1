# STEPS. Needs Python 3.11 or newer and make; everything else is installed into .venv.
# Paths are relative throughout, so that a checkout in a folder with a space works.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
.DEFAULT_GOAL := help

# An environment remembers its place in absolute paths: one that was moved is made anew.
ifneq ($(wildcard .venv/.place),)
ifneq ($(shell cat .venv/.place),$(shell pwd))
$(shell rm -f .venv/.installed-run .venv/.installed-dev)
endif
endif

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: assets ## Start STEPS with its demo and print the address and the users
	@# Several processes start at once: compiled before, none does it anew. A folder that is read-only starts all the same.
	@$(PY) -m compileall -qq app models admin_views jobs || true
	@exec $(PY) -m app.cli run

.PHONY: test
test: lint assets ## Check everything, exactly as continuous integration does
	@sh scripts/system-packages.sh
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

.PHONY: lint
lint: .venv/.installed-dev ## Check style, types and layers
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-cache

.PHONY: fix
fix: .venv/.installed-dev ## Format and mend what can be mended by itself
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: bench
bench: .venv/.installed-dev ## Measure against bare SQL and print the ratios
	@$(PY) -m bench

.PHONY: assets
assets: .venv/.installed-run ## Copy the browser libraries to admin_views/static/vendor
	@$(PY) -m scripts.assets

.PHONY: docs
docs: .venv/.installed-run ## Write the reference from the code: settings and commands
	@$(PY) -m scripts.reference

.PHONY: lock
lock: .venv/.installed-dev ## Renew requirements.txt and requirements-dev.txt from pyproject.toml
	@sh scripts/lock.sh

.PHONY: clean
clean: ## Remove what make has made; the data in var/ stays
	@rm -rf .venv build admin_views/static/vendor *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/.installed-run: requirements.txt pyproject.toml scripts/environment.sh
	@sh scripts/environment.sh requirements.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed-run
	@sh scripts/environment.sh requirements-dev.txt
	@touch $@
