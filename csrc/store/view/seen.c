/*
 * seen.c - what all stores share of the verbs that show things: names, and how a text is looked for.
 */
#include "store/view/seen.h"

const char *pl_seen_state_name(int state) {
    static const char *const names[] = {
#define X(name, number, text) [number] = text,
        PL_SEEN_STATES(X)
#undef X
    };
    return state >= 0 && state < PL_SEEN_STATES_LEN ? names[state] : "?";
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool pl_text_has(pl_str_t text, pl_str_t part) {
    for (size_t at = 0; text.ptr && at + part.len <= text.len; at++) {
        size_t same = 0;
        while (same < part.len && lower(text.ptr[at + same]) == lower(part.ptr[same]))
            same++;
        if (same == part.len)
            return true;
    }
    return false;
}

bool pl_seen_has(const pl_seen_task_t *task, pl_str_t part) {
    const pl_str_t texts[] = { task->is.name, task->class_path,     task->key,
                               task->is.tag,  task->is.request,     task->is.payload,
                               task->error,   task->is.error_class, task->is.message };
    bool found = !part.ptr;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !found; i++)
        found = pl_text_has(texts[i], part);
    return found;
}

bool pl_seen_is_wanted(unsigned states, pl_seen_state_t state) {
    return states == 0 || (states & (1U << state));
}
