/*
 * claim.c - claiming: the end of a transaction, where ready tasks become claims of this worker.
 *
 * Tasks pushed in a transaction are inserted at its end. When the ready index was empty and this process has room,
 * they are born claimed: that saves the entry in the ready index and its removal.
 */
#include <stdlib.h>

#include "store/sqlite/db.h"
#include "store/stage/abort.h"

enum { PROMOTE_MIN = 256, CLAIM_MAX = 8192, CHUNK_MIN = 16, CHUNK_FIRST = 64, CHUNK_MAX = 2048 };
enum { FINALS_READ = 4 };
#define CLAIM_BYTES_MAX ((size_t)4 * 1024 * 1024) /* of arguments and values in the claims of one transaction */

typedef struct {
    pl_claim_t *head, **tail;
    int len;
    size_t bytes;
    pl__slab_t *slab;
} claims_t;

static void claims_free(claims_t *claims) {
    for (pl_claim_t *claim = claims->head, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
}

/* An abort came while the task was claimed by a worker that is gone, or waited: run and finalize become abort. Its row
 * may be among `rows`. */
static int turn_into_abort(pl__conn_t *conn, pl_claim_t *claim, pl__rows_t *rows, bool *gone) {
    const pl_stage_t *stage = claim->stage;
    *gone = false;
    if (!stage || !pl__rule_is_overtaken(stage->state, claim->kind))
        return PL_OK;
    pl__abort_t abort = pl__rule_abort_now(&(pl__standing_t){ .state = stage->state, .flags = stage->flags });
    PL__TRY(pl__rows_flush(conn, rows));
    if (abort.aborts) { /* the task that it has becomes the one that it is to be given */
        claim->kind = PL_TASK_ABORT;
        claim->tries = 0;
        return pl__sql_run(conn, PL__SQL_TASK_SET_KIND, NULL, "ii", (int64_t)claim->task, (int64_t)PL_TASK_ABORT);
    }
    *gone = true;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)claim->task));
    return pl__stage_set_final(conn, stage->id, abort.to);
}

static size_t claim_bytes(const pl_claim_t *claim) {
    size_t bytes = claim->payload.len + claim->request.len + (claim->stage ? claim->stage->args.len : 0);
    for (size_t i = 0; i < claim->slots_len; i++)
        bytes += claim->slots[i].value.len;
    return bytes;
}

/* What the claim tells of its queue. */
static int copy_queue(pl__conn_t *conn, int64_t id, pl_claim_t *claim) {
    PL__TRY(pl__queue_name(conn, id, &claim->arena, &claim->queue));
    const pl__queue_t *queue = pl__queue_by_id(conn, id);
    claim->queue_id = id;
    claim->permits = queue && queue->max_concurrent > 0 ? (int)queue->permit.most : 0;
    return queue && claim->kind == PL_TASK_PUSH ? pl__arena_copy(&claim->arena, pl_str(queue->target), &claim->target)
                                                : PL_OK;
}

/* Takes claim: into the list, or away when there is nothing left to do. */
static int complete_claim(pl__conn_t *conn, claims_t *claims, pl_claim_t *claim, pl__rows_t *rows,
                          const pl__pending_t *task) {
    bool gone = false;
    int rc = copy_queue(conn, task->queue, claim);
    bool has_stage = claim->kind < PL_TASK_PUSH;
    claim->claimed = conn->steady;
    if (rc == PL_OK && has_stage)
        rc = pl__stage_of_claim(conn, claim, task->stage ? task->stage : claim->task);
    if (rc == PL_OK)
        rc = turn_into_abort(conn, claim, rows, &gone);
    if (rc == PL_OK && has_stage && !claim->stage) { /* its tree was cleaned up */
        gone = true;
        rc = pl__rows_flush(conn, rows);
        if (rc == PL_OK)
            rc = pl__task_end(conn, claim->task);
    }
    if (rc != PL_OK || gone) {
        pl_claim_free(claim);
        return rc;
    }
    claim->bytes = claim_bytes(claim);
    claim->is_plain = !claim->name.ptr;
    *claims->tail = claim;
    claims->tail = &claim->next;
    claims->len++;
    claims->bytes += claim->bytes;
    return PL_OK;
}

/* What is claimed at birth. Its row may wait for others: should there be more to write about it, they come first. */
static int insert_claimed(pl__conn_t *conn, pl__rows_t *rows, size_t i) {
    const pl__pending_t *task = &conn->pending[i];
    return pl__is_ordinary(task) ? pl__rows_add(conn, rows, i, PL__TASK_CLAIMED)
                                 : pl__task_insert(conn, task, PL__TASK_CLAIMED);
}

