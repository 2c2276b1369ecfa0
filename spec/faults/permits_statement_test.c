/*
 * permits_statement_test.c - three workers share the limit of a queue and claim ahead of it, while each transaction
 * fails at many places before it is done: the limit holds after every one, and all tasks are executed once.
 *
 * The limit is that of permits.c: the permits of those who have some, and the claims of the others, are together no
 * more than it; where it was lowered, nobody gets more until that is so again. PERMITS_SEED=n repeats a run.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "support/failing.h"

enum { WORKERS = 3, TASKS = 150, CLAIMS_MAX = 64, ROUNDS_MAX = 6000 };

typedef struct {
    pl__conn_t *conn;
    pl_claim_t *claims[CLAIMS_MAX];
    int len, permits; /* of the claims as many are executed as there are permits; 0: all */
    bool is_recalled;
} worker_t;

static char path[] = "/tmp/pipeline-permits-XXXXXX";
static pl_clock_t clock_;
static pl_ids_t ids;
static worker_t workers[WORKERS];
static uint64_t random_state;
static int executed, most_limit;

static unsigned any(unsigned limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % limit;
}

static int64_t count(const char *sql) {
    sqlite3_stmt *row = NULL;
    CHECK(sqlite3_prepare_v2(workers[0].conn->db, sql, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW);
    int64_t found = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return found;
}

/* Places of the limit that are taken. */
static int64_t used(void) {
    return count(
        "SELECT coalesce(sum(coalesce((SELECT nullif(p.permits, 0) FROM pl_permit AS p WHERE p.worker = w.id), "
        "(SELECT count(*) FROM pl_task AS t WHERE t.owner = w.id AND t.state = " PL__TASK(
            CLAIMED) "))), 0) "
                     "FROM pl_worker AS w");
}

/* One op, or none, and claims. Takes op; its rc. */
static int turn(worker_t *worker, pl_op_t *op, int wanted) {
    pl__ask_t ask = { .wanted = wanted, .ahead = wanted ? (int)any(16) : 0, .look = true };
    pl__arena_t arena = { 0 };
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl_error_t error = { 0 };
    if (op)
        op->next = NULL;
    CHECK(failing_turn(worker->conn, op, &ask, &arena, &turn, &error) == PL_OK);
    while (turn.claims) {
        pl_claim_t *claim = turn.claims;
        turn.claims = claim->next;
        CHECK(worker->len < CLAIMS_MAX);
        worker->claims[worker->len++] = claim;
        worker->permits = claim->permits;
    }
    worker->is_recalled = worker->is_recalled || turn.recalls;
    pl__arena_free(&arena);
    int rc = op ? op->rc : PL_OK;
    pl_op_free(op);
    return rc;
}

static void set_limit(int limit, bool paused) {
    pl_queue_settings_t queue = {
        .name = PL_STR_LIT("q"), .retry = PL_RETRY_NONE, .rate = -1, .bucket_size = -1, .max_concurrent = limit
    };
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    queue.paused = paused;
    queue.has_paused = true;
    op->u.queue_set = (pl_op_queue_set_t){ &queue, 1, false };
    CHECK(turn(&workers[any(WORKERS)], op, 0) == PL_OK);
    most_limit = limit;
}

static void add(int len) {
    for (int i = 0; i < len; i++) {
        pl_task_new_t task = { .id = pl_ids_next(&ids, &clock_),
                               .kind = PL_TASK_DEFERRED,
                               .queue = PL_STR_LIT("q"),
                               .payload = PL_STR_LIT("x"),
                               .retry = PL_RETRY_NONE };
        pl_op_t *op = pl_op_new(PL_VERB_task_add);
        op->u.task_add = (pl_op_task_add_t){ .tasks = &task, .len = 1 };
        CHECK(turn(&workers[any(WORKERS)], op, 0) == PL_OK && task.rc == PL_OK);
    }
}

static void drop(worker_t *worker, int at) {
    pl_claim_free(worker->claims[at]);
    memmove(&worker->claims[at], &worker->claims[at + 1], (size_t)(--worker->len - at) * sizeof *worker->claims);
}

/* The first of its claims has been executed. */
static void end_one(worker_t *worker) {
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    op->u.task_done = (pl_op_task_done_t){ .task = worker->claims[0]->task, .claim = worker->claims[0]->fence };
    CHECK(turn(worker, op, any(4) ? 12 : 0) == PL_OK);
    drop(worker, 0);
    executed++;
}

/* What was claimed ahead goes back. */
static void give_back(worker_t *worker) {
    int keep = worker->permits > 0 && worker->permits < worker->len ? worker->permits : worker->len;
    while (worker->len > keep) {
        const pl_claim_t *claim = worker->claims[worker->len - 1];
        pl_op_t *op = pl_op_new(PL_VERB_release);
        op->u.release = (pl_op_release_t){ .tasks = &claim->task, .claims = &claim->fence, .len = 1 };
        CHECK(turn(worker, op, 0) == PL_OK);
        drop(worker, worker->len - 1);
    }
    worker->is_recalled = false;
}

static void step(worker_t *worker) {
    int64_t before = used();
    if (worker->is_recalled)
        give_back(worker);
    else if (worker->len && any(3))
        end_one(worker);
    else
        CHECK(turn(worker, NULL, 12) == PL_OK);
    CHECK(used() <= most_limit || used() <= before);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + any(60) * 1000);
}

static void open_workers(const pl_store_options_t *options) {
    for (int i = 0; i < WORKERS; i++) {
        pl_error_t error = { 0 };
        CHECK(failing_open(&workers[i].conn, options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
        pl_op_t *op = pl_op_new(PL_VERB_join);
        op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("here"), .pid = 100 + i, .version = PL_STR_LIT("1") };
        CHECK(turn(&workers[i], op, 0) == PL_OK);
    }
}

static void play(void) {
    int added = 0;
    set_limit(4, false);
    for (int round = 0; round < ROUNDS_MAX && executed < TASKS && check_failed < 10; round++) {
        if (added < TASKS && any(5) == 0) {
            int len = (int)any(12) + 1;
            len = len < TASKS - added ? len : TASKS - added;
            add(len);
            added += len;
        }
        if (any(40) == 0)
            set_limit((int)(1 + any(9)), any(6) == 0);
        if (round % 50 == 49)
            set_limit(most_limit, false);
        step(&workers[any(WORKERS)]);
    }
    CHECK(executed == TASKS && count("SELECT count(*) FROM pl_task") == 0);
}

int main(void) {
    const char *given = getenv("PERMITS_SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)pl_clock_monotonic_us();
    printf("PERMITS_SEED=%" PRIu64 "\n", random_state);
    (void)failing_driver();
    failing_stride = 12;
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_ids_init(&ids, 1, 1000, 0);
    pl_store_options_t options = { .path = path, .clock = &clock_, .lease_seconds = 1e6, .tombstone_seconds = 1 };
    open_workers(&options);
    play();
    for (int i = 0; i < WORKERS; i++) {
        while (workers[i].len)
            drop(&workers[i], 0);
        pl__sqlite_driver.close(workers[i].conn);
    }
    static const char *const BESIDE[] = { "", "-wal", "-shm", "-workers" };
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char name[sizeof path + 16];
        snprintf(name, sizeof name, "%s%s", path, BESIDE[i]);
        unlink(name);
    }
    return check_end();
}
