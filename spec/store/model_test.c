/*
 * model_test.c - random op lists on SQLite and on the store in memory/, which is written so plainly that it can be
 * believed: results, claims, finals and all that can be read must be the same.
 *
 * A run is a list of steps, each a number of random choices, so that steps can be left out: when a run differs, it is
 * shortened as long as it differs, and printed with its seed. MODEL_SEED=n plays that run alone; without it
 * the same runs are played each time, so that a change is what is tried; MODEL_RUNS=n plays so many others.
 *
 * What a store is free to do is not compared. Which of many queues claims first is such a thing, so there are three
 * kinds of runs: FREE (all that is ready is claimed, with any op), LIMITED (queues have limits; claims are made in
 * turns of their own), NARROW (one queue; a few claims at a time, in turns of their own, and in their order). Another
 * is what a task counts for that is ready but turns out to have nothing left to do: there are none in LIMITED and
 * NARROW.
 *
 * What durable functions write, and what is sent to them, is in model_flows.h.
 *
 * SQLite refuses each transition of a stage that is not in the table of the rules (store/stage/rules.h).
 *
 * The last of the runs are on a driver each transaction of which fails at many places before it is done
 * (support/failing.h).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/memory/driver.h"
#include "store/sqlite/db.h"
#include "store/stage/rules.h"
#include "support/check.h"
#include "support/failing.h"
#include "support/file.h"

enum { STEPS = 90, CHOICES = 10, KNOWN = 512, HELD = 256, OPS = 4, RUNS = 30, FAILING_RUNS = 6, ALL = 1000 };
enum { FREE, LIMITED, NARROW, MODES };

/* X(kind, how often) */
#define KINDS(X)                                                                                                       \
    X(start, 5)                                                                                                        \
    X(run_ok, 12)                                                                                                      \
    X(run_fails, 3)                                                                                                    \
    X(run_aborts, 1)                                                                                                   \
    X(finalized, 4)                                                                                                    \
    X(task_done, 5)                                                                                                    \
    X(tasks_done, 2)                                                                                                   \
    X(task_add, 8)                                                                                                     \
    X(fill, 3)                                                                                                         \
    X(retry, 2)                                                                                                        \
    X(abort, 1)                                                                                                        \
    X(resume, 3)                                                                                                       \
    X(status, 1)                                                                                                       \
    X(cleanup, 2)                                                                                                      \
    X(release, 2)                                                                                                      \
    X(watch, 2)                                                                                                        \
    X(meta, 1)                                                                                                         \
    X(queue_set, 3)                                                                                                    \
    X(lease, 3)                                                                                                        \
    X(lease_modify, 2)                                                                                                 \
    X(task_delete, 2)                                                                                                  \
    X(purge, 1)                                                                                                        \
    X(dead_revive, 1)                                                                                                  \
    X(dead_purge, 1)                                                                                                   \
    X(journal, 6)                                                                                                      \
    X(suspend, 6)                                                                                                      \
    X(signal, 6)                                                                                                       \
    X(flow_set, 3)                                                                                                     \
    X(fork, 2)                                                                                                         \
    X(time, 6)

enum {
#define X(name, weight) DO_##name,
    KINDS(X)
#undef X
        DO_COUNT
};
static const char *const kind_names[] = {
#define X(name, weight) #name,
    KINDS(X)
#undef X
};
static const int weights[] = {
#define X(name, weight) weight,
    KINDS(X)
#undef X
};

typedef struct {
    int number, kind;
    uint32_t choice[CHOICES];
} step_t;

typedef struct {
    pl_id_t id, root, slots[2];
    unsigned flags;
    bool may_be_gone; /* its tree was asked to be deleted */
} known_t;

typedef struct {
    pl_id_t task, parent;
    int claim;
    pl_task_kind_t kind;
    unsigned flags;
    bool is_plain, has_detail;
} held_t;

/* One run: both stores, and what has been learnt from the first of them. */
typedef struct {
    pl_clock_t clock;
    pl__conn_t *sqlite, *reader, *memory;
    int mode;
    known_t known[KNOWN];
    held_t held[HELD];
    pl_task_t leased;
    pl_id_t tasks[KNOWN];
    size_t known_len, held_len, tasks_len;
    char *said[2];
    size_t said_len;
    bool differs;
} run_t;

static uint64_t random_state;

