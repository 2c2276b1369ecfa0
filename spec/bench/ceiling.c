/*
 * ceiling.c - what SQLite itself can do: a C loop that inserts, claims and deletes rows in a write-ahead-logged file,
 * with the same group commit and the same durability as the engine. Nothing is kept that a queue does not need: one
 * table, one index of what is ready. Checkpoints run on a thread of their own, as ours do.
 *
 * Usage: ceiling FILE full|normal ROWS BATCH rows|tasks. The shape of a row is
 *   rows    an id, a state and a payload of 100 bytes, in the order of the ids
 *   tasks   what a task cannot do without: kind, state, queue, priority, eta, the claim and its owner, and a payload of
 *           50 bytes; ready ones in the order of priority and eta
 *
 * Prints one line of names and figures: inserts, claims (with finish) and end_to_end (both, one after the other), per
 * second; both (each transaction inserts BATCH, finishes what the one before claimed, and claims as many), per second;
 * inserts_64 and inserts_100: in transactions of so many; commit_us: of one commit of one row (median), and rested_us
 * when nothing has happened for 2 ms before, for processors and disks rest, too; claims_cpu_us and inserts_100_cpu_us:
 * processor time of a row, which says more than a rate when others use the machine.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAYLOAD = 100, SINGLES = 400, CHECKPOINT_PAGES = 1000, REST_NS = 2000000 };

typedef struct {
    const char *name, *schema, *insert, *claim; /* insert: id, payload */
    int payload;                                /* bytes */
} shape_t;

static const shape_t shapes[] = {
    { "rows",
      "CREATE TABLE task (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, payload BLOB NOT NULL);"
      "CREATE INDEX task_ready ON task (id) WHERE state = 0",
      "INSERT INTO task (id, state, payload) VALUES (?1, 0, ?2)",
      "UPDATE task SET state = 1 WHERE id IN (SELECT id FROM task WHERE state = 0 ORDER BY id LIMIT ?1) "
      "RETURNING id, payload",
      PAYLOAD },
    { "tasks",
      "CREATE TABLE task (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, state INTEGER NOT NULL, "
      "queue INTEGER NOT NULL, priority INTEGER NOT NULL, eta INTEGER NOT NULL, claim INTEGER NOT NULL, "
      "owner INTEGER, payload BLOB NOT NULL);"
      "CREATE INDEX task_ready ON task (queue, priority DESC, eta, id) WHERE state = 0",
      "INSERT INTO task (id, kind, state, queue, priority, eta, claim, payload) "
      "VALUES (?1, 1, 0, 1, 0, 1700000000000000, 0, ?2)",
      "UPDATE task SET state = 1, owner = 7, claim = claim + 1 WHERE id IN (SELECT id FROM task "
      "WHERE state = 0 AND queue = 1 ORDER BY priority DESC, eta, id LIMIT ?1) RETURNING id, payload",
      PAYLOAD / 2 },
};

static const shape_t *shape;
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

static double cpu(void) {
    return (double)clock() / CLOCKS_PER_SEC;
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
    check(sqlite3_exec(db, shape->schema, 0, 0, 0), "schema");
    sqlite3_wal_hook(db, log_cb, NULL);
    begin = prepare("BEGIN IMMEDIATE");
    commit = prepare("COMMIT");
    insert = prepare(shape->insert);
    claim = prepare(shape->claim);
    finish = prepare("DELETE FROM task WHERE id = ?1");
}

static void insert_some(int64_t first, int count) {
    static char payload[PAYLOAD];
    for (int i = 0; i < count; i++) {
        sqlite3_bind_int64(insert, 1, first + i);
        sqlite3_bind_blob(insert, 2, payload, shape->payload, SQLITE_STATIC);
        run(insert);
    }
}

static void insert_rows(int64_t first, int count) {
    run(begin);
    insert_some(first, count);
    run(commit);
}

static int claim_rows(int64_t *ids, int wanted) {
    static char payload[PAYLOAD];
    int count = 0;
    sqlite3_bind_int(claim, 1, wanted);
    while (sqlite3_step(claim) == SQLITE_ROW) {
        memcpy(payload, sqlite3_column_blob(claim, 1), (size_t)shape->payload);
        ids[count++] = sqlite3_column_int64(claim, 0);
    }
    sqlite3_reset(claim);
    return count;
}

/* Each transaction finishes what the one before claimed, and claims more; and inserts a batch, up to `rows`. */
static void drain(int batch, int64_t first, int rows) {
    int64_t *ids = malloc((size_t)batch * sizeof *ids), *next = malloc((size_t)batch * sizeof *next);
    int held = 0, got, inserted = 0;
    do {
        run(begin);
        for (int i = 0; i < held; i++) {
            sqlite3_bind_int64(finish, 1, ids[i]);
            run(finish);
        }
        if (inserted < rows)
            insert_some(first + inserted, batch);
        inserted += batch;
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

static double median_commit(int64_t first, long rest_ns) {
    static double times[SINGLES];
    for (int i = 0; i < SINGLES; i++) {
        if (rest_ns)
            nanosleep(&(struct timespec){ .tv_nsec = rest_ns }, NULL);
        double start = now();
        insert_rows(first + i, 1);
        times[i] = now() - start;
    }
    qsort(times, SINGLES, sizeof *times, compare);
    return times[SINGLES / 2];
}

static double insert_rate(int64_t first, int rows, int batch) {
    double start = now();
    for (int i = 0; i < rows; i += batch)
        insert_rows(first + i, batch);
    return rows / (now() - start);
}

static void measure(int rows, int batch) {
    double start = now();
    insert_rate(1, rows, batch);
    double inserted = now(), claims_cpu = cpu();
    drain(batch, 0, 0);
    double drained = now();
    claims_cpu = cpu() - claims_cpu;
    drain(batch, INT64_C(1) << 32, rows);
    double both = now();
    double rate_64 = insert_rate(INT64_C(1) << 34, rows / 10, 64);
    double insert_cpu = cpu(), rate_100 = insert_rate(INT64_C(1) << 36, rows / 10, 100);
    insert_cpu = cpu() - insert_cpu;
    double one = median_commit(INT64_C(1) << 40, 0), rested = median_commit(INT64_C(1) << 42, REST_NS);
    printf("inserts %.0f claims %.0f end_to_end %.0f both %.0f inserts_64 %.0f inserts_100 %.0f commit_us %.1f "
           "rested_us %.1f claims_cpu_us %.3f inserts_100_cpu_us %.3f\n",
           rows / (inserted - start), rows / (drained - inserted), rows / (drained - start), rows / (both - drained),
           rate_64, rate_100, one * 1e6, rested * 1e6, claims_cpu / rows * 1e6, insert_cpu / (rows / 10.0) * 1e6);
}

static const shape_t *find_shape(const char *name) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

int main(int argc, char **argv) {
    shape = argc == 6 ? find_shape(argv[5]) : NULL;
    if (!shape) {
        fprintf(stderr, "usage: ceiling FILE full|normal ROWS BATCH rows|tasks\n");
        return 2;
    }
    path = argv[1];
    pthread_t checkpointer;
    open_file(argv[2]);
    pthread_create(&checkpointer, NULL, checkpoint_main, NULL);
    measure(atoi(argv[3]), atoi(argv[4]));
    atomic_store(&stop, 1);
    pthread_join(checkpointer, NULL);
    return 0;
}
