# What this project can do for you. `make demo` needs Python 3.11 to 3.13 and nothing else; the other targets bring
# what they need as well. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

venv := .venv
python := $(venv)/bin/python
pytest := $(python) -m pytest
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_NOCOWS := 1
# Ansible pipes modules into Python, which without a buffer makes one system call a byte; and hundreds of processes would
# compile what is imported each time anew.
unexport PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE
# Ansible starts programs by name: those of the environment come first.
export PATH := $(CURDIR)/$(venv)/bin:$(PATH)
# How many tests run at once where they may.
workers := 1

.PHONY: help
help: ## Lists the targets
	@grep -hE '^[a-z0-9_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9_-]+):.*## /\1|/' | column -t -s '|'

# ---------------------------------------------------------------- see it work

.PHONY: demo
demo: run-venv ## Moves a small contact centre on loopback from plaintext to TLS, and leaves .demo/report.html
	@$(python) tests/fleet/demo.py

.PHONY: demo-up
demo-up: run-venv ## Starts the demo fleet and leaves it running, to try every playbook on it
	@$(python) tests/fleet/demo.py up

.PHONY: demo-down
demo-down: run-venv ## Stops the demo fleet
	@$(python) tests/fleet/demo.py down

.PHONY: demo-hard
demo-hard: run-venv ## Takes a fleet with what real ones have through four runs, and leaves .demo-hard/runs.json
	@$(python) tests/fleet/demo_hard.py

.PHONY: demo-hard-up
demo-hard-up: run-venv ## Starts that fleet and leaves it running, to play everybody's part yourself
	@$(python) tests/fleet/demo_hard.py up

.PHONY: demo-hard-down
demo-hard-down: run-venv ## Stops that fleet
	@$(python) tests/fleet/demo_hard.py down

# ---------------------------------------------------------------- real hosts

lab_hosts ?= h1,h2,h3,h4,h5,h6,h7,h8

.PHONY: lab
lab: lab-base ## Moves a contact centre of real servers on real hosts to TLS under load, and leaves .lab/; takes root
	@$(python) tests/lab/centre/run.py

.PHONY: lab-base
lab-base: run-venv ## Makes the tree that the lab's hosts lie on, once, in the user's cache; takes root
	@[ "$$(id -u)" != 0 ] || scripts/lab-packages
	@$(python) tests/lab/lab.py build

.PHONY: lab-up
lab-up: lab-base ## Boots hosts with a systemd of their own, lab_hosts=h1,h2,...; takes root
	@$(python) tests/lab/lab.py up --hosts $(lab_hosts)

.PHONY: lab-down
lab-down: run-venv ## Removes them without a trace
	@$(python) tests/lab/lab.py down

# ---------------------------------------------------------------- set-up

.PHONY: link
link:
	@mkdir -p build/ansible_collections/connsec
	@ln -sfn ../../.. build/ansible_collections/connsec/tls

.PHONY: run-venv
run-venv: link
	@scripts/venv $(venv) controller run

.PHONY: test-venv
test-venv: link
	@scripts/venv $(venv) controller run test

.PHONY: tools
tools: test-venv
	@scripts/programs
	@scripts/collections ansible.windows
	@scripts/venv .venv-pkilint controller pkilint
	@scripts/venv .venv-sslyze controller sslyze

# ---------------------------------------------------------------- checks

.PHONY: test
test: tools ## Everything that has to hold: check, py38, lint, sanity, integration
	@$(MAKE) --jobs=2 workers=2 --output-sync=target timed-static timed-unit timed-py38 timed-lint
	@# the demos are held to messages and milliseconds: sanity has what they leave of the processors
	@$(MAKE) --jobs=2 --output-sync=target timed-demos timed-sanity
	@scripts/timed integration $(MAKE) integration

timed-%:
	@scripts/timed $* $(MAKE) $*

.PHONY: check
check: static ## The quick ones: ruff, mypy, yamllint, changelog, unit tests with the layers
	@$(MAKE) unit workers=2 only="not judges"
	@echo "LEFT OUT for their time: what keytool, JSSE and pkilint judge (make test has it)"

