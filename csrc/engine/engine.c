/*
 * engine.c - life of an engine: opening in steps, closing in reverse, facts.
 *
 * Opening: clock and randomness, loop and handles, store, worker, peers. Each step that fails undoes the ones before
 * it, through the same close. Closing gives claims back (leave), lets the store finish what is queued, then closes
 * every uv handle and pumps the loop until each close callback has run: only then is the memory freed.
 */
#include "engine/engine.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"

enum { CONCURRENCY_DEFAULT = 64 };
#define WAITING_MEMORY_DEFAULT ((size_t)256 * 1024 * 1024)
#define LEASE_DEFAULT 15.0
#define STOP_GRACE_DEFAULT 30.0
#define TOMBSTONE_DEFAULT (9 * 24 * 3600.0)
#define DAY_US (24 * 3600 * PL_USEC_PER_SEC)
#define DONE_DEFAULT (30 * DAY_US)
#define ABORTED_DEFAULT (90 * DAY_US)
#define JOURNALS_DONE_DEFAULT (7 * DAY_US)
#define JOURNALS_ABORTED_DEFAULT (30 * DAY_US)

void pl_engine_options_init(pl_engine_options_t *options) {
    *options = (pl_engine_options_t){ .durability_full = true,
                                      .concurrency = CONCURRENCY_DEFAULT,
                                      .stop_grace = STOP_GRACE_DEFAULT,
                                      .retention = { .done = DONE_DEFAULT,
                                                     .aborted = ABORTED_DEFAULT,
                                                     .dead = -1,
                                                     .journals_done = JOURNALS_DONE_DEFAULT,
                                                     .journals_aborted = JOURNALS_ABORTED_DEFAULT },
                                      .sweeps = true };
}

void pl_engine_guard_locks(void) {
    pl_store_guard_locks();
}

/* ---- callbacks from the store thread ----------------------------------------------------------------------- */

static void wake_from_store(void *data) {
    pl_engine_t *engine = data;
    uv_async_send(&engine->wake);
}

static void log_to_host(void *data, int level, const char *text) {
    pl_engine_t *engine = data;
    engine->host.log(engine->host.data, level, text);
    if (engine->has_wake)
        uv_async_send(&engine->wake);
}

/* ---- loop handles ------------------------------------------------------------------------------------------ */

static void wake_cb(uv_async_t *handle) {
    pl_engine_t *engine = handle->data;
    pl__scheduler_collect(engine);
    pl__scheduler_execute(engine);
    if (engine->host.turn)
        engine->host.turn(engine->host.data);
}

static void flush_cb(uv_prepare_t *handle) {
    pl_engine_t *engine = handle->data;
    pl__outbox_flush(engine);
    pl__timers_arm(engine); /* callbacks of this turn may have started timers */
    if (engine->awake_since)
        pl__histogram_add(&engine->lag_us, PL_HISTOGRAM_TIME_FIRST, pl_clock_monotonic_us() - engine->awake_since);
    engine->awake_since = 0;
}

static void awake_cb(uv_check_t *handle) {
    pl_engine_t *engine = handle->data;
    engine->awake_since = pl_clock_monotonic_us();
}

void pl__handle_closed(uv_handle_t *handle) {
    pl_engine_t *engine = handle->data;
    engine->handles--;
}

static void added(pl_engine_t *engine, uv_handle_t *handle, bool keeps_alive) {
    handle->data = engine;
    engine->handles++;
    if (!keeps_alive)
        uv_unref(handle);
}

static int open_handles(pl_engine_t *engine) {
    uv_loop_t *loop = engine->loop;
    if (uv_async_init(loop, &engine->wake, wake_cb) != 0)
        return PL_ENOMEM;
    added(engine, (uv_handle_t *)&engine->wake, engine->has_own_loop);
    engine->has_wake = true;
    uv_prepare_init(loop, &engine->flush);
    added(engine, (uv_handle_t *)&engine->flush, false);
    uv_prepare_start(&engine->flush, flush_cb);
    uv_check_init(loop, &engine->awake);
    added(engine, (uv_handle_t *)&engine->awake, false);
    uv_check_start(&engine->awake, awake_cb);
    uv_idle_init(loop, &engine->again);
    added(engine, (uv_handle_t *)&engine->again, engine->has_own_loop);
    uv_timer_init(loop, &engine->due);
    added(engine, (uv_handle_t *)&engine->due, engine->has_own_loop);
    uv_timer_init(loop, &engine->limit);
    added(engine, (uv_handle_t *)&engine->limit, engine->has_own_loop);
    uv_signal_init(loop, &engine->interrupt);
    added(engine, (uv_handle_t *)&engine->interrupt, false);
    uv_signal_init(loop, &engine->terminate);
    added(engine, (uv_handle_t *)&engine->terminate, false);
    return PL_OK;
}

