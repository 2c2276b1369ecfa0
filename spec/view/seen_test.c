/*
 * seen_test.c - what people are shown of states, and which of them: names of numbers, what keeps a task from starting,
 * which roots a filter lets through. Pure functions; each gate and each condition alone decides once.
 */
#include <stdlib.h>
#include <string.h>

#include "store/durable/journal.h"
#include "store/schedule.h"
#include "store/view/roots.h"
#include "store/view/seen.h"
#include "support/check.h"

static void check_names(const char *(*name)(int number), int len) {
    for (int i = 0; i < len; i++) {
        CHECK(strcmp(name(i), "?") != 0);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(name(i), name(j)) != 0);
    }
    CHECK(strcmp(name(-1), "?") == 0 && strcmp(name(len), "?") == 0);
}

/* A number of a later version has no name, and is no reason to read beyond the names. */
static void numbers_have_names_and_others_have_none(void) {
    check_names(pl_stage_state_name, PL_STAGE_ABORT_HELD + 1);
    check_names(pl_task_kind_name, PL_TASK_DEFERRED + 1);
    check_names(pl_flow_mode_name, PL_FLOW_OVER + 1);
    check_names(pl_entry_kind_name, PL_ENTRY_SIGNAL + 1);
    check_names(pl_entry_state_name, PL_ENTRY_AGAIN + 1);
    check_names(pl_reply_name, PL_REPLY_REFUSED + 1);
    check_names(pl_overlap_name, PL_OVERLAP_ALLOW_ALL + 1);
    check_names(pl_fire_reason_name, PL_REASON_BACKFILL + 1);
    check_names(pl_fire_state_name, PL_FIRE_CANCELLED + 1);
    check_names(pl_seen_state_name, PL_SEEN_STATES_LEN);
    check_names(pl_start_reason_name, PL_START_REASONS_LEN);
    check_names(pl_stage_word_name, PL_STAGE_WORDS_LEN);
}

/* ---- gates -------------------------------------------------------------------------------------------------- */

static pl_gates_t open_gates(void) {
    return (pl_gates_t){ .served = true, .rate = -1, .bucket_size = 5 };
}

static void check_allowed(const pl_gates_t *gates, int wanted, int allowed, pl_start_reason_t why) {
    pl_start_reason_t reason;
    CHECK(pl_start_allowed(gates, wanted, &reason) == allowed);
    CHECK(allowed == wanted || reason == why);
    CHECK(pl_start_is_free(gates) == (gates->served && !gates->paused && gates->rate < 0 && !gates->max_concurrent));
}

static void each_gate_closes_alone(void) {
    pl_gates_t gates = open_gates();
    check_allowed(&gates, 3, 3, PL_START_OPEN);
    gates.served = false;
    check_allowed(&gates, 3, 0, PL_START_UNSERVED);
    check_allowed(&gates, 0, 0, PL_START_UNSERVED);
    gates = open_gates();
    gates.paused = true;
    check_allowed(&gates, 3, 0, PL_START_PAUSED);
    gates = open_gates();
    gates.rate = 0;
    check_allowed(&gates, 3, 0, PL_START_STOPPED);
    gates = open_gates();
    gates.max_concurrent = 4;
    gates.room = 2;
    check_allowed(&gates, 3, 2, PL_START_CONCURRENCY);
    gates.room = -1;
    check_allowed(&gates, 3, 0, PL_START_CONCURRENCY);
    gates.room = 4;
    check_allowed(&gates, 3, 3, PL_START_OPEN);
    gates = open_gates();
    gates.rate = 1;
    gates.tokens = 2.5;
    check_allowed(&gates, 3, 2, PL_START_RATE);
    gates.tokens = 100; /* no more than a bucket at once */
    check_allowed(&gates, 8, 5, PL_START_RATE);
}

static void check_reasons(const pl_start_facts_t *facts, int len, const pl_start_reason_t *expected) {
    pl_start_reason_t reasons[PL_START_REASONS_LEN];
    CHECK(pl_start_reasons(facts, reasons) == len);
    CHECK(len == 0 || memcmp(reasons, expected, (size_t)len * sizeof *reasons) == 0);
}
#define REASONS(facts, ...)                                                                                            \
    check_reasons(facts, (int)(sizeof((pl_start_reason_t[]){ __VA_ARGS__ }) / sizeof(pl_start_reason_t)),              \
                  (pl_start_reason_t[]){ __VA_ARGS__ })

static void all_that_keeps_a_task_back_is_told_in_the_order_in_which_it_decides(void) {
    const pl_start_facts_t task = { .has_task = true, .workers = 1, .gates = open_gates() };
    pl_start_facts_t facts = task;
    REASONS(&facts, PL_START_WORKER);
    facts.place = 3;
    REASONS(&facts, PL_START_PLACE);
    facts = task;
    facts.is_over = true;
    check_reasons(&facts, 0, NULL);
    facts = task;
    facts.pull = true;
    REASONS(&facts, PL_START_PULLED);
    facts.gates.paused = true;
    REASONS(&facts, PL_START_PAUSED);
    facts = task;
    facts.gates = (pl_gates_t){ .paused = true, .rate = 0, .max_concurrent = 1 };
    REASONS(&facts, PL_START_UNSERVED, PL_START_PAUSED, PL_START_STOPPED, PL_START_CONCURRENCY);
    facts.workers = 0;
    REASONS(&facts, PL_START_NO_WORKER, PL_START_PAUSED, PL_START_STOPPED, PL_START_CONCURRENCY);
}

