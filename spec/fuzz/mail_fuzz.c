/*
 * mail_fuzz.c - arbitrary bytes as the fields of a mail.
 *
 * The input is a list of fields, each a letter and a text, between zero bytes. Whatever they are, the encoder refuses
 * them with a MailError, or makes a message of ASCII whose lines are short enough, whose head has only the headers that
 * belong there, each once, and whose parts cannot be left. Runs in the top directory: the encoder is Lua code.
 */
#include "fuzz/state.h"

static const char script[] =
    "local core = ...\n"
    "package.path, package.cpath = 'lua/?.lua', ''\n"
    "core.sha1 = function() return ('0123456789abcdef'):rep(3) end\n"
    "package.loaded['pipeline.core'] = core\n"
    "local errors = require 'pipeline.support.errors'\n"
    "local message = require 'pipeline.mail.message'\n"
    "local names = { f = 'from', t = 'to', c = 'cc', r = 'reply_to', s = 'subject', b = 'body', h = 'html' }\n"
    "local allowed = {}\n"
    "for name in ([[date from to cc reply-to subject message-id auto-submitted mime-version content-type\n"
    "  content-transfer-encoding x-n]]):gmatch '%S+' do allowed[name] = true end\n"
    "return function(input)\n"
    "  local fields = { from = 'a@b', to = 'c@d', body = '', message_id = 'x@y', date = #input }\n"
    "  for key, value in input:gmatch '(%l)([^%z]*)' do\n"
    "    if key == 'l' then fields.to = { fields.to, value }\n"
    "    elseif key == 'n' then fields.headers = { ['X-N'] = value }\n"
    "    else fields[names[key] or 'body'] = value end\n"
    "  end\n"
    "  local ok, bytes = pcall(message.encode, fields)\n"
    "  if not ok then return assert(errors.is(bytes, errors.MailError), bytes) end\n"
    "  assert(not bytes:find '[\\0\\128-\\255]' and not bytes:gsub('\\r\\n', ''):find '[\\r\\n]', 'bytes')\n"
    "  local head, body = bytes:match '^(.-\\r\\n)\\r\\n(.*)$'\n"
    "  local seen = {}\n"
    "  for line in head:gmatch '(.-)\\r\\n' do\n"
    "    assert(#line <= 998, 'long')\n"
    "    if line:sub(1, 1) ~= ' ' then\n"
    "      local name = line:match('^([%w%-]+): '):lower()\n"
    "      assert(allowed[name] and not seen[name], name)\n"
    "      seen[name] = true\n"
    "    end\n"
    "  end\n"
    "  local boundaries = 0\n"
    "  for line in body:gmatch '(.-)\\r\\n' do\n"
    "    assert(#line <= 76 and line ~= '.', 'line')\n"
    "    if line:find '^%-%-=_' then boundaries = boundaries + 1 end\n"
    "  end\n"
    "  assert(boundaries == (fields.html and 3 or 0), 'parts')\n"
    "  assert(bytes == message.encode(fields), 'not the same again')\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static lua_State *L;
    if (L == NULL)
        L = state_open(script);
    state_run(L, data, size);
    return 0;
}