static int open_loop(pl_engine_t *engine, struct uv_loop_s *loop, pl_error_t *error) {
    engine->loop = loop;
    if (!loop) {
        if (uv_loop_init(&engine->own_loop) != 0)
            return PL__FAIL(error, PL_ENOMEM, "cannot make an event loop");
        engine->loop = &engine->own_loop;
        engine->has_own_loop = true;
    }
    int rc = open_handles(engine);
    return rc == PL_OK ? PL_OK : PL__FAIL(error, rc, "cannot make an event loop");
}

/* All handles of an engine are parts of it. What a program has made of `data` of its own may be anything. */
static void close_handle(uv_handle_t *handle, void *data) {
    const pl_engine_t *engine = data;
    uintptr_t at = (uintptr_t)handle, first = (uintptr_t)engine;
    if (at >= first && at < first + sizeof *engine && !uv_is_closing(handle))
        uv_close(handle, pl__handle_closed);
}

static void close_loop(pl_engine_t *engine) {
    if (!engine->loop)
        return;
    engine->has_wake = false;
    uv_walk(engine->loop, close_handle, engine);
    while (engine->handles > 0)
        uv_run(engine->loop, UV_RUN_NOWAIT);
    if (engine->has_own_loop)
        uv_loop_close(&engine->own_loop);
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static int open_store(pl_engine_t *engine, const pl_engine_options_t *options, pl_error_t *error) {
    pl_store_options_t store = {
        .path = options->path,
        .driver = options->driver,
        .durability_full = options->durability_full,
        .vfs = options->vfs,
        .serves = options->serve_queues,
        .file_mode = options->file_mode,
        .must_exist = options->must_exist,
        .clock = &engine->clock,
        .log = &engine->log,
        .wake = wake_from_store,
        .data = engine,
        .lease_seconds = options->lease_seconds > 0 ? options->lease_seconds : LEASE_DEFAULT,
        .tombstone_seconds = options->tombstone_seconds > 0 ? options->tombstone_seconds : TOMBSTONE_DEFAULT,
        .storage_limit = options->storage_limit,
        .retention = options->retention,
        .sweeps = options->sweeps,
    };
    return pl_store_open(&engine->store, &store, error);
}

static int join_workers(pl_engine_t *engine, pl_error_t *error) {
    char host[256];
    size_t size = sizeof host;
    if (uv_os_gethostname(host, &size) != 0)
        strcpy(host, "localhost");
    pl_op_t *op = pl_op_new(PL_VERB_join);
    if (!op)
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    op->u.join = (pl_op_join_t){
        .host = pl_str(host), .pid = getpid(), .version = PL_STR_LIT(PL_VERSION), .is_idle = engine->no_worker
    };
    int rc = pl_store_call(engine->store, op);
    if (rc == PL_OK) {
        engine->worker = op->u.join.worker;
        engine->peers.others = op->u.join.others;
        pl_ids_init(&engine->ids, op->u.join.number, op->u.join.floor, pl__secret_mix(engine));
    } else {
        PL__FAIL(error, rc, "cannot become a worker: %s",
                 op->error.message[0] ? op->error.message : pl_result_text(rc));
    }
    pl_op_free(op);
    return rc;
}

static void init_base(pl_engine_t *engine, const pl_engine_options_t *options) {
    engine->host = options->host;
    engine->concurrency = options->concurrency > 0 ? options->concurrency : CONCURRENCY_DEFAULT;
    engine->waiting_bytes_max = options->waiting_memory > 0 ? options->waiting_memory : WAITING_MEMORY_DEFAULT;
    engine->durability_full = options->durability_full;
    engine->no_worker = options->no_worker;
    engine->sweeps = options->sweeps;
    engine->forks = pl__fork_count();
    engine->must_look = true;
    engine->listens_at = -1;
    engine->stop_grace = pl_clock_from_seconds(options->stop_grace);
    if (options->virtual_time)
        pl_clock_init_virtual(&engine->clock, pl_clock_from_seconds(options->virtual_start));
    else
        pl_clock_init_system(&engine->clock);
    engine->wall_offset = pl_clock_offset();
    if (options->seed)
        pl_random_init_seed(&engine->random, options->seed);
    else
        pl_random_init_system(&engine->random);
    if (options->host.log)
        engine->log = (pl_log_t){ log_to_host, engine };
    pl__scheduler_init(engine);
}

int pl_engine_open(pl_engine_t **out, const pl_engine_options_t *options, pl_error_t *error) {
    *out = NULL;
    pl__process_fill();
    pl_engine_t *engine = pl__alloc(sizeof *engine);
    if (!engine)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", options->path);
    init_base(engine, options);
    int rc = open_loop(engine, options->loop, error);
    if (rc == PL_OK)
        rc = open_store(engine, options, error);
    if (rc == PL_OK)
        rc = pl__secret_init(engine, error);
    if (rc == PL_OK)
        rc = pl__secret_check_ids(engine, error);
    if (rc == PL_OK)
        rc = join_workers(engine, error);
    if (rc == PL_OK && (rc = pl__peers_watch(engine)) != PL_OK)
        PL__FAIL(error, rc, "%s: cannot watch for other workers", options->path);
    if (rc != PL_OK) {
        pl_engine_close(engine);
        return rc;
    }
    pl__peers_ask(engine); /* whoever died before us leaves tasks behind */
    *out = engine;
    return PL_OK;
}

/* ---- closing ----------------------------------------------------------------------------------------------- */

static void free_ops(pl_op_t *op) {
    for (pl_op_t *next; op; op = next) {
        next = op->next;
        pl_op_free(op);
    }
}

static void close_store(pl_engine_t *engine) {
    if (!engine->store)
        return;
    pl_store_end_sessions(engine->store);
    pl__scheduler_release_buffer(engine);
    pl__outbox_flush(engine);
    pl_op_t *op = engine->worker ? pl_op_new(PL_VERB_leave) : NULL;
    if (op)
        pl_store_call(engine->store, op);
    pl_op_free(op);
    free_ops(engine->failed.head);
    pl_store_close(engine->store);
}

void pl_engine_close(pl_engine_t *engine) {
    if (!engine || !pl_engine_usable(engine))
        return; /* after fork the threads are not ours: forget, do not touch */
    engine->closing = true;
    pl__signals_unlisten(engine);
    pl__peers_close(engine);
    close_store(engine);
    close_loop(engine);
    pl__gates_free(engine);
    pl__free(engine);
}

/* ---- facts ------------------------------------------------------------------------------------------------- */

pl_id_t pl_engine_new_id(pl_engine_t *engine) {
    return pl_ids_next(&engine->ids, &engine->clock);
}

pl_usec_t pl_engine_now(const pl_engine_t *engine) {
    return pl_clock_now(&engine->clock);
}

pl_usec_t pl_engine_due(const pl_engine_t *engine) {
    return pl_clock_due(&engine->clock);
}

pl_usec_t pl_engine_steady(const pl_engine_t *engine) {
    return pl_clock_steady(&engine->clock);
}

struct uv_loop_s *pl_engine_loop(pl_engine_t *engine) {
    return engine->loop;
}

int pl_engine_random(pl_engine_t *engine, void *out, size_t size) {
    return pl_random_bytes(&engine->random, out, size);
}

void pl_engine_facts(pl_engine_t *engine, pl_engine_facts_t *facts) {
    pl_store_facts_t kept;
    pl_store_facts(engine->store, &kept);
    *facts = (pl_engine_facts_t){
        .worker = engine->worker,
        .worker_number = engine->ids.worker,
        .executing = engine->executing,
        .waiting = engine->waiting,
        .buffered = engine->buffer.len + engine->gated,
        .other_workers = engine->peers.others,
        .executed = engine->executed,
        .loop_wakeups = engine->turns,
        .durability_full = engine->durability_full,
        .no_worker = engine->no_worker,
        .stopping = engine->stopping,
        .path = kept.path,
        .log = kept.log,
        .store_kind = kept.driver,
        .store_version = kept.version,
        .uv_version = uv_version_string(),
    };
    pl_store_stats(engine->store, &facts->store);
}
