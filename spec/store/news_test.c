/*
 * news_test.c - what every store does with what comes to a durable function: signals, timers, ends of children, holding
 * and aborts. Part of the conformance suite, see suite.h.
 */
#include <string.h>

#include "store/functions.h"

/* ---- signals ----------------------------------------------------------------------------------------------- */

/* W78 W79 W80 W83 */
static void signals_come_in_the_order_of_their_commits(void) {
    static const char *const names[] = { "b", "a", "b", "c", "a" };
    pl_stage_new_t stage = function_of("t.Function");
    stage.eta = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
    CHECK(start(&stage) == PL_OK);
    root = stage.id;
    CHECK(send(names[0], NULL) == PL_OK && sleeps()); /* before its first claim */
    advance(1);
    CHECK(wakes_up());
    for (int i = 1; i < 3; i++) /* while it is executed */
        CHECK(send(names[i], NULL) == PL_OK);
    CHECK(suspend(NEVER, NULL) == PL_OK && refused && suspend(NEVER, NULL) == PL_OK && !refused);
    pl_mail_new_t two[2] = { mail_of(root, names[3], NULL), mail_of(root, names[4], NULL) };
    two[0].value = PL_STR_NONE;
    CHECK(send_all(two, 2) == PL_OK && two[0].rc == PL_OK && two[0].number == 4 && two[1].number == 5);
    pl_op_t *op = see();
    const pl_news_t *news = &op->u.journal_get.news;
    CHECK(news->mails_len == 5);
    for (size_t i = 0; i < news->mails_len; i++) {
        CHECK(news->mails[i].number == (int64_t)i + 1 && is(news->mails[i].name, names[i]));
        CHECK(i == 3 ? !news->mails[i].value.ptr : is(news->mails[i].value, "v"));
        CHECK(news->mails[i].kind == PL_MAIL_SIGNAL && news->mails[i].time > 0 && !news->mails[i].key.ptr);
    }
    pl_op_free(op);
    op = pl_op_new(PL_VERB_journal_get); /* a page of them, and no entries */
    op->u.journal_get = (pl_op_journal_get_t){ .stage = root, .mail_after = 2, .mail_limit = 2 };
    call(op);
    news = &op->u.journal_get.news;
    CHECK(news->mails_len == 2 && news->mails[0].number == 3 && news->mails[1].number == 4);
    pl_op_free(op);
    forget();
}

/* W78 W89 W94 */
static void a_signal_wakes_who_waits_for_its_name(void) {
    static const struct {
        const char *wants, *name;
        size_t len;
        bool wakes;
    } tries[] = { { "go\0stop", "go", 8, true },     { "go\0stop", "stop", 8, true }, { "go\0stop", "sto", 8, false },
                  { "go\0stop", "stops", 8, false }, { "*", "any", 1, true },         { NULL, "go", 0, false },
                  { "*\0", "any", 2, false },        { "*\0", "*", 2, true },         { "go\0stop", "", 8, false } };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        pl_str_t wanted = { tries[i].wants, tries[i].len };
        begin_function();
        CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER, .wants = wanted }, one(NULL, 0)) == PL_OK && sleeps());
        CHECK(flow_of(root).mode == PL_FLOW_SUSPENDED && send(tries[i].name, NULL) == PL_OK && mails_now() == 1);
        CHECK(flow_of(root).mode == (tries[i].wakes ? PL_FLOW_BEGUN : PL_FLOW_SUSPENDED));
        CHECK(tries[i].wakes ? wakes_up() : sleeps());
        pl_mail_new_t update = mail_of(root, "anything", NULL);
        update.kind = PL_MAIL_UPDATE;
        CHECK(send_all(&update, 1) == PL_OK && update.rc == PL_OK && (tries[i].wakes || wakes_up()));
        CHECK(flow_of(root).dirty == tries[i].wakes); /* it is told that something came */
        forget();
    }
}

/* W28 W167 */
static void who_is_executed_looks_before_it_waits(void) {
    begin_function();
    CHECK(send("go", NULL) == PL_OK && flow_of(root).dirty);
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER }, one(&entry, 3)) == PL_OK && refused && entries_now() == 0);
    CHECK(!flow_of(root).dirty && put(one(&entry, 3)) == PL_OK && entries_now() == 1); /* the claim has stayed */
    CHECK(suspend(NEVER, "go") == PL_OK && !refused); /* what has come before is seen: nothing wakes it */
    CHECK(sleeps() && send("go", NULL) == PL_OK && wakes_up());
    forget();
}

