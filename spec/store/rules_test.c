/*
 * rules_test.c - the rules of stages: every function, over every state and every flag that counts.
 *
 * What they do is compared with the table of transitions (PL__STAGE_MOVES), both ways: no function does what is not in
 * it, and each line of it is done by the function it names. Each row that comes of it keeps the invariants of rules.h.
 *
 * How they work together: the least of a driver (rules_toy.h) is played random ops beside a slow model that knows no
 * counters, but only what has happened, and finds out anew each time what state each stage must be in. RULES_SEED=n
 * repeats a run. SQLite's driver is played in store/model_test.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "rules_toy.h"
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

/* ---- all of them together ---------------------------------------------------------------------------------------- */

typedef enum { NOT_ABORTED, GOES, HELD, GONE } mark_t;

/* What has happened to a stage. */
typedef struct {
    int parent, attempt; /* parent: -1 for the root */
    unsigned flags;
    bool ran, filled, finalized;
    mark_t mark;
    int kept; /* the kind of the task that was claimed as the abort came; PL__NO_TASK */
    bool claimed;
} fact_t;

typedef struct {
    uint64_t random;
    toy_t toy;
    fact_t facts[TOY_STAGES];
    int len;
    bool requested;
} play_t;

static int any(play_t *play, int limit) {
    play->random = play->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((play->random >> 33) % (uint64_t)limit);
}

static bool has_settled(const play_t *play, int at);

/* What a stage whose run was committed waits for. */
static int pending(const play_t *play, int at) {
    int count = (play->facts[at].flags & PL_STAGE_ASYNC) && !play->facts[at].filled;
    for (int i = at + 1; i < play->len; i++)
        count += play->facts[i].parent == at && !has_settled(play, i);
    return count;
}

static bool has_settled(const play_t *play, int at) {
    return play->facts[at].ran && pending(play, at) == 0;
}

static int unfilled(const play_t *play, int at) {
    int count = 0;
    for (int i = 0; i < play->toy.inputs_len[at]; i++)
        count += !play->facts[play->toy.inputs[at][i]].filled;
    return count;
}

static pl_stage_state_t state_of(const play_t *play, int at) {
    const fact_t *fact = &play->facts[at];
    if (fact->mark != NOT_ABORTED)
        return fact->mark == GOES ? PL_STAGE_ABORTING : fact->mark == HELD ? PL_STAGE_ABORT_HELD : PL_STAGE_ABORTED;
    if (!fact->ran)
        return unfilled(play, at) ? PL_STAGE_WAITING : PL_STAGE_READY;
    if (pending(play, at))
        return PL_STAGE_RUN;
    return (fact->flags & PL_STAGE_HAS_FINALIZED) && !fact->finalized ? PL_STAGE_FINALIZING : PL_STAGE_DONE;
}

static int task_of(const play_t *play, int at) {
    pl_stage_state_t state = state_of(play, at);
    if (state == PL_STAGE_ABORTING)
        return play->facts[at].kept != PL__NO_TASK ? play->facts[at].kept : PL_TASK_ABORT;
    return state == PL_STAGE_READY ? PL_TASK_RUN : state == PL_STAGE_FINALIZING ? PL_TASK_FINALIZE : PL__NO_TASK;
}

static void check_play(const play_t *play) {
    for (int at = 0; at < play->len; at++) {
        const pl__member_t *stage = &play->toy.stages[at];
        CHECK(stage->is.state == state_of(play, at));
        CHECK(stage->is.missing == (stage->is.state == PL_STAGE_WAITING ? unfilled(play, at) : 0));
        CHECK(stage->is.open == (stage->is.state == PL_STAGE_RUN ? pending(play, at) : 0));
        CHECK(play->toy.tasks[at] == task_of(play, at) && stage->is_claimed == play->facts[at].claimed);
        CHECK(play->toy.filled[at] == play->facts[at].filled);
    }
}

static void carry_out_abort(play_t *play, int at) {
    fact_t *fact = &play->facts[at];
    fact->mark = fact->flags & PL_STAGE_HAS_FINALIZED ? GOES : GONE;
    fact->kept = PL__NO_TASK;
    fact->claimed = false;
}

static void add_stage(play_t *play, int parent) {
    static const unsigned kinds[] = { 0, 0, 0, PL_STAGE_ASYNC, PL_STAGE_ASYNC | PL_STAGE_HAS_TRY_CANCEL };
    unsigned flags = kinds[any(play, 5)] | (any(play, 3) ? 0 : PL_STAGE_HAS_FINALIZED);
    int inputs[TOY_INPUTS], len = play->len > 1 ? any(play, TOY_INPUTS + 1) : 0;
    for (int i = 0; i < len; i++)
        inputs[i] = 1 + any(play, play->len - 1); /* not the root, which may never fill its own */
    play->facts[play->len] = (fact_t){ .parent = parent, .flags = flags, .kept = PL__NO_TASK };
    CHECK(toy_add(&play->toy, parent, flags, inputs, len) == play->len);
    play->len++;
}

static void play_claim(play_t *play, int at) {
    fact_t *fact = &play->facts[at];
    int task = task_of(play, at);
    bool has_work = task != PL__NO_TASK && !fact->claimed;
    if (has_work && state_of(play, at) == PL_STAGE_ABORTING && task != PL_TASK_ABORT)
        carry_out_abort(play, at);
    has_work = has_work && task_of(play, at) != PL__NO_TASK;
    fact->claimed = fact->claimed || has_work;
    CHECK(toy_claim(&play->toy, at) == has_work);
}

