# Makefile - builds, checks and installs pipeline.
#
# Every product lies under $(BUILD). A variant (asan, ubsan, tsan, faults) is the same tree built with other flags in a
# directory of its own: `make VARIANT=asan all`. Targets install what they need first (see spec/tools/deps.sh);
# DEPS=no switches that off.

VARIANT ?=
BUILD ?= build
V ?=
DEPS ?= yes
WERROR ?= yes
CC ?= cc
CLANG ?= clang
LUA ?= lua5.4
BUSTED ?= /usr/bin/busted
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format 2>/dev/null) clang-format-14)
PKG_CONFIG ?= pkg-config
JOBS ?= 2
SPEC ?=
CYCLES ?= 500
FUZZ_SECONDS ?= 60
SPEC_TIMEOUT ?= 300
COVERAGE ?= yes

PREFIX ?= /usr/local
LUADIR ?= $(PREFIX)/share/lua/5.4
LIBDIR ?= $(PREFIX)/lib/lua/5.4

TOP := $(CURDIR)
B := $(BUILD)$(if $(VARIANT),/$(VARIANT))

ifneq ($(filter-out asan ubsan tsan faults fuzz,$(VARIANT)),)
$(error unknown VARIANT '$(VARIANT)': one of asan, ubsan, tsan, faults)
endif

# ---- what is built from what ---------------------------------------------------------------------------------------