/* W85 W86 W87 */
static void signals_are_refused_by_what_they_are_sent_to(void) {
    pl_stage_new_t other = function_of("t.Other"), late = function_of("t.Late");
    pl_mail_new_t mails[4] = { mail_of(7, "go", NULL), mail_of(0, "go", "k"), mail_of(0, "go", "k"),
                               mail_of(0, "go", NULL) };
    mails[1].idempotence = mails[2].idempotence = PL_STR_LIT("order-1");
    mails[3].idempotence = PL_STR_LIT("order-2");
    mails[1].start = &other;
    mails[2].start = &late;
    CHECK(send_all(mails, 4) == PL_OK);
    CHECK(mails[0].rc == PL_ENOTFOUND && mails[1].rc == PL_OK && mails[2].rc == PL_EEXISTS);
    CHECK(mails[3].rc == PL_ENOTFOUND && mails[3].stage == 0 && mails[3].number == 0);
    CHECK(mails[1].stage == other.id && mails[2].stage == other.id && mails[1].number == 1 && mails[2].number == 1);
    root = other.id;
    CHECK(wakes_up() && is(mine->stage->key, "order-1") && state_of(late.id) == (pl_stage_state_t)-1);
    const int64_t taken = 1;
    pl_journal_t journal = one(NULL, 1);
    journal.taken = &taken;
    journal.taken_len = 1;
    for (int i = 0; i < 2; i++) { /* it is taken once; its key stays */
        CHECK(put(journal) == PL_OK && mails_now() == 0);
        CHECK(send("go", "k") == PL_EEXISTS && mails_now() == 0);
    }
    CHECK(send("stop", "k") == PL_OK && send("go", "l") == PL_OK && mails_now() == 2);
    CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_OK);
    CHECK(send("go", NULL) == PL_EFINAL && send("go", "k") == PL_EFINAL);
    mails[1].start = &late;
    CHECK(send_all(&mails[1], 1) == PL_OK && mails[1].rc == PL_EFINAL); /* it has the key for good */
    forget();
}

/* W93 */
static void a_signal_in_a_session_is_sent_with_it(void) {
    begin_function();
    CHECK(suspend(NEVER, "go") == PL_OK && sleeps());
    for (int commit = 0; commit < 2; commit++) {
        pl_mail_new_t mail = mail_of(root, "go", "k");
        CHECK(begin(60) == PL_OK);
        pl_op_t *op = of_session(PL_VERB_signal);
        op->u.signal = (pl_op_signal_t){ &mail, 1 };
        CHECK(call_free(op) == PL_OK && mail.rc == PL_OK && end(commit) == PL_OK);
        CHECK(commit ? wakes_up() : sleeps());
        CHECK(mails_now() == (size_t)commit);
    }
    forget();
}

/* W88 */
static void a_mailbox_is_bounded(void) {
    enum { MANY = 1000, LARGE = 2 * 1024 * 1024 };
    pl_mail_new_t *mails = calloc(MANY, sizeof *mails);
    char *large = calloc(1, LARGE);
    begin_function();
    CHECK(suspend(NEVER, NULL) == PL_OK && sleeps());
    for (int sent = 0; sent < PL_MAILS_MAX; sent += MANY) {
        for (int i = 0; i < MANY; i++)
            mails[i] = mail_of(root, "go", NULL);
        CHECK(send_all(mails, MANY) == PL_OK && mails[0].rc == PL_OK && mails[MANY - 1].rc == PL_OK);
    }
    CHECK(send("go", NULL) == PL_ELIMIT && flow_of(root).mails == PL_MAILS_MAX);
    CHECK(set_flow(true, NULL) == PL_OK && set_flow(false, NULL) == PL_OK && wakes_up());
    const int64_t taken[2] = { 1, 9999 };
    pl_journal_t journal = one(NULL, 1);
    journal.taken = taken;
    journal.taken_len = 2;
    CHECK(put(journal) == PL_OK && send("go", NULL) == PL_OK && send("go", "k") == PL_OK);
    CHECK(send("go", NULL) == PL_ELIMIT && send("go", "k") == PL_EEXISTS);
    forget();
    begin_function();
    for (int i = 0; i < 10; i++) {
        pl_mail_new_t mail = mail_of(root, "go", NULL);
        mail.value = (pl_str_t){ large, LARGE };
        CHECK(send_all(&mail, 1) == PL_OK && mail.rc == (i < 8 ? PL_OK : PL_ELIMIT));
    }
    journal.taken_len = 1;
    pl_mail_new_t mail = mail_of(root, "go", NULL);
    mail.value = (pl_str_t){ large, LARGE };
    CHECK(put(journal) == PL_OK && send_all(&mail, 1) == PL_OK && mail.rc == PL_OK);
    free(large);
    free(mails);
    forget();
}