static void play_outcome(play_t *play, int at) {
    fact_t *fact = &play->facts[at];
    bool is_aborted = state_of(play, at) == PL_STAGE_ABORTING, fills = any(play, 4) && !(fact->flags & PL_STAGE_ASYNC);
    int children = is_aborted ? 0 : any(play, 4);
    for (int i = 0; i < children && play->len < TOY_STAGES; i++)
        add_stage(play, at);
    CHECK(toy_outcome(&play->toy, at, fills) == (is_aborted ? PL_EABORTED : PL_OK));
    if (is_aborted) {
        carry_out_abort(play, at);
        return;
    }
    fact->ran = true;
    fact->claimed = false;
    fact->filled = fact->filled || fills;
}

static void play_end(play_t *play, int at) {
    fact_t *fact = &play->facts[at];
    int task = task_of(play, at);
    if (task == PL_TASK_RUN) {
        play_outcome(play, at);
        return;
    }
    bool held = task == PL_TASK_ABORT && (fact->flags & PL_STAGE_ASYNC) && any(play, 3) == 0;
    toy_finalized(&play->toy, at, held);
    fact->claimed = false;
    fact->kept = PL__NO_TASK;
    fact->finalized = fact->finalized || task == PL_TASK_FINALIZE;
    fact->mark = task == PL_TASK_FINALIZE ? NOT_ABORTED : held ? HELD : GONE;
}

static void play_fill(play_t *play, int at) {
    pl_stage_state_t state = state_of(play, at);
    int rc = state == PL_STAGE_ABORT_HELD ? PL_EABORTED : state > PL_STAGE_FINALIZING ? PL_EFINAL : PL_OK;
    if (rc == PL_EABORTED)
        carry_out_abort(play, at);
    else if (rc == PL_OK)
        play->facts[at].filled = true;
    CHECK(toy_fill_outside(&play->toy, at) == rc);
}

static void play_retry(play_t *play, int at) {
    enum { ATTEMPTS = 3 };
    fact_t *fact = &play->facts[at];
    bool may = state_of(play, at) == PL_STAGE_RUN && (fact->flags & PL_STAGE_ASYNC);
    int rc = !may ? PL_ESTATE : fact->attempt + 1 >= ATTEMPTS ? PL_ELIMIT : PL_OK;
    CHECK(toy_retry(&play->toy, at, ATTEMPTS) == rc);
    fact->ran = fact->ran && rc != PL_OK;
    fact->attempt += rc == PL_OK;
}

static void abort_fact(play_t *play, int at, pl_stage_state_t state, bool permitted, bool force) {
    fact_t *fact = &play->facts[at];
    bool can_wait = (fact->flags & PL_STAGE_ASYNC) && !permitted;
    if (pl__stage_is_final(state) || (fact->mark != NOT_ABORTED && !force))
        return;
    if (force) {
        carry_out_abort(play, at);
        fact->mark = GONE;
    } else if (fact->claimed) {
        fact->kept = state == PL_STAGE_READY ? PL_TASK_RUN : PL_TASK_FINALIZE;
        fact->mark = GOES;
    } else if (state == PL_STAGE_RUN && can_wait) {
        fact->mark = fact->flags & PL_STAGE_HAS_TRY_CANCEL ? GOES : HELD;
    } else {
        carry_out_abort(play, at);
    }
}

static void play_abort(play_t *play, int permitted, bool force) {
    pl_stage_state_t states[TOY_STAGES];
    int rc = pl__stage_is_final(state_of(play, 0)) ? PL_EFINAL : play->requested ? PL_EEXISTS : PL_OK;
    bool comes = rc == PL_OK || (rc == PL_EEXISTS && force);
    for (int i = 0; i < play->len; i++)
        states[i] = state_of(play, i);
    for (int i = 0; i < play->len && comes; i++)
        abort_fact(play, i, states[i], i == permitted, force);
    play->requested = play->requested || comes;
    CHECK(toy_abort(&play->toy, permitted, force) == (comes ? PL_OK : rc));
}

/* What was aborted is what it was before: nothing else has happened to it. */
static void play_resume(play_t *play) {
    pl_stage_state_t root = state_of(play, 0);
    int rc = root == PL_STAGE_ABORTED || (play->requested && root != PL_STAGE_DONE) ? PL_OK : PL_ESTATE;
    for (int i = 0; i < play->len && rc == PL_OK; i++)
        rc = pl__stage_is_final(state_of(play, i)) ? PL_OK : PL_ELIVE;
    for (int i = 0; i < play->len && rc == PL_OK; i++)
        play->facts[i].mark = NOT_ABORTED;
    play->requested = play->requested && rc != PL_OK;
    CHECK(toy_resume(&play->toy) == rc);
}

static void play_one(play_t *play) {
    int at = any(play, play->len), what = any(play, 40);
    bool claimed = play->facts[at].claimed;
    if (what < 14)
        play_claim(play, at);
    else if (what < 28 && claimed)
        play_end(play, at);
    else if (what < 30 && claimed) /* its worker is gone */
        play->facts[at].claimed = play->toy.stages[at].is_claimed = false;
    else if (what < 34)
        play_fill(play, at);
    else if (what < 36)
        play_retry(play, at);
    else if (what == 36)
        play_abort(play, at, any(play, 4) == 0);
    else if (what > 36)
        play_resume(play);
}

static void together(void) {
    enum { PLAYS = 1500, OPS = 160 };
    const char *given = getenv("RULES_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)pl_clock_monotonic_us();
    printf("RULES_SEED=%" PRIu64 "\n", seed);
    for (int i = 0; i < PLAYS; i++) {
        play_t play = { .random = seed + (uint64_t)i };
        add_stage(&play, -1);
        for (int op = 0; op < OPS; op++) {
            play_one(&play);
            check_play(&play);
        }
    }
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
    together();
    return check_end();
}
