/*
 * durable_test.c - the store's side of durable functions: journals, suspending, news, holding; and every order in which
 * one that suspends and those who bring it news can come, so that no wake-up is missed. On SQLite, and on the store in
 * memory/.
 */
#include <stdlib.h>
#include <string.h>

#include "store/memory/driver.h"
#include "support/turns.h"

static pl_id_t root;

/* ---- little language --------------------------------------------------------------------------------------- */

static void begin(void) {
    pl_stage_new_t first = stage_of("t.Durable", PL_STAGE_DURABLE);
    root = first.id;
    drop_claims();
    CHECK(start(first) == PL_OK && claim_of(root));
}

static pl_entry_t entry_of(int64_t seq, int64_t done, pl_entry_kind_t kind, const char *name) {
    return (pl_entry_t){ .seq = seq,
                         .done = done,
                         .kind = kind,
                         .state = done ? PL_ENTRY_OK : PL_ENTRY_OPEN,
                         .name = pl_str(name),
                         .nth = 1,
                         .line = PL_STR_LIT("a.lua:1"),
                         .opened = pl_clock_now(&clock_),
                         .closed = done ? pl_clock_now(&clock_) : 0,
                         .value = done ? PL_STR_LIT("\x01") : PL_STR_NONE };
}

static pl_op_t *journal(const pl_entry_t *entries, size_t len, int64_t next) {
    pl_op_t *op = new_op(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = root,
                                       .claim = fence_of(root),
                                       .journal = { .entries = entries, .entries_len = len, .next = next } };
    return op;
}

static pl_op_t *suspend(const pl_entry_t *entries, size_t len, int64_t next, pl_usec_t due, pl_str_t wants) {
    pl_op_t *op = new_op(PL_VERB_suspend);
    op->u.suspend = (pl_op_suspend_t){ .stage = root,
                                       .claim = fence_of(root),
                                       .journal = { .entries = entries, .entries_len = len, .next = next },
                                       .due = due,
                                       .wants = wants,
                                       .reason = PL_STR_LIT("it waits") };
    return op;
}

static pl_op_t *signal_of(const char *name, const char *key, pl_mail_new_t *mail) {
    pl_op_t *op = new_op(PL_VERB_signal);
    *mail = (pl_mail_new_t){
        .stage = root, .name = pl_str(name), .key = key ? pl_str(key) : PL_STR_NONE, .value = PL_STR_LIT("\x02")
    };
    op->u.signal = (pl_op_signal_t){ mail, 1 };
    return op;
}

static int send(const char *name, const char *key) {
    pl_mail_new_t mail;
    CHECK(apply(signal_of(name, key, &mail)) == PL_OK);
    return mail.rc;
}

/* Owned by the caller. */
static pl_op_t *get(int64_t after, int limit) {
    pl_op_t *op = new_op(PL_VERB_journal_get);
    op->u.journal_get = (pl_op_journal_get_t){ .stage = root, .after = after, .limit = limit, .mail_limit = 100 };
    return see(op);
}

/* ---- the journal ------------------------------------------------------------------------------------------- */

static void entries_come_back_as_they_were_written(void) {
    enum { BIG = 5000 };
    char *big = calloc(1, BIG);
    begin();
    pl_entry_t list[3] = { entry_of(1, 2, PL_ENTRY_STEP, "a"), entry_of(3, 0, PL_ENTRY_TIMER, "t"),
                           entry_of(4, 5, PL_ENTRY_STEP, "b") };
    list[1].due = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
    list[2].value = (pl_str_t){ big, BIG };
    list[2].path = PL_STR_LIT("1.2");
    CHECK(apply(journal(list, 3, 6)) == PL_OK && claim_of(root));
    pl_op_t *op = get(0, 100);
    const pl_op_journal_get_t *found = &op->u.journal_get;
    CHECK(op->rc == PL_OK && found->flow && found->flow->next == 6 && found->flow->version == 1 && found->len == 3);
    CHECK(pl_str_eq(found->flow->seed, PL_STR_LIT("0123456789abcdef")) && found->flow->mode == PL_FLOW_BEGUN);
    CHECK(found->entries[0].done == 2 && pl_str_eq(found->entries[0].name, PL_STR_LIT("a")) && !found->more);
    CHECK(found->entries[1].done == 0 && found->entries[1].due == list[1].due && !found->entries[1].value.ptr);
    CHECK(found->entries[2].value.len == BIG && pl_str_eq(found->entries[2].path, PL_STR_LIT("1.2")));
    CHECK(pl_str_eq(found->entries[2].line, PL_STR_LIT("a.lua:1")) && found->entries[2].opened == list[2].opened);
    pl_op_free(op);
    list[1] = entry_of(3, 6, PL_ENTRY_TIMER, "t"); /* the same entry, delivered */
    CHECK(apply(journal(&list[1], 1, 7)) == PL_OK);
    op = get(1, 1);
    CHECK(op->u.journal_get.len == 1 && op->u.journal_get.more && op->u.journal_get.entries[0].done == 6);
    pl_op_free(op);
    check_rules();
    free(big);
}