/* ---- timers ------------------------------------------------------------------------------------------------ */

/* W72 W73 W74 W77 */
static void a_timer_wakes_at_its_time(void) {
    pl_usec_t now = pl_clock_now(&clock_);
    const pl_usec_t dues[] = { now + 10 * PL_USEC_PER_SEC, now + 10 * PL_USEC_PER_SEC + 1, 1 };
    for (size_t i = 0; i < sizeof dues / sizeof *dues; i++) {
        pl_entry_t timer = entry_of(1, 0, PL_ENTRY_TIMER, "t");
        timer.due = dues[i];
        begin_function();
        CHECK(suspend_as((pl_op_suspend_t){ .due = dues[i] }, one(&timer, 2)) == PL_OK && !refused);
        if (dues[i] > now) {
            pl_clock_advance_to(&clock_, dues[i] - 1);
            CHECK(sleeps());
            pl_clock_advance_to(&clock_, dues[i] + (pl_usec_t)i * 1000000); /* nobody was there at its time */
        }
        CHECK(wakes_up() && entries_now() == 1 && flow_of(root).mode == PL_FLOW_SUSPENDED);
        CHECK(sleeps()); /* it fires once */
        forget();
    }
    begin_function();
    CHECK(suspend(PL_USEC_MAX, NULL) == PL_OK && sleeps());
    advance(1e9);
    CHECK(sleeps());
    forget();
}

/* ---- children, and slots ----------------------------------------------------------------------------------- */

/* W96 W97 W99 W110 */
static void the_end_of_a_child_is_news(void) {
    for (int how = 0; how < 3; how++) { /* done, aborted, a fallback taken */
        pl_stage_new_t child = stage_of("t.Child");
        child.max_attempts = 1;
        child.flags = how == 2 ? PL_STAGE_HAS_FALLBACK : 0;
        child.fallback = how == 2 ? PL_STR_LIT("instead") : PL_STR_NONE;
        begin_function();
        int fence = mine->fence;
        pl_id_t id = spawn(child, 1);
        pl_claim_t *of = claim_one(id);
        CHECK(of->stage->flags & PL_STAGE_SCOPE);
        CHECK(suspend_as((pl_op_suspend_t){ .claim = fence, .due = NEVER }, one(NULL, 0)) == PL_OK && !refused);
        pl_op_t *op = outcome(of, how ? PL_OUTCOME_ABORT : PL_OUTCOME_OK);
        pl_fill_t fill = { id, PL_STR_LIT("\x07") };
        op->u.outcome.fills = &fill;
        op->u.outcome.fills_len = how == 0;
        op->u.outcome.abort_message = PL_STR_LIT("it failed");
        CHECK(call_free(op) == PL_OK && wakes_up());
        free_claims(of);
        op = see();
        const pl_arrival_t *child_end = op->u.journal_get.news.children;
        CHECK(op->u.journal_get.news.children_len == 1 && child_end->seq == 1 && child_end->ref == id);
        CHECK(child_end->state == (how ? PL_STAGE_ABORTED : PL_STAGE_DONE) && child_end->fallback == (how == 2));
        CHECK(how == 1 ? !child_end->value.ptr : is(child_end->value, how ? "instead" : "\x07"));
        CHECK(how ? is(child_end->message, "it failed") : !child_end->message.ptr);
        CHECK(child_end->time == pl_clock_now(&clock_));
        pl_op_free(op);
        pl_entry_t entry = entry_of(1, 2, PL_ENTRY_CHILD, "child");
        CHECK(put(one(&entry, 3)) == PL_OK);
        op = see();
        CHECK(op->u.journal_get.news.children_len == 0); /* it was delivered */
        pl_op_free(op);
        CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_OK && state_of(root) == PL_STAGE_DONE);
        forget();
    }
}

