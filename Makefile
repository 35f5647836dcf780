# The words people expect. `make setup` once, then `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Sources and tests are run from the checkout; the compiled library is built by `make native`.
export PYTHONPATH := $(CURDIR)/src

.PHONY: help setup native test campaign lint format types demo bench sanitize clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | sort

setup: ## create .venv with the package and everything for working on it
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install '.[dev]'
	$(MAKE) native

test: ## run the tests
	$(BIN)/python -m pytest

campaign: ## try odd and hostile files, kills and full disks, and fuzz every parser (twenty minutes on two cores)
	$(BIN)/python -m pytest tests/campaigns -m slow -s

lint: ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ## check types
	$(BIN)/mypy

format: ## rewrite in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

native: ## build the C++ kernels into the source tree
	cmake -S . -B build/native -DCMAKE_BUILD_TYPE=Release
	cmake --build build/native --parallel
	cmake --install build/native --prefix src

sanitize: ## test the C++ kernels with the address and undefined behaviour sanitizers
	cmake -S . -B build/sanitize -DCMAKE_BUILD_TYPE=Debug -DSANITIZERS=address,undefined
	cmake --build build/sanitize --parallel
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1 FOCALNETS_CPU_LIBRARY=build/sanitize/_focal_cpu.so \
	$(BIN)/python -m pytest tests/ops/test_cpu_backend.py tests/ops/test_causal_cpu.py tests/ops/test_linear.py \
	tests/ops/test_mlp.py tests/models/test_sequence_step.py -k "not compile"

demo: ## generate pictures, train on them and write a report
	$(BIN)/python -m focalnets demo

bench: ## measure speed and memory beside the peers, then rewrite docs/performance.md (half an hour); DATA=imagenette for accuracy
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.report

clean: ## remove what was built
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache src/focalnets/ops/*.so
