/*
 * model.c - printed names of states and kinds, and small questions about what a store keeps.
 */
#include "store/model.h"

#include <string.h>

const char *pl_stage_state_name(int state) {
    static const char *const names[] = {
#define X(name, number, text) [number] = text,
        PL_STAGE_STATES(X)
#undef X
    };
    return state >= 0 && state < (int)(sizeof names / sizeof *names) ? names[state] : "?";
}

const char *pl_task_kind_name(int kind) {
    static const char *const names[] = {
#define X(name, number, text) [number] = text,
        PL_TASK_KINDS(X)
#undef X
    };
    return kind >= 0 && kind < (int)(sizeof names / sizeof *names) ? names[kind] : "?";
}

bool pl_queue_is_served(const char *serves, pl_str_t name) {
    if (!serves)
        return true;
    for (const char *end; (end = strchr(serves, '\n')); serves = end + 1)
        if ((size_t)(end - serves) == name.len && memcmp(serves, name.ptr, name.len) == 0)
            return true;
    return false;
}

const pl_slot_t *pl_slots_find(const pl_slot_t *slots, size_t len, pl_id_t id) {
    size_t low = 0, high = len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slots[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < len && slots[low].id == id ? &slots[low] : NULL;
}