/* W100 W167 */
static void a_filled_slot_is_news(void) {
    for (int when = 0; when < 3; when++) { /* before it waits; with the same suspension; behind it */
        pl_id_t slot = new_id();
        pl_fill_t fill = { slot, PL_STR_LIT("\x05") };
        pl_entry_t entry = entry_of(1, 0, PL_ENTRY_SLOT, "more");
        pl_journal_t journal = one(&entry, 2), first = { .fills = &fill, .fills_len = 1 };
        entry.ref = slot;
        begin_function();
        if (when == 0)
            CHECK(put(first) == PL_OK);
        journal.fills = &fill;
        journal.fills_len = when == 1;
        CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER, .slots = &slot, .slots_len = 1 }, journal) == PL_OK);
        CHECK(refused == (when == 0));
        if (when == 0)
            CHECK(put(one(&entry, 2)) == PL_OK);
        if (when == 2) {
            pl_op_t *op = pl_op_new(PL_VERB_fill);
            op->u.fill = (pl_op_fill_t){ .stage = root, .fills = &fill, .fills_len = 1 };
            CHECK(sleeps() && call_free(op) == PL_OK);
        }
        CHECK(when == 0 || wakes_up());
        pl_op_t *op = see();
        const pl_news_t *news = &op->u.journal_get.news;
        CHECK(news->slots_len == 1 && news->slots->ref == slot && news->slots->seq == 1);
        CHECK(news->slots_len == 1 && is(news->slots->value, "\x05"));
        pl_op_free(op);
        forget();
    }
}

/* W99 W167 */
static void what_it_ends_as_it_suspends_is_news(void) {
    pl_stage_new_t child = stage_of("t.Async");
    begin_function();
    int fence = mine->fence;
    child.flags = PL_STAGE_ASYNC;
    pl_id_t id = spawn(child, 1);
    pl_claim_t *of = claim_one(id);
    CHECK(call_free(outcome(of, PL_OUTCOME_OK)) == PL_OK && state_of(id) == PL_STAGE_RUN);
    free_claims(of);
    pl_fill_t fill = { id, PL_STR_LIT("\x05") }; /* nothing else is open of the child: that ends it */
    pl_journal_t journal = { .fills = &fill, .fills_len = 1 };
    CHECK(suspend_as((pl_op_suspend_t){ .claim = fence, .due = NEVER }, journal) == PL_OK && !refused);
    CHECK(state_of(id) == PL_STAGE_DONE && wakes_up());
    forget();
}

/* W54 W167 */
static void a_signal_to_itself_wakes_it(void) {
    begin_function();
    for (int wanted = 0; wanted < 2; wanted++) {
        pl_mail_new_t mail = mail_of(root, "go", NULL);
        pl_journal_t journal = { .mails = &mail, .mails_len = 1 };
        CHECK(suspend_as((pl_op_suspend_t){ .due = NEVER, .wants = { "go", wanted ? 3 : 0 } }, journal) == PL_OK);
        CHECK(!refused && mail.rc == PL_OK && wakes_up() && mails_now() == (size_t)wanted + 1);
    }
    forget();
}

/* W53 W102 */
static void a_detached_child_lives_on(void) {
    pl_stage_new_t apart = stage_of("t.Apart"), child = stage_of("t.Child");
    pl_journal_t journal = one(NULL, 1);
    begin_function();
    journal.starts = &apart;
    journal.children = &child;
    journal.starts_len = journal.children_len = 1;
    CHECK(put(journal) == PL_OK && state_of(apart.id) == PL_STAGE_READY && state_of(child.id) == PL_STAGE_READY);
    drop();
    CHECK(abort_by(root, true) == PL_OK && state_of(child.id) == PL_STAGE_ABORTED);
    CHECK(state_of(apart.id) == PL_STAGE_READY && clean_up(root) == PL_OK);
    mine = claim_one(apart.id);
    CHECK(!(mine->stage->flags & PL_STAGE_SCOPE) && mine->stage->root == apart.id);
    CHECK(finish_with(mine, apart.id) == PL_OK && clean_up(apart.id) == PL_OK);
    drop();
}

/* ---- holding ----------------------------------------------------------------------------------------------- */

