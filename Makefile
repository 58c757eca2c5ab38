# Everything happens in a virtual environment of the project's own.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# What `make sweep` simulates, and where its results go.
SWEEP  ?= farm_merge/default_sweep.toml
SHARDS ?= shards
OUT    ?= exp.db

# What `make bench` measures: 40 shards or 400, and how often.
SIZE   ?= S
ROUNDS ?= 5
KEEP   ?=

# At how many calls of each command `make faults` lets each fault happen.
POINTS ?= 40

# How many files `make fuzz` mutates.
COUNT  ?= 20000

# What holds for all inputs, of which `make fuzz` tries more.
PROPERTIES = tests/merge/test_properties.py tests/merge/test_folders.py tests/merge/write/test_graft.py \
	tests/merge/write/test_any_order.py

# How often `make concurrency` lets everything happen at once.
RACES  ?= 20

# How many changes `make mutants` makes in each module, and in which modules; those that write if none.
SAMPLE ?= 15
SEED   ?= 0
MODULES ?=

# More pytest options, as in: make test PYTEST='-k ledger'
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help sweep test test-floor faults fuzz concurrency mutants trust bench check format docs docs-site dist clean

help: ## Show what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[report]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

sweep: $(VENV)/installed ## Simulate in parallel, merge, show what came out (SWEEP=my.toml OUT=x.db SHARDS=dir)
	$(BIN)/farm-merge sweep $(SWEEP) --shards $(SHARDS) --output $(OUT)
	$(BIN)/farm-merge report $(OUT) --output $(OUT:.db=.html)

test: $(VENV)/installed-dev ## Run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST)

test-floor: ## Run the tests with the oldest versions of all packages that pyproject.toml allows
	$(PYTHON) -m venv $(VENV)/floor
	$(VENV)/floor/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/floor/bin/uv pip install --quiet --python $(VENV)/floor/bin/python \
		--resolution lowest-direct --editable '.[dev]'
	$(VENV)/floor/bin/python -m pytest -n auto --ignore tests/faults --ignore tests/fuzz $(PYTEST)

$(VENV)/validator: ## Validates RO-Crates; apart, since it wants an older rich than import-linter
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check 'roc-validator>=0.13'

faults: $(VENV)/installed-dev ## Kill and refuse every command at its calls to the disk (long; POINTS=40)
	$(BIN)/python -m tests.faults.harness --points $(POINTS)

fuzz: $(VENV)/installed-dev ## Mutate files in their structure and merge them (long; COUNT=20000)
	$(BIN)/python -m tests.fuzz.harness --count $(COUNT)
	FARM_MERGE_EXAMPLES=200 $(BIN)/python -m pytest -n auto --dist worksteal $(PROPERTIES)

concurrency: $(VENV)/installed-dev ## Everything at once into one database (long; RACES=20)
	$(BIN)/python -m tests.concurrency.harness --rounds $(RACES)

$(VENV)/installed-mutants: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	@touch $@

mutants: $(VENV)/installed-mutants ## Change the code at random and see whether tests notice (long; SAMPLE=15 MODULES=publish)
	$(BIN)/python -m tests.mutants.harness --sample $(SAMPLE) --seed $(SEED) $(MODULES)

trust: $(VENV)/installed-mutants ## Run all four of these, and write their figures into docs/trust.md (hours; POINTS= COUNT= RACES= SAMPLE=)
	$(BIN)/python -m tests.faults.harness --points $(POINTS) --keep-figures
	$(BIN)/python -m tests.fuzz.harness --count $(COUNT) --keep-figures
	$(BIN)/python -m tests.concurrency.harness --rounds $(RACES) --keep-figures
	$(BIN)/python -m tests.mutants.harness --sample $(SAMPLE) --keep-figures
	$(BIN)/python -m tests.trust

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(VENV)/installed-bench ## Time merging side by side with the peers (SIZE=S|L ROUNDS=5 KEEP=--keep)
	for kind in today legacy append small large little; do \
		$(BIN)/python benchmarks/merge.py --kind $$kind --size $(SIZE) --rounds $(ROUNDS) $(KEEP) || exit; done
	for what in export look; do \
		$(BIN)/python benchmarks/$$what.py --size $(SIZE) --rounds $(ROUNDS) $(KEEP) || exit; done
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/plot.py $(if $(KEEP),,build/bench/results)

check: $(VENV)/installed-dev ## Lint, check types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-dev ## Write farm_merge/schema.sql and docs/schema.md from the models
	$(BIN)/python -m farm_merge.models

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

docs-site: $(VENV)/installed-docs ## Build the documentation as a site, in build/site; every link has to lead somewhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

dist: $(VENV)/installed ## Build the wheel and the source distribution, in dist, and check both
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build twine
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

clean: ## Remove the virtual environment and caches; data stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
