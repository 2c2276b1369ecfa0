/*
 * journals_test.c - what every store keeps of a durable function: its journal, what it shows, its eras and forks. Part
 * of the conformance suite, see suite.h.
 */
#include <string.h>

#include "store/functions.h"

/* ---- entries ----------------------------------------------------------------------------------------------- */

/* W12 W14 W81 */
static void entries_come_with_whatever_ends_the_claim(void) {
    static const pl_outcome_kind_t kinds[] = { PL_OUTCOME_OK, PL_OUTCOME_HELD, PL_OUTCOME_ABORT, PL_OUTCOME_FAILED,
                                               PL_OUTCOME_CONTINUE };
    for (size_t i = 0; i <= sizeof kinds / sizeof *kinds; i++) {
        bool suspends = i == sizeof kinds / sizeof *kinds;
        const int64_t taken = 1;
        pl_entry_t list[2] = { entry_of(1, 2, PL_ENTRY_STEP, "a"), entry_of(3, 4, PL_ENTRY_EVENT, "go") };
        pl_journal_t last = one(&list[1], 5);
        pl_value_new_t value = { PL_STR_LIT("v"), PL_STR_LIT("shown") };
        last.taken = &taken;
        last.values = &value;
        last.taken_len = last.values_len = 1;
        begin_function();
        CHECK(put(one(list, 3)) == PL_OK && entries_now() == 1 && flow_of(root).next == 3);
        CHECK(send("go", NULL) == PL_OK && mails_now() == 1);
        if (suspends) {
            CHECK(suspend(NEVER, NULL) == PL_OK && refused); /* it has looked */
            CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER }, last) == PL_OK && !refused);
        } else
            CHECK(end_with(kinds[i], &last) == PL_OK);
        bool continues = !suspends && kinds[i] == PL_OUTCOME_CONTINUE;
        CHECK(entries_now() == (continues ? 0 : 2) && mails_now() == 0 && flow_of(root).next == 5);
        pl_op_t *op = shown_of(root);
        CHECK(op->rc == PL_OK && is(op->u.shown_get.value, "shown"));
        pl_op_free(op);
        CHECK(put(one(list, 9)) == PL_ESTALE && flow_of(root).next == 5);
        forget();
    }
}

static bool is_same(const pl_entry_t *a, const pl_entry_t *b) {
    return a->seq == b->seq && a->done == b->done && a->kind == b->kind && a->state == b->state && a->nth == b->nth &&
           a->opened == b->opened && a->closed == b->closed && a->attempt == b->attempt && a->due == b->due &&
           a->ref == b->ref && pl_str_eq(a->name, b->name) && pl_str_eq(a->value, b->value) &&
           pl_str_eq(a->path, b->path) && pl_str_eq(a->line, b->line) && !a->value.ptr == !b->value.ptr;
}

/* W12 W35 */
static void an_entry_is_what_was_written_last(void) {
    enum { BIG = 5000 };
    char *big = calloc(1, BIG);
    begin_function();
    pl_entry_t list[PL_ENTRY_SIGNAL + 1];
    for (int i = 0; i <= PL_ENTRY_SIGNAL; i++) {
        list[i] = entry_of(2 * i + 1, i % 2 ? 2 * i + 2 : 0, (pl_entry_kind_t)i, "n");
        list[i].state = i % 2 ? (pl_entry_state_t)(1 + i % 3) : i % 4 ? PL_ENTRY_AGAIN : PL_ENTRY_OPEN;
        list[i].path = i % 3 ? PL_STR_LIT("1.2") : PL_STR_NONE;
        list[i].line = i % 4 ? PL_STR_LIT("a.lua:7") : PL_STR_NONE;
        list[i].attempt = i;
        list[i].due = i % 4 ? pl_clock_now(&clock_) + i : 0;
        list[i].ref = i % 5 ? i : 0;
    }
    list[5].value = (pl_str_t){ big, BIG };
    list[7].value = PL_STR_LIT("");
    list[9].value = PL_STR_NONE;
    for (int again = 0; again < 3; again++) { /* the same once more; and then, as it ends */
        if (again == 2) {
            list[5].value = PL_STR_LIT("short");
            list[2].state = PL_ENTRY_FAILED;
            list[2].done = 30;
            list[2].value = (pl_str_t){ big, BIG };
        }
        CHECK(put((pl_journal_t){ .entries = list, .entries_len = 10, .next = 31 }) == PL_OK);
        pl_op_t *op = see();
        CHECK(op->u.journal_get.len == 10 && !op->u.journal_get.more && op->u.journal_get.flow->bytes > BIG);
        for (size_t i = 0; i < op->u.journal_get.len; i++)
            CHECK(is_same(&op->u.journal_get.entries[i], &list[i]));
        pl_op_free(op);
    }
    CHECK(put(one(list, 8)) == PL_OK && flow_of(root).next == 31); /* it does not go back */
    CHECK(is_sound());                                             /* of the long value that was, nothing is left */
    free(big);
    forget();
}