/* W47 W120 W158 */
static void one_that_is_held_waits_whatever_comes(void) {
    for (int how = 0; how < 4; how++) { /* by its outcome; suspended; before its first claim; while it is executed */
        pl_usec_t due = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
        begin_function();
        if (how == 0)
            CHECK(end_with(PL_OUTCOME_HELD, NULL) == PL_OK);
        else if (how == 1)
            CHECK(suspend(due, "*") == PL_OK);
        else if (how == 2) {
            pl_op_t *op = pl_op_new(PL_VERB_release);
            op->u.release = (pl_op_release_t){ &root, &mine->fence, 1, 0 };
            CHECK(call_free(op) == PL_OK);
        }
        if (how)
            CHECK(set_flow(true, "why") == PL_OK);
        if (how == 3) {
            CHECK(flow_of(root).mode == PL_FLOW_HELD && list_flows(true, 0, 10, NULL) == 1);
            CHECK(suspend(due, "*") == PL_OK && refused); /* it is told */
            CHECK(suspend_as((pl_op_suspend_t){ .hold = true, .due = due, .reason = PL_STR_LIT("why") },
                             one(NULL, 0)) == PL_OK);
        }
        CHECK(!refused && flow_of(root).mode == PL_FLOW_HELD && state_of(root) == PL_STAGE_READY);
        pl_op_t *op = see();
        CHECK(is(op->u.journal_get.flow->reason, "why"));
        pl_op_free(op);
        CHECK(set_flow(true, "again") == PL_ESTATE && list_flows(true, 0, 10, NULL) == 1);
        CHECK(send("go", NULL) == PL_OK && sleeps() && mails_now() == 1);
        advance(2);
        CHECK(sleeps() && flow_of(root).mode == PL_FLOW_HELD);
        CHECK(set_flow(false, how % 2 ? NULL : "retry") == PL_OK && set_flow(false, NULL) == PL_ESTATE);
        CHECK(wakes_up() && flow_of(root).mode == PL_FLOW_BEGUN && list_flows(true, 0, 10, NULL) == 0);
        op = see();
        CHECK(how % 2 ? !op->u.journal_get.flow->reason.ptr : is(op->u.journal_get.flow->reason, "retry"));
        pl_op_free(op);
        CHECK(set_flow(true, "why") == PL_OK && set_flow(false, NULL) == PL_OK); /* in between, while it is executed */
        CHECK(suspend(NEVER, NULL) == PL_OK && refused && end_with(PL_OUTCOME_HELD, NULL) == PL_OK);
        CHECK(abort_by(root, false) == PL_OK && wakes_up() && flow_of(root).cancel == PL_CANCEL_ASKED);
        forget();
    }
    root = 7;
    CHECK(set_flow(true, NULL) == PL_ENOTFOUND);
    begin_function();
    CHECK(set_flow(false, NULL) == PL_ESTATE && end_with(PL_OUTCOME_OK, NULL) == PL_OK);
    CHECK(set_flow(true, NULL) == PL_EFINAL && set_flow(false, NULL) == PL_EFINAL);
    forget();
}

static int add_run(pl_id_t stage) {
    pl_task_new_t tasks[2] = { { .kind = PL_TASK_RUN, .stage = stage }, { .kind = PL_TASK_RUN, .stage = stage } };
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ .tasks = tasks, .len = 2 };
    CHECK(call_free(op) == PL_OK && tasks[1].rc == PL_ESTATE); /* one is enough */
    return tasks[0].rc;
}

/* W158 */
static void one_is_held_before_it_has_a_task(void) {
    for (int early = 0; early < 2; early++) { /* let go on before it gets one, or behind that */
        pl_stage_new_t stage = function_of("t.Function");
        stage.hold = true;
        CHECK(start(&stage) == PL_OK);
        root = stage.id;
        CHECK(sleeps() && set_flow(true, "why") == PL_OK && set_flow(true, "why") == PL_ESTATE);
        CHECK(!early || set_flow(false, NULL) == PL_OK);
        CHECK(add_run(root) == PL_OK && (early || sleeps()) && list_flows(true, 0, 10, NULL) == (size_t)!early);
        CHECK(early || (flow_of(root).mode == PL_FLOW_HELD && set_flow(false, NULL) == PL_OK));
        CHECK(wakes_up() && flow_of(root).mode == PL_FLOW_BEGUN && !flow_of(root).dirty);
        CHECK(suspend(NEVER, NULL) == PL_OK && !refused);
        forget();
    }
}