static int claim_pending(pl__conn_t *conn, claims_t *claims, pl__rows_t *rows, size_t i) {
    PL__TRY(insert_claimed(conn, rows, i));
    const pl__pending_t *task = &conn->pending[i];
    pl_claim_t *claim = pl__claim_new(&claims->slab);
    if (!claim)
        return PL_ENOMEM;
    claim->task = task->id;
    claim->kind = task->kind;
    claim->fence = pl__claim_number(conn->now);
    claim->priority = task->priority;
    claim->eta = task->eta;
    claim->deadline = task->queued ? task->queued->deadline : 0;
    claim->has_detail = task->queued && pl__has_detail(task->queued);
    int rc = pl__arena_copy(&claim->arena, task->name, &claim->name);
    if (rc == PL_OK)
        rc = pl__arena_copy(&claim->arena, task->payload, &claim->payload);
    if (rc == PL_OK && task->queued)
        rc = pl__arena_copy(&claim->arena, task->queued->request, &claim->request);
    if (rc != PL_OK) {
        pl_claim_free(claim);
        return rc;
    }
    return complete_claim(conn, claims, claim, rows, task);
}

typedef struct {
    pl_claim_t *claim;
    pl_id_t stage;
} claimed_t;

/* One row of TASK_READY. Appends to the buffer, which then owns the claim. */
static int read_claim(claims_t *claims, sqlite3_stmt *row, int number, pl__buf_t *list) {
    pl_claim_t *claim = pl__claim_new(&claims->slab);
    if (!claim)
        return PL_ENOMEM;
    claimed_t claimed = { claim, sqlite3_column_int64(row, 7) };
    claim->task = sqlite3_column_int64(row, 0);
    claim->kind = (pl_task_kind_t)sqlite3_column_int(row, 1);
    int before = sqlite3_column_int(row, 2);
    claim->fence = before < number ? number : before + 1;
    claim->tries = sqlite3_column_int(row, 3);
    claim->priority = sqlite3_column_int(row, 4);
    claim->eta = sqlite3_column_int64(row, 5);
    pl__buf_add(list, &claimed, sizeof claimed);
    if (list->rc != PL_OK) {
        pl_claim_free(claim);
        return list->rc;
    }
    claim->has_detail = sqlite3_column_int(row, 10) & PL__TASK_DETAIL;
    claim->executions = sqlite3_column_int(row, 11);
    claim->status = sqlite3_column_int(row, 12);
    PL__TRY(pl__sql_str(row, 6, &claim->arena, &claim->name));
    PL__TRY(pl__sql_str(row, 8, &claim->arena, &claim->payload));
    return pl__sql_str(row, 9, &claim->arena, &claim->request);
}

static int read_ready(pl__conn_t *conn, claims_t *claims, int64_t queue, int limit, pl__buf_t *list) {
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_READY, &row, "ii", queue, (int64_t)limit));
    int rc = pl__sql_step(conn, row, &more), number = pl__claim_number(conn->now);
    while (rc == PL_OK && more) {
        rc = read_claim(claims, row, number, list);
        if (rc == PL_OK)
            rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    return rc;
}

static int take_ready(pl__conn_t *conn, const claimed_t *list, int len) {
    pl_id_t *ids = pl__arena_get(&conn->scratch, (size_t)len * sizeof *ids);
    if (!ids)
        return PL_ENOMEM;
    for (int i = 0; i < len; i++)
        ids[i] = list[i].claim->task;
    for (int first = 0, next; first < len; first = next) { /* nearly always all have the same number */
        int number = list[first].claim->fence;
        for (next = first + 1; next < len && list[next].claim->fence == number; next++)
            continue;
        PL__TRY(pl__ids_claim(conn, number, ids + first, (size_t)(next - first)));
    }
    return PL_OK;
}

static int read_detail(pl__conn_t *conn, pl_claim_t *claim) {
    pl_task_t task = { .id = claim->task };
    PL__TRY(pl__task_read_detail(conn, &claim->arena, &task));
    claim->payload = task.payload;
    claim->request = task.request;
    claim->deadline = task.deadline;
    return PL_OK;
}

static int complete_claimed(pl__conn_t *conn, claims_t *claims, const claimed_t *claimed, int64_t queue) {
    pl_claim_t *claim = claimed->claim;
    pl__rows_t none = { .len = 0 };
    int rc = PL_OK;
    if (claim->has_detail)
        rc = read_detail(conn, claim);
    if (rc == PL_OK)
        return complete_claim(conn, claims, claim, &none, &(pl__pending_t){ .queue = queue, .stage = claimed->stage });
    pl_claim_free(claim);
    return rc;
}

