# `make` tells what there is. Everything runs from a fresh clone with nothing but Rust and Debian's own packages.

SEEDS ?= 20000
KILLS ?= 200

# Where `make install` puts things. DESTDIR is put before every path, for packagers.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# systemd looks into these two prefixes by itself, and into /etc for all others.
UNITDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX)/lib/systemd/system,/etc/systemd/system)
DOCDIR ?= $(PREFIX)/share/doc/jobctl
# A folder with the three programs, when they are built already: make install BIN=target/debug
BIN ?=

PROGRAMS := jobd jobctl jobd-shim
DOCUMENTS := LICENSE-APACHE LICENSE-MIT CHANGELOG.md $(wildcard README*.md jobs.toml)
CARGO := cargo
# The simulation is all computing, so our code and the calendar's are optimised for it. Its checks of overflow and its
# assertions stay on, and the other dependencies are those of the debug build: a release build of them takes minutes.
OPTIMISED := --config profile.dev.package.jobctl.opt-level=2 --config profile.dev.package.jiff.opt-level=2

.DEFAULT_GOAL := help
.PHONY: help build demo test lint sim bench crash release install uninstall

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Settings: SEEDS=$(SEEDS) KILLS=$(KILLS) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) BIN=$(BIN)"

build: ## the three programs, debug build, into target/debug
	@scripts/need.sh cargo cc
	$(CARGO) build --locked --bins

demo: build ## about a minute: the real programs at work, hung, killed, recovered; checks what it shows
	@scripts/need.sh python3
	python3 examples/demo/demo.py --bin target/debug

test: build ## every test, the short simulation and the short crash test included
	@scripts/need.sh python3
	$(CARGO) test --locked
	PYTHONPYCACHEPREFIX=target/pycache python3 -m unittest discover -s tests/academy

lint: ## formatting, clippy, documentation, scripts, the systemd unit; any warning fails
	@scripts/need.sh cargo cc python3 systemd-analyze
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib --document-private-items
	PYTHONPYCACHEPREFIX=target/pycache python3 -W error -m compileall -q -f examples tests
	bash -n scripts/*.sh && bash -n .ci/run
	scripts/verify-unit.sh

sim: ## the long simulation: make sim SEEDS=20000
	@scripts/need.sh cargo cc
	SEEDS=$(SEEDS) $(CARGO) $(OPTIMISED) test --locked --test sim -- --nocapture

bench: ## the benchmarks, optimised; the first time it builds everything for it
	@scripts/need.sh cargo cc
	$(CARGO) bench --locked

crash: build ## kills jobd at random moments while jobs fire: make crash KILLS=200
	KILLS=$(KILLS) $(CARGO) test --locked --test crash -- --nocapture

release: ## the three programs, optimised, into target/release; takes minutes
	@scripts/need.sh cargo cc
	$(CARGO) build --locked --release --bins

install: $(if $(BIN),,release) ## programs, systemd unit, first jobs.toml, documents
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(DOCDIR)"
	install -d -m 0755 "$(DESTDIR)$(SYSCONFDIR)/jobd"
	set -e; for program in $(PROGRAMS); do \
	    install -m 0755 "$(or $(BIN),target/release)/$$program" "$(DESTDIR)$(PREFIX)/bin/$$program"; \
	done
	sed 's|@PREFIX@|$(PREFIX)|g' systemd/jobd.service > "$(DESTDIR)$(UNITDIR)/jobd.service"
	chmod 0644 "$(DESTDIR)$(UNITDIR)/jobd.service"
	test -e "$(DESTDIR)$(SYSCONFDIR)/jobd/jobs.toml" \
	    || install -m 0644 systemd/jobs.toml "$(DESTDIR)$(SYSCONFDIR)/jobd/jobs.toml"
	install -m 0644 $(DOCUMENTS) "$(DESTDIR)$(DOCDIR)"
	install -D -m 0644 -t "$(DESTDIR)$(DOCDIR)/docs" docs/schedule.md
	@echo "installed; next: edit $(SYSCONFDIR)/jobd/jobs.toml, then systemctl daemon-reload && systemctl enable --now jobd"

uninstall: ## takes all of that away again, except the configuration and the state
	set -e; for program in $(PROGRAMS); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$program"; done
	rm -f "$(DESTDIR)$(UNITDIR)/jobd.service"
	set -e; for document in $(DOCUMENTS); do rm -f "$(DESTDIR)$(DOCDIR)/$$document"; done
	rm -rf "$(DESTDIR)$(DOCDIR)/docs"
	test ! -d "$(DESTDIR)$(DOCDIR)" || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(DOCDIR)"
	@echo "removed; $(SYSCONFDIR)/jobd and /var/lib/jobd are left"