/* W158 */
static void one_that_waits_for_its_inputs_is_held(void) {
    for (int how = 0; how < 3; how++) { /* let go on behind its input; before that; aborted */
        pl_stage_new_t children[2] = { stage_of("t.First"), function_of("t.Second") };
        children[1].inputs = &children[0].id;
        children[1].inputs_len = 1;
        begin_function();
        CHECK(put((pl_journal_t){ .children = children, .children_len = 2 }) == PL_OK);
        pl_id_t above = root;
        pl_claim_t *roots = mine;
        root = children[1].id;
        mine = NULL;
        CHECK(state_of(root) == PL_STAGE_WAITING && set_flow(true, "why") == PL_OK);
        CHECK(set_flow(true, "why") == PL_ESTATE && flow_of(root).mode == PL_FLOW_HELD);
        CHECK(how != 1 || set_flow(false, NULL) == PL_OK);
        pl_claim_t *first = claim_one(children[0].id);
        CHECK(finish_with(first, children[0].id) == PL_OK && state_of(root) == PL_STAGE_READY);
        free_claims(first);
        CHECK(how == 1 ? wakes_up() : sleeps());
        if (how == 0)
            CHECK(flow_of(root).mode == PL_FLOW_HELD && set_flow(false, NULL) == PL_OK && wakes_up());
        if (how == 2)
            CHECK(abort_by(root, false) == PL_OK && wakes_up() && flow_of(root).cancel == PL_CANCEL_ASKED);
        CHECK(flow_of(root).mode == PL_FLOW_BEGUN);
        drop();
        mine = roots;
        root = above;
        forget();
    }
}

/* ---- cancellation ------------------------------------------------------------------------------------------ */

/* W110 W112 W116 */
static void one_that_has_begun_is_asked_to_abort(void) {
    for (int how = 0; how < 2; how++) { /* suspended; while it is executed */
        begin_function();
        int fence = mine->fence;
        pl_id_t child = spawn(function_of("t.Child"), 1);
        pl_claim_t *below = claim_one(child);
        if (how == 0)
            CHECK(suspend_as((pl_op_suspend_t){ .claim = fence, .due = NEVER }, one(NULL, 0)) == PL_OK && !refused);
        CHECK(abort_by(root, false) == PL_OK && abort_by(root, false) == PL_EEXISTS);
        CHECK(state_of(root) == PL_STAGE_READY && flow_of(root).cancel == PL_CANCEL_ASKED);
        CHECK(how == 0 ? wakes_up() : flow_of(root).dirty);
        pl_op_t *op = see();
        const pl_news_t *news = &op->u.journal_get.news;
        CHECK(news->cancel && news->is_abort && is(news->message, "enough") && news->live_len == 1 &&
              news->live[0] == child);
        pl_op_free(op);
        CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_EABORTED && state_of(root) == PL_STAGE_READY && wakes_up());
        CHECK(end_with(PL_OUTCOME_CONTINUE, NULL) == PL_EABORTED && wakes_up() && flow_of(root).era == 0);
        CHECK(abort_by(child, false) == PL_OK && flow_of(child).cancel == PL_CANCEL_ASKED); /* as the function does */
        op = outcome(below, PL_OUTCOME_ABORT);
        CHECK(call_free(op) == PL_OK && state_of(child) == PL_STAGE_ABORTED && flow_of(root).dirty);
        free_claims(below);
        pl_journal_t told = { .next = 2, .cancel = PL_CANCEL_TOLD, .deadline = pl_clock_now(&clock_) + 1 };
        CHECK(put(told) == PL_OK && flow_of(root).cancel == PL_CANCEL_TOLD && flow_of(root).deadline == told.deadline);
        op = see();
        CHECK(!op->u.journal_get.news.cancel && op->u.journal_get.news.live_len == 0);
        pl_op_free(op);
        op = outcome(mine, PL_OUTCOME_ABORT);
        CHECK(call_free(op) == PL_OK && state_of(root) == PL_STAGE_ABORTED && abort_by(root, false) == PL_EFINAL);
        CHECK(flow_of(root).mode == PL_FLOW_OVER && resume_tree(root) == PL_OK && wakes_up());
        pl_flow_t flow = flow_of(root); /* what was undone is done anew */
        CHECK(flow.era == 1 && flow.first == 2 && entries_now() == 0 && flow.cancel == PL_CANCEL_NONE &&
              !flow.deadline);
        forget();
    }
}

/* W112 */
static void one_that_was_told_ends_aborted_whatever_its_outcome(void) {
    static const pl_outcome_kind_t kinds[] = { PL_OUTCOME_OK, PL_OUTCOME_CONTINUE, PL_OUTCOME_HELD, PL_OUTCOME_ABORT };
    for (int i = 0; i < 4; i++) {
        begin_function();
        CHECK(put((pl_journal_t){ .next = 1, .cancel = PL_CANCEL_TOLD }) == PL_OK); /* it has decided so itself */
        CHECK(end_with(kinds[i], NULL) == (i < 2 ? PL_EABORTED : PL_OK) && state_of(root) == PL_STAGE_ABORTED);
        forget();
    }
}