/* Everything a journal may have; `task`: in a queue of that name. */
static int write_everything(int fence, const char *queue) {
    static const int64_t taken[1] = { 1 };
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    pl_stage_new_t child = stage_of("t.Child"), apart = stage_of("t.Apart");
    pl_task_new_t task = { .id = new_id(), .kind = PL_TASK_DEFERRED, .queue = pl_str(queue), .retry = PL_RETRY_NONE };
    pl_fill_t fill = { root, PL_STR_LIT("f") };
    pl_value_new_t value = { PL_STR_LIT("v"), PL_STR_LIT("x") };
    pl_chunk_new_t chunk = { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") };
    pl_mail_new_t mail = mail_of(root, "self", NULL);
    pl_status_t status = { .message = PL_STR_LIT("half done") };
    return put_as(fence, (pl_journal_t){ .entries = &entry,
                                         .entries_len = 1,
                                         .next = 3,
                                         .children = &child,
                                         .children_len = 1,
                                         .starts = &apart,
                                         .starts_len = 1,
                                         .tasks = &task,
                                         .tasks_len = 1,
                                         .fills = &fill,
                                         .fills_len = 1,
                                         .taken = taken,
                                         .taken_len = 1,
                                         .values = &value,
                                         .values_len = 1,
                                         .chunks = &chunk,
                                         .chunks_len = 1,
                                         .mails = &mail,
                                         .mails_len = 1,
                                         .status = &status,
                                         .cancel = PL_CANCEL_NONE,
                                         .deadline = pl_clock_now(&clock_) + PL_USEC_PER_SEC });
}

/* What there is besides of the function, as one number each. */
static void count_everything(int64_t counts[10]) {
    pl_op_t *shown = shown_of(root), *journal = see(), *tree = pl_op_new(PL_VERB_tree_get);
    tree->u.tree_get.stage = root;
    call(tree);
    pl_op_t *of = pl_op_new(PL_VERB_counts_get);
    call(of);
    int64_t tasks = 0;
    for (size_t i = 0; i < of->u.counts_get.len; i++)
        tasks += of->u.counts_get.counts[i].ready + of->u.counts_get.counts[i].claimed;
    const pl_op_journal_get_t *get = &journal->u.journal_get;
    const int64_t found[10] = { (int64_t)get->len,
                                get->flow->next,
                                (int64_t)get->news.mails_len,
                                get->flow->deadline != 0,
                                (int64_t)tree->u.tree_get.len,
                                tasks,
                                tree->u.tree_get.slots[0].filled,
                                (int64_t)shown->u.shown_get.values_len,
                                (int64_t)shown->u.shown_get.len,
                                tree->u.tree_get.stages[0].has_status };
    memcpy(counts, found, sizeof found);
    pl_op_free(shown);
    pl_op_free(journal);
    pl_op_free(tree);
    pl_op_free(of);
}

/* W28 W53 W54 W56 */
static void without_the_claim_nothing_is_written(void) {
    static const int64_t nothing[10] = { 0, 1, 1, 0, 1, 1, 0, 0, 0, 0 }, all[10] = { 1, 3, 1, 1, 2, 4, 1, 1, 1, 1 };
    int64_t counts[10];
    begin_function();
    int stale = mine->fence;
    CHECK(send("go", NULL) == PL_OK);
    for (int i = 0; i < 4; i++) { /* another number; no queue of that name; released, and claimed again */
        if (i == 2) {
            pl_op_t *op = pl_op_new(PL_VERB_release);
            op->u.release = (pl_op_release_t){ &root, &stale, 1, 0 };
            CHECK(call_free(op) == PL_OK && wakes_up() && mine->fence > stale);
        }
        CHECK(write_everything(i == 0 ? mine->fence + 1 : stale, i == 1 ? "nowhere" : "default") ==
              (i == 1 ? PL_ENOQUEUE : PL_ESTALE));
        CHECK(suspend_as((pl_op_suspend_t){ .claim = mine->fence + 1, .due = NEVER }, one(NULL, 7)) == PL_ESTALE);
        count_everything(counts);
        CHECK(memcmp(counts, nothing, sizeof counts) == 0);
    }
    CHECK(write_everything(mine->fence, "default") == PL_OK);
    count_everything(counts);
    CHECK(memcmp(counts, all, sizeof counts) == 0);
    drop();
    free_claims(claim(3));
    CHECK(abort_by(root, true) == PL_OK && put_as(stale + 1, one(NULL, 9)) == PL_ESTALE && flow_of(root).next == 3);
    CHECK(clean_up(root) == PL_OK);
}

/* What cannot be added, and why. */
typedef enum { NAME_TAKEN, NAME_TWICE, NAME_OF_RUN, NO_QUEUE, HELD_TWICE, KEY_TAKEN, KEY_TWICE, WRONGS } wrong_t;

static const struct {
    int rc;
    const char *error_class;
} answers[WRONGS] = {
    [NAME_TAKEN] = { PL_EEXISTS, "TaskAlreadyExistsError" },  [NAME_TWICE] = { PL_EEXISTS, "TaskAlreadyExistsError" },
    [NAME_OF_RUN] = { PL_EEXISTS, "TaskAlreadyExistsError" }, [NO_QUEUE] = { PL_ENOQUEUE, "UnknownQueueError" },
    [HELD_TWICE] = { PL_ESTATE, "BadTaskStateError" },        [KEY_TAKEN] = { PL_EEXISTS, "PipelineExistsError" },
    [KEY_TWICE] = { PL_EEXISTS, "PipelineExistsError" },
};

static pl_task_new_t task_of(const char *queue, const char *name) {
    return (pl_task_new_t){ .id = new_id(),
                            .kind = PL_TASK_DEFERRED,
                            .queue = pl_str(queue),
                            .name = name ? pl_str(name) : PL_STR_NONE,
                            .eta = pl_clock_now(&clock_) + 1000 * PL_USEC_PER_SEC,
                            .retry = PL_RETRY_NONE };
}

enum { BY_SUSPEND = -2, BY_JOURNAL = -1 }; /* else an outcome of that kind */

static int write_wrong(int end, wrong_t wrong, pl_id_t held) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    pl_journal_t journal = one(&entry, 3);
    pl_task_new_t tasks[3] = { task_of("default", "twin"), task_of("default", "taken"), task_of("nowhere", NULL) };
    pl_task_new_t runs[2] = { { .kind = PL_TASK_RUN, .stage = held }, { .kind = PL_TASK_RUN, .stage = held } };
    pl_stage_new_t roots[2] = { stage_of("t.Apart"), stage_of("t.Apart") };
    roots[0].key = PL_STR_LIT("free");
    roots[1].key = wrong == KEY_TAKEN ? PL_STR_LIT("taken") : PL_STR_LIT("free");
    if (wrong == NAME_TWICE)
        tasks[1].name = tasks[0].name;
    journal.tasks = wrong == HELD_TWICE ? runs : wrong == NO_QUEUE ? &tasks[2] : tasks;
    journal.tasks_len = wrong >= KEY_TAKEN ? 0 : wrong == NO_QUEUE || wrong == NAME_OF_RUN ? 1 : 2;
    journal.starts = roots;
    journal.starts_len = wrong >= KEY_TAKEN ? 2 : 0;
    if (end == BY_JOURNAL)
        return put(journal);
    if (end == BY_SUSPEND)
        return suspend_as((pl_op_suspend_t){ .due = NEVER }, journal);
    pl_task_new_t of_run = tasks[0];
    of_run.id = new_id();
    pl_op_t *op = outcome(mine, (pl_outcome_kind_t)end);
    op->u.outcome.journal = &journal;
    op->u.outcome.tasks = &of_run;
    op->u.outcome.tasks_len = wrong == NAME_OF_RUN;
    op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("E"), .message = PL_STR_LIT("m") };
    op->u.outcome.retry_message = op->u.outcome.abort_message = PL_STR_LIT("why");
    op->u.outcome.give_up = true;
    int rc = pl_store_call(store, op);
    CHECK(op->u.outcome.refused && op->u.outcome.refused->rc == rc && op->u.outcome.refused->is_last);
    pl_op_free(op);
    return rc;
}

