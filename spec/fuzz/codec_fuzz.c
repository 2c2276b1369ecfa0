/*
 * codec_fuzz.c - arbitrary bytes through the value codec.
 *
 * Whatever the bytes are, decoding gives a value or an error. A value that was decoded is encoded and decoded again
 * and must come back the same, sharing and all; the only reason not to encode it is its depth, of which the decoder
 * allows one level more. One Lua state serves many inputs: what one leaves behind must not disturb the next.
 */
#include "fuzz/state.h"

/* Gets the functions of the codec; returns the function of one run, which raises when a rule is broken. */
static const char script[] =
    "local core = ...\n"
    "local Slot = { __pipeline_slot = true }\n"
    "local Class = { n = 1 }\n"
    "Class.__index = Class\n"
    "function Class.__defer(self)\n"
    "  local fields = {}\n"
    "  for key, value in next, self do fields[key] = value end\n"
    "  return fields\n"
    "end\n"
    "package.loaded.m = { C = Class, D = { E = {} }, f = function() end, ['a.b'] = print, v = 1 }\n"
    "package.loaded.f = function() end\n"
    "package.preload['p.q'] = function() return { g = function() end } end\n"
    "package.preload['p.bad'] = function() error 'bad' end\n"
    "core.set_hooks { slot_of = function(slot) return rawget(slot, 1) end }\n"
    "core.set_module_prefixes { 'p' }\n"
    "local function resolver(id) return setmetatable({ id }, Slot) end\n"
    "local function same(a, b, seen)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    if math.type(a) == 'float' then\n"
    "      return math.type(b) == 'float' and string.pack('d', a) == string.pack('d', b)\n"
    "    end\n"
    "    return rawequal(a, b) and math.type(a) == math.type(b)\n"
    "  end\n"
    "  local mark = getmetatable(a)\n"
    "  if mark == Slot then return getmetatable(b) == Slot and a[1] == b[1] end\n"
    "  if seen[a] or seen[b] then return seen[a] == b and seen[b] == a end\n"
    "  seen[a], seen[b] = b, a\n"
    "  local other = getmetatable(b)\n"
    "  if mark ~= other and not (mark and other and rawequal(mark.__index, other.__index)) then return false end\n"
    "  for key, value in next, a do\n"
    "    if not same(value, rawget(b, key), seen) then return false end\n"
    "  end\n"
    "  for key in next, b do\n"
    "    if rawget(a, key) == nil then return false end\n"
    "  end\n"
    "  return true\n"
    "end\n"
    "local function check_error(value, code, message)\n"
    "  assert(value == nil and code == 'ESERIALIZE' and message:find('at byte %d+: expected '), message)\n"
    "end\n"
    "return function(input)\n"
    "  core.decode(input)\n"
    "  local list, count, text = core.decode_list(input, resolver)\n"
    "  if not list then check_error(list, count, text) end\n"
    "  local value, code, message = core.decode(input, resolver)\n"
    "  if code then return check_error(value, code, message) end\n"
    "  local encoded, inputs, why = core.encode_value(value)\n"
    "  if not encoded then return assert(why:find 'nested deeper', why) end\n"
    "  assert(inputs == nil or #inputs > 0)\n"
    "  local again, failed, reason = core.decode(encoded, resolver)\n"
    "  assert(not failed, reason)\n"
    "  assert(same(value, again, {}), 'changed by the round trip')\n"
    "  assert(core.encode_value(again) == encoded, 'encoded in another way')\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static lua_State *L;
    if (L == NULL)
        L = state_open(script);
    state_run(L, data, size);
    return 0;
}