.PHONY: static
static: test-venv
	@ruff check --quiet
	@ruff format --check --quiet
	@mypy
	@yamllint --strict .
	@antsibull-changelog lint

.PHONY: unit
unit: test-venv
	@$(pytest) --quiet --numprocesses $(workers) --dist worksteal $(if $(only),-m "$(only)") tests/unit

.PHONY: py38
py38: test-venv ## The unit tests of core and host hands on Python 3.8, the floor of targets
	@scripts/py38

.PHONY: lint
lint: test-venv ## ansible-lint, profile production
	@ansible-lint -q --nocolor -f pep8

.PHONY: sanity
sanity: test-venv ## ansible-test sanity, on a copy under build/
	@nice -n 19 tests/sanity/run

demo_tests := tests/integration/test_demo.py tests/integration/test_demo_hard.py

.PHONY: demos
demos: tools ## Both demos, from their first line to their last, held to what they promise
	@$(pytest) $(demo_tests)

.PHONY: integration
integration: tools ## The real thing: fleets on loopback, failures, independent judges; other systems on twins
	@# they wait for a part of their time, for sessions to settle and programs to come up: three fill two processors
	@$(pytest) --numprocesses 3 --dist worksteal --durations=25 -m "not soak" $(demo_tests:%=--ignore %) \
		tests/integration tests/unix tests/windows
	@echo "LEFT OUT for their time: what runs on hosts of the lab (make lab-short, make lab-test), and by make soak most SIGKILL"
	@echo "points, each kind and role by itself on such hosts, what Wine says of PFX files, and the scenarios of molecule"

.PHONY: lab-tree
lab-tree: run-venv
	@[ "$$(id -u)" != 0 ] || scripts/lab-packages || true
	@$(python) tests/lab/lab.py build || [ $$? = 3 ]  # which says that this machine cannot, and the tests say so again

# One after the other: labs beside each other take more inotify instances than Linux gives to root (docs/lab.md).
lab_short := $(addprefix tests/lab/,test_centre.py test_hosts.py test_costs.py)

.PHONY: lab-short
lab-short: tools lab-tree ## Of the lab the short part: the contact centre under load, and what its hosts promise
	@$(pytest) --durations=20 -m "not soak" $(lab_short)
	@echo "LEFT OUT for its time: the rest of the lab (make lab-test)"

.PHONY: lab-test
lab-test: tools lab-tree ## Real hosts, and real servers on them under load; takes root, and elsewhere says what it leaves out
	@$(pytest) --quiet -m "not soak" tests/lab

scenarios ?= default

.PHONY: molecule
molecule: link ## A rollout on hosts of the lab by molecule; others by scenarios="mutual page"; takes root
	@scripts/venv .venv-molecule controller run molecule
	@[ "$$(id -u)" != 0 ] || scripts/lab-packages || true
	@scripts/molecule $(scenarios)

.PHONY: molecule-all
molecule-all: ## All scenarios, and what docs/task_molecule.md has its reader do
	@$(MAKE) molecule scenarios="default mutual rollback idempotence page"

.PHONY: soak
soak: tools ## The long ones: SIGKILL at every point, each kind by itself on hosts of the lab
	@scripts/programs soak
	@$(pytest) --numprocesses 2 --dist worksteal -m soak tests/integration tests/windows
	@$(MAKE) lab-test
	@$(pytest) -m soak tests/lab
	@$(MAKE) molecule-all

.PHONY: bench
bench: test-venv ## Measures against ping, a plain loop and community.crypto; writes build/bench.json
	@scripts/venv build/venv-bench controller bench
	@$(python) tests/bench/bench.py --output build/bench.json

# ---------------------------------------------------------------- release

.PHONY: build
build: run-venv ## Makes the collection's archive in build/dist
	@mkdir -p build/dist
	@ansible-galaxy collection build --force --output-path build/dist

.PHONY: clean
clean: ## Removes everything that is made here
	@[ ! -d .demo ] || [ ! -x $(python) ] || $(python) tests/fleet/demo.py down
	@[ ! -d .demo-hard ] || [ ! -x $(python) ] || $(python) tests/fleet/demo_hard.py down
	rm -rf build .venv .venv38 .venv-molecule .venv-pkilint .venv-sslyze .demo .demo-hard .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
