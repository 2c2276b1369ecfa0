/*
 * deferred_fuzz.c - arbitrary bytes as the payload of a deferred call.
 *
 * Whatever the bytes are, reading them gives something that can be called and its arguments, or raises
 * PermanentTaskFailure, marked as unreadable; nothing is called, and no module outside of the prefixes is loaded. What
 * was read of a function by name is serialized again and must be read as the same. Runs in the top directory: the
 * reader is Lua code, over the codec.
 */
#include "fuzz/state.h"

/* Gets the functions of the codec; returns the function of one run, which raises when a rule is broken. */
static const char script[] =
    "local core = ...\n"
    "package.path = 'lua/?.lua'\n"
    "package.loaded['pipeline.core'] = core\n"
    "local called = false\n"
    "local function call() called = true end\n"
    "local Class = setmetatable({ __call = call, method = call, n = 1 }, { __call = call })\n"
    "Class.__index = Class\n"
    "package.loaded.m = { C = Class, f = call, D = { static = call } }\n"
    "package.preload['p.q'] = function() return { g = call } end\n"
    "package.preload['p.bad'] = function() error 'bad' end\n"
    "package.preload['q.r'] = function() error('loaded', 0) end\n"
    "local class = require 'pipeline.workflow.class'\n"
    "local deferred = require 'pipeline.deferred'\n"
    "local errors = require 'pipeline.support.errors'\n"
    "class.allow_modules { 'p' }\n"
    "deferred.register('registered', call)\n"
    "deferred.register('Registered.Class', setmetatable({ __index = false }, { __call = call }))\n"
    "deferred.alias('gone', 'm')\n"
    "deferred.alias('m.moved', 'registered')\n"
    "local before = package.loaded\n"
    "return function(input)\n"
    "  local ok, fn, object, list, first, n = pcall(deferred._decode, input)\n"
    "  assert(not called and not package.loaded['q.r'] and package.loaded == before)\n"
    "  if not ok then\n"
    "    assert(errors.is(fn, deferred.PermanentTaskFailure), fn)\n"
    "    return assert(fn.unreadable and fn.message:find '^the call cannot be ', fn.message)\n"
    "  end\n"
    "  local meta = debug.getmetatable(fn)\n"
    "  assert(type(fn) == 'function' or meta and rawget(meta, '__call'), 'cannot be called')\n"
    "  assert(first <= n + 1 and n - first < #input, 'arguments')\n"
    "  if object ~= nil or type(fn) ~= 'function' or n > 200 then return end\n"
    "  local done, bytes = pcall(deferred.serialize, fn, table.unpack(list, first, n))\n"
    "  if not done then return assert(errors.is(bytes, errors.SerializationError), bytes) end\n"
    "  local again, _, _, _, last = deferred._decode(bytes)\n"
    "  assert(rawequal(again, fn) and last == n - first + 3, 'changed by the round trip')\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static lua_State *L;
    if (L == NULL)
        L = state_open(script);
    state_run(L, data, size);
    return 0;
}
