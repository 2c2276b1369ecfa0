/*
 * curl.h - libcurl, loaded when the first request is made.
 *
 * libcurl brings thirty libraries with it (TLS twice, Kerberos, LDAP), which are about a third of the memory of a
 * process at rest and most of the time it takes to load us. Most processes fetch nothing: so it is no part of what we
 * are linked with, but opened by name, and its functions are called through a table: pl__curl.easy_init(…) is
 * curl_easy_init(…) of its manual. What the header says of types and constants is as ever.
 */
#ifndef PL_BASE_CURL_H
#define PL_BASE_CURL_H

#define CURL_DISABLE_TYPECHECK /* it would name the functions */
#include <curl/curl.h>

#include "base/result.h"

#define PL__CURL_FUNCTIONS(X)                                                                                          \
    X(global_init)                                                                                                     \
    X(easy_init)                                                                                                       \
    X(easy_cleanup)                                                                                                    \
    X(easy_getinfo)                                                                                                    \
    X(easy_pause)                                                                                                      \
    X(easy_recv)                                                                                                       \
    X(easy_send)                                                                                                       \
    X(easy_setopt)                                                                                                     \
    X(easy_strerror)                                                                                                   \
    X(multi_init)                                                                                                      \
    X(multi_add_handle)                                                                                                \
    X(multi_assign)                                                                                                    \
    X(multi_cleanup)                                                                                                   \
    X(multi_info_read)                                                                                                 \
    X(multi_remove_handle)                                                                                             \
    X(multi_setopt)                                                                                                    \
    X(multi_socket_action)

#undef curl_easy_getinfo
#undef curl_easy_setopt
#undef curl_multi_setopt

typedef struct pl__curl {
#define X(name) __typeof__(curl_##name) *name;
    PL__CURL_FUNCTIONS(X)
#undef X
} pl__curl_t;

/* Filled by pl__curl_load; not to be used before. */
extern pl__curl_t pl__curl;

/* Loads and initializes libcurl; it stays until the process ends, since others in it may use it. Idempotent, any
 * thread. Fails with PL_EOTHER, also later, and an error that says what is missing. */
int pl__curl_load(pl_error_t *error);

#endif
