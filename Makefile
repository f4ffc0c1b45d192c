# Commands for people. `make` alone lists them; `make demo` and `make test` each work right after `git clone`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow test-slurm test-storm slurm-up slurm-down lint schema
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check
# Of what pip says, what shows a person that it goes on: the large downloads and the last step.
PROGRESS := sed -unE 's/^ *(Downloading .*[MG]B\)|Installing collected packages).*/  \1/p'
# The environment comes first, because the rules of the workflow call `python -m loragrid`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help: ## list these commands
	@echo "usage: make TARGET"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 14

install: $(VENV)/installed-cpu ## make .venv with the pinned packages (once; again when a lock changes)

demo: export HF_HUB_OFFLINE = 1
demo: $(VENV)/installed-cpu ## run a whole grid on this machine's CPU: from data made here to a comparison table
	snakemake --profile cluster/local --config study=demo
	snakemake --config study=demo --report results/studies/demo/report.html
	python -m loragrid table --study demo
	@echo
	@echo "the table:        results/studies/demo/comparison.html (also .csv, .md and .tex)"
	@echo "the whole report: results/studies/demo/report.html"

# Two workers share the cores, on which threads that wait for others should not spin.
test test-slow test-slurm test-storm: export OMP_WAIT_POLICY = passive
test: $(VENV)/installed-dev ## run the tests
	python -m pytest -n 2 --dist worksteal -ra --durations=12 -m "not slow" --ignore=tests/slurm

test-slow: $(VENV)/installed-dev ## run the tests that take a minute each: processes that train together, real data, whole studies again
	python -m pytest -n 2 --dist worksteal -ra --durations=12 -m slow --ignore=tests/slurm

test-slurm: $(VENV)/installed-dev ## run the tests on a real Slurm (needs root and Debian's Slurm packages; minutes each)
	@# Each worker has a node for itself (tests/slurm/conftest.py). More than four would only wait for two cores.
	python -m pytest -n 4 --dist load --maxschedchunk 1 -ra --durations=12 -m "not storm" tests/slurm

test-storm: $(VENV)/installed-dev ## four minutes of random faults on that Slurm, which nothing else may use meanwhile
	python -m pytest -s -m storm tests/slurm

slurm-up: $(VENV)/installed-dev ## bring up a real Slurm on this machine, with six nodes and fake GPUs (needs root)
	python tests/slurm/cluster.py up

slurm-down: $(VENV)/installed-dev ## end it
	python tests/slurm/cluster.py down

lint: $(VENV)/installed-dev ## check style, types and rules
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

schema: $(VENV)/installed-cpu ## rewrite the schema of studies after a change of src/loragrid/study/schema/
	python -m loragrid schema > $(VENV)/study.schema.yaml
	mv $(VENV)/study.schema.yaml workflow/schemas/study.schema.yaml

# Stamps: made when everything is installed, remade when a lock or the package's own metadata changes.

$(VENV)/installed-cpu: envs/cpu.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the pinned packages into $(VENV) (about 2 GB, a few minutes)"
	@$(PIP) -r envs/cpu.txt | $(PROGRESS)
	@# The pinned setuptools builds the package, so that nothing else is fetched.
	@$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: envs/dev.txt $(VENV)/installed-cpu
	@echo "installing the tools for tests and checks into $(VENV)"
	@$(PIP) -r envs/dev.txt | $(PROGRESS)
	@touch $@

$(VENV)/bin/python:
	@for python in python3.11 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	        echo "making $(VENV) with $$($$python --version)"; \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "loragrid needs Python 3.11 or newer, and neither python3.11 nor python3 is: install it and try again" >&2; \
	exit 1
