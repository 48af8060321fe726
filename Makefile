# `make run` runs the demo, `make test` the checks. Each makes .venv and installs what it needs, once.
PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_CONSTRAINT := constraints.txt
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test

run: .venv/run.installed
	@metareward check
	@dvc repro
	@metareward show

test: .venv/test.installed
	ruff check .
	ruff format --check .
	mypy
	pytest

.venv/run.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON=/path/to/python3.11 or newer"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes, once)"
	@$(PIP) --editable .
	@touch $@

.venv/test.installed: .venv/run.installed
	@$(PIP) --editable ".[dev]"
	@touch $@
