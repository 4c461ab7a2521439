# Every target makes the virtual environment by itself; nothing but Python and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
CORE := tests/images tests/cache tests/features tests/training tests/classifiers tests/golden tests/test_private.py

.PHONY: install demo test test-all test-oldest check format docs bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: install
	$(BIN)/python examples/quickstart.py

# The test processes share the cores, so each gets one thread for matrix products.
test: install
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal \
		-m "not slow" --hypothesis-profile quick

test-all: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

# The core of the suite with the lowest versions that pyproject.toml allows.
test-oldest:
	$(PYTHON) -m venv $(OLDEST)
	.ci/oldest_versions > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --editable ".[dev]" --constraint $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m "not slow" \
		--override-ini filterwarnings=default $(CORE)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A website in docs/_build/html. The scripts of docs/gallery run, which takes a few minutes the first time.
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

bench: install
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) $(OLDEST) build docs/_build docs/auto_examples docs/api/generated docs/api/backreferences docs/sg_execution_times.rst *.egg-info .pytest_cache .mypy_cache .ruff_cache
