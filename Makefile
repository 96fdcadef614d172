# Each target sets itself up in .venv from nothing but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check format fixture screenshots clean

# The stamp is rewritten when what is to be installed changes.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aecompress needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/aecompress prune digits -o runs/demo --force --variants packed,int8

test: .venv/installed
	$(BIN)/python -m pytest

test-all: .venv/installed
	$(BIN)/python -m pytest -m 'slow or not slow'

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fixture: .venv/installed
	$(BIN)/python -m tests.fixtures.remake

screenshots: .venv/installed
	$(BIN)/python -m tests.tui.screenshots

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
