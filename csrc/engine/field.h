/*
 * field.h - what may stand in a header field (RFC 9110 section 5), for the server and the client alike.
 */
#ifndef PL_ENGINE_FIELD_H
#define PL_ENGINE_FIELD_H

#include <stdbool.h>

#include "base/memory.h"

/* A token: the name of a header, or a method. */
bool pl__field_is_token(pl_str_t name);
/* A value that ends no header line, and no string of C. */
bool pl__field_is_value(pl_str_t value);

#endif
