/*
 * states_test.c - several Lua states in one process, states in threads of their own, lua_close and going on, fork.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_pipeline_core(lua_State *L);

/* ThreadSanitizer cannot follow threads that are started after a fork. */
#ifdef __SANITIZE_THREAD__
#define CHILD_HAS_THREADS false
#else
#define CHILD_HAS_THREADS true
#endif

static int passed, failed;

static void check(bool ok, const char *what) {
    if (ok) {
        passed++;
        return;
    }
    failed++;
    fprintf(stderr, "failed: %s\n", what);
}

static lua_State *open_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "pipeline.core", luaopen_pipeline_core, 1);
    lua_setglobal(L, "core");
    lua_settop(L, 0);
    return L;
}

/* Runs the chunk; its first result must be true. */
static bool run(lua_State *L, const char *source) {
    lua_settop(L, 0);
    if (luaL_dostring(L, source) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return false;
    }
    return lua_toboolean(L, 1);
}

static const char *const OPEN = "e = assert(core.open(':memory:', { virtual_time = true, virtual_start = 5 }))\n"
                                "stage = e:new_id()\n"
                                "assert(e:start{ { id = stage, class_path = 'spec.X', args = '', hold = true } })\n"
                                "return true";

static const char *const SUSPEND = "for i = 1, 5 do assert(e:task_add{ { id = e:new_id(), stage = stage } }) end\n"
                                   "e:on('task', function(task) e:suspend() end)\n"
                                   "e:spawn(function() e:sleep(100) end)\n"
                                   "e:spawn(function() while true do e:meta('k', 'v') end end)\n"
                                   "for i = 1, 20 do e:run('next') end\n"
                                   "return e:facts().executing == 5 and e:facts().coroutines == 7";

static const char *const WORK = "local n = 0\n"
                                "e:on('task', function(task) n = n + 1; e:task_done(task, { nowait = true }) end)\n"
                                "local list = {}\n"
                                "for i = 1, 200 do list[i] = { id = e:new_id(), stage = stage } end\n"
                                "assert(e:task_add(list))\n"
                                "assert(e:run('ready'))\n"
                                "return n == 200";

static void two_states(void) {
    lua_State *a = open_state(), *b = open_state();
    check(run(a, OPEN) && run(b, OPEN), "two states open engines");
    check(run(a, SUSPEND), "the first one suspends");
    check(run(b, WORK), "the second one works");
    lua_close(a);
    check(run(b, WORK), "and goes on when the first is closed with everything suspended");
    lua_close(b);
}

static void *state_thread(void *ok) {
    lua_State *L = open_state();
    *(bool *)ok = run(L, OPEN) && run(L, WORK) && run(L, SUSPEND);
    lua_close(L);
    return NULL;
}

static void states_in_threads(void) {
    pthread_t threads[3];
    bool ok[3] = { false, false, false };
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, state_thread, &ok[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    check(ok[0] && ok[1] && ok[2], "states in threads of their own");
}

static void opened_in_a_coroutine(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_pipeline_core);
    lua_setfield(L, -2, "pipeline.core");
    lua_settop(L, 0);
    check(run(L, "coroutine.wrap(function() core = require 'pipeline.core'\n"
                 "e = core.open(':memory:') stage = e:new_id() end)()\n"
                 "collectgarbage() collectgarbage()\n"
                 "assert(e:start{ { id = stage, class_path = 'spec.X', args = '', hold = true } })\n"
                 "return true") &&
              run(L, WORK),
          "opened in a coroutine that is gone");
    lua_close(L);
}

/* What the child of a fork sees. Returns whether that is right. */
static bool child(lua_State *L) {
    bool ok = run(L, "local ok, code = e:meta('k') assert(not ok and code == 'EFORK')\n"
                     "assert(select(2, e:run('ready')) == 'EFORK')\n"
                     "assert(select(2, e:spawn(print)) == 'EFORK')\n"
                     "assert(select(2, e:now()) == 'EFORK')\n"
                     "assert(token:wake() == false)\n"
                     "assert(select(2, client:start({ url = 'http://127.0.0.1:1/' }, 2)) == 'EFORK')\n"
                     "assert(request:state() and not request:cancel() and not client:news())\n"
                     "assert(select(2, request:response()) == 'EFORK')\n"
                     "client:close()\n"
                     "assert(closed == 0)\n"
                     "assert(e:close() and e:close())\n"
                     "assert(closed == 0)\n"
                     "assert(select(2, e:now()) == 'ECLOSED')\n"
                     "return true");
    if (CHILD_HAS_THREADS)
        ok = ok && run(L, OPEN) && run(L, WORK);
    lua_close(L);
    return ok;
}

static void fork_detection(void) {
    lua_State *L = open_state();
    check(run(L, OPEN) && run(L, SUSPEND), "before the fork");
    check(run(L, "closed = 0\n"
                 "e:spawn(function()\n"
                 "  local g <close> = setmetatable({}, { __close = function() closed = closed + 1 end })\n"
                 "  token = e:token()\n"
                 "  e:suspend()\n"
                 "end)\n"
                 "for i = 1, 5 do e:run('next') end\n"
                 "client = core.client(core.loop())\n"
                 "request = client:start({ url = 'http://127.0.0.1:1/' }, 1)\n"
                 "return token ~= nil and request ~= nil"),
          "a token and a request before the fork");
    /* The child leaves the parent's engine alone, memory included. So that no leak checker complains of that, it
     * answers through a pipe and dies. */
    int pipes[2];
    char answer = 0;
    check(pipe(pipes) == 0, "a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        answer = child(L) ? 1 : 0;
        (void)!write(pipes[1], &answer, 1);
        raise(SIGKILL);
    }
    close(pipes[1]);
    check(read(pipes[0], &answer, 1) == 1 && answer == 1, "the child of a fork");
    close(pipes[0]);
    waitpid(pid, NULL, 0);
    check(run(L, "for i = 1, 20 do e:run('next') end return e:meta('after', 'fork') == 'fork'"), "the parent goes on");
    check(run(L, "for i = 1, 1000 do if request:state() then break end core.loop():poll(0.01) end\n"
                 "return client:news() == 1 and select(2, request:response()) == 'ECONNREFUSED'"),
          "and gets its answer");
    check(run(L, "e:close() return closed == 1"), "and closes what it has");
    lua_close(L);
}

int main(void) {
    two_states();
    opened_in_a_coroutine();
    fork_detection(); /* while there are no other threads */
    states_in_threads();
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
