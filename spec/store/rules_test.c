/*
 * rules_test.c - the rules of stages: every function, over every state and every flag that counts.
 *
 * What they do is compared with the table of transitions (PL__STAGE_MOVES), both ways: no function does what is not in
 * it, and each line of it is done by the function it names. Each row that comes of it keeps the invariants of rules.h.
 * How they work together is for store/model_test.c, which plays random ops.
 */
#include <string.h>

#include <sqlite3.h>

#include "store/sqlite/schema/numbers.h"
#include "store/stage/abort.h"
#include "support/check.h"

enum { STATES = PL_STAGE_ABORT_HELD + 1, COUNTS = 3 };

static const unsigned flags_that_count[] = { PL_STAGE_ASYNC,   PL_STAGE_HAS_FINALIZED, PL_STAGE_HAS_TRY_CANCEL,
                                             PL_STAGE_DURABLE, PL_STAGE_SCOPE,         PL_STAGE_HAS_FALLBACK,
                                             PL_STAGE_WAS_RUN, PL_STAGE_FALLBACK_TAKEN };
enum { FLAGS = sizeof flags_that_count / sizeof *flags_that_count };

static const char *done_by[STATES][STATES]; /* which function has made this transition */

static pl__standing_t standing(pl_stage_state_t state, int flags, int count) {
    pl__standing_t stage = { .state = state };
    for (int i = 0; i < FLAGS; i++)
        stage.flags |= flags >> i & 1 ? flags_that_count[i] : 0;
    stage.missing = state == PL_STAGE_WAITING ? count : 0;
    stage.open = state == PL_STAGE_RUN ? count : 0;
    return stage;
}

/* A function has done this; what it does is not undone by another one that does it, too. */
static void note(pl_stage_state_t from, pl_stage_state_t to, const char *function) {
    CHECK(pl__stage_may(from, to));
    if (from != to && !done_by[from][to])
        done_by[from][to] = function;
}

static void check_move(const pl__standing_t *stage, const pl__move_t *move, const char *function) {
    note(stage->state, move->to, function);
    CHECK((move->to == PL_STAGE_WAITING) == (move->missing > 0));
    CHECK((move->to == PL_STAGE_RUN) == (move->open > 0));
    CHECK(move->to == stage->state || (move->to == PL_STAGE_READY) == (move->task == PL_TASK_RUN));
    CHECK(move->to == stage->state || (move->to == PL_STAGE_FINALIZING) == (move->task == PL_TASK_FINALIZE));
    CHECK(move->to != stage->state || move->task == PL__NO_TASK);
}

static void check_settles(const pl__standing_t *stage, const pl__move_t *move) {
    bool has_finalized = stage->flags & PL_STAGE_HAS_FINALIZED;
    CHECK(move->settles && move->to == (has_finalized ? PL_STAGE_FINALIZING : PL_STAGE_DONE));
}

static void flow_of(pl_stage_state_t state, int flags, int count) {
    pl__standing_t stage = standing(state, flags, count);
    pl__move_t move = pl__rule_filled(&stage, state == PL_STAGE_WAITING ? 1 : 0);
    check_move(&stage, &move, "pl__rule_filled");
    CHECK(!move.settles && (state != PL_STAGE_WAITING || move.missing == count - 1));
    move = pl__rule_settled(&stage, state == PL_STAGE_RUN ? 1 : 0);
    check_move(&stage, &move, "pl__rule_settled");
    CHECK(move.open == (state == PL_STAGE_RUN ? count - 1 : 0));
    if (state == PL_STAGE_RUN && count == 1)
        check_settles(&stage, &move);
    if (state == PL_STAGE_READY) {
        move = pl__rule_ran(&stage, count - 1);
        check_move(&stage, &move, "pl__rule_ran");
        CHECK(move.open == count - 1);
        if (count == 1)
            check_settles(&stage, &move);
    }
    bool is_async = state == PL_STAGE_RUN && (stage.flags & PL_STAGE_ASYNC);
    CHECK(pl__rule_retry(&stage, 0, 2) == (is_async ? PL_OK : PL_ESTATE));
    CHECK(pl__rule_retry(&stage, 1, 2) == (is_async ? PL_ELIMIT : PL_ESTATE));
    if (is_async) {
        move = pl__rule_retried(&stage);
        check_move(&stage, &move, "pl__rule_retried");
    }
    CHECK((pl__rule_outcome(state) == PL_OK) == (state == PL_STAGE_READY));
    CHECK((pl__rule_fill(state) == PL_OK) == (state <= PL_STAGE_FINALIZING));
    pl__standing_t ready = { .state = PL_STAGE_READY, .flags = stage.flags };
    bool is_special = stage.flags & (PL_STAGE_ASYNC | PL_STAGE_DURABLE | PL_STAGE_SCOPE);
    CHECK(pl__rule_ends_alone(stage.flags) == (!is_special && pl__rule_ran(&ready, 0).to == PL_STAGE_DONE));
}