static void what_is_not_ours_is_not_written(void) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    begin();
    pl_op_t *op = journal(&entry, 1, 3);
    op->u.journal.claim++;
    CHECK(apply(op) == PL_ESTALE);
    op = suspend(&entry, 1, 3, PL_USEC_NEVER, PL_STR_NONE);
    op->u.suspend.claim++;
    CHECK(apply(op) == PL_ESTALE);
    CHECK(abort_by(root, true) == PL_OK && state_of(root) == PL_STAGE_ABORTED);
    CHECK(apply(journal(&entry, 1, 3)) == PL_ESTALE);
    op = get(0, 100);
    CHECK(op->u.journal_get.len == 0 && op->u.journal_get.flow->mode == PL_FLOW_OVER);
    pl_op_free(op);
    check_rules();
}

static void all_of_it_goes_with_its_tree(void) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    begin();
    CHECK(send("x", "k") == PL_OK && apply(journal(&entry, 1, 3)) == PL_OK && apply(finish_op(root)) == PL_OK);
    CHECK(clean_up(root) == PL_OK);
    pl_op_t *op = get(0, 100);
    CHECK(op->rc == PL_ENOTFOUND && !op->u.journal_get.flow);
    pl_op_free(op);
    check_rules();
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

static void a_timer_wakes_at_its_time(void) {
    pl_entry_t timer = entry_of(1, 0, PL_ENTRY_TIMER, "t");
    begin();
    timer.due = pl_clock_now(&clock_) + 10 * PL_USEC_PER_SEC;
    CHECK(apply(suspend(&timer, 1, 2, timer.due, PL_STR_NONE)) == PL_OK);
    drop_claims();
    CHECK(look() == 0);
    check_rules();
    pl_clock_advance_to(&clock_, timer.due - 1);
    CHECK(look() == 0);
    pl_clock_advance_to(&clock_, timer.due);
    CHECK(look() == 1 && claim_of(root));
}

static void mails_wake_who_wants_them(void) {
    begin();
    CHECK(send("early", NULL) == PL_OK); /* it is under way: it looks again before it waits */
    pl_op_t *op = suspend(NULL, 0, 1, PL_USEC_NEVER, (pl_str_t){ "go\0stop\0", 8 });
    (void)turn_of(&op, 1, 100);
    CHECK(op->rc == PL_OK && op->u.suspend.refused);
    (void)turn_of(&op, 1, 100);
    CHECK(op->rc == PL_OK && !op->u.suspend.refused);
    pl_op_free(op);
    drop_claims();
    CHECK(send("other", NULL) == PL_OK && look() == 0);
    check_rules();
    CHECK(send("stop", "7") == PL_OK && claim_of(root));
    CHECK(send("stop", "7") == PL_EEXISTS);
    op = get(0, 100);
    const pl_news_t *news = &op->u.journal_get.news;
    CHECK(news->mails_len == 3 && news->mails[0].number == 1 && news->mails[2].number == 3);
    CHECK(pl_str_eq(news->mails[2].name, PL_STR_LIT("stop")) && pl_str_eq(news->mails[2].value, PL_STR_LIT("\x02")));
    pl_op_free(op);
    const int64_t taken[2] = { 1, 3 };
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_EVENT, "stop");
    op = journal(&entry, 1, 3);
    op->u.journal.journal.taken = taken;
    op->u.journal.journal.taken_len = 2;
    CHECK(apply(op) == PL_OK && send("stop", "7") == PL_EEXISTS);
    op = get(0, 100);
    CHECK(op->u.journal_get.news.mails_len == 1 && op->u.journal_get.flow->mails == 1);
    pl_op_free(op);
    CHECK(apply(finish_op(root)) == PL_OK && send("go", NULL) == PL_EFINAL);
    root = pl_ids_next(&ids, &clock_);
    CHECK(send("go", NULL) == PL_ENOTFOUND);
    check_rules();
}

