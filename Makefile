# `make test` and `make demo` work on a fresh clone with nothing but python3 (3.11 or later) and make.

PYTHON := .venv/bin/python

# The development machine's images and weights, where they lie beside the checkout. Elsewhere both stay empty.
ANTS_BEES_DIR ?= $(abspath $(wildcard ../shared/data/hymenoptera_data))
SGDR_WEIGHTS ?= $(abspath $(firstword $(wildcard ../shared/weights/*.safetensors)))
export ANTS_BEES_DIR SGDR_WEIGHTS

# Tests that hold on every backend; the rest of tests/ is about TensorFlow or about none.
BACKEND_TESTS := tests/callbacks tests/data/test_augment.py tests/data/test_pipeline.py \
	$(addprefix tests/test_,schedules.py optimizers.py adamwr.py range_test.py ensembles.py)

# Processes that share the tests of a suite that is run alone.
WORKERS ?= 2
PYTEST := $(PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(COV)

# Two suites at a time, each in one process: workers would import TensorFlow and set up the modules' fixtures twice.
# In this order parity and units, which train ResNets, do not meet: they would wait for memory.
SUITES := test-tensorflow test-parity test-units test-jax test-torch
SIDE_BY_SIDE := --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) WORKERS=0

# A stamp a set of requirements, as old as the last install. `dev` holds all of `study`, so a demo is content with it.
DEV := .venv/dev
STUDY := $(or $(wildcard $(DEV)),.venv/study)

.PHONY: test $(SUITES) coverage demo lint parity bench ensembles figures notebook wheel clean

test: $(DEV)
	@echo "$(words $(SUITES)) suites, two at a time; each is printed when it has ended."
	$(MAKE) $(SIDE_BY_SIDE) $(SUITES)

# Tests take half as long again where it is measured, and other backends than PyTorch bring no line that these do not.
COVERED := test-units test-torch

coverage: $(DEV)
	$(MAKE) $(SIDE_BY_SIDE) COV="--cov --cov-report=" $(COVERED)
	$(PYTHON) -m coverage combine $(addprefix .coverage.,$(COVERED))
	$(PYTHON) -m coverage report --fail-under=95

# Processes share the cores: more threads in each would only wait for one another.
$(SUITES) parity: export OMP_NUM_THREADS := 1
$(SUITES) parity: export TF_NUM_INTRAOP_THREADS := 1
$(SUITES) parity: export TF_NUM_INTEROP_THREADS := 1
$(COVERED): export COVERAGE_FILE = .coverage.$@

# On JAX most tests compile small models that another test has compiled, too small for JAX's own idea of what to keep.
test-jax: export JAX_COMPILATION_CACHE_DIR := $(abspath .jax_cache)
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
test-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES := -1

test-units: $(DEV)
	KERAS_BACKEND=tensorflow $(PYTEST) tests $(addprefix --ignore=,$(BACKEND_TESTS))

test-tensorflow test-jax test-torch: test-%: $(DEV)
	KERAS_BACKEND=$* $(PYTEST) $(BACKEND_TESTS)

# A module to a worker: its tests share trainings, for which a second worker would only wait.
test-parity: $(DEV)
	$(PYTEST) --dist loadfile --no-loadscope-reorder parity_tests

demo: $(STUDY)
	$(PYTHON) examples/finetune_ants_bees.py --output runs/demo $(if $(SGDR_WEIGHTS),--weights $(SGDR_WEIGHTS))

lint: $(DEV)
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

parity: $(DEV)
	$(PYTHON) -m parity_tests.report

bench: $(DEV)
	$(PYTHON) -m pytest benchmarks --benchmark-only

# Eight trainings of three equal cycles; one that is done is not made again.
ensembles: $(STUDY)
	$(PYTHON) examples/snapshot_ensemble.py --seeds 8 --T_mult 1 --epochs 6 --image_size 64 $(if $(SGDR_WEIGHTS),--weights $(SGDR_WEIGHTS))

figures: $(STUDY) runs/demo/summary.json
	$(PYTHON) examples/make_figures.py

runs/demo/summary.json:
	$(MAKE) demo

notebook: $(DEV)
	$(PYTHON) examples/make_notebook.py

wheel: $(DEV)
	$(PYTHON) -m build --wheel

clean:
	rm -rf .venv build dist runs .jax_cache .coverage .coverage.* .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/study: EXTRAS := tensorflow,study
$(DEV): EXTRAS := dev
.venv/study $(DEV): pyproject.toml | .venv/bin/python
	$(PYTHON) -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

.venv/bin/python:
	python3 -m venv .venv
