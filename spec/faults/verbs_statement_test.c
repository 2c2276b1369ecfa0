/*
 * verbs_statement_test.c - each verb shares its transaction with what others have not written yet: a stage that has
 * ended below a parent that waits for it, and a task that was added. Each statement, and each piece of memory, of that
 * transaction fails in turn: nothing of it has happened then, and who has asked is told why; when none fails the verb
 * answers as it did at first.
 *
 * Afterwards no rule of the store is broken.
 */
#include "faults/verbs.c"

static char path[] = "/tmp/pipeline-verbs-XXXXXX", copy[sizeof path + 8];

/* ---- verbs ------------------------------------------------------------------------------------------------------- */

/* X(name, verb, arguments): those that change nothing, or can be given again and again. */
#define VERBS(X)                                                                                                       \
    X(a_stage_by_key, stage_get, .key = PL_STR_LIT("waits"), .with_slots = true, .with_work = true)                    \
    X(a_stage_below, stage_get, .stage = waits_child, .with_slots = true, .with_work = true)                           \
    X(a_tree, tree_get, .key = PL_STR_LIT("waits"))                                                                    \
    X(a_page, tree_page, .key = PL_STR_LIT("waits"), .depth = -1, .limit = 2, .counts = true)                          \
    X(a_page_of_a_part, tree_page, .stage = waits_child, .top = waits_async, .depth = 1, .limit = 2)                   \
    X(roots, roots_list, .limit = 0)                                                                                   \
    X(roots_of_a_class, roots_list, .class_path = PL_STR_LIT("t.Waits"), .limit = 2)                                   \
    X(ids_in_a_range, ids_find, .from = 1, .to = INT64_MAX - 1, .limit = 3)                                            \
    X(all_tasks, tasks_find, .limit = 30)                                                                              \
    X(tasks_with_a_text, tasks_find, .queue = PL_STR_LIT("pull"), .text = PL_STR_LIT("NAMED"), .limit = 5)             \
    X(dead_tasks_seen, tasks_find, .states = 1U << PL_SEEN_DEAD, .limit = 5)                                           \
    X(delayed_tasks_seen, tasks_find, .states = 1U << PL_SEEN_DELAYED, .limit = 5)                                     \
    X(all_queues, queues_seen, .name = PL_STR_NONE)                                                                    \
    X(one_queue, queues_seen, .name = PL_STR_LIT("limited"))                                                           \
    X(workers, workers_get, .len = 0)                                                                                  \
    X(roots_with_a_text, roots_find, .filter = { .text = PL_STR_LIT("wait") }, .limit = 3)                             \
    X(roots_by_word, roots_find, .filter = { .words = 1U << PL_WORD_EXECUTING | 1U << PL_WORD_OPEN }, .limit = 3)      \
    X(delayed_roots, roots_find, .filter = { .words = 1U << PL_WORD_DELAYED | 1U << PL_WORD_WAITING }, .limit = 3)     \
    X(roots_with_errors, roots_find, .filter = { .any_error = true, .since = 1 }, .limit = 3)                          \
    X(roots_of_a_queue, roots_find, .filter = { .queue = PL_STR_LIT("default"), .until = PL_USEC_MAX }, .limit = 3)    \
    X(a_root_by_key, roots_find, .filter = { .key = PL_STR_LIT("flow") }, .limit = 3)                                  \
    X(numbers_of_roots, roots_find, .counts = true)                                                                    \
    X(roots_that_ended, roots_over, .since = 0, .before = PL_USEC_MAX, .limit = 10)                                    \
    X(why_a_stage_waits, why_get, .id = waits_child)                                                                   \
    X(why_a_function_waits, why_get, .id = flow)                                                                       \
    X(why_a_fire_is_held, why_get, .id = held_root)                                                                    \
    X(why_a_task_is_delayed, why_get, .queue = PL_STR_LIT("calls"), .name = PL_STR_LIT("later"))                       \
    X(why_a_task_is_not_leased, why_get, .queue = PL_STR_LIT("pull"), .name = PL_STR_LIT("named"))                     \
    X(why_nothing, why_get, .queue = PL_STR_LIT("no such"), .name = PL_STR_LIT("named"))                               \
    X(counts, counts_get, .len = 0)                                                                                    \
    X(failures_of_a_tree, failures_get, .stage = waits_root, .tree = true)                                             \
    X(failures_of_a_stage, failures_get, .stage = waits_root)                                                          \
    X(the_file, check, .part = 0)                                                                                      \
    X(the_pages, check, .part = 1)                                                                                     \
    X(the_rows, check, .part = 2)                                                                                      \
    X(a_claim, claim_check, .task = flow, .claim = 1)                                                                  \
    X(settings, queue_get, .name = PL_STR_NONE)                                                                        \
    X(settings_of_one, queue_get, .name = PL_STR_LIT("limited"))                                                       \
    X(statistics, queue_stats, .queues = statistics_queue(), .len = 1)                                                 \
    X(dead_tasks, dead_list, .limit = 10)                                                                              \
    X(dead_tasks_of_a_queue, dead_list, .queue = PL_STR_LIT("calls"), .limit = 10)                                     \
    X(space, space_get, .sweeps = false)                                                                               \
    X(a_table, tables_get, .part = 0)                                                                                  \
    X(another_table, tables_get, .part = 1)                                                                            \
    X(a_schedule, schedule_get, .name = PL_STR_LIT("hourly"))                                                          \
    X(schedules, schedule_get, .limit = 5)                                                                             \
    X(schedules_that_are_due, schedule_get, .due = PL_USEC_MAX, .limit = 5)                                            \
    X(schedules_of_a_source, schedule_get, .source = PL_STR_LIT("a"), .limit = 5)                                      \
    X(fires, fires_get, .name = PL_STR_LIT("hourly"), .limit = 5)                                                      \
    X(what_a_fire_was_told, fires_get, .target = held_root, .limit = 5)                                                \
    X(a_journal, journal_get, .stage = flow, .limit = 100, .mail_limit = 100)                                          \
    X(names_shown, shown_get, .stage = flow, .wants_names = true)                                                      \
    X(a_value_shown, shown_get, .stage = flow, .name = PL_STR_LIT("v"), .stream = PL_STR_LIT("s"), .limit = 5,         \
      .mail = 2, .wants_forks = true)                                                                                  \
    X(functions_counted, flows_get, .bytes = 0)                                                                        \
    X(functions, flows_list, .limit = 5)                                                                               \
    X(functions_held, flows_list, .limit = 5, .held = true)                                                            \
    X(a_setting, meta, .key = PL_STR_LIT("k"), .write = true, .value = PL_STR_LIT("v"))                                \
    X(a_watch, watch, .key = PL_STR_LIT("waits"))                                                                      \
    X(a_status, status, .stage = waits_root, .status = { .message = PL_STR_LIT("on its way") })                        \
    X(a_rescue, rescue, .workers = 0)                                                                                  \
    X(a_sweep, sweep, .next = 0)                                                                                       \
    X(a_repair, repair, .title = PL_STR_LIT("a task whose name is not taken"))                                         \
    X(no_repair, repair, .title = PL_STR_LIT("nothing"))                                                               \
    X(no_retry, retry, .stage = waits_child)                                                                           \
    X(no_resume, resume, .stage = waits_root)                                                                          \
    X(no_cleanup, cleanup, .root = waits_root)                                                                         \
    X(no_queue, purge, .queue = PL_STR_LIT("no such"))                                                                 \
    X(no_dead, dead_revive, .queue = PL_STR_LIT("no such"), .all = true)                                               \
    X(no_dead_to_forget, dead_purge, .queue = PL_STR_LIT("no such"), .all = true)                                      \
    X(no_lease, lease, .queue = PL_STR_LIT("calls"), .seconds = 1, .max = 1)                                           \
    X(a_lease, lease, .queue = PL_STR_LIT("pull"), .seconds = 0, .max = 2)                                             \
    X(a_lease_of_a_group, lease, .queue = PL_STR_LIT("pull"), .seconds = 0, .max = 2, .group = true)                   \
    X(a_lease_by_tag, lease, .queue = PL_STR_LIT("pull"), .seconds = 0, .max = 2, .by_tag = true,                      \
      .tag = PL_STR_LIT("tag"))                                                                                        \
    X(no_lease_to_modify, lease_modify, .queue = PL_STR_LIT("pull"), .task = { .name = PL_STR_LIT("none") })           \
    X(a_copy, backup, .path = pl_str(copy), .pages = 100000)

