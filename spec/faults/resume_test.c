/*
 * resume_test.c - a resume of an aborted tree is done whole or not at all, whatever allocation of the engine fails in
 * it; and a tree that is resumed while it is being looked at for its deletion stays.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/driver.h"
#include "support/check.h"

enum { MANY = 600 };

static pl__conn_t *conn;
static pl_clock_t clock_;
static char path[] = "/tmp/pipeline-resume-XXXXXX";
static pl_id_t last_id = INT64_C(1) << 40;

static pl_stage_new_t stage_of(unsigned flags) {
    return (pl_stage_new_t){ .id = ++last_id,
                             .class_path = PL_STR_LIT("t.Stage"),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 1,
                             .flags = flags };
}

/* A transaction with this op alone. Its claims are left to the worker. */
static int turn(pl_op_t *op, int wanted, pl_claim_t **claims) {
    pl__commit_result_t news = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { NULL };
    pl_error_t error = { 0 };
    int rc = pl__sqlite_driver.turn(conn, op, &(pl__ask_t){ .wanted = wanted }, &arena, &news, &error);
    if (claims)
        *claims = news.claims;
    for (pl_claim_t *claim = claims ? NULL : news.claims, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
    pl__arena_free(&arena);
    return rc;
}

static int do_op(pl_op_t *op) {
    int rc = turn(op, 0, NULL);
    rc = rc == PL_OK ? op->rc : rc;
    pl_op_free(op);
    return rc;
}

/* Runs what is ready; `fails`: that one is given up, with its tree. */
static void run_all(const pl_stage_new_t *children, size_t len, pl_id_t fails) {
    pl_claim_t *claims;
    CHECK(turn(NULL, MANY + 10, &claims) == PL_OK);
    for (pl_claim_t *claim = claims, *next; claim; claim = next) {
        pl_op_t *op = pl_op_new(PL_VERB_outcome);
        pl_fill_t fill = { claim->task, PL_STR_LIT("\x07") };
        bool has_fill = !claim->stage->parent || !(claim->stage->flags & PL_STAGE_ASYNC);
        op->u.outcome = (pl_op_outcome_t){ .stage = claim->task,
                                           .claim = claim->fence,
                                           .kind = claim->task == fails ? PL_OUTCOME_FAILED : PL_OUTCOME_OK,
                                           .give_up = claim->task == fails,
                                           .flags = claim->stage->flags,
                                           .fills = &fill,
                                           .fills_len = has_fill };
        if (!claim->stage->parent && claim->task != fails) {
            op->u.outcome.children = (pl_stage_new_t *)(uintptr_t)children;
            op->u.outcome.children_len = len;
        }
        CHECK(do_op(op) == PL_OK);
        next = claim->next;
        pl_claim_free(claim);
    }
}

/* All that is in the file of stages, tasks and waits, as a text that the caller frees. */
static char *dump(pl_id_t root) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    pl_op_t *op = pl_op_new(PL_VERB_tree_get);
    op->u.tree_get.stage = root;
    CHECK(turn(op, 0, NULL) == PL_OK);
    for (size_t i = 0; i < op->u.tree_get.len; i++) {
        const pl_stage_t *stage = &op->u.tree_get.stages[i];
        fprintf(out, "%" PRId64 " %s flags=%u missing=%d open=%d attempt=%d ended=%d asked=%d\n", stage->id,
                pl_stage_state_name((int)stage->state), stage->flags, stage->missing, stage->open, stage->attempt,
                stage->finalized != 0, stage->abort_requested);
    }
    pl_op_free(op);
    op = pl_op_new(PL_VERB_counts_get);
    CHECK(turn(op, 0, NULL) == PL_OK);
    for (size_t i = 0; i < op->u.counts_get.len; i++)
        fprintf(out, "ready %" PRId64 " delayed %" PRId64 "\n", op->u.counts_get.counts[i].ready,
                op->u.counts_get.counts[i].delayed);
    pl_op_free(op);
    fclose(out);
    return text;
}

/* Nothing in the file breaks a rule. */
static void check_file(void) {
    for (int part = 0, next; part >= 0; part = next) {
        pl_op_t *op = pl_op_new(PL_VERB_check);
        op->u.check.part = part;
        CHECK(turn(op, 0, NULL) == PL_OK && op->u.check.len == 0);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("  %.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
        next = op->u.check.next ? op->u.check.next : -1;
        pl_op_free(op);
    }
}

static pl_op_t *resume_op(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_resume);
    op->u.resume.stage = stage;
    return op;
}