/* W121 */
static void the_pipeline_above_one_that_ends_so_is_aborted(void) {
    static const pl_outcome_kind_t kinds[] = { PL_OUTCOME_HELD, PL_OUTCOME_HELD, PL_OUTCOME_OK, PL_OUTCOME_CONTINUE };
    for (int i = 0; i < 6; i++) { /* it has asked that of itself, and is to be held; else it has told itself, too */
        pl_stage_new_t above = stage_of("t.Plain"), child = function_of("t.Child");
        CHECK(start(&above) == PL_OK);
        root = above.id;
        CHECK(wakes_up());
        pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
        op->u.outcome.children = &child;
        op->u.outcome.children_len = 1;
        CHECK(call_free(op) == PL_OK && state_of(above.id) == PL_STAGE_RUN);
        root = child.id;
        CHECK(wakes_up());
        CHECK(put((pl_journal_t){ .cancel = i ? PL_CANCEL_TOLD : PL_CANCEL_ASKED }) == PL_OK);
        if (i < 4)
            CHECK(end_with(kinds[i], NULL) == (i < 2 ? PL_OK : PL_EABORTED));
        else { /* what to say of it, it does not know */
            op = outcome(mine, PL_OUTCOME_ABORT);
            op->u.outcome.force = i == 5;
            op->u.outcome.failure.error_class = i == 5 ? PL_STR_LIT("E") : PL_STR_NONE;
            CHECK(call_free(op) == PL_OK);
        }
        CHECK(state_of(child.id) == PL_STAGE_ABORTED && state_of(above.id) == PL_STAGE_ABORTED);
        root = above.id;
        drop();
        CHECK(clean_up(root) == PL_OK);
    }
}

/* W121 */
static void one_may_ask_that_of_itself(void) {
    begin_function();
    int fence = mine->fence;
    pl_id_t child = spawn(function_of("t.Child"), 1);
    pl_claim_t *below = claim_one(child);
    pl_op_t *op = pl_op_new(PL_VERB_release); /* its next life knows of it */
    CHECK(put_as(fence, (pl_journal_t){ .next = 2, .cancel = PL_CANCEL_ASKED }) == PL_OK && sleeps());
    op->u.release = (pl_op_release_t){ &root, &fence, 1, 0 };
    CHECK(call_free(op) == PL_OK && wakes_up() && flow_of(root).cancel == PL_CANCEL_ASKED);
    op = see();
    const pl_news_t *news = &op->u.journal_get.news;
    CHECK(news->cancel && !news->is_abort && !news->message.ptr && news->live_len == 1 && news->live[0] == child);
    pl_op_free(op);
    CHECK(end_with(PL_OUTCOME_OK, NULL) == PL_EABORTED && state_of(root) == PL_STAGE_READY && wakes_up());
    CHECK(abort_by(root, false) == PL_OK); /* and somebody else does, too */
    op = see();
    CHECK(op->u.journal_get.news.is_abort && is(op->u.journal_get.news.message, "enough"));
    pl_op_free(op);
    CHECK(put((pl_journal_t){ .cancel = PL_CANCEL_TOLD }) == PL_OK);
    CHECK(put((pl_journal_t){ .cancel = PL_CANCEL_ASKED }) == PL_OK && flow_of(root).cancel == PL_CANCEL_TOLD);
    free_claims(below);
    forget();
}

/* W116 */
static void a_child_that_is_waited_for_is_named_once(void) {
    begin_function(); /* it has two children: below one three functions go on, below the other one plain stage */
    pl_id_t first = root, busy = spawn(function_of("t.Busy"), 1), plain = spawn(stage_of("t.Plain"), 3);
    pl_claim_t *roots = mine;
    mine = claim(2);
    CHECK(mine && mine->next && mine->task == busy && mine->next->task == plain);
    root = busy;
    spawn(function_of("t.Low"), 1);
    spawn(function_of("t.Low"), 3);
    drop();
    root = first;
    mine = roots;
    CHECK(abort_by(root, false) == PL_OK);
    pl_op_t *op = see();
    CHECK(op->u.journal_get.news.live_len == 1 && op->u.journal_get.news.live[0] == busy);
    pl_op_free(op);
    forget();
}

