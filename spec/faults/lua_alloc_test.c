/*
 * lua_alloc_test.c - the Nth allocation of Lua fails while a program uses the module, for every N.
 *
 * Lua collects and asks a second time when it gets no memory, so there are three kinds of failure: once (a collection
 * at the worst moment), twice in a row (an error), and from there on (an error, and none of its handlers gets memory).
 * The program may end with "not enough memory", or report it through its hooks; it may never crash, leak, hang or leave
 * something that cannot be closed.
 */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int luaopen_pipeline_core(lua_State *L);

enum { STEP_SECONDS_MAX = 60, ALL = 300, SAMPLE = 150 };

static const char program[] =
    "local core = ...\n"
    "local bytes = assert(core.encode({ 1, 'two', { three = { 3.5, true } } }, 3))\n"
    "assert(core.decode_list(bytes)[2] == 'two')\n"
    "local shared = { 1 }\n"
    "assert(core.decode(assert(core.encode_value({ shared, shared, { [2] = 'x' } })))[1][1] == 1)\n"
    "local engine <close> = assert(core.open(':memory:', { virtual_time = true, virtual_start = 1e9, seed = 1 }))\n"
    "local seen = {}\n"
    "engine:on('log', function(level, text) seen[#seen + 1] = text end)\n"
    "engine:on('error', function(problem) seen[#seen + 1] = problem end)\n"
    "engine:on('final', function(id, state) seen[#seen + 1] = state end)\n"
    "engine:on('task', function(task)\n"
    "  local value = core.decode_list(task.stage.args)[1]\n"
    "  if value == 1 then\n"
    "    local child = engine:new_id()\n"
    "    local settings = { class_path = 'child', max_attempts = 1, backoff_seconds = 1, backoff_factor = 1 }\n"
    "    local children = core.children(2)\n"
    "    children:add(settings, engine:new_id(), core.encode({ 3 }, 1))\n"
    "    children:add(settings, child, core.encode({ 2 }, 1), nil, nil, { { name = 'default', slot = task.stage.id } "
    "})\n"
    "    engine:outcome(task, { kind = 'ok', flags = 0, nowait = true, children = children })\n"
    "  elseif value == 2 then\n"
    "    engine:sleep(1)\n"
    "    engine:outcome(task, { kind = 'ok', flags = 0, nowait = true, fills = {\n"
    "      { slot = task.stage.outputs[1].slot, value = core.encode_value('done') } } })\n"
    "  else\n"
    "    engine:returned(task, 0, core.encode_value('also done'))\n"
    "  end\n"
    "end)\n"
    "local id = engine:new_id()\n"
    "assert(engine:start { { id = id, class_path = 'root', args = core.encode({ 1 }, 1), max_attempts = 1,\n"
    "  backoff_seconds = 1, backoff_factor = 1 } })\n"
    "assert(engine:watch(id))\n"
    "engine:spawn(function() engine:sleep(0.5) end)\n"
    "assert(engine:run('all', 100))\n"
    "local record, slots = engine:stage_get(id, true)\n"
    "assert(record.state == 'done' and core.decode(slots[id].value) == 'done', 'not done')\n"
    "assert(#engine:id_text(id) == 32 and engine:counts_get() and engine:facts())\n"
    "local session = assert(engine:session())\n"
    "assert(session:begin(10) and session:sql('CREATE TABLE t (v)', {}, 0, false))\n"
    "assert(session:sql('INSERT INTO t VALUES (?)', { 'x' }, 1, false) == 1)\n"
    "local rows = assert(session:sql('SELECT v, 1.5 AS f FROM t', {}, 0, true))\n"
    "assert(rows[1].v == 'x' and rows[1].f == 1.5 and session:new_id() and session:finish(true))\n"
    "local server <close> = assert(engine:serve { port = 0, handler = function(request)\n"
    "  return 200, { ['X-A'] = { '1', '2' } }, request.body end })\n"
    "local url, sum = 'http://127.0.0.1:' .. server.port, 0\n"
    "local handle = assert(engine:fetch_start({ url = url, deadline = 1 }, function(response)\n"
    "  sum = sum + response.status end))\n"
    "engine:spawn(function()\n"
    "  local left = 2\n"
    "  local response <close> = assert(engine:fetch { url = url, method = 'PUT', stream = true, deadline = 1,\n"
    "    headers = { ['X-B'] = { '1', '2' } }, body = function() left = left - 1 return left >= 0 and 'xy' or nil end "
    "})\n"
    "  for piece in response.read, response do sum = sum + #piece end\n"
    "end)\n"
    "assert(engine:run('ready'))\n"
    "assert(not handle:cancel() and engine:fetch { url = url, body = 'abc', deadline = 1 }.body == 'abc')\n"
    "assert(sum == 204 and engine:fetch_facts().active == 0, 'not fetched')\n"
    /* The client of tasklets, on the loop of the engine. */
    "local client = assert(core.client(engine))\n"
    "local left, size, response = 2, 0, nil\n"
    "local request = assert(client:start({ url = url, method = 'PUT', stream = true, deadline = 1,\n"
    "  headers = { ['X-B'] = { '1', '2' } }, body = function() end }, 7))\n"
    "repeat\n"
    "  request:hold(true)\n"
    "  assert(engine:run('next', 1))\n"
    "  while client:news() do\n"
    "    local over, head, piece, wants = request:state()\n"
    "    if wants then left = left - 1 assert(request:send(left >= 0 and 'xy' or nil)) end\n"
    "    if head and not response then response = assert(request:response()) end\n"
    "    if piece then size = size + #request:take() end\n"
    "  end\n"
    "until request:state()\n"
    "assert(size == 4 and response.status == 200, 'no answer')\n"
    "client:close()\n"
    /* A tasklet that waits for an op, and a coroutine of the engine that waits for a future. */
    "local kind, none, value = {}, {}, nil\n"
    "local loop = { 0, 0, {}, 0, {}, true, false, 0, core.timetable() }\n"
    "local function never() error('not usual') end\n"
    "local tasklets = core.tasklets { current = { false }, handler = function(problem) return problem end,\n"
    "  task_meta = {}, kinds = { [kind] = 'Future' }, common = loop, none = none, single = {}, settle = never,\n"
    "  add = never, complete = never, arouse = never, loop = never, stepping = { false }, virtual = {},\n"
    "  soon_meta = {}, commit_meta = {}, results = never, leave = function() end,\n"
    "  serves = function() return true end }\n"
    "tasklets.launch({ function() value = engine:meta('key', 'value') end, false, false, false }, 1)\n"
    "assert(tasklets.drain(loop, 9) == 1 and engine:run('ready') and tasklets.drain(loop, 9) == 1)\n"
    "assert(value == 'value', 'no value')\n"
    "local future, awaited = setmetatable({ state = 1, first = false }, kind), nil\n"
    "assert(engine:spawn(function() awaited = tasklets.suspend(future) end) and engine:run('ready'))\n"
    "future.state = 2\n"
    "future.first.go(future.first)\n"
    "assert(engine:run('ready') and awaited, 'not awaited')\n"
    "return true\n";

