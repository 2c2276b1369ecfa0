/*
 * claim_disk_test.c - what is only claimed starts without a wait for the disk, and is on it soon after. The files as
 * the end of the machine would leave them are a copy of those that were there when the disk was last waited for.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "faults/fault_vfs.c"
#include "support/file.h"
#include "support/turns.h"

static char directory[] = "/tmp/pipeline-claims-XXXXXX", path[sizeof directory + 16], copy[sizeof directory + 16];
enum {
    SOON_US = 15 * 1000, /* longer than it takes for a claim to be on disk */
    QUIET_US = 2000      /* after a commit: another does not follow at once */
};

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

static void count_syncs(void) {
    fault_vfs_arm(FAULT_SYNC, 0, LONG_MAX, false);
}

static long syncs(void) {
    long calls = fault_vfs_calls();
    count_syncs();
    return calls;
}

static void copy_file(const char *suffix) {
    char command[200];
    snprintf(command, sizeof command, "cp '%s%s' '%s%s'", path, suffix, copy, suffix);
    CHECK(system(command) == 0);
}

static void keep_copy(void) {
    file_remove(copy);
    copy_file("");
    copy_file("-wal");
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

/* What the writer does when nothing has happened for a while. Returns when it wants to come back. */
static int64_t keep(bool idle, bool *moves) {
    int64_t next = 0;
    int aside = 0;
    driver.keep(conn, idle, &next, &aside);
    *moves = aside != 0;
    return next;
}

static void apply_alone(pl_op_t *op) {
    CHECK(turn_of(&op, 1, 0) == 0 && op->rc == PL_OK);
    pl_op_free(op);
}

/* A root that nobody has claimed yet. */
static pl_id_t add(void) {
    pl_stage_new_t stage = stage_of("c", 0);
    pl_op_t *op = new_op(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &stage, 1 };
    apply_alone(op);
    return stage.id;
}

static pl_id_t claim_one(void) {
    pl_id_t stage = add();
    CHECK(syncs() == 1);
    usleep(QUIET_US);
    keep_copy();
    CHECK(look() == 1 && fence_of(stage) > 0);
    return stage;
}

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

static void a_claim_waits_for_no_disk(void) {
    pl_id_t stage = claim_one();
    CHECK(syncs() == 0);
    CHECK(apply(finish_op(stage)) == PL_OK && syncs() == 1); /* and takes along what was claimed */
    usleep(SOON_US);
    bool moves;
    (void)keep(true, &moves);
    CHECK(syncs() == 0 && state_of(stage) == PL_STAGE_DONE);
    drop_claims();
}

static void where_commits_follow_each_other_it_is_one_of_them(void) {
    int64_t began = pl_clock_monotonic_us();
    pl_id_t stage = add();
    (void)syncs();
    CHECK(look() == 1 && fence_of(stage) > 0);
    bool is_slow = pl_clock_monotonic_us() - began >= QUIET_US / 2; /* this machine, just now */
    CHECK(syncs() == 1 || is_slow);
    CHECK(apply(finish_op(stage)) == PL_OK && syncs() == 1);
    drop_claims();
}

static void soon_it_is_on_disk(void) {
    pl_id_t stage = claim_one();
    bool moves;
    int64_t next = keep(false, &moves), now = pl_clock_monotonic_us();
    CHECK(next <= now + SOON_US && syncs() == 0);
    (void)keep(true, &moves);
    long early = syncs();
    CHECK(early == 0 || pl_clock_monotonic_us() >= next); /* not yet */
    usleep(SOON_US);
    next = keep(true, &moves);
    CHECK(early + syncs() == 1 && !moves && next > now + PL_USEC_PER_SEC);
    CHECK(apply(finish_op(stage)) == PL_OK && syncs() == 1);
    drop_claims();
}

/* The system has lost what it was to write, and says so once: it is written once more, from what it still has. */
static void a_disk_that_fails_then_is_told_of_and_gets_it_again(void) {
    pl_id_t stage = claim_one();
    bool moves;
    usleep(SOON_US);
    fault_vfs_arm(FAULT_SYNC, 0, 1, false);
    (void)keep(true, &moves);
    CHECK(fault_vfs_disarm() && moves);
    count_syncs();
    (void)keep(true, &moves);
    CHECK(!moves);
    CHECK(apply(finish_op(stage)) == PL_OK && syncs() == 1);
    drop_claims();
}

/* Its worker has gone away while it was aborted: it becomes final when somebody is about to claim it. */
static void what_is_told_is_on_disk(void) {
    pl_id_t stage = claim_one();
    int fence = fence_of(stage);
    pl_op_t *watch = new_op(PL_VERB_watch), *abort = new_op(PL_VERB_abort), *release = new_op(PL_VERB_release);
    watch->u.watch.stage = stage;
    abort->u.abort = (pl_op_abort_t){ .stage = stage, .message = PL_STR_LIT("enough") };
    release->u.release = (pl_op_release_t){ &stage, &fence, 1, 0 };
    apply_alone(watch);
    apply_alone(abort);
    CHECK(state_of(stage) == PL_STAGE_ABORTING);
    apply_alone(release);
    (void)syncs();
    usleep(QUIET_US);
    CHECK(look() == 0 && state_of(stage) == PL_STAGE_ABORTED && syncs() == 1);
    drop_claims();
}

/* The machine has ended right after a claim: the task is ready, and nobody has lost it. */
static void what_the_end_of_the_machine_undoes_is_claimed_again(void) {
    pl_id_t stage = claim_one();
    close_driver();
    open_driver(&pl__sqlite_driver, copy, "fault");
    CHECK(look() == 1 && fence_of(stage) > 0);
    CHECK(claim_of(stage)->tries == 0);
    check_rules();
    CHECK(apply(finish_op(stage)) == PL_OK && state_of(stage) == PL_STAGE_DONE);
    close_driver();
}

int main(void) {
    fault_vfs_register();
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/store.db", directory);
    snprintf(copy, sizeof copy, "%s/copy.db", directory);
    open_driver(&pl__sqlite_driver, path, "fault");
    count_syncs();
    a_claim_waits_for_no_disk();
    where_commits_follow_each_other_it_is_one_of_them();
    soon_it_is_on_disk();
    a_disk_that_fails_then_is_told_of_and_gets_it_again();
    what_is_told_is_on_disk();
    what_the_end_of_the_machine_undoes_is_claimed_again();
    file_remove(path);
    file_remove(copy);
    rmdir(directory);
    return check_end();
}