static pl_queue_stats_t *statistics_queue(void) {
    static pl_queue_stats_t queue;
    queue = (pl_queue_stats_t){ .queue = PL_STR_LIT("limited") };
    return &queue;
}

#define X(name, verb, ...)                                                                                             \
    static pl_op_t *name(void) {                                                                                       \
        pl_op_t *op = pl_op_new(PL_VERB_##verb);                                                                       \
        op->u.verb = (pl_op_##verb##_t){ __VA_ARGS__ };                                                                \
        return op;                                                                                                     \
    }
VERBS(X)
#undef X

/* Each of these is given something new to work on. */

static pl_op_t *a_start(void) {
    static pl_stage_new_t stage;
    static char key[20];
    snprintf(key, sizeof key, "k%" PRId64, new_id());
    stage = stage_of(new_id(), "t.New", PL_STAGE_DURABLE);
    stage.key = pl_str(key);
    stage.queue = PL_STR_LIT("of its own");
    return start_op(&stage);
}

static pl_op_t *a_fill(void) {
    static pl_fill_t fill;
    pl_stage_new_t children[2];
    pl_id_t root = start("t.Waits", 0, NULL);
    children[0] = stage_of(new_id(), "t.Ask", PL_STAGE_ASYNC);
    children[1] = stage_of(new_id(), "t.Sum", 0);
    fill = (pl_fill_t){ children[0].id, PL_STR_LIT("\x07") };
    children[1].inputs = &fill.slot;
    children[1].inputs_len = 1;
    run_with(root, 0, children, 2, MANY);
    CHECK(apply(outcome_op(fill.slot, PL_OUTCOME_OK, PL_STAGE_ASYNC), 0) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_fill);
    op->u.fill = (pl_op_fill_t){ .stage = fill.slot, .fills = &fill, .fills_len = 1 };
    return op;
}

/* A root, one that waits, an open one, one whose finalized() is called, and one that was run. */
static pl_id_t make_tree(pl_id_t *last) {
    pl_stage_new_t children[4];
    pl_id_t root = start("t.Tree", PL_STAGE_HAS_FINALIZED, NULL), ask;
    children[0] = stage_of(ask = new_id(), "t.Ask", PL_STAGE_ASYNC);
    children[1] = stage_of(new_id(), "t.Sum", 0);
    children[2] = stage_of(new_id(), "t.Final", PL_STAGE_HAS_FINALIZED);
    children[3] = stage_of(*last = new_id(), "t.Bad", 0);
    children[1].inputs = &ask;
    children[1].inputs_len = 1;
    run_with(root, PL_STAGE_HAS_FINALIZED, children, 4, MANY);
    CHECK(apply(outcome_op(ask, PL_OUTCOME_OK, PL_STAGE_ASYNC), 0) == PL_OK);
    CHECK(apply(outcome_op(children[2].id, PL_OUTCOME_OK, PL_STAGE_HAS_FINALIZED), MANY) == PL_OK);
    return root;
}

static pl_op_t *an_abort(void) {
    pl_id_t last;
    pl_op_t *op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = make_tree(&last), .message = PL_STR_LIT("no") };
    return op;
}

static pl_op_t *an_abort_at_once(void) {
    pl_op_t *op = an_abort();
    op->u.abort.force = true;
    return op;
}

static pl_op_t *an_abort_of_a_function(void) {
    pl_op_t *op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = start("t.Flow", PL_STAGE_DURABLE, NULL), .message = PL_STR_LIT("no") };
    return op;
}