/* Nothing of it is real. After an outcome the attempt has failed, else the function goes on. */
static void check_refused(int end, wrong_t wrong, pl_id_t held) {
    CHECK(entries_now() == 0 && flow_of(root).next == 1);
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.key = PL_STR_LIT("free");
    CHECK(!call(op)->u.stage_get.result);
    pl_op_free(op);
    CHECK(state_of(held) == PL_STAGE_READY);
    if (end < 0) {
        CHECK(put(one(NULL, 2)) == PL_OK && flow_of(root).next == 2);
        return;
    }
    CHECK(state_of(root) == PL_STAGE_ABORTED && put(one(NULL, 2)) == PL_ESTALE);
    op = pl_op_new(PL_VERB_failures_get);
    op->u.failures_get.stage = root;
    call(op);
    CHECK(op->u.failures_get.len == 1 && is(op->u.failures_get.failures->error_class, answers[wrong].error_class));
    pl_op_free(op);
}

/* W12 */
static void what_cannot_be_added_is_refused_with_all_of_it(void) {
    pl_stage_new_t taken = stage_of("t.Taken"), held = stage_of("t.Held");
    pl_task_new_t named = task_of("default", "taken");
    taken.key = PL_STR_LIT("taken");
    held.hold = true;
    taken.eta = named.eta;
    CHECK(start(&taken) == PL_OK && start(&held) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ .tasks = &named, .len = 1 };
    CHECK(call_free(op) == PL_OK && named.rc == PL_OK);
    for (int wrong = 0; wrong < WRONGS; wrong++)
        for (int end = BY_SUSPEND; end <= PL_OUTCOME_CONTINUE; end++) {
            if (wrong == NAME_OF_RUN && end != PL_OUTCOME_OK) /* the tasks of any other are not added */
                continue;
            begin_function();
            CHECK(write_wrong(end, (wrong_t)wrong, held.id) == answers[wrong].rc);
            check_refused(end, (wrong_t)wrong, held.id);
            forget();
        }
    pl_task_ref_t ref = { .name = PL_STR_LIT("taken") };
    op = pl_op_new(PL_VERB_task_delete);
    op->u.task_delete = (pl_op_task_delete_t){ PL_STR_LIT("default"), &ref, 1 };
    CHECK(call_free(op) == PL_OK && ref.rc == PL_OK);
    CHECK(abort_by(taken.id, true) == PL_OK && clean_up(taken.id) == PL_OK);
    CHECK(abort_by(held.id, true) == PL_OK && clean_up(held.id) == PL_OK && is_sound());
}

