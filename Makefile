# Everything a person or CI does with this repository goes through these verbs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifneq ($(wildcard ../shared/data),)
export KDGUARD_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test check bench fixtures fmt clean

$(VENV)/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e . -c constraints.txt
	touch $@

$(VENV)/dev: $(VENV)/base
	$(BIN)/python -m pip install --quiet -e '.[dev,distill,service,kafka]' -c constraints.txt
	touch $@

demo: $(VENV)/base
	$(BIN)/kdguard demo --out demo

test: $(VENV)/dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev
	$(BIN)/python -m tests.bench
	$(BIN)/python -m pytest -m slow

fixtures: $(VENV)/dev
	$(BIN)/python -m kdguard.distill.fleets fixtures/models/recipe.toml --work build/fixtures \
	  --models fixtures/models --lineage fixtures/lineage --workers 2

fmt: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist demo *.egg-info