static pl_op_t *a_failure(void) {
    pl_id_t last;
    make_tree(&last);
    return outcome_op(last, PL_OUTCOME_FAILED, 0);
}

static pl_id_t aborted_root(void) {
    pl_op_t *op = an_abort_at_once();
    pl_id_t root = op->u.abort.stage;
    CHECK(apply(op, 0) == PL_OK);
    return root;
}

static pl_op_t *a_resume(void) {
    pl_id_t root = aborted_root();
    pl_op_t *op = pl_op_new(PL_VERB_resume);
    op->u.resume.stage = root;
    return op;
}

static pl_op_t *a_cleanup(void) {
    pl_id_t root = aborted_root();
    pl_op_t *op = pl_op_new(PL_VERB_cleanup);
    op->u.cleanup.root = root;
    return op;
}

static pl_op_t *a_final(void) {
    pl_id_t root = start("t.Final", PL_STAGE_HAS_FINALIZED, NULL);
    CHECK(apply(outcome_op(root, PL_OUTCOME_OK, PL_STAGE_HAS_FINALIZED), MANY) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_finalized);
    op->u.finalized = (pl_op_finalized_t){ .stage = root, .claim = fence_of(root) };
    return op;
}

static pl_op_t *a_queue(void) {
    static pl_queue_settings_t queue;
    static char name[20];
    snprintf(name, sizeof name, "q%" PRId64, new_id());
    queue = (pl_queue_settings_t){
        .name = pl_str(name), .rate = 1, .bucket_size = 2, .target = PL_STR_LIT("t"), .retry = PL_RETRY_NONE
    };
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ &queue, 1, false };
    return op;
}