static pl_id_t spawn(bool waits) {
    pl_stage_new_t child = stage_of("t.Child", 0);
    pl_entry_t entry = entry_of(1, 0, PL_ENTRY_CHILD, "t.Child");
    entry.ref = child.id;
    pl_op_t *op = waits ? suspend(&entry, 1, 2, PL_USEC_NEVER, PL_STR_NONE) : journal(&entry, 1, 2);
    pl_journal_t *what = waits ? &op->u.suspend.journal : &op->u.journal.journal;
    what->children = &child;
    what->children_len = 1;
    CHECK(apply(op) == PL_OK && state_of(child.id) == PL_STAGE_READY && claim_of(child.id));
    return child.id;
}

static void the_end_of_a_child_wakes(void) {
    for (int how = 0; how < 2; how++) {
        begin();
        pl_id_t child = spawn(true);
        check_rules();
        CHECK(apply(how ? outcome(child, PL_OUTCOME_ABORT) : finish_op(child)) == PL_OK);
        CHECK(claims->task == root && state_of(root) == PL_STAGE_READY);
        pl_op_t *op = get(0, 100);
        const pl_news_t *news = &op->u.journal_get.news;
        CHECK(news->children_len == 1 && news->children->seq == 1 && news->children->ref == child);
        CHECK(news->children->state == (how ? PL_STAGE_ABORTED : PL_STAGE_DONE));
        CHECK(how ? !news->children->value.ptr && pl_str_eq(news->children->message, PL_STR_LIT("it failed"))
                  : pl_str_eq(news->children->value, PL_STR_LIT("\x07")));
        pl_op_free(op);
        check_rules();
        CHECK(apply(finish_op(root)) == PL_OK && state_of(root) == PL_STAGE_DONE);
        check_rules();
    }
}

static void a_filled_slot_wakes(void) {
    pl_id_t slot;
    for (int before = 0; before < 2; before++) {
        begin();
        pl_id_t child = spawn(false);
        slot = pl_ids_next(&ids, &clock_);
        pl_op_t *fill = new_op(PL_VERB_fill);
        fill->u.fill = (pl_op_fill_t){ .stage = child, .fills = fill_of(slot), .fills_len = 1 };
        pl_entry_t entry = entry_of(2, 0, PL_ENTRY_SLOT, "more");
        entry.ref = slot;
        pl_op_t *op = suspend(&entry, 1, 3, PL_USEC_NEVER, PL_STR_NONE);
        op->u.suspend.slots = &slot;
        op->u.suspend.slots_len = 1;
        if (before)
            CHECK(apply(fill) == PL_OK);
        (void)turn_of(&op, 1, 100);
        CHECK(op->rc == PL_OK && op->u.suspend.refused == (before == 1));
        pl_op_free(op);
        check_rules();
        if (before)
            continue;
        CHECK(apply(fill) == PL_OK && claims->task == root);
        op = get(0, 100);
        CHECK(op->u.journal_get.news.slots_len == 1 && op->u.journal_get.news.slots->ref == slot);
        pl_op_free(op);
    }
}

