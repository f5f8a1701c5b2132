# make demo | make test | make venv: each works from a fresh clone with nothing installed.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help venv demo test test-slow study fuzz torture soak lint types clean
help:
	@echo "make demo   draw posed faces, pack, train MobileFaceNet++, verify: the whole pipeline, up to 10 minutes"
	@echo "make test   ruff and the tests, 6 to 10 minutes on two cores"
	@echo "make test-slow  what make test leaves out: whole runs of several processes, some 3 minutes"
	@echo "make study  the paper's systems on real faces: hours, resumable; FAST=1 on synthetic faces, in minutes"
	@echo "make fuzz   10,000 mutated files for every reader, a few minutes"
	@echo "make venv   the environment alone, in $(VENV); for GPUs: make venv GPU=cu117, and back: GPU=none"
	@echo "make lint   ruff alone"
	@echo "make types  mypy on all folders, a minute the first time"
	@echo "make torture kill a real run 50 times, resume it each time, compare its end: some 9 minutes"
	@echo "make soak   train thousands of steps and watch the memory: some 10 minutes"
	@echo "make clean  remove the environment and what the demo made"

# The kind of an environment, for CPUs or for GPUs, stays what it is unless `make venv GPU=...` says otherwise.
venv:
	@sh scripts/make_venv.sh $(VENV) "$(GPU)" "$(origin GPU)"
$(STAMP): requirements.txt $(wildcard requirements-dev.txt) requirements-gpu.txt scripts/make_venv.sh
	@sh scripts/make_venv.sh $(VENV) "$(if $(filter command,$(firstword $(origin GPU))),$(GPU))" "$(origin GPU)"

demo: $(STAMP)
	@PYTHON=$(PY) sh scripts/demo.sh

# Scores of a walk through synthetic faces are no results: they stay out of docs/.
study: $(STAMP)
	@$(PY) -m study run $(if $(FAST),fast --results study-work/fast,real)
	@$(PY) -m study table $(if $(FAST),fast --results study-work/fast,real)

lint: $(STAMP)
	@$(PY) -m ruff check .

types: $(STAMP)
	@$(PY) -m mypy

# Three processes on two cores: tests of several workers wait for each other half of the time.
test: lint
	@$(PY) -m pytest -n 3 --dist loadfile

test-slow: $(STAMP)
	@$(PY) -m pytest -m slow

torture: $(STAMP)
	@$(PY) -m stress.endurance.torture

soak: $(STAMP)
	@$(PY) -m stress.endurance.soak

fuzz: $(STAMP)
	@$(PY) -m stress.fuzzing

clean:
	@if [ -e $(VENV)/pyvenv.cfg ] || [ -e $(STAMP) ]; then rm -rf $(VENV); fi
	@if [ -e demo/.demo ]; then rm -rf demo/.demo demo/faces demo/data demo/run demo/report; \
		rmdir demo 2>/dev/null || echo "demo: holds other files, which stay"; fi
