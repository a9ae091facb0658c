# Two commands do everything: `make book` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
# Another index for PyTorch, for instance its CPU builds: make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PORT ?= 8000

BIN := $(VENV)/bin
FLATTER := $(BIN)/flatter
READY := $(VENV)/.ready
export MPLBACKEND := agg

.DEFAULT_GOAL := help
.PHONY: help book test test-machines mutants bench-nqm bench-ensemble bench-sweep bench-training pdf serve chapters doctor format clean clean-runs clean-venv

help: ## Show this list
	@echo "Flatter, Faster, the book"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "  FRESH=1 make book executes every chapter, fresh or not; $(FLATTER) --help shows the command line."

book: $(READY) ## Execute what is not fresh and leave the published book in _build/html
	@$(FLATTER) book $(if $(FRESH),--fresh)

test: $(READY) ## Run every check: style, tests, every chapter re-executed, the warning-free build
	@$(FLATTER) check

test-machines: $(READY) ## Chapters and unit tests on every machine that this one can stand for (two hours; not in CI)
	@$(FLATTER) check --only machines

mutants: $(READY) ## Put faults into copies of the library, one at a time: do the tests notice? (half an hour; not in CI)
	@$(BIN)/python tests/mutants.py

bench-nqm: $(READY) ## Time the figures of the noisy quadratic model beside the obvious method
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/nqm.py

bench-ensemble: $(READY) ## Time ensembles beside a plain loop and beside this machine's matrix products
	@$(BIN)/python benchmarks/ensemble.py

bench-sweep: $(READY) ## Time what a sweep costs a run: driver and store
	@$(BIN)/python benchmarks/sweep.py

bench-training: $(READY) ## Time training beside a loop written by hand, and ensembles beside separate runs
	@$(BIN)/python benchmarks/training.py

chapters: $(READY) ## List the chapters and whether each is fresh
	@$(FLATTER) chapters

doctor: $(READY) ## Look at this machine and say what is missing
	@$(FLATTER) doctor

pdf: book ## Print the book into _build/book.pdf, with contents and page numbers (needs Chromium, not TeX)
	@$(FLATTER) pdf

serve: book ## Build the book and serve it to this machine only, at port 8000 (PORT=...)
	@echo "http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

format: $(READY) ## Format the code, and the chapters' sources as JupyterLab would save them
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .
	@$(FLATTER) format

clean: ## Remove all that is built; the environment, the executed chapters and your own runs stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@if [ -d _build ]; then find _build -mindepth 1 -maxdepth 1 ! -name runs -exec rm -rf {} +; fi
	@if [ -d _build/runs ]; then echo "kept: your own runs, in _build/runs (make clean-runs removes them)"; fi

clean-runs: ## Remove your own runs
	rm -rf _build/runs

clean-venv: ## Remove the environment
	rm -rf $(VENV)

# The stamp is written last, so that an interrupted installation is taken up again.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here: install Python 3.11 or newer, or say PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11: say PYTHON=/path/to/python3.11"; exit 2; }
	@echo "environment: installing into $(VENV) (the first time several GB, minutes; log in $(VENV)/install.log)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make environments: install its venv module (on Debian, python3-venv)"; exit 2; }
	@start=$$(date +%s); \
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX) torch torchvision >$(VENV)/install.log 2>&1 &&) \
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[test]' >>$(VENV)/install.log 2>&1 \
	|| { tail -n 20 $(VENV)/install.log; echo "make: the installation failed; all of its log is in $(VENV)/install.log"; exit 1; }; \
	echo "environment: ready after $$(( $$(date +%s) - start )) s"
	@touch $@
