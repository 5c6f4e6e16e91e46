PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALLED := .venv/.installed
TORCH := $(shell grep '^torch==' constraints.txt)
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: setup demo pictures test check bench bench-gpu clean

setup: $(INSTALLED)

# torch first: on Linux the default wheel brings gigabytes of CUDA, so a machine without a GPU takes
# the CPU build, from wherever pip is told to look, or else from PyTorch's own index.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time)"
	$(PIP) install -c constraints.txt pip
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
		$(PIP) install -c constraints.txt "$(TORCH)+cpu" 2>/dev/null || \
		$(PIP) install -c constraints.txt "$(TORCH)+cpu" --extra-index-url $(CPU_WHEELS); \
	fi
	$(PIP) install -c constraints.txt --group dev -e ".[eval,fidelity,hdf5,heic,hub,lmdb,onnx,report,studio,tensorboard,video]"
	-$(BIN)/python -m sagan.studio.runtime
	@touch $@

demo: $(INSTALLED)
	$(BIN)/sagan demo

# Those of the README; report.png and the studio need Chromium.
pictures: demo
	$(BIN)/python -m benchmarks.readme_pictures runs/demo

# A process per core, each with one thread: faster than one with two. A module's tests stay together
# until one process has no more, so that what they share is made once.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# Speed and memory, then what a training of twenty minutes gives.
bench-gpu: $(INSTALLED)
	$(BIN)/python -m benchmarks --device cuda --only train,sampling,attention --sizes imagenet128,imagenet64 --batch 256 --precision auto --compile --in-a-row 12
	$(BIN)/sagan train avatars --data.resolution 64 --minutes 20 --train.device cuda --run runs/gpu
	$(BIN)/sagan evaluate runs/gpu --samples 5000 --real-samples 5000 --repeats 1

clean:
	rm -rf .venv
