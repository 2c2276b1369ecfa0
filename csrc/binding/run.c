/*
 * run.c - running the loop of an engine on a Lua thread. See run.h.
 */
#include "binding/run.h"

#include <stdio.h>

#include "binding/coroutine/coroutine.h"
#include "binding/telemetry/sink.h"

int pl__run(lua_State *L, pl__handle_t *h, pl_run_mode_t mode, double timeout, bool signals) {
    pl__log_drain(L, h);
    h->L = L;
    h->given_back = 0;
    pl__watch_begin_run(h);
    int rc = pl_engine_run(h->engine, mode, timeout, signals);
    pl__watch_end_run(h);
    h->L = NULL;
    if (rc == PL_EINTR || rc == PL_ELIMIT) {
        pl__coroutine_cancel_claims(L, h);
        pl_engine_flush(h->engine);
    }
    if (h->given_back > 0)
        pl__log(h, PL_LOG_WARNING, "%s: %d task%s given back",
                rc == PL_EINTR ? "interrupted by a signal" : "stopping: the time of stop_grace is over", h->given_back,
                h->given_back == 1 ? " was" : "s were");
    pl__log_drain(L, h);
    return rc == PL_ELIMIT ? PL_OK : rc;
}

int pl__run_until(lua_State *L, pl__handle_t *h, bool (*is_over)(const void *data), const void *data) {
    int rc = PL_OK;
    h->stopped = false;
    while (rc == PL_OK && !h->stopped && !is_over(data))
        rc = pl__run(L, h, PL_RUN_NEXT, -1, false);
    pl_engine_release_prefetched(h->engine);
    return rc;
}

int pl__run_refuse(lua_State *L, const pl__handle_t *h, const char *what) {
    if (!h->L && !h->entered && !h->closing)
        return 0;
    char text[80];
    snprintf(text, sizeof text, "%s: the loop is already running; call it from a task or a tasklet", what);
    return pl__push_failure(L, PL_ESTATE, text);
}
