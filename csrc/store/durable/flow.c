/*
 * flow.c - names of the modes of durable functions. See flow.h.
 */
#include "store/durable/flow.h"

const char *pl_flow_mode_name(int mode) {
    static const char *const NAMES[] = {
#define X(name, number, text) [number] = text,
        PL_FLOW_MODES(X)
#undef X
    };
    return mode >= 0 && mode < (int)(sizeof NAMES / sizeof *NAMES) ? NAMES[mode] : "?";
}
