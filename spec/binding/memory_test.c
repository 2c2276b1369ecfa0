/*
 * memory_test.c - the Nth allocation of Lua fails, at every place of a run with tasks, waits, tokens and reads.
 *
 * Whatever fails, the state can be closed, nothing crashes, and nothing is leaked (which the sanitizers and valgrind
 * look for); the engine works again as soon as there is memory.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_pipeline_core(lua_State *L);

typedef struct {
    long left; /* allocations until one fails; 0: none does */
    bool hit;
} faults_t;

/* The one that fails fails twice: Lua collects garbage and tries again. */
static void *alloc(void *data, void *old, size_t old_size, size_t size) {
    faults_t *faults = data;
    if (size == 0) {
        free(old);
        return NULL;
    }
    bool grows = old == NULL || size > old_size;
    if (grows && faults->left > 0 && --faults->left < 2) {
        faults->hit = true;
        return NULL;
    }
    return realloc(old, size);
}

static const char *const SETUP = "core = require 'pipeline.core'\n"
                                 "e = assert(core.open(':memory:', { virtual_time = true, virtual_start = 5 }))\n"
                                 "e:on('error', function() end)\n"
                                 "e:on('log', function() end)\n"
                                 "stage = e:new_id()\n"
                                 "assert(e:start{ { id = stage, class_path = 'spec.X', args = '', hold = true } })\n"
                                 "collectgarbage()";

static const char *const SCENARIO =
    "local function guard() return setmetatable({}, { __close = function() e:meta('closed', 'yes') end }) end\n"
    "e:on('final', function(id, state) return id .. state end)\n"
    "e:on('task', function(task)\n"
    "  local g <close> = guard()\n"
    "  if task.payload == 'wait' then e:sleep(1) end\n"
    "  if task.payload == 'die' and task.tries == 0 and not died then died = true; error('died') end\n"
    "  if task.stage.class_path == 'spec.Run' then\n"
    "    return e:outcome(task, { fills = { { slot = task.id, value = 'v' } }, nowait = true })\n"
    "  end\n"
    "  e:task_done(task, { nowait = task.payload == 'now' })\n"
    "end)\n"
    "local list = {}\n"
    "for i, name in ipairs{ 'wait', 'die', 'now', 'x' } do\n"
    "  list[i] = { id = e:new_id(), stage = stage, payload = name }\n"
    "end\n"
    "e:task_add(list)\n"
    "local id = e:new_id()\n"
    "e:start{ { id = id, class_path = 'spec.Run', args = '', outputs = { { name = 'default', slot = id } } } }\n"
    "e:watch(id)\n"
    "e:spawn(function(...)\n"
    "  local token = e:token()\n"
    "  e:spawn(function() token:wake('a', 'b') end)\n"
    "  e:suspend()\n"
    "  e:token():wake(1, 2, 3)\n"
    "  return e:suspend()\n"
    "end, 1, 2, 3)\n"
    "e:spawn(function() coroutine.yield() end)\n"
    "e:run('all', 100)\n"
    "local _, page = e:tree_page(id, { limit = 1, counts = true })\n"
    "if page then page:take() page:take() end\n"
    "e:stage_get(id, true) e:tree_get(id) e:roots_list() e:counts_get() e:facts() e:new_ids(3)\n";

static const char *const AFTER = "assert(e:meta('after', 'wards') == 'wards')\n"
                                 "e:on('task', function(task)\n"
                                 "  if task.kind ~= 'run' then return assert(e:task_done(task, {})) end\n"
                                 "  assert(e:outcome(task, { fills = { { slot = task.id, value = 'v' } } }))\n"
                                 "end)\n"
                                 "assert(e:run('ready', 100))\n"
                                 "assert(e:facts().executing == 0)\n"
                                 "e:close()";

static bool run(lua_State *L, const char *source) {
    if (luaL_dostring(L, source) == LUA_OK)
        return true;
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return false;
}

static int load_entry(lua_State *L) {
    if (luaL_dostring(L, SCENARIO) != LUA_OK)
        return lua_error(L);
    return 0;
}

/* Returns whether all went well; *hit tells whether there was an Nth allocation. */
static bool attempt(long nth, bool *hit) {
    faults_t faults = { 0, false };
    lua_State *L = lua_newstate(alloc, &faults);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_pipeline_core);
    lua_setfield(L, -2, "pipeline.core");
    lua_settop(L, 0);
    bool ok = run(L, SETUP);
    faults.left = nth + 1;
    lua_pushcfunction(L, load_entry);
    bool went = lua_pcall(L, 0, 0, 0) == LUA_OK;
    faults.left = 0;
    if (!went && !faults.hit)
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_settop(L, 0);
    *hit = faults.hit;
    ok = ok && (went || faults.hit) && run(L, AFTER);
    lua_close(L);
    if (!ok)
        fprintf(stderr, "failed with allocation %ld\n", nth);
    return ok;
}

int main(void) {
    const char *stride_text = getenv("STRIDE");
    long stride = stride_text != NULL ? strtol(stride_text, NULL, 10) : 5;
    int passed = 0, failed = 0;
    bool hit = true;
    for (long nth = 1; hit && failed == 0; nth += stride) {
        if (attempt(nth, &hit))
            passed++;
        else
            failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
