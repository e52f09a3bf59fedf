# Two targets do all their own set-up: `make run` and `make test`. The rest is for people who change
# the code. Everything is made in .venv of this checkout.

PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/pip --disable-pip-version-check --quiet

# Workers, each in namespaces of its own: tests/places/worker.py. Tests often wait, so there are two
# for each processor.
WORKERS := $(shell n=$$(($$(nproc) * 2)); echo $$((n < 8 ? n : 8)))
PYTEST  := $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal

BOOT_TESTS := $(foreach name,call call_ends call_errors call_values callers enemy_root executor \
	faults wait_for_go image join launch netns options options_init options_root idmapped_binds \
	any_parent preload preload_faults sandbox takeover trace,tests/test_nsenter/test_$(name).py) tests/test_outer_filters.py \
	$(foreach name,container dying_init hostile not_held_up pyrunc_environment pyrunc_lifecycle \
	pyrunc_streams pyrunc_terminal seized_joiners,tests/test_libcontainer/test_$(name).py)

# Thousands of interpreters start in the tests: none of them may compile the package again.
unexport PYTHONDONTWRITEBYTECODE

BUILD_INPUTS := setup.py pyproject.toml $(wildcard csrc/*.py csrc/*/*.c csrc/*/*.h)

.PHONY: run test test-packages test-all test-boot test-cases mutants test-vm test-debian test-suites test-imports bench bench-vm bench-check docs lint fuzz check-c clean

run: $(VENV)/.built
	@$(VENV)/bin/python -m nsenter image >/dev/null 2>&1 || true  # without one, Python boots each time
	$(VENV)/bin/python -m nsenter run

test: test-packages $(VENV)/.built $(VENV)/.test-tools
	$(PYTEST) -m 'not sweep' $(TESTS)

# Everything: also the cases marked `sweep`, all of `make test` without memory images, a sample of
# `make mutants`, the virtual machine with several kernels, Debian's newer suites, and the suites of
# runc and crun.
test-all: test-cases test-vm test-suites test-debian
	$(MAKE) test-boot TESTS=tests
	for kernel in trixie sid; do $(MAKE) test-vm KERNEL=$$kernel || exit; done
	$(MAKE) mutants MUTANTS='--sample 12'

# The tests of starting Python in namespaces, and of containers, again, with interpreters that boot:
# the other tests start them from memory images, if images work here.
test-boot: test-packages $(VENV)/.built $(VENV)/.test-tools
	NSENTER_TEST_IMAGES=off $(PYTEST) -m 'not sweep' $(or $(TESTS),$(BOOT_TESTS))

test-cases: test-packages $(VENV)/.built $(VENV)/.test-tools $(VENV)/.imports-tools
	$(PYTEST) $(TESTS)

# Break security-relevant lines one by one, and see that a test notices each. MUTANTS are words of a
# file's name or a promise, or --sample N. All take about 20 minutes.
mutants: test-packages $(VENV)/.built $(VENV)/.test-tools
	$(VENV)/bin/python tests/mutants/run.py $(MUTANTS)

# On Debian's kernel in an emulated machine: cgroup v2 alone with every controller, and every
# capability; and in another, where systemd runs. VM_TESTS are pytest's arguments, for the first,
# or the other with VM_SYSTEMD=1; VM_SHELL=1 gives a shell there instead. KERNEL is a suite of
# Debian or the beginning of a version: then that kernel is booted, without systemd.
test-vm: $(VENV)/.built $(VENV)/.test-tools
	.ci/install-packages vm
	VM_KERNEL=$(KERNEL) $(VENV)/bin/python tests/vm/run.py $(VM_TESTS)
ifeq ($(VM_TESTS)$(VM_SYSTEMD)$(VM_SHELL)$(KERNEL),)
	VM_SYSTEMD=1 $(VENV)/bin/python tests/vm/run.py
endif

# As root: the core of the tests in roots of Debian's newer suites, with their own C libraries and
# Pythons. SUITES are suites, DEBIAN_TESTS pytest's arguments; NSENTER_TEST_ROOTS is where the roots
# are kept.
test-debian:
	.ci/install-packages roots
	$(PYTHON) tests/debian/run.py $(SUITES) $(if $(DEBIAN_TESTS),-- $(DEBIAN_TESTS))

# As root: the suites that runc and crun have, from Debian's sources, on pyrunc, and the tests that
# CPython has of subprocess and asyncio, on ours. SUITE_TESTS are a suite, or files of one.
test-suites: $(VENV)/.built
	.ci/install-packages suites
	$(VENV)/bin/python tests/suites/run.py $(SUITE_TESTS)

# Half a hundred packages of PyPI, each in a call.
test-imports: $(VENV)/.built $(VENV)/.imports-tools
	$(PYTEST) -m sweep tests/test_nsenter/test_import_packages.py tests/test_nsenter/test_preload.py

# As root. Writes benchmarks/results and what benchmarks/README.md says of them.
bench: $(VENV)/.built $(VENV)/.bench-tools
	$(VENV)/bin/python benchmarks/run.py

# In the virtual machine: pyrunc beside runc and crun, each with a cgroup, on cgroup v2.
bench-vm: $(VENV)/.built $(VENV)/.bench-tools
	.ci/install-packages vm
	VM_SCRIPT=benchmarks/vm.py VM_KERNEL=$(KERNEL) $(VENV)/bin/python tests/vm/run.py

# What does not depend on the machine's mood, compared with benchmarks/baseline.json.
bench-check: $(VENV)/.built $(VENV)/.bench-tools
	$(VENV)/bin/python benchmarks/check.py

lint: $(VENV)/.built $(VENV)/.lint-tools $(VENV)/.test-tools
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell --check-hidden *.md *.toml *.py Makefile .ci .github benchmarks csrc docs nsenter pylib tests
	PYTHONPATH=.ci:.:pylib $(VENV)/bin/lint-imports --no-cache
	clang-format --dry-run --Werror csrc/*/*.c csrc/*/*.h tests/csrc/*.c tests/csrc/*.h

# The pages of docs as a site, in build/site. A warning is an error.
docs: $(VENV)/.built $(VENV)/.docs-tools
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

# The C alone: warnings are errors, the analyzer, the sanitizers, another architecture.
check-c:
	.ci/install-packages c
	$(MAKE) -C tests/csrc check

FUZZ_SECONDS ?= 60
fuzz:
	.ci/install-packages c
	$(MAKE) -C tests/csrc fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)

$(VENV)/bin/pip:
	@.ci/make-venv $(PYTHON) $(VENV)

$(VENV)/.built: $(VENV)/bin/pip $(BUILD_INPUTS)
	$(PIP) install --editable .
	@touch $@

# First, so that the first line says what is missing.
test-packages:
	@.ci/install-packages tests

$(VENV)/.test-tools: $(VENV)/.built | test-packages
	$(PIP) install --editable '.[test]'
	@touch $@

# About a gigabyte.
$(VENV)/.imports-tools: $(VENV)/.test-tools
	$(PIP) install --editable '.[imports]'
	@touch $@

$(VENV)/.bench-tools: $(VENV)/.built
	$(PIP) install --editable '.[bench]'
	.ci/install-packages bench
	@touch $@

$(VENV)/.lint-tools: $(VENV)/.built
	$(PIP) install --editable '.[lint]'
	.ci/install-packages lint
	@touch $@

$(VENV)/.docs-tools: $(VENV)/.built
	$(PIP) install --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info nsenter/_nsexec.c nsenter/*.so nsenter/nsinit \
		nsenter/_libseccomp.py
	$(MAKE) -C tests/csrc clean