/* W54 */
static void a_signal_finds_the_root_that_is_started_with_it(void) {
    for (int durable = 0; durable < 2; durable++) {
        pl_stage_new_t apart = durable ? function_of("t.Apart") : stage_of("t.Apart"), late = function_of("t.Late");
        begin_function();
        pl_mail_new_t mails[2] = { mail_of(0, "go", NULL), mail_of(apart.id, "go", NULL) };
        pl_journal_t journal = { .starts = &apart, .starts_len = 1, .mails = mails, .mails_len = 2 };
        apart.key = mails[0].idempotence = PL_STR_LIT("apart");
        mails[0].start = &late;
        CHECK(put(journal) == PL_OK && mails[0].stage == apart.id && state_of(late.id) == (pl_stage_state_t)-1);
        CHECK(mails[0].rc == (durable ? PL_OK : PL_ESTATE) && mails[1].rc == mails[0].rc);
        CHECK(abort_by(apart.id, true) == PL_OK && clean_up(apart.id) == PL_OK);
        forget();
    }
}

static void only_durable_functions_have_journals(void) {
    pl_stage_new_t stage = stage_of("t.Plain");
    CHECK(start(&stage) == PL_OK);
    root = stage.id;
    CHECK(wakes_up() && put(one(NULL, 3)) == PL_ESTATE && suspend(NEVER, NULL) == PL_ESTATE);
    CHECK(send("go", NULL) == PL_ESTATE && set_flow(true, NULL) == PL_ESTATE);
    pl_op_t *op = shown_of(root);
    CHECK(op->rc == PL_ENOTFOUND);
    pl_op_free(op);
    op = see();
    CHECK(op->rc == PL_ENOTFOUND && !op->u.journal_get.flow);
    pl_op_free(op);
    CHECK(finish_with(mine, root) == PL_OK);
    forget();
}

/* ---- updates ----------------------------------------------------------------------------------------------- */

static pl_reply_t reply_to(int64_t number, const char *answer) {
    pl_op_t *op = shown_of(root);
    op->u.shown_get.mail = number;
    op->rc = PL_OK;
    call(op);
    pl_reply_t reply = op->u.shown_get.reply;
    CHECK(op->u.shown_get.has_mail && (answer ? is(op->u.shown_get.answer, answer) : !op->u.shown_get.answer.ptr));
    pl_op_free(op);
    return reply;
}

/* W134 W135 W136 W138 */
static void an_update_is_answered_once(void) {
    begin_function();
    pl_mail_new_t update = mail_of(root, "set", "k"), again = update;
    update.kind = again.kind = PL_MAIL_UPDATE;
    CHECK(send_all(&update, 1) == PL_OK && update.rc == PL_OK && reply_to(1, NULL) == PL_REPLY_NONE);
    CHECK(send_all(&again, 1) == PL_OK && again.rc == PL_EEXISTS && again.number == 1);
    const int64_t taken = 1;
    pl_answer_new_t answer = { 1, PL_REPLY_REFUSED, PL_STR_LIT("no") };
    pl_journal_t journal = one(NULL, 1);
    journal.taken = &taken;
    journal.answers = &answer;
    journal.taken_len = journal.answers_len = 1;
    CHECK(put(journal) == PL_OK && reply_to(1, "no") == PL_REPLY_REFUSED && mails_now() == 0);
    answer = (pl_answer_new_t){ 1, PL_REPLY_OK, PL_STR_LIT("yes") };
    CHECK(put(journal) == PL_OK && reply_to(1, "no") == PL_REPLY_REFUSED);
    again.number = 0;
    CHECK(send_all(&again, 1) == PL_OK && again.rc == PL_EEXISTS && again.number == 1);
    CHECK(send("set", NULL) == PL_OK); /* a signal is not answered */
    answer.mail = 2;
    CHECK(put(journal) == PL_OK && reply_to(2, NULL) == PL_REPLY_NONE);
    CHECK(end_with(PL_OUTCOME_CONTINUE, NULL) == PL_OK && reply_to(1, "no") == PL_REPLY_REFUSED && wakes_up());
    CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_OK && reply_to(1, "no") == PL_REPLY_REFUSED);
    update.key = PL_STR_NONE;
    CHECK(send_all(&update, 1) == PL_OK && update.rc == PL_EFINAL);
    forget();
}

