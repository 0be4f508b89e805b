# Everything that is built, tried and installed. `make` alone builds dist/tasseograph.
#
# Needed: Rust (rust-version in Cargo.toml) and a C compiler for SQLite and ring; openssl for `demo`
# and `test`.

CARGO ?= cargo
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
DESTDIR ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(SYSCONFDIR)/systemd/system

MUSL_AMD64 = x86_64-unknown-linux-musl
MUSL_ARM64 = aarch64-unknown-linux-musl

.PHONY: build build-linux test check demo bench soak powercut real-model install clean

build:
	$(CARGO) build --release --locked
	@install -D -m 0755 $(TARGET_DIR)/release/tasseograph dist/tasseograph
	@echo "dist/tasseograph: $$(stat -c %s dist/tasseograph) bytes"

# Static binaries for hosts of any distribution. cargo-zigbuild, where it is installed, brings the C
# compiler and the linker for both; plain cargo needs a musl C compiler for each.
build-linux:
	$(call musl,$(MUSL_AMD64),dist/tasseograph-linux-amd64)
	$(call musl,$(MUSL_ARM64),dist/tasseograph-linux-arm64)

define musl
@test -d "$$(rustc --print sysroot)/lib/rustlib/$(1)/lib" || { \
	echo "make: Rust has no standard library for $(1) here; run: rustup target add $(1)" >&2; \
	exit 1; }
@if command -v cargo-zigbuild >/dev/null; then build=zigbuild; else build=build; fi; \
	echo "$(CARGO) $$build --release --locked --target $(1)"; \
	$(CARGO) $$build --release --locked --target $(1) || { \
	echo "make: $(1) failed; if its C compiler or linker is missing, install cargo-zigbuild" >&2; \
	exit 1; }
@install -D -m 0755 $(TARGET_DIR)/$(1)/release/tasseograph $(2)
@echo "$(2): $$(stat -c %s $(2)) bytes"
endef

test:
	$(CARGO) test --locked

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features crash-points -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked
	$(CARGO) test --locked

# The whole pipeline on loopback, in a temporary folder: see tests/demo/demo.sh.
demo: build
	@tests/demo/demo.sh dist/tasseograph

bench:
	$(CARGO) bench --locked

# Both daemons killed at random and at named points while lines are written to the kernel log, then
# what was written compared with what is stored; power cuts, where root may mount an image; and twins
# that break a rule, which have to be caught. SOAK_SEED repeats a run's choices, not its timing.
KILLS ?= 200
LINES ?= 20000
CUTS ?= 20
SOAK = $(CARGO) bench --locked --profile dev --features crash-points --bench soak -- cuts=$(CUTS)

soak:
	$(SOAK) kills=$(KILLS) lines=$(LINES)

powercut:
	$(SOAK) powercut powercut-twins

# Real records through a real model. The test says so where it finds no model to run.
real-model:
	TASSEOGRAPH_REAL_MODEL=qwen $(CARGO) test --locked --test it real_model -- --nocapture

# The binary, its manual page, the units and example configurations. A configuration that is there stays as it is.
install: dist/tasseograph
	install -D -m 0755 dist/tasseograph "$(DESTDIR)$(PREFIX)/bin/tasseograph"
	install -d -m 0755 "$(DESTDIR)$(PREFIX)/share/man/man1"
	dist/tasseograph man > "$(DESTDIR)$(PREFIX)/share/man/man1/tasseograph.1"
	chmod 0644 "$(DESTDIR)$(PREFIX)/share/man/man1/tasseograph.1"
	install -d -m 0755 "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(SYSCONFDIR)/tasseograph"
	@for unit in tasseograph-agent tasseograph-collector; do \
		to="$(DESTDIR)$(UNITDIR)/$$unit.service"; \
		sed 's|/usr/local/bin/tasseograph|$(PREFIX)/bin/tasseograph|' systemd/$$unit.service \
			> "$$to" && chmod 0644 "$$to" && echo "$$to" || exit 1; done
	@for config in agent.yaml collector.yaml; do \
		to="$(DESTDIR)$(SYSCONFDIR)/tasseograph/$$config"; \
		if test -e "$$to"; then echo "$$to: kept as it is"; \
		else install -m 0644 systemd/$$config "$$to" && echo "$$to" || exit 1; fi; done

dist/tasseograph:
	@echo "make: dist/tasseograph is not there; run make build first" >&2; exit 1

clean:
	$(CARGO) clean
	rm -rf dist
