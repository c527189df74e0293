# The way in: `make demo` shows everything on this computer, `make test` runs every test.
# Both do all of their own set-up (tools/setup) on a fresh Debian 12 or 13.

SHELL := /bin/bash
PY := .venv/bin/python
# The demo's registry and record live here, not in the user's own state. They outlive
# demo-down: a second demo finds in the registry what the first one built.
DEMO_ENV := XDG_STATE_HOME=$(CURDIR)/.demo

.PHONY: help setup demo demo-down orthanc test-orthanc test test-unit faults bench docs lint format lock clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## Debian packages (as root) and the virtual environment
	@tools/setup

demo:  ## three native architectures under one tag, on this computer
	@tools/demo

demo-down:  ## end everything that the demo started
	@if [ -x $(PY) ]; then $(DEMO_ENV) .venv/bin/fleet registry stop; fi
	@if [ -d .lab ]; then python3 -m lab down; fi

orthanc:  ## the Orthanc images for amd64, compiled on this computer's lab (a quarter of an hour)
	@tools/orthanc

test-orthanc: setup  ## those images with real dcmtk and PostgreSQL; `make orthanc` comes first
	@$(PY) -m pytest tests/orthanc

test: setup  ## every test, the lab's real machines included
	@tools/test

test-unit: setup  ## the tests that touch no socket: seconds
	@$(PY) -m pytest -q tests/unit

faults: setup  ## every fault in every step, on the lab; the table goes into docs/reliability.md
	@$(PY) -m tests.faults $(if $(CI),,--write)

bench: setup  ## fleet beside what people would use instead; the table goes into docs/performance.md
	@$(PY) -m bench --write

docs: setup  ## the pages that are made from the code: docs/reference.md, man/fleet.1
	@$(PY) -m tools.docs

lint: setup  ## ruff, mypy --strict, the table of imports, and the pages made from the code
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@$(PY) -m tools.docs --check

format: setup  ## let ruff mend what it can
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lock: setup  ## pin the newest versions of everything, with hashes and without addresses
	@$(PY) -m piptools compile --quiet --upgrade --extra dev --strip-extras --allow-unsafe \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-header --annotation-style line --output-file requirements-dev.txt pyproject.toml

clean: demo-down  ## remove what was made here; the lab's cache of guests stays
	@rm -rf .demo .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist test-results
