/*
 * field.h - header fields and what may stand in them (RFC 9110 section 5), for the server and the client alike.
 */
#ifndef PL_HTTP_FIELD_H
#define PL_HTTP_FIELD_H

#include <stdbool.h>

#include "base/memory.h"

typedef struct {
    pl_str_t name;
    pl_str_t value;
} pl_http_header_t;

/* A token: the name of a header, or a method. */
bool pl__field_is_token(pl_str_t name);
/* A value that ends no header line, and no string of C. */
bool pl__field_is_value(pl_str_t value);
/* Whether text is the word, which is in lower case, in any case of letters. */
bool pl__field_is_word(pl_str_t text, const char *word);
/* Takes the next element of a comma-separated list off *list, without the blanks around it. Returns whether there was
 * one; an element may be empty. */
bool pl__field_next(pl_str_t *list, pl_str_t *element);
/* The text without blanks and tabs at its ends. */
pl_str_t pl__field_trim(pl_str_t text);

#endif
