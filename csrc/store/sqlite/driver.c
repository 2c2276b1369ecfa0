/*
 * driver.c - SQLite as a store: opening a file, transactions, and the table of what it does (driver.h).
 *
 * The writer commits into the write-ahead log and never checkpoints by itself; SQLITE_BUSY is waited out by a handler
 * that never gives up: transactions of other processes are short, and their locks end with them.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "store/sqlite/file/frames.h"
#include "store/sqlite/profile.h"

enum { OTHERS_FIRST_US = 6000, PORTION_REST_US = 1500 };
enum { BUSY_US = 1000 };          /* since the last commit that was synced: another is not far */
enum { UNSYNCED_US = 10 * 1000 }; /* until what was claimed is on disk, if nothing is committed meanwhile */

static void sqlite_failure(pl__conn_t *conn, int rc, pl_error_t *error) {
    enum { HEAD = 20, TAIL = 40 }; /* of a path that would leave no room for the reason */
    const char *detail = conn->failure[0] ? conn->failure : pl_result_text(rc), *path = conn->options.path;
    size_t len = strlen(path);
    if (len <= HEAD + TAIL)
        PL__FAIL(error, rc, "%s: %s", path, detail);
    else
        PL__FAIL(error, rc, "%.*s...%s: %s", HEAD, path, path + len - TAIL, detail);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int log_cb(void *data, sqlite3 *db, const char *name, int pages) {
    (void)db;
    (void)name;
    pl__conn_t *conn = data;
    int64_t bytes = pages * (int64_t)conn->log.page_bytes;
    conn->log.pages = pages;
    conn->log.commits++;
    conn->log.is_ahead = conn->is_relaxed;
    if (!conn->is_relaxed) {
        conn->log.sync_at = PL_USEC_NEVER; /* it has taken along what was there */
        conn->log.synced_at = pl_clock_monotonic_us();
    }
    if (bytes > conn->log.bytes)
        conn->log.bytes = bytes; /* the names were checked before it grew */
    return SQLITE_OK;
}

static int configure_writer(pl__conn_t *conn, pl_error_t *error) {
    int64_t page_bytes;
    PL__TRY(pl__file_check_home(conn));
    PL__TRY(pl__schema_encoding(conn));
    PL__TRY(pl__sql_execute(conn, "PRAGMA auto_vacuum = INCREMENTAL")); /* of a new file; an older one stays as it is */
    PL__TRY(pl__sql_execute(conn, "PRAGMA journal_mode = WAL"));
    PL__TRY(pl__sql_execute(conn, conn->options.durability_full ? "PRAGMA synchronous = FULL"
                                                                : "PRAGMA synchronous = NORMAL"));
    PL__TRY(pl__sql_execute(
        conn, "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
              "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192; PRAGMA trusted_schema = OFF"));
    PL__TRY(pl__schema_open(conn, error));
    PL__TRY(pl__file_settle(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGE_SIZE, &page_bytes, 0, ""));
    conn->log.page_bytes = (int)page_bytes;
    sqlite3_wal_hook(conn->db, log_cb, conn);
    PL__TRY(pl__guard_open(conn));
    return pl__queues_load(conn);
}

static int configure(pl__conn_t *conn, pl_error_t *error) {
    sqlite3_extended_result_codes(conn->db, 1);
    PL__TRY(pl__sql_wait(conn, true));
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (conn->options.must_exist)
        PL__TRY(pl__schema_require(conn)); /* before anything is written */
    if (conn->role == PL__ROLE_WRITER)
        return configure_writer(conn, error);
    if (conn->role == PL__ROLE_READER) /* the first look opens the log, too */
        return pl__sql_execute(conn, "PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY; "
                                     "SELECT count(*) FROM main.pl_meta");
    PL__TRY(pl__sql_execute(conn, "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256"));
    return pl__sql_wait(conn, false);
}

static void sqlite_close(pl__conn_t *conn) {
    if (!conn)
        return;
    if (conn->role == PL__ROLE_LISTENER) {
        pl__free(conn);
        return;
    }
    PL__PROFILE_WRITE(conn);
    pl__backup_drop(conn, false);
    for (int i = 0; i < PL__SQL_COUNT; i++)
        sqlite3_finalize(conn->statements[i]);
    pl__file_closing(conn);
    sqlite3_close_v2(conn->db);
    pl__file_closed(conn);
    if (conn->role == PL__ROLE_WRITER)
        pl__notifier_close(conn->notifier);
    pl__queues_free(conn);
    pl__free(conn->pending);
    pl__free(conn->deltas);
    pl__lives_clear(conn);
    pl__free(conn->watched);
    pl__buf_free(&conn->suspects);
    pl__free((void *)(uintptr_t)conn->worker_host.ptr);
    pl__arena_free(&conn->scratch);
    pl__free(conn);
}

static int open_file(pl__conn_t *conn, const pl__conn_t *writer, pl_error_t *error) {
    const pl_store_options_t *options = &conn->options;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    bool may_make = conn->role == PL__ROLE_WRITER && !options->must_exist;
    if (may_make)
        flags |= SQLITE_OPEN_CREATE;
    pl__locks_install();
    if (may_make)
        pl__file_create(options);
    const char *vfs = conn->role == PL__ROLE_WRITER ? pl__frames_vfs(options->vfs) : options->vfs;
    int sqlite_rc = sqlite3_open_v2(options->path, &conn->db, flags, vfs);
    int rc = conn->db ? pl__sql_rc(conn, sqlite_rc) : PL_ENOMEM;
    if (rc == PL_OK)
        rc = pl__file_opened(conn, writer);
    if (rc == PL_OK)
        rc = configure(conn, error);
    if (rc == PL_OK)
        rc = pl__sql_prepare(conn, PL__SQL_ROLLBACK);
    if (rc != PL_OK && rc != PL_ENEWER)
        sqlite_failure(conn, rc, error);
    if (rc == PL_OK && conn->role == PL__ROLE_WRITER && conn->names[0])
        rc = pl__notifier_open(&conn->notifier, conn->names[0], error);
    return rc;
}

/* `writer`: NULL, or one whose notifier this connection uses. */
static int sqlite_open(pl__conn_t **out, const pl_store_options_t *options, pl__role_t role, const pl__conn_t *writer,
                       pl_error_t *error) {
    *out = NULL;
    pl__conn_t *conn = pl__alloc(sizeof *conn);
    if (!conn)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", options->path);
    conn->options = *options;
    conn->role = role;
    conn->name_file = PL__UNSHARED_NONE;
    conn->next_due = PL_USEC_NEVER;
    conn->due_unknown = conn->maybe_ready = conn->maybe_alone = conn->fires.unknown = true;
    conn->renew_at = conn->next_token = conn->session_deadline = PL_USEC_NEVER;
    conn->log.idle_at = conn->log.sync_at = PL_USEC_NEVER;
    conn->data_version = -1;
    if (role == PL__ROLE_READER && writer)
        conn->notifier = writer->notifier; /* to ask who lives */
    if (role == PL__ROLE_LISTENER) {
        conn->notifier = writer->notifier;
        *out = conn;
        return PL_OK;
    }
    int rc = open_file(conn, writer, error);
    if (rc != PL_OK) {
        sqlite_close(conn);
        return rc;
    }
    *out = conn;
    return PL_OK;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static void reset_transaction(pl__conn_t *conn) {
    conn->pending_len = 0;
    conn->leaves_len = conn->stage_rows_len = 0;
    pl__results_forget(conn);
    if (conn->deltas_len > 0)
        memset(conn->deltas, 0, conn->deltas_size * sizeof *conn->deltas);
    conn->deltas_len = 0;
    conn->finals = NULL;
    conn->recalls = NULL;
    conn->fires.over = NULL;
    conn->notify = conn->freed = conn->has_swept = false;
    conn->portion_until = 0;
    pl__arena_free(&conn->scratch);
}

/* Whoever waits for the file looks every PL__BUSY_SLEEP_MAX_US. Where sessions follow each other closely, none of those
 * looks would ever find it free: so after one that took long, others come first. */
static void yield_write_lock(const pl__conn_t *conn) {
    int64_t wait = conn->others > 0 ? conn->others_first - pl_clock_monotonic_us() : 0;
    if (wait > 0 && wait <= OTHERS_FIRST_US)
        pl__fork_sleep((long)wait);
}

/* By a statement prepared while there was memory; should it fail all the same, the next begin tries again. */
static void roll_back(pl__conn_t *conn) {
    for (int i = 0; i < PL__SQL_COUNT; i++)
        if (conn->statements[i])
            sqlite3_reset(conn->statements[i]);
    pl__lives_clear(conn);
    if (!sqlite3_get_autocommit(conn->db))
        (void)pl__sql_run(conn, PL__SQL_ROLLBACK, NULL, "");
}

/*
 * Whether the next commits need not be on disk when they return. Those that are told of must be. Those that nobody is
 * told of need not: the next one that is told of takes them along, or the end of the machine undoes them as a whole.
 *
 * SQLite changes this while it compiles the statement, and outside of transactions only. So what is left of one goes
 * first; and after a failure it counts as relaxed, whichever it is, until it was made strict without one.
 */
static int relax(pl__conn_t *conn, bool on) {
    bool is_wanted = on && conn->options.durability_full;
    if (!sqlite3_get_autocommit(conn->db))
        roll_back(conn);
    if (conn->is_relaxed == is_wanted)
        return PL_OK;
    conn->is_relaxed = true;
    PL__TRY(pl__sql_execute(conn, is_wanted ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL"));
    conn->is_relaxed = is_wanted;
    return PL_OK;
}

static int begin_with(pl__conn_t *conn, pl__sql_t statement) {
    if (!sqlite3_get_autocommit(conn->db))
        roll_back(conn);
    conn->failure[0] = 0;
    reset_transaction(conn);
    PL__TRY(pl__file_check_again(conn));
    return pl__sql_run(conn, statement, NULL, "");
}

static int begin(pl__conn_t *conn, pl_error_t *error) {
    yield_write_lock(conn);
    if (conn->backups)
        pl__backup_drop(conn, true);
    int rc = pl__log_save(conn);
    if (rc == PL_OK)
        rc = begin_with(conn, conn->role == PL__ROLE_WRITER ? PL__SQL_BEGIN_WRITE : PL__SQL_BEGIN_READ);
    if (rc == PL_OK && conn->role == PL__ROLE_WRITER)
        rc = pl__queues_refresh(conn);
    if (rc == PL_OK && conn->role == PL__ROLE_WRITER)
        rc = pl__schedules_refresh(conn);
    if (rc == PL_OK)
        pl__lives_refresh(conn);
    if (rc == PL_OK)
        rc = pl__clock_read(conn);
    if (rc != PL_OK) {
        sqlite_failure(conn, rc, error);
        roll_back(conn);
    }
    return rc;
}

static int begin_as(pl__conn_t *conn, bool relaxed, pl_error_t *error) {
    int rc = relax(conn, relaxed);
    if (rc == PL_OK)
        return begin(conn, error);
    sqlite_failure(conn, rc, error);
    return rc;
}

static int sqlite_begin(pl__conn_t *conn, pl_error_t *error) {
    return begin_as(conn, false, error);
}

static int write_commit(pl__conn_t *conn) {
    pl__frames_begin(conn->db);
    int rc = pl__sql_run(conn, PL__SQL_COMMIT, NULL, "");
    pl__frames_end(conn->db);
    conn->log.is_doubtful = rc != PL_OK && conn->log.is_ahead;
    return rc;
}

static int sqlite_commit(pl__conn_t *conn, pl_error_t *error) {
    int rc = pl__file_check_again(conn);
    if (rc == PL_OK)
        rc = write_commit(conn);
    if (rc == PL_OK)
        rc = pl__file_check(conn); /* what was written to a file that nobody will find must not be acknowledged */
    if (rc != PL_OK) {
        sqlite_failure(conn, rc, error);
        return rc;
    }
    for (const pl_watch_event_t *final = conn->finals; final; final = final->next)
        if (final->state != PL_STAGE_ABORTING && final->state != PL_STAGE_READY)
            pl__watch_remove(conn, final->stage);
    conn->aborts_seen = conn->aborts;
    conn->worker_known = conn->worker;
    if (conn->has_swept)
        conn->sweep = conn->swept_to;
    if (conn->portion_until > 0 && conn->others > 0) /* the next portion is not far; whoever waits looks before it */
        conn->others_first = pl_clock_monotonic_us() + PORTION_REST_US;
    reset_transaction(conn);
    PL__PROFILE_NOTE_THREAD(conn);
    return PL_OK;
}

static void sqlite_rollback(pl__conn_t *conn) {
    roll_back(conn);
    reset_transaction(conn);
    if (conn->role == PL__ROLE_WRITER) { /* what we remembered may have been of the lost transaction */
        conn->due_unknown = conn->maybe_ready = conn->maybe_alone = conn->fires.unknown = true;
        conn->next_token = PL_USEC_NEVER;
        conn->lease_until = 0;
        conn->worker = conn->worker_known; /* a new one's id is given to somebody else */
        conn->data_version = -1;           /* settings are read again */
        conn->any_started = conn->permits_known = false;
        conn->knows_offset = false;
    }
}

/* What waits for others like it, so that they share statements, is written. */
static int write_waiting(pl__conn_t *conn) {
    PL__TRY(pl__leaves_flush(conn));
    return pl__stage_rows_flush(conn);
}

/* Before a verb looks at anything; those that go on with the same (outcome.c) see to it themselves. */
static int sqlite_verb(pl__conn_t *conn, pl_op_t *op) {
    static pl__verb_fn *const VERBS[] = {
#define X(name, write, offer) [PL_VERB_##name] = pl__verb_##name,
        PL_VERBS(X)
#undef X
    };
    if (op->clock)
        pl__clock_fit(conn, op);
    if (op->verb != PL_VERB_outcome && op->verb != PL_VERB_start)
        PL__TRY(write_waiting(conn));
    return VERBS[op->verb](conn, op);
}

static int sqlite_finish(pl__conn_t *conn, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                         pl_error_t *error) {
    int rc = PL_OK;
    if (conn->session_deadline != PL_USEC_NEVER) /* its last op may have been long ago */
        rc = pl__clock_read(conn);
    if (rc == PL_OK)
        rc = write_waiting(conn);
    if (rc == PL_OK)
        rc = pl__fires_flush(conn);
    if (rc == PL_OK)
        rc = pl__claim_finish(conn, ask, arena, turn);
    if (rc == PL_OK)
        rc = pl__schedules_refresh(conn);
    turn->next_fire = conn->fires.next;
    if (rc != PL_OK)
        sqlite_failure(conn, rc, error);
    return rc;
}

const pl__verbs_t pl__sqlite_verbs = {
    .begin = sqlite_begin,
    .verb = {
#define X(name, write, offer) [PL_VERB_##name] = sqlite_verb,
        PL_VERBS(X)
#undef X
    },
    .finish = sqlite_finish,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .failure = sqlite_failure,
};

/* Who waits for a stage looks first whether it is final. A turn of nothing else, when there is nothing to claim either,
 * writes nothing and needs no lock of writers: it mostly stands between a start and the end of what was started. What
 * is due becomes ready first, so that nobody is told that nothing is. */
static bool is_look(const pl__conn_t *conn, const pl_op_t *ops, const pl__ask_t *ask) {
    if (!ops || ask->look || conn->fires.unknown)
        return false;
    for (const pl_op_t *op = ops; op; op = op->next)
        if (op->verb != PL_VERB_watch || op->clock)
            return false;
    bool is_due = conn->due_unknown || conn->next_due <= pl_clock_now(conn->options.clock) ||
                  conn->next_token <= pl_clock_steady(conn->options.clock);
    bool may_claim = conn->maybe_ready || conn->maybe_alone || conn->blocked;
    return !is_due && !(ask->wanted > 0 && may_claim);
}

static int look(pl__conn_t *conn, pl_op_t *ops, pl__commit_result_t *turn, pl_error_t *error) {
    int rc = begin_with(conn, PL__SQL_BEGIN_READ);
    for (pl_op_t *op = ops; op && rc == PL_OK; op = op->next) {
        op->rc = PL_OK;
        rc = pl__verb_watch(conn, op);
    }
    if (rc == PL_OK)
        rc = pl__sql_run(conn, PL__SQL_ROLLBACK, NULL, "");
    if (rc != PL_OK) {
        sqlite_failure(conn, rc, error);
        roll_back(conn);
    }
    reset_transaction(conn);
    turn->ready_left = conn->maybe_ready;
    turn->next_due = conn->next_due;
    turn->next_token = conn->next_token;
    turn->next_fire = conn->fires.next;
    return rc;
}

/* Whether more is told of than claims: what has become final; or a durable function, for when one is aborted, it is
 * asked to stop or not by whether it was ever claimed. */
static bool must_be_on_disk(const pl__conn_t *conn, const pl__commit_result_t *turn) {
    bool must = conn->any_final;
    for (const pl_claim_t *claim = turn->claims; claim && !must; claim = claim->next)
        must = claim->stage && claim->stage->flags & PL_STAGE_DURABLE;
    return must;
}

/*
 * A turn that applies nothing and only claims: nobody has been told of a claim when what was claimed starts. Should the
 * machine end before it is on disk, the task is ready again, as if nobody had had it. So it starts without a wait for
 * the disk, after no more than the commit of who added it. The claim is on disk with the next commit, or UNSYNCED_US
 * later: then a task that makes the machine end is counted as lost.
 *
 * Where one commit follows the other it is one like them: what ends while it waits for the disk shares the next, and
 * fewer commits count for more than an early start.
 */
static int claim(pl__conn_t *conn, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                 pl_error_t *error) {
    uint64_t before = conn->log.commits;
    conn->any_final = false;
    PL__TRY(begin_as(conn, pl_clock_monotonic_us() - conn->log.synced_at > BUSY_US, error));
    PL__TRY(pl__verbs_end(&pl__sqlite_verbs, conn, PL_OK, ask, arena, turn, error));
    if (!conn->is_relaxed || conn->log.commits == before)
        return PL_OK;
    /* should both fail, the engine's log has said so, and who waits hears of it all the same */
    if (must_be_on_disk(conn, turn) && pl__log_sync(conn) != PL_OK)
        (void)pl__log_save(conn);
    else if (conn->log.is_ahead && conn->log.sync_at == PL_USEC_NEVER)
        conn->log.sync_at = pl_clock_monotonic_us() + UNSYNCED_US;
    return PL_OK;
}

static int sqlite_turn(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                       pl__commit_result_t *turn, pl_error_t *error) {
    conn->tells = ask->tell;
    if (is_look(conn, ops, ask))
        return look(conn, ops, turn, error);
    if (!ops)
        return claim(conn, ask, arena, turn, error);
    return pl__verbs_turn(&pl__sqlite_verbs, conn, ops, ask, arena, turn, error);
}

static void sqlite_read(pl__conn_t *conn, pl_op_t *ops) {
    pl__verbs_read(&pl__sqlite_verbs, conn, ops);
}

/* ---- upkeep ------------------------------------------------------------------------------------------------------ */

/* A transaction of the store's own, which nobody is told of. */
static int run_apart(pl__conn_t *conn, pl__portion_t *portion, void *data) {
    pl_error_t error = { 0 };
    int rc = begin_as(conn, true, &error);
    if (rc == PL_OK)
        rc = portion(conn, data);
    if (rc == PL_OK)
        rc = sqlite_commit(conn, &error);
    if (rc != PL_OK)
        sqlite_rollback(conn);
    return rc;
}

static void sqlite_keep(pl__conn_t *conn, bool idle, int64_t *next, int *aside) {
    pl__upkeep_keep(conn, run_apart, idle, next, aside);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static int sqlite_session_begin(pl__conn_t *conn, pl_usec_t span, int64_t *deadline, pl_error_t *error) {
    PL__TRY(sqlite_begin(conn, error));
    conn->session_began = pl_clock_monotonic_us();
    conn->session_deadline = *deadline = pl_clock_add(conn->session_began, span);
    pl__guard_session(conn);
    return PL_OK;
}

static void session_over(pl__conn_t *conn) {
    int64_t now = pl_clock_monotonic_us();
    if (now - conn->session_began > PL__BUSY_SLEEP_MAX_US)
        conn->others_first = now + OTHERS_FIRST_US;
    conn->session_deadline = PL_USEC_NEVER;
}

/* What a verb puts off to the end of the transaction borrows from its op, which in a session is gone by then. */
static int apply(pl__conn_t *conn, pl_op_t *op) {
    PL__TRY(pl__clock_read(conn));
    PL__TRY(sqlite_verb(conn, op));
    PL__TRY(write_waiting(conn));
    pl__results_forget(conn);
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__fires_flush(conn));
    return pl__task_flush(conn);
}

static int sqlite_session_apply(pl__conn_t *conn, pl_op_t *op) {
    int rc = apply(conn, op);
    if (rc == PL_OK)
        return PL_OK;
    sqlite_failure(conn, rc, &op->error);
    sqlite_rollback(conn);
    session_over(conn);
    return rc;
}

static int sqlite_session_end(pl__conn_t *conn, bool commit, const pl__ask_t *ask, pl__arena_t *arena,
                              pl__commit_result_t *turn, pl_error_t *error) {
    int rc = PL_OK;
    if (commit)
        rc = pl__verbs_end(&pl__sqlite_verbs, conn, PL_OK, ask, arena, turn, error);
    else
        sqlite_rollback(conn);
    session_over(conn);
    return rc;
}

/* ---- notices ----------------------------------------------------------------------------------------------------- */

static void sqlite_notify(pl__conn_t *conn, unsigned what) {
    if (conn->notifier && (what & PL__NOTIFY_WORK))
        pl__notifier_send(conn->notifier, conn->others);
}

static int sqlite_listen_fd(const pl__conn_t *conn) {
    return conn->notifier ? pl__notifier_fd(conn->notifier) : -1;
}

static unsigned sqlite_receive(pl__conn_t *conn) {
    return pl__notifier_receive(conn->notifier, conn->options.log);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static unsigned sqlite_can(const pl_store_options_t *options) {
    unsigned on_disk = PL__CAN_READ_APART | PL__CAN_SHARE | PL__CAN_NOTIFY | PL__CAN_PROVE_DEATH;
    return strcmp(options->path, ":memory:") == 0 ? PL__CAN_SQL : PL__CAN_SQL | on_disk;
}

static void sqlite_facts(const pl__conn_t *conn, pl_store_facts_t *facts) {
    facts->version = sqlite3_libversion();
    facts->path = conn->names[0];
    facts->log = conn->names[1];
}

const pl_store_driver_t pl__sqlite_driver = {
    .version = PL__DRIVER_VERSION,
    .op_size = sizeof(pl_op_t),
    .name = "sqlite",
    .can = sqlite_can,
    .install = pl__locks_install,
    .open = sqlite_open,
    .close = sqlite_close,
    .turn = sqlite_turn,
    .read = sqlite_read,
    .session_begin = sqlite_session_begin,
    .session_apply = sqlite_session_apply,
    .session_end = sqlite_session_end,
    .keep = sqlite_keep,
    .aside = pl__upkeep_aside,
    .notify = sqlite_notify,
    .listen_fd = sqlite_listen_fd,
    .receive = sqlite_receive,
    .facts = sqlite_facts,
};
