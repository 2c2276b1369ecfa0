# Makefile - builds, installs and tests pipeline.
#
#   make            the C module and the C library, from what is installed (`make deps` installs what is missing)
#   make demo       installs what is missing, builds, counts words
#   make test       installs what is missing, builds, runs every spec
#   make install    copies what was built below PREFIX
#
# Every product lies under $(BUILD). A variant (asan, ubsan, tsan, faults) is the same tree built with other flags in a
# directory of its own: `make VARIANT=asan all`. Sanitizers, fuzzers, crash runs, benchmarks and lint are in
# spec/tools/checks.mk; `make help` lists them all.

VARIANT ?=
BUILD ?= build
V ?=
WERROR ?= yes
CC ?= cc
LUA ?= lua5.4
PKG_CONFIG ?= pkg-config
OPTIMIZE ?= -O2 -g

PREFIX ?= /usr/local
LUADIR ?= $(PREFIX)/share/lua/5.4
LIBDIR ?= $(PREFIX)/lib/lua/5.4
CLIBDIR ?= $(PREFIX)/lib

TOP := $(CURDIR)
B := $(BUILD)$(if $(VARIANT),/$(VARIANT))
, := ,

# ---- what is built from what ---------------------------------------------------------------------------------------

SOURCES := $(sort $(shell find csrc -name '*.c'))
HEADERS := $(sort $(shell find csrc -name '*.h'))
LUA_SOURCES := $(sort $(shell find lua -name '*.lua'))
ASSETS := $(sort $(shell find lua/pipeline/pages/assets -type f))
SCHEMA_STEPS := $(sort $(wildcard csrc/store/sqlite/schema/*.sql))
OBJECTS := $(SOURCES:%.c=$(B)/obj/%.o)
LIBRARY_OBJECTS := $(filter-out $(B)/obj/csrc/binding/%,$(OBJECTS))
CORE := $(B)/lib/pipeline/core.so
LIBRARY := $(B)/lib/libpipeline.so $(B)/lib/libpipeline.a
SCHEMA := $(BUILD)/gen/schema.h
HEADER := $(BUILD)/gen/pipeline.h

# The version is written down in csrc/engine/pipeline.h; all else is told from there (spec/tools/version.lua). Programs
# ask for the library by its major version: those of one major version find in it what they were built with.
VERSION := $(shell sed -n 's/^.define PL_VERSION "\(.*\)"/\1/p' csrc/engine/pipeline.h)
SONAME := libpipeline.so.$(firstword $(subst ., ,$(VERSION)))

# What it is linked with, the oldest version that will do, and the Debian package it comes from.
LIBRARIES := lua5.4:5.4.0:liblua5.4-dev sqlite3:3.38:libsqlite3-dev libuv:1.44:libuv1-dev libcbor:0.8:libcbor-dev \
    libsodium:1.0.18:libsodium-dev libcurl:7.87.0:libcurl4-openssl-dev
BINDING_LINKED := libcbor
LINKED := sqlite3 libuv libsodium
LOADED := libcurl# when it is first used: its header is enough here
PC_CFLAGS = $(shell $(PKG_CONFIG) --cflags lua5.4 $(LINKED) $(LOADED) $(BINDING_LINKED))
PC_LIBS = $(shell $(PKG_CONFIG) --libs $(LINKED) $(BINDING_LINKED))
LIBRARY_LIBS = $(shell $(PKG_CONFIG) --libs $(LINKED))

# Warnings are errors here, but not for users (WERROR=no): their compiler may know newer ones. Whether something may
# be uninitialized is a guess that changes with the optimizer and the sanitizers, hence never an error.
WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wcast-qual -Wwrite-strings \
    -Wpointer-arith -Wundef -Wformat=2 $(if $(filter yes,$(WERROR)),-Werror) \
    $(if $(VARIANT),-Wno-maybe-uninitialized -Wno-unknown-warning-option,-Wno-error=maybe-uninitialized)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(OPTIMIZE) -fPIC -fvisibility=hidden -pthread $(WARNINGS) -Icsrc -I$(BUILD)/gen \
    $(VARIANT_FLAGS) $(file <$(BUILD)/.cflags) $(CFLAGS)
ALL_LDFLAGS = -pthread $(VARIANT_FLAGS) $(LDFLAGS) -lm -ldl

# The directories a spec or an example needs to find the built tree.
LUA_PATH_BUILT := $(TOP)/lua/?.lua;$(TOP)/lua/?/init.lua;;
LUA_CPATH_BUILT := $(abspath $(B))/lib/?.so;;
BUILT_ENV = LUA_PATH='$(LUA_PATH_BUILT)' LUA_CPATH='$(LUA_CPATH_BUILT)'

# The command `pipeline`: its script, which is told where the library lies; its manual page and completions are made by
# itself, of the table of commands.
SCRIPT := lua/pipeline/command/script.lua
COMMAND = @$(BUILT_ENV) $(LUA) $(SCRIPT)
COMMAND_DIRS := man/man1 bash-completion/completions zsh/site-functions fish/vendor_completions.d
COMMAND_PATHS = package.path = "$(LUADIR)/?.lua;$(LUADIR)/?/init.lua;" .. package.path; \
    package.cpath = "$(LIBDIR)/?.so;" .. package.cpath

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all help env demo install rock rock-build clean deps deps-%

all: $(CORE) $(LIBRARY) $(HEADER) ## build C module and C library (VARIANT=asan|ubsan|tsan|faults for another build)

help: ## this list
	@echo 'usage: make [target] [VARIABLE=value]'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile spec/tools/checks.mk | expand -t 16

env: ## print the shell lines that put the built tree on LUA_PATH and LUA_CPATH
	@echo "export LUA_PATH='$(LUA_PATH_BUILT)'; export LUA_CPATH='$(LUA_CPATH_BUILT)'"

demo: deps-demo ## run examples/wordcount.lua on a fresh file and compare its total with wc
	@$(MAKE) --no-print-directory all
	@$(BUILT_ENV) LUA=$(LUA) sh spec/tools/demo.sh $(DEMO_ARGS)

deps: deps-test deps-lint ## install the Debian packages that are missing (as root or by sudo)

# DEPS=no: nothing is installed, whatever is missing.
deps-%:
	$(if $(filter no,$(DEPS)),,@sh spec/tools/deps.sh $*)

install: all ## install into PREFIX (or LUADIR, LIBDIR and CLIBDIR), below DESTDIR
	@for file in $(patsubst lua/%,%,$(LUA_SOURCES) $(ASSETS)); do \
	  install -D -m 644 lua/$$file '$(DESTDIR)$(LUADIR)'/$$file || exit 1; done
	@install -D -m 755 $(CORE) '$(DESTDIR)$(LIBDIR)/pipeline/core.so'
	@install -D -m 644 $(HEADER) '$(DESTDIR)$(PREFIX)/include/pipeline.h'
	@install -D -m 755 $(B)/lib/libpipeline.so '$(DESTDIR)$(CLIBDIR)/libpipeline.so.$(VERSION)'
	@ln -sf libpipeline.so.$(VERSION) '$(DESTDIR)$(CLIBDIR)/$(SONAME)'
	@ln -sf $(SONAME) '$(DESTDIR)$(CLIBDIR)/libpipeline.so'
	@install -D -m 644 $(B)/lib/libpipeline.a '$(DESTDIR)$(CLIBDIR)/libpipeline.a'
	@mkdir -p '$(DESTDIR)$(CLIBDIR)/pkgconfig'
	@sed 's|@PREFIX@|$(PREFIX)|; s|@CLIBDIR@|$(CLIBDIR)|; s|@VERSION@|$(VERSION)|; s|@REQUIRES@|$(LINKED)|' \
	  csrc/tools/pipeline.pc.in >'$(DESTDIR)$(CLIBDIR)/pkgconfig/pipeline.pc'
	@mkdir -p '$(DESTDIR)$(PREFIX)/bin' $(foreach dir,$(COMMAND_DIRS),'$(DESTDIR)$(PREFIX)/share/$(dir)')
	@sed '1s|.*|\#!/usr/bin/env $(LUA)|; s|^-- @PATHS@.*|$(COMMAND_PATHS)|' $(SCRIPT) >'$(DESTDIR)$(PREFIX)/bin/pipeline'
	@chmod 755 '$(DESTDIR)$(PREFIX)/bin/pipeline'
	$(COMMAND) help --man >'$(DESTDIR)$(PREFIX)/share/man/man1/pipeline.1'
	$(COMMAND) completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/pipeline'
	$(COMMAND) completion zsh >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_pipeline'
	$(COMMAND) completion fish >'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pipeline.fish'
	@case '$(DESTDIR)$(CLIBDIR)' in /usr/lib*|/usr/local/lib*) ldconfig 2>/dev/null || true;; esac # the loader looks again
	@echo 'pipeline $(VERSION): installed below $(DESTDIR)$(PREFIX)'

rock: ## install each rock into a tree of its own, and run the examples against that tree alone
	@for rockspec in scm-1 $(VERSION)-1; do \
	  rm -rf $(BUILD)/rocktree && echo "rock: pipeline-$$rockspec.rockspec" && \
	  luarocks make --lua-version 5.4 --tree $(BUILD)/rocktree --deps-mode=none rockspec/pipeline-$$rockspec.rockspec && \
	  LUA=$(LUA) sh spec/tools/rock.sh $(BUILD)/rocktree || exit 1; done

rock-build: all

clean: ## delete everything that was built
	rm -rf $(BUILD)

# ---- building ------------------------------------------------------------------------------------------------------

# Says in one line what is done; V=1 shows the command.
run = $(if $(V),,@echo '  $(1)  $@'; )$(2)

# Made once the libraries are there and new enough; holds the flags they ask for.
$(BUILD)/.cflags: Makefile
	@mkdir -p $(@D)
	@sh spec/tools/versions.sh $(PKG_CONFIG) $(LIBRARIES)
	@echo '$(PC_CFLAGS)' >$@

$(SCHEMA): $(SCHEMA_STEPS) csrc/tools/schema.lua
	@mkdir -p $(@D)
	@$(LUA) csrc/tools/schema.lua $(SCHEMA_STEPS) >$@.new && mv -f $@.new $@

$(HEADER): $(HEADERS) csrc/tools/header.lua
	@mkdir -p $(@D)
	@$(LUA) csrc/tools/header.lua engine/pipeline.h >$@.new && mv -f $@.new $@

$(B)/obj/%.o: %.c $(BUILD)/.cflags | $(SCHEMA)
	@mkdir -p $(@D)
	$(call run,CC,$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<)

# Both stay mapped after lua_close or dlclose: a thread of ours may still be on its way out of them.
$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	$(call run,LD,$(CC) -shared -o $@.new $^ -Wl$(,)-z$(,)nodelete $(ALL_LDFLAGS) $(PC_LIBS) && mv -f $@.new $@)

$(B)/lib/libpipeline.so: $(LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(call run,LD,$(CC) -shared -o $@.new $^ -Wl$(,)-z$(,)nodelete -Wl$(,)-soname$(,)$(SONAME) $(ALL_LDFLAGS) \
	  $(LIBRARY_LIBS) && mv -f $@.new $@ && ln -sf libpipeline.so $(@D)/$(SONAME))

$(B)/lib/libpipeline.a: $(LIBRARY_OBJECTS)
	@mkdir -p $(@D) && rm -f $@
	$(call run,AR,$(AR) rcs $@ $^)

-include $(OBJECTS:.o=.d)
include $(wildcard spec/tools/checks.mk)