ROOMS := csrc/base csrc/store csrc/store/sqlite csrc/engine csrc/binding
SOURCES := $(sort $(wildcard $(addsuffix /*.c,$(ROOMS))))
HEADERS := $(sort $(wildcard $(addsuffix /*.h,$(ROOMS))))
OBJECTS := $(SOURCES:%.c=$(B)/obj/%.o)
CORE := $(B)/lib/pipeline/core.so
SCHEMA_STEPS := $(sort $(wildcard csrc/store/sqlite/schema/*.sql))
SCHEMA := $(BUILD)/gen/schema.h
LUA_SOURCES := $(sort $(wildcard lua/pipeline/*.lua))
LUA_TASKLET_SOURCES := $(sort $(wildcard lua/pipeline/tasklet/*.lua))

SPECS := $(sort $(shell find spec -name '*_spec.lua' 2>/dev/null))
C_TESTS := $(sort $(shell find spec -name '*_test.c' 2>/dev/null))
FUZZERS := $(sort $(wildcard spec/fuzz/*_fuzz.c))
SPEC_C := $(sort $(shell find spec -name '*.[ch]' 2>/dev/null))

# One binary per C test, named by its path: spec/base/ids_test.c is build/test/base.ids_test.
test_name = $(subst /,.,$(patsubst spec/%.c,%,$(1)))
C_TEST_BINS := $(foreach t,$(C_TESTS),$(B)/test/$(call test_name,$(t)))

# ---- flags ---------------------------------------------------------------------------------------------------------

# What it is linked with, the oldest version that will do, and the Debian package it comes from.
LIBRARIES := lua5.4:5.4.0:liblua5.4-dev sqlite3:3.38:libsqlite3-dev libuv:1.44:libuv1-dev libcbor:0.8:libcbor-dev \
    libmicrohttpd:0.9.75:libmicrohttpd-dev libsodium:1.0.18:libsodium-dev libcurl:7.87.0:libcurl4-openssl-dev
LINKED := sqlite3 libuv libcbor libmicrohttpd libsodium libcurl

# Asked once, and only when something is compiled: before that the libraries may not be installed.
PC_CFLAGS = $(eval PC_CFLAGS := $(shell $(PKG_CONFIG) --cflags lua5.4 $(LINKED)))$(PC_CFLAGS)
PC_LIBS = $(eval PC_LIBS := $(shell $(PKG_CONFIG) --libs $(LINKED)))$(PC_LIBS)
LUA_LIBS = $(eval LUA_LIBS := $(shell $(PKG_CONFIG) --libs lua5.4))$(LUA_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wcast-qual -Wwrite-strings \
    -Wpointer-arith -Wundef -Wformat=2
# Warnings are errors here, but not for users (WERROR=no): their compiler may know newer ones. Whether something may
# be uninitialized is a guess that changes with the optimizer and the sanitizers, hence never an error.
ifeq ($(WERROR),yes)
WARNINGS += -Werror
endif
WARNINGS += $(if $(VARIANT),-Wno-maybe-uninitialized -Wno-unknown-warning-option,-Wno-error=maybe-uninitialized)
OPTIMIZE ?= -O2 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(OPTIMIZE) -fPIC -fvisibility=hidden -pthread $(WARNINGS) -Icsrc -I$(BUILD)/gen \
    $(VARIANT_FLAGS) $(PC_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(VARIANT_FLAGS) $(LDFLAGS)

# Sanitized builds can inject faults too. Leaks are looked for by specs and C tests alike; see spec/tools/lsan.supp.
ifeq ($(VARIANT),asan)
VARIANT_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DPL_FAULTS
RUNTIME := $(shell $(CC) -print-file-name=libasan.so) $(shell $(CC) -print-file-name=libubsan.so)
else ifeq ($(VARIANT),ubsan)
VARIANT_FLAGS := -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DPL_FAULTS
RUNTIME := $(shell $(CC) -print-file-name=libubsan.so)
else ifeq ($(VARIANT),tsan)
VARIANT_FLAGS := -fsanitize=thread -fno-omit-frame-pointer -DPL_FAULTS
RUNTIME := $(shell $(CC) -print-file-name=libtsan.so)
else ifeq ($(VARIANT),faults)
VARIANT_FLAGS := -DPL_FAULTS
else ifeq ($(VARIANT),fuzz)
VARIANT_FLAGS := -fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer
endif

SANITIZER_ENV = ASAN_OPTIONS=abort_on_error=0:detect_leaks=$(LEAKS):exitcode=99 \
    LSAN_OPTIONS=suppressions=$(TOP)/spec/tools/lsan.supp:print_suppressions=0 \
    UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=exitcode=98:second_deadlock_stack=1
LEAKS ?= 1

# The directories a spec or an example needs to find the built tree.
LUA_PATH_BUILT := $(TOP)/lua/?.lua;$(TOP)/lua/?/init.lua;;
LUA_CPATH_BUILT := $(abspath $(B))/lib/?.so;;
BUILT_ENV = LUA_PATH='$(LUA_PATH_BUILT)' LUA_CPATH='$(LUA_CPATH_BUILT)'

# ---- main targets --------------------------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all help env demo test lint format asan ubsan tsan valgrind fuzz crash soak bench rock install clean deps \
    deps-build deps-test deps-lint deps-bench deps-valgrind deps-fuzz deps-rock versions schema faults test-build \
    test-run lint-c lint-lua lint-format check-headers rock-build

all: deps-build $(CORE) ## build the C module (VARIANT=asan|ubsan|tsan|faults for another build)

help: ## this list
	@echo 'usage: make [target] [VARIABLE=value]'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

env: ## print the shell lines that put the built tree on LUA_PATH and LUA_CPATH
	@echo "export LUA_PATH='$(LUA_PATH_BUILT)'; export LUA_CPATH='$(LUA_CPATH_BUILT)'"

demo: deps-demo all ## run examples/wordcount.lua on a fresh file and compare its total with wc
	@$(BUILT_ENV) LUA=$(LUA) sh spec/tools/demo.sh $(DEMO_ARGS)

clean: ## delete everything that was built
	rm -rf $(BUILD)

install: $(CORE) ## install into PREFIX (or LUADIR and LIBDIR), below DESTDIR
	install -d '$(DESTDIR)$(LUADIR)/pipeline' '$(DESTDIR)$(LIBDIR)/pipeline'
	install -m 644 $(LUA_SOURCES) '$(DESTDIR)$(LUADIR)/pipeline/'
	install -d '$(DESTDIR)$(LUADIR)/pipeline/tasklet'
	install -m 644 $(LUA_TASKLET_SOURCES) '$(DESTDIR)$(LUADIR)/pipeline/tasklet/'
	install -m 755 $(CORE) '$(DESTDIR)$(LIBDIR)/pipeline/core.so'

rock: deps-rock ## install the rock into build/rocktree and run an example against that tree alone
	rm -rf $(BUILD)/rocktree
	luarocks make --lua-version 5.4 --tree $(BUILD)/rocktree --deps-mode=none rockspec/pipeline-scm-1.rockspec
	@LUA=$(LUA) sh spec/tools/rock.sh $(BUILD)/rocktree

rock-build: $(CORE)

# ---- dependencies --------------------------------------------------------------------------------------------------

deps: deps-build deps-demo deps-test deps-lint ## install the Debian packages that are missing (as root or by sudo)

.PHONY: deps-demo
deps-build deps-demo deps-test deps-lint deps-bench deps-valgrind deps-fuzz deps-rock:
ifeq ($(DEPS),yes)
	@sh spec/tools/deps.sh $(@:deps-%=%)
endif

versions: $(BUILD)/.versions ## check that the libraries are new enough

$(BUILD)/.versions: Makefile | deps-build
	@for entry in $(LIBRARIES); do \
	  module=$${entry%%:*}; rest=$${entry#*:}; version=$${rest%%:*}; package=$${rest#*:}; \
	  $(PKG_CONFIG) --atleast-version=$$version $$module || { \
	    echo "pipeline needs $$module >= $$version (found: $$($(PKG_CONFIG) --modversion $$module 2>/dev/null || \
	      echo none)); on Debian: apt-get install $$package" >&2; exit 1; }; \
	done
	@mkdir -p $(@D) && touch $@

# Says in one line what is done; V=1 shows the command.
, := ,
run = $(if $(V),,@echo '  $(1)  $@'; )$(2)

# ---- building ------------------------------------------------------------------------------------------------------

schema: $(SCHEMA)

$(SCHEMA): $(SCHEMA_STEPS) spec/tools/embed.lua | deps-build
	@mkdir -p $(@D)
	@$(LUA) spec/tools/embed.lua $(SCHEMA_STEPS) > $@.new && mv -f $@.new $@

$(B)/obj/%.o: %.c $(BUILD)/.versions | $(SCHEMA)
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<)

# The module stays mapped after lua_close: a thread of ours may still be on its way out of it.
$(CORE): $(OBJECTS) $(BUILD)/.versions
	@mkdir -p $(@D)
ifeq ($(SOURCES),)
	@echo 'nothing to build: no sources below csrc/' >&2
else
	$(call run,LD,$(CC) -shared -o $@.new $(OBJECTS) -Wl$(,)-z$(,)nodelete $(ALL_LDFLAGS) $(PC_LIBS))
	@mv -f $@.new $@
endif

-include $(OBJECTS:.o=.d) $(wildcard $(B)/test/*.d)

faults:
	@$(MAKE) --no-print-directory VARIANT=faults DEPS=$(DEPS) all

# ---- tests ---------------------------------------------------------------------------------------------------------
#
# Specs run against $(B); those with "fault" in their name against the build that can inject faults. C tests are
# linked with the objects of that build (sanitized builds can inject faults themselves). One that does not compile
# fails alone.

test: deps-test ## build all and run every spec and C test (SPEC=paths for some, JOBS=n at a time)
	@$(MAKE) --no-print-directory DEPS=$(DEPS) test-build
	@$(MAKE) --no-print-directory DEPS=$(DEPS) test-run

ifeq ($(VARIANT),)
test-build: all faults
	@$(MAKE) --no-print-directory -k VARIANT=faults DEPS=no c-tests || true
C_TEST_DIR := $(BUILD)/faults/test
FAULTS_LIB := $(abspath $(BUILD))/faults/lib
else
test-build: all
	@$(MAKE) --no-print-directory -k DEPS=no c-tests || true
C_TEST_DIR := $(B)/test
FAULTS_LIB := $(abspath $(B))/lib
endif

TEST_LIBS = $(ALL_LDFLAGS) $(PC_LIBS) $(LUA_LIBS) -lm -ldl

.PHONY: c-tests
c-tests: $(C_TEST_BINS)
	@:

# From an archive a test takes only the rooms it uses.
$(B)/test/libpipeline.a: $(OBJECTS)
	@mkdir -p $(@D) && rm -f $@
	$(call run,AR,$(AR) rcs $@ $(OBJECTS))

define c_test_rule
$(B)/test/$(call test_name,$(1)): $(1) $(B)/test/libpipeline.a $(BUILD)/.versions
	@mkdir -p $$(@D) && rm -f $$@
	$$(call run,CC,$$(CC) $$(ALL_CFLAGS) -Ispec -MMD -MP -o $$@ $$< $(B)/test/libpipeline.a $$(TEST_LIBS))
endef
$(foreach t,$(C_TESTS),$(eval $(call c_test_rule,$(t))))

# For a sanitized build: a lua5.4 with the sanitizer's runtime, first on the PATH.
ifneq ($(RUNTIME),)
TEST_LUA := $(abspath $(B))/bin/$(notdir $(LUA))
TEST_PATH := $(abspath $(B))/bin:$(PATH)

$(TEST_LUA): $(B)/lib/unpreload.so spec/tools/sanitized-lua.sh
	@mkdir -p $(@D)
	@sh spec/tools/sanitized-lua.sh $(LUA) $(RUNTIME) $(abspath $<) > $@.new && chmod +x $@.new && mv -f $@.new $@

$(B)/lib/unpreload.so: spec/tools/unpreload.c
	@mkdir -p $(@D)
	$(call run,CC,$(CC) -shared -fPIC -O2 -o $@ $<)
else
TEST_LUA := $(LUA)
TEST_PATH := $(PATH)
endif

test-run: $(if $(RUNTIME),$(TEST_LUA))
	@$(BUILT_ENV) $(SANITIZER_ENV) LUA=$(TEST_LUA) PATH='$(TEST_PATH)' BUSTED=$(BUSTED) TEST_JOBS=$(JOBS) \
	  SPEC_TIMEOUT=$(SPEC_TIMEOUT) WRAP='$(WRAP)' PL_BUILD='$(abspath $(B))' PL_FAULTS_CPATH='$(FAULTS_LIB)/?.so;;' \
	  C_TEST_DIR='$(C_TEST_DIR)' LOGS='$(B)/log' COVERAGE='$(if $(VARIANT)$(SPEC)$(WRAP),no,$(COVERAGE))' \
	  sh spec/tools/test.sh $(if $(SPEC),$(SPEC),$(SPECS) $(C_TESTS))

asan: ## run the specs and C tests with AddressSanitizer and UBSan (ASAN_SPECS=files for some)
	@$(MAKE) --no-print-directory VARIANT=asan SPEC='$(or $(ASAN_SPECS),$(SPEC))' SPEC_TIMEOUT=300 test

ubsan: ## run the specs and C tests with UBSan
	@$(MAKE) --no-print-directory VARIANT=ubsan SPEC='$(SPEC)' test

tsan: ## run the specs and C tests with ThreadSanitizer
	@$(MAKE) --no-print-directory VARIANT=tsan SPEC='$(SPEC)' SPEC_TIMEOUT=900 test

VALGRIND := valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --error-exitcode=97 --fair-sched=yes

valgrind: deps-valgrind ## run the specs and C tests under valgrind
	@$(MAKE) --no-print-directory SPEC='$(SPEC)' WRAP='$(VALGRIND)' SPEC_TIMEOUT=1800 test

crash: deps-test all ## kill processes at random moments and check what they leave behind (CYCLES=n SEED=s)
	@$(BUILT_ENV) $(LUA) spec/crash/crash.lua --cycles $(CYCLES) $(if $(SEED),--seed $(SEED))

soak: deps-test all ## check that rate and concurrency of queues hold over time, with three processes; two minutes
	@$(BUILT_ENV) $(LUA) spec/soak/limits.lua $(SOAK_ARGS)

$(BUILD)/bench/ceiling: spec/bench/ceiling.c $(BUILD)/.versions
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $< $(ALL_LDFLAGS) $(PC_LIBS)

bench: deps-build deps-bench all ## measure the engine beside a bare SQLite loop; results go to build/bench.jsonl
	@if [ -f spec/bench/ceiling.c ]; then $(MAKE) --no-print-directory DEPS=no $(BUILD)/bench/ceiling; fi
	@$(BUILT_ENV) $(LUA) spec/bench/bench.lua $(BENCH_ARGS)

# Each fuzzer runs on a copy of its corpus, so that what it finds does not pile up in the tree.
fuzz: deps-fuzz deps-build ## fuzz everything that reads foreign bytes (FUZZ_SECONDS=n each)
	@$(MAKE) --no-print-directory VARIANT=fuzz DEPS=no CC='$(CLANG)' fuzzers
	@BUILD='$(BUILD)' FUZZ_SECONDS=$(FUZZ_SECONDS) sh spec/tools/fuzz.sh $(FUZZERS)

# The fuzzing library calls a function that no header declares.
FUZZ_FLAGS := -fsanitize=fuzzer -Wno-missing-prototypes -Ispec

.PHONY: fuzzers
fuzzers: $(FUZZERS:spec/fuzz/%.c=$(BUILD)/fuzz/bin/%)

$(BUILD)/fuzz/bin/%: spec/fuzz/%.c $(B)/test/libpipeline.a $(BUILD)/.versions
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) $(FUZZ_FLAGS) -o $@ $< $(B)/test/libpipeline.a $(TEST_LIBS))

# ---- lint ----------------------------------------------------------------------------------------------------------

lint: deps-build deps-lint lint-format lint-c lint-lua check-headers ## formatting, static checks, house rules
	@$(LUA) spec/tools/tidy.lua
	@echo 'lint: clean'

lint-format:
	@$(if $(SOURCES)$(HEADERS),$(CLANG_FORMAT) --dry-run -Werror $(SOURCES) $(HEADERS) $(SPEC_C))

lint-c: $(SCHEMA)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,performance,portability -j 2 --inline-suppr \
	  --suppressions-list=spec/tools/cppcheck.supp -D_GNU_SOURCE -Icsrc -I$(BUILD)/gen $(SOURCES)

lint-lua:
	@luacheck --quiet $(wildcard lua spec examples rockspec/*.rockspec) .luacheckrc

# Every header compiles by itself.
check-headers: $(SCHEMA) $(BUILD)/.versions
	@for header in $(HEADERS); do \
	  printf '#include "%s"\n' $$header | $(CC) $(ALL_CFLAGS) -I. -fsyntax-only -x c - || exit 1; \
	done

format: deps-lint ## rewrite C sources in the house style (FILES=some)
	$(CLANG_FORMAT) -i $(or $(FILES),$(SOURCES) $(HEADERS) $(SPEC_C))
