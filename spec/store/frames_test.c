/*
 * frames_test.c - a commit goes to the write-ahead log in few writes, and is there for everybody when it is told of;
 * what fails or is rolled back leaves nothing behind that could be written over what others commit.
 *
 * `ours` is opened through the VFS that gathers, with one below that counts and fails writes; `other` is any connection
 * to the same file.
 */
#include "store/sqlite/file/frames.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults/fault_vfs.c"
#include "support/file.h"

enum { ROWS = 300, ROW_LEN = 900, STEPS = 400 };

static char directory[] = "/tmp/pipeline-frames-XXXXXX", path[sizeof directory + 16], copy[sizeof directory + 16];
static sqlite3 *ours, *other;
static int values[ROWS]; /* what each row is to say */
static unsigned seed;

/* ---- two connections --------------------------------------------------------------------------------------------- */

static int run(sqlite3 *db, const char *sql) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int number(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement = NULL;
    int value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static sqlite3 *connect(const char *vfs, const char *synchronous, int cache) {
    sqlite3 *db;
    char sql[200];
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) == SQLITE_OK);
    snprintf(sql, sizeof sql, "PRAGMA synchronous = %s; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = %d",
             synchronous, cache);
    CHECK(run(db, sql) == SQLITE_OK);
    return db;
}

static void open_both(int page, const char *synchronous, int cache) {
    char sql[400];
    file_remove(path);
    ours = connect(pl__frames_vfs("fault"), synchronous, cache);
    snprintf(sql, sizeof sql,
             "PRAGMA page_size = %d; PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER, "
             "more BLOB); WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d) "
             "INSERT INTO t SELECT i, 0, randomblob(%d) FROM n",
             page, ROWS, ROW_LEN);
    CHECK(run(ours, sql) == SQLITE_OK);
    other = connect(NULL, "NORMAL", -100);
    memset(values, 0, sizeof values);
}

static void close_both(void) {
    CHECK(sqlite3_close(ours) == SQLITE_OK && sqlite3_close(other) == SQLITE_OK);
    file_remove(path);
}

/* Every row is as it is to be, as that connection sees it. */
static bool is_right(sqlite3 *db) {
    sqlite3_stmt *statement;
    int wrong = 0, rows = 0;
    CHECK(sqlite3_prepare_v2(db, "SELECT id, value, length(more) FROM t", -1, &statement, NULL) == SQLITE_OK);
    for (; sqlite3_step(statement) == SQLITE_ROW; rows++) {
        int id = sqlite3_column_int(statement, 0);
        wrong += sqlite3_column_int(statement, 1) != values[id] || sqlite3_column_int(statement, 2) != ROW_LEN;
    }
    CHECK(sqlite3_finalize(statement) == SQLITE_OK);
    return wrong == 0 && rows == ROWS;
}

static bool is_sound(sqlite3 *db) {
    sqlite3_stmt *statement;
    bool sound = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK &&
                 sqlite3_step(statement) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    sqlite3_finalize(statement);
    return sound;
}

static void copy_file(const char *suffix) {
    static char bytes[1 << 16];
    char from[sizeof path + 8], to[sizeof copy + 8];
    size_t len;
    snprintf(from, sizeof from, "%s%s", path, suffix);
    snprintf(to, sizeof to, "%s%s", copy, suffix);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    CHECK(in && out);
    while ((len = fread(bytes, 1, sizeof bytes, in)) > 0)
        CHECK(fwrite(bytes, 1, len, out) == len);
    CHECK(fclose(in) == 0 && fclose(out) == 0);
}

