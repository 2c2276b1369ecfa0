# checks.mk - how pipeline is checked: specs, sanitizers, fuzzers, crash runs, benchmarks, lint. Part of the Makefile.

CLANG ?= clang
BUSTED ?= /usr/bin/busted
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format 2>/dev/null) clang-format-14)
JOBS ?= 2
SPEC ?=
CYCLES ?= 500
FUZZ_SECONDS ?= 60
SPEC_TIMEOUT ?= 300
COVERAGE ?= yes
LEAKS ?= 1
BRANCHES ?= 90

ifneq ($(filter-out asan ubsan tsan faults fuzz gcov profile,$(VARIANT)),)
$(error unknown VARIANT '$(VARIANT)': one of asan, ubsan, tsan, faults, gcov, profile)
endif

SPECS := $(sort $(shell find spec -name '*_spec.lua'))
C_TESTS := $(sort $(shell find spec -name '*_test.c'))
FUZZERS := $(sort $(wildcard spec/fuzz/*_fuzz.c))
SPEC_C := $(sort $(shell find spec examples -name '*.[ch]'))

# Sanitized builds can inject faults too. Leaks are looked for by specs and C tests alike; see spec/tools/lsan.supp.
UNDEFINED := undefined,float-cast-overflow
FLAGS_asan := -fsanitize=address,$(UNDEFINED) -fno-sanitize-recover=$(UNDEFINED) -fno-omit-frame-pointer -DPL_FAULTS
FLAGS_ubsan := -fsanitize=$(UNDEFINED) -fno-sanitize-recover=$(UNDEFINED) -fno-omit-frame-pointer -DPL_FAULTS
FLAGS_tsan := -fsanitize=thread -fno-omit-frame-pointer -DPL_FAULTS
FLAGS_faults := -DPL_FAULTS
FLAGS_profile := -DPL_PROFILE
FLAGS_gcov := --coverage -fprofile-abs-path -DPL_FAULTS
FLAGS_fuzz := -fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer
VARIANT_FLAGS := $(FLAGS_$(VARIANT))
RUNTIME_asan = libasan.so libubsan.so
RUNTIME_ubsan = libubsan.so
RUNTIME_tsan = libtsan.so
RUNTIME = $(foreach name,$(RUNTIME_$(VARIANT)),$(shell $(CC) -print-file-name=$(name)))

# What gcc 12 keeps of thread-local variables of loaded libraries may be garbage, at which its search for leaks dies.
SANITIZER_ENV = ASAN_OPTIONS=abort_on_error=0:detect_leaks=$(LEAKS):exitcode=99:intercept_tls_get_addr=0 \
    LSAN_OPTIONS=suppressions=$(TOP)/spec/tools/lsan.supp:print_suppressions=0 \
    UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=exitcode=98:second_deadlock_stack=1

.PHONY: deps-browser
.PHONY: test test-build test-run c-tests faults asan ubsan tsan valgrind coverage crash soak bench bench-peers profile \
    profile-run fuzz fuzzers lint lint-format lint-c lint-lua check-headers format reference

# ---- specs and C tests ---------------------------------------------------------------------------------------------
#
# Specs run against $(B); those with "fault" in their name against the build that can inject faults. C tests are
# linked with the objects of that build (sanitized builds can inject faults themselves). All of them are compiled, and
# test-build fails, and names them, if one of them does not compile. So are the fuzzers, to read their corpora.

deps-browser: ## install what the specs of the browser pages need; without it they are skipped
	$(if $(filter no,$(DEPS)),,@sh spec/tools/browser.sh '$(BUILD)/browser')

test: deps-test deps-browser ## install what is missing, build, run every spec and C test (SPEC=paths, JOBS=n at a time)
	@$(MAKE) --no-print-directory test-build
	@$(MAKE) --no-print-directory test-run

faults:
	@$(MAKE) --no-print-directory VARIANT=faults all

NOT_COMPILED = { echo "test-build: C tests do not compile: see above" >&2; exit 1; }

ifeq ($(VARIANT),)
test-build: all faults
	@$(MAKE) --no-print-directory -k VARIANT=faults c-tests || $(NOT_COMPILED)
FAULTS_BUILD := $(BUILD)/faults
else
test-build: all
	@$(MAKE) --no-print-directory -k c-tests || $(NOT_COMPILED)
FAULTS_BUILD := $(B)
endif

# One binary per C test, named by its path: spec/base/ids_test.c is build/test/base.ids_test. From an archive a test
# takes only the rooms it uses.
c-tests: $(foreach test,$(C_TESTS) $(FUZZERS),$(B)/test/$(subst /,.,$(test:spec/%.c=%)))

# Where faults can be injected, any spec can be run on a store that fails: see there.
ifneq ($(findstring -DPL_FAULTS,$(VARIANT_FLAGS)),)
FAILING := $(B)/obj/spec/support/failing_default.o
$(FAILING): ALL_CFLAGS += -Ispec
$(CORE): $(FAILING)
-include $(FAILING:.o=.d)
endif

# With the store in memory, which is a model for tests.
TEST_OBJECTS := $(OBJECTS) $(B)/obj/spec/store/memory/driver.o
-include $(B)/obj/spec/store/memory/driver.d

$(B)/test/libpipeline.a: $(TEST_OBJECTS)
	@mkdir -p $(@D) && rm -f $@
	$(call run,AR,$(AR) rcs $@ $(TEST_OBJECTS))

.SECONDEXPANSION:
TEST_MORE = $(if $(RUNTIME_$(VARIANT)),spec/tools/longjmp.c)
TEST_LIBS = $(ALL_LDFLAGS) $(PC_LIBS) $(shell $(PKG_CONFIG) --libs lua5.4) -lm -ldl
$(B)/test/%: spec/$$(subst .,/,$$*).c $(B)/test/libpipeline.a
	@rm -f $@
	$(call run,CC,$(CC) $(ALL_CFLAGS) -Ispec -MMD -MP -o $@ $< $(TEST_MORE) $(B)/test/libpipeline.a $(TEST_LIBS))

# A fuzzer that reads its corpus and no more.
$(B)/test/fuzz.%: spec/fuzz/%.c spec/fuzz/replay.c $(wildcard spec/fuzz/*.h) $(B)/test/libpipeline.a
	@rm -f $@
	$(call run,CC,$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -Ispec -o $@ $< spec/fuzz/replay.c $(TEST_MORE) \
	  $(B)/test/libpipeline.a $(TEST_LIBS))

-include $(wildcard $(B)/test/*.d)

# For a sanitized build: a lua5.4 with the sanitizer's runtime, first on the PATH.
ifneq ($(RUNTIME_$(VARIANT)),)
TEST_LUA := $(abspath $(B))/bin/$(notdir $(LUA))
TEST_PATH := $(abspath $(B))/bin:$(PATH)

$(TEST_LUA): $(B)/lib/unpreload.so spec/tools/sanitized-lua.sh
	@mkdir -p $(@D)
	@sh spec/tools/sanitized-lua.sh $(LUA) $(RUNTIME) $(abspath $<) >$@.new && chmod +x $@.new && mv -f $@.new $@

$(B)/lib/unpreload.so: spec/tools/unpreload.c spec/tools/longjmp.c
	@mkdir -p $(@D)
	$(call run,CC,$(CC) -shared -fPIC -O2 -o $@ $^)
else
TEST_LUA := $(LUA)
TEST_PATH := $(PATH)
endif

test-run: $(if $(RUNTIME_$(VARIANT)),$(TEST_LUA))
	@$(BUILT_ENV) $(SANITIZER_ENV) LUA=$(TEST_LUA) PATH='$(TEST_PATH)' BUSTED=$(BUSTED) TEST_JOBS=$(JOBS) \
	  SPEC_TIMEOUT=$(SPEC_TIMEOUT) WRAP='$(WRAP)' PL_BUILD='$(abspath $(B))' \
	  PL_FAULTS_CPATH='$(abspath $(FAULTS_BUILD))/lib/?.so;;' C_TEST_DIR='$(FAULTS_BUILD)/test' \
	  LOGS='$(B)/log' AGAIN='$(AGAIN)' \
	  COVERAGE='$(if $(VARIANT)$(SPEC)$(WRAP),no,$(COVERAGE))' \
	  sh spec/tools/test.sh $(or $(SPEC),$(SPECS) $(C_TESTS) $(FUZZERS))

# ---- the same, watched ---------------------------------------------------------------------------------------------

asan: ## run the specs and C tests with AddressSanitizer and UBSan (SPEC=files for some)
	@$(MAKE) --no-print-directory VARIANT=asan SPEC='$(SPEC)' test

ubsan: ## run the specs and C tests with UBSan
	@$(MAKE) --no-print-directory VARIANT=ubsan SPEC='$(SPEC)' test

tsan: ## run the specs and C tests with ThreadSanitizer
	@$(MAKE) --no-print-directory VARIANT=tsan SPEC='$(SPEC)' SPEC_TIMEOUT=900 test

VALGRIND := valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --error-exitcode=97 --fair-sched=yes

valgrind: deps-valgrind ## run the specs and C tests under valgrind
	@$(MAKE) --no-print-directory SPEC='$(SPEC)' WRAP='$(VALGRIND)' SPEC_TIMEOUT=1800 test

# What takes most branches, in some minutes; SPEC=all takes all specs there are.
COVERING ?= $(patsubst %,spec/%,store faults/durable_alloc_test.c faults/queue_alloc_test.c faults/resume_test.c \
    faults/schedule_statement_test.c faults/sweep_statement_test.c faults/schedule_alloc_test.c faults/commit_test.c \
    faults/session_vfs_test.c faults/permits_statement_test.c faults/verbs_statement_test.c faults/alloc_test.c \
    faults/session_alloc_test.c faults/sqlite_alloc_test.c faults/rescue_test.c faults/vfs_test.c engine pipelines \
    taskqueue transactions view act retention schedules stores files multi deferred telemetry input binding durable \
    clocks crash/repair_spec.lua)
# And what is run once more on a store that fails: it takes what is done about errors.
COVERING_FAILING ?= $(patsubst %,spec/%,view act durable/reach_spec.lua durable/cancel_spec.lua durable/fork_spec.lua \
    durable/events_spec.lua durable/run_spec.lua taskqueue/pull_spec.lua taskqueue/queue_spec.lua \
    pipelines/abort_spec.lua pipelines/retry_spec.lua schedules/firing_spec.lua schedules/overlap_spec.lua \
    clocks/clocks_spec.lua \
    transactions/sql_spec.lua files/backup_spec.lua crash/repair_spec.lua store/older_file_spec.lua \
    store/schema_spec.lua multi/recovery_spec.lua multi/losses_spec.lua)

coverage: ## count the branches of store and engine that specs take (SPEC=files for some, SPEC=all for all)
	@find $(BUILD)/gcov -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory VARIANT=gcov SPEC='$(filter-out all,$(or $(SPEC),$(COVERING)))' test || true
	@PIPELINE_FAILING=6 $(MAKE) --no-print-directory VARIANT=gcov \
	  SPEC='$(filter-out all,$(or $(SPEC),$(wildcard $(COVERING_FAILING))))' test-run || true
	@$(LUA) spec/tools/gcov.lua $(BUILD)/gcov/obj $(BRANCHES)

# ---- reliability and speed -----------------------------------------------------------------------------------------

crash: deps-test ## kill processes at random moments and check what they leave behind (CYCLES=n SEED=s)
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) $(LUA) spec/crash/crash.lua --cycles $(CYCLES) $(if $(SEED),--seed $(SEED))

explore: deps-test ## kill generated durable functions at every event, and compare (BODIES=n SEED=first)
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) $(LUA) spec/explore/explore.lua $(or $(SEED),1) $(or $(BODIES),50)

.PHONY: explore

soak: deps-test ## check that rate and concurrency of queues hold over time, with three processes; two minutes
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) $(LUA) spec/soak/limits.lua $(SOAK_ARGS)

.PHONY: soak-retention soak-schedules

soak-retention: deps-test ## check that a file stays as large as it is at full drain, and what that costs; ten minutes
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) $(LUA) spec/soak/retention.lua $(SOAK_ARGS)

soak-schedules: deps-test ## measure 100,000 schedules at rest, 10,000 due at once, ten years of missed minutes
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) $(LUA) spec/soak/schedules.lua $(SOAK_ARGS)

$(BUILD)/bench/ceiling: spec/bench/ceiling.c $(BUILD)/.cflags
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) -o $@ $< $(ALL_LDFLAGS) $(PC_LIBS))

$(BUILD)/bench/next: spec/bench/next.c $(B)/lib/libpipeline.a
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) -o $@ $< $(B)/lib/libpipeline.a $(ALL_LDFLAGS) $(PC_LIBS))

bench: deps-bench ## measure the engine beside a bare SQLite loop; results go to build/bench.jsonl
	@$(MAKE) --no-print-directory all $(BUILD)/bench/ceiling
	@$(BUILT_ENV) $(LUA) spec/bench/bench.lua $(BENCH_ARGS)

bench-peers: all ## measure durable functions beside DBOS and Restate, where npm (and PostgreSQL) can be had (RUNS=n)
	@sh spec/bench/peers/setup.sh '$(BUILD)/bench/peers'
	@$(BUILT_ENV) $(LUA) spec/bench/peers/peers.lua --dir '$(BUILD)/bench/peers' --runs $(or $(RUNS),3)

profile: ## where the processor time of stages goes: statement by statement, thread by thread (PROFILE_ARGS='--runs 3')
	@$(MAKE) --no-print-directory VARIANT=profile all
	@$(MAKE) --no-print-directory VARIANT=profile profile-run

profile-run:
	@mkdir -p $(B)
	@$(BUILT_ENV) BENCH_DIR=$(B) $(LUA) spec/bench/profile.lua $(PROFILE_ARGS)

# Each fuzzer runs on a copy of its corpus, so that what it finds does not pile up in the tree.
fuzz: deps-build deps-fuzz ## fuzz everything that reads foreign bytes (FUZZ_SECONDS=n each)
	@$(MAKE) --no-print-directory VARIANT=fuzz CC='$(CLANG)' fuzzers
	@BUILD='$(BUILD)' FUZZ_SECONDS=$(FUZZ_SECONDS) sh spec/tools/fuzz.sh $(FUZZERS)

# The fuzzing library calls a function that no header declares.
FUZZER_BINARIES := $(FUZZERS:spec/fuzz/%.c=$(BUILD)/fuzz/bin/%)
fuzzers: $(FUZZER_BINARIES)

# The source by its name: in parallel builds $< was seen to be empty here, as the rules above are expanded twice.
$(FUZZER_BINARIES): $(BUILD)/fuzz/bin/%: spec/fuzz/%.c $(B)/test/libpipeline.a $(wildcard spec/fuzz/*.h)
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -Wno-missing-prototypes -Ispec -o $@ spec/fuzz/$*.c \
	  $(B)/test/libpipeline.a $(TEST_LIBS))

# ---- lint ----------------------------------------------------------------------------------------------------------

lint: deps-build deps-lint ## formatting, static checks, house rules
	@$(MAKE) --no-print-directory -k lint-format lint-c lint-lua check-headers
	@$(LUA) spec/tools/tidy.lua
	@$(LUA) spec/tools/house.lua
	@$(LUA) spec/tools/layout.lua
	@$(LUA) spec/tools/coverage.lua
	@$(MAKE) --no-print-directory all
	@$(LUA) spec/tools/circles.lua $(B)/obj
	@$(BUILT_ENV) $(LUA) spec/tools/version.lua
	@$(BUILT_ENV) $(LUA) spec/tools/reference.lua
	@$(BUILT_ENV) $(LUA) spec/tools/complete.lua
	@echo 'lint: clean'

reference: all ## write lua/API.md anew from the doc comments
	@$(BUILT_ENV) $(LUA) spec/tools/reference.lua --write

.PHONY: docs screenshots session
session: deps-build ## record the shell of the guide's first page anew, for asciinema
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) python3 spec/tools/session.py

screenshots: deps-build deps-browser ## take the pictures of README and guide anew, of a shop at work
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) LUA=$(LUA) sh spec/tools/screenshots.sh '$(BUILD)/browser'

docs: deps-build deps-docs ## build guide, reference and all that belongs to them as a site: build/docs/index.html
	@$(MAKE) --no-print-directory all
	@LUA_PATH='$(TOP)/?.lua;$(LUA_PATH_BUILT)' LUA_CPATH='$(LUA_CPATH_BUILT)' \
	  $(LUA) spec/tools/docs/site.lua '$(BUILD)/docs'

lint-format:
	@$(CLANG_FORMAT) --dry-run -Werror $(SOURCES) $(HEADERS) $(SPEC_C)

lint-c: $(SCHEMA)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,performance,portability -j 2 --inline-suppr \
	  --suppressions-list=spec/tools/cppcheck.supp -D_GNU_SOURCE -Icsrc -I$(BUILD)/gen $(SOURCES)

lint-lua:
	@luacheck --quiet lua csrc spec examples $(wildcard rockspec/*.rockspec) .luacheckrc

# Every header compiles by itself.
check-headers: $(SCHEMA) $(HEADER) $(BUILD)/.cflags
	@for header in $(HEADERS); do \
	  printf '#include "%s"\n' $$header | $(CC) $(ALL_CFLAGS) -I. -fsyntax-only -x c - || exit 1; \
	done

format: deps-lint ## rewrite C sources in the house style (FILES=some)
	$(CLANG_FORMAT) -i $(or $(FILES),$(SOURCES) $(HEADERS) $(SPEC_C))