static int claim_of_queue(pl__conn_t *conn, claims_t *claims, int64_t queue, int limit, int *taken) {
    pl__buf_t buf = { 0 };
    int rc = read_ready(conn, claims, queue, limit, &buf);
    const claimed_t *list = (const claimed_t *)(const void *)buf.ptr;
    int len = (int)(buf.len / sizeof *list);
    if (rc == PL_OK)
        rc = take_ready(conn, list, len);
    for (int i = 0; i < len; i++) {
        if (rc == PL_OK)
            rc = complete_claimed(conn, claims, &list[i], queue);
        else
            pl_claim_free(list[i].claim);
    }
    *taken = len;
    pl__buf_free(&buf);
    return rc;
}

/* How many to ask for next, so that memory is bounded by bytes and not by the number of tasks. */
static int chunk_of(const claims_t *claims, int limit) {
    size_t chunk = CHUNK_FIRST;
    if (claims->len > 0) {
        size_t each = claims->bytes / (size_t)claims->len + 1;
        size_t left = claims->bytes < CLAIM_BYTES_MAX ? CLAIM_BYTES_MAX - claims->bytes : 0;
        chunk = left / each;
    }
    if (chunk < CHUNK_MIN)
        chunk = CHUNK_MIN;
    if (chunk > CHUNK_MAX)
        chunk = CHUNK_MAX;
    return chunk < (size_t)limit ? (int)chunk : limit;
}

static bool is_full(const claims_t *claims) {
    return claims->bytes >= CLAIM_BYTES_MAX;
}

/* Up to `limit` of one queue. *more: it has, or may have, more. */
static int claim_some(pl__conn_t *conn, claims_t *claims, int64_t queue, int limit, int *taken, bool *more) {
    *taken = 0;
    *more = true;
    while (*more && *taken < limit && !is_full(claims)) {
        int chunk = chunk_of(claims, limit - *taken), got = 0;
        PL__TRY(claim_of_queue(conn, claims, queue, chunk, &got));
        *taken += got;
        *more = got == chunk;
    }
    return PL_OK;
}

/* As claim_some, within the limits of the queue. What they hold back is not counted as more. */
static int claim_within_limits(pl__conn_t *conn, claims_t *claims, pl__queue_t *queue, int limit, int *taken,
                               bool *more) {
    pl_gates_t gates = { .served = queue->served, .rate = -1 };
    pl_start_reason_t reason;
    bool has_permits = queue->max_concurrent > 0 && !queue->paused;
    *taken = 0;
    *more = false;
    if (has_permits) {
        gates.max_concurrent = queue->max_concurrent;
        PL__TRY(pl__permits_ask(conn, queue, &gates.room));
        conn->blocked = conn->blocked || gates.room < limit; /* perhaps: looking again costs little */
    }
    if (conn->any_limits)
        PL__TRY(pl__limits_ask(conn, queue, &gates));
    int allowed = pl_start_allowed(&gates, limit, &reason), before = claims->len;
    if (allowed > 0)
        PL__TRY(claim_some(conn, claims, queue->id, allowed, taken, more));
    if (conn->any_limits)
        PL__TRY(pl__limits_spend(conn, queue, allowed, *taken));
    if (has_permits)
        PL__TRY(pl__permits_settle(conn, queue, allowed < limit && *taken == allowed, claims->len - before));
    if (allowed < limit && *taken == allowed)
        *more = claims->len - before < *taken; /* what had nothing left to do leaves its place to others */
    pl__limits_note(conn, queue, *taken);
    return PL_OK;
}

/* The queue with ready tasks that comes next after `after`; NULL: there is none. */
static int next_ready_queue(pl__conn_t *conn, int64_t after, pl__queue_t **queue) {
    int64_t id;
    do {
        PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_NEXT_READY, &id, 0, "i", after));
        *queue = pl__queue_by_id(conn, id);
        after = id;
    } while (id && !*queue);
    return PL_OK;
}

/*
 * The queues to claim from, another one first each time. Where there are few all of them are asked; where there are
 * many, only those that have something ready are looked for, so that a turn costs what it does and not what there is.
 */
