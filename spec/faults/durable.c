/*
 * durable.c - the lives of a few durable functions, in which each verb of their journals is called, to be played with
 * something failing in it. Included by the tests that use it, for each is one file.
 *
 *   root    writes all that a journal may have; waits for a slot, a child, a mail, a timer; is held, and let go on, by
 *           itself and by others; continues as new; is aborted, told so, ends ABORTED; is resumed, and done
 *   child   one of its children, ends well, or fails; `late` is another one, that is ended with root
 *   other   is started by a signal, answers an update, and is aborted by force
 *   fork    has some entries of root and its mails, and fails
 *
 * A turn that fails has changed nothing: the file keeps its rules, a claim under which it was to write is still there,
 * and when the same ops are given again all is as if nothing had failed. What that is tells a text (durable_facts).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/entry.h"
#include "support/turns.h"

enum { BIG = 3000, LIVES = 7 };

static pl_id_t lives[LIVES]; /* first of all: they are told apart by their places */
#define root lives[0]
#define child lives[1]
#define late lives[2]
#define other lives[3]
#define fork_id lives[4]
#define apart lives[5]
#define slot lives[6]
static char big[BIG];
static const pl_str_t BIG_VALUE = { big, BIG };

/* ---- writing ----------------------------------------------------------------------------------------------- */

static pl_entry_t entry_of(int64_t seq, int64_t done, pl_entry_kind_t kind, pl_id_t ref) {
    return entry_with(seq, done, kind, ref, BIG_VALUE);
}

static void write_of(pl_id_t stage, pl_journal_t journal) {
    pl_op_t *op = new_op(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = stage, .claim = fence_of(stage), .journal = journal };
    CHECK(apply(op) == PL_OK);
}

