/*
 * backup.c - a consistent copy of a live store, in portions.
 *
 * The copy is of one moment: a connection of its own holds a read transaction from the first portion to the last, so
 * that others write on meanwhile (the log cannot be cut until it ends). It is written to `<path>.part`, synced, and
 * takes its name when it is whole: who finds a file of that name has a good one. What a backup that was killed has left
 * is written over by the next one. While it is written it is locked, so that two backups to one path cannot mix. There
 * may be several at once, each to a path of its own.
 *
 *   first op of a path ──► open, BEGIN ──► some pages ──op──► some pages … ──► all: sync, rename
 *                             └── an error, nobody who goes on, the end of the connection: the part is deleted
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlite/db.h"

enum { ABANDONED_US = 60 * 1000000 };          /* nobody has asked for the next portion */
#define LOCKED_AT (INT64_C(0x40000000) + 8192) /* where SQLite locks nothing */

struct pl__backup {
    pl__backup_t *next;
    char *path, *part;
    pl__unshared_t lock; /* an open file of the part; none: then the part is not ours */
    int64_t touched;     /* monotonic us */
    sqlite3 *from, *to;
    sqlite3_backup *copy;
};

/* ---- starting and ending ----------------------------------------------------------------------------------- */

static void forget(pl__conn_t *conn, pl__backup_t *backup) {
    pl__backup_t **link = &conn->backups;
    while (*link != backup)
        link = &(*link)->next;
    *link = backup->next;
    if (backup->copy)
        sqlite3_backup_finish(backup->copy);
    sqlite3_close_v2(backup->to);
    sqlite3_close_v2(backup->from);
    pl__unshared_close(&backup->lock);
    pl__free(backup->path);
    pl__free(backup->part);
    pl__free(backup);
}

static void drop(pl__conn_t *conn, pl__backup_t *backup) {
    if (backup->lock.fd >= 0)
        unlink(backup->part);
    forget(conn, backup);
}

void pl__backup_drop(pl__conn_t *conn, bool abandoned) {
    int64_t now = pl_clock_monotonic_us();
    for (pl__backup_t *backup = conn->backups, *next; backup; backup = next) {
        next = backup->next;
        if (!abandoned || now - backup->touched > ABANDONED_US)
            drop(conn, backup);
    }
}

static int refuse(pl_op_t *op, int rc, const char *path, const char *why) {
    op->rc = rc;
    PL__FAIL(&op->error, rc, "backup to %.150s: %s", path, why);
    return PL_OK;
}

static bool is_memory_short(int sqlite_rc) {
    return sqlite_rc == SQLITE_NOMEM || sqlite_rc == SQLITE_IOERR_NOMEM;
}

static int refuse_sqlite(pl_op_t *op, int sqlite_rc, const char *path) {
    int rc = sqlite_rc == SQLITE_FULL ? PL_EFULL : is_memory_short(sqlite_rc) ? PL_ENOMEM : PL_EIO;
    return refuse(op, rc, path, sqlite3_errstr(sqlite_rc));
}

static int set_paths(pl__backup_t *backup, pl_str_t path) {
    backup->path = pl__alloc(path.len + 1);
    backup->part = pl__alloc(path.len + sizeof ".part");
    if (!backup->path || !backup->part)
        return PL_ENOMEM;
    memcpy(backup->path, path.ptr, path.len);
    snprintf(backup->part, path.len + sizeof ".part", "%s.part", backup->path);
    return PL_OK;
}

static bool is_same_file(const char *a, const char *b) {
    struct stat facts_a, facts_b;
    return stat(a, &facts_a) == 0 && stat(b, &facts_b) == 0 && facts_a.st_dev == facts_b.st_dev &&
           facts_a.st_ino == facts_b.st_ino;
}

/* Whether the path is one of the files of the store itself. */
static bool is_own_file(const pl__conn_t *conn, const char *path) {
    char workers[4096] = "";
    bool is_own = false;
    if (conn->names[0])
        snprintf(workers, sizeof workers, "%s-workers", conn->names[0]);
    for (int i = 0; i < PL__FILE_NAMES; i++)
        is_own = is_own || (conn->names[i] && is_same_file(conn->names[i], path));
    return is_own || is_same_file(workers, path);
}

