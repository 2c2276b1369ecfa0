/*
 * files.c - the files of a database: how they come into being, who may read them, and whether they are still the ones.
 *
 * The file holds the secret that signs requests, and names of functions that are called: it is made for its owner
 * alone. SQLite gives the log and the index of the log the permissions of the file. A database is what its inode is,
 * not its name: symbolic links are followed once, by SQLite, and all other names derive from what it found.
 *
 * The log belongs to a name, and what was acknowledged may be nowhere but there. So the file remembers the name it was
 * last opened by (`home`, in the file itself, not only in the log): under another name it is opened only if no log is
 * left behind at home.
 *
 * Each connection knows the three files it works on, and looks whether their names still lead to them before it begins
 * to write, before and after it commits. Once they do not, it writes nothing more: also not on closing, where SQLite
 * would move its log into a file, and delete a log, that may be another's by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "store/sqlite/file/locks.h"

enum { MODE_DEFAULT = 0600, MODE_OTHERS = 0077 };
enum { CHECKED_US = 1000 }; /* so long a look at the names is good for a commit that is to come */

enum { FOLDER_US = 100 * 1000, FOLDER_SETTLED_NS = 50 * 1000 * 1000 };

static const char *const SUFFIXES[PL__FILE_NAMES] = { "", "-wal", "-shm" };

static int gone(pl__conn_t *conn, int file) {
    static const char *const WHAT[PL__FILE_NAMES] = { "file", "log beside it (-wal)", "index of its log (-shm)" };
    snprintf(conn->failure, sizeof conn->failure,
             "the %s was moved, deleted or replaced while it was open: nothing is stored any more; open it anew",
             WHAT[file]);
    return PL_EGONE;
}

static bool is_in_memory(const pl_store_options_t *options) {
    return strcmp(options->path, ":memory:") == 0;
}

void pl__file_create(const pl_store_options_t *options) {
    mode_t mode = (options->file_mode ? (mode_t)options->file_mode : MODE_DEFAULT) & 0777;
    struct stat facts;
    if (is_in_memory(options))
        return;
    int fd = open(options->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST && stat(options->path, &facts) != 0) /* a link that leads to no file yet */
        fd = open(options->path, O_RDWR | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0)
        return;
    (void)fchmod(fd, mode); /* whatever the umask says; a file system that has no permissions is warned of */
    close(fd);
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

/* ---- the folder -------------------------------------------------------------------------------------------- */

/*
 * A look at the folder is a third of the work: while its time is that of the last look at all three, no name in it has
 * changed since. Times of files have the grain of a tick, so that time must have been some ticks old then; and only
 * file systems of which this is known are believed.
 */
static bool has_honest_folders(const char *path) {
    static const unsigned long HONEST[] = { 0xEF53 /* ext */,
                                            0x58465342 /* xfs */,
                                            0x9123683E /* btrfs */,
                                            0x01021994 /* tmpfs */,
                                            0xF2F52010 /* f2fs */,
                                            0x794C7630 /* overlay */,
                                            0x2FC12FC1 /* zfs */ };
    struct statfs facts;
    if (statfs(path, &facts) != 0)
        return false;
    for (size_t i = 0; i < sizeof HONEST / sizeof *HONEST; i++)
        if ((unsigned long)facts.f_type == HONEST[i])
            return true;
    return false;
}

static bool is_same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_settled(struct timespec changed) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)(now.tv_sec - changed.tv_sec) * 1000000000 + (now.tv_nsec - changed.tv_nsec);
    return age > FOLDER_SETTLED_NS || age < -FOLDER_SETTLED_NS;
}

static bool is_folder_unchanged(const pl__conn_t *conn, int64_t now) {
    const pl__folder_t *folder = &conn->folder;
    struct stat facts;
    return folder->until > now && stat(folder->path, &facts) == 0 && facts.st_dev == folder->device &&
           facts.st_ino == folder->inode && is_same_time(facts.st_mtim, folder->changed);
}

