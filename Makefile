# Two commands for a fresh machine with Python 3.10 to 3.13 and a C++ compiler:
#
#   make demo    an avatar from a real portrait and a rendered video, in demo-output/
#   make test    lint, types and all tests; says which of them need a tool that is missing
#
# Both work in a virtual environment of their own (.venv), made on first use.

PYTHON ?= python3
VENV ?= .venv
# The version all numbers in the docs were measured with; any from 2.6 on works: make demo TORCH=2.8.0
TORCH ?= 2.13.0
WORKERS ?= 2

BIN := $(VENV)/bin
# The constraint keeps dependencies from replacing torch.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt
NATIVE := $(wildcard CMakeLists.txt native/CMakeLists.txt native/*.cpp native/*.hpp)

.PHONY: demo test check install develop web-tools docs clean help fuzz fuzz-readers
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: install
	$(BIN)/spatialavatar demo --output demo-output

test: develop web-tools check
	@$(BIN)/python -m tests.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# What the page's own tests need, from the lock file; without npm their tests are skipped, and in CI fail.
web-tools:
	@if ! command -v npm >/dev/null 2>&1; then echo "npm is missing (apt-get install npm): the page's own tests are left out"; \
	  elif ! cmp -s web/package-lock.json web/node_modules/.installed; then \
	  (cd web && npm ci --ignore-scripts --no-audit --no-fund) && cp web/package-lock.json web/node_modules/.installed; fi

check: develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then set -x; $(BIN)/mypy; else \
	  echo "mypy is left out: the last NumPy for Python 3.10 has types of its own. 3.11 and newer check the same files."; fi

# The kernels under sanitizers, fed with any bytes for so many seconds.
FUZZ_SECONDS ?= 60
fuzz: develop
	cmake -S . -B build/fuzz -DSPATIALAVATAR_FUZZ=ON -DPython_EXECUTABLE=$(abspath $(BIN)/python)
	cmake --build build/fuzz
	build/fuzz/fuzz_kernels $(FUZZ_SECONDS)

# Every reader of files, fed with damaged ones for so many seconds each: make fuzz-readers SECONDS=60 [READERS="--reader pickle"]
SECONDS ?= 60
READERS ?=
fuzz-readers: develop
	$(BIN)/python benchmarks/fuzz_readers.py --seconds $(SECONDS) $(READERS)

# README, docs/ and the reference of the Python API as pages, in site/; a link that leads nowhere is an error. Sphinx has a
# virtual environment of its own: it asks for other versions of what the tools share.
docs:
	@test -x $(VENV)-docs/bin/python || $(PYTHON) -m venv $(VENV)-docs
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)-docs/bin/python -m pip install --quiet --requirement docs/site/requirements.txt
	$(VENV)-docs/bin/sphinx-build --fail-on-warning --keep-going -b html -c docs/site . site

install: $(VENV)/.package
develop: $(VENV)/.package $(VENV)/.tools

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.10 to 3.13 is needed, and '$(PYTHON)' is not one. Name one: make demo PYTHON=python3.12"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || \
	  { echo "A C++17 compiler is needed: apt install g++  (macOS: xcode-select --install)"; exit 1; }
	@echo "Making $(VENV) (a few minutes the first time: torch, OpenCV, the CPU kernel)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	@echo "torch==$(TORCH)" > $(VENV)/constraints.txt
	$(PIP) "torch==$(TORCH)"
	@touch $@

# Python files are used where they lie; only the kernel and the dependencies need another install when they change.
$(VENV)/.package: $(VENV)/.torch pyproject.toml $(NATIVE)
	$(PIP) --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.torch pyproject.toml
	$(BIN)/python -c "$$READ_TOOLS" > $(VENV)/tools.txt
	$(PIP) --requirement $(VENV)/tools.txt
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-docs build dist site demo-output web/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The dev extra by itself, so that adding it does not build the kernel again. Python 3.10 has no tomllib.
define READ_TOOLS
import pathlib, re
text = pathlib.Path("pyproject.toml").read_text()
dev = re.search(r"^dev = \[(.*?)\]$$", text, re.MULTILINE | re.DOTALL).group(1)
print("\n".join(re.findall(r'"([^"]+)"', dev)))
endef
export READ_TOOLS