/* A log beside the path would be played over the copy by whoever opens it; and where one is, a database is in use. */
static bool has_log(const char *path) {
    static const char *const logs[] = { "-wal", "-journal" };
    char name[4096];
    bool found = false;
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%s", path, logs[i]);
        found = found || access(name, F_OK) == 0;
    }
    return found;
}

/* Opens the file only to look into it: SQLite takes no lock, and leaves no log beside it, come what may. */
static int open_to_look(const char *path, sqlite3 **db) {
    static const char SCHEME[] = "file:", QUERY[] = "?immutable=1", DIGITS[] = "0123456789ABCDEF";
    char *uri = pl__alloc(sizeof SCHEME + 3 * strlen(path) + sizeof QUERY), *end = uri;
    if (!uri)
        return SQLITE_NOMEM;
    end = stpcpy(end, SCHEME);
    for (const unsigned char *at = (const unsigned char *)path; *at; at++) {
        *end++ = '%';
        *end++ = DIGITS[*at >> 4];
        *end++ = DIGITS[*at & 15];
    }
    stpcpy(end, QUERY);
    int rc = sqlite3_open_v2(uri, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    pl__free(uri);
    return rc;
}

/* Whether something is at the path that is no store: what somebody would miss. */
static int find_foreign(const char *path, bool *is_foreign) {
    static const char QUERY[] = "SELECT 1 FROM main.sqlite_schema WHERE name = 'pl_meta'";
    struct stat facts;
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    *is_foreign = false;
    if (stat(path, &facts) != 0 || facts.st_size == 0)
        return PL_OK;
    int rc = open_to_look(path, &db);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, QUERY, -1, &row, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    sqlite3_finalize(row);
    sqlite3_close_v2(db);
    *is_foreign = rc != SQLITE_ROW;
    return is_memory_short(rc) ? PL_ENOMEM : PL_OK;
}

/* The part is empty, and is ours alone until the lock is closed. Sets errno: EBUSY, another backup has it. */
static int make_part(const pl__conn_t *conn, pl__backup_t *backup) {
    mode_t mode = conn->options.file_mode ? (mode_t)conn->options.file_mode : 0600;
    for (;;) {
        struct stat own, named;
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKED_AT, .l_len = 1 };
        int fd = pl__unshared_open(&backup->lock, backup->part, O_RDWR | O_CREAT, mode);
        if (fd < 0)
            return -1;
        if (fcntl(fd, F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES)) {
            pl__unshared_close(&backup->lock);
            errno = EBUSY;
            return -1;
        }
        /* the one who had it before may have renamed or deleted it */
        if (fstat(fd, &own) == 0 && stat(backup->part, &named) == 0 && own.st_dev == named.st_dev &&
            own.st_ino == named.st_ino) {
            (void)fchmod(fd, mode);
            return ftruncate(fd, 0);
        }
        pl__unshared_close(&backup->lock);
    }
}