static void one_that_is_held_waits_until_it_is_let_go_on(void) {
    begin();
    CHECK(apply(outcome(root, PL_OUTCOME_HELD)) == PL_OK && send("go", NULL) == PL_OK);
    drop_claims();
    CHECK(look() == 0 && state_of(root) == PL_STAGE_READY);
    pl_op_t *op = get(0, 100);
    CHECK(op->u.journal_get.flow->mode == PL_FLOW_HELD && pl_str_eq(op->u.journal_get.flow->reason, PL_STR_LIT("why")));
    pl_op_free(op);
    check_rules();
    for (int hold = 1; hold >= 0; hold--) {
        op = new_op(PL_VERB_flow_set);
        op->u.flow_set = (pl_op_flow_set_t){ .stage = root, .hold = hold };
        CHECK(apply(op) == (hold ? PL_ESTATE : PL_OK));
    }
    CHECK(claim_of(root) != NULL);
    op = new_op(PL_VERB_flow_set);
    op->u.flow_set = (pl_op_flow_set_t){ .stage = root, .hold = true };
    CHECK(apply(op) == PL_OK); /* it is told, and holds itself */
    CHECK(apply(suspend(NULL, 0, 1, PL_USEC_NEVER, PL_STR_NONE)) == PL_OK);
    CHECK(claim_of(root) != NULL);
    op = suspend(NULL, 0, 1, PL_USEC_NEVER, PL_STR_NONE);
    op->u.suspend.hold = true;
    CHECK(apply(op) == PL_OK);
    drop_claims();
    op = get(0, 100);
    CHECK(op->u.journal_get.flow->mode == PL_FLOW_HELD && look() == 0);
    pl_op_free(op);
    check_rules();
}

static void one_that_has_begun_is_asked_to_abort(void) {
    pl_entry_t entry = entry_of(1, 2, PL_ENTRY_STEP, "a");
    begin();
    CHECK(apply(journal(&entry, 1, 3)) == PL_OK);
    CHECK(apply(suspend(NULL, 0, 3, PL_USEC_NEVER, PL_STR_NONE)) == PL_OK);
    drop_claims();
    CHECK(abort_by(root, false) == PL_OK && abort_by(root, false) == PL_EEXISTS);
    CHECK(state_of(root) == PL_STAGE_READY && (claim_of(root) || look() == 1) && claim_of(root));
    check_rules();
    pl_op_t *op = get(0, 100);
    const pl_news_t *news = &op->u.journal_get.news;
    CHECK(op->u.journal_get.flow->cancel == PL_CANCEL_ASKED && news->cancel);
    CHECK(pl_str_eq(news->message, PL_STR_LIT("enough")) && news->live_len == 0);
    pl_op_free(op);
    CHECK(apply(finish_op(root)) == PL_EABORTED && state_of(root) == PL_STAGE_READY); /* it is told first */
    op = journal(NULL, 0, 3);
    op->u.journal.journal.cancel = PL_CANCEL_TOLD;
    CHECK(apply(op) == PL_OK);
    op = outcome(root, PL_OUTCOME_ABORT);
    op->u.outcome.abort_message = PL_STR_NONE;
    CHECK(apply(op) == PL_OK && state_of(root) == PL_STAGE_ABORTED && abort_by(root, false) == PL_EFINAL);
    check_rules();
    drop_claims();
    CHECK(resume(root) == PL_OK && claim_of(root));
    op = get(0, 100);
    CHECK(op->u.journal_get.flow->era == 1 && op->u.journal_get.len == 0 &&
          op->u.journal_get.flow->cancel == PL_CANCEL_NONE);
    pl_op_free(op);
    check_rules();
}

static void an_aborted_one_that_is_resumed_goes_on(void) {
    begin();
    pl_id_t child = spawn(true);
    CHECK(abort_by(root, true) == PL_OK && apply(finish_op(child)) == PL_ESTALE && state_of(root) == PL_STAGE_ABORTED);
    check_rules();
    drop_claims();
    CHECK(resume(root) == PL_OK && claim_of(root) && claim_of(child));
    pl_op_t *op = get(0, 100);
    CHECK(op->u.journal_get.flow->mode == PL_FLOW_BEGUN && op->u.journal_get.len == 1);
    pl_op_free(op);
    check_rules();
}

/* ---- every order ------------------------------------------------------------------------------------------- */

/*
 * A function waits for a mail, a child, a slot and a timer, and suspends again and again until it has all. What can
 * happen: it looks for news, it suspends, the mail is sent, the child ends, the slot is filled, the timer's time comes,
 * its claim is lost, so that it begins anew and knows nothing; in one transaction with the next thing, or apart from
 * it. Whatever the order: once nothing more happens, it has all.
 */
