# Two doors for people: `make demo` and `make test`. Both set up .venv from nothing but Python 3.11+, pip and make.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format docs clean

demo: .venv/demo.stamp
	$(BIN)/tfgrpo demo

test: .venv/dev.stamp
	$(BIN)/tfgrpo local pull
	$(MAKE) check

# format, lint, types, tests with branch coverage, docs drift; wheel contents are a test
check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cog --check -I . README.md docs/cli.md
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under 90

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/dev.stamp
	$(BIN)/python -m tfgrpo.store > store/schema.sql
	$(BIN)/cog -r -I . README.md docs/cli.md

clean:
	rm -rf .venv dist .coverage* .mypy_cache .pytest_cache .ruff_cache

.venv/pip.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tfgrpo needs Python 3.11 or later: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

.venv/demo.stamp: .venv/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[local,serve]'
	touch $@

.venv/dev.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
