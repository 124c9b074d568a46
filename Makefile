# One command does what CI does. Each line with two hashes is a line of `make help`.

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check format coverage soak bench lock

bin := .venv/bin
# Three at a time, a file to a process: most of the tests' time is waiting. One process: make test WORKERS=0
WORKERS ?= 3
pytest := $(bin)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with everything pinned. Again: instant, unless a dependency changed.
	@tools/setup.sh

demo: setup ## Run a shop with plugins on 127.0.0.1:8000; its data is in .demo.
	$(bin)/jackfield demo --data .demo --port 8000

serve: setup ## Run the platform alone on 127.0.0.1:8000; its data is in .data.
	$(bin)/jackfield serve --data .data --port 8000

test: setup ## Run the tests.
	$(pytest)

check: setup ## All that a change must pass: format, lint, types, imports, docs, tests.
	$(bin)/ruff format --check
	$(bin)/ruff check
	$(bin)/pyright
	$(bin)/lint-imports
	$(bin)/python -m tools.check_docs
	$(pytest)

format: setup ## Put the code in its form.
	$(bin)/ruff check --select I --fix-only --quiet
	$(bin)/ruff format --quiet

coverage: setup ## Run the tests and list the lines they miss.
	$(bin)/coverage run -m pytest -q
	$(bin)/coverage combine --quiet
	$(bin)/coverage report

soak: setup ## Minutes of load, looking for leaks.
	$(bin)/python -m pytest -q -m soak
	JACKFIELD_HOSTILE_LEVELS=strict,unprivileged $(bin)/python -m pytest -q tests/hostile

bench: setup ## Measure, beside our peers, in one run.
	$(bin)/python -m benchmarks

lock: setup ## Pin the dependencies anew (UPGRADE=--upgrade takes the newest).
	tools/lock.sh $(UPGRADE)
