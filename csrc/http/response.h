/*
 * response.h - the head of a response: status line, what the server says itself, and the headers of the handler.
 */
#ifndef PL_HTTP_ANSWER_H
#define PL_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "http/field.h"

/* What the server decides. */
typedef struct {
    unsigned status;
    bool closes;     /* this is the last response on the connection */
    bool says_stays; /* HTTP/1.0 must be told that it is not */
    bool streams;    /* the body has no length: it ends with the connection */
    size_t body_len; /* bytes of the body, also if it is not sent */
} pl__response_t;

enum { PL__DATE_LEN = 29 }; /* of "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Whether names are tokens and values end no header: what a handler gives must pass. */
bool pl__response_is_valid(const pl_http_header_t *headers, size_t count);
/* Whether the headers say that the connection ends. */
bool pl__response_closes(const pl_http_header_t *headers, size_t count);
/* Whether a response of this status has a body. */
bool pl__response_has_body(unsigned status);
/* Adds the head to out, whose rc tells whether there was memory. Headers that are the server's own are left out. */
void pl__response_head(pl__buf_t *out, const pl__response_t *response, const char *date,
                       const pl_http_header_t *headers, size_t count);
/* Returns static: "Not Found"; empty for a status without a name. */
const char *pl__response_reason(unsigned status);
/* Writes the date of RFC 9110 5.6.7, with a NUL behind it. */
void pl__response_date(char date[PL__DATE_LEN + 1], int64_t seconds);

#endif
