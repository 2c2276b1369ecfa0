/*
 * ceiling.c - what SQLite itself can do: a C loop that inserts, claims and deletes rows of 100 bytes in a
 * write-ahead-logged file, with the same group commit and the same durability as the engine. Nothing is kept that a
 * queue does not need: one table, one index of what is ready. Checkpoints run on a thread of their own, as ours do.
 *
 * Usage: ceiling FILE full|normal ROWS BATCH. Prints one line: inserts, claims with finish, and rows end to end, per
 * second, and the microseconds of one commit of one row (median).
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAYLOAD = 100, SINGLES = 400, CHECKPOINT_PAGES = 1000 };

static sqlite3 *db;
static const char *path;
static sqlite3_stmt *begin, *commit, *insert, *claim, *finish;
static _Atomic int checkpoint_due, stop;

static void check(int rc, const char *what) {
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
        fprintf(stderr, "ceiling: %s: %s\n", what, sqlite3_errmsg(db));
        exit(1);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int log_cb(void *data, sqlite3 *handle, const char *name, int pages) {
    static int last;
    (void)data;
    (void)handle;
    (void)name;
    if (pages < last)
        last = 0;
    if (pages - last >= CHECKPOINT_PAGES) {
        last = pages;
        atomic_store(&checkpoint_due, 1);
    }
    return SQLITE_OK;
}

static void *checkpoint_main(void *data) {
    sqlite3 *mine;
    (void)data;
    if (sqlite3_open(path, &mine) != SQLITE_OK)
        return NULL;
    while (!atomic_load(&stop)) {
        if (atomic_exchange(&checkpoint_due, 0))
            sqlite3_wal_checkpoint_v2(mine, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    sqlite3_close(mine);
    return NULL;
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;
    check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

static void run(sqlite3_stmt *statement) {
    check(sqlite3_step(statement), sqlite3_sql(statement));
    sqlite3_reset(statement);
}

static void open_file(const char *level) {
    char sync[64];
    remove(path);
    check(sqlite3_open(path, &db), "open");
    snprintf(sync, sizeof sync, "PRAGMA synchronous = %s", level);
    check(sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -8192", 0, 0,
                       0),
          "pragma");
    check(sqlite3_exec(db, sync, 0, 0, 0), "pragma");
    check(sqlite3_exec(db,
                       "CREATE TABLE task (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, payload BLOB NOT NULL);"
                       "CREATE INDEX task_ready ON task (id) WHERE state = 0",
                       0, 0, 0),
          "schema");
    sqlite3_wal_hook(db, log_cb, NULL);
    begin = prepare("BEGIN IMMEDIATE");
    commit = prepare("COMMIT");
    insert = prepare("INSERT INTO task (id, state, payload) VALUES (?1, 0, ?2)");
    claim = prepare("UPDATE task SET state = 1 WHERE id IN (SELECT id FROM task WHERE state = 0 ORDER BY id LIMIT ?1) "
                    "RETURNING id, payload");
    finish = prepare("DELETE FROM task WHERE id = ?1");
}

static void insert_rows(int64_t first, int count) {
    static char payload[PAYLOAD];
    run(begin);
    for (int i = 0; i < count; i++) {
        sqlite3_bind_int64(insert, 1, first + i);
        sqlite3_bind_blob(insert, 2, payload, PAYLOAD, SQLITE_STATIC);
        run(insert);
    }
    run(commit);
}

static int claim_rows(int64_t *ids, int wanted) {
    static char payload[PAYLOAD];
    int count = 0;
    sqlite3_bind_int(claim, 1, wanted);
    while (sqlite3_step(claim) == SQLITE_ROW) {
        memcpy(payload, sqlite3_column_blob(claim, 1), PAYLOAD);
        ids[count++] = sqlite3_column_int64(claim, 0);
    }
    sqlite3_reset(claim);
    return count;
}

/* Each transaction finishes what the one before claimed, and claims more. */
static void drain(int batch) {
    int64_t *ids = malloc((size_t)batch * sizeof *ids), *next = malloc((size_t)batch * sizeof *next);
    int held = 0, got;
    do {
        run(begin);
        for (int i = 0; i < held; i++) {
            sqlite3_bind_int64(finish, 1, ids[i]);
            run(finish);
        }
        got = claim_rows(next, batch);
        run(commit);
        int64_t *swap = ids;
        ids = next;
        next = swap;
        held = got;
    } while (held > 0);
    free(ids);
    free(next);
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median_commit(void) {
    static double times[SINGLES];
    for (int i = 0; i < SINGLES; i++) {
        double start = now();
        insert_rows(INT64_C(1) << 40 | i, 1);
        times[i] = now() - start;
    }
    qsort(times, SINGLES, sizeof *times, compare);
    return times[SINGLES / 2];
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: ceiling FILE full|normal ROWS BATCH\n");
        return 2;
    }
    path = argv[1];
    int rows = atoi(argv[3]), batch = atoi(argv[4]);
    pthread_t checkpointer;
    open_file(argv[2]);
    pthread_create(&checkpointer, NULL, checkpoint_main, NULL);
    double start = now();
    for (int i = 0; i < rows; i += batch)
        insert_rows(i + 1, batch);
    double inserted = now();
    drain(batch);
    double drained = now();
    double one = median_commit();
    atomic_store(&stop, 1);
    pthread_join(checkpointer, NULL);
    printf("inserts %.0f claims %.0f end_to_end %.0f commit_us %.1f\n", rows / (inserted - start),
           rows / (drained - inserted), rows / (drained - start), one * 1e6);
    return 0;
}
