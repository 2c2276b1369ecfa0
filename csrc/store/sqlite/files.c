/*
 * files.c - the files of a database: how they come into being, who may read them, and whether they are still the ones.
 *
 * The file holds the secret that signs requests, and names of functions that are called: it is made for its owner
 * alone. SQLite gives the log and the index of the log the permissions of the file. A database is what its inode is,
 * not its name: symbolic links are followed once, by SQLite, and all other names derive from what it found.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "store/sqlite/locks.h"

enum { MODE_DEFAULT = 0600, MODE_OTHERS = 0077 };

static const char *const SUFFIXES[PL__FILE_NAMES] = { "", "-wal", "-shm" };

static bool is_in_memory(const pl_store_options_t *options) {
    return strcmp(options->path, ":memory:") == 0;
}

int pl__file_create(const pl_store_options_t *options) {
    mode_t mode = options->file_mode ? (mode_t)options->file_mode : MODE_DEFAULT;
    if (is_in_memory(options))
        return PL_OK;
    /* SQLite says what is wrong with a path; a file that is there already keeps its permissions. */
    int fd = open(options->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
    if (fd < 0)
        return PL_OK;
    int rc = fchmod(fd, mode & 0777) == 0 ? PL_OK : PL_EIO; /* whatever the umask says */
    close(fd);
    return rc;
}

static void warn_of_readers(const pl__conn_t *conn) {
    struct stat facts;
    if (stat(conn->names[0], &facts) != 0)
        return;
    unsigned open_to = facts.st_mode & MODE_OTHERS & ~(unsigned)conn->options.file_mode;
    if (open_to)
        pl_log(conn->options.log, PL_LOG_WARNING,
               "%s: others than its owner can use the file (mode %04o), which holds the secret that signs requests: "
               "chmod 600 it and the files beside it, or open it with file_mode = \"%03o\" if that is meant",
               conn->names[0], (unsigned)facts.st_mode & 07777, (unsigned)facts.st_mode & 0777);
}

int pl__file_opened(pl__conn_t *conn) {
    const char *path = is_in_memory(&conn->options) ? NULL : sqlite3_db_filename(conn->db, "main");
    if (!path || !path[0])
        return PL_OK;
    for (int i = 0; i < PL__FILE_NAMES; i++) {
        size_t size = strlen(path) + strlen(SUFFIXES[i]) + 1;
        conn->names[i] = pl__alloc(size);
        if (!conn->names[i])
            return PL_ENOMEM;
        snprintf(conn->names[i], size, "%s%s", path, SUFFIXES[i]);
    }
    if (conn->role != PL__ROLE_WRITER)
        return PL_OK;
    int rc = pl__locks_claim_name(path, &conn->name_fd);
    if (rc != PL_OK) {
        snprintf(conn->failure, sizeof conn->failure,
                 "the file is open under another name, a hard link: each name would have a log of its own");
        return rc;
    }
    warn_of_readers(conn);
    return PL_OK;
}

int pl__file_check(pl__conn_t *conn) {
    int rc = PL_OK;
    for (int i = 0; i < PL__FILE_NAMES && rc == PL_OK && conn->names[i]; i++) {
        rc = pl__locks_check(conn->names[i]);
        if (rc != PL_OK)
            snprintf(
                conn->failure, sizeof conn->failure,
                "the %s was moved, deleted or replaced while it was open: nothing is stored any more; open it anew",
                i == 0   ? "file"
                : i == 1 ? "log beside it (-wal)"
                         : "index of its log (-shm)");
    }
    return rc;
}

void pl__file_closed(pl__conn_t *conn) {
    for (int i = 0; i < PL__FILE_NAMES; i++)
        pl__free(conn->names[i]);
    if (conn->name_fd >= 0)
        close(conn->name_fd);
}
