/*
 * backup.c - a consistent copy of a live store, in portions.
 *
 * The copy is of one moment: a connection of its own holds a read transaction from the first portion to the last, so
 * that others write on meanwhile (the log cannot be cut until it ends). It is written to `<path>.part`, synced, and
 * takes its name when it is whole: who finds a file of that name has a good one. What a backup that was killed has left
 * is written over by the next one.
 *
 *   first op of a path ──► open, BEGIN ──► some pages ──op──► some pages … ──► all: sync, rename
 *                             └── an error, another path, the end of the connection: the part is deleted
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlite/db.h"

struct pl__backup {
    char *path, *part;
    sqlite3 *from, *to;
    sqlite3_backup *copy;
};

/* ---- starting and ending ----------------------------------------------------------------------------------- */

static void forget(pl__conn_t *conn, pl__backup_t *backup) {
    if (backup->copy)
        sqlite3_backup_finish(backup->copy);
    sqlite3_close_v2(backup->to);
    sqlite3_close_v2(backup->from);
    pl__free(backup->path);
    pl__free(backup->part);
    pl__free(backup);
    conn->backup = NULL;
}

void pl__backup_drop(pl__conn_t *conn) {
    if (!conn->backup)
        return;
    if (conn->backup->part)
        unlink(conn->backup->part);
    forget(conn, conn->backup);
}

static int refuse(pl_op_t *op, int rc, const char *path, const char *why) {
    op->rc = rc;
    PL__FAIL(&op->error, rc, "backup to %.150s: %s", path, why);
    return PL_OK;
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

/* Whether the path is one of the files of the store itself. */
static bool is_own_file(const pl__conn_t *conn, const char *path) {
    struct stat target, own;
    if (stat(path, &target) != 0)
        return false;
    for (int i = 0; i < PL__FILE_NAMES; i++)
        if (conn->names[i] && stat(conn->names[i], &own) == 0 && own.st_dev == target.st_dev &&
            own.st_ino == target.st_ino)
            return true;
    return false;
}

static int make_part(const pl__conn_t *conn, const char *part) {
    mode_t mode = conn->options.file_mode ? (mode_t)conn->options.file_mode : 0600;
    unlink(part);
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return -1;
    (void)fchmod(fd, mode);
    return close(fd);
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

static int start(pl__conn_t *conn, pl_op_t *op) {
    pl_str_t path = op->u.backup.path;
    pl__backup_t *backup = pl__alloc(sizeof *backup);
    if (!backup)
        return PL_ENOMEM;
    conn->backup = backup;
    int rc = set_paths(backup, path);
    if (rc != PL_OK)
        return rc;
    if (is_own_file(conn, backup->path))
        return refuse(op, PL_EINVAL, backup->path, "it is a file of this store");
    if (make_part(conn, backup->part) != 0)
        return refuse(op, errno == EACCES || errno == EROFS ? PL_EREADONLY : PL_EIO, backup->path, strerror(errno));
    int sqlite_rc = conn->names[0] ? open_copy(conn, backup) : SQLITE_OK;
    return sqlite_rc == SQLITE_OK ? PL_OK : refuse(op, PL_EIO, backup->path, sqlite3_errstr(sqlite_rc));
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
static int give_name(pl__conn_t *conn, pl_op_t *op) {
    pl__backup_t *backup = conn->backup;
    if (sync_path(backup->part, O_RDWR) != 0 || rename(backup->part, backup->path) != 0 ||
        sync_path(dirname(backup->part), O_RDONLY | O_DIRECTORY) != 0)
        return refuse(op, PL_EIO, backup->path, strerror(errno));
    forget(conn, backup);
    return PL_OK;
}

static int conclude(pl__conn_t *conn, pl_op_t *op) {
    pl__backup_t *backup = conn->backup;
    int rc = sqlite3_backup_finish(backup->copy);
    backup->copy = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_close(backup->to);
    if (rc != SQLITE_OK)
        return refuse(op, PL_EIO, backup->path, sqlite3_errstr(rc));
    backup->to = NULL;
    return give_name(conn, op);
}

/* A database in memory has one connection, which is in a transaction: it is written as it is, in one portion. */
static int copy_memory(pl__conn_t *conn, pl_op_t *op) {
    sqlite3_int64 size = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    unsigned char *bytes = sqlite3_serialize(conn->db, "main", &size, 0);
    if (!bytes)
        return PL_ENOMEM;
    FILE *file = fopen(conn->backup->part, "wb");
    bool written = file && fwrite(bytes, 1, (size_t)size, file) == (size_t)size;
    written = (!file || fclose(file) == 0) && written;
    sqlite3_free(bytes);
    return written ? give_name(conn, op) : refuse(op, PL_EIO, conn->backup->path, strerror(errno));
}

static int copy_some(pl__conn_t *conn, pl_op_t *op) {
    pl__backup_t *backup = conn->backup;
    int rc = sqlite3_backup_step(backup->copy, op->u.backup.pages);
    op->u.backup.left = sqlite3_backup_remaining(backup->copy);
    op->u.backup.total = sqlite3_backup_pagecount(backup->copy);
    if (rc == SQLITE_DONE)
        return conclude(conn, op);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return PL_OK;
    return refuse(op,
                  rc == SQLITE_FULL    ? PL_EFULL
                  : rc == SQLITE_NOMEM ? PL_ENOMEM
                                       : PL_EIO,
                  backup->path, sqlite3_errstr(rc));
}

int pl__verb_backup(pl__conn_t *conn, pl_op_t *op) {
    pl_str_t path = op->u.backup.path;
    int rc = PL_OK;
    if (conn->backup && !pl_str_eq(pl_str(conn->backup->path), path))
        pl__backup_drop(conn);
    if (!conn->backup)
        rc = start(conn, op);
    if (rc == PL_OK && op->rc == PL_OK)
        rc = conn->names[0] ? copy_some(conn, op) : copy_memory(conn, op);
    if (rc != PL_OK || op->rc != PL_OK)
        pl__backup_drop(conn);
    return rc;
}