/* May it be aborted: it may if there is a move on the way to ABORTED, unless an abort is what it is at already. */
static void answers_of(pl_stage_state_t state) {
    bool is_final = pl__stage_is_final(state), is_aborted = state == PL_STAGE_ABORTING || state == PL_STAGE_ABORT_HELD;
    for (int i = 0; i < 4; i++) {
        bool is_root = i & 1, is_requested = i & 2;
        int expected = is_final ? PL_EFINAL : is_requested || (is_aborted && !is_root) ? PL_EEXISTS : PL_OK;
        CHECK(pl__rule_abort(state, is_root, is_requested) == expected);
        CHECK(expected != PL_OK || pl__stage_may(state, PL_STAGE_ABORTING));
        bool goes_on = state == PL_STAGE_ABORTED || (is_requested && !is_final);
        CHECK(pl__rule_resume(state, is_requested) == (goes_on ? PL_OK : PL_ESTATE));
    }
    CHECK(pl__rule_outcome(state) == (state == PL_STAGE_READY      ? PL_OK
                                      : state == PL_STAGE_ABORTING ? PL_EABORTED
                                                                   : PL_ESTALE));
    for (int kind = PL_TASK_RUN; kind <= PL_TASK_DEFERRED; kind++)
        CHECK(pl__rule_is_overtaken(state, (pl_task_kind_t)kind) ==
              (state == PL_STAGE_ABORTING && kind <= PL_TASK_FINALIZE));
}

/* What the rule says of a child SQL says, too. */
static void sql_knows_whom_a_parent_waits_for(void) {
    static const unsigned cuts[] = { 0, PL_STAGE_CUT_EARLY, PL_STAGE_CUT_OPEN, PL_STAGE_CUT_LATE };
    sqlite3 *db;
    sqlite3_stmt *is;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT " PL__IS_UNSETTLED " FROM (SELECT ?1 AS state, ?2 AS flags)", -1, &is, NULL) ==
          SQLITE_OK);
    for (int at = 0; at < (STATES << FLAGS) * 4; at++) {
        pl__standing_t stage = standing((pl_stage_state_t)(at % STATES), at / STATES % (1 << FLAGS), 1);
        stage.flags |= cuts[at / STATES >> FLAGS];
        bool had_settled = (stage.flags & PL_STAGE_FALLBACK_TAKEN) || (stage.flags & PL_STAGE_CUT) == PL_STAGE_CUT_LATE;
        bool is_settled = stage.state == PL_STAGE_FINALIZING || pl__stage_is_final(stage.state);
        CHECK(pl__rule_is_waited_for(&stage) == (!is_settled && !had_settled));
        sqlite3_bind_int(is, 1, (int)stage.state);
        sqlite3_bind_int64(is, 2, stage.flags);
        CHECK(sqlite3_step(is) == SQLITE_ROW);
        CHECK(sqlite3_column_int(is, 0) == pl__rule_is_waited_for(&stage));
        sqlite3_reset(is);
    }
    sqlite3_finalize(is);
    sqlite3_close(db);
}

static void ends_of(void) {
    static const pl__standing_t finalizing = { .state = PL_STAGE_FINALIZING },
                                aborting = { .state = PL_STAGE_ABORTING };
    for (int held = 0; held < 2; held++) {
        pl__move_t move = pl__rule_finalized(PL_TASK_FINALIZE, held);
        CHECK(move.to == PL_STAGE_DONE && !move.settles && move.task == PL__NO_TASK);
        note(finalizing.state, move.to, "pl__rule_finalized");
        note(aborting.state, move.to, "pl__rule_finalized");
        move = pl__rule_finalized(PL_TASK_ABORT, held);
        CHECK(move.to == (held ? PL_STAGE_ABORT_HELD : PL_STAGE_ABORTED) && !move.settles);
        note(aborting.state, move.to, "pl__rule_finalized");
    }
    for (int missing = 0; missing < COUNTS; missing++) {
        pl__move_t move = pl__rule_made(missing, false), held = pl__rule_made(missing, true);
        CHECK(move.missing == missing && move.to == (missing ? PL_STAGE_WAITING : PL_STAGE_READY));
        CHECK(move.task == (missing ? PL__NO_TASK : PL_TASK_RUN) && held.task == PL__NO_TASK && held.to == move.to);
    }
}

/* Whoever is not final after an abort has something that brings it on: a task, or a claim, or what holds it up. */
static void check_abort(const pl__standing_t *stage, const pl__abort_t *abort, bool keeps_task) {
    unsigned flags = (stage->flags & ~abort->clears) | abort->sets;
    bool is_live = !pl__stage_is_final(stage->state);
    note(stage->state, abort->to, "pl__rule_aborted");
    CHECK(abort->aborts == (abort->to == PL_STAGE_ABORTING && !keeps_task));
    CHECK(!abort->aborts || abort->drops);
    CHECK(!is_live || abort->to != PL_STAGE_ABORTED || !(stage->flags & PL_STAGE_HAS_FINALIZED));
    if (stage->state == PL_STAGE_RUN)
        CHECK((flags & PL_STAGE_CUT) == PL_STAGE_CUT_OPEN);
    if (stage->state == PL_STAGE_FINALIZING)
        CHECK((flags & PL_STAGE_CUT) == PL_STAGE_CUT_LATE);
    if (stage->state == PL_STAGE_WAITING || stage->state == PL_STAGE_READY)
        CHECK((flags & PL_STAGE_CUT) == PL_STAGE_CUT_EARLY);
}