/* It is removed once, with its task, and is not there from then on. */
static pl_op_t *a_removal(void) {
    static pl_queue_settings_t queue;
    queue = (pl_queue_settings_t){ .name = PL_STR_LIT("limited"), .removed = true, .retry = PL_RETRY_NONE };
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ &queue, 1, false };
    return op;
}

static char *a_name(void) {
    static char name[20];
    snprintf(name, sizeof name, "n%" PRId64, new_id());
    return name;
}

static pl_op_t *a_modified_lease(void) {
    pl_id_t task = add(PL_TASK_PULL, "pull", NULL, 0);
    pl_op_t *op = pl_op_new(PL_VERB_lease), *modify = pl_op_new(PL_VERB_lease_modify);
    pl_error_t error = { 0 };
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 1000);
    op->u.lease = (pl_op_lease_t){ .queue = PL_STR_LIT("pull"), .seconds = 100, .max = 1000 };
    CHECK(turn(op, 0, &error) == PL_OK && op->rc == PL_OK);
    for (size_t i = 0; i < op->u.lease.len; i++)
        if (op->u.lease.tasks[i].id == task)
            modify->u.lease_modify = (pl_op_lease_modify_t){ .queue = PL_STR_LIT("pull"),
                                                             .task = { .id = task },
                                                             .eta = op->u.lease.tasks[i].eta };
    pl_op_free(op);
    return modify;
}

