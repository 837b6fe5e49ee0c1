# SPDX-License-Identifier: Apache-2.0
# The front door: each target installs what it lacks from Debian, builds with Meson, and does what it says.

BUILD ?= build
PREFIX ?= /usr/local

.PHONY: all demo check check-full bench install uninstall deps deps-full format clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

demo: all
	BUILD=$(BUILD) lab/demo

check: deps
	scripts/check quick

check-full: deps-full
	scripts/check full

bench: deps-full all
	BUILD=$(BUILD) bench/run
	BUILD=$(BUILD) bench/full-pass
	BUILD=$(BUILD) bench/rdma
	BUILD=$(BUILD) bench/fleet

# Paths are compiled in: first the prefix, then the build.
install: $(BUILD)/build.ninja
	meson configure $(BUILD) --prefix $(PREFIX)
	ninja -C $(BUILD)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

# What the last installation from this build directory put there, with the DESTDIR of that time.
uninstall:
	ninja -C $(BUILD) uninstall

deps:
	@scripts/deps

deps-full:
	@scripts/deps full

$(BUILD)/build.ninja: | deps
	meson setup $(BUILD)

format: deps
	clang-format-19 -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build build-*
