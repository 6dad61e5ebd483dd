# `make` tells what there is. Everything runs from a fresh clone with nothing but Rust and Debian's own packages.

SEEDS ?= 20000
KILLS ?= 200
RUNS ?= 2000
STOPPED ?= 40
FLOOD_BYTES ?= 10000000000

# Where `make install` puts things. DESTDIR is put before every path, for packagers.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# systemd looks into these two prefixes by itself, and into /etc for all others.
UNITDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX)/lib/systemd/system,/etc/systemd/system)
SYSUSERSDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX)/lib/sysusers.d,/etc/sysusers.d)
DOCDIR ?= $(PREFIX)/share/doc/jobctl
# What jobs may do: `root`, as jobs of cron may but for what the unit names; `hardened`, as a user of their own.
PROFILE ?= root
# A folder with the three programs, when they are built already: make install BIN=target/debug
BIN ?=

PROGRAMS := jobd jobctl jobd-shim
UNITS := jobd.service jobd-runs.service jobd-failure.service jobd-retry.service jobd-retry.timer
HARDENED := jobd.service jobd-runs.service jobd-failure.service

# $(call fill_in,FILE,PLACE)
fill_in = sed 's|@PREFIX@|$(PREFIX)|g' $(1) > "$(DESTDIR)$(2)"; chmod 0644 "$(DESTDIR)$(2)"
# The root profile is the units alone; the hardened one is drop-ins to them, and a user.
define install_root
set -e; for unit in $(HARDENED); do \
    rm -f "$(DESTDIR)$(UNITDIR)/$$unit.d/hardened.conf"; \
    test ! -d "$(DESTDIR)$(UNITDIR)/$$unit.d" \
        || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(UNITDIR)/$$unit.d"; \
done
rm -f "$(DESTDIR)$(SYSUSERSDIR)/jobd.conf"
endef
define install_hardened
set -e; for unit in $(HARDENED); do \
    install -d "$(DESTDIR)$(UNITDIR)/$$unit.d"; \
    $(call fill_in,systemd/hardened/$$unit.conf,$(UNITDIR)/$$unit.d/hardened.conf); \
done
install -D -m 0644 systemd/hardened/sysusers.conf "$(DESTDIR)$(SYSUSERSDIR)/jobd.conf"
endef
DOCUMENTS := LICENSE-APACHE LICENSE-MIT CHANGELOG.md $(wildcard README*.md jobs.toml)
CARGO := cargo
# The simulation is all computing, so our code and the calendar's are optimised for it. Its checks of overflow and its
# assertions stay on, and the other dependencies are those of the debug build: a release build of them takes minutes.
OPTIMISED := --config profile.dev.package.jobctl.opt-level=2 --config profile.dev.package.jiff.opt-level=2

.DEFAULT_GOAL := help
.PHONY: help build demo test lint sim bench crash faults systemd vm release install uninstall

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Settings: SEEDS=$(SEEDS) KILLS=$(KILLS) RUNS=$(RUNS) PREFIX=$(PREFIX) PROFILE=$(PROFILE)"
	@echo "            DESTDIR=$(DESTDIR) BIN=$(BIN)"

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

lint: ## formatting, clippy, documentation, scripts, the systemd units; any warning fails
	@scripts/need.sh cargo cc python3 systemd-analyze
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test systemd --test vm -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib --document-private-items
	PYTHONPYCACHEPREFIX=target/pycache python3 -W error -m compileall -q -f examples tests
	bash -n scripts/*.sh && bash -n .ci/run && sh -n systemd/jobd-runs && sh -n tests/vm/agent.sh
	scripts/verify-units.sh

sim: ## the long simulation: make sim SEEDS=20000
	@scripts/need.sh cargo cc
	SEEDS=$(SEEDS) $(CARGO) $(OPTIMISED) test --locked --test sim -- --nocapture

bench: ## the benchmarks, optimised; the first time it builds everything for it
	@scripts/need.sh cargo cc
	$(CARGO) bench --locked

crash: build ## kills jobd at random moments while jobs fire: make crash KILLS=200
	KILLS=$(KILLS) $(CARGO) test --locked --test crash -- --nocapture

faults: build ## every fault of tests/faults/README.md, the crowds at full size: make faults RUNS=2000
	RUNS=$(RUNS) STOPPED=$(STOPPED) FLOOD_BYTES=$(FLOOD_BYTES) $(CARGO) test --locked --test faults -- --nocapture

systemd: build ## boots real systemds with jobd in them; needs root. The first time it downloads Debian for them
	@scripts/systemd-root.sh
	$(CARGO) test --locked --test systemd -- --nocapture

vm: build ## sets a virtual machine's clock, suspends it, cuts its power; needs root. The first time it downloads
	@scripts/need.sh debootstrap mke2fs qemu-img qemu-system-x86_64 timeout
	timeout 60m $(CARGO) test --locked --test vm -- --test-threads 2 --nocapture

release: ## the three programs, optimised, into target/release; takes minutes
	@scripts/need.sh cargo cc
	$(CARGO) build --locked --release --bins

install: $(if $(BIN),,release) ## programs, systemd units, first jobs.toml, documents; PROFILE=hardened: another user
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/libexec" "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(DOCDIR)"
	install -d -m 0755 "$(DESTDIR)$(SYSCONFDIR)/jobd"
	set -e; for program in $(PROGRAMS); do \
	    install -m 0755 "$(or $(BIN),target/release)/$$program" "$(DESTDIR)$(PREFIX)/bin/$$program"; \
	done
	install -m 0755 systemd/jobd-runs "$(DESTDIR)$(PREFIX)/libexec/jobd-runs"
	set -e; for unit in $(UNITS); do \
	    $(call fill_in,systemd/$$unit,$(UNITDIR)/$$unit); \
	done
	$(or $(install_$(PROFILE)),$(error PROFILE=$(PROFILE) is not known: root or hardened))
	test -e "$(DESTDIR)$(SYSCONFDIR)/jobd/jobs.toml" \
	    || install -m 0644 systemd/jobs.toml "$(DESTDIR)$(SYSCONFDIR)/jobd/jobs.toml"
	install -m 0644 $(DOCUMENTS) "$(DESTDIR)$(DOCDIR)"
	install -D -m 0644 -t "$(DESTDIR)$(DOCDIR)/docs" docs/schedule.md
	@echo "installed; next: edit $(SYSCONFDIR)/jobd/jobs.toml, then"
	@echo "  $(if $(filter hardened,$(PROFILE)),systemd-sysusers && )systemctl daemon-reload && systemctl enable --now jobd"

uninstall: ## takes all of that away again, except the configuration and the state
	set -e; for program in $(PROGRAMS); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$program"; done
	rm -f "$(DESTDIR)$(PREFIX)/libexec/jobd-runs"
	set -e; for unit in $(UNITS); do rm -f "$(DESTDIR)$(UNITDIR)/$$unit"; done
	$(install_root)
	set -e; for document in $(DOCUMENTS); do rm -f "$(DESTDIR)$(DOCDIR)/$$document"; done
	rm -rf "$(DESTDIR)$(DOCDIR)/docs"
	test ! -d "$(DESTDIR)$(DOCDIR)" || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(DOCDIR)"
	@echo "removed; $(SYSCONFDIR)/jobd and /var/lib/jobd are left"
