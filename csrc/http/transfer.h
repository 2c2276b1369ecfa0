/*
 * transfer.h - the exchange of a request and its response, as libcurl makes it: what it is told, what it calls, and
 * what its results are.
 */
#ifndef PL_HTTP_TRANSFER_H
#define PL_HTTP_TRANSFER_H

#include "http/fetching.h"

/* Makes the easy handle of the request and tells it everything. Not CURLE_OK: it cannot be sent. */
CURLcode pl__transfer_make(pl_fetch_t *fetch);
/* Goes on with what was paused and is not any more. */
void pl__transfer_unpause(pl_fetch_t *fetch);
/* libcurl is through with it. */
void pl__transfer_finish(pl_fetch_t *fetch, CURLcode result);
int pl__transfer_code(CURLcode result, CURL *easy); /* the PL_E* */

#endif
