/*
 * driver.c - a second store: all of it in memory, written in the slowest and plainest way. For tests.
 *
 * It proves that csrc/store/driver.h is a seam, for the conformance suite passes on it; and it is the model that random
 * op lists are compared with (model_test.c). So nothing here is remembered that can be counted: what a stage waits for
 * is looked up each time, what may start is sorted each time, and a transaction that breaks is undone by a copy of
 * everything, made when it began.
 *
 * There is one process and one worker: nobody is rescued. It has no SQL, no backup, and nothing to check. Its texts
 * live until it is closed, and results borrow them. Where there is no memory it stops the program.
 */
#include "driver.h"

#include "queues.h"
#include "reads.h"
#include "runs.h"
#include "shown.h"
#include "tasks.h"
#include "view.h"

/* ---- the worker, and settings ------------------------------------------------------------------------------------ */

static void do_join(pl__conn_t *m, pl_op_t *op) {
    pl_op_join_t *join = &op->u.join;
    join->worker = 1;
    join->floor = join->others = 0;
    m->joined = *join;
    m->joined.host = text(m, join->host);
}

static void do_leave(pl__conn_t *m, pl_op_t *op) {
    (void)op;
    EACH(task_t, task, TASKS)
    task->state = task->state == CLAIMED ? READY : task->state;
}

static void do_rescue(pl__conn_t *m, pl_op_t *op) {
    (void)m;
    op->u.rescue.workers = op->u.rescue.tasks = op->u.rescue.others = op->u.rescue.suspects = 0;
}

static void do_meta(pl__conn_t *m, pl_op_t *op) {
    pl_op_meta_t *meta = &op->u.meta;
    meta_t *found = NULL;
    EACH(meta_t, each, METAS)
    found = pl_str_eq(each->key, meta->key) ? each : found;
    bool sets = meta->write && !(found && meta->if_absent);
    if (!found && sets)
        *(found = ADD(meta_t, METAS)) = (meta_t){ text(m, meta->key), PL_STR_NONE };
    if (sets)
        found->value = text(m, meta->value);
    op->rc = found ? PL_OK : PL_ENOTFOUND;
    meta->value = found ? found->value : PL_STR_NONE;
}

static void do_repair(pl__conn_t *m, pl_op_t *op) {
    (void)m;
    op->rc = PL_ENOTFOUND;
}

