/*
 * backup_alloc_test.c - the Nth allocation of SQLite fails while a copy is replaced by a new one: it stays whole, and
 * nothing is left beside it that would refuse the next.
 */
#include <stdlib.h>
#include <unistd.h>

#include "faults/sqlite_memory.c"
#include "store/store.h"
#include "support/check.h"

enum { NTH_MAX = 5000 };

static char folder[] = "/tmp/pipeline-backup-XXXXXX";
static char copy[sizeof folder + 16];

static void wake_cb(void *data) {
    (void)data;
}

/* Beside the copy, or in its place while it is written. */
static bool has(const char *suffix) {
    char name[sizeof copy + 16];
    snprintf(name, sizeof name, "%s%s", copy, suffix);
    return access(name, F_OK) == 0;
}

static int back_up(pl_store_t *store) {
    pl_op_t *op = pl_op_new(PL_VERB_backup);
    op->u.backup.path = pl_str(copy);
    op->u.backup.pages = INT32_MAX;
    op->u.backup.spares = true;
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return rc;
}

static void is_whole(void) {
    sqlite3 *db = NULL;
    CHECK(sqlite3_open_v2(copy, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "SELECT * FROM pl_meta", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

int main(void) {
    char path[sizeof folder + 16], command[100];
    pl_clock_t clock;
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    sqlite_memory_replace();
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/store.db", folder);
    snprintf(copy, sizeof copy, "%s/a%%20?b#c.db", folder); /* what an address would read otherwise */
    pl_clock_init_system(&clock);
    pl_store_options_t options = {
        .path = path, .clock = &clock, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    CHECK(pl_store_open(&store, &options, &error) == PL_OK);
    CHECK(back_up(store) == PL_OK);
    long failed = 0;
    for (long nth = 1; nth <= NTH_MAX && !check_failed; nth++) {
        sqlite_memory_arm(nth);
        int rc = back_up(store);
        bool is_hit = sqlite_memory_disarm();
        if (!is_hit)
            break;
        failed += rc != PL_OK;
        if (rc != PL_OK && rc != PL_ENOMEM)
            printf("allocation %ld: %s\n", nth, pl_result_name(rc));
        CHECK(rc == PL_OK || rc == PL_ENOMEM);
        CHECK(has("") && !has("-wal") && !has("-journal") && !has(".part"));
        is_whole();
    }
    printf("%ld copies failed\n", failed);
    CHECK(failed > 0);
    CHECK(back_up(store) == PL_OK);
    is_whole();
    pl_store_close(store);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    return check_end();
}