static void write_everything(void) {
    pl_entry_t entries[2] = { entry_of(1, 2, PL_ENTRY_STEP, 0), entry_of(3, 0, PL_ENTRY_CHILD, child) };
    pl_stage_new_t below[2] = { stage_as(child, "t.Child", 0), stage_as(late, "t.Late", PL_STAGE_DURABLE) };
    const pl_output_t outputs[2] = { { PL_STR_LIT("default"), child }, { PL_STR_LIT("more"), slot } };
    pl_stage_new_t detached = stage_as(apart, "t.Apart", 0);
    pl_task_new_t task = {
        .id = new_id(), .kind = PL_TASK_PULL, .queue = PL_STR_LIT("pulled"), .retry = PL_RETRY_NONE
    };
    pl_value_new_t value = { PL_STR_LIT("v"), BIG_VALUE };
    pl_chunk_new_t chunk = { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") };
    pl_status_t status = { .message = PL_STR_LIT("half done") };
    below[0].outputs = outputs;
    below[0].outputs_len = 2;
    write_of(root, (pl_journal_t){ .entries = entries,
                                   .entries_len = 2,
                                   .next = 4,
                                   .children = below,
                                   .children_len = 2,
                                   .starts = &detached,
                                   .starts_len = 1,
                                   .tasks = &task,
                                   .tasks_len = 1,
                                   .values = &value,
                                   .values_len = 1,
                                   .chunks = &chunk,
                                   .chunks_len = 1,
                                   .status = &status,
                                   .deadline = 77 });
    CHECK(claim_of(child) && claim_of(late) && claim_of(apart));
}

/* Returns whether it waits. */
static bool suspend(pl_op_suspend_t suspension) {
    pl_op_t *op = new_op(PL_VERB_suspend);
    op->u.suspend = suspension;
    op->u.suspend.stage = root;
    op->u.suspend.claim = fence_of(root);
    (void)turn_of(&op, 1, 100);
    CHECK(op->rc == PL_OK);
    bool refused = op->u.suspend.refused;
    pl_op_free(op);
    return !refused;
}

static void send(pl_mail_new_t mail, int rc) {
    pl_op_t *op = new_op(PL_VERB_signal);
    op->u.signal = (pl_op_signal_t){ &mail, 1 };
    CHECK(apply(op) == PL_OK && mail.rc == rc);
}

static void set_flow(bool hold) {
    pl_op_t *op = new_op(PL_VERB_flow_set);
    op->u.flow_set = (pl_op_flow_set_t){ .stage = root, .hold = hold, .reason = PL_STR_LIT("by hand") };
    CHECK(apply(op) == PL_OK);
}

static void end_with(pl_id_t stage, pl_outcome_kind_t kind, const pl_journal_t *journal, int rc) {
    pl_op_t *op = kind == PL_OUTCOME_OK ? finish_op(stage) : outcome(stage, kind);
    op->u.outcome.journal = journal;
    op->u.outcome.args = PL_STR_LIT("next");
    if (kind == PL_OUTCOME_ABORT && stage == root) /* it was told; all that is below it ends with it */
        op->u.outcome.abort_message = PL_STR_NONE;
    op->u.outcome.force = kind == PL_OUTCOME_ABORT && stage == root;
    CHECK(apply(op) == rc);
}

/* ---- the lives --------------------------------------------------------------------------------------------- */

static void it_waits(bool fails) {
    pl_entry_t waits = entry_of(4, 0, PL_ENTRY_SLOT, slot);
    pl_mail_new_t to_other = { .stage = other, .name = PL_STR_LIT("hello"), .value = BIG_VALUE };
    write_everything();
    CHECK(suspend((pl_op_suspend_t){ .journal = { .entries = &waits, .entries_len = 1, .next = 5 },
                                     .due = PL_USEC_NEVER,
                                     .wants = { "go", 3 },
                                     .slots = &slot,
                                     .slots_len = 1,
                                     .reason = PL_STR_LIT("a reason") }));
    pl_stage_new_t first = stage_as(other, "t.Other", PL_STAGE_DURABLE);
    send((pl_mail_new_t){ .idempotence = PL_STR_LIT("other"),
                          .start = &first,
                          .kind = PL_MAIL_UPDATE,
                          .name = PL_STR_LIT("set"),
                          .key = PL_STR_LIT("k") },
         PL_OK);
    CHECK(claim_of(other));
    send((pl_mail_new_t){ .stage = root, .name = PL_STR_LIT("go"), .key = PL_STR_LIT("k"), .value = BIG_VALUE }, PL_OK);
    send((pl_mail_new_t){ .stage = root, .name = PL_STR_LIT("go"), .key = PL_STR_LIT("k") }, PL_EEXISTS);
    pl_op_t *op = new_op(PL_VERB_fill);
    op->u.fill = (pl_op_fill_t){ .stage = child, .fills = fill_of(slot), .fills_len = 1 };
    CHECK(apply(op) == PL_OK);
    end_with(child, fails ? PL_OUTCOME_ABORT : PL_OUTCOME_OK, NULL, PL_OK);
    const int64_t taken = 1;
    pl_entry_t ends[2] = { entry_of(3, 5, PL_ENTRY_CHILD, child), entry_of(4, 6, PL_ENTRY_SLOT, slot) };
    write_of(root, (pl_journal_t){ .entries = ends,
                                   .entries_len = 2,
                                   .next = 7,
                                   .taken = &taken,
                                   .taken_len = 1,
                                   .mails = &to_other,
                                   .mails_len = 1 });
    CHECK(to_other.rc == PL_OK);
}

static void it_is_held(void) {
    pl_entry_t timer = entry_of(7, 0, PL_ENTRY_TIMER, 0);
    pl_op_suspend_t suspension = { .journal = { .entries = &timer, .entries_len = 1, .next = 8 },
                                   .due = pl_clock_now(&clock_) + PL_USEC_PER_SEC,
                                   .reason = PL_STR_LIT("it waits") };
    CHECK(!suspend(suspension) && suspend(suspension)); /* news have come since it looked */
    set_flow(true);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 2 * PL_USEC_PER_SEC);
    CHECK(look() == 0);
    set_flow(false);
    set_flow(true); /* while it is executed: it is told, and holds itself */
    suspension.hold = true;
    CHECK(!suspend(suspension) && suspend(suspension));
    set_flow(false);
    end_with(root, PL_OUTCOME_HELD, NULL, PL_OK);
    set_flow(false);
}

static void others_live(void) {
    const int64_t taken = 1;
    pl_answer_new_t answer = { 1, PL_REPLY_OK, BIG_VALUE };
    write_of(other, (pl_journal_t){ .next = 1, .taken = &taken, .taken_len = 1, .answers = &answer, .answers_len = 1 });
    send((pl_mail_new_t){ .stage = root, .name = PL_STR_LIT("later"), .value = BIG_VALUE }, PL_OK);
    pl_stage_new_t first = stage_as(fork_id, "t.Fork", PL_STAGE_DURABLE);
    pl_op_t *op = new_op(PL_VERB_fork);
    op->u.fork = (pl_op_fork_t){ .stage = root, .start = &first, .before = 4, .mails = true };
    CHECK(apply(op) == PL_OK && claim_of(fork_id));
    end_with(fork_id, PL_OUTCOME_ABORT, NULL, PL_OK);
    CHECK(abort_by(other, true) == PL_OK);
}

