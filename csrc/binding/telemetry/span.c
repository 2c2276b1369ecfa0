/*
 * span.c - spans of attempts that have ended well, as JSON. See span.h; lua/pipeline/telemetry/otlp.lua writes all
 * others, in the same form.
 */
#include "binding/telemetry/span.h"

#include <string.h>

#include <lauxlib.h>

#include "engine/telemetry/event.h"

/* ---- ids -------------------------------------------------------------------------------------------------------- */

/* As in lua/pipeline/telemetry/tracing.lua: another number for each number. */
static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

static uint64_t stage_span(const pl__spans_t *spans, pl_id_t stage) {
    return mixed((uint64_t)stage ^ spans->key);
}

static uint64_t attempt_span(const pl__spans_t *spans, pl_id_t task, int claim) {
    return mixed(mixed((uint64_t)task ^ ~spans->key) + (uint64_t)claim);
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* Text that grows; there is room for all that is put. */
typedef struct {
    char *at;
} out_t;

static inline void put(out_t *out, pl_str_t text) {
    memcpy(out->at, text.ptr, text.len);
    out->at += text.len;
}

#define PUT(out, literal) put(out, PL_STR_LIT(literal))

static void put_hex(out_t *out, uint64_t number) {
    static const char DIGITS[] = "0123456789abcdef";
    number = number ? number : 1; /* an id of nothing but zeros is none */
    for (int shift = 60; shift >= 0; shift -= 4)
        *out->at++ = DIGITS[number >> shift & 15];
}

static void put_number(out_t *out, uint64_t number, int digits_min) {
    char text[20];
    int len = 0;
    for (; number > 0 || len < digits_min; number /= 10)
        text[len++] = (char)('0' + number % 10);
    while (len > 0)
        *out->at++ = text[--len];
}

static void put_id(out_t *out, const pl__handle_t *h, pl_id_t id) {
    char text[PL_ID_TEXT_LEN + 1];
    pl_engine_id_text(h->engine, id, text);
    put(out, (pl_str_t){ text, PL_ID_TEXT_LEN });
}

static void put_attribute(out_t *out, pl_str_t name, pl_str_t value) {
    if (!value.ptr)
        return;
    PUT(out, ",{\"key\":\"");
    put(out, name);
    PUT(out, "\",\"value\":{\"stringValue\":\"");
    put(out, value);
    PUT(out, "\"}}");
}

static bool is_plain(pl_str_t text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* ---- spans ------------------------------------------------------------------------------------------------------ */

static pl_str_t queue_of(const pl_event_t *event) {
    return event->kind != PL_TASK_PULL && !event->queue.ptr ? PL_STR_LIT("default") : event->queue;
}

static void put_attributes(out_t *out, const pl__handle_t *h, const pl_event_t *event, pl_str_t kind, pl_str_t queue) {
    pl_usec_t late = event->time - (event->ended - event->started) - event->eta;
    PUT(out, "{\"key\":\"pipeline.attempt\",\"value\":{\"intValue\":\"");
    put_number(out, (uint64_t)event->attempt, 1);
    PUT(out, "\"}}");
    put_attribute(out, PL_STR_LIT("pipeline.kind"), kind);
    put_attribute(out, PL_STR_LIT("pipeline.class"), event->class_path);
    put_attribute(out, PL_STR_LIT("pipeline.queue"), queue);
    if (event->stage) {
        PUT(out, ",{\"key\":\"pipeline.id\",\"value\":{\"stringValue\":\"");
        put_id(out, h, event->stage);
        PUT(out, "\"}}");
    }
    if (event->eta > 0) {
        uint64_t us = late > 0 ? (uint64_t)late : 0;
        PUT(out, ",{\"key\":\"pipeline.late_seconds\",\"value\":{\"doubleValue\":");
        put_number(out, us / 1000000, 1);
        PUT(out, ".");
        put_number(out, us % 1000000, 6);
        PUT(out, "}}");
    }
}

/* The id of the trace that a stage belongs to by what has started its root; absent: none, or it cannot be read. */
static pl_str_t kept_trace(const pl_event_t *event) {
    enum { BEFORE = 3, DIGITS = 32, WHOLE = 55 }; /* of a `traceparent` */
    bool is_kept = event->stage && event->request.len == WHOLE && is_plain(event->request);
    return is_kept ? (pl_str_t){ event->request.ptr + BEFORE, DIGITS } : PL_STR_NONE;
}

static void put_trace(out_t *out, const pl__handle_t *h, const pl_event_t *event) {
    pl_str_t trace = kept_trace(event);
    if (trace.ptr)
        put(out, trace);
    else
        put_id(out, h, event->root ? event->root : event->stage ? event->stage : event->task);
}

static void put_span(out_t *out, const pl__handle_t *h, const pl_event_t *event) {
    const pl__spans_t *spans = h->spans;
    pl_str_t queue = queue_of(event), kind = pl_str(pl_task_kind_name((int)event->kind));
    pl_str_t name = event->class_path.ptr ? event->class_path : queue.ptr ? queue : PL_STR_LIT("default");
    if (spans->count > 0)
        PUT(out, ",");
    PUT(out, "{\"traceId\":\"");
    put_trace(out, h, event);
    PUT(out, "\",\"spanId\":\"");
    put_hex(out, attempt_span(spans, event->task, event->claim));
    if (event->stage) {
        PUT(out, "\",\"parentSpanId\":\"");
        put_hex(out, stage_span(spans, event->stage));
    }
    PUT(out, "\",\"name\":\"");
    put(out, kind);
    PUT(out, " ");
    put(out, name);
    if (event->kind == PL_TASK_PUSH)
        PUT(out, "\",\"kind\":3,\"startTimeUnixNano\":\"");
    else
        PUT(out, "\",\"kind\":1,\"startTimeUnixNano\":\"");
    put_number(out, (uint64_t)(event->time - (event->ended - event->started)), 1);
    PUT(out, "000\",\"endTimeUnixNano\":\"");
    put_number(out, (uint64_t)event->time, 1);
    PUT(out, "000\",\"attributes\":[");
    put_attributes(out, h, event, kind, queue);
    PUT(out, "],\"events\":[],\"links\":[],\"status\":{\"code\":1}}");
}

static bool is_for_here(const pl__handle_t *h, const pl_event_t *event) {
    bool is_known = !event->request.ptr || kept_trace(event).ptr;
    return h->spans && event->sampled && !event->failed && is_known && event->started != 0 &&
           event->time > event->ended - event->started && event->attempt >= 0 && is_plain(event->queue) &&
           is_plain(event->class_path);
}

bool pl__spans_add(const pl__handle_t *h, const pl_event_t *event) {
    enum { SPAN_MAX = 1200 }; /* without the texts of the event */
    pl__spans_t *spans = h->spans;
    char small[2048], *large = NULL;
    size_t size = SPAN_MAX + 2 * event->class_path.len + 2 * event->queue.len;
    if (!is_for_here(h, event) || (size > sizeof small && !(large = pl__alloc(size))))
        return false;
    out_t out = { large ? large : small };
    const char *begin = out.at;
    put_span(&out, h, event);
    pl__buf_add(&spans->text, begin, (size_t)(out.at - begin));
    pl__free(large);
    spans->count++;
    return true;
}

bool pl__spans_want(const pl__handle_t *h) {
    return h->spans && (h->spans->count == 1 || h->spans->count >= h->spans->batch);
}

void pl__spans_free(pl__spans_t *spans) {
    if (spans)
        pl__buf_free(&spans->text);
    pl__free(spans);
}

/* ---- for Lua ---------------------------------------------------------------------------------------------------- */

/* e:spans_begin(key, batch): attempts that end well are spans from now on. The "event" hook gets ("spans", count) when
 * there is a first one, and when there are `batch` of them. -> true, or nil, code, message */
static int engine_spans_begin(lua_State *L, pl__handle_t *h) {
    lua_Integer key = luaL_checkinteger(L, 2), batch = luaL_checkinteger(L, 3);
    luaL_argcheck(L, batch > 1 && batch <= 100000, 3, "out of range");
    h->spans = h->spans ? h->spans : pl__alloc(sizeof *h->spans);
    if (!h->spans)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    h->spans->key = (uint64_t)key;
    h->spans->batch = (int)batch;
    lua_pushboolean(L, 1);
    return 1;
}

/* e:spans_take() -> JSON of all there are, with commas between them, and how many; nil: none. Those for which there was
 * no memory are lost: then the text is "", with a count. */
static int engine_spans_take(lua_State *L) {
    pl__spans_t *spans = pl__handle_check(L, 1)->spans;
    if (!spans || spans->count == 0)
        return 0;
    bool is_whole = spans->text.rc == PL_OK && spans->text.len > 0;
    lua_pushlstring(L, is_whole ? spans->text.ptr : "", is_whole ? spans->text.len : 0);
    lua_pushinteger(L, spans->count);
    spans->text.len = 0; /* the memory is for the next ones */
    spans->text.rc = PL_OK;
    spans->count = 0;
    return 2;
}

void pl__spans_register(lua_State *L) {
    static const pl__method_t METHODS[] = { { "spans_begin", engine_spans_begin }, { NULL, NULL } };
    pl__methods_set(L, METHODS);
    lua_pushcfunction(L, engine_spans_take);
    lua_setfield(L, -2, "spans_take");
}