static pl_op_t *a_deletion(void) {
    static pl_task_ref_t refs[3];
    static char name[20];
    snprintf(name, sizeof name, "%s", a_name());
    pl_id_t unnamed = add(PL_TASK_PULL, "pull", NULL, 0);
    add(PL_TASK_PULL, "pull", name, 0);
    refs[0] = (pl_task_ref_t){ .id = unnamed };
    refs[1] = (pl_task_ref_t){ .name = pl_str(name) };
    refs[2] = (pl_task_ref_t){ .name = PL_STR_LIT("none") };
    pl_op_t *op = pl_op_new(PL_VERB_task_delete);
    op->u.task_delete = (pl_op_task_delete_t){ PL_STR_LIT("pull"), refs, 3 };
    return op;
}

static pl_op_t *a_purge(void) {
    if (count("SELECT count(*) FROM pl_task WHERE queue = (SELECT id FROM pl_queue WHERE name = 'pull')") == 0)
        add(PL_TASK_PULL, "pull", a_name(), 0);
    pl_op_t *op = pl_op_new(PL_VERB_purge);
    op->u.purge = (pl_op_purge_t){ .queue = PL_STR_LIT("pull") };
    return op;
}

static pl_op_t *a_revival(void) {
    static pl_task_ref_t refs[2];
    refs[0] = (pl_task_ref_t){ .id = make_dead(a_name()) };
    refs[1] = (pl_task_ref_t){ .id = 1 };
    pl_op_t *op = pl_op_new(PL_VERB_dead_revive);
    op->u.dead_revive = (pl_op_dead_revive_t){ .tasks = refs, .len = 2 };
    return op;
}

static pl_op_t *a_dead_one_forgotten(void) {
    static pl_task_ref_t ref;
    ref = (pl_task_ref_t){ .id = make_dead(NULL) };
    pl_op_t *op = pl_op_new(PL_VERB_dead_purge);
    op->u.dead_purge = (pl_op_dead_purge_t){ .queue = PL_STR_LIT("calls"), .tasks = &ref, .len = 1 };
    return op;
}

static pl_op_t *a_new_schedule(void) {
    static pl_schedule_t schedule;
    static char name[20];
    snprintf(name, sizeof name, "%s", a_name());
    pl_op_t *op = schedule_op(&schedule, name, 0);
    op->u.schedule_set.source = PL_STR_NONE;
    return op;
}

static pl_op_t *a_schedule_that_goes(void) {
    static char name[20];
    pl_op_t *op = a_new_schedule();
    snprintf(name, sizeof name, "%s", op->u.schedule_set.schedules->name.ptr);
    pl_id_t before = schedule_id;
    schedule_id = op->u.schedule_set.schedules->id;
    CHECK(apply(op, 0) == PL_OK);
    for (int i = 0; i < 2; i++) {
        pl_stage_new_t stage = stage_of(new_id(), "t.Fired", 0);
        pl_fire_new_t fire = fire_of(&stage);
        CHECK(apply(fire_op(&fire), 0) == PL_OK);
        pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 1000);
    }
    schedule_id = before;
    op = pl_op_new(PL_VERB_schedule_delete);
    op->u.schedule_delete = (pl_op_schedule_delete_t){ .name = pl_str(name), .abort = true };
    return op;
}

static pl_op_t *a_fire(void) {
    static pl_stage_new_t stage;
    static pl_fire_new_t fire;
    stage = stage_of(new_id(), "t.Fired", 0);
    fire = fire_of(&stage);
    fire.overlap = PL_OVERLAP_SKIP;
    return fire_op(&fire);
}

static pl_op_t *a_fire_of_a_task(void) {
    static pl_task_new_t task;
    pl_op_t *op = a_fire();
    task = task_of(PL_TASK_DEFERRED, "calls", NULL);
    op->u.schedule_fire.fires->stage = NULL;
    op->u.schedule_fire.fires->task = &task;
    op->u.schedule_fire.pause_note = PL_STR_NONE;
    return op;
}

