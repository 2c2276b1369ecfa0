/*
 * rule.c - when a schedule fires, as a Lua object.
 *
 *   core.cron(text, options)             a cron expression, or a list of them, at the union of which it fires
 *   core.every(seconds, anchor, options) at anchor + k * seconds
 *   core.at(when, options)               once: at seconds since the epoch, or at a local time "2026-12-24T18:00"
 *
 * options = { zone = core.zone(…) (UTC), exclude = list of cron expressions and days "2026-12-25",
 *             day_and_weekday = boolean, gap = "next" | "shift" | "skip", fold = "first" | "last" | "both" }
 *
 * All return the object, or nil, the name of a result and a message. Instants are seconds since the epoch.
 */
#include "binding/calendar/rule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "binding/calendar/zone.h"
#include "binding/handle.h"
#include "calendar/next.h"

#define RULE_NAME "pipeline.Rule"

enum { DAYS_MAX = 10000 };
typedef enum { BY_CRON, BY_EVERY, BY_AT } kind_t;

/* All of it is in the memory of the userdata, but the zone, which is user value 1. */
typedef struct {
    pl_rule_t rule;
    kind_t kind;
    int64_t every_us, anchor_us; /* BY_EVERY */
    int64_t at;                  /* BY_AT */
    pl_cron_t *crons, *excluded; /* those of the rule */
    int64_t *days;
} object_t;

/* What the stack holds while a rule is made. */
enum { WHAT = 1, OPTIONS = 2, EXCLUDE = 3, OBJECT = 4 };

/* ---- options ---------------------------------------------------------------------------------------------------- */

static int option_enum(lua_State *L, const char *name, const char *const words[]) {
    lua_getfield(L, OPTIONS, name);
    int value = luaL_checkoption(L, -1, words[0], words);
    lua_pop(L, 1);
    return value;
}

