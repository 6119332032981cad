# Thin: every target is one command of tinyml or of a tool configured in pyproject.toml.
# `make demo` and `make test` do all set-up themselves; a warm run finds it done by stamp files.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
TINYML := $(BIN)/tinyml
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
BUILD := build
C_FILES = $(shell git ls-files 'runtime_c/*.c' 'runtime_c/*.h' 'tests/*.c' 'tests/*.h' 2>/dev/null)
DIGITS := examples/digits/digits.tflite
DIGITS_DATA := examples/digits/digits_test.npz
TENSORFLOW := $(BUILD)/tensorflow
MOBILENET_LARGE := $(BUILD)/models/mobilenetv2_100_224.tflite

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Set-up --------------------------------------------------------------------------------------------

$(VENV)/.created:
	@python=$$(tools/system_packages.sh python) && $$python -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo "setup: installing tinyml and its dependencies into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "setup: installing the development tools, and TensorFlow for tinyml quantize, into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,quantize]'
	@touch $@

# Looked up every time (a quarter of a second): a compiler can be uninstalled behind a stamp's back.
.PHONY: system-firmware system-tests
system-firmware:
	@tools/system_packages.sh firmware
system-tests:
	@tools/system_packages.sh firmware tests

# In an environment of its own, for making example networks only: nothing that is built or tested needs it.
$(TENSORFLOW)/.installed: $(VENV)/.created
	@echo "setup: installing TensorFlow into $(TENSORFLOW)" >&2
	@$(BIN)/python -m venv $(TENSORFLOW)
	@$(TENSORFLOW)/bin/python -m pip install --quiet --disable-pip-version-check 'tensorflow>=2.18'
	@touch $@

$(MOBILENET_LARGE): examples/mobilenetv2/make_model.py
	@$(MAKE) --no-print-directory $(TENSORFLOW)/.installed
	@$(TENSORFLOW)/bin/python $< --width 1.0 --size 224 --classes 1000 -o $@

.PHONY: setup
setup: system-tests $(VENV)/.installed-dev ## Install everything that demo and test need

# The product ---------------------------------------------------------------------------------------

.PHONY: demo
demo: system-firmware $(VENV)/.installed ## Build the digits network for an STM32F746, run and verify it on an emulated Cortex-M7
	@$(TINYML) build --board stm32f746 --force -o $(BUILD)/demo $(DIGITS)
	@$(TINYML) verify --board stm32f746 --samples 20 --data $(DIGITS_DATA) $(DIGITS)

.PHONY: test
test: setup ## Run every check and the whole test suite
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(BIN)/python -m pytest -n $(JOBS) -q || status=1; \
	exit $$status

.PHONY: bench
bench: system-firmware $(VENV)/.installed ## Instructions, estimated cycles and bytes beside the competition's
	@$(BIN)/python tools/bench.py

.PHONY: bench-memory
bench-memory: system-firmware $(VENV)/.installed $(MOBILENET_LARGE) ## Arenas of known networks beside the literature's, from builds that ran
	@$(BIN)/python tools/bench_memory.py --instructions

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## Feed 200,000 damaged model files to the reader
	@$(BIN)/python tools/fuzz.py

# Checks --------------------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/.installed-dev ## ruff, mypy and clang-format, changing nothing
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "run: make fmt" >&2; exit 1; }
	@$(BIN)/mypy
	@test -z "$(C_FILES)" || $(BIN)/clang-format --dry-run -Werror $(C_FILES)

.PHONY: fmt
fmt: $(VENV)/.installed-dev ## Format Python and C in place
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .
	@test -z "$(C_FILES)" || $(BIN)/clang-format -i $(C_FILES)

.PHONY: wheel
wheel: $(VENV)/.installed-dev ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --outdir dist .

.PHONY: clean
clean: ## Remove everything that make produced, the virtual environment included
	rm -rf $(VENV) $(BUILD) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tinyml tests -name __pycache__ -type d -prune -exec rm -rf {} +