typedef struct {
    long left; /* allocations until one fails; counts on below 0 */
    long run;  /* how many fail then */
    bool is_armed, was_hit;
    size_t bytes;
} memory_t;

static long step_now;
static const long runs[] = { 1, 2, LONG_MAX };

static void *allocate(void *data, void *old, size_t old_size, size_t size) {
    memory_t *memory = data;
    if (!old)
        old_size = 0;
    if (size == 0) {
        memory->bytes -= old_size;
        free(old);
        return NULL;
    }
    /* Lua takes it for granted that a block can be made smaller. */
    if (memory->is_armed && size > old_size && memory->left-- <= 1 && memory->left > -memory->run) {
        memory->was_hit = true;
        return NULL;
    }
    void *grown = realloc(old, size);
    if (grown)
        memory->bytes += size - old_size;
    return grown;
}

static int use_module(lua_State *L) {
    luaL_openlibs(L);
    luaL_requiref(L, "pipeline.core", luaopen_pipeline_core, 0);
    if (luaL_loadbuffer(L, program, sizeof program - 1, "=program") != LUA_OK)
        return lua_error(L);
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* One program in a state of its own. */
static int play(memory_t *memory, bool must_work) {
    lua_State *L = lua_newstate(allocate, memory);
    if (!L)
        return 0;
    lua_gc(L, LUA_GCGEN);
    lua_pushcfunction(L, use_module);
    int rc = lua_pcall(L, 0, 1, 0), failures = 0;
    memory->is_armed = false;
    if (rc != LUA_OK && (must_work || lua_type(L, -1) != LUA_TSTRING)) {
        fprintf(stderr, "lua_alloc_test: %ld: %s\n", step_now, luaL_tolstring(L, -1, NULL));
        failures++;
    }
    lua_close(L);
    if (memory->bytes != 0) {
        fprintf(stderr, "lua_alloc_test: %ld: %zu bytes of Lua were lost\n", step_now, memory->bytes);
        failures++;
    }
    return failures;
}

static int step(long nth, long run, bool *was_hit) {
    memory_t memory = { .left = nth, .run = run, .is_armed = true };
    step_now = nth;
    alarm(STEP_SECONDS_MAX);
    if (getenv("FAULTS_VERBOSE"))
        fprintf(stderr, "allocation %ld\n", nth);
    int failures = play(&memory, false);
    *was_hit = memory.was_hit;
    return failures;
}

static void out_of_time(int number) {
    char text[80];
    int len = snprintf(text, sizeof text, "lua_alloc_test: allocation %ld: hangs\n", step_now);
    (void)number;
    if (write(STDERR_FILENO, text, (size_t)len) < 0 || !getenv("FAULTS_STAY"))
        _exit(1);
    pause();
}

/* All N, or the first and a sample of the others. Returns the number of failures. */
static int loop(long run, long count, bool is_full) {
    bool was_hit = true;
    int failures = 0;
    for (long nth = 1; was_hit && failures < 20 && (is_full || nth <= ALL); nth++)
        failures += step(nth, run, &was_hit);
    for (int i = 0; !is_full && i < SAMPLE && failures < 20 && count > ALL; i++)
        failures += step(ALL + 1 + rand() % (count - ALL), run, &was_hit);
    return failures;
}

int main(void) {
    const char *how = getenv("FAULTS"), *only = getenv("FAULTS_ONLY"), *given = getenv("FAULTS_SEED");
    memory_t counted = { .left = LONG_MAX, .is_armed = true };
    bool is_full = how && strcmp(how, "full") == 0, was_hit;
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    signal(SIGALRM, out_of_time);
    srand(seed);
    int failures = play(&counted, true);
    long count = LONG_MAX - counted.left;
    printf("%ld allocations, FAULTS_SEED=%u\n", count, seed);
    fflush(stdout);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        failures += only ? step(strtol(only, NULL, 10), runs[i], &was_hit) : loop(runs[i], count, is_full);
    return failures > 0;
}
