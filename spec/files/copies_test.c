/*
 * copies_test.c - a second copy of SQLite in the process, as a library that was linked with one of its own brings it.
 * It knows nothing of the first, and both are visitors to each other.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "store/store.h"
#include "support/check.h"

enum { VISITS = 3 };

typedef int open_t(const char *, sqlite3 **);
typedef int exec_t(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
typedef int close_t(sqlite3 *);

static char path[] = "/tmp/pipeline-copies-XXXXXX";
static pl_clock_t clock_;

static void wake_cb(void *data) {
    (void)data;
}

static pl_store_t *open_store(void) {
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    CHECK(pl_store_open(&store, &options, &error) == PL_OK);
    return store;
}

static bool has_setting(pl_store_t *store, int number, bool write) {
    char key[20];
    snprintf(key, sizeof key, "setting%d", number);
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    op->u.meta.key = pl_str(key);
    op->u.meta.write = write;
    op->u.meta.value = PL_STR_LIT("1");
    bool ok = pl_store_call(store, op) == PL_OK;
    pl_op_free(op);
    return ok;
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

int main(void) {
    char log[100], command[200];
    struct stat facts;
    void *library = dlmopen(LM_ID_NEWLM, "libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) { /* some sanitizers */
        printf("no second copy of SQLite can be loaded: %s\n", dlerror());
        return check_end();
    }
    open_t *open_copy = (open_t *)symbol(library, "sqlite3_open");
    exec_t *exec_copy = (exec_t *)symbol(library, "sqlite3_exec");
    close_t *close_copy = (close_t *)symbol(library, "sqlite3_close");
    CHECK((void *)open_copy != (void *)sqlite3_open);
    close(mkstemp(path));
    unlink(path);
    snprintf(log, sizeof log, "%s-wal", path);
    pl_clock_init_system(&clock_);
    pl_store_t *store = open_store();
    for (int i = 0; i < VISITS; i++) {
        sqlite3 *db = NULL;
        CHECK(has_setting(store, i, true));
        CHECK(open_copy(path, &db) == SQLITE_OK);
        CHECK(exec_copy(db, "CREATE TABLE IF NOT EXISTS mine (a); INSERT INTO mine VALUES (1)", NULL, NULL, NULL) ==
              SQLITE_OK);
        CHECK(close_copy(db) == SQLITE_OK);
        snprintf(command, sizeof command, "sqlite3 %s .tables >/dev/null", path);
        CHECK(system(command) == 0);
        CHECK(stat(log, &facts) == 0);
    }
    CHECK(has_setting(store, VISITS, true));
    pl_store_close(store);
    CHECK(stat(log, &facts) != 0); /* and nobody is left who would keep it */
    store = open_store();
    for (int i = 0; i <= VISITS; i++)
        CHECK(has_setting(store, i, false));
    pl_store_close(store);
    unlink(path);
    snprintf(log, sizeof log, "%s-workers", path);
    unlink(log);
    return check_end();
}