/* ---- what it shows ----------------------------------------------------------------------------------------- */

/* W139 W140 W141 */
static void what_is_shown_is_written_once(void) {
    pl_value_new_t values[3] = { { PL_STR_LIT("v"), PL_STR_LIT("1") },
                                 { PL_STR_LIT("v"), PL_STR_LIT("2") },
                                 { PL_STR_LIT("a"), PL_STR_NONE } };
    pl_chunk_new_t chunks[5] = {
        { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("x") },
        { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("step"), .k = 1, .value = PL_STR_LIT("y") },
        { .stream = PL_STR_LIT("r"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("z") },
        { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 2 },
        { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 3, .value = PL_STR_LIT("late") },
    };
    begin_function();
    for (int again = 0; again < 2; again++) {
        CHECK(put((pl_journal_t){ .next = 1, .values = values, .values_len = 3, .chunks = chunks, .chunks_len = 5 }) ==
              PL_OK);
        for (int i = 0; i < 5; i++)
            CHECK(chunks[i].is_refused == (i == 4));
    }
    pl_op_t *op = shown_of(root);
    const pl_op_shown_get_t *get = &op->u.shown_get;
    CHECK(op->rc == PL_OK && get->state == PL_STAGE_READY && is(get->value, "2") && get->time > 0);
    CHECK(get->len == 3 && is(get->chunks[0].value, "x") && is(get->chunks[1].value, "y") && !get->chunks[2].value.ptr);
    for (size_t i = 0; i < get->len; i++)
        CHECK(get->chunks[i].n == (int64_t)i && get->chunks[i].time > 0);
    CHECK(get->values_len == 2 && is(get->values[0].name, "a") && get->values[0].size == 0);
    CHECK(is(get->values[1].name, "v") && is(get->values[1].value, "2") && get->values[1].size == 1);
    CHECK(get->streams_len == 2 && is(get->streams[0].name, "r") && get->streams[0].size == 1);
    CHECK(!get->streams[0].is_closed && get->streams[1].is_closed && get->streams[1].size == 2);
    CHECK(get->forks_len == 0 && !get->has_mail);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_shown_get);
    op->u.shown_get = (pl_op_shown_get_t){ .stage = root, .stream = PL_STR_LIT("s"), .from = 1, .limit = 1 };
    call(op);
    CHECK(op->u.shown_get.len == 1 && op->u.shown_get.chunks[0].n == 1 && !op->u.shown_get.value.ptr);
    CHECK(op->u.shown_get.values_len == 0 && op->u.shown_get.streams_len == 0);
    pl_op_free(op);
    CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_OK);
    op = shown_of(root);
    CHECK(op->u.shown_get.state == PL_STAGE_DONE && is(op->u.shown_get.value, "2") && op->u.shown_get.len == 3);
    pl_op_free(op);
    forget();
}

/* W139 */
static void a_large_value_is_told_of_by_its_size(void) {
    enum { NAMES = PL_SHOWN_NAMES_MAX + 5 };
    static char names[NAMES][8];
    pl_value_new_t values[NAMES];
    pl_chunk_new_t chunks[NAMES];
    char *large = calloc(1, PL_SHOWN_BYTES_MAX + 1);
    begin_function();
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "n%03d", i);
        values[i] = (pl_value_new_t){ pl_str(names[i]), { large, (size_t)(PL_SHOWN_BYTES_MAX + (i == 1)) * (i < 2) } };
        chunks[i] = (pl_chunk_new_t){ .stream = pl_str(names[i]), .source = PL_STR_LIT("~"), .value = PL_STR_LIT("") };
    }
    CHECK(put((pl_journal_t){ .values = values, .values_len = NAMES, .chunks = chunks, .chunks_len = NAMES }) == PL_OK);
    pl_op_t *op = shown_of(root);
    const pl_op_shown_get_t *get = &op->u.shown_get;
    CHECK(get->values_len == PL_SHOWN_NAMES_MAX && get->streams_len == PL_SHOWN_NAMES_MAX);
    CHECK(get->values[0].value.len == PL_SHOWN_BYTES_MAX && !get->values[1].value.ptr && get->values[2].value.ptr);
    CHECK(get->values[1].size == PL_SHOWN_BYTES_MAX + 1 && is(get->values[99].name, "n099"));
    CHECK(is(get->streams[99].name, "n099") && get->streams[99].size == 1);
    pl_op_free(op);
    free(large);
    forget();
}

