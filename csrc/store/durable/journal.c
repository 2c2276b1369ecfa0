/*
 * journal.c - names of kinds and states of entries. See journal.h.
 */
#include "store/durable/journal.h"

const char *pl_entry_kind_name(int kind) {
    static const char *const NAMES[] = {
#define X(name, number, text) [number] = text,
        PL_ENTRY_KINDS(X)
#undef X
    };
    return kind >= 0 && kind < (int)(sizeof NAMES / sizeof *NAMES) ? NAMES[kind] : "?";
}

const char *pl_entry_state_name(int state) {
    static const char *const NAMES[] = {
#define X(name, number, text) [number] = text,
        PL_ENTRY_STATES(X)
#undef X
    };
    return state >= 0 && state < (int)(sizeof NAMES / sizeof *NAMES) ? NAMES[state] : "?";
}
