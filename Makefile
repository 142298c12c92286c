# make demo | test | check: each installs what it needs. See CONTRIBUTING.md.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test test-long peers image test-machines test-kills test-lazy test-updates test-update-kills test-libvirt container-test check fix lock docs bench fuzz packages clean

demo: $(VENV)/ready packages
	@$(BIN)/python demo/demo.py

test: $(VENV)/ready packages
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal $(if $(COVERAGE),--cov --cov-report=json:build/coverage.json,-m "not long") $(ARGS)
	$(if $(COVERAGE),@$(BIN)/python -m tools.check_coverage build/coverage.json)

# What test leaves out: machines that fail, kills, updates; five minutes more.
test-long: $(VENV)/ready packages
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m long tests/integration $(ARGS)

# Fetches the tools of Debian sid anew, runs each line of docs/other-tools.md, and writes what happened into it.
peers: $(VENV)/ready packages
	@$(BIN)/python -m tests.support.peers
	@$(BIN)/python -m tests.peers.table

# The machine image, about a minute: docs/machines.md.
image: $(VENV)/ready packages
	@mkdir -p build
	@$(BIN)/python -m images.machine build/machine.qcow2

build/machine.qcow2:
	@$(MAKE) image

# Machines from that image: minutes without KVM. TWICE=1 builds it again, and compares the two.
test-machines: $(VENV)/ready packages build/machine.qcow2
	$(if $(TWICE),@$(BIN)/python -m images.machine build/again.qcow2)
	@HAULOUT_TEST_MACHINE_IMAGE=build/machine.qcow2 HAULOUT_TEST_MACHINE_REBUILT=$(if $(TWICE),build/again.qcow2) \
		$(BIN)/pytest -q tests/integration/test_machine_image.py tests/integration/test_machine_laptop.py tests/integration/test_machine_move_image.py \
		tests/integration/test_machine_update_image.py tests/integration/test_machine_lazy_image.py tests/integration/test_machine_by_podman.py

# The host side of a machine killed 200 times, about half an hour: docs/adr/0057.
test-kills: KILLS ?= 200
test-kills: $(VENV)/ready packages
	@HAULOUT_TEST_KILLS=$(KILLS) $(BIN)/pytest -q -s tests/integration/test_machine_kills.py

# Lazy starts while servers are killed and registries stopped, a few minutes.
test-lazy: $(VENV)/ready packages
	@HAULOUT_TEST_LAZY=1 $(BIN)/pytest -q tests/integration/test_machine_lazy.py

# Machines updated to systems that lack something, a minute each.
test-updates: $(VENV)/ready packages
	@HAULOUT_TEST_UPDATES=1 $(BIN)/pytest -q tests/integration/test_machine_update.py tests/integration/test_machine_auto.py

# Updates killed at each step of their journal: docs/adr/0069.
test-update-kills: KILLS ?= 200
test-update-kills: $(VENV)/ready packages
	@HAULOUT_TEST_UPDATE_KILLS=$(KILLS) $(BIN)/pytest -q -s tests/integration/test_machine_update_kills.py

# The hook of examples/update-disk with a libvirt daemon of its own, which is installed for it.
test-libvirt: $(VENV)/ready packages
	@tools/debian-packages requirements/debian-libvirt.txt
	@HAULOUT_TEST_LIBVIRT=1 $(BIN)/pytest -q tests/integration/test_update_disk_examples.py

# Builds the container image from a bare Debian, and pushes and pulls in it; minutes, as root.
container-test: $(VENV)/ready packages
	@HAULOUT_TEST_CONTAINER=1 $(BIN)/pytest -q tests/integration/test_packaging.py -k container

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_rooms.py
	$(BIN)/python -m tools.generate_docs --check
	$(BIN)/python tools/check_sizes.py

fix: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/ready
	$(BIN)/python -m tools.generate_docs
	$(BIN)/python tools/build_api.py build/api
	@echo "the library: build/api/haulout.html"

bench: $(VENV)/ready packages
	$(BIN)/python benchmarks/transfer.py
	$(BIN)/python benchmarks/delta.py
	$(BIN)/python benchmarks/reliability.py
	$(BIN)/python benchmarks/backports.py
	$(BIN)/python benchmarks/backports_truth.py
	$(BIN)/python benchmarks/machine.py
	$(BIN)/python benchmarks/backports_shapes.py

# By hand, for as long as you like, each: make fuzz SECONDS=600
fuzz: SECONDS ?= 60
fuzz: $(VENV)/ready
	@$(BIN)/uv pip install -q --system-certs --python $(BIN)/python "atheris>=3"
	$(BIN)/python tests/fuzz/fuzz_evidence.py -max_total_time=$(SECONDS) -max_len=16384
	$(BIN)/python tests/fuzz/fuzz_luks.py -max_total_time=$(SECONDS) -max_len=16384

# Locks carry hashes and no host names (docs/adr/0002).
lock: $(VENV)/ready
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --group dev -o requirements/dev.txt

packages:
	@tools/debian-packages requirements/debian.txt

$(VENV)/ready: requirements/dev.txt requirements/bootstrap.txt pyproject.toml tools/make-venv
	@tools/make-venv "$(PYTHON)" $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
