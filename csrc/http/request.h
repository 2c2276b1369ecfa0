/*
 * request.h - what the HTTP client is asked for: checked before anything is sent, and copied.
 */
#ifndef PL_HTTP_REQUEST_H
#define PL_HTTP_REQUEST_H

#include "base/curl.h"
#include "http/fetch.h"

/* PL_EINVAL, with *error saying what it is. */
int pl__fetch_request_check(const pl_fetch_request_t *request, pl_error_t *error);
/* Copies it into the arena; its headers become *lines, as libcurl takes them, in the arena as well. */
int pl__fetch_request_copy(pl__arena_t *arena, const pl_fetch_request_t *request, pl_fetch_request_t *copy,
                           struct curl_slist **lines);

#endif