static bool option_flag(lua_State *L, const char *name) {
    lua_getfield(L, OPTIONS, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* A day begins with four digits and a hyphen, which no expression does. */
static bool is_day(pl_str_t text) {
    return text.len > 4 && text.ptr[4] == '-' && strspn(text.ptr, "0123456789") == 4;
}

/* Pushes entry `i` of the list at the index (or the text there, for 1); raises if it is no string. */
static pl_str_t push_entry(lua_State *L, int index, int i, const char *name) {
    if (lua_istable(L, index))
        lua_geti(L, index, i);
    else
        lua_pushvalue(L, index);
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: entry %d is a %s, a string expected", name, i, luaL_typename(L, -1));
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    return (pl_str_t){ text, len };
}

static int count_entries(lua_State *L, int index, int max, const char *name) {
    if (lua_isnil(L, index))
        return 0;
    if (lua_type(L, index) == LUA_TSTRING)
        return 1;
    if (!lua_istable(L, index))
        luaL_error(L, "%s: a list of strings expected, not a %s", name, luaL_typename(L, index));
    lua_Integer n = luaL_len(L, index);
    if (n > max)
        luaL_error(L, "%s: more than %d entries", name, max);
    return (int)n;
}

/* nil, result, message about an entry. */
static int entry_failed(lua_State *L, const char *name, pl_str_t text, const pl_error_t *error) {
    lua_pushfstring(L, "%s \"%s\": %s", name, text.len <= 200 ? text.ptr : "…", error->message);
    return pl__push_failure(L, error->code, lua_tostring(L, -1));
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

static int compare_days(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* Brings options and exclusions to their places, makes the object and reads the options but `exclude`. `crons`: how
 * many expressions it will have. */
static object_t *make(lua_State *L, kind_t kind, int crons) {
    static const char *const GAPS[] = { "next", "shift", "skip", NULL };
    static const char *const FOLDS[] = { "first", "last", "both", NULL };
    if (lua_isnil(L, OPTIONS)) {
        lua_newtable(L);
        lua_replace(L, OPTIONS);
    }
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_settop(L, OPTIONS);
    lua_getfield(L, OPTIONS, "exclude");
    int excluded = count_entries(L, EXCLUDE, DAYS_MAX, "exclude");
    size_t size = sizeof(object_t) + (size_t)excluded * sizeof(int64_t);
    int expressions = crons + (excluded < PL_RULE_EXCLUDED_MAX ? excluded : PL_RULE_EXCLUDED_MAX);
    object_t *object = lua_newuserdatauv(L, size + (size_t)expressions * sizeof(pl_cron_t), 1);
    memset(object, 0, size + (size_t)expressions * sizeof(pl_cron_t));
    luaL_setmetatable(L, RULE_NAME);
    object->kind = kind;
    object->days = (int64_t *)(void *)(object + 1);
    object->crons = (pl_cron_t *)(void *)((char *)object + size);
    object->excluded = object->crons + crons;
    pl_rule_t *rule = &object->rule;
    rule->crons = object->crons;
    rule->excluded = object->excluded;
    rule->excluded_days = object->days;
    rule->gap = (pl_gap_t)option_enum(L, "gap", GAPS);
    rule->fold = (pl_fold_t)option_enum(L, "fold", FOLDS);
    lua_getfield(L, OPTIONS, "zone");
    rule->zone = lua_isnil(L, -1) ? pl_zone_utc() : pl__zone_check(L, -1);
    lua_setiuservalue(L, OBJECT, 1);
    return object;
}

static int read_exclusion(object_t *object, pl_str_t text, unsigned flags, pl_error_t *error) {
    pl_rule_t *rule = &object->rule;
    if (is_day(text)) {
        int rc = pl_day_parse(text, &object->days[rule->excluded_day_count], error);
        rule->excluded_day_count += rc == PL_OK ? 1 : 0;
        return rc;
    }
    if (rule->excluded_count == PL_RULE_EXCLUDED_MAX)
        return PL__FAIL(error, PL_EINVAL, "more than %d expressions", PL_RULE_EXCLUDED_MAX);
    return pl_cron_parse(text, flags | PL_CRON_EXCLUDES, &object->excluded[rule->excluded_count++], error);
}

/* Reads exclusions; returns the number of values pushed: 0, or 3 when one is wrong. */
static int read_exclusions(lua_State *L, object_t *object, unsigned flags) {
    pl_error_t error = { 0 };
    int count = count_entries(L, EXCLUDE, DAYS_MAX, "exclude");
    for (int i = 1; i <= count; i++) {
        pl_str_t text = push_entry(L, EXCLUDE, i, "exclude");
        if (read_exclusion(object, text, flags, &error) != PL_OK)
            return entry_failed(L, "exclude", text, &error);
        lua_pop(L, 1);
    }
    qsort(object->days, (size_t)object->rule.excluded_day_count, sizeof object->days[0], compare_days);
    return 0;
}

static int refuse_never(lua_State *L) {
    return pl__push_failure(L, PL_EINVAL, "it can never fire: all its times of the next 400 years are excluded");
}

static int core_cron(lua_State *L) {
    pl_error_t error = { 0 };
    pl_fire_t fire;
    lua_settop(L, OPTIONS);
    if (lua_type(L, WHAT) != LUA_TSTRING)
        luaL_checktype(L, WHAT, LUA_TTABLE);
    int count = count_entries(L, WHAT, PL_RULE_CRONS_MAX, "cron");
    luaL_argcheck(L, count > 0, WHAT, "no expression");
    object_t *object = make(L, BY_CRON, count);
    unsigned flags = option_flag(L, "day_and_weekday") ? PL_CRON_DAY_AND_WEEKDAY : 0;
    for (int i = 1; i <= count; i++) {
        pl_str_t text = push_entry(L, WHAT, i, "cron");
        if (pl_cron_parse(text, flags, &object->crons[i - 1], &error) != PL_OK)
            return entry_failed(L, "cron", text, &error);
        lua_pop(L, 1);
    }
    object->rule.cron_count = count;
    int pushed = read_exclusions(L, object, flags);
    if (pushed > 0)
        return pushed;
    bool is_open = object->rule.excluded_count == 0 && object->rule.excluded_day_count == 0;
    if (!is_open && !pl_cron_next(&object->rule, 0, &fire))
        return refuse_never(L);
    lua_settop(L, OBJECT);
    return 1;
}

static int core_every(lua_State *L) {
    lua_Number every = luaL_checknumber(L, 1), anchor = luaL_checknumber(L, 2);
    luaL_argcheck(L, every >= 1 && every <= 1e12, 1, "a second or more expected");
    luaL_argcheck(L, !isnan(anchor), 2, "not a number");
    lua_settop(L, 3);
    lua_remove(L, 2);
    object_t *object = make(L, BY_EVERY, 0);
    object->every_us = pl_clock_from_seconds(every);
    object->anchor_us = pl_clock_from_seconds(anchor);
    int pushed = read_exclusions(L, object, option_flag(L, "day_and_weekday") ? PL_CRON_DAY_AND_WEEKDAY : 0);
    if (pushed > 0)
        return pushed;
    if (pl_every_next(&object->rule, object->every_us, object->anchor_us, 0) == PL_USEC_NEVER)
        return refuse_never(L);
    lua_settop(L, OBJECT);
    return 1;
}

static int core_at(lua_State *L) {
    pl_error_t error = { 0 };
    lua_settop(L, OPTIONS);
    bool is_local = lua_type(L, WHAT) == LUA_TSTRING;
    int64_t local = 0, instant = is_local ? 0 : pl__seconds_check(L, WHAT);
    if (is_local) {
        size_t len;
        const char *text = lua_tolstring(L, WHAT, &len);
        int rc = pl_local_parse((pl_str_t){ text, len }, &local, &error);
        if (rc != PL_OK)
            return pl__push_failure(L, rc, error.message);
    }
    object_t *object = make(L, BY_AT, 0);
    object->at = is_local ? pl_at_instant(&object->rule, local) : instant;
    if (object->at == PL_INSTANT_NEVER)
        return pl__push_failure(L, PL_EINVAL,
                                "the clock is put forward over that time, and the rule for gaps skips it");
    lua_settop(L, OBJECT);
    return 1;
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

static int64_t microseconds_check(lua_State *L, int index) {
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, !isnan(seconds), index, "not a number");
    return pl_clock_from_seconds(seconds);
}

static void push_microseconds(lua_State *L, int64_t us) {
    if (us % PL_USEC_PER_SEC == 0)
        lua_pushinteger(L, us / PL_USEC_PER_SEC);
    else
        lua_pushnumber(L, (lua_Number)us / 1e6);
}

static int push_none(lua_State *L) {
    lua_pushnil(L);
    return 1;
}

/* rule:next(after) -> the first instant after that one at which it fires, and how many times in between fell into gaps
 * and were skipped; nil: none in 400 years */
static int rule_next(lua_State *L) {
    object_t *object = luaL_checkudata(L, 1, RULE_NAME);
    pl_fire_t fire = { .at = PL_INSTANT_NEVER };
    if (object->kind == BY_EVERY) {
        int64_t at = pl_every_next(&object->rule, object->every_us, object->anchor_us, microseconds_check(L, 2));
        if (at == PL_USEC_NEVER)
            return push_none(L);
        push_microseconds(L, at);
        lua_pushinteger(L, 0);
        return 2;
    }
    int64_t after = pl__seconds_check(L, 2);
    if (object->kind == BY_AT)
        fire.at = object->at > after ? object->at : PL_INSTANT_NEVER;
    else if (!pl_cron_next(&object->rule, after, &fire))
        return push_none(L);
    if (fire.at == PL_INSTANT_NEVER)
        return push_none(L);
    lua_pushinteger(L, fire.at);
    lua_pushinteger(L, fire.skipped_gap);
    return 2;
}

/* rule:last(after, until) -> the last instant after the one and not after the other at which it fires; nil: none */
static int rule_last(lua_State *L) {
    object_t *object = luaL_checkudata(L, 1, RULE_NAME);
    pl_fire_t fire;
    if (object->kind == BY_EVERY) {
        int64_t after = microseconds_check(L, 2), until = microseconds_check(L, 3);
        int64_t at = pl_every_last(&object->rule, object->every_us, object->anchor_us, after, until);
        if (at == PL_USEC_NEVER)
            return push_none(L);
        push_microseconds(L, at);
        return 1;
    }
    int64_t after = pl__seconds_check(L, 2), until = pl__seconds_check(L, 3);
    if (object->kind == BY_AT)
        fire.at = object->at;
    else if (!pl_cron_last(&object->rule, after, until, &fire))
        return push_none(L);
    if (fire.at <= after || fire.at > until)
        return push_none(L);
    lua_pushinteger(L, fire.at);
    return 1;
}

/* rule:count(after, until) -> how often it fires after the one instant and not after the other */
static int rule_count(lua_State *L) {
    object_t *object = luaL_checkudata(L, 1, RULE_NAME);
    if (object->kind == BY_EVERY) {
        int64_t after = microseconds_check(L, 2), until = microseconds_check(L, 3);
        lua_pushinteger(L, pl_every_count(&object->rule, object->every_us, object->anchor_us, after, until));
        return 1;
    }
    int64_t after = pl__seconds_check(L, 2), until = pl__seconds_check(L, 3);
    if (object->kind == BY_AT)
        lua_pushinteger(L, object->at > after && object->at <= until ? 1 : 0);
    else
        lua_pushinteger(L, pl_cron_count(&object->rule, after, until));
    return 1;
}

/* core.jitter(name, nominal, jitter, next nominal or nil) -> seconds, less than `jitter`, that the fire is later */
static int core_jitter(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    int64_t nominal = microseconds_check(L, 2), jitter = microseconds_check(L, 3);
    int64_t until_next = lua_isnoneornil(L, 4) ? INT64_MAX : pl_clock_add(microseconds_check(L, 4), -nominal);
    lua_pushnumber(L, (lua_Number)pl_jitter((pl_str_t){ name, len }, nominal, jitter, until_next) / 1e6);
    return 1;
}

void pl__rule_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "next", rule_next },
        { "last", rule_last },
        { "count", rule_count },
        { NULL, NULL },
    };
    static const luaL_Reg FUNCTIONS[] = {
        { "cron", core_cron }, { "every", core_every }, { "at", core_at }, { "jitter", core_jitter }, { NULL, NULL },
    };
    if (luaL_newmetatable(L, RULE_NAME)) {
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_setfuncs(L, FUNCTIONS, 0);
}
