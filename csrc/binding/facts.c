/*
 * facts.c - the small questions an engine answers without an op. See facts.h.
 */
#include "binding/facts.h"

#include <string.h>
#include <sys/stat.h>

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

#define IDS_MAX 1000000    /* of one new_ids */
#define RANDOM_MAX 1048576 /* bytes of one random */

/* ---- ids --------------------------------------------------------------------------------------------------- */

/* e:new_id() -> integer */
static int engine_new_id(lua_State *L, pl__handle_t *h) {
    lua_pushinteger(L, pl_engine_new_id(h->engine));
    return 1;
}

void pl__push_name(lua_State *L, const pl__handle_t *h, pl_id_t id, pl_str_t prefix) {
    enum { PREFIX_MAX = 32 };
    char text[PREFIX_MAX + PL_ID_TEXT_LEN + 1];
    size_t len = prefix.len < PREFIX_MAX ? prefix.len : PREFIX_MAX;
    memcpy(text, prefix.ptr, len);
    pl_engine_id_text(h->engine, id, text + len);
    lua_pushlstring(L, text, len + PL_ID_TEXT_LEN);
}

/* e:new_name(prefix of at most 32 bytes) -> id, prefix and the id as users see it */
static int engine_new_name(lua_State *L, pl__handle_t *h) {
    pl_str_t prefix = pl__bytes_check(L, 2);
    pl_id_t id = pl_engine_new_id(h->engine);
    lua_pushinteger(L, id);
    pl__push_name(L, h, id, prefix);
    return 2;
}

/* e:new_ids(n) -> the first, list of all n */
static int engine_new_ids(lua_State *L, pl__handle_t *h) {
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1 && n <= IDS_MAX, 2, "out of range");
    lua_createtable(L, (int)n, 0);
    if (pl__handle_refuse(L, h))
        return 3;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_pushinteger(L, pl_engine_new_id(h->engine));
        lua_rawseti(L, -2, i);
    }
    lua_rawgeti(L, -1, 1);
    lua_insert(L, -2);
    return 2;
}

/* e:id_text(id) -> 32 hex digits */
static int engine_id_text(lua_State *L, pl__handle_t *h) {
    pl_id_t id = luaL_checkinteger(L, 2);
    char text[PL_ID_TEXT_LEN + 1];
    pl_engine_id_text(h->engine, id, text);
    lua_pushlstring(L, text, PL_ID_TEXT_LEN);
    return 1;
}

/* e:id_parse(text) -> id, or nil if this store has not made it */
static int engine_id_parse(lua_State *L, pl__handle_t *h) {
    pl_str_t text = pl__bytes_check(L, 2);
    pl_id_t id = pl_engine_id_parse(h->engine, text.ptr, text.len);
    if (id == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, id);
    return 1;
}

/* e:id_time(id) -> about when it was made, in seconds since the epoch */
static int engine_id_time(lua_State *L) {
    (void)pl__handle_check(L, 1);
    pl__push_time(L, pl_ids_time(luaL_checkinteger(L, 2)));
    return 1;
}

/* ---- signatures and randomness ----------------------------------------------------------------------------- */

/* e:sign(bytes) -> 64 hex digits */
static int engine_sign(lua_State *L, pl__handle_t *h) {
    pl_str_t bytes = pl__bytes_check(L, 2);
    char mac[PL_MAC_LEN + 1];
    pl_engine_sign(h->engine, bytes.ptr, bytes.len, mac);
    lua_pushlstring(L, mac, PL_MAC_LEN);
    return 1;
}

/* e:verify(bytes, mac) -> boolean, in constant time */
static int engine_verify(lua_State *L, pl__handle_t *h) {
    pl_str_t bytes = pl__bytes_check(L, 2), mac = pl__bytes_check(L, 3);
    lua_pushboolean(L, pl_engine_verify(h->engine, bytes.ptr, bytes.len, mac.ptr, mac.len));
    return 1;
}

/* e:random(n) -> n random bytes */
static int engine_random(lua_State *L, pl__handle_t *h) {
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 0 && n <= RANDOM_MAX, 2, "out of range");
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, (size_t)n);
    if (pl__handle_refuse(L, h))
        return 3;
    int rc = pl_engine_random(h->engine, bytes, (size_t)n);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, NULL);
    luaL_pushresultsize(&buffer, (size_t)n);
    return 1;
}

/* ---- time and host loops ----------------------------------------------------------------------------------- */

/* e:now() -> seconds since the epoch */
static int engine_now(lua_State *L, pl__handle_t *h) {
    pl__push_time(L, pl_engine_now(h->engine));
    return 1;
}

/* e:due() -> seconds since the epoch: an eta up to this is due now */
static int engine_due(lua_State *L, pl__handle_t *h) {
    pl__push_time(L, pl_engine_due(h->engine));
    return 1;
}

/* e:steady() -> seconds on the clock that is never set: for durations */
static int engine_steady(lua_State *L, pl__handle_t *h) {
    pl__push_time(L, pl_engine_steady(h->engine));
    return 1;
}

