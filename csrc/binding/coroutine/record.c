/*
 * record.c - records of stages that are to run. See record.h.
 *
 * A record has what the library asks for: no times of its progress, and nothing that cannot be yet.
 *
 * Behind the structure lie the ids (of inputs, of what it comes after, of the slots of outputs), then the texts, then
 * the names of the outputs, one behind the other. Most stages have one output, no inputs, and of the texts two.
 */
#include "binding/coroutine/record.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"

typedef enum { TEXT_CLASS_PATH, TEXT_QUEUE, TEXT_BASE_PATH, TEXT_TARGET, TEXT_KEY, TEXT_ARGS, TEXT_COUNT } text_t;

typedef struct {
    pl_id_t id, root, parent;
    double backoff_seconds, backoff_factor, timeout;
    pl_usec_t created;
    uint32_t ends[TEXT_COUNT]; /* of the texts, counted from the first one */
    uint32_t inputs_len, after_len, outputs_len;
    unsigned flags;
    int attempt, max_attempts, priority;
    uint8_t state, present; /* a bit for each text */
    pl_id_t ids[];
} record_t;

/* In the order of FIELDS; the texts first. */
typedef enum {
    FIELD_ID = TEXT_COUNT,
    FIELD_ROOT,
    FIELD_PARENT,
    FIELD_FLAGS,
    FIELD_ATTEMPT,
    FIELD_MAX_ATTEMPTS,
    FIELD_PRIORITY,
    FIELD_STATE,
    FIELD_BACKOFF_SECONDS,
    FIELD_BACKOFF_FACTOR,
    FIELD_TIMEOUT,
    FIELD_CREATED,
    FIELD_INPUTS,
    FIELD_AFTER,
    FIELD_OUTPUTS,
    FIELD_SOLE_OUTPUT
} field_t;

static const char *const FIELDS[] = {
    "class_path", "queue", "base_path",       "target",         "key",     "args",
    "id",         "root",  "parent",          "flags",          "attempt", "max_attempts",
    "priority",   "state", "backoff_seconds", "backoff_factor", "timeout", "created",
    "inputs",     "after", "outputs",         "sole_output",    NULL,
};

/* ---- made ------------------------------------------------------------------------------------------------------ */

static void texts_of(const pl_stage_t *stage, pl_str_t texts[TEXT_COUNT]) {
    texts[TEXT_CLASS_PATH] = stage->class_path;
    texts[TEXT_QUEUE] = stage->queue;
    texts[TEXT_BASE_PATH] = stage->base_path;
    texts[TEXT_TARGET] = stage->target;
    texts[TEXT_KEY] = stage->key;
    texts[TEXT_ARGS] = stage->args;
}

static const char *text_base(const record_t *record) {
    return (const char *)&record->ids[record->inputs_len + record->after_len + record->outputs_len];
}