static void it_is_aborted(void) {
    pl_entry_t step = entry_of(8, 9, PL_ENTRY_STEP, 0);
    pl_journal_t last = { .entries = &step, .entries_len = 1, .next = 10 };
    end_with(root, PL_OUTCOME_CONTINUE, &last, PL_OK);
    step = entry_of(11, 12, PL_ENTRY_STEP, 0);
    write_of(root, (pl_journal_t){ .entries = &step, .entries_len = 1, .next = 13 });
    CHECK(abort_by(root, false) == PL_OK && state_of(root) == PL_STAGE_READY);
    end_with(root, PL_OUTCOME_OK, NULL, PL_EABORTED);
    write_of(root, (pl_journal_t){ .next = 13, .cancel = PL_CANCEL_TOLD });
    end_with(root, PL_OUTCOME_ABORT, NULL, PL_OK);
    CHECK(state_of(root) == PL_STAGE_ABORTED && state_of(late) == PL_STAGE_ABORTED);
    CHECK(resume(root) == PL_OK && claim_of(root));
    step = entry_of(13, 14, PL_ENTRY_STEP, 0);
    last = (pl_journal_t){ .entries = &step, .entries_len = 1, .next = 15 };
    end_with(root, PL_OUTCOME_OK, &last, PL_OK);
    CHECK(state_of(root) == PL_STAGE_RUN); /* as long as something is below it */
    end_with(late, PL_OUTCOME_OK, NULL, PL_OK);
    CHECK(state_of(root) == PL_STAGE_DONE);
}

/* ---- what there is ----------------------------------------------------------------------------------------- */

static void tell_journal(FILE *out, pl_id_t stage) {
    pl_op_t *op = new_op(PL_VERB_journal_get);
    op->u.journal_get = (pl_op_journal_get_t){ .stage = stage, .limit = 100, .mail_limit = 100 };
    const pl_op_journal_get_t *get = &see(op)->u.journal_get;
    if (get->flow)
        fprintf(out, " mode=%d era=%d first=%d next=%d bytes=%d mails=%d dirty=%d cancel=%d deadline=%d",
                (int)get->flow->mode, get->flow->era, (int)get->flow->first, (int)get->flow->next,
                (int)get->flow->bytes, get->flow->mails, get->flow->dirty, (int)get->flow->cancel,
                (int)get->flow->deadline);
    for (size_t i = 0; i < get->len; i++)
        fprintf(out, " %d-%d:%d,%zu", (int)get->entries[i].seq, (int)get->entries[i].done, (int)get->entries[i].state,
                get->entries[i].value.len);
    for (size_t i = 0; i < get->news.mails_len; i++)
        fprintf(out, " mail %d,%zu", (int)get->news.mails[i].number, get->news.mails[i].value.len);
    fprintf(out, " news %zu,%zu,%zu,%d", get->news.children_len, get->news.slots_len, get->news.live_len,
            get->news.cancel);
    pl_op_free(op);
}

static void tell_shown(FILE *out, pl_id_t stage) {
    pl_op_t *op = new_op(PL_VERB_shown_get);
    op->u.shown_get = (pl_op_shown_get_t){ .stage = stage,
                                           .name = PL_STR_LIT("v"),
                                           .stream = PL_STR_LIT("s"),
                                           .limit = 10,
                                           .mail = 1,
                                           .wants_forks = true,
                                           .wants_names = true };
    const pl_op_shown_get_t *get = &see(op)->u.shown_get;
    fprintf(out, " shows %zu,%zu,%zu,%zu,%zu reply %d,%zu", get->value.len, get->len, get->values_len, get->streams_len,
            get->forks_len, (int)get->reply, get->answer.len);
    pl_op_free(op);
}

static void tell_rest(FILE *out) {
    pl_op_t *flows = see(new_op(PL_VERB_flows_get)), *list = new_op(PL_VERB_flows_list);
    pl_op_t *counts = see(new_op(PL_VERB_counts_get));
    list->u.flows_list = (pl_op_flows_list_t){ .limit = 100 };
    see(list);
    fprintf(out, "flows %d,%d,%d,%d listed %zu", (int)flows->u.flows_get.counts[0], (int)flows->u.flows_get.counts[1],
            (int)flows->u.flows_get.counts[2], (int)flows->u.flows_get.counts[3], list->u.flows_list.len);
    for (size_t i = 0; i < counts->u.counts_get.len; i++)
        fprintf(out, " tasks %d,%d,%d", (int)counts->u.counts_get.counts[i].ready,
                (int)counts->u.counts_get.counts[i].delayed, (int)counts->u.counts_get.counts[i].claimed);
    pl_op_free(flows);
    pl_op_free(list);
    pl_op_free(counts);
}

