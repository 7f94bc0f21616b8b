# podwitness: `make run` and `make test` do everything on a fresh Debian 12/13 or Ubuntu 24.04, as root.
# Each step says what it does in one line on standard error, where it does not mix with the records of `make run | ...`;
# what the step printed is in build/*.log and is shown when it fails.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The system's own Python: bcc and systemd come as Debian packages for it, whatever else is first in PATH.
SYSTEM_PYTHON := /usr/bin/python3
VENV := .venv
PYTHON := $(VENV)/bin/python

# What the collector needs: BCC compiles the probes, gcc compiles the extension.
RUN_PACKAGES := python3 python3-venv python3-dev python3-bpfcc python3-systemd gcc libc6-dev
# What the tests drive: a container runtime with a locally made image, TLS peers, journal files, manifests, and a
# second compiler that has to agree on the layout of records.
TEST_PACKAGES := containerd runc containernetworking-plugins busybox-static iproute2 openssl procps \
  systemd-journal-remote ruby clang

NATIVE_SOURCES := $(wildcard ext/*.c ext/*.h ext/*.py probes/*.h)

# Without arguments the collector shows on the terminal what this machine does (collector/default.conf).
ARGS ?=
TESTS ?= tests
SUITE ?= bookworm

# Ubuntu has kubectl as a snap only, which needs a running snapd.
IS_UBUNTU := $(shell grep -x ID=ubuntu /etc/os-release)
NO_KUBECTL = $(if $(shell command -v kubectl),,--ignore=tests/deploy/test_kubectl.py)

# aarch64's compiler and gcc-multilib can't be on one machine; on an aarch64 all tests of the extension are its own.
NO_AARCH64 := $(shell [ "$$(uname -m)" = x86_64 ] && ! dpkg-query -s gcc-multilib >/dev/null 2>&1 || \
  echo --ignore=tests/native/test_aarch64.py)
AARCH64_PACKAGES := $(if $(NO_AARCH64),,gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
LEFT_OUT = $(NO_KUBECTL) $(NO_AARCH64)

# $(call step,NAME,WHAT,COMMAND): one line on the screen, the rest in build/NAME.log.
define step
	@mkdir -p build; printf '  %-9s %s\n' '$(1)' '$(2)' >&2; \
	if ! ( $(3) ) > build/$(1).log 2>&1; then cat build/$(1).log >&2; \
	echo "  $(1) failed: $(2). The output above is build/$(1).log" >&2; exit 1; fi
endef

# $(call packages,NAME,LIST): installs what is missing of LIST; asks the package lists only then.
define packages
	@missing=$$(comm -23 <(printf '%s\n' $(2) | sort) \
	  <(dpkg-query -W -f='$${db:Status-Abbrev}$${Package}\n' $(2) 2>/dev/null | sed -n 's/^ii *//p' | sort)); \
	[ -n "$$missing" ] || exit 0; mkdir -p build; printf '  %-9s %s\n' packages "apt installs $$(echo $$missing)" >&2; \
	if ! { apt-get update && apt-get install -y --no-install-recommends $$missing; } > build/$(1).log 2>&1; then \
	tail -n 30 build/$(1).log >&2; echo "  packages failed: the output above is build/$(1).log" >&2; exit 1; fi
endef

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target meaning; do \
	printf '  make %-8s %s\n' "$$target" "$$meaning"; done

run: root run-packages $(VENV)/run.done $(VENV)/native.done ## Run the collector; ARGS="..." are its arguments
	@exec $(VENV)/bin/podwitness $(ARGS)

test: root test-packages $(VENV)/test.done $(VENV)/native.done lint ## Build, lint, types and all tests
	@[ -z '$(NO_KUBECTL)' ] || echo '  kubectl   is not to be had by apt here: tests/deploy/test_kubectl.py is left out' >&2
	@[ -z '$(NO_AARCH64)' ] || echo '  aarch64   is this machine, or its compiler and gcc-multilib exclude each other:' \
	  'tests/native/test_aarch64.py is left out' >&2
	@$(PYTHON) -m pytest -q $(LEFT_OUT) $(TESTS) || { status=$$?; [ $$status = 1 ] || exit $$status; \
	echo '  again     what failed is tried once more, alone: other load on the machine must not decide' >&2; \
	exec $(PYTHON) -m pytest -q --last-failed --last-failed-no-failures=none $(LEFT_OUT) $(TESTS); }

# The extension's own build flags have -Werror, so what native.done stands for compiled without a warning.
lint: test-packages $(VENV)/test.done $(VENV)/native.done ## The extension with -Werror, ruff, mypy --strict
	$(call step,ruff,Python style,$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .)
	$(call step,mypy,Python types,$(PYTHON) -m mypy)

bench: root test-packages $(VENV)/test.done $(VENV)/native.done ## Measure, each figure beside its limit
	@exec $(PYTHON) -m tests.bench

soak: root test-packages $(VENV)/test.done $(VENV)/native.done ## Long search for new examples
	@KILLS=200 TINY_FILES=100000 exec $(PYTHON) -m pytest -q --hypothesis-profile=soak --timeout=3600 $(LEFT_OUT) $(TESTS)

docs: $(VENV)/test.done $(VENV)/native.done ## Print the reference pages into docs/
	$(call step,docs,docs/*.md and the dashboard out of the tables in the code,$(PYTHON) -m docs.pages)

fresh: root ## The two commands of the README on a new Debian; SUITE=trixie for 13
	$(call packages,fresh-packages,debootstrap git)
	@exec .ci/fresh $(SUITE)

clean: ## Remove what was built, not what apt installed
	@rm -rf $(VENV) build *.egg-info collector/_native.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

root:
	@[ "$$(id -u)" = 0 ] || { echo "podwitness loads probes into the kernel and installs packages: run make as root" >&2; exit 1; }

run-packages:
	$(call packages,run-packages,$(RUN_PACKAGES))

# kubectl under its own name: it often is there from a package of another name than Debian's.
test-packages: run-packages
	$(call packages,test-packages,$(TEST_PACKAGES) $(AARCH64_PACKAGES) $(if $(shell command -v kubectl)$(IS_UBUNTU),,kubernetes-client))

$(PYTHON): | run-packages
	$(call step,venv,$(VENV) from $(SYSTEM_PYTHON),\
	  $(SYSTEM_PYTHON) -m venv --system-site-packages $(VENV) && $(PYTHON) -m pip install setuptools wheel cffi)

# Without build isolation: the extension is built by the cffi that it runs with.
$(VENV)/run.done: setup.py pyproject.toml | $(PYTHON)
	$(call step,install,Python packages and the extension,$(PYTHON) -m pip install --no-build-isolation -e .)
	@touch $@ $(VENV)/native.done

$(VENV)/test.done: setup.py pyproject.toml | $(PYTHON)
	$(call step,install,Python packages for tests and the extension,\
	  $(PYTHON) -m pip install --no-build-isolation -e '.[test]')
	@touch $@ $(VENV)/run.done $(VENV)/native.done

$(VENV)/native.done: $(NATIVE_SOURCES) | $(PYTHON)
	$(call step,native,compiling the extension,$(PYTHON) setup.py build_ext --inplace --force)
	@touch $@

# The steps share one .venv.
.NOTPARALLEL:
.PHONY: help run test lint bench soak docs fresh clean root run-packages test-packages