/* Whoever comes when all have died finds the file and its log, but no index of that. */
static bool is_right_after_all_have_died(void) {
    sqlite3 *db;
    file_remove(copy);
    copy_file("");
    copy_file("-wal");
    CHECK(sqlite3_open_v2(copy, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    CHECK(run(db, "PRAGMA synchronous = OFF") == SQLITE_OK);
    bool right = is_right(db);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return right;
}

static int change(sqlite3 *db, int first, int step, int value) {
    char sql[200];
    snprintf(sql, sizeof sql, "UPDATE t SET value = %d, more = randomblob(%d) WHERE id >= %d AND (id - %d) %% %d = 0",
             value, ROW_LEN, first, first, step);
    return run(db, sql);
}

static void note(int first, int step, int value) {
    for (int i = first; i < ROWS; i += step)
        values[i] = value;
}

static int commit(bool gathers) {
    if (gathers)
        pl__frames_begin(ours);
    int rc = run(ours, "COMMIT");
    if (gathers)
        pl__frames_end(ours);
    if (rc != SQLITE_OK)
        (void)run(ours, "ROLLBACK");
    return rc;
}

/* ---- few writes -------------------------------------------------------------------------------------------------- */

/* How many writes a change of all rows takes. */
static long writes_of(bool gathers, int value) {
    CHECK(run(ours, "BEGIN IMMEDIATE") == SQLITE_OK && change(ours, 0, 1, value) == SQLITE_OK);
    fault_vfs_arm(FAULT_WRITE, 0, LONG_MAX, false);
    CHECK(commit(gathers) == SQLITE_OK);
    long writes = fault_vfs_calls();
    fault_vfs_disarm();
    note(0, 1, value);
    CHECK(is_right(other) && is_right(ours) && is_right_after_all_have_died());
    return writes;
}

static void a_commit_is_few_writes(int page, const char *synchronous, int most) {
    open_both(page, synchronous, -8000);
    (void)writes_of(false, 1); /* the file has grown by it */
    int pages = number(ours, "PRAGMA page_count");
    long apart = writes_of(false, 2), gathered = writes_of(true, 3);
    printf("%d pages of %d, %s: %ld writes, %ld gathered\n", pages, page, synchronous, apart, gathered);
    CHECK(apart > pages && gathered <= most);
    CHECK(is_sound(other));
    close_both();
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

/* The nth write of a commit fails. What others commit next is not written over. */
static bool fails_at(long nth, int rc) {
    CHECK(run(ours, "BEGIN IMMEDIATE") == SQLITE_OK && change(ours, 0, 1, (int)nth) == SQLITE_OK);
    fault_vfs_arm(FAULT_WRITE | FAULT_SYNC, rc, nth, false);
    int committed = commit(true);
    bool was_hit = fault_vfs_disarm();
    CHECK((committed == SQLITE_OK) == !was_hit);
    if (committed == SQLITE_OK)
        note(0, 1, (int)nth);
    CHECK(is_right(other));
    CHECK(change(other, 1, 2, 1000 + (int)nth) == SQLITE_OK);
    note(1, 2, 1000 + (int)nth);
    CHECK(is_right(ours) && is_right(other) && is_right_after_all_have_died());
    return was_hit;
}

static void a_write_that_fails_fails_the_commit(int rc) {
    long nth = 1;
    open_both(4096, "FULL", -8000);
    while (fails_at(nth, rc) && check_failed == 0)
        nth++;
    printf("%ld calls failed\n", nth - 1);
    CHECK(nth > 4 && is_sound(ours) && is_sound(other));
    close_both();
}

/* ---- whatever comes ---------------------------------------------------------------------------------------------- */

static int random_below(int n) {
    return (int)(rand_r(&seed) % (unsigned)n);
}

static bool in_doubt; /* a commit has failed, and none has been made since: all may die now, and find it made */

static void step_of_ours(int value) {
    int first = random_below(ROWS), step = 1 + random_below(20);
    CHECK(run(ours, random_below(2) ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL") == SQLITE_OK);
    CHECK(run(ours, "BEGIN IMMEDIATE") == SQLITE_OK && change(ours, first, step, value) == SQLITE_OK);
    if (random_below(2)) /* a page that was written to the log already, for want of memory, is written there again */
        CHECK(change(ours, first, step, value) == SQLITE_OK);
    if (random_below(4) == 0) {
        CHECK(run(ours, "ROLLBACK") == SQLITE_OK);
        return;
    }
    if (random_below(3) == 0)
        fault_vfs_arm(FAULT_WRITE | FAULT_SYNC, random_below(2) ? SQLITE_FULL : 0, 1 + random_below(6), false);
    in_doubt = commit(random_below(4) > 0) != SQLITE_OK;
    fault_vfs_disarm();
    if (!in_doubt)
        note(first, step, value);
}

static void step_of_other(int value) {
    int first = random_below(ROWS), step = 1 + random_below(20);
    CHECK(change(other, first, step, value) == SQLITE_OK);
    note(first, step, value);
    in_doubt = false;
    if (random_below(10) == 0)
        CHECK(run(other, random_below(2) ? "PRAGMA wal_checkpoint(TRUNCATE)" : "PRAGMA wal_checkpoint(PASSIVE)") ==
              SQLITE_OK);
}

static void both_take_turns(int page, int cache) {
    open_both(page, "FULL", cache);
    in_doubt = false;
    for (int i = 1; i <= STEPS && check_failed == 0; i++) {
        if (random_below(3) > 0)
            step_of_ours(i);
        else
            step_of_other(i);
        CHECK(is_right(other) && (in_doubt || is_right_after_all_have_died()));
        if (random_below(5) == 0)
            CHECK(is_right(ours));
        if (check_failed > 0)
            printf("step %d, pages of %d, a cache of %d\n", i, page, cache);
    }
    CHECK(is_sound(ours) && is_sound(other));
    close_both();
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void names_are_as_below(void) {
    const char *name = pl__frames_vfs(NULL);
    CHECK(strncmp(name, "pipeline/", 9) == 0 && pl__frames_vfs(NULL) == name);
    CHECK(strcmp(pl__frames_vfs(name), name) == 0); /* not twice */
    CHECK(strcmp(pl__frames_vfs("there is none"), "there is none") == 0);
    CHECK(strcmp(pl__frames_vfs("fault"), "pipeline/fault") == 0);
    CHECK(sqlite3_vfs_find(NULL) != sqlite3_vfs_find(name)); /* the default one stays what it was */
}

int main(int argc, char **argv) {
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/store.db", directory);
    snprintf(copy, sizeof copy, "%s/copy.db", directory);
    fault_vfs_register();
    seed = argc > 1 ? (unsigned)atol(argv[1]) : (unsigned)getpid();
    printf("seed %u\n", seed);
    names_are_as_below();
    a_commit_is_few_writes(4096, "FULL", 6);
    a_commit_is_few_writes(4096, "NORMAL", 6);
    a_commit_is_few_writes(512, "FULL", 6);
    a_commit_is_few_writes(65536, "NORMAL", 14); /* a page is a write */
    a_write_that_fails_fails_the_commit(0);
    a_write_that_fails_fails_the_commit(SQLITE_FULL);
    both_take_turns(4096, -8000);
    both_take_turns(4096, 10);
    both_take_turns(512, 10);
    file_remove(copy);
    rmdir(directory);
    return check_end();
}