/* The store in memory looks through all chunks for each. W140 */
static void a_stream_is_bounded(void) {
    enum { MANY = 10000 };
    pl_chunk_new_t *chunks = calloc(MANY, sizeof *chunks),
                   end_of = { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~"), .k = PL_CHUNKS_MAX + 1 };
    begin_function();
    for (int from = 0; from <= PL_CHUNKS_MAX; from += MANY) {
        for (int i = 0; i < MANY; i++)
            chunks[i] = (pl_chunk_new_t){
                .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~"), .k = from + i, .value = PL_STR_LIT("x")
            };
        size_t len = from == PL_CHUNKS_MAX ? 1 : MANY;
        CHECK(put((pl_journal_t){ .chunks = chunks, .chunks_len = len }) == PL_OK);
        CHECK(chunks[0].is_refused == (from == PL_CHUNKS_MAX) && chunks[len - 1].is_refused == chunks[0].is_refused);
    }
    CHECK(put((pl_journal_t){ .chunks = &end_of, .chunks_len = 1 }) == PL_OK && !end_of.is_refused);
    pl_op_t *op = shown_of(root);
    CHECK(op->u.shown_get.streams->is_closed && op->u.shown_get.streams->size == PL_CHUNKS_MAX);
    pl_op_free(op);
    free(chunks);
    forget();
}

/* ---- eras -------------------------------------------------------------------------------------------------- */

/* W92 W142 W143 W145 */
static void the_next_era_has_the_mailbox_and_an_empty_journal(void) {
    pl_entry_t list[2] = { entry_of(1, 2, PL_ENTRY_STEP, "a"), entry_of(3, 0, PL_ENTRY_TIMER, "t") };
    pl_value_new_t value = { PL_STR_LIT("v"), PL_STR_LIT("kept") };
    const int64_t taken = 1;
    begin_function();
    pl_id_t child = spawn(stage_of("t.Child"), 5);
    pl_journal_t journal = { .entries = list, .entries_len = 2, .next = 6, .values = &value, .values_len = 1 };
    CHECK(send("a", NULL) == PL_OK && send("b", "k") == PL_OK);
    journal.taken = &taken;
    journal.taken_len = 1;
    CHECK(put(journal) == PL_OK && entries_now() == 3 && flow_of(root).bytes > 0);
    CHECK(end_with(PL_OUTCOME_CONTINUE, NULL) == PL_OK);
    pl_flow_t flow = flow_of(root);
    CHECK(flow.era == 1 && flow.first == 6 && flow.next == 6 && flow.bytes == 0 && flow.mode == PL_FLOW_BEGUN);
    CHECK(entries_now() == 0 && mails_now() == 1 && state_of(root) == PL_STAGE_READY);
    drop();
    mine = claim(2); /* its child is as it was, and older */
    CHECK(mine && mine->next && state_of(child) == PL_STAGE_READY);
    pl_claim_t *of = mine->task == root ? mine : mine->next, *other = mine->task == root ? mine->next : mine;
    CHECK(of->task == root && is(of->stage->args, "next") && of->stage->inputs_len == 0);
    CHECK(finish_with(other, child) == PL_OK);
    pl_op_t *op = see();
    CHECK(op->u.journal_get.news.mails[0].number == 2 && op->u.journal_get.news.children_len == 0);
    pl_op_free(op);
    op = shown_of(root);
    CHECK(is(op->u.shown_get.value, "kept"));
    pl_op_free(op);
    pl_entry_t late = entry_of(6, 7, PL_ENTRY_STEP, "a");
    op = pl_op_new(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = root, .claim = of->fence, .journal = one(&late, 8) };
    CHECK(call_free(op) == PL_OK && entries_now() == 1);
    forget();
}

/* ---- forks ------------------------------------------------------------------------------------------------- */

/* W155 W157 */
static void a_fork_has_the_entries_before_a_certain_one(void) {
    enum { BIG = 3000 };
    char *big = calloc(1, BIG);
    pl_entry_t list[5] = { entry_of(1, 2, PL_ENTRY_STEP, "a"), entry_of(3, 8, PL_ENTRY_TIMER, "cancelled later"),
                           entry_of(4, 9, PL_ENTRY_STEP, "done later"), entry_of(5, 0, PL_ENTRY_EVENT, "b"),
                           entry_of(6, 7, PL_ENTRY_STEP, "c") };
    list[0].value = list[1].value = (pl_str_t){ big, BIG };
    list[1].state = PL_ENTRY_CANCELLED;
    begin_function();
    pl_value_new_t value = { PL_STR_LIT("v"), PL_STR_LIT("x") };
    CHECK(put((pl_journal_t){ .entries = list, .entries_len = 5, .next = 10, .values = &value, .values_len = 1 }) ==
          PL_OK);
    CHECK(send("go", "k") == PL_OK && send("go", NULL) == PL_OK);
    for (int mails = 0; mails < 2; mails++) {
        pl_stage_new_t new = function_of("t.Fork");
        new.seed = PL_STR_LIT("fedcba9876543210");
        new.version = 3;
        new.key = mails ? PL_STR_LIT("fork-2") : PL_STR_LIT("fork-1");
        CHECK(fork_of(root, &new, 6, mails) == PL_OK && state_of(new.id) == PL_STAGE_READY);
        pl_op_t *op = see_of(new.id);
        const pl_op_journal_get_t *get = &op->u.journal_get;
        CHECK(get->len == 3 && get->entries[0].seq == 1 && get->entries[1].seq == 4 && get->entries[2].seq == 5);
        CHECK(get->entries[0].value.len == BIG && get->flow->next == 10 && get->flow->version == 3);
        CHECK(is(get->flow->seed, "0123456789abcdef") && get->flow->mode == PL_FLOW_BEGUN && get->flow->bytes > BIG);
        CHECK(get->flow->forked_from == root && get->flow->forked_at == 6);
        CHECK(get->news.mails_len == (size_t)(2 * mails) && get->flow->mails == 2 * mails);
        pl_op_free(op);
        op = shown_of(root);
        CHECK(op->u.shown_get.forks_len == 1 && op->u.shown_get.forks[0] == new.id);
        pl_op_free(op);
        op = shown_of(new.id);
        CHECK(op->u.shown_get.values_len == 0 && op->u.shown_get.forks_len == 0);
        pl_op_free(op);
        pl_mail_new_t more = mail_of(new.id, "go", "k");
        CHECK(send_all(&more, 1) == PL_OK && more.rc == (mails ? PL_EEXISTS : PL_OK) && more.number == (mails ? 1 : 3));
        CHECK(is_sound());       /* it has no more than that */
        pl_id_t original = root; /* what is written to it anew has nothing of what was left out */
        pl_claim_t *claim_before = mine;
        root = new.id;
        mine = NULL;
        CHECK(wakes_up());
        list[1].value = PL_STR_LIT("anew");
        CHECK(put(one(&list[1], 11)) == PL_OK);
        list[1].value = (pl_str_t){ big, BIG };
        op = see();
        CHECK(op->u.journal_get.len == 4 && is(op->u.journal_get.entries[1].value, "anew"));
        pl_op_free(op);
        forget();
        root = original;
        mine = claim_before;
        CHECK(entries_now() == 5 && mails_now() == 2);
    }
    pl_stage_new_t taken = function_of("t.Fork");
    taken.key = PL_STR_LIT("fork-3");
    CHECK(start(&taken) == PL_OK);
    pl_stage_new_t refused_one = function_of("t.Fork");
    refused_one.key = taken.key;
    CHECK(fork_of(root, &refused_one, 6, false) == PL_EEXISTS && state_of(refused_one.id) == (pl_stage_state_t)-1);
    CHECK(fork_of(7, &refused_one, 6, false) == PL_ENOTFOUND);
    CHECK(abort_by(taken.id, true) == PL_OK && clean_up(taken.id) == PL_OK);
    free(big);
    forget();
}

/* ---- pages and numbers ------------------------------------------------------------------------------------- */

/* W58 W145 */
static void a_journal_is_read_in_pages(void) {
    enum { ENTRIES = 25, LARGE = 2 * 1024 * 1024 };
    pl_entry_t list[ENTRIES];
    char *large = calloc(1, LARGE);
    begin_function();
    for (int i = 0; i < ENTRIES; i++)
        list[i] = entry_of(2 * i + 1, 2 * i + 2, PL_ENTRY_STEP, "a");
    CHECK(put((pl_journal_t){ .entries = list, .entries_len = ENTRIES, .next = 51 }) == PL_OK);
    int64_t after = 0;
    int seen = 0;
    for (int page = 0; page < 3; page++) {
        pl_op_t *op = pl_op_new(PL_VERB_journal_get);
        op->u.journal_get = (pl_op_journal_get_t){ .stage = root, .after = after, .limit = 10 };
        const pl_op_journal_get_t *get = &call(op)->u.journal_get;
        CHECK(get->len == (page < 2 ? 10 : 5) && get->more == (page < 2) && get->entries[0].seq == 2 * seen + 1);
        seen += (int)get->len;
        after = get->entries[get->len - 1].seq;
        pl_op_free(op);
    }
    for (int known = 50; known < 52; known++) { /* who knows it all is given nothing */
        pl_op_t *op = pl_op_new(PL_VERB_journal_get);
        op->u.journal_get = (pl_op_journal_get_t){ .stage = root, .limit = 100, .known = known };
        CHECK(call(op)->u.journal_get.len == (known == 51 ? 0 : ENTRIES) && op->u.journal_get.flow);
        pl_op_free(op);
    }
    for (int i = 0; i < 3; i++)
        list[i].value = (pl_str_t){ large, LARGE };
    CHECK(put((pl_journal_t){ .entries = list, .entries_len = 3, .next = 51 }) == PL_OK);
    pl_op_t *op = see();
    CHECK(op->u.journal_get.len == 2 && op->u.journal_get.more); /* as many bytes as a page may have */
    pl_op_free(op);
    free(large);
    forget();
}

/* W154 W158 W175 */
static void functions_are_listed_in_pages(void) {
    enum { COUNT = 5 };
    pl_id_t all[COUNT], found[COUNT];
    for (int i = 0; i < COUNT; i++) {
        begin_function();
        all[i] = root;
        CHECK(i % 2 ? suspend(NEVER, NULL) == PL_OK : end_with(PL_OUTCOME_HELD, NULL) == PL_OK);
    }
    CHECK(list_flows(false, 0, 3, found) == 3 && memcmp(found, all, 3 * sizeof *all) == 0);
    CHECK(list_flows(false, all[2], 3, found) == 2 && found[0] == all[3] && found[1] == all[4]);
    CHECK(list_flows(true, 0, 2, found) == 2 && found[0] == all[4] && found[1] == all[2]);
    CHECK(list_flows(true, all[2], 2, found) == 1 && found[0] == all[0]);
    pl_op_t *op = pl_op_new(PL_VERB_flows_get);
    const int64_t *counts = call(op)->u.flows_get.counts;
    CHECK(counts[PL_FLOW_HELD] == 3 && counts[PL_FLOW_SUSPENDED] == 2);
    CHECK(counts[PL_FLOW_BEGUN] == 0 && counts[PL_FLOW_OVER] == 0);
    pl_op_free(op);
    root = all[0];
    CHECK(set_flow(false, NULL) == PL_OK && wakes_up() && end_with(PL_OUTCOME_OK, NULL) == PL_OK);
    CHECK(list_flows(false, 0, 10, NULL) == 4 && list_flows(true, 0, 10, NULL) == 2);
    for (int i = 0; i < COUNT; i++) {
        root = all[i];
        forget();
    }
    CHECK(list_flows(false, 0, 10, NULL) == 0);
}

/* ---- what goes, and what stays ----------------------------------------------------------------------------- */

/* W148 */
static void a_purge_of_its_queue_leaves_the_function(void) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    begin_function();
    CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER, .wants = PL_STR_LIT("*") }, one(&entry, 3)) == PL_OK);
    CHECK(send("late", "k") == PL_OK && wakes_up() && suspend(NEVER, NULL) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_purge);
    op->u.purge.queue = PL_STR_LIT("default");
    CHECK(call_free(op) == PL_OK && entries_now() == 1 && mails_now() == 1 && flow_of(root).mode == PL_FLOW_SUSPENDED);
    CHECK(set_flow(true, NULL) == PL_OK && set_flow(false, NULL) == PL_OK && wakes_up());
    CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_OK && entries_now() == 1);
    forget();
}