static int list_queues(pl__conn_t *conn, pl__queue_t ***list, size_t *len) {
    enum { FEW = 32 };
    size_t all = conn->queues_len, first = conn->turn++ % (all ? all : 1);
    pl__queue_t *queue;
    *len = 0;
    *list = pl__arena_get(&conn->scratch, (all + 1) * sizeof **list);
    if (!*list)
        return PL_ENOMEM;
    for (size_t i = 0; i < all && all <= FEW; i++)
        (*list)[(*len)++] = &conn->queues[(first + i) % all];
    if (all <= FEW)
        return PL_OK;
    int64_t begin = conn->queues[first].id - 1, after = begin;
    for (bool wrapped = false; *len < all;) {
        PL__TRY(next_ready_queue(conn, after, &queue));
        if (!queue && wrapped)
            break;
        wrapped = wrapped || !queue;
        after = queue ? queue->id : INT64_MIN;
        if (wrapped && after > begin)
            break;
        if (queue)
            (*list)[(*len)++] = queue;
    }
    return PL_OK;
}

/* Every queue gets its share of what is wanted, the rest goes to whoever has more. */
static int claim_ready(pl__conn_t *conn, claims_t *claims, int wanted) {
    bool more = conn->maybe_ready && conn->queues_len > 0;
    pl__queue_t **queues;
    size_t len = 0;
    int left = wanted;
    if (more) {
        conn->next_token = PL_USEC_NEVER;
        conn->blocked = false;
        PL__TRY(list_queues(conn, &queues, &len));
    }
    int share = len ? (wanted + (int)len - 1) / (int)len : 0;
    for (int pass = 0; pass < 2 && more && left > 0 && !is_full(claims); pass++) {
        more = false;
        for (size_t i = 0; i < len && left > 0; i++) {
            int limit = pass == 0 && share < left ? share : left, taken;
            bool has_more;
            if (!queues[i]->served)
                continue;
            PL__TRY(claim_within_limits(conn, claims, queues[i], limit, &taken, &has_more));
            left -= taken;
            more = more || has_more;
        }
    }
    conn->maybe_ready = more || left <= 0;
    return PL_OK;
}

/* May pending tasks be claimed in the order they were pushed? Only if nothing older or more urgent competes. */
static bool can_be_born_claimed(const pl__conn_t *conn) {
    if (conn->maybe_ready)
        return false;
    for (size_t i = 0; i < conn->pending_len; i++)
        if (conn->pending[i].priority != conn->pending[0].priority)
            return false;
    return true;
}

/* Is it free to start: not to be pulled, and its queue has no limits? */
static bool is_free(pl__conn_t *conn, const pl__pending_t *task, pl__queue_t *queue) {
    if (task->kind == PL_TASK_PULL || !queue || !queue->served)
        return false;
    pl_gates_t gates = { queue->served, queue->paused, queue->rate, 0, 0, queue->max_concurrent, 0 };
    return !conn->any_limits || pl_start_is_free(&gates);
}

static int flush_claiming(pl__conn_t *conn, claims_t *claims, int wanted) {
    bool born_claimed = can_be_born_claimed(conn);
    pl__rows_t rows = { .len = 0 };
    for (size_t i = 0; i < conn->pending_len; i++) {
        const pl__pending_t *task = &conn->pending[i];
        pl__queue_t *queue = pl__queue_by_id(conn, task->queue);
        bool due = claims->len < wanted && task->eta <= conn->due && !is_full(claims);
        if (born_claimed && due && is_free(conn, task, queue)) {
            PL__TRY(claim_pending(conn, claims, &rows, i));
            pl__limits_note(conn, queue, 1);
        } else
            PL__TRY(pl__task_insert_unclaimed(conn, &rows, i));
    }
    PL__TRY(pl__rows_flush(conn, &rows));
    conn->pending_len = 0;
    return PL_OK;
}

static int promote_due(pl__conn_t *conn, int wanted) {
    int promoted = 0;
    if (!conn->due_unknown && conn->next_due > conn->due)
        return PL_OK;
    if (wanted > 0) {
        int limit = wanted * 2 > PROMOTE_MIN ? wanted * 2 : PROMOTE_MIN;
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_PROMOTE, &promoted, "ii", (int64_t)conn->due, (int64_t)limit));
        conn->maybe_ready = conn->maybe_ready || promoted > 0;
    }
    conn->due_unknown = false;
    return pl__sql_int(conn, PL__SQL_TASK_NEXT_DUE, &conn->next_due, PL_USEC_NEVER, "");
}