/* e:advance(seconds) -> true; virtual time only */
static int engine_advance(lua_State *L, pl__handle_t *h) {
    lua_Number seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0, 2, "seconds must be 0 or more");
    if (!h->is_virtual)
        return pl__push_failure(L, PL_ESTATE, "the engine runs on real time");
    pl_engine_advance(h->engine, seconds);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:fd() -> descriptor to poll for reading */
static int engine_fd(lua_State *L, pl__handle_t *h) {
    lua_pushinteger(L, pl_engine_fd(h->engine));
    return 1;
}

/* e:timeout() -> seconds to wait at most, -1: for ever */
static int engine_timeout(lua_State *L, pl__handle_t *h) {
    int milliseconds = pl_engine_timeout(h->engine);
    if (milliseconds < 0)
        lua_pushinteger(L, -1);
    else
        lua_pushnumber(L, (lua_Number)milliseconds / 1000);
    return 1;
}

/* ---- numbers ----------------------------------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_count(lua_State *L, const char *name, lua_Integer count) {
    lua_pushinteger(L, count);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool flag) {
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

static void set_store_facts(lua_State *L, const pl_store_stats_t *store) {
    set_count(L, "commits", (lua_Integer)store->commits);
    set_count(L, "ops", (lua_Integer)store->ops);
    set_count(L, "changes", (lua_Integer)(store->changes + store->claims));
    set_count(L, "claims", (lua_Integer)store->claims);
    set_count(L, "batches", (lua_Integer)store->batches);
    set_count(L, "checkpoints", (lua_Integer)store->checkpoints);
    set_count(L, "store_wakeups", (lua_Integer)store->wakeups);
    set_count(L, "reading_us", (lua_Integer)store->reading_us);
    if (store->unreachable_since) {
        lua_pushnumber(L, (lua_Number)store->unreachable_since / 1e6);
        lua_setfield(L, -2, "unreachable_since");
    }
}

/* Sets "path"; "file", which is the same for every path that leads to it, and which a store in memory has not; and
 * "log_size" and "log_time" (seconds since the epoch): one of them changes with every commit of any process, but for
 * two within a tick of the file system's clock. Looking at the file, rather than asking the store, wakes nobody. Both
 * paths are the store's, so they are used before anything is made that might run a finalizer. */
static void set_paths(lua_State *L, const char *path, const char *log_path) {
    struct stat file, log;
    bool has_file = strcmp(path, ":memory:") != 0 && stat(path, &file) == 0;
    bool has_log = log_path && stat(log_path, &log) == 0;
    set_text(L, "path", path);
    if (has_file) {
        lua_pushfstring(L, "%I:%I", (lua_Integer)file.st_dev, (lua_Integer)file.st_ino);
        lua_setfield(L, -2, "file");
    }
    if (has_log) {
        set_count(L, "log_size", (lua_Integer)log.st_size);
        lua_pushnumber(L, (lua_Number)log.st_mtim.tv_sec + (lua_Number)log.st_mtim.tv_nsec / 1e9);
        lua_setfield(L, -2, "log_time");
    }
}

/* e:facts() -> table. coroutines: managed ones that are not over; coroutines_idle: threads kept for later. */
static int engine_facts(lua_State *L, pl__handle_t *h) {
    pl_engine_facts_t facts;
    lua_createtable(L, 0, 31);
    if (pl__handle_refuse(L, h))
        return 3;
    pl_engine_facts(h->engine, &facts);
    set_paths(L, facts.path, facts.log);
    set_text(L, "version", PL_VERSION);
    set_text(L, "store_kind", facts.store_kind);
    set_text(L, "store_version", facts.store_version);
    set_text(L, "uv_version", facts.uv_version);
    set_text(L, "durability", facts.durability_full ? "full" : "normal");
    set_flag(L, "no_worker", facts.no_worker);
    set_flag(L, "stopping", facts.stopping);
    set_count(L, "worker", facts.worker);
    set_count(L, "worker_number", facts.worker_number);
    set_count(L, "executing", facts.executing);
    set_count(L, "waiting", facts.waiting);
    set_count(L, "buffered", facts.buffered);
    set_count(L, "other_workers", facts.other_workers);
    set_count(L, "executed", (lua_Integer)facts.executed);
    set_count(L, "loop_wakeups", (lua_Integer)facts.loop_wakeups);
    set_count(L, "coroutines", h->live_count);
    set_count(L, "coroutines_idle", h->workers->idle);
    set_store_facts(L, &facts.store);
    return 1;
}

void pl__facts_register(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "new_id", engine_new_id },
        { "new_name", engine_new_name },
        { "new_ids", engine_new_ids },
        { "id_text", engine_id_text },
        { "id_parse", engine_id_parse },
        { "sign", engine_sign },
        { "verify", engine_verify },
        { "random", engine_random },
        { "now", engine_now },
        { "due", engine_due },
        { "steady", engine_steady },
        { "advance", engine_advance },
        { "fd", engine_fd },
        { "timeout", engine_timeout },
        { "facts", engine_facts },
        { NULL, NULL },
    };
    pl__methods_set(L, METHODS);
    lua_pushcfunction(L, engine_id_time);
    lua_setfield(L, -2, "id_time");
}
