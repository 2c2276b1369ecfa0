/*
 * claim_disk_test.c - what is only claimed starts without a wait for the disk, and is on it soon after. The files as
 * the end of the machine may leave them are a copy whose log ends somewhere behind what was synced last.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/fault_vfs.c"
#include "faults/sqlite_memory.c"
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

/* The file as it is now, without its log. */
static void make_copy(void) {
    file_remove(copy);
    copy_file("");
}

/* Whether the claim of that task is in the file itself, and not only in the log. */
static bool is_moved(pl_id_t task) {
    make_copy();
    return file_number(copy, "SELECT count(*) FROM pl_task WHERE id = ?1 AND owner IS NOT NULL", task) == 1;
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
static pl_id_t add(unsigned flags) {
    pl_stage_new_t stage = stage_of("c", flags);
    pl_op_t *op = new_op(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &stage, 1 };
    apply_alone(op);
    return stage.id;
}

static pl_id_t claim_one(void) {
    pl_id_t stage = add(0);
    CHECK(syncs() == 1);
    usleep(QUIET_US);
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
    pl_id_t stage = add(0);
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

static void fail_next_sync(void) {
    fault_vfs_arm(FAULT_SYNC, 0, 1, false);
}

/* The system has lost what it was to write, and says so once. Before anything else is committed all of the log is in
 * the file, out of what the system still has. */
static void a_disk_that_fails_gets_it_again(void) {
    pl_id_t stage = claim_one();
    bool moves;
    usleep(SOON_US);
    fail_next_sync();
    (void)keep(true, &moves);
    CHECK(fault_vfs_disarm() && !is_moved(stage));
    count_syncs();
    CHECK(apply(finish_op(stage)) == PL_OK && syncs() >= 3 && is_moved(stage));
    drop_claims();
}

static void so_it_does_where_a_commit_fails_that_was_to_take_it_along(void) {
    pl_id_t stage = claim_one();
    pl_op_t *finish = finish_op(stage);
    tries_max = 2;
    fail_next_sync();
    CHECK(!is_moved(stage) && turn_of(&finish, 1, 0) == 0 && finish->rc == PL_OK && is_moved(stage));
    CHECK(fault_vfs_disarm());
    count_syncs();
    tries_max = 1;
    pl_op_free(finish);
    CHECK(state_of(stage) == PL_STAGE_DONE);
    drop_claims();
}

/* A turn that claims, and in which the nth allocation of SQLite fails. Returns whether there was one. */
static bool claim_without_memory(long nth) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { 0 };
    pl_error_t error = { 0 };
    sqlite_memory_arm(nth);
    (void)driver.turn(conn, NULL, &(pl__ask_t){ .wanted = 100 }, &arena, &turn, &error);
    bool was_hit = sqlite_memory_disarm();
    pl__arena_free(&arena);
    drop_claims();
    claims = turn.claims;
    return was_hit;
}

static void finish_all(void) {
    while (look() > 0)
        continue;
    for (const pl_claim_t *claim = claims; claim; claim = claim->next)
        CHECK(apply(finish_op(claim->task)) == PL_OK);
    drop_claims();
}

/* SQLite may have it in mind already when it fails to be told whether commits are synced. */
static void memory_that_fails_leaves_no_commit_unsynced(void) {
    long nth = 1;
    for (bool was_hit = true; was_hit; nth++) {
        (void)add(0);
        usleep(QUIET_US);
        was_hit = claim_without_memory(nth);
        (void)syncs();
        (void)add(0);
        CHECK(syncs() == 1);
        finish_all();
    }
    printf("%ld allocations failed\n", nth - 2);
    CHECK(nth > 4);
    (void)syncs();
}

/* For what is done when it is aborted depends on whether anybody ever had it. */
static void the_claim_of_a_durable_function_is_on_disk(void) {
    pl_id_t stage = add(PL_STAGE_DURABLE);
    usleep(QUIET_US);
    (void)syncs();
    CHECK(look() == 1 && syncs() == 1);
    CHECK(apply(finish_op(stage)) == PL_OK);
    (void)syncs();
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

typedef struct {
    char bytes[4 * 1024 * 1024];
    size_t len;
} log_t;

static void read_log(log_t *log) {
    char name[sizeof path + 4];
    snprintf(name, sizeof name, "%s-wal", path);
    FILE *file = fopen(name, "rb");
    CHECK(file);
    log->len = fread(log->bytes, 1, sizeof log->bytes, file);
    CHECK(log->len < sizeof log->bytes && fclose(file) == 0);
}

/* The log of the copy: up to `end` as it is in `after`, and from there on as it was before. */
static void write_log(const log_t *before, const log_t *after, size_t end) {
    char name[sizeof copy + 4];
    snprintf(name, sizeof name, "%s-wal", copy);
    FILE *file = fopen(name, "wb");
    CHECK(file && fwrite(after->bytes, 1, end, file) == end);
    if (before->len > end)
        CHECK(fwrite(before->bytes + end, 1, before->len - end, file) == before->len - end);
    CHECK(fclose(file) == 0);
}

/* Whoever comes does what is left to do. */
static void work_off(pl_id_t stage) {
    open_driver(&pl__sqlite_driver, copy, "fault");
    apply_alone(new_op(PL_VERB_rescue));
    CHECK(look() == 1 && fence_of(stage) > 0 && claim_of(stage)->tries == 0);
    check_rules();
    CHECK(apply(finish_op(stage)) == PL_OK && state_of(stage) == PL_STAGE_DONE);
    close_driver();
}

/* The machine has ended right after a claim, and what was written last got to the disk in part: it is done all the
 * same, by whoever comes. */
static void what_the_end_of_the_machine_undoes_is_claimed_again(void) {
    enum { FRAME = 24 + 4096 };
    static log_t before, after;
    pl_id_t stage = add(0);
    read_log(&before);
    usleep(QUIET_US);
    (void)syncs();
    CHECK(look() == 1 && syncs() == 0);
    read_log(&after);
    size_t first = 0, last = after.len, ends = 0;
    while (first < before.len && first < after.len && before.bytes[first] == after.bytes[first])
        first++;
    while (last > first && last <= before.len && before.bytes[last - 1] == after.bytes[last - 1])
        last--;
    CHECK(first < last);
    pl__conn_t *claimer = conn; /* whose claim is lost here */
    drop_claims();
    for (size_t end = first; end < last + FRAME; end += FRAME, ends++) {
        make_copy();
        write_log(&before, &after, end < last ? end : last);
        work_off(stage);
    }
    conn = claimer;
    CHECK(ends > 2);
    printf("the log ended at %d places\n", (int)ends);
}

int main(void) {
    sqlite_memory_replace();
    fault_vfs_register();
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/store.db", directory);
    snprintf(copy, sizeof copy, "%s/copy.db", directory);
    open_driver(&pl__sqlite_driver, path, "fault");
    count_syncs();
    a_claim_waits_for_no_disk();
    where_commits_follow_each_other_it_is_one_of_them();
    soon_it_is_on_disk();
    a_disk_that_fails_gets_it_again();
    so_it_does_where_a_commit_fails_that_was_to_take_it_along();
    memory_that_fails_leaves_no_commit_unsynced();
    the_claim_of_a_durable_function_is_on_disk();
    what_is_told_is_on_disk();
    what_the_end_of_the_machine_undoes_is_claimed_again();
    close_driver();
    file_remove(path);
    file_remove(copy);
    rmdir(directory);
    return check_end();
}