enum { LOOKS, SUSPENDS, MAIL, CHILD_ENDS, SLOT, TIME, LOST, THINGS };

typedef struct {
    bool claimed, knows; /* knows: it has looked since it was claimed, or refused */
    bool has_mail, has_child, has_slot, has_time;
    bool sent, ended, filled, passed;
    pl_id_t child, slot;
    pl_usec_t due;
    const pl_claim_t *claim; /* the last one it had */
} world_t;

static bool has_all(const world_t *world) {
    return world->has_mail && world->has_child && world->has_slot && world->has_time;
}

static void look_for_news(world_t *world) {
    pl_op_t *op = get(0, 100);
    const pl_news_t *news = &op->u.journal_get.news;
    world->has_mail = world->has_mail || news->mails_len > 0;
    world->has_child = world->has_child || news->children_len > 0;
    world->has_slot = world->has_slot || news->slots_len > 0;
    world->has_time = world->has_time || pl_clock_now(&clock_) >= world->due;
    world->knows = true;
    pl_op_free(op);
}

static pl_op_t *suspension(const world_t *world) {
    pl_usec_t due = world->has_time ? PL_USEC_NEVER : world->due;
    pl_op_t *op = suspend(NULL, 0, 0, due, world->has_mail ? PL_STR_NONE : (pl_str_t){ "go", 3 });
    op->u.suspend.slots = &world->slot;
    op->u.suspend.slots_len = !world->has_slot;
    return op;
}

static pl_op_t *filling(const world_t *world) {
    pl_op_t *op = new_op(PL_VERB_fill);
    pl_fill_t *fill = pl_op_alloc(op, sizeof *fill);
    *fill = (pl_fill_t){ world->slot, PL_STR_LIT("\x05") };
    op->u.fill = (pl_op_fill_t){ .stage = root, .fills = fill, .fills_len = 1 };
    return op;
}

static pl_op_t *loss(void) {
    const pl_claim_t *of = claim_of(root);
    pl_op_t *op = new_op(PL_VERB_release);
    pl_id_t *task = pl_op_alloc(op, sizeof *task);
    int *claim = pl_op_alloc(op, sizeof *claim);
    *task = root;
    *claim = of->fence;
    op->u.release = (pl_op_release_t){ task, claim, 1, 0 };
    return op;
}

static void take_claims(world_t *world) {
    if (world->claimed || !claims || claims->task != root || claims == world->claim)
        return;
    world->claimed = true;
    world->claim = claims;
    world->knows = false;
}

/* Whether the thing can happen now; *op: what it does, if that is an op. */
static bool can(const world_t *world, int thing, pl_op_t **op, pl_mail_new_t *mail) {
    *op = NULL;
    switch (thing) {
    case LOOKS:
        return world->claimed && !world->knows;
    case SUSPENDS:
        if (!world->claimed || !world->knows || has_all(world))
            return false;
        *op = suspension(world);
        return true;
    case MAIL:
        if (!world->sent)
            *op = signal_of("go", NULL, mail);
        return !world->sent;
    case CHILD_ENDS:
        if (!world->ended)
            *op = finish_op(world->child);
        return !world->ended;
    case SLOT:
        if (!world->filled)
            *op = filling(world);
        return !world->filled;
    case LOST:
        if (world->claimed)
            *op = loss();
        return world->claimed;
    default:
        return !world->passed;
    }
}

static void happened(world_t *world, int thing, const pl_op_t *op) {
    bool too_late = thing == SUSPENDS && !world->claimed; /* it was lost in the same transaction */
    CHECK(!op || op->rc == (too_late ? PL_ESTALE : PL_OK));
    world->sent = world->sent || thing == MAIL;
    world->ended = world->ended || thing == CHILD_ENDS;
    world->filled = world->filled || thing == SLOT;
    if (thing == LOST)
        world->claimed = world->has_mail = world->has_child = world->has_slot = world->has_time = false;
    if (thing == SUSPENDS && !too_late && op->u.suspend.refused)
        world->knows = false;
    else if (thing == SUSPENDS)
        world->claimed = false;
}

