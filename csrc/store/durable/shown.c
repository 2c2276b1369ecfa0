/*
 * shown.c - names of the replies to updates. See shown.h.
 */
#include "store/durable/shown.h"

const char *pl_reply_name(int reply) {
    static const char *const NAMES[] = {
#define X(name, number, text) [number] = text,
        PL_REPLIES(X)
#undef X
    };
    return reply >= 0 && reply < (int)(sizeof NAMES / sizeof *NAMES) ? NAMES[reply] : "?";
}