static int claim_all(pl__conn_t *conn, claims_t *claims, int wanted) {
    PL__TRY(pl__deltas_flush(conn));
    if (wanted > 0) {
        PL__TRY(pl__worker_ensure(conn));
        PL__TRY(claim_ready(conn, claims, wanted));
    }
    PL__TRY(flush_claiming(conn, claims, wanted));
    if (wanted > claims->len && conn->maybe_ready && !is_full(claims))
        PL__TRY(claim_ready(conn, claims, wanted - claims->len));
    conn->has_claims = conn->has_claims || claims->len > 0;
    if (conn->freed && conn->any_limits && conn->maybe_ready)
        conn->notify = true; /* another process may be waiting for a free place that this one does not take */
    return pl__limits_count(conn);
}

/* It became final in this transaction, and is deleted already. */
static bool is_told(const pl__conn_t *conn, pl_id_t stage) {
    const pl_watch_event_t *final = conn->finals;
    while (final && final->stage != stage)
        final = final->next;
    return final ? true : false;
}

/* Watched stages that another process may have made final. */
static int check_watched(pl__conn_t *conn) {
    for (size_t i = 0; i < conn->watched_size; i++) {
        int64_t state;
        if (!conn->watched[i])
            continue;
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)conn->watched[i]));
        if (state < 0 && is_told(conn, conn->watched[i]))
            continue;
        if (state < 0)
            state = PL_STAGE_ABORTED;
        if (state != PL_STAGE_DONE && state != PL_STAGE_ABORTED)
            continue;
        PL__TRY(pl__note_final(conn, conn->watched[i], (pl_stage_state_t)state));
        conn->finals->ours = false;
    }
    return PL_OK;
}

/* Turns the list of finals round into the caller's arena; they are watched no longer once this commits. Of a few, the
 * records go with them: that saves those who wait a read of their own, which takes two changes of threads. Of many,
 * the reading connections read them, while this one goes on. */
static int hand_over_finals(pl__conn_t *conn, pl__arena_t *arena, pl__commit_result_t *turn) {
    int len = 0;
    for (const pl_watch_event_t *final = conn->finals; final; final = final->next)
        len++;
    for (const pl_watch_event_t *final = conn->finals; final; final = final->next) {
        pl_watch_event_t *copy = pl__arena_get(arena, sizeof *copy);
        if (!copy)
            return PL_ENOMEM;
        *copy = *final;
        copy->next = turn->finals;
        turn->finals = copy;
        if (len <= FINALS_READ && !copy->unwatched && pl__stage_is_final(copy->state))
            PL__TRY(pl__stage_read_final(conn, arena, copy));
    }
    return PL_OK;
}

/* Claiming may be what makes a stage final that was to be aborted (turn_into_abort): the fire whose work it was ends
 * here, too, and what starts with that is claimed next time. */
static int end_fires(pl__conn_t *conn) {
    if (!conn->fires.over)
        return PL_OK;
    PL__TRY(pl__fires_flush(conn));
    PL__TRY(pl__deltas_flush(conn));
    return pl__task_flush(conn);
}

int pl__claim_finish(pl__conn_t *conn, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn) {
    claims_t claims = { .tail = &claims.head };
    int wanted = ask->wanted < CLAIM_MAX ? ask->wanted : CLAIM_MAX;
    if (conn->worker == 0)
        wanted = 0;
    conn->ahead = ask->ahead;
    conn->tells = ask->tell;
    conn->finishes++;
    if (ask->look) {
        conn->maybe_ready = conn->due_unknown = conn->maybe_alone = true;
        PL__TRY(check_watched(conn));
        PL__TRY(pl__check_aborts(conn));
        PL__TRY(pl__check_news(conn));
        PL__TRY(pl__queues_load(conn));
    }
    if (conn->blocked || conn->next_token <= conn->steady)
        conn->maybe_ready = true;
    PL__TRY(pl__tasks_promote_alone(conn));
    PL__TRY(promote_due(conn, wanted));
    int rc = claim_all(conn, &claims, wanted);
    pl__claims_made(&claims.slab);
    if (rc == PL_OK)
        rc = end_fires(conn);
    if (rc == PL_OK)
        rc = pl__permits_finish(conn, arena, turn);
    if (rc == PL_OK)
        rc = hand_over_finals(conn, arena, turn);
    if (rc != PL_OK) {
        claims_free(&claims);
        return rc;
    }
    turn->claims = claims.head;
    turn->claims_len = claims.len;
    turn->ready_left = conn->maybe_ready;
    turn->next_due = conn->next_due;
    turn->next_token = conn->next_token;
    turn->notify = conn->notify ? PL__NOTIFY_WORK : 0;
    return PL_OK;
}
