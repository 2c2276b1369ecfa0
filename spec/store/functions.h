/*
 * functions.h - the words in which the conformance suite speaks of a durable function: it is begun, writes, suspends,
 * and is sent what comes.
 */
#ifndef PL_SPEC_STORE_FUNCTIONS_H
#define PL_SPEC_STORE_FUNCTIONS_H

#include "store/suite.h"

static pl_id_t root;     /* the function of the test, */
static pl_claim_t *mine; /* its claim, */
static bool refused;     /* and whether its last suspension was */
static const pl_usec_t NEVER = PL_USEC_NEVER;

static inline bool is(pl_str_t text, const char *expected) {
    return text.ptr && pl_str_eq(text, pl_str(expected));
}

static inline pl_stage_new_t function_of(const char *class_path) {
    pl_stage_new_t stage = stage_of(class_path);
    stage.flags = PL_STAGE_DURABLE;
    stage.max_attempts = 1;
    stage.seed = PL_STR_LIT("0123456789abcdef");
    return stage;
}

static inline void drop(void) {
    free_claims(mine);
    mine = NULL;
}

/* The function has become ready, and is claimed. */
static inline bool wakes_up(void) {
    drop();
    mine = claim(1);
    return mine && mine->task == root;
}

static inline bool sleeps(void) {
    drop();
    mine = claim(1);
    return !mine;
}

static inline void begin_function(void) {
    pl_stage_new_t stage = function_of("t.Function");
    CHECK(start(&stage) == PL_OK);
    root = stage.id;
    refused = false;
    CHECK(wakes_up());
}

static inline pl_entry_t entry_of(int64_t seq, int64_t done, pl_entry_kind_t kind, const char *name) {
    return (pl_entry_t){ .seq = seq,
                         .done = done,
                         .kind = kind,
                         .state = done ? PL_ENTRY_OK : PL_ENTRY_OPEN,
                         .name = pl_str(name),
                         .nth = 1,
                         .opened = pl_clock_now(&clock_),
                         .closed = done ? pl_clock_now(&clock_) : 0,
                         .value = done ? pl_str(name) : PL_STR_NONE };
}

static inline pl_journal_t one(const pl_entry_t *entry, int64_t next) {
    return (pl_journal_t){ .entries = entry, .entries_len = entry != NULL, .next = next };
}

static inline int put_as(int fence, pl_journal_t journal) {
    pl_op_t *op = pl_op_new(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = root, .claim = fence, .journal = journal };
    return call_free(op);
}

static inline int put(pl_journal_t journal) {
    return put_as(mine ? mine->fence : 0, journal);
}

static inline int suspend_as(pl_op_suspend_t suspend, pl_journal_t journal) {
    pl_op_t *op = pl_op_new(PL_VERB_suspend);
    op->u.suspend = suspend;
    op->u.suspend.stage = root;
    op->u.suspend.journal = journal;
    if (!op->u.suspend.claim)
        op->u.suspend.claim = mine ? mine->fence : 0;
    int rc = pl_store_call(store, op);
    refused = rc == PL_OK && op->u.suspend.refused;
    pl_op_free(op);
    return rc;
}

static inline int suspend(pl_usec_t due, const char *wants) {
    pl_str_t names = wants ? (pl_str_t){ wants, strlen(wants) + (strcmp(wants, "*") != 0) } : PL_STR_NONE;
    return suspend_as((pl_op_suspend_t){ .due = due, .wants = names, .reason = PL_STR_LIT("it waits") },
                      (pl_journal_t){ .next = 0 });
}

static inline int end_with(pl_outcome_kind_t kind, const pl_journal_t *journal) {
    pl_fill_t fill = { root, PL_STR_LIT("\x07") };
    pl_op_t *op = outcome(mine, kind);
    op->u.outcome.stage = root;
    op->u.outcome.journal = journal;
    op->u.outcome.fills = &fill;
    op->u.outcome.fills_len = kind == PL_OUTCOME_OK;
    op->u.outcome.retry_message = PL_STR_LIT("why");
    op->u.outcome.args = PL_STR_LIT("next");
    if (kind == PL_OUTCOME_FAILED || kind == PL_OUTCOME_ABORT) {
        op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("E"), .message = PL_STR_LIT("m") };
        op->u.outcome.abort_message = PL_STR_LIT("it failed");
        op->u.outcome.give_up = true;
    }
    return call_free(op);
}

static inline pl_mail_new_t mail_of(pl_id_t stage, const char *name, const char *key) {
    return (pl_mail_new_t){
        .stage = stage, .name = pl_str(name), .key = key ? pl_str(key) : PL_STR_NONE, .value = PL_STR_LIT("v")
    };
}