/* One of each: done, final with a function for that, waiting for two, open, failed (the last one that runs). */
static pl_id_t make_tree(void) {
    pl_stage_new_t root = stage_of(PL_STAGE_HAS_FINALIZED),
                   children[5] = { stage_of(0), stage_of(PL_STAGE_HAS_FINALIZED), stage_of(0), stage_of(PL_STAGE_ASYNC),
                                   stage_of(0) };
    pl_id_t inputs[2] = { children[0].id, children[4].id };
    pl_op_t *op = pl_op_new(PL_VERB_start);
    children[2].inputs = inputs;
    children[2].inputs_len = 2;
    op->u.start = (pl_op_start_t){ &root, 1 };
    CHECK(do_op(op) == PL_OK);
    run_all(children, 5, 0);
    run_all(NULL, 0, children[4].id);
    op = pl_op_new(PL_VERB_fill); /* the open one was only waiting for this to be aborted */
    op->u.fill = (pl_op_fill_t){ .stage = children[3].id,
                                 .fills = &(pl_fill_t){ children[3].id, PL_STR_LIT("\x01") },
                                 .fills_len = 1 };
    CHECK(do_op(op) == PL_EABORTED);
    for (int i = 0; i < 2; i++) {
        pl_claim_t *claims;
        CHECK(turn(NULL, 10, &claims) == PL_OK);
        for (pl_claim_t *claim = claims, *next; claim; claim = next) {
            op = pl_op_new(PL_VERB_finalized);
            op->u.finalized = (pl_op_finalized_t){ .stage = claim->task, .claim = claim->fence };
            CHECK(claim->kind == PL_TASK_ABORT && do_op(op) == PL_OK);
            next = claim->next;
            pl_claim_free(claim);
        }
    }
    return root.id;
}

static void it_is_done_whole_or_not_at_all(void) {
    pl_id_t root = make_tree();
    char *before = dump(root);
    long failed = 0;
    bool hit = true;
    CHECK(strstr(before, "aborted flags") && strstr(before, "done flags"));
    for (long nth = 1; hit; nth++) {
        pl_op_t *op = resume_op(root);
        pl__alloc_fail_at(nth);
        int rc = turn(op, 0, NULL);
        hit = pl__alloc_failed();
        pl__alloc_fail_at(0);
        char *after = dump(root);
        if (rc == PL_OK) {
            CHECK(op->rc == PL_OK && op->u.resume.stages == 5);
            hit = false;
        } else {
            failed++;
            CHECK(hit && strcmp(before, after) == 0);
        }
        free(after);
        pl_op_free(op);
        check_file();
    }
    printf("%ld allocations failed\n", failed);
    CHECK(do_op(resume_op(root)) == PL_ESTATE);
    char *after = dump(root);
    CHECK(strstr(after, "waiting flags") && strstr(after, "missing=1") && strstr(after, "run flags=1"));
    CHECK(strstr(after, "finalizing flags") && !strstr(after, "abort"));
    free(before);
    free(after);
}

static void a_look_for_the_deletion_is_begun_anew(void) {
    static pl_stage_new_t children[MANY];
    pl_stage_new_t root = stage_of(0);
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &root, 1 };
    CHECK(do_op(op) == PL_OK);
    for (int i = 0; i < MANY; i++)
        children[i] = stage_of(0);
    run_all(children, MANY, 0);
    op = pl_op_new(PL_VERB_abort);
    op->u.abort.stage = root.id;
    CHECK(do_op(op) == PL_OK);
    pl_op_t *cleanup = pl_op_new(PL_VERB_cleanup);
    cleanup->u.cleanup.root = root.id;
    CHECK(turn(cleanup, 0, NULL) == PL_OK && cleanup->rc == PL_OK && cleanup->more);
    cleanup->portions++;
    CHECK(do_op(resume_op(root.id)) == PL_OK);
    for (int i = 0; i < 5 && cleanup->rc == PL_OK && cleanup->more; i++, cleanup->portions++)
        CHECK(turn(cleanup, 0, NULL) == PL_OK);
    CHECK(cleanup->rc == PL_ELIVE);
    pl_op_free(cleanup);
    op = pl_op_new(PL_VERB_tree_get);
    op->u.tree_get.stage = root.id;
    CHECK(turn(op, 0, NULL) == PL_OK && op->u.tree_get.len == MANY + 1);
    pl_op_free(op);
    check_file();
}

int main(void) {
    pl_error_t error = { 0 };
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .lease_seconds = 1e6, .tombstone_seconds = 30, .portion_us = 1
    };
    CHECK(pl__sqlite_driver.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    pl_op_t *join = pl_op_new(PL_VERB_join);
    join->u.join = (pl_op_join_t){ .host = PL_STR_LIT("host"), .pid = 17 };
    CHECK(do_op(join) == PL_OK);
    a_look_for_the_deletion_is_begun_anew();
#ifdef PL_FAULTS
    it_is_done_whole_or_not_at_all();
#else
    (void)it_is_done_whole_or_not_at_all;
#endif
    pl__sqlite_driver.close(conn);
    for (int i = 0; i < 4; i++) {
        static const char *const ENDS[] = { "", "-wal", "-shm", "-workers" };
        char name[sizeof path + 16];
        snprintf(name, sizeof name, "%s%s", path, ENDS[i]);
        unlink(name);
    }
    return check_end();
}