/* Things that are ops happen in one transaction when `together`. */
static void happen(world_t *world, int first, int second, bool together) {
    pl_op_t *ops[2] = { NULL, NULL };
    pl_mail_new_t mails[2];
    const int things[2] = { first, second };
    int len = 0, which[2] = { 0, 0 };
    for (int i = 0; i < 2; i++) {
        pl_op_t *op;
        if (things[i] == THINGS || (i && first == second) || !can(world, things[i], &op, &mails[i]))
            continue;
        if (things[i] == LOOKS)
            look_for_news(world);
        if (things[i] == TIME) {
            world->passed = true;
            pl_clock_advance_to(&clock_, world->due);
        }
        if (!op)
            continue;
        which[len] = things[i];
        ops[len++] = op;
        if (together)
            continue;
        (void)turn_of(ops, len, 100);
        happened(world, which[0], ops[0]);
        pl_op_free(ops[0]);
        len = 0;
    }
    if (len)
        (void)turn_of(ops, len, 100);
    for (int i = 0; i < len; i++) {
        happened(world, which[i], ops[i]);
        pl_op_free(ops[i]);
    }
    take_claims(world);
}

/* What is left happens at last, and the function goes on as long as it is claimed. */
static void end_all(world_t *world) {
    for (int thing = MAIL; thing < LOST; thing++)
        happen(world, thing, THINGS, false);
    for (int i = 0; i < 20 && !has_all(world); i++) {
        (void)look();
        take_claims(world);
        happen(world, LOOKS, THINGS, false);
        happen(world, SUSPENDS, THINGS, false);
    }
}

static bool play(unsigned order, int steps) {
    world_t world = { .claimed = true, .knows = true };
    begin();
    world.claim = claim_of(root);
    world.child = spawn(false);
    world.slot = pl_ids_next(&ids, &clock_);
    pl_entry_t entry = entry_of(2, 0, PL_ENTRY_SLOT, "more");
    entry.ref = world.slot;
    CHECK(apply(journal(&entry, 1, 3)) == PL_OK);
    world.due = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
    for (int i = 0; i < steps; i++) {
        unsigned step = order % (THINGS * THINGS * 2);
        order /= THINGS * THINGS * 2;
        happen(&world, (int)(step % THINGS), (int)(step / THINGS % THINGS), step / THINGS / THINGS);
    }
    end_all(&world);
    drop_claims();
    return has_all(&world);
}

/* The next ones are on a new store: one in memory looks through all it has. */
static void renew(void) {
    const pl_store_driver_t same = driver;
    check_rules();
    close_driver();
    open_driver(&same, ":memory:", NULL);
}

static void no_wake_up_is_missed_in_any_order(void) {
    unsigned all = THINGS * THINGS * 2, failed = 0, count = 0;
    for (unsigned a = 0; a < all; a++) {
        for (unsigned b = 0; b < all; b++, count++)
            failed += !play(a + b * all, 2);
        renew();
    }
    unsigned seed = 1;
    for (int i = 0; i < 1500; i++, count++) { /* and some longer ones */
        seed = seed * 1103515245U + 12345U;
        failed += !play(seed >> 1, 5);
        if (i % 100 == 0)
            renew();
    }
    printf("%u orders, %u of them missed a wake-up\n", count, failed);
    CHECK(failed == 0);
}

static void run_on(const pl_store_driver_t *tried, void (*last)(void)) {
    printf("store %s\n", tried->name);
    open_driver(tried, ":memory:", NULL);
    entries_come_back_as_they_were_written();
    what_is_not_ours_is_not_written();
    all_of_it_goes_with_its_tree();
    a_timer_wakes_at_its_time();
    mails_wake_who_wants_them();
    the_end_of_a_child_wakes();
    a_filled_slot_wakes();
    one_that_is_held_waits_until_it_is_let_go_on();
    an_aborted_one_that_is_resumed_goes_on();
    one_that_has_begun_is_asked_to_abort();
    last();
    check_rules();
    close_driver();
}

static void nothing_more(void) {
}

int main(void) {
    pl_store_driver_t failing = failing_driver();
    run_on(&pl__sqlite_driver, no_wake_up_is_missed_in_any_order);
    run_on(&pl__memory_driver, no_wake_up_is_missed_in_any_order);
    run_on(&failing, nothing_more);
    return check_end();
}