static void a_cleanup_takes_nothing_of_its_forks(void) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    pl_stage_new_t fork = function_of("t.Fork");
    begin_function();
    CHECK(put(one(&entry, 3)) == PL_OK && send("go", NULL) == PL_OK && fork_of(root, &fork, 3, true) == PL_OK);
    pl_id_t original = root;
    CHECK(clean_up(root) == PL_ELIVE && entries_now() == 1);
    drop();
    CHECK(abort_by(root, true) == PL_OK && clean_up(root) == PL_OK);
    root = fork.id;
    CHECK(entries_now() == 1 && mails_now() == 1 && flow_of(root).forked_from == original);
    forget();
}

static void try_all(void) {
    entries_come_with_whatever_ends_the_claim();
    an_entry_is_what_was_written_last();
    without_the_claim_nothing_is_written();
    what_cannot_be_added_is_refused_with_all_of_it();
    a_signal_finds_the_root_that_is_started_with_it();
    only_durable_functions_have_journals();
    an_update_is_answered_once();
    what_is_shown_is_written_once();
    a_large_value_is_told_of_by_its_size();
    the_next_era_has_the_mailbox_and_an_empty_journal();
    a_fork_has_the_entries_before_a_certain_one();
    a_journal_is_read_in_pages();
    functions_are_listed_in_pages();
    a_purge_of_its_queue_leaves_the_function();
    a_cleanup_takes_nothing_of_its_forks();
    if (!fails_first && has_sql)
        a_stream_is_bounded();
}

int main(void) {
    return try_everywhere(try_all);
}