/* W116 */
static void the_end_of_a_function_is_told_to_the_nearest_that_waits_for_it(void) {
    for (int asked = 0; asked < 2; asked++) { /* root, middle, low: middle ends first, and leaves low behind */
        pl_stage_new_t middle = function_of("t.Middle"), low = function_of("t.Low");
        begin_function();
        int fence = mine->fence;
        pl_id_t first = root;
        spawn(middle, 1);
        pl_claim_t *middles = claim_one(middle.id);
        root = middle.id;
        pl_claim_t *roots = mine;
        mine = middles;
        spawn(low, 1);
        pl_claim_t *lows = claim_one(low.id);
        mine = roots;
        root = first;
        if (asked)
            CHECK(put_as(fence, (pl_journal_t){ .cancel = PL_CANCEL_ASKED }) == PL_OK);
        pl_op_t *op = outcome(middles, PL_OUTCOME_ABORT);
        CHECK(call_free(op) == PL_OK && state_of(middle.id) == PL_STAGE_ABORTED && flow_of(root).dirty);
        CHECK(suspend(NEVER, NULL) == PL_OK && refused && !flow_of(root).dirty);
        op = outcome(lows, PL_OUTCOME_ABORT);
        CHECK(call_free(op) == PL_OK && state_of(low.id) == PL_STAGE_ABORTED && flow_of(root).dirty == (asked == 1));
        free_claims(middles);
        free_claims(lows);
        forget();
    }
}

/* W4 W110 */
static void one_that_never_began_is_aborted_as_any_other(void) {
    pl_stage_new_t stage = function_of("t.Function");
    stage.eta = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
    CHECK(start(&stage) == PL_OK && abort_by(stage.id, false) == PL_OK && state_of(stage.id) == PL_STAGE_ABORTED);
    root = stage.id;
    CHECK(flow_of(root).mode == PL_FLOW_OVER && flow_of(root).cancel == PL_CANCEL_NONE);
    forget();
}

/* W119 */
static void an_abort_by_force_asks_nobody(void) {
    for (int asked = 0; asked < 2; asked++) {
        begin_function();
        int fence = mine->fence;
        pl_id_t child = spawn(stage_of("t.Child"), 1);
        pl_claim_t *below = claim_one(child);
        CHECK(!asked || abort_by(root, false) == PL_OK);
        CHECK(abort_by(root, true) == PL_OK && state_of(root) == PL_STAGE_ABORTED);
        CHECK(state_of(child) == PL_STAGE_ABORTED && finish_with(below, child) == PL_ESTALE);
        CHECK(put_as(fence, one(NULL, 9)) == PL_ESTALE && entries_now() == 1);
        free_claims(below);
        forget();
    }
    begin_function();
    pl_id_t child = spawn(function_of("t.Child"), 1);
    CHECK(abort_by(child, true) == PL_OK && state_of(child) == PL_STAGE_ABORTED && state_of(root) == PL_STAGE_READY);
    CHECK(flow_of(root).dirty); /* that scope alone, which is news */
    forget();
}

static void try_all(void) {
    signals_come_in_the_order_of_their_commits();
    a_signal_wakes_who_waits_for_its_name();
    who_is_executed_looks_before_it_waits();
    signals_are_refused_by_what_they_are_sent_to();
    a_signal_in_a_session_is_sent_with_it();
    a_timer_wakes_at_its_time();
    the_end_of_a_child_is_news();
    a_filled_slot_is_news();
    what_it_ends_as_it_suspends_is_news();
    a_signal_to_itself_wakes_it();
    a_detached_child_lives_on();
    one_that_is_held_waits_whatever_comes();
    one_is_held_before_it_has_a_task();
    one_that_waits_for_its_inputs_is_held();
    one_that_has_begun_is_asked_to_abort();
    one_that_was_told_ends_aborted_whatever_its_outcome();
    the_pipeline_above_one_that_ends_so_is_aborted();
    one_may_ask_that_of_itself();
    a_child_that_is_waited_for_is_named_once();
    the_end_of_a_function_is_told_to_the_nearest_that_waits_for_it();
    one_that_never_began_is_aborted_as_any_other();
    an_abort_by_force_asks_nobody();
    if (!fails_first)
        a_mailbox_is_bounded();
}

int main(void) {
    return try_everywhere(try_all);
}