static void a_task_that_is_not_due_is_told_for_what_it_waits(void) {
    const pl_start_facts_t task = { .has_task = true, .workers = 1, .eta = 5, .gates = open_gates() };
    pl_start_facts_t facts = task;
    facts.gates.paused = true;
    REASONS(&facts, PL_START_ETA, PL_START_PAUSED);
    facts = task;
    facts.is_retry = true;
    facts.gates.rate = 0;
    REASONS(&facts, PL_START_RETRY, PL_START_STOPPED);
    facts.lacks_class = true;
    REASONS(&facts, PL_START_NO_CLASS, PL_START_STOPPED);
    facts.is_alone = true;
    REASONS(&facts, PL_START_ALONE, PL_START_STOPPED);
    facts = task;
    facts.eta = PL_USEC_MAX;
    facts.is_schedule_paused = true;
    facts.place = 2;
    REASONS(&facts, PL_START_SCHEDULE_PAUSED, PL_START_PLACE);
}

static void a_stage_without_a_task_is_told_what_is_to_give_it_one(void) {
    pl_start_facts_t facts = { .is_stage = true };
    REASONS(&facts, PL_START_NOT_ADDED);
    facts.is_held = true;
    REASONS(&facts, PL_START_HELD);
    facts.is_schedule_paused = true;
    REASONS(&facts, PL_START_SCHEDULE_PAUSED, PL_START_HELD);
    facts.is_held = false;
    REASONS(&facts, PL_START_SCHEDULE_PAUSED);
    facts.unfilled = 1;
    REASONS(&facts, PL_START_SLOTS);
}

/* ---- filters ------------------------------------------------------------------------------------------------ */

static void each_condition_of_a_filter_decides_alone(void) {
    const pl_root_brief_t root = { .id = 1,
                                   .word = PL_WORD_OPEN,
                                   .created = 10,
                                   .class_path = PL_STR_LIT("shop.Order"),
                                   .queue = PL_STR_LIT("q"),
                                   .key = PL_STR_LIT("k"),
                                   .last_error = PL_STR_LIT("out of Stock") };
    static const struct {
        pl_roots_filter_t filter;
        bool is_wanted;
    } CASES[] = {
        { { .words = 1U << PL_WORD_OPEN }, true },
        { { .words = 1U << PL_WORD_DONE }, false },
        { { .class_path = { "shop.Order", 10 } }, true },
        { { .class_path = { "shop.Orde", 9 } }, false },
        { { .queue = { "q", 1 } }, true },
        { { .queue = { "r", 1 } }, false },
        { { .key = { "k", 1 } }, true },
        { { .key = { "l", 1 } }, false },
        { { .since = 10 }, true },
        { { .since = 11 }, false },
        { { .until = 10 }, true },
        { { .until = 9 }, false },
        { { .any_error = true }, true },
        { { .error = { "STOCK", 5 } }, true },
        { { .error = { "money", 5 } }, false },
        { { .text = { "ORDER", 5 } }, true },
        { { .text = { "stock", 5 } }, true },
        { { .text = { "nowhere", 7 } }, false },
    };
    const pl_roots_filter_t none = { 0 };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        CHECK(pl_root_is_wanted(&CASES[i].filter, &root) == CASES[i].is_wanted);
        CHECK(!pl_roots_filter_is_empty(&CASES[i].filter));
    }
    CHECK(pl_roots_filter_is_empty(&none) && pl_root_is_wanted(&none, &root));
    pl_root_brief_t other = root;
    other.last_error = PL_STR_NONE;
    CHECK(!pl_root_is_wanted(&(pl_roots_filter_t){ .any_error = true }, &other));
    other.reason = PL_STR_LIT("it was aborted");
    CHECK(pl_root_is_wanted(&(pl_roots_filter_t){ .any_error = true }, &other));
    CHECK(pl_root_is_wanted(&(pl_roots_filter_t){ .error = PL_STR_LIT("abort") }, &other));
}

static void a_text_is_found_in_any_part_of_a_task(void) {
    const pl_seen_task_t task = { .is = { .name = PL_STR_LIT("First"), .payload = PL_STR_LIT("a\0b") },
                                  .error = PL_STR_LIT("broken") };
    CHECK(pl_seen_has(&task, PL_STR_NONE) && pl_seen_has(&task, PL_STR_LIT("fIRST")));
    CHECK(pl_seen_has(&task, PL_STR_LIT("\0b")) && pl_seen_has(&task, PL_STR_LIT("roke")));
    CHECK(!pl_seen_has(&task, PL_STR_LIT("second")) && !pl_seen_has(&task, PL_STR_LIT("firsts")));
    CHECK(pl_seen_is_wanted(0, PL_SEEN_DEAD) && pl_seen_is_wanted(1U << PL_SEEN_DEAD, PL_SEEN_DEAD));
    CHECK(!pl_seen_is_wanted(1U << PL_SEEN_READY, PL_SEEN_DEAD));
}

int main(void) {
    numbers_have_names_and_others_have_none();
    each_gate_closes_alone();
    all_that_keeps_a_task_back_is_told_in_the_order_in_which_it_decides();
    a_task_that_is_not_due_is_told_for_what_it_waits();
    a_stage_without_a_task_is_told_what_is_to_give_it_one();
    each_condition_of_a_filter_decides_alone();
    a_text_is_found_in_any_part_of_a_task();
    return check_end();
}
