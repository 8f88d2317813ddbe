# One makefile for the whole tree (no recursion), so make sees every dependency.
#   make                build both programs
#   make V=1            show the commands
#   make SAN=address,undefined   any -fsanitize= list; uses a build folder of its own
#   make FAILPOINTS=1   programs that a test can end where it likes (common/failpoint.h); likewise
#   make help           the targets

SAN   ?=
FAILPOINTS ?=
V     ?= 0
CLANG ?= clang
Q     := $(if $(filter 1,$(V)),,@)
comma := ,
B     ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(FAILPOINTS),-failpoints)

VERSION := 0.1.0
CFLAGS  ?= -O2 -g
override CFLAGS += -std=gnu11 -pthread -Wall -Wextra -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wformat=2 -Wvla -Wundef -Wno-missing-field-initializers -Werror
override CPPFLAGS += -I. -I$(B)/gen -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -MMD -MP
override LDFLAGS += -pthread
ifneq ($(FAILPOINTS),)
override CPPFLAGS += -DWEIR_FAILPOINTS
endif
ifneq ($(SAN),)
override CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
override LDFLAGS += -fsanitize=$(SAN)
endif

say = @printf '  %-7s %s\n' $(1) $@

# main.c of each program (collector/serve_main.c, too) stays out of the libraries, so that tests can
# link all the rest.
lib_obj = $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(foreach d,$(1),$(wildcard $(d)/*.c))))
COMMON    := $(B)/libcommon.a
PROTO     := $(B)/libproto.a
PROBE     := $(B)/libprobe.a
COLLECTOR := $(B)/libcollector.a

COMMON_LIBS    := -linih -lsmartcols -lm -lsodium
PROTO_LIBS     := -lprotobuf-c -lzstd
# Optional: without it the server names in QUIC stay encrypted.
NETTLE         := $(shell pkg-config --libs nettle 2>/dev/null)
override CPPFLAGS += $(if $(NETTLE),-DWEIR_NETTLE)
PROBE_LIBS     := -lbpf -lelf -lz -lzmq -lsqlite3 $(NETTLE)
COLLECTOR_LIBS := -lsqlite3
SERVE_LIBS     := -lzmq
# Commands load their libraries at each start, which takes longer than many a question: weir-collector
# has those in it that are installed as archives too. STATIC= loads them.
STATIC         ?= $(if $(SAN),,1)
archive         = $(filter /%,$(shell $(CC) -print-file-name=lib$(1:-l%=%).a))
in_program      = $(if $(STATIC),$(foreach l,$1,$(or $(if $(filter -lm,$l),,$(call archive,$l)),$l)),$1)

UNIT  := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
BPFT  := $(patsubst %.c,$(B)/%,$(wildcard tests/bpf/test_*.c))
TORTURE_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out %/backlog_bench.c,$(wildcard tests/torture/*.c)))
BENCH := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/bench_*.c))
FUZZ  := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all test test-unit test-bpf test-system test-san bench bench-store torture property truth fuzz lint format deps check install uninstall clean help
PROGRAMS := $(addprefix $(B)/,weir-probe weir-collector weir-collector-serve)
all: $(PROGRAMS) $(if $(SAN),,$(B)/weir_flows.so) ## build both programs, and flows for sqlite3 (default)

# --- generated -------------------------------------------------------------
$(B)/gen/weir.pb-c.c $(B)/gen/weir.pb-c.h &: proto/weir.proto
	$(call say,PROTO)
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=proto --c_out=$(B)/gen $<

BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -I. \
              -idirafter /usr/include/$(shell $(CC) -print-multiarch) -MMD -MP
$(B)/%.bpf.o: %.bpf.c
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(B)/gen/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL)
	@mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name $*_bpf > $@
$(B)/gen/bench.skel.h: $(B)/tests/bench/bench.bpf.o
	$(call say,SKEL)
	@mkdir -p $(@D)
	$(Q)bpftool gen skeleton $< name bench_bpf > $@

# The schema lives only in sql/; the collector gets each file as one string.
$(B)/gen/migrations.h: $(sort $(wildcard sql/*.sql))
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q){ echo 'static const char *const migrations[] = {'; for f in $^; do \
	  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&\\n"/' $$f; echo ,; done; \
	  echo '};'; } > $@

# Generated headers exist before anything that may include them is compiled.
GEN := $(B)/gen/weir.pb-c.h $(B)/gen/weir.skel.h $(B)/gen/drops.skel.h $(B)/gen/sockets.skel.h $(B)/gen/migrations.h

# --- objects, libraries, programs ------------------------------------------
$(B)/%.o: %.c | $(GEN)
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
# Loops over columns: the compiler makes vectors of them only with this.
$(B)/proto/column.o $(B)/proto/flow_related.o $(B)/proto/flow_encode.o $(B)/proto/flow_decode.o \
  $(B)/proto/flow_has.o $(B)/proto/twins.o \
  $(patsubst %.c,$(B)/%.o,$(wildcard $(addsuffix /*.c,$(addprefix collector/,flowstore flows_table once aggregate rollup)))): override CFLAGS += -O3
$(B)/gen/weir.pb-c.o: $(B)/gen/weir.pb-c.c
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(COMMON): $(call lib_obj,common)
$(PROTO): $(call lib_obj,proto) $(B)/gen/weir.pb-c.o
$(PROBE): $(call lib_obj,$(wildcard probe/*))
$(COLLECTOR): $(call lib_obj,$(wildcard collector/*))
$(B)/lib%.a:
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/weir-probe: $(B)/probe/main.o $(PROBE) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(PROBE_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(B)/weir-collector: $(B)/collector/main.o $(COLLECTOR) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(call in_program,$(COLLECTOR_LIBS) $(PROTO_LIBS) $(COMMON_LIBS)) -o $@
$(B)/weir-collector-serve: $(B)/collector/serve_main.o $(COLLECTOR) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(COLLECTOR_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) $(SERVE_LIBS) -o $@

# The table flows for the sqlite3 shell: .load build/weir_flows
FLOWS_SRC := $(wildcard collector/sqlite/*.c collector/flowstore/*.c collector/flows_table/*.c) collector/store/db.c collector/store/wal_file.c
EXTENSION_SRC := $(filter-out %/compactor.c %/merge.c,$(FLOWS_SRC)) collector/store/extension.c \
                 $(wildcard common/*.c proto/*.c)
$(B)/weir_flows.so: $(patsubst %.c,$(B)/pic/%.o,$(EXTENSION_SRC)) $(B)/pic/gen/weir.pb-c.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-z,defs $^ -lsqlite3 $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(B)/pic/%.o: %.c | $(GEN)
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -O3 -fPIC -fvisibility=hidden -c $< -o $@
$(B)/pic/gen/weir.pb-c.o: $(B)/gen/weir.pb-c.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@

# --- tests -------------------------------------------------------------------
# Allocation wrappers: tests/unit/fail_alloc.c makes the n-th allocation fail.
WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
$(UNIT): $(B)/%: $(B)/%.o $(B)/tests/unit/fail_alloc.o $(B)/tests/unit/fault_vfs.o $(COLLECTOR) $(PROBE) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(WRAP) $^ -lcmocka $(PROBE_LIBS) $(COLLECTOR_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(BPFT): $(B)/%: $(B)/%.o $(B)/tests/bpf/craft.o $(B)/tests/bpf/harness.o $(PROBE) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ -lcmocka $(PROBE_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(B)/weir-bench: $(TORTURE_OBJ) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ -lzmq $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(B)/backlog-bench: $(B)/tests/torture/backlog_bench.o $(PROBE) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(PROBE_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
# The records of a fleet that could be, in weir's store and in others.
FLEET := $(patsubst %,$(B)/tests/bench-store/%.o,fill fill_options)
$(B)/weir-peers: $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench-store/peer_*.c))
$(B)/weir-fill: $(B)/tests/bench-store/once_cost.o
$(B)/weir-fill $(B)/weir-peers: $(B)/weir-%: $(B)/tests/bench-store/weir_%.o $(FLEET) $(COLLECTOR) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(COLLECTOR_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(B)/weir-property: $(patsubst %.c,$(B)/%.o,$(wildcard tests/property/*.c)) $(B)/tests/bench-store/fill.o $(COLLECTOR) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(COLLECTOR_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(BENCH): $(B)/%: $(B)/%.o $(addprefix $(B)/tests/bench/,mill.o peer.o results.o) $(PROBE) $(PROTO) $(COMMON)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $^ $(PROBE_LIBS) $(PROTO_LIBS) $(COMMON_LIBS) -o $@
$(BENCH:%=%.o) $(B)/tests/bench/mill.o: $(B)/gen/bench.skel.h
# The filter is fuzzed together with SQLite, which must take what it compiles to.
$(B)/tests/fuzz/fuzz_filter: $(filter-out %/compactor.c %/merge.c,$(FLOWS_SRC)) \
  $(filter-out %/filter_predicate.c,$(wildcard collector/filter/*.c))
$(B)/tests/fuzz/fuzz_filter: FUZZ_LIBS := -lsqlite3
# Headers in a packet lie where they lie.
$(B)/tests/fuzz/fuzz_parse: FUZZ_CFLAGS := -fno-sanitize=alignment
# What they need beside common/ and proto/.
$(B)/tests/fuzz/fuzz_dump: $(addprefix probe/replay/,dump_file.c dump_link.c pcap_reader.c)
$(B)/tests/fuzz/fuzz_dump: FUZZ_LIBS := -lz
$(B)/tests/fuzz/fuzz_dns: $(addprefix probe/names/,dns.c wire_text.c)
$(B)/tests/fuzz/fuzz_tls: $(addprefix probe/names/,tls.c wire_text.c)
$(B)/tests/fuzz/fuzz_quic: $(addprefix probe/names/,quic.c assembly.c)
$(B)/tests/fuzz/fuzz_key_file: $(addprefix probe/uplink/,keyring.c link.c)
$(B)/tests/fuzz/fuzz_key_file: FUZZ_LIBS := -lzmq
$(B)/tests/fuzz/fuzz_quic: FUZZ_LIBS := $(NETTLE)
$(B)/tests/fuzz/fuzz_spool: $(wildcard probe/spool/*.c)
$(B)/tests/fuzz/fuzz_spool: FUZZ_LIBS := -lsqlite3
$(B)/tests/fuzz/fuzz_table_file: $(addprefix collector/db/,record_text.c table_file.c)
$(FUZZ): $(B)/%: %.c $(wildcard common/*.c proto/*.c) $(B)/gen/weir.pb-c.c | $(GEN)
	$(call say,FUZZ)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(filter-out -MMD -MP,$(CPPFLAGS)) -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all $(FUZZ_CFLAGS) $(filter %.c,$^) $(PROTO_LIBS) $(COMMON_LIBS) $(FUZZ_LIBS) -o $@

# Many of these wait for threads and children: what fails runs once more, and says so.
run_each = fail=0; for t in $(1); do echo "== $$t"; \
	   $$t || { echo "== $$t: second try"; $$t; } || fail=1; done; exit $$fail

test: test-unit test-bpf ## unit and BPF tests
test-unit: $(UNIT) $(B)/weir-property ## no root, seconds
	$(Q)$(call run_each,$(UNIT) "$(B)/weir-property --queries 600 --seed 1")
test-bpf: $(BPFT) ## BPF programs on crafted packets; root
	$(Q)$(call run_each,$(BPFT))
test-system: all ## three hosts, a bridge, a collector in network namespaces; root
	$(Q)B=$(B) tests/system/run
test-san: ## the unit, BPF and system tests under ASan and UBSan
	$(Q)$(MAKE) --no-print-directory SAN=address,undefined test test-system

bench: $(BENCH) $(PROGRAMS) $(B)/weir-bench ## ns per packet beside XDP_PASS and a bare HASH update; flows/s of a fleet; root
	$(Q)export NETOBSERV_OBJ="$(NETOBSERV_OBJ)" EPPING_OBJ="$(EPPING_OBJ)"; \
	  for b in $(BENCH); do $$b $(B)/results tests/bench/iperf.sh $(B)/weir-probe || exit 1; done
	$(Q)B=$(B) python3 tests/torture/torture.py --bench --results $(B)/results fleet
bench-store: all $(B)/weir-bench $(B)/weir-fill $(B)/weir-peers ## the store beside SQLite rows, nfdump and ClickHouse: 10 minutes; LONG=1, SIZES=1M,10M, SEED=n; root
	$(Q)B=$(B) python3 tests/bench-store/bench_store.py --results $(B)/results $(if $(LONG),--long) \
	  $(if $(SEED),--seed $(SEED)) $(if $(SIZES),--sizes $(SIZES))
torture: all $(B)/weir-bench $(B)/backlog-bench ## nothing lost, nothing twice, nobody in: 15 minutes; LONG=1, SCENARIOS="kills disk", SEED=n; root
	$(Q)+$(MAKE) --no-print-directory FAILPOINTS=1 all
	$(Q)B=$(B) python3 tests/torture/torture.py --results $(B)/results $(if $(LONG),--long) \
	  $(if $(SEED),--seed $(SEED)) $(SCENARIOS)
QUERIES ?= 10000
property: $(B)/weir-property ## random queries to the store and to plain rows agree: 2 minutes; QUERIES=n, SEED=n
	$(Q)$< --queries $(QUERIES) $(if $(SEED),--seed $(SEED)) --figures $(B)/property.figures; code=$$?; \
	  python3 tests/torture/results.py $(B)/results store $$(cat $(B)/property.figures); exit $$code
CAPTURES ?= ../shared/captures
truth: $(B)/weir-probe ## replay of CAPTURES compared with tshark's account of them; root
	$(Q)python3 tests/truth/truth.py --probe $(B)/weir-probe --results $(B)/results $(CAPTURES)
FUZZ_SECONDS ?= 60
fuzz: $(FUZZ) ## libFuzzer on every decoder, FUZZ_SECONDS each
	$(Q)for f in $(FUZZ); do mkdir -p $(B)/corpus/$$(basename $$f); \
	  $$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 $(B)/corpus/$$(basename $$f) \
	  $$(ls -d tests/fuzz/corpus/$$(basename $$f) 2>/dev/null) || exit 1; done

# --- static checks -----------------------------------------------------------
OURS := $(wildcard common/*.[ch] proto/*.[ch] probe/*.c probe/*/*.[ch] collector/*.c \
        collector/*/*.[ch] bpf/*.[ch] tests/*/*.[ch])
SHELL_FILES := $(wildcard .ci/run deploy/*.sh tests/system/run tests/*/*.sh)

lint: deps $(GEN) $(B)/gen/bench.skel.h ## clang-format, clang-tidy, cppcheck, shellcheck, include directions
	$(Q)clang-format --dry-run -Werror $(OURS)
	$(Q)printf '%s\n' $(filter-out bpf/% %.bpf.c tests/fuzz/%,$(filter %.c,$(OURS))) | \
	  xargs -P 2 -I{} clang-tidy --quiet {} -- $(filter-out -MMD -MP,$(CPPFLAGS)) -std=gnu11 2>/dev/null
	$(Q)cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
	  --suppress=missingIncludeSystem --suppress=memleak --suppress=arithOperationsOnVoidPointer \
	  '-DLIBBPF_OPTS(t,n,...)=struct t n={0}' -I. $(filter-out bpf/% %.bpf.c,$(filter %.c,$(OURS)))
	$(Q)shellcheck $(SHELL_FILES)
	$(Q)sqlite3 -bail :memory: $(patsubst %,'.read %',$(sort $(wildcard sql/*.sql)))
	$(Q)awk -f proto/flat.awk proto/weir.proto
	$(Q)! printf 'message A {\n  repeated A a = 1;\n}\n' | awk -f proto/flat.awk >/dev/null # it bites

format: ## rewrite the layout of every source file
	$(Q)clang-format -i $(OURS)

deps: ## folders include each other only in the allowed direction, and in no circle
	$(Q)! grep -nE '#include "(probe|collector|bpf|proto|tests)/' common/*.[ch]
	$(Q)! grep -nE '#include "(probe|collector|bpf|common|tests)/' proto/*.[ch]
	$(Q)! grep -nE '#include "(collector|tests)/' probe/*.c probe/*/*.[ch]
	$(Q)! grep -nE '#include "bpf/' probe/*.c probe/*/*.[ch] | grep -v '"bpf/[a-z]*_abi.h"'
	$(Q)! grep -nE '#include "(probe|bpf|tests)/' collector/*.c collector/*/*.[ch]
	$(Q)! grep -nE '#include "(probe|collector|common|proto|tests)/' bpf/*.[ch]
	$(Q)for d in probe collector; do grep -o "#include \"$$d/[a-z_]*/" $$d/*/*.[ch] | \
	  sed -E 's,^[a-z]+/([a-z_]+)/[^:]*:.*/([a-z_]+)/$$,\1 \2,' | awk '$$1 != $$2' | tsort >/dev/null || exit 1; done

check: lint all test truth test-system ## everything that CI runs
	$(Q)echo "check: all passed"

# --- install -----------------------------------------------------------------
PREFIX ?= /usr/local
install: all ## programs, units and sample settings, PREFIX and DESTDIR honoured
	install -D -m 755 $(B)/weir-probe $(DESTDIR)$(PREFIX)/sbin/weir-probe
	install -D -m 755 $(B)/weir-collector $(DESTDIR)$(PREFIX)/bin/weir-collector
	install -D -m 755 $(B)/weir-collector-serve $(DESTDIR)$(PREFIX)/lib/weir/weir-collector-serve
	install -D -m 644 $(B)/weir_flows.so $(DESTDIR)$(PREFIX)/lib/weir/weir_flows.so
	for u in probe collector; do \
	  install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/weir; \
	  sed 's|/usr/local/|$(PREFIX)/|' deploy/weir-$$u.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/weir-$$u.service; \
	  [ -e $(DESTDIR)/etc/weir/$$u.conf ] || install -m 644 deploy/$$u.conf $(DESTDIR)/etc/weir/; done
	install -D -m 644 deploy/weir.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/weir.conf
uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/sbin/weir-probe $(DESTDIR)$(PREFIX)/bin/weir-collector \
	  $(DESTDIR)$(PREFIX)/lib/weir/weir-collector-serve $(DESTDIR)$(PREFIX)/lib/weir/weir_flows.so \
	  $(DESTDIR)$(PREFIX)/lib/systemd/system/weir-*.service $(DESTDIR)$(PREFIX)/lib/sysusers.d/weir.conf

clean: ## remove every build folder
	rm -rf build build-*
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