static void aborts_of(pl_stage_state_t state, int flags, int count) {
    pl__standing_t stage = standing(state, flags, count);
    bool is_aborted = state == PL_STAGE_ABORTING || state == PL_STAGE_ABORT_HELD;
    for (int i = 0; i < 4; i++) {
        bool permitted = i & 1, claimed = (i & 2) && pl__rule_asks_claim(state) && state != PL_STAGE_WAITING;
        pl__abort_t abort = pl__rule_aborted(&stage, permitted, claimed);
        if (pl__stage_is_final(state) || is_aborted) {
            CHECK(abort.to == state && !abort.drops && !abort.aborts && !abort.tells && !abort.sets);
            continue;
        }
        check_abort(&stage, &abort, claimed);
        CHECK(abort.tells == (claimed && state == PL_STAGE_READY) &&
              abort.drops == (!claimed && abort.to != PL_STAGE_ABORT_HELD));
    }
    if (is_aborted) {
        pl__abort_t abort = pl__rule_abort_now(&stage);
        check_abort(&stage, &abort, false);
        CHECK(abort.sets == 0);
    }
    if (!pl__stage_is_final(state)) {
        pl__abort_t abort = pl__rule_ended(&stage);
        CHECK(abort.to == PL_STAGE_ABORTED && abort.drops && !abort.aborts);
        note(state, abort.to, "pl__rule_aborted");
    }
}

static void resumes_of(int flags, int count) {
    static const unsigned cuts[] = { 0, PL_STAGE_CUT_EARLY, PL_STAGE_CUT_OPEN, PL_STAGE_CUT_LATE };
    for (int i = 0; i < 4; i++) {
        pl__standing_t stage = standing(PL_STAGE_ABORTED, flags, 0);
        stage.flags |= cuts[i];
        unsigned cut = pl__rule_resumes_from(stage.flags, count > 1);
        CHECK(cut == (cuts[i] ? cuts[i] : count > 1 ? PL_STAGE_CUT_OPEN : PL_STAGE_CUT_EARLY));
        stage.missing = count - 1;
        stage.open = count - 1;
        pl__move_t move = pl__rule_resumed(&stage, cut);
        check_move(&stage, &move, "pl__rule_resumed");
        unsigned now = pl__rule_resumed_flags(stage.flags, cut, false);
        CHECK((now & PL_STAGE_CUT) == (cut == PL_STAGE_CUT_EARLY ? PL_STAGE_CUT_EARLY : 0) &&
              !(now & PL_STAGE_WAS_RUN));
        now = pl__rule_resumed_flags(stage.flags, cut, true);
        CHECK((now & PL_STAGE_RESUMES) == PL_STAGE_RESUMED);
        bool settles_late =
            (stage.flags & PL_STAGE_SCOPE) && !(stage.flags & PL_STAGE_FALLBACK_TAKEN) && cuts[i] != PL_STAGE_CUT_LATE;
        CHECK(pl__rule_settles_late(stage.flags, PL_STAGE_ABORTED) == settles_late);
        CHECK(!pl__rule_settles_late(stage.flags, PL_STAGE_DONE));
    }
}

static void reach_of(pl_stage_state_t state, int flags, int count) {
    pl__standing_t stage = standing(state, flags, count);
    bool can_fall_back =
        state <= PL_STAGE_RUN && (stage.flags & PL_STAGE_HAS_FALLBACK) && !(stage.flags & PL_STAGE_FALLBACK_TAKEN);
    pl__reach_t reach = can_fall_back                  ? PL__REACH_FALLBACK
                        : stage.flags & PL_STAGE_SCOPE ? PL__REACH_SCOPE
                                                       : PL__REACH_ON;
    CHECK(pl__rule_reach(&stage) == reach);
    CHECK(!pl__rule_is_leaf(&stage) || state != PL_STAGE_RUN);
}

static void each_line_is_done_by_whom_it_names(void) {
#define X(from, to, function, when)                                                                                    \
    CHECK(done_by[PL_STAGE_##from][PL_STAGE_##to] && !strcmp(done_by[PL_STAGE_##from][PL_STAGE_##to], #function));
    PL__STAGE_MOVES(X)
#undef X
}

int main(void) {
    ends_of();
    for (int state = 0; state < STATES; state++)
        answers_of((pl_stage_state_t)state);
    sql_knows_whom_a_parent_waits_for();
    for (int flags = 0; flags < 1 << FLAGS; flags++) {
        for (int count = 1; count <= COUNTS; count++) {
            for (int state = 0; state < STATES; state++) {
                flow_of((pl_stage_state_t)state, flags, count);
                aborts_of((pl_stage_state_t)state, flags, count);
                reach_of((pl_stage_state_t)state, flags, count);
            }
            resumes_of(flags, count);
        }
    }
    each_line_is_done_by_whom_it_names();
    return check_end();
}
