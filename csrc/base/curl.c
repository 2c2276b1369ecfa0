/*
 * curl.c - libcurl, loaded when the first request is made. See curl.h.
 */
#include "base/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/process.h"

#define LIBRARY "libcurl.so.4" /* the same name since 7.16: what was added later is looked for by function */

pl__curl_t pl__curl;
static char problem[160]; /* none: loaded */

/* Returns the address of the function, or NULL with the problem noted. */
static void *find(void *library, const char *name) {
    void *address = dlsym(library, name);
    if (!address)
        snprintf(problem, sizeof problem, "%s has no %s: install libcurl 7.87 or newer", LIBRARY, name);
    return address;
}

static void load(void) {
    pl__pipe_spare();
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *why = dlerror();
        snprintf(problem, sizeof problem, "libcurl cannot be loaded: %s", why ? why : LIBRARY);
        return;
    }
    /* an address of an object is taken for one of a function, as POSIX promises for dlsym */
#define X(name)                                                                                                        \
    {                                                                                                                  \
        void *address = find(library, "curl_" #name);                                                                  \
        if (!address)                                                                                                  \
            return;                                                                                                    \
        memcpy(&pl__curl.name, &address, sizeof address);                                                              \
    }
    PL__CURL_FUNCTIONS(X)
#undef X
    if (pl__curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        snprintf(problem, sizeof problem, "libcurl cannot be initialized");
}

int pl__curl_load(pl_error_t *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return problem[0] ? PL__FAIL(error, PL_EOTHER, "%s", problem) : PL_OK;
}
