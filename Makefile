# From a bare machine with python3 and make to the page and the tests. The machine's part is done by the scripts in .ci/.

STUDY ?= experiments/studies/above.yaml
OUT ?= out/demo
PROVE ?= out/prove
STACKS ?= all
FUZZ ?= 10000000
export PYTHON

BIN := .venv/bin
INSTALLED := .venv/installed
DEVELOPING := .venv/developing
BENCHING := .venv/benching
DOCUMENTING := .venv/documenting

.PHONY: help setup setup-dev setup-bench demo docs prove review picture verify kills bench test test-slow test-bench test-pythons check lint fuzz pytest system-packages asterisk clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with the pinned packages (PYTHON=... chooses the Python)

$(INSTALLED): pyproject.toml constraints.txt .ci/setup
	@.ci/setup
	@touch $@

setup-dev: $(DEVELOPING) ## the same with what tests, notebooks and a cluster need

$(DEVELOPING): pyproject.toml constraints.txt .ci/setup
	@.ci/setup dev
	@touch $@ $(INSTALLED)

setup-bench: $(BENCHING) ## the same with what the benchmarks compare with

$(BENCHING): pyproject.toml constraints.txt .ci/setup
	@.ci/setup bench
	@touch $@ $(INSTALLED)

$(DOCUMENTING): pyproject.toml constraints.txt .ci/setup
	@.ci/setup docs
	@touch $@ $(INSTALLED)

docs: $(DOCUMENTING) ## build the documentation into out/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The documentation: $(CURDIR)/out/site/index.html"
	@echo "Its search needs a server: $(BIN)/python -m http.server --directory out/site"

demo: setup ## predict a study, place its calls, write the page (STUDY=... OUT=...)
	@$(BIN)/trunkproof validate $(STUDY) --out $(OUT)
	@echo "The page: $(abspath $(OUT))/report.html"

prove: setup system-packages ## the whole suite on every stack, into out/prove (half an hour)
	@$(BIN)/trunkproof validate --suite $(addprefix --stack ,$(STACKS)) --out $(PROVE)
	@echo "The page: $(abspath $(PROVE))/suite.html"

review: setup ## make a month of calls and decide on raising its throttle, into out/review (three minutes)
	@$(BIN)/trunkproof history experiments/requests/histories/contact_centre.yaml --out out/histories/contact_centre.csv.gz
	@$(BIN)/trunkproof review experiments/requests/raise_to_400.yaml --out out/review --pdf --png || [ $$? -ge 10 ]
	@echo "The page: $(abspath out/review)/report.html"

picture: review ## README's picture of the review's page, made again from the first screen of `make review` (needs chromium)
	@cp out/review/report.png experiments/report/review.png

verify: setup ## the simulator against exact theory, a picture for each check, into out/verify (five minutes)
	@$(BIN)/python -m trunkproof.experiments.verification --out out/verify
	@echo "The page: $(abspath out/verify)/verification.html"

kills: setup ## kill runs, workers and trunks at 20 random instants: nothing is lost, nothing is left (ten minutes)
	@$(BIN)/python -m trunkproof.experiments.verification.kills 20

bench: setup-bench ## all benchmarks, side by side with others, into experiments/benchmarks/latest.md (ten minutes)
	@.ci/fetch-suite .stacks/sipp sip-tester || echo "Without SIPp what is compared with it is left out."
	@$(BIN)/python -m trunkproof.experiments.benchmarks

test: ## everything that continuous integration checks
	@$(MAKE) --no-print-directory --jobs 2 lint system-packages
	@$(MAKE) --no-print-directory pytest

lint: setup-dev ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

system-packages:
	@.ci/system-packages

asterisk: ## unpack Asterisk into .stacks/ (no root needed), for those stacks and tests that want it
	@.ci/fetch-suite .stacks/asterisk asterisk

# Tests that place calls run three at a time, each process in a network of its own, where this user may make one: they
# mostly wait. So do the odd peers, whose calls all share one run. Tests that compute run beside them, and get only what
# these leave of the two cores. Tests marked `alone` need both cores, and come last.
# The shell takes Ctrl-C from what it runs in the background, and `env` gives it back.
COMPUTING := tests/fuzz tests/models tests/simulator tests/docs/test_reference.py \
	$(addprefix tests/test_,house.py package.py portable.py wheel.py) \
	$(addprefix tests/loadgen/,sip schedule media/compiled media/test_warm.py) \
	$(addprefix tests/experiments/,histories authoring report review verification prediction cli test_cli.py test_cli_history.py test_cli_review.py) \
	$(addprefix tests/experiments/benchmarks/test_,history_read.py main.py result.py simulator.py)
BENCHMARKS := tests/experiments/benchmarks
ODD := tests/odd
CALLING := tests $(addprefix --ignore ,$(COMPUTING) $(ODD) $(BENCHMARKS))
# What a change to a few lines is checked by, many times a day.
QUICK := tests/test_package.py tests/models --ignore tests/models/demand --ignore tests/models/test_compiled.py \
	$(addprefix tests/loadgen/,sip parties schedule) tests/experiments/cli

check: lint ## style, types and the quick tests, for the daily loop
	@$(BIN)/pytest --numprocesses auto -q $(QUICK)

pytest: setup-dev system-packages ## the tests alone (ARGS=tests/models: only those, one after the other)
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@status=0; mkdir -p out; \
	beside="env --default-signal=INT"; \
	computing="nice -n 19 $(BIN)/pytest --numprocesses auto --dist loadscope -m 'not slow' $(COMPUTING)"; \
	if unshare --net true 2>/dev/null; then \
		eval "exec $$beside $$computing" > out/tests_computing.log 2>&1 & computes=$$!; \
		export TRUNKPROOF_TESTS_APART=1; \
		$$beside $(BIN)/pytest $(ODD) > out/tests_odd.log 2>&1 & plays=$$!; \
		$(BIN)/pytest --numprocesses 3 --dist worksteal -m "not alone and not slow" $(CALLING) || status=$$?; \
		wait $$plays || status=$$?; \
		cat out/tests_odd.log; \
		wait $$computes || status=$$?; \
		cat out/tests_computing.log; \
		$(BIN)/pytest -m "alone and not slow" $(CALLING) || status=$$?; \
	else \
		echo "This user may not make networks: tests that place calls run one after the other."; \
		eval "$$computing" || status=$$?; \
		$(BIN)/pytest -m "not slow" $(CALLING) $(ODD) || status=$$?; \
	fi; \
	echo "Left out for their time: tests marked slow (ten minutes; make test-slow), and those of the benchmarks that place"; \
	echo "calls (three minutes; make test-bench)."; \
	exit $$status
endif

test-slow: setup-dev system-packages ## the tests that `make test` leaves out for their time: all documentation, kills, compilers
	@$(BIN)/pytest -m slow tests --ignore $(BENCHMARKS)

test-bench: setup-dev system-packages ## tests of the benchmarks (three minutes), which `make test` leaves out
	@$(BIN)/pytest $(BENCHMARKS)

fuzz: setup-dev ## millions of damaged messages, packets and files, which takes hours (FUZZ=10000000 messages, SEED=1)
	@TRUNKPROOF_FUZZ=$(FUZZ) TRUNKPROOF_FUZZ_SEED=$(or $(SEED),1) $(BIN)/pytest --numprocesses auto tests/fuzz

test-pythons: setup ## the wheel on every Python from 3.11 on that is on this machine, each in an environment of its own
	@.ci/test-pythons

clean: ## remove .venv, caches and the demo's results
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info out/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
