/*
 * peer.c - other workers on the same store: asking for those that are gone, and receiving what others notify.
 *
 * How one process hears of another, and knows that it lives, is the store's driver's. Here is when to look: when a
 * notice comes; some time after that of a death, because the system may tell of it before it has ended; slowly as long
 * as there are others, for what no notice has told. Where nobody notifies the store is looked at now and then, less
 * often the longer nothing is found.
 */
#include <stdatomic.h>

#include "engine/engine.h"

enum {
    CHECK_MS = 5000,  /* slow safety check, only while there may be others */
    SUSPECT_MS = 500, /* a second look at a worker whose lease is over */
    AGAIN_MS = 500,   /* after a look that failed */
    LOOKS = 3,        /* quick looks after a death */
    POLL_MIN_MS = 50, /* between two looks where nobody notifies */
    POLL_MAX_MS = 5000
};
static const uint64_t look_ms[LOOKS + 1] = { 0, 500, 60, 10 };

/* Others may have written something. */
static void look(pl_engine_t *engine) {
    pl__outbox_wake(engine, true);
    if (engine->host.news)
        engine->host.news(engine->host.data, 0);
}

/* ---- asking the store who is gone -------------------------------------------------------------------------- */

static void check_cb(uv_timer_t *handle) {
    pl__peers_ask(handle->data);
    look(handle->data); /* and for what no notice has told */
}

static void ask_later(pl_engine_t *engine, const char *why) {
    pl_log(&engine->log, PL_LOG_WARNING, "cannot look for workers that are gone (%s): will look again", why);
    if (engine->peers.has_check && !engine->closing)
        uv_timer_start(&engine->peers.check, check_cb, AGAIN_MS, 0);
}

void pl__peers_ask(pl_engine_t *engine) {
    if (!engine->peers.possible || engine->peers.asking || engine->closing)
        return;
    pl_op_t *op = pl_op_new(PL_VERB_rescue);
    if (!op) {
        ask_later(engine, pl_result_text(PL_ENOMEM));
        return;
    }
    op->owner = engine;
    engine->peers.asking = true;
    pl_engine_submit(engine, op);
}

static bool is_known(const pl__peers_t *peers, pl_id_t id) {
    const pl_id_t *known = (const pl_id_t *)(const void *)peers->known.ptr;
    size_t len = peers->known.len / sizeof *known, i = 0;
    while (i < len && known[i] != id)
        i++;
    return i < len;
}

/* Whoever listens hears of these, also if it hears of no attempts: they are few. */
static void tell(pl_engine_t *engine, pl_event_what_t what, const pl_peer_t *peer) {
    pl__event_tell(engine, &(pl_event_t){ .what = what, .worker = peer->number, .pid = peer->pid });
}

/* Who has come or gone since the last look; those of the first one were there before. */
static void compare(pl_engine_t *engine, const pl_op_rescue_t *rescue) {
    pl__peers_t *peers = &engine->peers;
    if (engine->closing)
        return;
    for (size_t i = 0; i < rescue->peers_len; i++) {
        const pl_peer_t *peer = &rescue->peers[i];
        if (peer->is_gone)
            tell(engine, PL_EVENT_LOST, peer);
        else if (peers->has_known && !is_known(peers, peer->id))
            tell(engine, PL_EVENT_JOINED, peer);
    }
    peers->has_known = true;
    peers->known.len = 0;
    for (size_t i = 0; i < rescue->peers_len; i++)
        if (!rescue->peers[i].is_gone)
            pl__buf_add(&peers->known, &rescue->peers[i].id, sizeof rescue->peers[i].id);
    peers->known.rc = PL_OK; /* without memory some are told of again */
}