static inline int send_all(pl_mail_new_t *mails, size_t len) {
    pl_op_t *op = pl_op_new(PL_VERB_signal);
    op->u.signal = (pl_op_signal_t){ mails, len };
    return call_free(op);
}

static inline int send(const char *name, const char *key) {
    pl_mail_new_t mail = mail_of(root, name, key);
    CHECK(send_all(&mail, 1) == PL_OK);
    return mail.rc;
}

/* Owned by the caller. */
static inline pl_op_t *see_of(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_journal_get);
    op->u.journal_get = (pl_op_journal_get_t){ .stage = stage, .limit = 100, .mail_limit = 100 };
    return call(op);
}

static inline pl_op_t *see(void) {
    return see_of(root);
}

static inline pl_flow_t flow_of(pl_id_t stage) {
    pl_op_t *op = see_of(stage);
    pl_flow_t flow = op->u.journal_get.flow ? *op->u.journal_get.flow : (pl_flow_t){ .version = -1 };
    pl_op_free(op);
    flow.seed = flow.reason = PL_STR_NONE;
    return flow;
}

static inline size_t entries_now(void) {
    pl_op_t *op = see();
    size_t len = op->u.journal_get.len;
    pl_op_free(op);
    return len;
}

static inline size_t mails_now(void) {
    pl_op_t *op = see();
    size_t len = op->u.journal_get.news.mails_len;
    CHECK(!op->u.journal_get.flow || op->u.journal_get.flow->mails == (int)len);
    pl_op_free(op);
    return len;
}

static inline pl_op_t *shown_of(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_shown_get);
    op->u.shown_get = (pl_op_shown_get_t){ .stage = stage,
                                           .name = PL_STR_LIT("v"),
                                           .stream = PL_STR_LIT("s"),
                                           .limit = 100,
                                           .wants_forks = true,
                                           .wants_names = true };
    return call(op);
}

static inline int set_flow(bool hold, const char *reason) {
    pl_op_t *op = pl_op_new(PL_VERB_flow_set);
    op->u.flow_set = (pl_op_flow_set_t){ .stage = root, .hold = hold, .reason = reason ? pl_str(reason) : PL_STR_NONE };
    return call_free(op);
}

static inline int abort_by(pl_id_t stage, bool force) {
    pl_op_t *op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = stage, .message = PL_STR_LIT("enough"), .force = force };
    return call_free(op);
}

static inline int resume_tree(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_resume);
    op->u.resume.stage = stage;
    return call_free(op);
}

static inline int clean_up(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_cleanup);
    op->u.cleanup.root = stage;
    return call_free(op);
}

/* A child, and the entry that waits for it. */
static inline pl_id_t spawn(pl_stage_new_t child, int64_t seq) {
    pl_entry_t entry = entry_of(seq, 0, PL_ENTRY_CHILD, "child");
    pl_journal_t journal = one(&entry, seq + 1);
    entry.ref = child.id;
    journal.children = &child;
    journal.children_len = 1;
    CHECK(put(journal) == PL_OK);
    return child.id;
}

/* The function is over, and gone: nothing of it is left for the tests behind. */
static inline void forget(void) {
    drop();
    CHECK(state_of(root) == PL_STAGE_DONE || state_of(root) == PL_STAGE_ABORTED || abort_by(root, true) == PL_OK);
    CHECK(clean_up(root) == PL_OK && !claim(1));
    pl_op_t *op = see();
    CHECK(op->rc == PL_ENOTFOUND && !op->u.journal_get.flow);
    pl_op_free(op);
}

static inline size_t list_flows(bool held, pl_id_t after, int limit, pl_id_t *ids_found) {
    pl_op_t *op = pl_op_new(PL_VERB_flows_list);
    op->u.flows_list = (pl_op_flows_list_t){ .after = after, .limit = limit, .held = held };
    CHECK(call(op)->rc == PL_OK);
    size_t len = op->u.flows_list.len;
    for (size_t i = 0; i < len && ids_found; i++)
        ids_found[i] = op->u.flows_list.ids[i];
    pl_op_free(op);
    return len;
}

static inline int fork_of(pl_id_t stage, pl_stage_new_t *new, int64_t before, bool mails) {
    pl_op_t *op = pl_op_new(PL_VERB_fork);
    op->u.fork = (pl_op_fork_t){ .stage = stage, .before = before, .start = new, .mails = mails };
    return call_free(op);
}

#endif
