# Two doors for people: `make demo` and `make test`. Both set up .venv from nothing but Python 3.11+, pip and make.

BIN := .venv/bin
EXTRAS := local,math,objects,otel,parquet,postgres,prices,report,serve,sign,tokenizer
DOCS := README.md docs/architecture.md docs/cli.md docs/python-api.md docs/store.md
CLIENTS := tests/clients tests/test_client.py tests/serve/test_call_info.py tests/serve/test_scope.py tests/serve/test_ahead.py tests/model/test_connection.py
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder  # what takes long comes first: tests/conftest.py
BESIDE := aider-chat browser-use camel-ai crewai deepeval google-adk graphrag instructor llama-index-llms-openai ragas sglang strands-agents[openai] vllm
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
export PYTHONDONTWRITEBYTECODE :=  # some machines keep no bytecode, and tests start many processes
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13; do \
	$$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)

.PHONY: demo test check coverage lowest matrix format docs clean

demo: .venv/demo.stamp
	$(BIN)/tfgrpo demo

test: .venv/dev.stamp
	$(BIN)/tfgrpo local pull
	$(MAKE) check

# Format, lint, types, docs drift, tests; the wheel's contents are a test.
check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check
	$(BIN)/cog --check -I . $(DOCS)
	$(BIN)/python -m pytest $(PARALLEL)

# The tests once more, with branch coverage and twice as many examples of each property: it takes twice as long.
coverage: .venv/dev.stamp
	$(BIN)/python -m pytest $(PARALLEL) --hypothesis-profile=twice --cov --cov-report=
	$(BIN)/coverage report --fail-under 90

# The tests on the oldest versions that pyproject.toml allows, but for those on the embedded model; of a part: TESTS=tests/serve
lowest: .venv-lowest/dev.stamp
	.venv-lowest/bin/python -m pytest $(PARALLEL) -m "not model" -p no:cacheprovider $(TESTS)

# What the clients do, on the oldest openai that is allowed and on 2.x; `make test` is on 3.x. Then whether frameworks
# that pin openai, rich, tiktoken or numpy can still be installed beside tfgrpo.
matrix: .venv/dev.stamp
	$(BIN)/python -m pip install --quiet uv
	for version in '==1.66.0' '>=2,<3'; do \
		$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python .venv-matrix && \
		$(BIN)/uv pip install --quiet --python .venv-matrix --editable '.[$(EXTRAS)]' --group dev "openai$$version" && \
		.venv-matrix/bin/python -m pytest -q -p no:cacheprovider $(CLIENTS) || exit 1; \
	done
	$(BIN)/python -m benchmarks.beside $(BESIDE)

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/dev.stamp
	$(BIN)/python -m tfgrpo.store > store/schema.sql
	$(BIN)/cog -r -I . $(DOCS)

clean:
	rm -rf .venv .venv-lowest .venv-matrix dist .coverage* .pytest_cache .ruff_cache

# A .venv whose Python is gone is made anew; one that works is kept, whoever made it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tfgrpo needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv

.venv/demo.stamp: pyproject.toml $(BIN)/python
	$(BIN)/python -c '$(NEW_ENOUGH)' || { echo ".venv has an older Python than 3.11: rm -r .venv" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # the first with dependency groups
	$(BIN)/python -m pip install --quiet --editable '.[local,serve]'
	touch $@

.venv/dev.stamp: .venv/demo.stamp
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' --group dev
	$(BIN)/python -m pip install --quiet --editable '.[gym]' || echo "no reasoning-gym (it needs a C compiler): two tests will skip"
	$(BIN)/python -m pip install --quiet --editable '.[ray]' || echo "no Ray for this Python: one test will skip"
	touch $@

# On the oldest Python too: versions from before a Python are not built for it.
.venv-lowest/dev.stamp: pyproject.toml .venv/demo.stamp
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --seed --python 3.11 .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[$(EXTRAS)]' --group dev
	touch $@