static uint32_t random_number(void) {
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

/* ---- what is seen, as text --------------------------------------------------------------------------------------- */

static void put(FILE *out, const char *name, pl_str_t text) {
    if (text.ptr)
        fprintf(out, " %s='%.*s'", name, (int)text.len, text.ptr);
}

static void put_number(FILE *out, const char *name, int64_t number) {
    if (number)
        fprintf(out, " %s=%" PRId64, name, number);
}

static void put_slots(FILE *out, const pl_slot_t *slots, size_t len) {
    for (size_t i = 0; i < len; i++) {
        fprintf(out, "\n    slot %" PRId64 " filled=%d filler=%" PRId64 " time=%" PRId64, slots[i].id, slots[i].filled,
                slots[i].filler, slots[i].time);
        put(out, "value", slots[i].value);
    }
}

static void put_stage(FILE *out, const pl_stage_t *stage) {
    fprintf(out,
            "\n    stage %" PRId64 " %s root=%" PRId64 " parent=%" PRId64 " flags=%u missing=%d open=%d attempt=%d/%d "
            "priority=%d backoff=%g,%g timeout=%g",
            stage->id, pl_stage_state_name((int)stage->state), stage->root, stage->parent, stage->flags, stage->missing,
            stage->open, stage->attempt, stage->max_attempts, stage->priority, stage->backoff_seconds,
            stage->backoff_factor, stage->timeout);
    put(out, "class", stage->class_path);
    put(out, "queue", stage->queue);
    put(out, "key", stage->key);
    put(out, "args", stage->args);
    put(out, "retry", stage->retry_message);
    put(out, "abort", stage->abort_message);
    put_number(out, "abort_requested", stage->abort_requested);
    put_number(out, "created", stage->created);
    put_number(out, "eta", stage->eta);
    put_number(out, "started", stage->started);
    put_number(out, "finalized", stage->finalized);
    put_number(out, "retry_at", stage->retry_at);
    for (size_t i = 0; i < stage->inputs_len; i++)
        put_number(out, "input", stage->inputs[i]);
    for (size_t i = 0; i < stage->after_len; i++)
        put_number(out, "after", stage->after[i]);
    for (size_t i = 0; i < stage->outputs_len; i++) {
        put(out, "output", stage->outputs[i].name);
        put_number(out, "in", stage->outputs[i].slot);
    }
    if (stage->has_status)
        put(out, "status", stage->status.message);
    put_number(out, "told", stage->has_status ? stage->status.time : 0);
}

static void put_task(FILE *out, const pl_task_t *task) {
    fprintf(out, "\n    task %" PRId64 " %s tries=%d eta=%" PRId64 " retry=%g,%g", task->id,
            pl_task_kind_name((int)task->kind), task->tries, task->eta, task->retry.limit, task->retry.min_backoff);
    put(out, "queue", task->queue);
    put(out, "name", task->name);
    put(out, "payload", task->payload);
    put(out, "tag", task->tag);
    put(out, "error", task->error_class);
    put(out, "message", task->message);
    put_number(out, "first", task->first_try);
    put_number(out, "priority", task->priority);
    put_number(out, "status", task->status);
    put_number(out, "died", task->died);
}

static void put_queue(FILE *out, const pl_queue_settings_t *set) {
    put(out, "\n    queue", set->name);
    fprintf(out, " pull=%d paused=%d removed=%d rate=%g bucket=%g concurrent=%d limit=%g", set->pull, set->paused,
            set->removed, set->rate, set->bucket_size, set->max_concurrent, set->retry.limit);
}

static void put_stats(FILE *out, const pl_queue_stats_t *stats) {
    put(out, "\n    stats", stats->queue);
    fprintf(out, " %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %g", stats->known, stats->tasks,
            stats->in_flight, stats->dead, stats->oldest_eta, stats->executed_last_minute, stats->enforced_rate);
}

static void put_claim(FILE *out, const pl_claim_t *claim) {
    fprintf(out, "claim %" PRId64 " %s number=%d tries=%d,%d,%d priority=%d eta=%" PRId64 " at=%" PRId64 " %g",
            claim->task, pl_task_kind_name((int)claim->kind), claim->fence, claim->tries, claim->executions,
            claim->status, claim->priority, claim->eta, claim->claimed, claim->deadline);
    put(out, "queue", claim->queue);
    put(out, "name", claim->name);
    put(out, "payload", claim->payload);
    put(out, "request", claim->request);
    if (claim->stage)
        put_stage(out, claim->stage);
    put_slots(out, claim->slots, claim->slots_len);
}

static void put_items(FILE *out, const pl_op_t *op) {
    for (size_t i = 0; op->verb == PL_VERB_start && i < op->u.start.len; i++)
        fprintf(out, " %d", op->u.start.stages[i].rc);
    for (size_t i = 0; op->verb == PL_VERB_task_add && i < op->u.task_add.len; i++)
        fprintf(out, " %d", op->u.task_add.tasks[i].rc);
    for (size_t i = 0; op->verb == PL_VERB_tasks_done && i < op->u.tasks_done.len; i++)
        fprintf(out, " %d", op->u.tasks_done.ends[i].refused);
    for (size_t i = 0; op->verb == PL_VERB_task_delete && i < op->u.task_delete.len; i++)
        fprintf(out, " %d", op->u.task_delete.tasks[i].rc);
    for (size_t i = 0; op->verb == PL_VERB_queue_set && i < op->u.queue_set.len; i++)
        fprintf(out, " %d", op->u.queue_set.queues[i].rc);
    for (size_t i = 0; op->verb == PL_VERB_dead_revive && i < op->u.dead_revive.len; i++)
        fprintf(out, " %d", op->u.dead_revive.tasks[i].rc);
    for (size_t i = 0; op->verb == PL_VERB_lease && i < op->u.lease.len; i++)
        put_task(out, &op->u.lease.tasks[i]);
    for (size_t i = 0; op->verb == PL_VERB_dead_list && i < op->u.dead_list.len; i++)
        put_task(out, &op->u.dead_list.tasks[i]);
    for (size_t i = 0; op->verb == PL_VERB_queue_get && i < op->u.queue_get.len; i++)
        put_queue(out, &op->u.queue_get.queues[i]);
    for (size_t i = 0; op->verb == PL_VERB_queue_stats && i < op->u.queue_stats.len; i++)
        put_stats(out, &op->u.queue_stats.queues[i]);
    for (size_t i = 0; op->verb == PL_VERB_tree_get && i < op->u.tree_get.len; i++)
        put_stage(out, &op->u.tree_get.stages[i]);
    for (size_t i = 0; op->verb == PL_VERB_roots_list && i < op->u.roots_list.len; i++)
        put_stage(out, &op->u.roots_list.stages[i]);
}

static void put_failures(FILE *out, const pl_op_failures_get_t *get) {
    for (size_t i = 0; i < get->len; i++) {
        fprintf(out, "\n    failure at=%" PRId64 " %d", get->failures[i].time, get->failures[i].attempt);
        put(out, "worker", get->failures[i].worker);
        put(out, "class", get->failures[i].error_class);
        put(out, "message", get->failures[i].message);
        put(out, "of", get->failures[i].class_path);
        put_number(out, "stage", get->failures[i].stage);
    }
}

static void put_counts(FILE *out, const pl_op_counts_get_t *get) {
    fprintf(out, " stages=%" PRId64 " workers=%" PRId64, get->stages, get->workers);
    for (size_t i = 0; i < get->len; i++) {
        put(out, "\n    count", get->counts[i].queue);
        fprintf(out, " %d %" PRId64 " %" PRId64 " %" PRId64, get->counts[i].held, get->counts[i].ready,
                get->counts[i].delayed, get->counts[i].claimed);
    }
}

static void put_page(FILE *out, const pl_op_tree_page_t *get) {
    fprintf(out, " root=%" PRId64 " len=%zu next=%" PRId64, get->root, get->len, get->next);
    for (const pl_chunk_t *chunk = get->chunks; chunk; chunk = chunk->next) {
        for (size_t i = 0; i < chunk->len; i++) {
            put_stage(out, &chunk->stages[i]);
            fprintf(out, " children=%" PRId64, chunk->stages[i].children);
        }
        put_slots(out, chunk->slots, chunk->slots_len);
    }
}

static void put_flow_op(FILE *out, const pl_op_t *op);

static void put_op(FILE *out, const pl_op_t *op) {
    static const char *const names[] = {
#define X(name, write, offer) #name,
        PL_VERBS(X)
#undef X
    };
    fprintf(out, "%s %s", names[op->verb], pl_result_name(op->rc));
    put_items(out, op);
    if (op->verb == PL_VERB_task_done)
        put_number(out, "died", op->u.task_done.died);
    if (op->verb == PL_VERB_cleanup)
        put_number(out, "deleted", op->u.cleanup.deleted);
    if (op->verb == PL_VERB_resume)
        put_number(out, "stages", op->u.resume.stages);
    if (op->verb == PL_VERB_purge)
        put_number(out, "deleted", op->u.purge.deleted);
    if (op->verb == PL_VERB_dead_purge)
        put_number(out, "deleted", op->u.dead_purge.deleted);
    if (op->verb == PL_VERB_dead_revive)
        put_number(out, "revived", op->u.dead_revive.revived);
    if (op->verb == PL_VERB_lease_modify)
        put_number(out, "until", op->u.lease_modify.until);
    if (op->verb == PL_VERB_watch)
        put_number(out, "state", op->u.watch.state);
    if (op->verb == PL_VERB_meta)
        put(out, "value", op->u.meta.value);
    if (op->verb == PL_VERB_claim_check)
        put_number(out, "live", op->u.claim_check.is_live);
    if (op->verb == PL_VERB_tree_get)
        put_slots(out, op->u.tree_get.slots, op->u.tree_get.slots_len);
    if (op->verb == PL_VERB_roots_list)
        put_number(out, "next", op->u.roots_list.next);
    if (op->verb == PL_VERB_tree_page)
        put_page(out, &op->u.tree_page);
    if (op->verb == PL_VERB_failures_get)
        put_failures(out, &op->u.failures_get);
    if (op->verb == PL_VERB_counts_get)
        put_counts(out, &op->u.counts_get);
    put_flow_op(out, op);
    fputc('\n', out);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Claims and finals, each list in an order of its own unless theirs is to be compared. */
static void put_turn(FILE *out, const pl__commit_result_t *turn, bool in_order) {
    char *lines[ALL];
    size_t len = 0, size;
    for (const pl_claim_t *claim = turn->claims; claim && len < ALL; claim = claim->next) {
        FILE *line = open_memstream(&lines[len++], &size);
        put_claim(line, claim);
        fclose(line);
    }
    if (!in_order)
        qsort(lines, len, sizeof *lines, by_text);
    size_t claims = len;
    for (const pl_watch_event_t *final = turn->finals; final && len < ALL; final = final->next) {
        if (final->state == PL_STAGE_ABORTING || final->state == PL_STAGE_READY)
            continue; /* may be told more than once: see tells_all */
        FILE *line = open_memstream(&lines[len++], &size);
        fprintf(line, "final %" PRId64 " %s", final->stage, pl_stage_state_name((int) final->state));
        fclose(line);
    }
    qsort(lines + claims, len - claims, sizeof *lines, by_text);
    for (size_t i = 0; i < len; i++) /* a final may be told twice */
        if (i <= claims || strcmp(lines[i], lines[i - 1]) != 0)
            fprintf(out, "%s\n", lines[i]);
    while (len > 0)
        free(lines[--len]);
}

/* ---- ops from choices -------------------------------------------------------------------------------------------- */

static pl_id_t id_of(const step_t *step, int i) {
    return 1000 + step->number * 16 + i;
}

static pl_str_t pick_text(uint32_t choice, const char *const *texts, size_t len) {
    return pl_str(texts[choice % len]);
}

static pl_str_t pick_queue(const run_t *run, uint32_t choice) {
    static const char *const queues[] = { "default", "other", NULL };
    return run->mode == NARROW ? PL_STR_LIT("default") : pick_text(choice, queues, 3);
}

static const known_t *pick_known(const run_t *run, uint32_t choice) {
    static const known_t nobody = { .id = 7, .root = 7, .slots = { 7 } };
    return run->known_len ? &run->known[run->known_len - 1 - choice % run->known_len] : &nobody;
}

static const known_t *known_of(const run_t *run, pl_id_t id) {
    for (size_t i = run->known_len; i-- > 0;)
        if (run->known[i].id == id)
            return &run->known[i];
    return NULL;
}

/* A claim of such a task; sometimes, and when there is none, one that nobody has. */
static held_t pick_held(const run_t *run, uint32_t choice, unsigned kinds) {
    for (size_t i = 0; i < run->held_len; i++) {
        held_t held = run->held[(choice + i) % run->held_len];
        if (!(kinds >> held.kind & 1))
            continue;
        held.claim += choice % 16 == 15;
        return held;
    }
    const known_t *stage = pick_known(run, choice);
    return (
        held_t){ .task = stage->id, .claim = run->mode == FREE ? 1 : 99, .kind = PL_TASK_PULL, .flags = stage->flags };
}

static pl_usec_t later(const run_t *run, uint32_t choice) {
    return choice % 4 ? 0 : pl_clock_now(&run->clock) + (int64_t)(choice % 20) * PL_USEC_PER_SEC;
}

static pl_stage_new_t new_stage(const run_t *run, const step_t *step, int i, uint32_t choice) {
    static const unsigned flags[] = { 0,
                                      0,
                                      PL_STAGE_HAS_FINALIZED,
                                      PL_STAGE_ASYNC,
                                      PL_STAGE_ASYNC | PL_STAGE_HAS_FINALIZED,
                                      PL_STAGE_ASYNC | PL_STAGE_HAS_FINALIZED | PL_STAGE_HAS_TRY_CANCEL,
                                      PL_STAGE_DURABLE,
                                      PL_STAGE_DURABLE | PL_STAGE_HAS_FINALIZED };
    static const char *const classes[] = { "t.A", "t.B" };
    return (pl_stage_new_t){ .id = id_of(step, i),
                             .class_path = pick_text(choice, classes, 2),
                             .queue = pick_queue(run, choice >> 2),
                             .args = PL_STR_LIT("args"),
                             .max_attempts = 1 + (int)(choice % 3),
                             .backoff_seconds = 2,
                             .backoff_factor = 2,
                             .priority = (int)(choice >> 4) % 3,
                             .flags = flags[(choice >> 6) % 8],
                             .eta = later(run, choice >> 9) };
}

static void give_second_output(pl_op_t *op, pl_stage_new_t *stage, pl_id_t first, pl_id_t second) {
    pl_output_t *outputs = pl_op_alloc(op, 2 * sizeof *outputs);
    outputs[0] = (pl_output_t){ PL_STR_LIT("default"), first };
    outputs[1] = (pl_output_t){ PL_STR_LIT("more"), second };
    stage->outputs = outputs;
    stage->outputs_len = second ? 2 : 1;
}

static void build_start(const run_t *run, const step_t *step, pl_op_t *op) {
    static const char *const keys[] = { "key-1", "key-2", NULL, NULL, NULL };
    pl_stage_new_t *stage = pl_op_alloc(op, sizeof *stage);
    *stage = new_stage(run, step, 0, step->choice[0]);
    stage->key = pick_text(step->choice[1], keys, 5);
    stage->hold = step->choice[2] % 16 == 0;
    if (step->choice[3] % 4 == 0)
        give_second_output(op, stage, stage->id, id_of(step, 8));
    const known_t *other = pick_known(run, step->choice[5]);
    if (step->choice[4] % 16 == 0 && !other->may_be_gone) /* an id is never used again */
        stage->id = other->id;                            /* there is one: a rule of the store */
    op->u.start = (pl_op_start_t){ stage, 1 };
}

static pl_task_new_t new_task(const run_t *run, const step_t *step, int i, uint32_t choice) {
    static const char *const names[] = { "a", "b", "c", NULL, NULL };
    static const char *const tags[] = { "red", "blue", NULL };
    static const pl_task_kind_t kinds[] = { PL_TASK_PUSH, PL_TASK_DEFERRED, PL_TASK_PULL, PL_TASK_CALLBACK };
    pl_task_new_t task = { .id = id_of(step, 9 + i),
                           .kind = kinds[choice % 4],
                           .queue = pick_queue(run, choice >> 2),
                           .name = pick_text(choice >> 4, names, 5),
                           .payload = PL_STR_LIT("payload"),
                           .priority = (int)(choice >> 7) % 3,
                           .eta = later(run, choice >> 9),
                           .retry = PL_RETRY_NONE };
    if (task.kind == PL_TASK_CALLBACK && run->mode != FREE)
        task.kind = PL_TASK_DEFERRED;
    if (task.kind == PL_TASK_CALLBACK)
        task.stage = pick_known(run, choice >> 5)->id;
    if (task.kind == PL_TASK_PULL)
        task.queue = PL_STR_LIT("pull");
    task.tag = task.kind == PL_TASK_PULL ? pick_text(choice >> 3, tags, 3) : PL_STR_NONE;
    if (choice % 5 == 0) {
        task.retry.limit = choice % 3;
        task.retry.min_backoff = 1;
    }
    if (task.kind == PL_TASK_PUSH && task.name.ptr && choice % 7 == 0)
        task.name_id = run->tasks_len ? run->tasks[choice % run->tasks_len] : 7;
    return task;
}

static void build_task_add(const run_t *run, const step_t *step, pl_op_t *op) {
    size_t len = 1 + step->choice[0] % 3;
    pl_task_new_t *tasks = pl_op_alloc(op, len * sizeof *tasks);
    for (size_t i = 0; i < len; i++)
        tasks[i] = new_task(run, step, (int)i, step->choice[1 + i]);
    op->u.task_add = (pl_op_task_add_t){ tasks, len, step->choice[4] % 3 == 0 };
}

static int by_number(const void *a, const void *b) {
    const pl_id_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Some slots of the tree, ascending. */
static size_t pick_inputs(const run_t *run, pl_id_t root, uint32_t choice, const pl_id_t *own, size_t own_len,
                          pl_id_t *out) {
    size_t len = 0, kept = 0;
    for (size_t i = 0; i < own_len; i++)
        if (choice >> i & 1)
            out[len++] = own[i];
    const known_t *other = pick_known(run, choice >> 4);
    if (other->root == root && choice % 3 == 0)
        out[len++] = other->slots[0];
    qsort(out, len, sizeof *out, by_number);
    for (size_t i = 0; i < len; i++)
        if (i == 0 || out[i] != out[i - 1])
            out[kept++] = out[i];
    return kept;
}

static void add_children(const run_t *run, const step_t *step, pl_op_t *op, const known_t *parent, bool *delegates) {
    pl_op_outcome_t *run_op = &op->u.outcome;
    size_t len = step->choice[1] % 4;
    pl_id_t ids[3];
    run_op->children = pl_op_alloc(op, (len + 1) * sizeof *run_op->children);
    run_op->children_len = len;
    for (size_t i = 0; i < len; i++) {
        pl_stage_new_t *child = &run_op->children[i];
        pl_id_t *inputs = pl_op_alloc(op, 8 * sizeof *inputs);
        *child = new_stage(run, step, (int)i, step->choice[2 + i]);
        size_t count = pick_inputs(run, parent->root, step->choice[5] >> i, ids, i, inputs);
        if (step->choice[8] >> i & 1) {
            child->flags |= PL_STAGE_HAS_FALLBACK;
            child->fallback = PL_STR_LIT("instead");
        }
        bool is_after = step->choice[6] >> i & 1;
        child->inputs = is_after ? NULL : inputs;
        child->inputs_len = is_after ? 0 : count;
        child->after = is_after ? inputs : NULL;
        child->after_len = is_after ? count : 0;
        *delegates = *delegates || (i + 1 == len && step->choice[7] % 2);
        if (i + 1 == len && *delegates)
            give_second_output(op, child, parent->slots[0], 0);
        ids[i] = i + 1 == len && *delegates ? parent->slots[0] : child->id;
    }
}

/* Half of the ops know the tree of their stage. */
static pl_id_t root_of(const run_t *run, const step_t *step, pl_id_t id) {
    const known_t *stage = known_of(run, id);
    return stage && step->choice[9] % 2 ? stage->root : 0;
}

#include "store/model_flows.h"

static void build_run_ok(const run_t *run, const step_t *step, pl_op_t *op) {
    held_t held = pick_held(run, step->choice[0], 1U << PL_TASK_RUN);
    const known_t *parent = known_of(run, held.task);
    pl_fill_t *fills = pl_op_alloc(op, 2 * sizeof *fills);
    bool delegates = false;
    op->u.outcome = (pl_op_outcome_t){ .stage = held.task,
                                       .root = root_of(run, step, held.task),
                                       .claim = held.claim,
                                       .flags = held.flags,
                                       .parent = held.parent,
                                       .knows_parent = held.kind == PL_TASK_RUN && step->choice[8] % 2,
                                       .fills = fills };
    if (!parent)
        return;
    add_children(run, step, op, parent, &delegates);
    bool fills_all = !(held.flags & PL_STAGE_ASYNC) || step->choice[9] % 3 == 0;
    for (int i = delegates; i < 2 && fills_all && parent->slots[i]; i++)
        fills[op->u.outcome.fills_len++] = (pl_fill_t){ parent->slots[i], PL_STR_LIT("value") };
    if (step->choice[6] % 8 == 0) {
        op->u.outcome.tasks = pl_op_alloc(op, sizeof *op->u.outcome.tasks);
        *op->u.outcome.tasks = new_task(run, step, 0, step->choice[7]);
        op->u.outcome.tasks_len = 1;
    }
    end_function(run, step, op);
}

static void build_run_fails(const run_t *run, const step_t *step, pl_op_t *op) {
    held_t held = pick_held(run, step->choice[0], 1U << PL_TASK_RUN);
    op->u.outcome =
        (pl_op_outcome_t){ .stage = held.task,
                           .root = root_of(run, step, held.task),
                           .claim = held.claim,
                           .flags = held.flags,
                           .kind = step->kind == DO_run_aborts ? PL_OUTCOME_ABORT : PL_OUTCOME_FAILED,
                           .give_up = step->choice[1] % 4 == 0,
                           .retry_task = step->choice[2] % 4 == 0,
                           .retry_at = pl_clock_now(&run->clock) + (int64_t)(step->choice[3] % 9) * PL_USEC_PER_SEC,
                           .retry_message = PL_STR_LIT("again"),
                           .abort_message = PL_STR_LIT("given up"),
                           .failure = { .error_class = PL_STR_LIT("Error"), .message = PL_STR_LIT("failed") } };
    end_function(run, step, op);
}

static void build_of_claim(const run_t *run, const step_t *step, pl_op_t *op) {
    const unsigned queued = 1U << PL_TASK_PUSH | 1U << PL_TASK_DEFERRED, plain = queued | 1U << PL_TASK_CALLBACK;
    pl_usec_t soon = pl_clock_now(&run->clock) + (int64_t)(step->choice[3] % 9) * PL_USEC_PER_SEC;
    pl_failure_t failure = { .error_class = PL_STR_LIT("Error"), .message = PL_STR_LIT("failed") };
    if (step->kind == DO_finalized) {
        held_t held = pick_held(run, step->choice[0], 1U << PL_TASK_FINALIZE | 1U << PL_TASK_ABORT);
        op->u.finalized = (pl_op_finalized_t){ .stage = held.task,
                                               .root = root_of(run, step, held.task),
                                               .claim = held.claim,
                                               .kind = (pl_finalized_kind_t)(step->choice[1] % 3),
                                               .give_up = step->choice[2] % 2,
                                               .retry_at = soon,
                                               .failure = failure };
    } else if (step->kind == DO_task_done) {
        held_t held = pick_held(run, step->choice[0], plain);
        op->u.task_done = (pl_op_task_done_t){ .task = held.task,
                                               .claim = held.claim,
                                               .failed = step->choice[1] % 2,
                                               .give_up = step->choice[2] % 4 == 0,
                                               .retry_at = step->choice[4] % 3 ? 0 : soon,
                                               .status = step->choice[5] % 2 ? 500 : 0,
                                               .is_plain = held.is_plain,
                                               .has_detail = held.has_detail,
                                               .failure = failure };
    } else if (step->kind == DO_tasks_done) {
        pl_end_t *ends = pl_op_alloc(op, HELD * sizeof *ends);
        for (size_t i = 0; i < run->held_len && op->u.tasks_done.len < 1 + step->choice[0] % 20; i++)
            if (run->held[i].is_plain && queued >> run->held[i].kind & 1)
                ends[op->u.tasks_done.len++] = (pl_end_t){ .task = run->held[i].task,
                                                           .claim = run->held[i].claim + (step->choice[1] % 32 == i),
                                                           .has_detail = run->held[i].has_detail };
        op->u.tasks_done.ends = ends;
    } else {
        held_t held = pick_held(run, step->choice[0], run->mode == FREE ? ~0U : queued);
        pl_id_t *task = pl_op_alloc(op, sizeof *task);
        int *claim = pl_op_alloc(op, sizeof *claim);
        *task = held.task;
        *claim = held.claim;
        op->u.release = (pl_op_release_t){ task, claim, 1, step->choice[1] % 2 ? PL_USEC_PER_SEC : 0 };
    }
}

static void build_of_stage(const run_t *run, const step_t *step, pl_op_t *op) {
    const known_t *stage = pick_known(run, step->choice[0]);
    if (step->kind == DO_fill) {
        pl_fill_t *fill = pl_op_alloc(op, sizeof *fill);
        *fill = (pl_fill_t){ stage->slots[stage->slots[1] ? step->choice[1] % 2 : 0], PL_STR_LIT("outside") };
        op->u.fill = (pl_op_fill_t){ stage->id, root_of(run, step, stage->id), fill, 1 };
    } else if (step->kind == DO_retry)
        op->u.retry = (pl_op_retry_t){ stage->id, root_of(run, step, stage->id), later(run, step->choice[1]),
                                       PL_STR_LIT("once more") };
    else if (step->kind == DO_abort)
        op->u.abort = (pl_op_abort_t){ stage->id, root_of(run, step, stage->id), PL_STR_LIT("enough"),
                                       step->choice[1] % 2, false };
    else if (step->kind == DO_resume)
        op->u.resume = (pl_op_resume_t){ .stage = stage->id, .root = root_of(run, step, stage->id) };
    else if (step->kind == DO_status)
        op->u.status = (pl_op_status_t){ stage->id, { .message = PL_STR_LIT("half"), .time = step->choice[1] % 2 } };
    else if (step->kind == DO_cleanup)
        op->u.cleanup.root = step->choice[1] % 8 ? stage->root : stage->id;
    else
        op->u.watch = (pl_op_watch_t){ .stage = stage->id, .unwatch = step->choice[1] % 4 == 0 };
}

static void build_queue_set(const run_t *run, const step_t *step, pl_op_t *op) {
    bool has_limits = run->mode == LIMITED;
    pl_queue_settings_t *set = pl_op_alloc(op, sizeof *set);
    *set = (pl_queue_settings_t){ .name = pick_queue(run, step->choice[0]),
                                  .paused = step->choice[1] % 4 == 0,
                                  .rate = has_limits && step->choice[2] % 2 ? (int)(step->choice[2] % 3) : -1,
                                  .bucket_size = step->choice[3] % 2 ? 2 : -1,
                                  .max_concurrent = has_limits && step->choice[4] % 2 ? 2 : 0,
                                  .has_paused = true,
                                  .has_rate = true,
                                  .has_max_concurrent = step->choice[5] % 2,
                                  .removed = step->choice[6] % 16 == 0,
                                  .pull = step->choice[7] % 16 == 0,
                                  .retry = PL_RETRY_NONE };
    set->name = set->name.ptr ? set->name : PL_STR_LIT("pull");
    set->pull = set->pull || pl_str_eq(set->name, PL_STR_LIT("pull"));
    set->retry.limit = step->choice[8] % 4;
    op->u.queue_set = (pl_op_queue_set_t){ set, 1, step->choice[9] % 2 };
}

static void build_of_queue(const run_t *run, const step_t *step, pl_op_t *op) {
    static const char *const names[] = { "a", "b", "c" }, *const tags[] = { "red", "blue", "" };
    pl_str_t queue = step->choice[1] % 3 ? PL_STR_LIT("pull") : pick_queue(run, step->choice[1]);
    pl_task_ref_t *ref = pl_op_alloc(op, sizeof *ref);
    pl_id_t id = run->tasks_len ? run->tasks[step->choice[2] % run->tasks_len] : 7;
    *ref = (pl_task_ref_t){ .id = step->choice[3] % 2 ? id : 0, .name = pick_text(step->choice[4], names, 3) };
    queue = queue.ptr ? queue : PL_STR_LIT("default");
    if (step->kind == DO_lease)
        op->u.lease = (pl_op_lease_t){ .queue = queue,
                                       .seconds = step->choice[5] % 30,
                                       .max = 1 + (int)(step->choice[6] % 4),
                                       .by_tag = step->choice[7] % 3 == 0,
                                       .group = step->choice[8] % 3 == 0,
                                       .tag = pick_text(step->choice[9], tags, 3) };
    else if (step->kind == DO_lease_modify)
        op->u.lease_modify = (pl_op_lease_modify_t){
            .queue = queue, .task = { .id = run->leased.id }, .eta = run->leased.eta, .seconds = step->choice[5] % 9
        };
    else if (step->kind == DO_task_delete)
        op->u.task_delete = (pl_op_task_delete_t){ queue, ref, 1 };
    else if (step->kind == DO_purge)
        op->u.purge = (pl_op_purge_t){ .queue = queue, .forget_names = step->choice[5] % 2 };
    else if (step->kind == DO_dead_revive)
        op->u.dead_revive = (pl_op_dead_revive_t){
            .queue = step->choice[5] % 2 ? queue : PL_STR_NONE, .tasks = ref, .len = 1, .all = step->choice[6] % 2
        };
    else
        op->u.dead_purge = (pl_op_dead_purge_t){
            .queue = step->choice[5] % 2 ? queue : PL_STR_NONE, .tasks = ref, .len = 1, .all = step->choice[6] % 4 == 0
        };
}

static void build_meta(const run_t *run, const step_t *step, pl_op_t *op) {
    (void)run;
    op->u.meta = (pl_op_meta_t){ .key = step->choice[0] % 2 ? PL_STR_LIT("one") : PL_STR_LIT("two"),
                                 .write = step->choice[1] % 3 != 0,
                                 .if_absent = step->choice[2] % 2,
                                 .value = step->choice[3] % 2 ? PL_STR_LIT("this") : PL_STR_LIT("that") };
}

typedef struct {
    pl_verb_t verb;
    void (*build)(const run_t *run, const step_t *step, pl_op_t *op);
    bool ends_claims; /* or makes leases: not for sessions */
} kind_t;
static const kind_t what[DO_COUNT] = {
    [DO_start] = { PL_VERB_start, build_start, false },
    [DO_run_ok] = { PL_VERB_outcome, build_run_ok, true },
    [DO_run_fails] = { PL_VERB_outcome, build_run_fails, true },
    [DO_run_aborts] = { PL_VERB_outcome, build_run_fails, true },
    [DO_finalized] = { PL_VERB_finalized, build_of_claim, true },
    [DO_task_done] = { PL_VERB_task_done, build_of_claim, true },
    [DO_tasks_done] = { PL_VERB_tasks_done, build_of_claim, true },
    [DO_task_add] = { PL_VERB_task_add, build_task_add, false },
    [DO_fill] = { PL_VERB_fill, build_of_stage, false },
    [DO_retry] = { PL_VERB_retry, build_of_stage, false },
    [DO_abort] = { PL_VERB_abort, build_of_stage, false },
    [DO_resume] = { PL_VERB_resume, build_of_stage, false },
    [DO_status] = { PL_VERB_status, build_of_stage, false },
    [DO_cleanup] = { PL_VERB_cleanup, build_of_stage, false },
    [DO_release] = { PL_VERB_release, build_of_claim, true },
    [DO_watch] = { PL_VERB_watch, build_of_stage, true },
    [DO_meta] = { PL_VERB_meta, build_meta, false },
    [DO_queue_set] = { PL_VERB_queue_set, build_queue_set, false },
    [DO_lease] = { PL_VERB_lease, build_of_queue, true },
    [DO_lease_modify] = { PL_VERB_lease_modify, build_of_queue, true },
    [DO_task_delete] = { PL_VERB_task_delete, build_of_queue, false },
    [DO_purge] = { PL_VERB_purge, build_of_queue, false },
    [DO_dead_revive] = { PL_VERB_dead_revive, build_of_queue, false },
    [DO_dead_purge] = { PL_VERB_dead_purge, build_of_queue, false },
    [DO_journal] = { PL_VERB_journal, build_journal, true },
    [DO_suspend] = { PL_VERB_suspend, build_suspend, true },
    [DO_signal] = { PL_VERB_signal, build_signal, false },
    [DO_flow_set] = { PL_VERB_flow_set, build_flow_set, false },
    [DO_fork] = { PL_VERB_fork, build_fork, false },
};

/* ---- what is learnt ---------------------------------------------------------------------------------------------- */

static void know(run_t *run, const pl_stage_new_t *stage, pl_id_t root) {
    if (run->known_len == KNOWN)
        return;
    known_t *known = &run->known[run->known_len++];
    *known = (known_t){ stage->id, root, { stage->id, 0 }, stage->flags, false };
    for (size_t i = 0; i < stage->outputs_len && i < 2; i++)
        known->slots[i] = stage->outputs[i].slot;
}

static void let_go(run_t *run, pl_id_t task, int claim) {
    for (size_t i = 0; i < run->held_len; i++)
        if (run->held[i].task == task && run->held[i].claim == claim)
            run->held[i--] = run->held[--run->held_len];
}

static void learn(run_t *run, const pl_op_t *op) {
    if (op->verb == PL_VERB_start && op->rc == PL_OK && op->u.start.stages->rc == PL_OK)
        know(run, op->u.start.stages, op->u.start.stages->id);
    const known_t *parent = op->verb == PL_VERB_outcome ? known_of(run, op->u.outcome.stage) : NULL;
    pl_id_t root = parent ? parent->root : 0;
    for (size_t i = 0; parent && op->rc == PL_OK && i < op->u.outcome.children_len; i++)
        know(run, &op->u.outcome.children[i], root);
    learn_flow(run, op);
    if (op->verb == PL_VERB_outcome)
        let_go(run, op->u.outcome.stage, op->u.outcome.claim);
    if (op->verb == PL_VERB_finalized)
        let_go(run, op->u.finalized.stage, op->u.finalized.claim);
    if (op->verb == PL_VERB_task_done)
        let_go(run, op->u.task_done.task, op->u.task_done.claim);
    if (op->verb == PL_VERB_release)
        let_go(run, *op->u.release.tasks, *op->u.release.claims);
    for (size_t i = 0; op->verb == PL_VERB_tasks_done && i < op->u.tasks_done.len; i++)
        let_go(run, op->u.tasks_done.ends[i].task, op->u.tasks_done.ends[i].claim);
    for (size_t i = 0; op->verb == PL_VERB_task_add && i < op->u.task_add.len && run->tasks_len < KNOWN; i++)
        run->tasks[run->tasks_len++] = op->u.task_add.tasks[i].id;
    if (op->verb == PL_VERB_lease && op->u.lease.len > 0)
        run->leased = op->u.lease.tasks[0];
}

static void learn_claims(run_t *run, const pl__commit_result_t *turn) {
    for (const pl_claim_t *claim = turn->claims; claim && run->held_len < HELD; claim = claim->next)
        run->held[run->held_len++] = (held_t){ .task = claim->task,
                                               .parent = claim->stage ? claim->stage->parent : 0,
                                               .claim = claim->fence,
                                               .kind = claim->kind,
                                               .flags = claim->stage ? claim->stage->flags : 0,
                                               .is_plain = claim->is_plain,
                                               .has_detail = claim->has_detail };
}

/* ---- both stores, turn by turn ----------------------------------------------------------------------------------- */

typedef struct {
    pl_op_t *ops[2][OPS];
    int len;
    bool ends_claims;
} list_t;

static pl_store_driver_t sqlite; /* fails before it does something, or does not */

static int records_told;

static const pl_store_driver_t *driver_of(int which) {
    return which ? &pl__memory_driver : &sqlite;
}

static void free_turn(pl__commit_result_t *turn, pl__arena_t *arena) {
    for (pl_claim_t *claim = turn->claims, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
    pl__arena_free(arena);
}

static void compare(run_t *run, FILE *out[2]) {
    fclose(out[0]);
    fclose(out[1]);
    run->differs = strcmp(run->said[0], run->said[1]) != 0;
}

static void open_texts(run_t *run, FILE *out[2]) {
    for (int i = 0; i < 2; i++) {
        free(run->said[i]);
        out[i] = open_memstream(&run->said[i], &run->said_len);
    }
}

/* All ops in one transaction, or, when it breaks, each in one of its own, as a store does. Returns its result. */
static int turn_of(run_t *run, list_t *list, int which, const pl__ask_t *ask, bool singly, FILE *out,
                   pl__commit_result_t *turn, pl__arena_t *arena) {
    pl__conn_t *conn = which ? run->memory : run->sqlite;
    pl_op_t **ops = list->ops[which];
    pl_error_t error = { 0 };
    for (int i = 0; i < list->len; i++)
        ops[i]->next = i + 1 < list->len ? ops[i + 1] : NULL;
    int rc = singly ? PL_EOTHER : driver_of(which)->turn(conn, list->len ? ops[0] : NULL, ask, arena, turn, &error);
    for (int i = 0; i < list->len; i++) {
        int own = rc;
        ops[i]->next = NULL;
        if (rc != PL_OK) {
            pl__commit_result_t alone = PL__COMMIT_RESULT_NONE;
            pl__arena_t its = { NULL };
            own = driver_of(which)->turn(conn, ops[i], &(pl__ask_t){ 0 }, &its, &alone, &error);
            if (own == PL_OK)
                put_turn(out, &alone, false);
            free_turn(&alone, &its);
        }
        if (own == PL_OK)
            put_op(out, ops[i]);
        else
            fprintf(out, "broken %s\n", pl_result_name(own));
        if (own == PL_OK && which == 0)
            learn(run, ops[i]);
    }
    return rc;
}

/* That a run is aborted, or has news, may be told more than once; it must be told when it happens. */
static bool tells_all(const pl__commit_result_t *turn, const pl__commit_result_t *model) {
    for (const pl_watch_event_t *final = model->finals; final; final = final->next) {
        const pl_watch_event_t *same = turn->finals;
        while (same && (same->stage != final->stage || same->state != final->state))
            same = same->next;
        if (!same)
            return false;
    }
    return true;
}

static void put_record(FILE *out, const pl_stage_t *stage, const pl_slot_t *slots, size_t len) {
    put_stage(out, stage);
    put_slots(out, slots, len);
    fclose(out);
}

/* What is told with the end of a stage is what whoever asks afterwards is told. */
static bool records_hold(const run_t *run, const pl__commit_result_t *turn) {
    bool hold = true;
    for (const pl_watch_event_t *final = turn->finals; final; final = final->next) {
        if (!final->record)
            continue;
        char *texts[2] = { NULL, NULL };
        size_t size;
        pl_op_t *op = pl_op_new(PL_VERB_stage_get);
        op->u.stage_get.stage = final->stage;
        op->u.stage_get.with_slots = true;
        driver_of(0)->read(run->reader, op);
        put_record(open_memstream(&texts[0], &size), final->record, final->slots, final->slots_len);
        if (op->u.stage_get.result)
            put_record(open_memstream(&texts[1], &size), op->u.stage_get.result, op->u.stage_get.slots,
                       op->u.stage_get.slots_len);
        hold = hold && texts[1] && strcmp(texts[0], texts[1]) == 0;
        records_told++;
        free(texts[0]);
        free(texts[1]);
        pl_op_free(op);
    }
    return hold;
}

static void play_turn(run_t *run, list_t *list, const pl__ask_t *ask) {
    pl__commit_result_t turns[2] = { PL__COMMIT_RESULT_NONE, PL__COMMIT_RESULT_NONE };
    pl__arena_t arenas[2] = { { NULL }, { NULL } };
    FILE *out[2];
    open_texts(run, out);
    int rc = turn_of(run, list, 0, ask, false, out[0], &turns[0], &arenas[0]);
    int other = turn_of(run, list, 1, ask, rc != PL_OK, out[1], &turns[1], &arenas[1]);
    for (int i = 0; i < 2; i++)
        put_turn(out[i], &turns[i], run->mode == NARROW);
    if (rc == PL_OK && (other != PL_OK || turns[0].next_due > turns[1].next_due))
        fprintf(out[0], "comes back too late: at %" PRId64 ", not %" PRId64 "\n", turns[0].next_due, turns[1].next_due);
    if (rc == PL_OK && turns[1].ready_left && !turns[0].ready_left)
        fprintf(out[0], "forgets what is ready\n");
    if (rc == PL_OK && !tells_all(&turns[0], &turns[1]))
        fprintf(out[0], "does not tell an abort, or news\n");
    if (rc == PL_OK && !records_hold(run, &turns[0]))
        fprintf(out[0], "tells an end with what it is not\n");
    compare(run, out);
    learn_claims(run, &turns[0]);
    free_turn(&turns[0], &arenas[0]);
    free_turn(&turns[1], &arenas[1]);
}

static void play_session(run_t *run, list_t *list, bool commit) {
    FILE *out[2];
    open_texts(run, out);
    for (int which = 0; which < 2; which++) {
        pl__conn_t *conn = which ? run->memory : run->sqlite;
        pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
        pl__arena_t arena = { NULL };
        pl_error_t error = { 0 };
        int64_t deadline;
        int rc = driver_of(which)->session_begin(conn, 60 * PL_USEC_PER_SEC, &deadline, &error);
        for (int i = 0; i < list->len && rc == PL_OK; i++) {
            pl_op_t *op = list->ops[which][i];
            op->rc = PL_OK;
            rc = driver_of(which)->session_apply(conn, op);
            if (rc == PL_OK)
                put_op(out[which], op);
            if (rc == PL_OK && which == 0 && commit)
                learn(run, op);
        }
        if (rc == PL_OK)
            rc = driver_of(which)->session_end(conn, commit, &(pl__ask_t){ 0 }, &arena, &turn, &error);
        fprintf(out[which], "session %s\n", pl_result_name(rc));
        put_turn(out[which], &turn, false);
        free_turn(&turn, &arena);
    }
    compare(run, out);
}

static pl_op_t *read_op(const run_t *run, const step_t *step, int i) {
    static const pl_verb_t verbs[] = { PL_VERB_tree_get,    PL_VERB_roots_list,   PL_VERB_counts_get,
                                       PL_VERB_dead_list,   PL_VERB_failures_get, PL_VERB_queue_get,
                                       PL_VERB_queue_stats, PL_VERB_claim_check,  PL_VERB_tree_page,
                                       PL_VERB_journal_get, PL_VERB_shown_get,    PL_VERB_flows_list,
                                       PL_VERB_flows_get };
    if (i >= (int)(sizeof verbs / sizeof *verbs))
        return NULL;
    pl_op_t *op = pl_op_new(verbs[i]);
    if (op->verb == PL_VERB_tree_get)
        op->u.tree_get.stage = pick_known(run, step->choice[3])->id;
    if (op->verb == PL_VERB_failures_get) {
        op->u.failures_get.tree = step->choice[2] % 2;
        op->u.failures_get.stage =
            op->u.failures_get.tree ? pick_known(run, step->choice[4])->root : pick_known(run, step->choice[4])->id;
    }
    if (op->verb == PL_VERB_tree_page)
        op->u.tree_page = (pl_op_tree_page_t){ .stage = pick_known(run, step->choice[3])->id,
                                               .top = step->choice[2] % 3 ? 0 : pick_known(run, step->choice[4])->id,
                                               .depth = (int)(step->choice[5] % 4) - 1,
                                               .after = step->choice[6] % 2 ? pick_known(run, step->choice[4])->id : 0,
                                               .limit = 1 + (int)(step->choice[7] % 9),
                                               .counts = step->choice[8] % 2,
                                               .hidden = step->choice[0] % 2 ? PL_STAGE_ASYNC : 0 };
    if (op->verb == PL_VERB_roots_list)
        op->u.roots_list.limit = 3;
    ask_of_flow(run, step, op);
    if (op->verb == PL_VERB_claim_check) {
        held_t held = pick_held(run, step->choice[5], ~0U);
        op->u.claim_check = (pl_op_claim_check_t){ .task = held.task, .claim = held.claim };
    }
    if (op->verb == PL_VERB_queue_stats) {
        static const char *const names[] = { "default", "other", "pull" };
        op->u.queue_stats.queues = pl_op_alloc(op, 3 * sizeof *op->u.queue_stats.queues);
        for (op->u.queue_stats.len = 0; op->u.queue_stats.len < 3; op->u.queue_stats.len++)
            op->u.queue_stats.queues[op->u.queue_stats.len].queue = pl_str(names[op->u.queue_stats.len]);
    }
    return op;
}

static void play_reads(run_t *run, const step_t *step) {
    FILE *out[2];
    open_texts(run, out);
    for (int which = 0; which < 2; which++) {
        pl_op_t *first = NULL, **tail = &first;
        for (int i = 0; (*tail = read_op(run, step, i)) != NULL; i++)
            tail = &(*tail)->next;
        driver_of(which)->read(which ? run->memory : run->reader, first);
        for (pl_op_t *op = first, *next; op; op = next) {
            next = op->next;
            put_op(out[which], op);
            pl_op_free(op);
        }
    }
    compare(run, out);
}

/* What has gathered becomes a turn, or a session; then come claims, where they are not made with others; then reads. */
static void flush(run_t *run, list_t *list, const step_t *last) {
    list_t nothing = { .len = 0 };
    pl__ask_t ask = { .wanted = run->mode == FREE && last->choice[8] % 3 ? ALL : 0, .look = last->choice[8] % 8 == 0 };
    bool commit = last->choice[7] % 4 != 0;
    if (list->len > 0 && !list->ends_claims && last->choice[7] % 6 == 0)
        play_session(run, list, commit);
    else
        play_turn(run, list, &ask);
    for (int i = 0; i < 2 * list->len; i++)
        pl_op_free(list->ops[i % 2][i / 2]);
    *list = (list_t){ .len = 0 };
    if (!run->differs && run->mode != FREE && last->choice[6] % 3) {
        ask.wanted = run->mode == NARROW ? 1 + (int)(last->choice[5] % 3) : ALL;
        play_turn(run, &nothing, &ask);
    }
    if (!run->differs)
        play_reads(run, last);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static char directory[] = "/tmp/pipeline-model-XXXXXX";

/* A trigger that raises an error at what the table does not have. */
static void refuse_other_moves(pl__conn_t *conn) {
    static const int moves[][2] = {
#define X(from, to, function, when) { PL_STAGE_##from, PL_STAGE_##to },
        PL__STAGE_MOVES(X)
#undef X
    };
    char *sql;
    size_t len;
    FILE *out = open_memstream(&sql, &len);
    fprintf(out,
            "CREATE TEMP TRIGGER moves BEFORE UPDATE OF state ON main.pl_stage WHEN old.state <> new.state AND NOT (0");
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        fprintf(out, " OR (old.state = %d AND new.state = %d)", moves[i][0], moves[i][1]);
    fprintf(out, ") BEGIN SELECT raise(ABORT, 'not in the table of the rules'); END");
    fclose(out);
    CHECK(pl__sql_execute(conn, sql) == PL_OK);
    free(sql);
}

static void join(run_t *run) {
    pl_queue_settings_t sets[2];
    list_t list = { .len = 2 };
    for (int which = 0; which < 2; which++) {
        list.ops[which][0] = pl_op_new(PL_VERB_join);
        list.ops[which][0]->u.join = (pl_op_join_t){ .host = PL_STR_LIT("host"), .pid = 17 };
        list.ops[which][1] = pl_op_new(PL_VERB_queue_set);
        sets[which] = (pl_queue_settings_t){ .name = PL_STR_LIT("pull"), .pull = true, .retry = PL_RETRY_NONE };
        sets[which].rate = sets[which].bucket_size = -1;
        list.ops[which][1]->u.queue_set = (pl_op_queue_set_t){ &sets[which], 1, false };
    }
    play_turn(run, &list, &(pl__ask_t){ 0 });
    for (int i = 0; i < 4; i++)
        pl_op_free(list.ops[i % 2][i / 2]);
}

static void forget_tree(run_t *run, pl_id_t stage) {
    const known_t *of = known_of(run, stage);
    for (size_t i = 0; of && i < run->known_len; i++)
        if (run->known[i].root == of->root)
            run->known[i].may_be_gone = true;
}

/* Plays steps. True: the stores differ; *said then has what each said. */
static bool differ(const step_t *steps, int len, int mode, char *said[2]) {
    static run_t run;
    char path[sizeof directory + 16];
    pl_error_t error = { 0 };
    list_t list = { .len = 0 };
    snprintf(path, sizeof path, "%s/store.db", directory);
    run = (run_t){ .mode = mode };
    pl_clock_init_virtual(&run.clock, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_store_options_t options = { .path = path,
                                   .clock = &run.clock,
                                   .lease_seconds = 1e6,
                                   .tombstone_seconds = 30,
                                   .portion_us = INT64_C(3600) * PL_USEC_PER_SEC };
    CHECK(sqlite.open(&run.sqlite, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    CHECK(sqlite.open(&run.reader, &options, PL__ROLE_READER, run.sqlite, &error) == PL_OK);
    CHECK(pl__memory_driver.open(&run.memory, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    refuse_other_moves(run.sqlite);
    join(&run);
    for (int i = 0; i < len && !run.differs; i++) {
        const step_t *step = &steps[i];
        if (step->kind == DO_time) {
            flush(&run, &list, step);
            pl_clock_advance_to(&run.clock, pl_clock_now(&run.clock) + step->choice[0] % (12 * PL_USEC_PER_SEC));
            continue;
        }
        for (int which = 0; which < 2; which++) {
            pl_op_t *op = list.ops[which][list.len] = pl_op_new(what[step->kind].verb);
            what[step->kind].build(&run, step, op);
        }
        if (step->kind == DO_cleanup)
            forget_tree(&run, list.ops[0][list.len]->u.cleanup.root);
        list.len++;
        list.ends_claims = list.ends_claims || what[step->kind].ends_claims;
        if (list.len == OPS || step->choice[9] % 2)
            flush(&run, &list, step);
    }
    if (len > 0 && !run.differs)
        flush(&run, &list, &steps[len - 1]);
    for (int i = 0; i < 2 * list.len; i++)
        pl_op_free(list.ops[i % 2][i / 2]);
    pl__sqlite_driver.close(run.reader);
    pl__sqlite_driver.close(run.sqlite);
    pl__memory_driver.close(run.memory);
    file_remove(path);
    for (int i = 0; i < 2; i++) {
        free(said[i]);
        said[i] = run.said[i];
    }
    return run.differs;
}

static int pick_kind(void) {
    int all = 0, kind = 0;
    for (int i = 0; i < DO_COUNT; i++)
        all += weights[i];
    for (int at = (int)(random_number() % (uint32_t)all); at >= weights[kind]; kind++)
        at -= weights[kind];
    return kind;
}

/* Leaves out what is not needed for a difference. */
static int shorten(step_t *steps, int len, int mode, char *said[2]) {
    static step_t fewer[STEPS];
    for (int size = len / 2; size > 0; size = size > 1 ? size / 2 : 0) {
        for (int at = 0; at + size <= len;) {
            memcpy(fewer, steps, (size_t)at * sizeof *steps);
            memcpy(fewer + at, steps + at + size, (size_t)(len - at - size) * sizeof *steps);
            if (differ(fewer, len - size, mode, said)) {
                len -= size;
                memcpy(steps, fewer, (size_t)len * sizeof *steps);
            } else
                at += size;
        }
    }
    return len;
}

static void play(uint64_t seed) {
    static step_t steps[STEPS];
    char *said[2] = { NULL, NULL };
    int len = STEPS, mode = (int)(seed % MODES);
    random_state = seed;
    for (int i = 0; i < STEPS; i++) {
        steps[i] = (step_t){ .number = i, .kind = pick_kind() };
        for (int j = 0; j < CHOICES; j++)
            steps[i].choice[j] = random_number();
    }
    bool differs = differ(steps, len, mode, said);
    CHECK(!differs);
    if (differs) {
        len = shorten(steps, len, mode, said);
        (void)differ(steps, len, mode, said);
        printf("MODEL_SEED=%" PRIu64 ", mode %d: the stores differ after these steps:\n", seed, mode);
        for (int i = 0; i < len; i++)
            printf("  step %d: %s\n", steps[i].number, kind_names[steps[i].kind]);
        printf("SQLite says\n%sthe model says\n%s", said[0], said[1]);
    }
    free(said[0]);
    free(said[1]);
}

int main(void) {
    const char *given = getenv("MODEL_SEED"), *runs = getenv("MODEL_RUNS");
    uint64_t seed = given ? strtoull(given, NULL, 10) : runs ? (uint64_t)pl_clock_monotonic_us() : 1;
    int count = given ? 1 : runs ? atoi(runs) : RUNS;
    CHECK(mkdtemp(directory) != NULL);
    printf("seeds %" PRIu64 " … +%d\n", seed, count - 1);
    for (int i = 0; i < count + FAILING_RUNS && !check_failed; i++) {
        sqlite = i < count ? pl__sqlite_driver : failing_driver();
        play(seed + (uint64_t)(i % count));
    }
    rmdir(directory);
    CHECK(given || records_told > 0);
    printf("%d ends were told with their records\n", records_told);
    return check_end();
}
