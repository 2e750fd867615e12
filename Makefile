# `make test` and `make demo` work on a fresh clone with nothing but python3 (3.11 or later) and make.

PYTHON := .venv/bin/python

.DEFAULT_GOAL := help

# The development machine's images and weights, where they lie beside the checkout. Elsewhere both stay empty.
ANTS_BEES_DIR ?= $(abspath $(wildcard ../shared/data/hymenoptera_data))
SGDR_WEIGHTS ?= $(abspath $(firstword $(wildcard ../shared/weights/*.safetensors)))
export ANTS_BEES_DIR SGDR_WEIGHTS

# Processes that share the tests of a suite that is run alone.
WORKERS ?= 2
PYTEST = $(PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(COV)

# Two suites at a time, each in one process: workers would import TensorFlow and set up the modules' fixtures twice.
# A suite that fails does not keep the others from running.
SUITES := test-tensorflow test-parity test-units test-jax test-torch
SIDE_BY_SIDE := --jobs 2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) WORKERS=0

# A stamp a set of requirements, as old as the last install. `dev` holds all of `study`, so a demo is content with it.
DEV := .venv/dev
STUDY := $(or $(wildcard $(DEV)),.venv/study)

.PHONY: help test test-all $(SUITES) coverage demo lint parity bench faults bench-gpu test-gpu test-floor ensembles fine-tuning study-laptop study-paper figures \
	docs notebook wheel clean

help:
	@echo "make test          the tests of the backends and of parity, 10 to 25 minutes"
	@echo "make test-all      the long tests: kills, clusters, whole examples, full parity"
	@echo "make test-floor    the tests on the oldest versions that are admitted"
	@echo "make test-gpu      the tests of each backend on a GPU, in five minutes (1)"
	@echo "make coverage      the share of lines that tests run, at least 95 %"
	@echo "make lint          ruff and mypy"
	@echo
	@echo "make demo          fine-tunes ResNet-50 on ants and bees with SGDR"
	@echo "make ensembles     ensembles of snapshots, and of models of different seeds"
	@echo "make fine-tuning   rates by group, unfreezing and averages, over five seeds"
	@echo "make study-laptop  the study of docs/study in small"
	@echo "make study-paper   the original experiment, for days; MINUTES=170 stops before"
	@echo
	@echo "make parity        measures parity, into docs/parity.md"
	@echo "make bench         times beside the alternatives, into docs/benchmarks.md (2)"
	@echo "make bench-gpu     the same on a GPU, in eight minutes (1)"
	@echo "make faults        tries to break everything, into docs/reliability.md (2)"
	@echo
	@echo "make docs          builds the site of the guide into site/"
	@echo "make figures       draws docs/figures, with a run of the demo"
	@echo "make notebook      runs examples/playing_with_sgdr.py as a notebook"
	@echo "make wheel         builds the package into dist/"
	@echo "make clean         removes what was made here, .venv among it"
	@echo
	@echo "(1) Installs nothing: pass PYTHON=python3. (2) Up to an hour."

# COVERAGE=1 counts lines on the way: see `coverage`.
test: $(DEV)
	@echo "$(words $(SUITES)) suites, two at a time; each is printed when it has ended."
	$(MAKE) $(SIDE_BY_SIDE) $(SUITES)
	$(if $(COVERAGE),$(COVERAGE_REPORT))

# What `make test` leaves out.
test-all: $(DEV)
	$(MAKE) $(SIDE_BY_SIDE) ONLY="-m slow" UNITS_BACKEND=tensorflow $(SUITES)

# Tests take half as long again where it is measured, and the other backends bring few lines that these do not.
COVERED := test-units test-tensorflow

COVERAGE_REPORT = $(PYTHON) -m coverage combine $(addprefix .coverage.,$(COVERED)) && \
  $(PYTHON) -m coverage report --fail-under=95

coverage: $(DEV)
	$(MAKE) $(SIDE_BY_SIDE) COVERAGE=1 $(COVERED)
	$(COVERAGE_REPORT)

# Processes share the cores: more threads in each would only wait for one another.
$(SUITES) parity: export OMP_NUM_THREADS := 1
$(SUITES) parity: export TF_NUM_INTRAOP_THREADS := 1
$(SUITES) parity: export TF_NUM_INTEROP_THREADS := 1
$(COVERED): export COVERAGE_FILE = .coverage.$@
$(COVERED): COV = $(if $(COVERAGE),--cov --cov-report=)

# On JAX most tests compile small models that another test has compiled, too small for JAX's own idea of what to keep.
test-jax: export JAX_COMPILATION_CACHE_DIR := $(abspath .jax_cache)
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
test-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES := -1

# On PyTorch nothing is compiled, so it is the quickest. The long tests run examples, which are made for TensorFlow.
UNITS_BACKEND := torch

test-units: $(DEV)
	KERAS_BACKEND=$(UNITS_BACKEND) $(PYTEST) $(ONLY) tests --ignore=tests/any_backend

test-tensorflow test-jax test-torch: test-%: $(DEV)
	KERAS_BACKEND=$* $(PYTEST) $(ONLY) tests/any_backend

# The oldest versions that pyproject.toml admits.
FLOOR := keras==3.15.0 tensorflow==2.20.0

.venv-floor: pyproject.toml
	python3 -m venv $@
	$@/bin/python -m pip install --quiet $(FLOOR) torch torchvision pytest hypothesis psutil tensorboard filelock --editable ".[tensorflow,study]"
	touch $@

test-floor: .venv-floor
	KERAS_BACKEND=tensorflow .venv-floor/bin/python -m pytest -W "ignore:In the future:FutureWarning" $(ONLY) \
	  tests/any_backend  # Keras's own, of NumPy 2.

# A module to a worker: its tests share trainings, for which a second worker would only wait.
test-parity: $(DEV)
	$(PYTEST) $(ONLY) --dist loadfile --no-loadscope-reorder parity_tests

demo: $(STUDY)
	$(PYTHON) examples/finetune_ants_bees.py --output runs/demo

lint: $(DEV)
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

parity: $(DEV)
	$(PYTHON) -m parity_tests.report

bench: $(DEV)
	$(PYTHON) -m benchmarks $(ARGS)

faults: $(DEV)
	$(PYTHON) -m faults $(ARGS)

# On a machine without a network, with what is installed there. Without a GPU they run all the same, on small sizes into
# runs/benchmarks.json. ARGS: see `python -m benchmarks --help`, and pytest's own options.
bench-gpu:
	$(PYTHON) -m benchmarks --profile gpu --within 460 $(if $(OUTPUT),--output $(OUTPUT)) $(ARGS)

test-gpu:
	$(PYTHON) -m tests.support.each_backend --within 285 --workers $(WORKERS) $(ARGS)

# Eight trainings of three equal cycles; one that is done is not made again.
ensembles: $(STUDY)
	$(PYTHON) examples/snapshot_ensemble.py --seeds 8 --T_mult 1 --epochs 6 --image_size 64

fine-tuning: $(STUDY)
	$(PYTHON) examples/compare_fine_tuning.py --output runs/fine_tuning
	mkdir -p docs/fine_tuning
	cp runs/fine_tuning/results.csv runs/fine_tuning/report.md runs/fine_tuning/val_loss.png docs/fine_tuning

# Makes the runs that the committed ones lack. MINUTES=170 stops after so long, and the next call goes on where it was;
# SEEDS=5 makes those of five seeds.
STUDY_OF_paper := --image_size 64 --jobs 2
study-laptop study-paper: study-%: $(STUDY)
	for compare in step_decay cycles; do \
	  $(PYTHON) examples/compare_schedules.py --preset $* --compare $$compare $(STUDY_OF_$*) \
	    --records docs/study/$*/records --output docs/study/$*/$$compare $(if $(SEEDS),--seeds $(SEEDS)) \
	    $(if $(MINUTES),--minutes $(MINUTES)) || exit 1; done

figures: $(STUDY) runs/demo/summary.json
	$(PYTHON) examples/make_figures.py

runs/demo/summary.json:
	$(MAKE) demo

# Not part of `dev`: nothing else needs it.
docs: .venv/docs
	$(PYTHON) -m mkdocs build --strict

notebook: $(DEV)
	$(PYTHON) examples/make_notebook.py

wheel: $(DEV)
	$(PYTHON) -m build --wheel

clean:
	rm -rf .venv build dist runs site .jax_cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/study: EXTRAS := tensorflow,study
$(DEV): EXTRAS := dev
.venv/docs: EXTRAS := docs
.venv/study $(DEV) .venv/docs: pyproject.toml | .venv/bin/python
	$(PYTHON) -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

.venv/bin/python:
	python3 -m venv .venv
