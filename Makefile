# Every target makes .venv itself; Python 3.11+ and pip are all it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint types layers clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

demo: .venv/.installed ## the whole pipeline in miniature, three seeds per cell: about 9 minutes on 2 idle cores, ends in a page
	$(BIN)/swallow demo

test: .venv/.installed lint types layers ## everything CI runs
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: .venv/.installed ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed ## mypy --strict
	$(BIN)/mypy

layers: .venv/.installed ## who may import whom
	$(BIN)/lint-imports --no-logo

clean: ## remove the virtual environment and caches (never outputs/)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
