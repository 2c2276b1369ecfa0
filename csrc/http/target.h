/*
 * target.h - what a request asks for (RFC 9112 section 3.2), and the grammar of a host (RFC 9110 section 7.2).
 *
 * Nothing is decoded here. A path is handed on as it was sent, but only if everybody decodes it to the same: each
 * percent sign has its two digits, and no zero byte comes out. A query is the program's own: there a percent sign may
 * stand alone, and so may the marks that browsers send as they are.
 */
#ifndef PL_HTTP_TARGET_H
#define PL_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"

typedef struct {
    pl_str_t authority; /* of the absolute form; absent in the others */
    pl_str_t path;      /* begins with a slash, or is "*" */
    pl_str_t query;     /* without the question mark; empty if there is none */
} pl__target_t;

/*
 * Reads `text`, which borrows until the target is no longer used; there is a NUL behind its end, and one takes the
 * place of the question mark. `is_options`: the method may ask for the server as a whole.
 *
 * Returns NULL, or static: what is wrong with it.
 */
const char *pl__target_read(char *text, size_t len, bool is_options, pl__target_t *target);

/* Whether it is a host with or without a port. The empty text is a host: a request may have none (RFC 9112 3.2). */
bool pl__host_is_valid(pl_str_t host);

#endif