/* Owned: of all there is, as text. */
static char *durable_facts(void) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < LIVES - 1; i++) {
        pl_op_t *op = see_stage(lives[i]);
        const pl_stage_t *stage = op->u.stage_get.result;
        fprintf(out, "%d: state %d flags %u attempt %d status %d", i, stage ? (int)stage->state : -1,
                stage ? stage->flags : 0, stage ? stage->attempt : 0, stage && stage->has_status);
        pl_op_free(op);
        tell_journal(out, lives[i]);
        tell_shown(out, lives[i]);
        fputc('\n', out);
    }
    tell_rest(out);
    fclose(out);
    return text;
}

/* ---- what is played ---------------------------------------------------------------------------------------- */

/* For a store that was just opened. */
static inline void durable_prepare(void) {
    static pl_queue_settings_t queue = { .rate = -1, .bucket_size = -1, .pull = true };
    queue.name = PL_STR_LIT("pulled");
    queue.retry = PL_RETRY_NONE;
    pl_op_t *op = new_op(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ &queue, 1, false };
    CHECK(apply(op) == PL_OK);
}

static inline void durable_begin(void) {
    for (int i = 0; i < LIVES; i++)
        lives[i] = new_id();
    drop_claims();
}

/* What may fail. Owned: the facts in the middle, and at the end. */
static inline void durable_play(bool fails, char *facts[2]) {
    CHECK(start(stage_as(root, "t.Root", PL_STAGE_DURABLE)) == PL_OK && claim_of(root));
    it_waits(fails);
    it_is_held();
    others_live();
    facts[0] = durable_facts();
    it_is_aborted();
    facts[1] = durable_facts();
}

/* The same, while the nth of something fails in each turn and each read, for each n. */
static inline void durable_play_failing(bool fails, char *facts[2], void (*arms)(long nth), void (*disarms)(void),
                                        void (*failed)(const pl_op_t *ops)) {
    arm = arms;
    disarm = disarms;
    on_failure = failed;
    durable_play(fails, facts);
    arm = NULL;
    on_failure = NULL;
}

/* Nothing fails any more, and nothing of it is left. `checks`: nor is anything else. */
static inline void durable_end(bool checks) {
    end_with(apart, PL_OUTCOME_OK, NULL, PL_OK);
    CHECK(clean_up(root) == PL_OK && clean_up(other) == PL_OK && clean_up(fork_id) == PL_OK &&
          clean_up(apart) == PL_OK);
    pl_op_t *op = new_op(PL_VERB_purge);
    op->u.purge = (pl_op_purge_t){ .queue = PL_STR_LIT("pulled"), .forget_names = true };
    CHECK(apply(op) == PL_OK);
    if (checks)
        check_rules();
    drop_claims();
}

/* After a turn that has failed, when nothing fails for a while: who was to write has his claim. */
static inline void durable_check(const pl_op_t *op) {
    pl_id_t task = 0;
    int fence = 0;
    if (op && op->verb == PL_VERB_outcome) {
        task = op->u.outcome.stage;
        fence = op->u.outcome.claim;
    } else if (op && op->verb == PL_VERB_suspend) {
        task = op->u.suspend.stage;
        fence = op->u.suspend.claim;
    } else if (op && op->verb == PL_VERB_journal) {
        task = op->u.journal.stage;
        fence = op->u.journal.claim;
    } else
        return;
    pl_op_t *check = new_op(PL_VERB_claim_check);
    check->u.claim_check.task = task;
    check->u.claim_check.claim = fence;
    CHECK(see(check)->rc == PL_OK && check->u.claim_check.is_live);
    pl_op_free(check);
}

/* Frees both. */
static inline void durable_compare(char *facts[2], char *expected[2], const char *what, long nth) {
    for (int i = 0; i < 2; i++) {
        CHECK(facts[i] && strcmp(facts[i], expected[i]) == 0);
        if (check_failed)
            printf("%s %ld:\n%s\nnot\n%s\n", what, nth, facts[i], expected[i]);
        free(facts[i]);
    }
}