void pl__peers_answer(pl_engine_t *engine, const pl_op_t *op) {
    pl__peers_t *peers = &engine->peers;
    const pl_op_rescue_t *rescue = &op->u.rescue;
    peers->asking = false;
    if (op->rc != PL_OK) {
        ask_later(engine, op->error.message[0] ? op->error.message : pl_result_text(op->rc));
        return;
    }
    peers->others = rescue->others;
    compare(engine, rescue);
    pl__report_recorded(engine, rescue->lost);
    if (rescue->workers > 0)
        pl_log(&engine->log, PL_LOG_INFO, "%d worker(s) gone, %d task(s) returned to their queues", rescue->workers,
               rescue->tasks);
    if (!peers->has_check || engine->closing)
        return;
    if (peers->looks > 0)
        uv_timer_start(&peers->check, check_cb, look_ms[peers->looks--], 0);
    else if (rescue->others > 0 || peers->polls)
        uv_timer_start(&peers->check, check_cb, rescue->suspects > 0 ? SUSPECT_MS : CHECK_MS, 0);
    else
        uv_timer_stop(&peers->check);
}

/* ---- receiving --------------------------------------------------------------------------------------------- */

static void notice_cb(uv_poll_t *handle, int status, int events) {
    pl_engine_t *engine = handle->data;
    pl__peers_t *peers = &engine->peers;
    bool work, gone;
    (void)events;
    if (status < 0 || !pl_engine_usable(engine) || engine->closing)
        return;
    pl_store_receive(engine->store, &work, &gone);
    if (gone)
        peers->looks = peers->death_is_certain ? LOOKS : 0;
    if (gone || (work && peers->others == 0))
        pl__peers_ask(engine);
    if (work)
        look(engine);
}

/* ---- looking, where nobody notifies ------------------------------------------------------------------------ */

static void poll_cb(uv_timer_t *handle) {
    pl_engine_t *engine = handle->data;
    pl__peers_t *peers = &engine->peers;
    if (!pl_engine_usable(engine) || engine->closing)
        return;
    bool is_busy = engine->executed != peers->executed;
    peers->executed = engine->executed;
    peers->pause_ms = is_busy ? POLL_MIN_MS : peers->pause_ms * 2;
    if (peers->pause_ms > POLL_MAX_MS)
        peers->pause_ms = POLL_MAX_MS;
    look(engine);
    uv_timer_start(&peers->poll, poll_cb, peers->pause_ms, 0);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void added(pl_engine_t *engine, uv_handle_t *handle) {
    handle->data = engine;
    engine->handles++;
    uv_unref(handle);
}

static int watch_notices(pl_engine_t *engine, int fd) {
    pl__peers_t *peers = &engine->peers;
    if (uv_poll_init(engine->loop, &peers->notices, fd) != 0)
        return PL_ENOMEM;
    peers->listens = true;
    added(engine, (uv_handle_t *)&peers->notices);
    return uv_poll_start(&peers->notices, UV_READABLE, notice_cb) == 0 ? PL_OK : PL_EIO;
}

static int watch_clock(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    if (uv_timer_init(engine->loop, &peers->poll) != 0)
        return PL_ENOMEM;
    added(engine, (uv_handle_t *)&peers->poll);
    peers->polls = true;
    peers->pause_ms = POLL_MIN_MS;
    return uv_timer_start(&peers->poll, poll_cb, peers->pause_ms, 0) == 0 ? PL_OK : PL_EIO;
}

int pl__peers_watch(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    pl_store_peers_t facts;
    pl_store_peers(engine->store, &facts);
    peers->possible = facts.possible;
    peers->death_is_certain = facts.death_is_certain;
    if (!facts.possible)
        return PL_OK;
    if (uv_timer_init(engine->loop, &peers->check) != 0)
        return PL_ENOMEM;
    peers->has_check = true;
    added(engine, (uv_handle_t *)&peers->check);
    return facts.listen_fd >= 0 ? watch_notices(engine, facts.listen_fd) : watch_clock(engine);
}

bool pl__peers_may_come(const pl_engine_t *engine) {
    return engine->peers.listens || engine->peers.polls;
}

/* The store is about to close the descriptor. */
void pl__peers_close(pl_engine_t *engine) {
    if (engine->peers.listens)
        uv_poll_stop(&engine->peers.notices);
    pl__buf_free(&engine->peers.known);
}

/* ---- fork -------------------------------------------------------------------------------------------------- */

/* After a fork the threads of an engine are not there. */
bool pl_engine_usable(const pl_engine_t *engine) {
    return engine->forks == pl__fork_count();
}