static pl_op_t *a_signal(void) {
    static pl_mail_new_t mail;
    static char key[20];
    snprintf(key, sizeof key, "%s", a_name());
    mail = (pl_mail_new_t){ .stage = flow, .name = PL_STR_LIT("go"), .key = pl_str(key), .value = PL_STR_LIT("\x01") };
    pl_op_t *op = pl_op_new(PL_VERB_signal);
    op->u.signal = (pl_op_signal_t){ &mail, 1 };
    return op;
}

static pl_op_t *a_signal_that_starts(void) {
    static pl_stage_new_t stage;
    static char key[20];
    pl_op_t *op = a_signal();
    snprintf(key, sizeof key, "%s", a_name());
    stage = stage_of(new_id(), "t.Flow", PL_STAGE_DURABLE);
    stage.key = pl_str(key);
    op->u.signal.mails->stage = 0;
    op->u.signal.mails->idempotence = pl_str(key);
    op->u.signal.mails->start = &stage;
    return op;
}

static pl_op_t *a_fork(void) {
    static pl_stage_new_t stage;
    stage = stage_of(new_id(), "t.Flow", PL_STAGE_DURABLE);
    pl_op_t *op = pl_op_new(PL_VERB_fork);
    op->u.fork = (pl_op_fork_t){ .stage = flow, .before = 3, .start = &stage, .mails = true };
    return op;
}

static pl_op_t *a_hold(void) {
    pl_op_t *op = pl_op_new(PL_VERB_flow_set);
    op->u.flow_set = (pl_op_flow_set_t){ .stage = start("t.Flow", PL_STAGE_DURABLE, NULL), .hold = true };
    return op;
}

static pl_op_t *a_retry(void) {
    pl_op_t *op = a_fill();
    pl_id_t stage = op->u.fill.stage;
    pl_op_free(op);
    op = pl_op_new(PL_VERB_retry);
    op->u.retry = (pl_op_retry_t){ .stage = stage, .retry_at = 1, .message = PL_STR_LIT("again") };
    return op;
}