static char *put(char *at, const void *bytes, size_t len) {
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

static void copy_ids(record_t *record, const pl_stage_t *stage) {
    char *at = (char *)record->ids;
    at = put(at, stage->inputs, stage->inputs_len * sizeof *stage->inputs);
    (void)put(at, stage->after, stage->after_len * sizeof *stage->after);
    pl_id_t *slots = &record->ids[stage->inputs_len + stage->after_len];
    for (size_t i = 0; i < stage->outputs_len; i++)
        slots[i] = stage->outputs[i].slot;
}

/* How many names of outputs are kept: a sole output is called "default". */
static size_t names_len(size_t outputs_len) {
    return outputs_len > 1 ? outputs_len : 0;
}

/* Each name of an output has its length before it. */
static void copy_texts(record_t *record, const pl_stage_t *stage, const pl_str_t texts[TEXT_COUNT]) {
    char *first = (char *)&record->ids[record->inputs_len + record->after_len + record->outputs_len], *at = first;
    for (int i = 0; i < TEXT_COUNT; i++) {
        at = put(at, texts[i].ptr, texts[i].len);
        record->ends[i] = (uint32_t)(at - first);
        if (texts[i].ptr)
            record->present |= (uint8_t)(1u << i);
    }
    for (size_t i = 0; i < names_len(stage->outputs_len); i++) {
        at = put(at, &stage->outputs[i].name.len, sizeof stage->outputs[i].name.len);
        at = put(at, stage->outputs[i].name.ptr, stage->outputs[i].name.len);
    }
}

static size_t size_of(const pl_stage_t *stage, const pl_str_t texts[TEXT_COUNT]) {
    size_t size = sizeof(record_t);
    size += (stage->inputs_len + stage->after_len + stage->outputs_len) * sizeof(pl_id_t);
    for (int i = 0; i < TEXT_COUNT; i++)
        size += texts[i].len;
    for (size_t i = 0; i < names_len(stage->outputs_len); i++)
        size += sizeof stage->outputs[i].name.len + stage->outputs[i].name.len;
    return size;
}

void pl__record_push(lua_State *L, const pl_stage_t *stage) {
    pl_str_t texts[TEXT_COUNT];
    texts_of(stage, texts);
    record_t *record = lua_newuserdatauv(L, size_of(stage, texts), 0);
    *record = (record_t){ .id = stage->id,
                          .root = stage->root,
                          .parent = stage->parent,
                          .backoff_seconds = stage->backoff_seconds,
                          .backoff_factor = stage->backoff_factor,
                          .timeout = stage->timeout,
                          .created = stage->created,
                          .flags = stage->flags,
                          .attempt = stage->attempt,
                          .max_attempts = stage->max_attempts,
                          .priority = stage->priority,
                          .state = (uint8_t)stage->state,
                          .inputs_len = (uint32_t)stage->inputs_len,
                          .after_len = (uint32_t)stage->after_len,
                          .outputs_len = (uint32_t)stage->outputs_len };
    copy_ids(record, stage);
    copy_texts(record, stage, texts);
    luaL_setmetatable(L, PL__RECORD_TYPE);
}

/* ---- read ------------------------------------------------------------------------------------------------------ */

static void push_text(lua_State *L, const record_t *record, int text) {
    if (!(record->present & 1u << text)) {
        if (text == TEXT_QUEUE)
            lua_pushliteral(L, "default");
        else
            lua_pushnil(L);
        return;
    }
    uint32_t begin = text > 0 ? record->ends[text - 1] : 0;
    lua_pushlstring(L, text_base(record) + begin, record->ends[text] - begin);
}

static void push_ids(lua_State *L, const pl_id_t *ids, size_t len) {
    if (len == 0) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_integer_unless_0(lua_State *L, lua_Integer value) {
    if (value != 0)
        lua_pushinteger(L, value);
    else
        lua_pushnil(L);
}

static const pl_id_t *slots_of(const record_t *record) {
    return &record->ids[record->inputs_len + record->after_len];
}

static void push_outputs(lua_State *L, const record_t *record) {
    const char *at = text_base(record) + record->ends[TEXT_COUNT - 1];
    lua_createtable(L, (int)record->outputs_len, 0);
    for (uint32_t i = 0; i < record->outputs_len; i++) {
        pl_str_t name = PL_STR_LIT("default");
        if (names_len(record->outputs_len) > 0) {
            memcpy(&name.len, at, sizeof name.len);
            name.ptr = at + sizeof name.len;
            at = name.ptr + name.len;
        }
        lua_createtable(L, 0, 2);
        pl__set_str(L, "name", name);
        pl__set_integer(L, "slot", slots_of(record)[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_list(lua_State *L, const record_t *record, field_t field) {
    if (field == FIELD_INPUTS)
        push_ids(L, record->ids, record->inputs_len);
    else if (field == FIELD_AFTER)
        push_ids(L, record->ids + record->inputs_len, record->after_len);
    else if (field == FIELD_OUTPUTS)
        push_outputs(L, record);
    else
        push_integer_unless_0(L, record->outputs_len == 1 ? slots_of(record)[0] : 0);
}

static void push_number(lua_State *L, const record_t *record, field_t field) {
    if (field == FIELD_BACKOFF_SECONDS)
        lua_pushnumber(L, record->backoff_seconds);
    else if (field == FIELD_BACKOFF_FACTOR)
        lua_pushnumber(L, record->backoff_factor);
    else if (field == FIELD_CREATED)
        pl__push_time(L, record->created);
    else if (record->timeout > 0)
        lua_pushnumber(L, record->timeout);
    else
        lua_pushnil(L);
}

static void push_integer(lua_State *L, const record_t *record, field_t field) {
    switch (field) {
    case FIELD_ID:
        lua_pushinteger(L, record->id);
        break;
    case FIELD_ROOT:
        lua_pushinteger(L, record->root);
        break;
    case FIELD_PARENT:
        push_integer_unless_0(L, record->parent);
        break;
    case FIELD_FLAGS:
        lua_pushinteger(L, (lua_Integer)record->flags);
        break;
    case FIELD_ATTEMPT:
        lua_pushinteger(L, record->attempt);
        break;
    case FIELD_MAX_ATTEMPTS:
        lua_pushinteger(L, record->max_attempts);
        break;
    default:
        push_integer_unless_0(L, record->priority);
    }
}

/* Upvalue 1: table from name to field; 2: the metatable of records. */
static int record_index(lua_State *L) {
    if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(2)))
        (void)luaL_checkudata(L, 1, PL__RECORD_TYPE);
    lua_settop(L, 2);
    const record_t *record = lua_touserdata(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER)
        return 1;
    int field = (int)lua_tointeger(L, -1);
    if (field < TEXT_COUNT)
        push_text(L, record, field);
    else if (field < FIELD_STATE)
        push_integer(L, record, (field_t)field);
    else if (field == FIELD_STATE)
        lua_pushstring(L, pl_stage_state_name(record->state));
    else if (field < FIELD_INPUTS)
        push_number(L, record, (field_t)field);
    else
        push_list(L, record, (field_t)field);
    return 1;
}

void pl__record_register(lua_State *L) {
    if (luaL_newmetatable(L, PL__RECORD_TYPE)) {
        lua_newtable(L);
        for (int i = 0; FIELDS[i]; i++) {
            lua_pushinteger(L, i);
            lua_setfield(L, -2, FIELDS[i]);
        }
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, record_index, 2);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