static int open_copy(const pl__conn_t *conn, pl__backup_t *backup) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int rc = sqlite3_open_v2(conn->names[0], &backup->from, flags, conn->options.vfs);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(backup->from, "BEGIN; SELECT count(*) FROM main.sqlite_schema", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_open_v2(backup->part, &backup->to, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(backup->to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);
    if (rc == SQLITE_OK && !(backup->copy = sqlite3_backup_init(backup->to, "main", backup->from, "main")))
        rc = sqlite3_errcode(backup->to);
    return rc;
}

static int refuse_part(pl_op_t *op, const char *path) {
    if (errno == EBUSY)
        return refuse(op, PL_EBUSY, path, "another backup to it is under way");
    return refuse(op, errno == EACCES || errno == EROFS ? PL_EREADONLY : PL_EIO, path, strerror(errno));
}

static int start(pl__conn_t *conn, pl_op_t *op, pl__backup_t **out) {
    pl__backup_t *backup = *out = pl__alloc(sizeof *backup);
    if (!backup)
        return PL_ENOMEM;
    backup->lock = PL__UNSHARED_NONE;
    backup->next = conn->backups;
    conn->backups = backup;
    int rc = set_paths(backup, op->u.backup.path);
    if (rc != PL_OK)
        return rc;
    if (is_own_file(conn, backup->path) || is_own_file(conn, backup->part))
        return refuse(op, PL_EINVAL, backup->path, "it is a file of this store");
    if (has_log(backup->path))
        return refuse(
            op, PL_EINVAL, backup->path,
            "a log (-wal or -journal) lies beside it: it is a database in use, or was one when it was killed");
    bool is_foreign = false;
    if (op->u.backup.spares)
        PL__TRY(find_foreign(backup->path, &is_foreign));
    if (is_foreign)
        return refuse(op, PL_EINVAL, backup->path, "a file of that name is there, and is no copy of a store");
    if (make_part(conn, backup) != 0)
        return refuse_part(op, backup->path);
    int sqlite_rc = conn->names[0] ? open_copy(conn, backup) : SQLITE_OK;
    return sqlite_rc == SQLITE_OK ? PL_OK : refuse_sqlite(op, sqlite_rc, backup->path);
}

/* ---- portions ---------------------------------------------------------------------------------------------- */

static int sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

/* The whole copy is on disk before it has its name, and the name before anybody is told. */
static int give_name(pl__backup_t *backup, pl_op_t *op) {
    if (sync_path(backup->part, O_RDWR) != 0 || rename(backup->part, backup->path) != 0 ||
        sync_path(dirname(backup->part), O_RDONLY | O_DIRECTORY) != 0)
        return refuse(op, PL_EIO, backup->path, strerror(errno));
    return PL_OK;
}

static int conclude(pl__backup_t *backup, pl_op_t *op) {
    int rc = sqlite3_backup_finish(backup->copy);
    backup->copy = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_close(backup->to);
    if (rc != SQLITE_OK)
        return refuse_sqlite(op, rc, backup->path);
    backup->to = NULL;
    return give_name(backup, op);
}

/* A database in memory has one connection, which is in a transaction: it is written as it is, in one portion. */
static int copy_memory(pl__conn_t *conn, pl__backup_t *backup, pl_op_t *op) {
    sqlite3_int64 size = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    unsigned char *bytes = sqlite3_serialize(conn->db, "main", &size, 0);
    if (!bytes)
        return PL_ENOMEM;
    FILE *file = fopen(backup->part, "wb");
    bool written = file && fwrite(bytes, 1, (size_t)size, file) == (size_t)size;
    written = (!file || fclose(file) == 0) && written;
    sqlite3_free(bytes);
    return written ? give_name(backup, op) : refuse(op, PL_EIO, backup->path, strerror(errno));
}

static int copy_some(pl__backup_t *backup, pl_op_t *op) {
    int rc = sqlite3_backup_step(backup->copy, op->u.backup.pages);
    op->u.backup.left = sqlite3_backup_remaining(backup->copy);
    op->u.backup.total = sqlite3_backup_pagecount(backup->copy);
    if (rc == SQLITE_DONE)
        return conclude(backup, op);
    if (op->u.backup.left <= 0)
        op->u.backup.left = 1; /* it could not begin yet */
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return PL_OK;
    return refuse_sqlite(op, rc, backup->path);
}

int pl__verb_backup(pl__conn_t *conn, pl_op_t *op) {
    int rc = PL_OK;
    pl__backup_t *backup = conn->backups;
    while (backup && !pl_str_eq(pl_str(backup->path), op->u.backup.path))
        backup = backup->next;
    if (op->u.backup.pages <= 0) { /* nobody will go on */
        if (backup)
            drop(conn, backup);
        return PL_OK;
    }
    if (!backup)
        rc = start(conn, op, &backup);
    if (backup)
        backup->touched = pl_clock_monotonic_us();
    bool is_last = false;
    if (rc == PL_OK && op->rc == PL_OK) {
        rc = conn->names[0] ? copy_some(backup, op) : copy_memory(conn, backup, op);
        is_last = op->u.backup.left == 0;
    }
    if (rc == PL_OK && op->rc == PL_OK && is_last)
        forget(conn, backup);
    else if (backup && (rc != PL_OK || op->rc != PL_OK))
        drop(conn, backup);
    return rc;
}
