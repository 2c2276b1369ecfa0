/*
 * timer_test.c - the heap of timers against a plain sort, with random starts and cancellations. The seed is printed.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/pipeline.h"
#include "support/check.h"
#include "support/host.h"

enum { TIMERS = 500 };

typedef struct {
    pl_timer_t timer;
    int fired;
} probe_t;

static pl_engine_t *engine;
static pl_usec_t last_when;
static uint64_t last_order;
static int fired;

static void fire_cb(pl_timer_t *timer) {
    probe_t *probe = timer->data;
    probe->fired++;
    fired++;
    CHECK(timer->node.when > last_when || (timer->node.when == last_when && timer->node.order > last_order));
    CHECK(timer->node.when == pl_engine_now(engine) && !timer->active);
    last_when = timer->node.when;
    last_order = timer->node.order;
}

static void execute_cb(void *data, pl_claim_t *claim) {
    (void)data;
    pl_claim_free(claim);
}

static void random_timers(unsigned seed) {
    static probe_t probes[TIMERS];
    int expected = 0;
    srand(seed);
    memset(probes, 0, sizeof probes);
    last_when = fired = 0;
    last_order = 0;
    for (int i = 0; i < TIMERS; i++) {
        probes[i].timer.fire = fire_cb;
        probes[i].timer.data = &probes[i];
        pl_engine_timer_start(engine, &probes[i].timer, 1 + rand() % 50);
    }
    for (int i = 0; i < TIMERS / 2; i++) { /* some are cancelled, some of them twice, some start again */
        probe_t *probe = &probes[rand() % TIMERS];
        pl_engine_timer_cancel(engine, &probe->timer);
        if (rand() % 3 == 0)
            pl_engine_timer_start(engine, &probe->timer, 1 + rand() % 50);
    }
    for (int i = 0; i < TIMERS; i++)
        expected += probes[i].timer.active;
    for (int i = 0; i < 60; i++) {
        pl_engine_advance(engine, 1e-6);
        pl_engine_run(engine, PL_RUN_ONCE, -1, false);
    }
    CHECK(fired == expected);
    for (int i = 0; i < TIMERS; i++)
        CHECK(!probes[i].timer.active && probes[i].fired <= 1);
}

int main(void) {
    unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    printf("seed %u\n", seed);
    pl_engine_options_init(&options);
    options.path = ":memory:";
    options.virtual_time = true;
    options.virtual_start = 1e9;
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb };
    CHECK(pl_engine_open(&engine, &options, &error) == PL_OK);
    for (unsigned i = 0; i < 20 && engine; i++)
        random_timers(seed + i);
    pl_engine_close(engine);
    return check_end();
}
