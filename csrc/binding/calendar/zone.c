/*
 * zone.c - a time zone as a Lua object.
 *
 *   core.zone(name [, directory])   by its IANA name, from the files of tzdata
 *   core.zone(bytes)                from the bytes of a zone file, which begin with "TZif"
 *
 * Both return the object, or nil, the name of a result and a message. Instants are seconds since the epoch.
 */
#include "binding/calendar/zone.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/calendar/zonefile.h"
#include "binding/handle.h"
#include "calendar/civil.h"

#define ZONE_NAME "pipeline.Zone"

/* User value 1 is the directory, 2 the name; both nil for one made of bytes. */
typedef struct {
    pl_zone_t *zone; /* NULL: UTC */
    pl__stamp_t stamp;
} object_t;

static const pl_zone_t *zone_of(const object_t *object) {
    return object->zone ? object->zone : pl_zone_utc();
}

const pl_zone_t *pl__zone_check(lua_State *L, int index) {
    return zone_of(luaL_checkudata(L, index, ZONE_NAME));
}

int64_t pl__seconds_check(lua_State *L, int index) {
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, !isnan(seconds), index, "not a number");
    const lua_Number bound = 1e12;
    return (int64_t)floor(seconds < -bound ? -bound : seconds > bound ? bound : seconds);
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

static int core_zone(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *directory = luaL_optstring(L, 2, PL__ZONE_DIRECTORY);
    pl_error_t error = { 0 };
    int rc;
    lua_settop(L, 2);
    object_t *object = lua_newuserdatauv(L, sizeof *object, 2);
    memset(object, 0, sizeof *object);
    luaL_setmetatable(L, ZONE_NAME);
    if (len >= 4 && !memcmp(text, "TZif", 4)) {
        rc = pl_zone_read(text, len, &object->zone, &error);
    } else {
        rc = pl__zonefile_read(directory, (pl_str_t){ text, len }, &object->zone, &object->stamp, &error);
        lua_pushstring(L, directory);
        lua_setiuservalue(L, -2, 1);
        lua_pushvalue(L, 1);
        lua_setiuservalue(L, -2, 2);
    }
    return rc == PL_OK ? 1 : pl__push_failure(L, rc, error.message);
}

static int zone_gc(lua_State *L) {
    object_t *object = luaL_checkudata(L, 1, ZONE_NAME);
    pl_zone_free(object->zone);
    object->zone = NULL;
    return 0;
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

/* zone:name() -> the name; nil for one made of bytes */
static int zone_name(lua_State *L) {
    luaL_checkudata(L, 1, ZONE_NAME);
    lua_getiuservalue(L, 1, 2);
    return 1;
}

static void push_end(lua_State *L, int64_t instant) {
    if (instant == INT64_MIN || instant == INT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, instant);
}

/* zone:at(instant) -> offset in seconds, is_dst, abbreviation, begin and end of the stretch in which that is so; nil:
 * it has no begin, no end */
static int zone_at(lua_State *L) {
    pl_zone_span_t span;
    pl_zone_span(pl__zone_check(L, 1), pl__seconds_check(L, 2), &span);
    lua_pushinteger(L, span.offset);
    lua_pushboolean(L, span.is_dst);
    lua_pushstring(L, span.abbreviation);
    push_end(L, span.begin);
    push_end(L, span.end);
    return 5;
}

/* zone:local_time(instant) -> "2026-12-24T18:00:00+01:00" */
static int zone_local_time(lua_State *L) {
    pl_zone_span_t span;
    char text[PL_LOCAL_TEXT_MAX];
    int64_t instant = pl__seconds_check(L, 2);
    pl_zone_span(pl__zone_check(L, 1), instant, &span);
    pl_local_text(instant, span.offset, text);
    lua_pushstring(L, text);
    return 1;
}

/* zone:instants("2026-12-24T18:00") -> a list of the 0, 1 or 2 instants; without one, also the instant at which the
 * clock was put forward over that time, and by how many seconds */
static int zone_instants(lua_State *L) {
    const pl_zone_t *zone = pl__zone_check(L, 1);
    pl_zone_instants_t found;
    pl_error_t error = { 0 };
    int64_t local;
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    int rc = pl_local_parse((pl_str_t){ text, len }, &local, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    pl_zone_instants(zone, local, &found);
    lua_createtable(L, found.count, 0);
    for (int i = 0; i < found.count; i++) {
        lua_pushinteger(L, found.at[i]);
        lua_rawseti(L, -2, i + 1);
    }
    if (found.count > 0)
        return 1;
    lua_pushinteger(L, found.gap_at);
    lua_pushinteger(L, found.gap_length);
    return 3;
}

/* zone:digest() -> an integer that differs between zones with other rules */
static int zone_digest(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pl_zone_digest(pl__zone_check(L, 1)));
    return 1;
}

/* zone:changed() -> whether the file has other rules by now than the zone; nil, result, message: it cannot be read. A
 * look at the file's dates is enough as long as nobody has replaced it. */
static int zone_changed(lua_State *L) {
    object_t *object = luaL_checkudata(L, 1, ZONE_NAME);
    pl_error_t error = { 0 };
    bool changed = false;
    lua_getiuservalue(L, 1, 1);
    lua_getiuservalue(L, 1, 2);
    if (object->zone && !lua_isnil(L, -2)) {
        size_t len;
        const char *name = lua_tolstring(L, -1, &len);
        int rc = pl__zonefile_changed(lua_tostring(L, -2), (pl_str_t){ name, len }, object->zone, &object->stamp,
                                      &changed, &error);
        if (rc != PL_OK)
            return pl__push_failure(L, rc, error.message);
    }
    lua_pushboolean(L, changed);
    return 1;
}

void pl__zone_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "name", zone_name },
        { "at", zone_at },
        { "local_time", zone_local_time },
        { "instants", zone_instants },
        { "digest", zone_digest },
        { "changed", zone_changed },
        { NULL, NULL },
    };
    if (luaL_newmetatable(L, ZONE_NAME)) {
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, zone_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_zone);
    lua_setfield(L, -2, "zone");
}
