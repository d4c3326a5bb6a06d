# Everything runs from .venv, which these files install: pyproject.toml, pinned by constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
QUIET := --quiet --disable-pip-version-check

.PHONY: demo demo-chat demo-sources test check audit docs docs-outputs screenshots install test-heavy test-page test-intervals test-exports test-oldest test-newest soak gpu gpu-kit clean

demo: $(INSTALLED)  ## train the tiny base model, sweep it, fit, report, export: minutes
	$(BIN)/almr run demo

demo-chat: demo  ## fine-tune the launch of the demo on generated conversations, and align it (docs/chain.md): minutes
	$(BIN)/almr run demo-chat

demo-sources: $(INSTALLED)  ## two sources a language (docs/sources.md): minutes
	$(BIN)/almr run docs/sources.yaml

test: $(INSTALLED)  ## the whole suite, real Ray runs included
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## ruff, mypy and the quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow"

test-heavy: $(INSTALLED)  ## what `make test` leaves out for its time: a search that is killed, resumed and made larger
	$(BIN)/python -m pytest -m heavy

test-page: $(INSTALLED)  ## the report page in a real browser: needs a Chromium, such as Debian's package
	$(BIN)/python -m pip install $(QUIET) playwright pypdf
	$(BIN)/python -m pytest -n 0 -rs tests/analysis/report

test-intervals: $(INSTALLED)  ## the coverage of the intervals, on three times as many surfaces as in `make test`
	ALMR_TEST_DRAWS=21 $(BIN)/python -m pytest tests/analysis/fit/test_coverage.py

soak: $(INSTALLED)  ## seeded attacks on runs, in full: hours (docs/reliability.md)
	$(BIN)/python -m tests.benchmarks.soaks.kill --seed 1 --count 100
	$(BIN)/python -m tests.benchmarks.soaks.storage --seed 0 --count 30
	$(BIN)/python -m tests.benchmarks.soaks.load --seed 0 --count 5000 --at-once 80
	$(BIN)/python -m tests.benchmarks.soaks.fuzz --seed 0 --count 10000
	$(BIN)/python -m tests.benchmarks.soaks.damage --seed 1 --count 300 --values 2000
	$(BIN)/python -m tests.benchmarks.soaks.studies --seed 0 --count 160

# In an environment of its own: what it requires is not ours. --strict fails where a package could not be looked up.
audit: .venvs/audit/installed  ## known vulnerabilities of all pinned packages, by pip-audit: needs the advisories of the package index
	.venvs/audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

.venvs/audit/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(QUIET) pip-audit
	touch $@

docs: $(INSTALLED)  ## the pages of docs/ that are written from the code: fields, modules, map, figure
	$(BIN)/python -m tests.docs_pages

screenshots: $(INSTALLED)  ## README.md's pictures, of runs/demo: needs a Chromium
	$(BIN)/python -m pip install $(QUIET) playwright
	$(BIN)/python -m tests.screenshots

docs-outputs: $(INSTALLED)  ## the outputs that documents show, run again
	$(BIN)/python -m tests.docs_outputs

# Each trainer has an environment of its own: their pins clash. NAME-alone.txt is installed without what it requires:
# the trainers bring more than training takes.
TRAINERS := llamafactory torchtitan megatron axolotl
ALMR_EXPORT_VENVS ?= $(CURDIR)/.venvs
# The package megatron-core lacks pretrain_gpt.py: MEGATRON is a checkout of Megatron-LM.
MEGATRON_TAG := core_v0.16.1
export ALMR_EXPORT_VENVS
override export MEGATRON := $(abspath $(MEGATRON))

test-exports: $(INSTALLED) $(TRAINERS:%=$(ALMR_EXPORT_VENVS)/%/installed)  ## every trainer reads its bundle back and trains the demo's model from it (30 minutes; Megatron with MEGATRON=checkout)
	@[ -d "$(MEGATRON)" ] || echo "megatron does not train: git clone -b $(MEGATRON_TAG) https://github.com/NVIDIA/Megatron-LM, then MEGATRON=Megatron-LM make test-exports"
	$(BIN)/python -m pytest -n 0 -rs -m "exports or not heavy" tests/exports tests/analysis/launch/test_launch_readback.py tests/analysis/launch/torchtitan

$(ALMR_EXPORT_VENVS)/%/installed: tests/exports/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(QUIET) -r $<
	$(if $(wildcard tests/exports/$*-alone.txt),$(@D)/bin/python -m pip install $(QUIET) --no-deps -r tests/exports/$*-alone.txt)
	touch $@

# Tests of documents and of the code's own form do not depend on the versions.
RELEVANT := tests --ignore=tests/test_docs.py --ignore=tests/test_rooms.py

test-oldest: .venvs/oldest/installed  ## the suite with the lowest versions that pyproject.toml allows (Python 3.11)
	.venvs/oldest/bin/python -m pytest $(RELEVANT)

test-newest:  ## the suite with the newest versions of everything
	$(PYTHON) -m venv .venvs/newest
	.venvs/newest/bin/python -m pip install $(QUIET) --upgrade --upgrade-strategy eager -e '.[test]'
	.venvs/newest/bin/python -m pytest $(RELEVANT)

.venvs/oldest/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venvs/oldest
	.venvs/oldest/bin/python -m pip install $(QUIET) -c constraints-oldest.txt -e '.[test]'
	touch $@

# On a GPU host without an index there is no .venv: the host's own Python 3.12 runs it, with the kit. docs/gpu.md.
GPU_PYTHON ?= $(or $(wildcard $(BIN)/python),python3)
DEVICE ?= auto

gpu:  ## measure on a GPU, in nine minutes; DEVICE=cpu: rehearse it with tiny shapes
	$(GPU_PYTHON) -m tests.gpu --device $(DEVICE)

gpu-kit: $(INSTALLED)  ## pack what a GPU host without an index lacks, in parts under 60 MB
	$(BIN)/python -m tests.gpu.kit

install: $(INSTALLED)

# The constraint names torch without a build: a machine that offers a CPU build takes it, no CUDA packages are pulled.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(QUIET) -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## the environment and the caches of tools; runs and the model cache stay
	rm -rf .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis
