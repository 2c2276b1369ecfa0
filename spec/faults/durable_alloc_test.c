/*
 * durable_alloc_test.c - the Nth allocation fails, of ours and then of SQLite's, while a durable function is executed,
 * writes its journal, suspends, gets mails, shows what it has, is forked and ends, for every N.
 *
 * A turn that fails has changed nothing, so it is given again until it is done: at the end all is as it is when nothing
 * fails, and the rules of the file hold.
 */
#include <stdlib.h>
#include <string.h>

#include "faults/sqlite_memory.c"
#include "store/driver.h"
#include "support/check.h"

enum { TRIES_MAX = 50, FACTS = 8, BIG = 3000 };

static pl__conn_t *conn;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_id_t root, child, slot, forked;
static pl_claim_t *claims;
static char big[BIG];

#ifdef PL_FAULTS

static void drop_claims(void) {
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

static int claim_of(pl_id_t task) {
    for (const pl_claim_t *claim = claims; claim; claim = claim->next)
        if (claim->task == task)
            return claim->fence;
    return 0;
}

/* One op in a turn, again until that is done. Takes op; its rc. */
static int apply(pl_op_t *op) {
    int rc = PL_ENOMEM;
    for (int i = 0; i < TRIES_MAX && rc != PL_OK; i++) {
        pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
        pl__arena_t arena = { 0 };
        pl_error_t error = { 0 };
        op->next = NULL;
        rc = pl__sqlite_driver.turn(conn, op, &(pl__ask_t){ .wanted = 100, .look = i > 0 }, &arena, &turn, &error);
        CHECK(rc == PL_OK || rc == PL_ENOMEM || rc == PL_EOTHER);
        CHECK(rc == PL_OK || !turn.claims);
        pl_claim_t **tail = &turn.claims;
        while (*tail)
            tail = &(*tail)->next;
        *tail = claims;
        claims = turn.claims;
        pl__arena_free(&arena);
    }
    CHECK(rc == PL_OK);
    rc = op->rc;
    pl_op_free(op);
    return rc;
}

/* Ops are made by the host: theirs are other allocations. */
static pl_op_t *new_op(pl_verb_t verb) {
    pl_op_t *op = NULL;
    for (int i = 0; i < TRIES_MAX && !op; i++)
        op = pl_op_new(verb);
    return op;
}

static pl_stage_new_t stage_of(pl_id_t id, unsigned flags) {
    return (pl_stage_new_t){ .id = id,
                             .class_path = PL_STR_LIT("t.C"),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 1,
                             .backoff_seconds = 15,
                             .backoff_factor = 2,
                             .flags = flags,
                             .seed = PL_STR_LIT("0123456789abcdef") };
}

static void start(void) {
    pl_stage_new_t first = stage_of(root, PL_STAGE_DURABLE);
    pl_op_t *op = new_op(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &first, 1 };
    CHECK(apply(op) == PL_OK && claim_of(root));
}

static pl_entry_t entry_of(int64_t seq, int64_t done, pl_entry_kind_t kind, pl_id_t ref) {
    return (pl_entry_t){ .seq = seq,
                         .done = done,
                         .kind = kind,
                         .state = done ? PL_ENTRY_OK : PL_ENTRY_OPEN,
                         .name = PL_STR_LIT("a"),
                         .nth = 1,
                         .opened = 1,
                         .ref = ref,
                         .value = done ? (pl_str_t){ big, sizeof big } : PL_STR_NONE };
}

static void write_all(void) {
    pl_entry_t entries[2] = { entry_of(1, 2, PL_ENTRY_STEP, 0), entry_of(3, 0, PL_ENTRY_CHILD, child) };
    pl_stage_new_t below = stage_of(child, 0);
    pl_task_new_t task = {
        .id = pl_ids_next(&ids, &clock_), .kind = PL_TASK_PULL, .queue = PL_STR_LIT("pulled"), .retry = PL_RETRY_NONE
    };
    pl_value_new_t value = { PL_STR_LIT("v"), { big, sizeof big } };
    pl_chunk_new_t chunk = { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") };
    pl_status_t status = { .message = PL_STR_LIT("half done") };
    pl_op_t *op = new_op(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = root,
                                       .claim = claim_of(root),
                                       .journal = { .entries = entries,
                                                    .entries_len = 2,
                                                    .next = 4,
                                                    .children = &below,
                                                    .children_len = 1,
                                                    .tasks = &task,
                                                    .tasks_len = 1,
                                                    .values = &value,
                                                    .values_len = 1,
                                                    .chunks = &chunk,
                                                    .chunks_len = 1,
                                                    .status = &status } };
    CHECK(apply(op) == PL_OK && claim_of(child));
}

static void suspend(bool for_slot) {
    pl_entry_t entry = entry_of(4, 0, for_slot ? PL_ENTRY_SLOT : PL_ENTRY_TIMER, for_slot ? slot : 0);
    pl_op_t *op = new_op(PL_VERB_suspend);
    op->u.suspend = (pl_op_suspend_t){ .stage = root,
                                       .claim = claim_of(root),
                                       .journal = { .entries = &entry, .entries_len = 1, .next = 5 },
                                       .due = pl_clock_now(&clock_) + PL_USEC_PER_SEC,
                                       .wants = { "go", 3 },
                                       .slots = &slot,
                                       .slots_len = for_slot,
                                       .reason = PL_STR_LIT("a reason") };
    CHECK(apply(op) == PL_OK);
}

static void send(const char *name, const char *key) {
    pl_mail_new_t mail = { .stage = root, .name = pl_str(name), .key = pl_str(key), .value = { big, sizeof big } };
    pl_op_t *op = new_op(PL_VERB_signal);
    op->u.signal = (pl_op_signal_t){ &mail, 1 };
    CHECK(apply(op) == PL_OK && mail.rc == PL_OK);
}

static void end(pl_id_t stage, bool fails) {
    pl_fill_t fills[2] = { { stage, PL_STR_LIT("v") }, { slot, PL_STR_LIT("s") } };
    pl_op_t *op = new_op(PL_VERB_outcome);
    op->u.outcome = (pl_op_outcome_t){ .stage = stage,
                                       .claim = claim_of(stage),
                                       .flags = stage == root ? PL_STAGE_DURABLE : PL_STAGE_SCOPE,
                                       .kind = fails ? PL_OUTCOME_ABORT : PL_OUTCOME_OK,
                                       .fills = fills,
                                       .fills_len = fails ? 0 : 2,
                                       .abort_message = PL_STR_LIT("no"),
                                       .failure = { .message = PL_STR_LIT("m") } };
    CHECK(apply(op) == PL_OK);
}

static void take(void) {
    const int64_t taken[1] = { 1 };
    pl_entry_t entry = entry_of(3, 5, PL_ENTRY_CHILD, child);
    pl_op_t *op = new_op(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){
        .stage = root,
        .claim = claim_of(root),
        .journal = { .entries = &entry, .entries_len = 1, .next = 6, .taken = taken, .taken_len = 1 }
    };
    CHECK(apply(op) == PL_OK);
}

/* A read, again until it is done. Takes op; returns it. */
static pl_op_t *look(pl_op_t *op) {
    for (int i = 0; i < TRIES_MAX; i++) {
        op->next = NULL;
        pl__sqlite_driver.read(conn, op);
        if (op->rc == PL_OK)
            break;
    }
    CHECK(op->rc == PL_OK);
    return op;
}

/* What it shows, and which there are. */
static void look_at_all(void) {
    pl_op_t *op = new_op(PL_VERB_shown_get);
    op->u.shown_get = (pl_op_shown_get_t){
        .stage = root, .name = PL_STR_LIT("v"), .stream = PL_STR_LIT("s"), .limit = 10, .wants_forks = true
    };
    op = look(op);
    CHECK(op->u.shown_get.value.len == sizeof big && op->u.shown_get.len == 1 && op->u.shown_get.forks_len == 1);
    pl_op_free(op);
    op = look(new_op(PL_VERB_flows_get));
    CHECK(op->u.flows_get.counts[PL_FLOW_BEGUN] >= 1 && op->u.flows_get.bytes > 0);
    pl_op_free(op);
    op = new_op(PL_VERB_flows_list);
    op->u.flows_list = (pl_op_flows_list_t){ .limit = 100 };
    op = look(op);
    CHECK(op->u.flows_list.len >= 1);
    pl_op_free(op);
}

/* A new one with its first entry. */
static void fork_it(void) {
    pl_stage_new_t first = stage_of(forked, PL_STAGE_DURABLE);
    pl_op_t *op = new_op(PL_VERB_fork);
    op->u.fork = (pl_op_fork_t){ .stage = root, .start = &first, .before = 3, .mails = true };
    CHECK(apply(op) == PL_OK && claim_of(forked));
}

static void read_facts(int64_t facts[FACTS]) {
    pl_op_t *op = NULL;
    for (int i = 0; i < TRIES_MAX; i++) {
        op = new_op(PL_VERB_journal_get);
        op->u.journal_get = (pl_op_journal_get_t){ .stage = root, .limit = 100, .mail_limit = 100 };
        op->next = NULL;
        pl__sqlite_driver.read(conn, op);
        if (op->rc == PL_OK || i + 1 == TRIES_MAX)
            break;
        pl_op_free(op);
    }
    const pl_op_journal_get_t *get = &op->u.journal_get;
    CHECK(op->rc == PL_OK && get->flow);
    const int64_t found[FACTS] = { get->flow ? (int64_t)get->flow->mode : -1,
                                   get->flow ? get->flow->next : 0,
                                   (int64_t)get->len,
                                   get->len ? (int64_t)get->entries[0].value.len : 0,
                                   (int64_t)get->news.children_len,
                                   (int64_t)get->news.slots_len,
                                   (int64_t)get->news.mails_len,
                                   get->flow ? get->flow->mails : 0 };
    memcpy(facts, found, sizeof found);
    pl_op_free(op);
}

/* Every rule of the file holds; nothing fails here. */
static void check_rules(void) {
    pl_op_t *op = new_op(PL_VERB_check);
    op->next = NULL;
    do {
        op->u.check.part = op->u.check.next;
        pl__sqlite_driver.read(conn, op);
        CHECK(op->rc == PL_OK && op->u.check.len == 0);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("%.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
    } while (op->rc == PL_OK && op->u.check.next);
    pl_op_free(op);
}

static void live(bool fails, int64_t facts[2 * FACTS]) {
    start();
    write_all();
    suspend(true);
    send("go", "k");
    end(child, fails);
    read_facts(facts);
    take();
    suspend(false); /* news have come since: refused once */
    suspend(false);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 2 * PL_USEC_PER_SEC);
    send("later", "l");
    fork_it();
    look_at_all();
    end(forked, true);
    end(root, false);
    read_facts(facts + FACTS);
}

static void make_ids(void) {
    root = pl_ids_next(&ids, &clock_);
    child = pl_ids_next(&ids, &clock_);
    slot = pl_ids_next(&ids, &clock_);
    forked = pl_ids_next(&ids, &clock_);
    drop_claims();
}

/* All plays are of one store, which is opened once: what a life needs is there after the first. */
static void open_store(void) {
    static pl_queue_settings_t queue = { .rate = -1, .bucket_size = -1, .pull = true };
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = ":memory:", .clock = &clock_, .lease_seconds = 15, .tombstone_seconds = 3600
    };
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    CHECK(pl__sqlite_driver.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    pl_op_t *op = new_op(PL_VERB_join);
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("here"), .pid = 1, .version = PL_STR_LIT("1") };
    CHECK(apply(op) == PL_OK);
    queue.name = PL_STR_LIT("pulled");
    queue.retry = PL_RETRY_NONE;
    op = new_op(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ &queue, 1, false };
    CHECK(apply(op) == PL_OK);
    pl_ids_init(&ids, 1, 1000, 0);
}

static bool play(bool ours, bool fails, long nth, int64_t facts[2 * FACTS]) {
    make_ids();
    if (ours)
        pl__alloc_fail_at(nth);
    else
        sqlite_memory_arm(nth);
    live(fails, facts);
    bool was_hit = ours ? pl__alloc_failed() : sqlite_memory_disarm();
    pl__alloc_fail_at(0);
    return was_hit;
}

static void fail_each(bool ours, bool fails) {
    int64_t expected[2 * FACTS], facts[2 * FACTS];
    long nth = 1;
    play(ours, fails, 0, expected);
    CHECK(expected[0] == PL_FLOW_BEGUN && expected[2] == 3 && expected[3] == BIG && expected[4] == 1);
    CHECK(expected[5] == !fails && expected[6] == 1 && expected[FACTS] == PL_FLOW_OVER && expected[FACTS + 7] == 1);
    while (check_failed < 10 && play(ours, fails, nth, facts)) {
        CHECK(memcmp(facts, expected, sizeof facts) == 0);
        if (check_failed)
            printf("at allocation %ld of %s\n", nth, ours ? "ours" : "SQLite's");
        nth++;
    }
    printf("%ld allocations of %s failed\n", nth - 1, ours ? "ours" : "SQLite's");
}

#endif

int main(void) {
#ifdef PL_FAULTS
    sqlite_memory_replace();
    open_store();
    for (int i = 0; i < 4; i++)
        fail_each(i % 2 == 0, i / 2 == 0);
    check_rules();
    drop_claims();
    pl__sqlite_driver.close(conn);
#else
    (void)conn;
    puts("skipped: not a build that can make allocations fail");
#endif
    return check_end();
}
