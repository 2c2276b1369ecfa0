/*
 * signal_test.c - a signal is heard once: by the run that listens, or, where that has its end already, by whoever was
 * asked before.
 */
#include <signal.h>
#include <string.h>
#include <uv.h>

#include "engine/pipeline.h"
#include "support/check.h"
#include "support/host.h"

static pl_engine_t *engine;
static volatile sig_atomic_t heard; /* by the program */

static void program_cb(int number) {
    heard += number == SIGINT || number == SIGTERM;
}

static int own_heard;

static void own_cb(uv_signal_t *handle, int number) {
    (void)handle;
    own_heard += number == SIGINT;
}

static void execute_cb(void *data, pl_claim_t *claim) {
    (void)data;
    pl_claim_free(claim);
}

typedef struct {
    int number; /* 0: none */
    bool leaves;
} given_t;

static void fire_cb(pl_timer_t *timer) {
    const given_t *given = timer->data;
    if (given->number)
        raise(given->number);
    if (given->leaves)
        pl_engine_leave(engine);
}

/* A run in which that happens. */
static int run(given_t given) {
    pl_timer_t timer = { .fire = fire_cb, .data = &given };
    heard = 0;
    pl_engine_timer_start(engine, &timer, 1000);
    int rc = pl_engine_run(engine, PL_RUN_FOREVER, 10, true);
    pl_engine_timer_cancel(engine, &timer);
    return rc;
}

int main(void) {
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    struct sigaction program;
    memset(&program, 0, sizeof program);
    program.sa_handler = program_cb;
    sigaction(SIGINT, &program, NULL);
    sigaction(SIGTERM, &program, NULL);
    pl_engine_options_init(&options);
    options.path = ":memory:";
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb };
    CHECK(pl_engine_open(&engine, &options, &error) == PL_OK);

    CHECK(run((given_t){ .number = SIGTERM }) == PL_OK); /* it has stopped */
    CHECK(heard == 0);
    CHECK(run((given_t){ .number = SIGINT, .leaves = true }) == PL_OK);
    CHECK(heard == 1);
    CHECK(run((given_t){ .number = SIGTERM, .leaves = true }) == PL_OK);
    CHECK(heard == 1);
    CHECK(run((given_t){ .leaves = true }) == PL_OK);
    CHECK(heard == 0);

    /* who listens between two runs, too, hears of it in the next one */
    pl_engine_listen(engine, true);
    CHECK(run((given_t){ .number = SIGINT }) == PL_EINTR);
    pl_engine_listen(engine, false);
    CHECK(heard == 0);
    pl_engine_listen(engine, true);
    CHECK(run((given_t){ .number = SIGINT, .leaves = true }) == PL_OK);
    CHECK(heard == 0);
    CHECK(run((given_t){ .number = 0 }) == PL_EINTR);
    pl_engine_listen(engine, false);
    CHECK(heard == 0);
    pl_engine_listen(engine, true);
    CHECK(run((given_t){ .number = SIGINT, .leaves = true }) == PL_OK);
    pl_engine_listen(engine, false);
    CHECK(heard == 1);

    /* a handle of the program in the loop hears each once, and whoever it has taken the place of does not */
    uv_signal_t own;
    uv_signal_init(pl_engine_loop(engine), &own);
    uv_signal_start(&own, own_cb, SIGINT);
    CHECK(run((given_t){ .number = SIGINT, .leaves = true }) == PL_OK);
    CHECK(run((given_t){ .leaves = true }) == PL_OK); /* the loop comes to it */
    CHECK(own_heard == 1 && heard == 0);
    uv_close((uv_handle_t *)&own, NULL);

    pl_engine_close(engine);
    return check_end();
}
