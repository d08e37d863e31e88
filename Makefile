# `make help` lists the targets. Everything is installed into .venv, from constraints.txt.
PYTHON ?= python3
export PYTHON
BIN := .venv/bin
INPUTS := pyproject.toml constraints.txt .ci/install
SOURCES := jaxrl models configs tests benchmarks notebooks

.PHONY: help quickstart test slow lint format bench notebooks constraints clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

quickstart: .venv/.core ## Teach a small language model arithmetic, about 3 minutes on 2 cores
	@$(BIN)/jaxrl quickstart

test: .venv/.dev ## Run the tests, less than 10 minutes on 2 cores
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4

slow: .venv/.slow ## Run the tests that `make test` leaves out
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 -m slow

lint: .venv/.dev ## Check format, style and types
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/.dev ## Format, and mend what can be mended
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: .venv/.core ## Compare a GRPO step with TRL and Tunix, half an hour
	@$(BIN)/python benchmarks/grpo_step.py

notebooks: .venv/.dev ## Execute the notebooks and keep what they show
	@$(BIN)/python -m notebooks.execute

constraints: .venv/.slow ## Write constraints.txt anew from what .venv holds
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip list --format=freeze \
	    --disable-pip-version-check | grep -v -e '^jaxrl=' -e '^pip=' \
	    | sed 's/+.*//' | tr 'A-Z_' 'a-z-' | sort; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## Remove .venv and caches
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis

.venv/.core: $(INPUTS)
	@.ci/install
	@touch $@

.venv/.dev: $(INPUTS)
	@.ci/install dev,serve,tasks
	@touch .venv/.core $@

.venv/.slow: $(INPUTS)
	@.ci/install dev,serve,tasks,envs
	@touch .venv/.core .venv/.dev $@
