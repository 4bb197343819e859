# Everything starts here. `make` alone lists the targets.
PYTHON ?= python3
# Index of the torch build; empty takes the usual one. pytorch.org names the one of the small CPU-only build.
TORCH_INDEX ?=
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=4 --dist=worksteal

# As in: make compose-test COMPOSE_TEST_ARGS="--profiles observability,s3"
COMPOSE_TEST_ARGS ?=

# Several tests share the cores; spinning threads would keep each other waiting.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

BIN := .venv/bin
STAMP := .venv/installed

.PHONY: help install demo demo-recommend test up down lint types imports unit compose-test wheels bench lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

install: $(STAMP) ## Make .venv and install everything, pinned

$(STAMP): pyproject.toml requirements/torch.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Octavo needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Use: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/torch.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

demo: $(STAMP) ## Start the stack, train on digits, deploy, predict, stop
	$(BIN)/python -m services.local.demo

demo-recommend: $(STAMP) ## The same with events: train HCRNN, recommend for somebody it has never seen
	$(BIN)/python -m services.local.demo_recommend

up: $(STAMP) ## Start the stack and keep it up; Ctrl-C stops it
	$(BIN)/octavo up

down: $(STAMP) ## Stop the stack
	$(BIN)/octavo down

test: lint types imports unit ## Every check and every test

lint: $(STAMP) ## Style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Types, strict
	$(BIN)/mypy

imports: $(STAMP) ## Which part may import which
	$(BIN)/lint-imports --no-logo

unit: $(STAMP) ## The tests alone; PYTEST_ARGS="tests/unit/jobs -q" runs some of them
	$(BIN)/pytest $(PYTEST_ARGS)

compose-test: $(STAMP) ## Docker: build, start, kill, scale, take down; needs an engine
	$(BIN)/python -m tests.compose.run $(COMPOSE_TEST_ARGS)

wheels: $(STAMP) ## Docker: the packages of the images, into docker/wheels, for PIP_NO_INDEX=1
	for part in gateway inference worker s3 traces; do \
	  $(BIN)/pip download --quiet --no-deps --require-hashes --dest docker/wheels -r requirements/$$part.txt || exit 1; \
	done
	$(BIN)/pip download --quiet --dest docker/wheels -r requirements/torch.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip download --quiet --no-deps --dest docker/wheels 'setuptools>=77'

bench: $(STAMP) ## The figures of the machine parts
	$(BIN)/python -m benchmarks.local_start
	$(BIN)/python -m benchmarks.job_overhead

lock: $(STAMP) ## Pin every dependency anew
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh

clean: ## Remove what was built; the stack's data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