/* All that a durable function can write at a time. */
static pl_journal_t *a_journal_of(pl_id_t stage) {
    static pl_journal_t journal;
    static pl_entry_t entries[2];
    static pl_stage_new_t below, beside;
    static pl_task_new_t task;
    static pl_fill_t fill;
    static pl_status_t status;
    static pl_value_new_t value;
    static pl_chunk_new_t chunk;
    static pl_mail_new_t mail;
    below = stage_of(new_id(), "t.Below", 0);
    beside = stage_of(new_id(), "t.Beside", 0);
    entries[0] = entry_of(1, 2, PL_ENTRY_STEP, 0);
    entries[1] = entry_of(3, 0, PL_ENTRY_CHILD, below.id);
    task = task_of(PL_TASK_DEFERRED, "calls", NULL);
    task.eta = pl_clock_now(&clock_) + INT64_C(7200000000);
    fill = (pl_fill_t){ stage, PL_STR_LIT("\x07") };
    status.message = PL_STR_LIT("half done");
    value = (pl_value_new_t){ PL_STR_LIT("v"), PL_STR_LIT("\x01") };
    chunk = (pl_chunk_new_t){ .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") };
    mail = (pl_mail_new_t){ .stage = flow, .name = PL_STR_LIT("go"), .value = PL_STR_LIT("\x01") };
    journal = (pl_journal_t){ .entries = entries,
                              .entries_len = 2,
                              .next = 4,
                              .children = &below,
                              .children_len = 1,
                              .starts = &beside,
                              .starts_len = 1,
                              .tasks = &task,
                              .tasks_len = 1,
                              .fills = &fill,
                              .fills_len = 1,
                              .values = &value,
                              .values_len = 1,
                              .chunks = &chunk,
                              .chunks_len = 1,
                              .mails = &mail,
                              .mails_len = 1,
                              .status = &status };
    return &journal;
}

static pl_op_t *a_write(void) {
    pl_id_t stage = start("t.Flow", PL_STAGE_DURABLE, NULL);
    pl_op_t *op = pl_op_new(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = stage, .claim = fence_of(stage), .journal = *a_journal_of(stage) };
    return op;
}

static pl_op_t *a_suspension(void) {
    pl_id_t stage = start("t.Flow", PL_STAGE_DURABLE, NULL);
    pl_op_t *op = pl_op_new(PL_VERB_suspend);
    op->u.suspend = (pl_op_suspend_t){ .stage = stage,
                                       .claim = fence_of(stage),
                                       .journal = *a_journal_of(stage),
                                       .due = pl_clock_now(&clock_) + INT64_C(7200000000),
                                       .wants = { "go", 3 },
                                       .slots = &slot,
                                       .slots_len = 1,
                                       .reason = PL_STR_LIT("a reason") };
    return op;
}

static pl_op_t *an_end_of_a_function(void) {
    pl_id_t stage = start("t.Flow", PL_STAGE_DURABLE, NULL);
    pl_op_t *op = outcome_op(stage, PL_OUTCOME_OK, PL_STAGE_DURABLE);
    op->u.outcome.journal = a_journal_of(stage);
    return op;
}

static pl_op_t *a_failure_of_a_function(void) {
    pl_id_t stage = start("t.Flow", PL_STAGE_DURABLE, NULL);
    pl_op_t *op = outcome_op(stage, PL_OUTCOME_ABORT, PL_STAGE_DURABLE);
    op->u.outcome.journal = a_journal_of(stage);
    return op;
}

static pl_op_t *(*const NEW[])(void) = { a_start,
                                         a_fill,
                                         an_abort,
                                         an_abort_at_once,
                                         an_abort_of_a_function,
                                         a_failure,
                                         a_resume,
                                         a_cleanup,
                                         a_final,
                                         a_queue,
                                         a_removal,
                                         a_modified_lease,
                                         a_deletion,
                                         a_purge,
                                         a_revival,
                                         a_dead_one_forgotten,
                                         a_new_schedule,
                                         a_schedule_that_goes,
                                         a_fire,
                                         a_fire_of_a_task,
                                         a_signal,
                                         a_signal_that_starts,
                                         a_fork,
                                         a_hold,
                                         a_retry,
                                         a_write,
                                         a_suspension,
                                         an_end_of_a_function,
                                         a_failure_of_a_function };

/* ---- one after the other ---------------------------------------------------------------------------------------- */

static pl_op_t *(*const PLAIN[])(void) = {
#define X(name, verb, ...) name,
    VERBS(X)
#undef X
};

/* The verb, behind what others have not written yet: their list. */
static pl_op_t *list_with(pl_op_t *op) {
    static pl_fill_t fill;
    static pl_task_new_t task;
    pl_op_t *end = pl_op_new(PL_VERB_outcome), *added = pl_op_new(PL_VERB_task_add);
    CHECK(leaves);
    fill = (pl_fill_t){ leaves->task, PL_STR_LIT("\x01") };
    end->u.outcome = (pl_op_outcome_t){ .stage = leaves->task, .claim = leaves->fence, .fills = &fill, .fills_len = 1 };
    task = task_of(PL_TASK_DEFERRED, "calls", NULL);
    task.eta = pl_clock_now(&clock_) + INT64_C(7200000000);
    added->u.task_add = (pl_op_task_add_t){ &task, 1, true };
    end->next = added;
    added->next = op;
    op->next = NULL;
    return end;
}

static void free_list(pl_op_t *ops) {
    for (pl_op_t *next; ops; ops = next) {
        next = ops->next;
        pl_op_free(ops);
    }
}

/* One try, at which the nth place fails; 0: none. Returns whether it came to that place. */
static bool try(pl_op_t *(*make)(void), long nth, int *rc) {
    char before[STATE_MAX], after[STATE_MAX];
    pl_error_t error = { 0 };
    pl_op_t *op = make(), *ops = list_with(op);
    read_state(before);
    pl__fail_at(nth);
    int turned = turn(ops, 0, &error);
    bool failed = nth > 0 && pl__has_failed();
    pl__fail_at(0);
    read_state(after);
    if (turned != PL_OK) {
        CHECK(failed && error.message[0] && strcmp(before, after) == 0);
        if (strcmp(before, after) != 0)
            printf("  before %s\n  after  %s\n", before, after);
    } else {
        char sql[200];
        snprintf(sql, sizeof sql,
                 "SELECT (SELECT state = " PL__STAGE(DONE) " FROM pl_stage WHERE id = %" PRId64
                                                           ") + (SELECT count(*) FROM pl_task WHERE id = %" PRId64 ")",
                 ops->u.outcome.stage, ops->next->u.task_add.tasks->id);
        CHECK(ops->rc == PL_OK && ops->next->rc == PL_OK && count(sql) == 2);
        if (nth > 0) /* what is seen to without the store may be refused */
            CHECK(op->rc == *rc || (failed && (op->error.message[0] || op->rc == PL_ENOMEM)));
        else
            *rc = op->rc;
        pl_claim_t *ended = leaves;
        leaves = ended->next;
        pl_claim_free(ended);
    }
    free_list(ops);
    return failed;
}

static long fail_each(pl_op_t *(*make)(void), int number, bool of_new) {
    int rc = PL_OK;
    long nth = 1;
    try(make, 0, &rc);
    while (nth < TRIES_MAX && check_failed < 10 && try(make, nth, &rc))
        nth++;
    CHECK(nth > 1 && nth < TRIES_MAX);
    if (check_failed)
        printf("  verb %d (%s): rc %d, place %ld\n", number, of_new ? "new" : "plain", rc, nth);
    return nth - 1;
}

static void check_rules(void) {
    for (int part = 0, next; part >= 0; part = next) {
        pl_op_t *op = pl_op_new(PL_VERB_check);
        pl_error_t error = { 0 };
        op->u.check.part = part;
        CHECK(turn(op, 0, &error) == PL_OK && op->u.check.len == 0);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("  %.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
        next = op->u.check.next ? op->u.check.next : -1;
        pl_op_free(op);
    }
}

static void ignore(void *data, int level, const char *line) {
    (void)data;
    (void)level;
    (void)line;
}

static void play_on(const char *name, size_t first, bool all) {
    const pl_log_t log = { .cb = ignore };
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = name, .clock = &clock_, .log = &log, .lease_seconds = 1e6, .tombstone_seconds = 1e6
    };
    long failed = 0;
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_ids_init(&ids, 1, 1000, 0);
    CHECK(pl__sqlite_driver.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    make_all();
    for (size_t i = first; i < sizeof PLAIN / sizeof *PLAIN && !check_failed; i++)
        failed += fail_each(PLAIN[i], (int)i, false);
    for (size_t i = 0; all && i < sizeof NEW / sizeof *NEW && !check_failed; i++)
        failed += fail_each(NEW[i], (int)i, true);
    check_rules();
    printf("%ld places failed on %s\n", failed, strcmp(name, path) == 0 ? "a file" : name);
    drop(&leaves);
    drop(&claims);
    pl__sqlite_driver.close(conn);
}

int main(void) {
#ifdef PL_FAULTS
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    snprintf(copy, sizeof copy, "%s-copy", path);
    play_on(path, 0, true);
    play_on(":memory:", sizeof PLAIN / sizeof *PLAIN - 1, false); /* a copy of that is made at once */
    static const char *const BESIDE[] = { "", "-wal", "-shm", "-workers", "-copy" };
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char name[sizeof path + 16];
        snprintf(name, sizeof name, "%s%s", path, BESIDE[i]);
        unlink(name);
    }
#else
    (void)play_on;
    puts("skipped: not a build that can make statements fail");
#endif
    return check_end();
}