static void do_check(pl__conn_t *m, pl_op_t *op) {
    (void)m;
    op->u.check.next = 0;
    op->u.check.len = 0;
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

#define ALMOST 1e-6

static double tokens_of(pl__conn_t *m, const queue_t *queue) {
    double size = queue->set.bucket_size < 0 ? 5 : queue->set.bucket_size;
    if (!queue->has_tokens)
        return size;
    double past = (double)(m->now - queue->tokens_time) / (double)PL_USEC_PER_SEC;
    double tokens = queue->tokens + past * queue->set.rate;
    return tokens >= size + 1 ? size : tokens;
}

/* How many tasks of the queue may start now. */
static int allowed(pl__conn_t *m, const queue_t *queue, int wanted) {
    double size = queue->set.bucket_size < 0 ? 5 : queue->set.bucket_size, tokens = tokens_of(m, queue);
    int free = queue->set.max_concurrent > 0 ? queue->set.max_concurrent - count(m, queue, CLAIMED) : wanted;
    if (queue->set.paused || queue->set.rate == 0 || !pl_queue_is_served(m->options.serves, queue->set.name))
        return 0;
    free = free < wanted ? free : wanted;
    tokens = (tokens < size ? tokens : size) + ALMOST;
    if (queue->set.rate > 0 && tokens < free)
        free = tokens < 1 ? 0 : (int)tokens;
    return free > 0 ? free : 0;
}

typedef struct {
    pl_claim_t *head, **tail;
    int len;
    pl__slab_t *slab;
} claims_t;

/* An abort that came while the task waited takes its place. False: nothing is left to do. */
static bool has_work(pl__conn_t *m, task_t *task, pl_stage_t *stage) {
    bool is_control = task->is.kind == PL_TASK_RUN || task->is.kind == PL_TASK_FINALIZE;
    if (task->is.kind >= PL_TASK_PUSH)
        return true;
    if (!stage) {
        end(m, task);
        return false;
    }
    if (!is_control || stage->state != PL_STAGE_ABORTING)
        return true;
    if (!(stage->flags & PL_STAGE_HAS_FINALIZED)) {
        drop(m, TASKS, task);
        become_final(m, stage, PL_STAGE_ABORTED);
        return false;
    }
    task->is.kind = PL_TASK_ABORT;
    task->is.tries = 0;
    return true;
}

static void claim_task(pl__conn_t *m, claims_t *claims, task_t *task) {
    bool is_run = task->is.kind == PL_TASK_RUN;
    pl_stage_t *stage = stage_of(m, task->stage ? task->stage : task->is.id), *copy;
    started(m, task->is.queue);
    task->state = CLAIMED;
    int number = pl__claim_number(m->now);
    task->claim = task->claim < number ? number : task->claim + 1;
    if (!has_work(m, task, stage))
        return;
    pl_claim_t *claim = pl__claim_new(&claims->slab);
    if (!claim)
        abort();
    claim->task = task->is.id;
    claim->kind = task->is.kind;
    claim->fence = task->claim;
    claim->tries = task->is.tries;
    claim->priority = task->is.priority;
    claim->eta = task->is.eta;
    claim->claimed = pl_clock_steady(m->options.clock);
    claim->queue = task->is.queue;
    claim->name = task->is.name;
    claim->payload = task->is.payload;
    claim->request = task->is.request;
    claim->target = task->is.kind == PL_TASK_PUSH ? queue_of(m, task->is.queue, true)->set.target : PL_STR_NONE;
    claim->deadline = task->is.deadline;
    claim->is_plain = !task->is.name.ptr;
    claim->executions = task->executions;
    claim->status = task->is.status;
    if (task->is.kind < PL_TASK_PUSH) {
        claim->stage = copy = room(&claim->arena, sizeof *copy);
        *copy = view(m, stage, !is_run);
        if (!is_run || stage->inputs_len > 0)
            claim->slots = slots_of(m, &claim->arena, stage, 1, true, !is_run, &claim->slots_len);
    }
    *claims->tail = claim;
    claims->tail = &claim->next;
    claims->len++;
}

/* False: there was nothing to claim. */
static bool claim_of(pl__conn_t *m, claims_t *claims, queue_t *queue, int wanted) {
    const task_t *all = sorted(m, by_start);
    size_t len = m->len[TASKS];
    int most = allowed(m, queue, wanted), taken = 0;
    double tokens = tokens_of(m, queue);
    for (size_t i = 0; i < len && taken < most; i++) {
        if (all[i].state != READY || all[i].is.queue.ptr != queue->set.name.ptr)
            continue;
        claim_task(m, claims, task_of(m, all[i].is.id));
        taken++;
    }
    if (queue->set.rate < 0 || taken == 0)
        return taken > 0;
    queue->has_tokens = true;
    queue->tokens = tokens - taken > 0 ? tokens - taken : 0;
    queue->tokens_time = m->now;
    return true;
}

/* What the loop is told besides claims: when to come back. */
static void tell(pl__conn_t *m, pl__commit_result_t *turn) {
    EACH(task_t, task, TASKS) {
        if (task->state == DELAYED && task->is.eta < turn->next_due && task->is.eta < PL_USEC_MAX)
            turn->next_due = task->is.eta;
    }
    EACH(queue_t, queue, QUEUES) {
        double tokens = tokens_of(m, queue);
        if (count(m, queue, READY) == 0)
            continue;
        turn->ready_left = turn->ready_left || allowed(m, queue, 1) > 0;
        if (queue->set.rate <= 0 || queue->set.paused || tokens + ALMOST >= 1)
            continue;
        pl_usec_t next = pl_clock_add(m->now, pl_clock_from_seconds((1 - tokens) / queue->set.rate));
        turn->next_token = next < turn->next_token ? next : turn->next_token;
    }
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static void read_clock(pl__conn_t *m) {
    m->now = pl_clock_now(m->options.clock);
    if (m->now == 0) /* it stands for no time */
        m->now = 1;
    m->due = pl_clock_due(m->options.clock);
}

static int memory_begin(pl__conn_t *m, pl_error_t *error) {
    (void)error;
    read_clock(m);
    for (int i = 0; i < LISTS; i++)
        memcpy(m->before[i], m->items[i], (m->len_before[i] = m->len[i]) * sizes[i]);
    m->finals = NULL;
    m->rc = PL_OK;
    return PL_OK;
}

static int memory_verb(pl__conn_t *m, pl_op_t *op) {
    static void (*const verbs[PL_VERB_COUNT])(pl__conn_t * m, pl_op_t * op) = {
        [PL_VERB_start] = do_start,
        [PL_VERB_outcome] = do_outcome,
        [PL_VERB_finalized] = do_finalized,
        [PL_VERB_task_done] = do_task_done,
        [PL_VERB_tasks_done] = do_tasks_done,
        [PL_VERB_task_add] = do_task_add,
        [PL_VERB_fill] = do_fill,
        [PL_VERB_retry] = do_retry,
        [PL_VERB_abort] = do_abort,
        [PL_VERB_resume] = do_resume,
        [PL_VERB_status] = do_status,
        [PL_VERB_cleanup] = do_cleanup,
        [PL_VERB_release] = do_release,
        [PL_VERB_rescue] = do_rescue,
        [PL_VERB_watch] = do_watch,
        [PL_VERB_join] = do_join,
        [PL_VERB_leave] = do_leave,
        [PL_VERB_meta] = do_meta,
        [PL_VERB_stage_get] = do_stage_get,
        [PL_VERB_tree_get] = do_tree_get,
        [PL_VERB_tree_page] = do_tree_page,
        [PL_VERB_roots_list] = do_roots_list,
        [PL_VERB_ids_find] = do_ids_find,
        [PL_VERB_roots_find] = do_roots_find,
        [PL_VERB_why_get] = do_why_get,
        [PL_VERB_tasks_find] = do_tasks_find,
        [PL_VERB_queues_seen] = do_queues_seen,
        [PL_VERB_workers_get] = do_workers_get,
        [PL_VERB_counts_get] = do_counts_get,
        [PL_VERB_failures_get] = do_failures_get,
        [PL_VERB_check] = do_check,
        [PL_VERB_repair] = do_repair,
        [PL_VERB_claim_check] = do_claim_check,
        [PL_VERB_queue_set] = do_queue_set,
        [PL_VERB_queue_get] = do_queue_get,
        [PL_VERB_queue_stats] = do_queue_stats,
        [PL_VERB_lease] = do_lease,
        [PL_VERB_lease_modify] = do_lease_modify,
        [PL_VERB_task_delete] = do_task_delete,
        [PL_VERB_purge] = do_purge,
        [PL_VERB_dead_list] = do_dead_list,
        [PL_VERB_dead_revive] = do_dead_revive,
        [PL_VERB_dead_purge] = do_dead_purge,
        [PL_VERB_journal] = do_journal,
        [PL_VERB_suspend] = do_suspend,
        [PL_VERB_signal] = do_signal,
        [PL_VERB_flow_set] = do_flow_set,
        [PL_VERB_fork] = do_fork,
        [PL_VERB_journal_get] = do_journal_get,
        [PL_VERB_shown_get] = do_shown_get,
        [PL_VERB_flows_get] = do_flows_get,
        [PL_VERB_flows_list] = do_flows_list,
    };
    op->rc = verbs[op->verb] ? PL_OK : PL_ESTATE;
    if (verbs[op->verb])
        verbs[op->verb](m, op);
    go_on(m);
    return m->rc;
}

static int memory_finish(pl__conn_t *m, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                         pl_error_t *error) {
    claims_t claims = { .tail = &claims.head };
    int wanted = m->joined.worker ? ask->wanted : 0;
    (void)error;
    EACH(task_t, task, TASKS) {
        if (wanted > 0 && task->state == DELAYED && task->is.eta <= m->due)
            task->state = READY;
    }
    for (bool more = true; more;) { /* what has nothing left to do leaves its place to others */
        more = false;
        EACH(queue_t, queue, QUEUES)
        more = (claims.len < wanted && claim_of(m, &claims, queue, wanted - claims.len)) || more;
    }
    go_on(m);
    pl__claims_made(&claims.slab);
    turn->claims = claims.head;
    turn->claims_len = claims.len;
    for (const pl_watch_event_t *final = m->finals; final; final = final->next) {
        pl_watch_event_t *copy = room(arena, sizeof *copy);
        *copy = *final;
        copy->next = turn->finals;
        turn->finals = copy;
    }
    tell(m, turn);
    return m->rc;
}

static int memory_commit(pl__conn_t *m, pl_error_t *error) {
    (void)error;
    for (const pl_watch_event_t *final = m->finals; final; final = final->next)
        if (final->state == PL_STAGE_DONE || final->state == PL_STAGE_ABORTED)
            unwatch(m, final->stage);
    pl__arena_free(&m->scratch);
    return PL_OK;
}

static void memory_rollback(pl__conn_t *m) {
    for (int i = 0; i < LISTS; i++)
        memcpy(m->items[i], m->before[i], (m->len[i] = m->len_before[i]) * sizes[i]);
    pl__arena_free(&m->scratch);
}

static void memory_failure(pl__conn_t *m, int rc, pl_error_t *error) {
    PL__FAIL(error, rc, "%s", m->why);
}

static const pl__verbs_t memory_verbs = {
    .begin = memory_begin,
    .verb = {
#define X(name, write, offer) [PL_VERB_##name] = memory_verb,
        PL_VERBS(X)
#undef X
    },
    .finish = memory_finish,
    .commit = memory_commit,
    .rollback = memory_rollback,
    .failure = memory_failure,
};

/* ---- the driver -------------------------------------------------------------------------------------------------- */

static unsigned memory_can(const pl_store_options_t *options) {
    (void)options;
    return 0;
}

static void memory_close(pl__conn_t *m) {
    if (!m)
        return;
    for (int i = 0; i < LISTS; i++) {
        free(m->items[i]);
        free(m->before[i]);
    }
    pl__arena_free(&m->texts);
    pl__arena_free(&m->scratch);
    free(m);
}

static int memory_open(pl__conn_t **conn, const pl_store_options_t *options, pl__role_t role, const pl__conn_t *writer,
                       pl_error_t *error) {
    (void)role;
    (void)writer;
    (void)error;
    pl__conn_t *m = *conn = calloc(1, sizeof *m);
    m->options = *options;
    for (int i = 0; i < LISTS; i++) {
        m->items[i] = calloc(ROOM, sizes[i]);
        m->before[i] = calloc(ROOM, sizes[i]);
    }
    make_queue(m, PL_STR_NONE);
    return PL_OK;
}

static int memory_turn(pl__conn_t *m, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                       pl_error_t *error) {
    return pl__verbs_turn(&memory_verbs, m, ops, ask, arena, turn, error);
}

static void memory_read(pl__conn_t *m, pl_op_t *ops) {
    pl__verbs_read(&memory_verbs, m, ops);
}

static int memory_session_begin(pl__conn_t *m, pl_usec_t span, int64_t *deadline, pl_error_t *error) {
    *deadline = pl_clock_add(pl_clock_monotonic_us(), span);
    return memory_begin(m, error);
}

static int memory_session_apply(pl__conn_t *m, pl_op_t *op) {
    read_clock(m);
    int rc = memory_verb(m, op);
    if (rc == PL_OK)
        return PL_OK;
    memory_failure(m, rc, &op->error);
    memory_rollback(m);
    return rc;
}

static int memory_session_end(pl__conn_t *m, bool commit, const pl__ask_t *ask, pl__arena_t *arena,
                              pl__commit_result_t *turn, pl_error_t *error) {
    read_clock(m);
    if (commit)
        return pl__verbs_end(&memory_verbs, m, PL_OK, ask, arena, turn, error);
    memory_rollback(m);
    return PL_OK;
}

static void memory_keep(pl__conn_t *m, bool idle, int64_t *next, int *aside) {
    (void)m;
    (void)idle;
    (void)next;
    (void)aside;
}

static int memory_aside(pl__conn_t *m, int what) {
    (void)m;
    (void)what;
    return PL_OK;
}

static void memory_facts(const pl__conn_t *m, pl_store_facts_t *facts) {
    (void)m;
    facts->version = "1";
}

const pl_store_driver_t pl__memory_driver = {
    .version = PL__DRIVER_VERSION,
    .op_size = sizeof(pl_op_t),
    .name = "memory",
    .can = memory_can,
    .open = memory_open,
    .close = memory_close,
    .turn = memory_turn,
    .read = memory_read,
    .session_begin = memory_session_begin,
    .session_apply = memory_session_apply,
    .session_end = memory_session_end,
    .keep = memory_keep,
    .aside = memory_aside,
    .facts = memory_facts,
};
