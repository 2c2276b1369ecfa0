/*
 * sqlite_memory.c - makes the Nth allocation of SQLite fail. Included by the tests that use it, for each is one file.
 */
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>

static sqlite3_mem_methods sqlite_memory;
static _Atomic long sqlite_memory_countdown;
static _Atomic bool sqlite_memory_hit;

static bool sqlite_memory_fails(void) {
    if (sqlite_memory_countdown <= 0 || --sqlite_memory_countdown > 0)
        return false;
    return sqlite_memory_hit = true;
}

static void *sqlite_memory_malloc(int size) {
    return sqlite_memory_fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_memory_realloc(void *old, int size) {
    return sqlite_memory_fails() ? NULL : sqlite_memory.xRealloc(old, size);
}

/* Before anything else of SQLite is called. */
static void sqlite_memory_replace(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
    sqlite3_mem_methods methods = sqlite_memory;
    methods.xMalloc = sqlite_memory_malloc;
    methods.xRealloc = sqlite_memory_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

static void sqlite_memory_arm(long nth) {
    sqlite_memory_hit = false;
    sqlite_memory_countdown = nth;
}

/* Returns whether one has failed. */
static bool sqlite_memory_disarm(void) {
    sqlite_memory_countdown = 0;
    return sqlite_memory_hit;
}