/* Before the look at the names. */
static void look_at_folder(pl__folder_t *folder, int64_t now) {
    struct stat facts;
    folder->until = 0;
    if (!folder->path || stat(folder->path, &facts) != 0 || !is_settled(facts.st_mtim))
        return;
    folder->device = facts.st_dev;
    folder->inode = facts.st_ino;
    folder->changed = facts.st_mtim;
    folder->until = now + FOLDER_US;
}

/* Without a path the three names are looked at each time. */
static void know_folder(pl__conn_t *conn) {
    const char *end = strrchr(conn->names[0], '/');
    size_t len = end ? (size_t)(end - conn->names[0]) + 1 : 0;
    conn->folder.path = len ? pl__alloc(len + 1) : NULL;
    if (!conn->folder.path)
        return;
    memcpy(conn->folder.path, conn->names[0], len);
    conn->folder.path[len] = 0;
    if (has_honest_folders(conn->folder.path))
        return;
    pl__free(conn->folder.path);
    conn->folder.path = NULL;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

int pl__file_opened(pl__conn_t *conn, const pl__conn_t *writer) {
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
    know_folder(conn);
    if (writer) {
        memcpy(conn->known, writer->known, sizeof conn->known);
        return pl__file_check(conn);
    }
    if (pl__locks_are_stuck(conn->names[2])) {
        snprintf(
            conn->failure, sizeof conn->failure,
            "this process was forked while a transaction, or a backup, was under way on the file, which never ends "
            "here: fork before or after it, or execute a program");
        return PL_EFORK;
    }
    int rc = pl__locks_claim_name(path, &conn->name_file);
    if (rc != PL_OK) {
        snprintf(conn->failure, sizeof conn->failure,
                 "the file is open under another name, a hard link: each name would have a log of its own");
        return rc;
    }
    warn_of_readers(conn);
    return PL_OK;
}

/* ---- home -------------------------------------------------------------------------------------------------- */

/* The name that the file was last opened by; "": none. */
static int read_home(pl__conn_t *conn, char *home, size_t size) {
    sqlite3_stmt *statement = NULL;
    home[0] = 0;
    int sqlite_rc =
        sqlite3_prepare_v2(conn->db, "SELECT value FROM main.pl_meta WHERE key = 'home'", -1, &statement, NULL);
    if (sqlite_rc == SQLITE_ERROR) /* no such table: the file is new */
        return PL_OK;
    if (sqlite_rc == SQLITE_OK)
        sqlite_rc = sqlite3_step(statement);
    if (sqlite_rc == SQLITE_ROW)
        snprintf(home, size, "%.*s", sqlite3_column_bytes(statement, 0),
                 (const char *)sqlite3_column_blob(statement, 0));
    int rc = pl__sql_rc(conn, sqlite_rc);
    sqlite3_finalize(statement);
    return rc;
}

/* Two paths of one name, such as through two mounts. */
static bool is_same_name(const char *a, const char *b) {
    pl__identity_t at_a, at_b;
    return strcmp(pl__locks_split(a, &at_a), pl__locks_split(b, &at_b)) == 0 && at_a.is_known && at_b.is_known &&
           at_a.device == at_b.device && at_a.inode == at_b.inode;
}

int pl__file_check_home(pl__conn_t *conn) {
    char home[4096], log[4096 + sizeof "-wal"];
    struct stat own, there;
    if (!conn->names[0])
        return PL_OK;
    PL__TRY(read_home(conn, home, sizeof home));
    snprintf(log, sizeof log, "%s-wal", home);
    if (!home[0] || strcmp(home, conn->names[0]) == 0 || stat(log, &there) != 0 || there.st_size == 0)
        return PL_OK;
    if (stat(home, &there) != 0) {
        snprintf(conn->failure, sizeof conn->failure,
                 "the file was moved here without its log, in which work may be: move %.80s as well (to this name with "
                 "-wal), or delete it",
                 log);
        return PL_EGONE;
    }
    bool is_other_name = stat(conn->names[0], &own) == 0 && there.st_dev == own.st_dev && there.st_ino == own.st_ino &&
                         !is_same_name(home, conn->names[0]);
    if (is_other_name)
        snprintf(conn->failure, sizeof conn->failure,
                 "the file has another name, a hard link, %.80s, and its log is there: open it by that one", home);
    return is_other_name ? PL_EBUSY : PL_OK;
}

int pl__file_settle(pl__conn_t *conn) {
    char home[4096];
    if (!conn->names[0])
        return PL_OK;
    PL__TRY(read_home(conn, home, sizeof home));
    if (strcmp(home, conn->names[0]) != 0) {
        PL__TRY(pl__sql_run(conn, PL__SQL_META_SET, NULL, "tb", PL_STR_LIT("home"), pl_str(conn->names[0])));
        sqlite3_wal_checkpoint_v2(conn->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* into the file itself */
    }
    for (int i = 0; i < PL__FILE_NAMES; i++)
        if (!pl__locks_identify(conn->names[i], &conn->known[i]))
            return gone(conn, i);
    if (!pl__locks_is_guarded(&conn->known[0]))
        pl_log(conn->options.log, PL_LOG_WARNING,
               "%s: something in this program had the file open by SQLite before this library was loaded, or the "
               "system has no locks of open files: whenever the program closes the file, its locks are lost. Load "
               "this library first",
               conn->names[0]);
    return PL_OK;
}

/* ---- identity ---------------------------------------------------------------------------------------------- */

/* What is in a log that was deleted can still be moved into the file, as long as nobody has written to another log:
 * whoever shares the index of the log with us waits for that meanwhile. */
static void save_log(pl__conn_t *conn) {
    struct stat facts;
    bool is_missing = stat(conn->names[1], &facts) != 0 ? errno == ENOENT : facts.st_size == 0;
    if (is_missing && conn->role == PL__ROLE_WRITER && sqlite3_get_autocommit(conn->db))
        sqlite3_wal_checkpoint_v2(conn->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static bool leads_to(const char *name, const pl__identity_t *known, struct stat *facts) {
    return !known->is_known ||
           (stat(name, facts) == 0 && facts->st_dev == known->device && facts->st_ino == known->inode);
}

int pl__file_check(pl__conn_t *conn) {
    struct stat facts;
    int64_t now = pl_clock_monotonic_us();
    if (conn->checked_at && is_folder_unchanged(conn, now)) {
        conn->checked_at = now;
        return PL_OK;
    }
    look_at_folder(&conn->folder, now);
    int wrong = PL__FILE_NAMES;
    for (int i = PL__FILE_NAMES - 1; i >= 0; i--) {
        if (!leads_to(conn->names[i], &conn->known[i], &facts))
            wrong = i;
        else if (i == 1 && conn->known[i].is_known)
            conn->log.bytes = facts.st_size;
    }
    conn->checked_at = wrong < PL__FILE_NAMES ? 0 : now;
    if (wrong == PL__FILE_NAMES)
        return PL_OK;
    if (wrong == 1 && leads_to(conn->names[2], &conn->known[2], &facts))
        save_log(conn);
    return gone(conn, wrong);
}

int pl__file_check_again(pl__conn_t *conn) {
    int64_t now = conn->checked_at ? pl_clock_monotonic_us() : 0;
    return conn->checked_at && now - conn->checked_at < CHECKED_US ? PL_OK : pl__file_check(conn);
}

void pl__file_closing(pl__conn_t *conn) {
    if (conn->db && pl__file_check(conn) != PL_OK)
        sqlite3_db_config(conn->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

void pl__file_closed(pl__conn_t *conn) {
    for (int i = 0; i < PL__FILE_NAMES; i++)
        pl__free(conn->names[i]);
    pl__free(conn->folder.path);
    pl__unshared_close(&conn->name_file);
}
