/*
 * functions_test.c - instr, replace and trim of the user's SQL beside SQLite's own: the same to the byte, whatever the
 * values are: texts of one and of more bytes a character, blobs, numbers, NULL, broken UTF-8, and nothing at all.
 *
 * FUNCTIONS_SEED=n repeats a run.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"
#include "support/check.h"

enum { ROUNDS = 20000, PIECES_MAX = 6 };

static uint64_t random_state;

static unsigned any(unsigned limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % limit;
}

/* Few different pieces, so that one is often found in another. */
static size_t make_bytes(char *out) {
    static const char *const pieces[] = { "a", "b",    "ab",  "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                          " ", "\xa4", "\xc3" };
    size_t len = 0;
    for (unsigned i = any(PIECES_MAX); i > 0; i--) {
        const char *piece = pieces[any(sizeof pieces / sizeof *pieces)];
        memcpy(out + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return len;
}

static void bind_any(sqlite3_stmt *const *both, int place) {
    char bytes[PIECES_MAX * 4];
    size_t len = make_bytes(bytes);
    unsigned kind = any(12);
    int64_t number = any(12);
    for (int i = 0; i < 2; i++) {
        if (kind == 0)
            sqlite3_bind_null(both[i], place);
        else if (kind == 1)
            sqlite3_bind_int64(both[i], place, number);
        else if (kind < 5)
            sqlite3_bind_blob(both[i], place, bytes, (int)len, SQLITE_TRANSIENT);
        else
            sqlite3_bind_text(both[i], place, bytes, (int)len, SQLITE_TRANSIENT);
    }
}

static bool is_same(sqlite3_stmt *ours, sqlite3_stmt *theirs) {
    int type = sqlite3_column_type(theirs, 0), len = sqlite3_column_bytes(theirs, 0);
    if (sqlite3_column_type(ours, 0) != type || sqlite3_column_bytes(ours, 0) != len)
        return false;
    return len == 0 || memcmp(sqlite3_column_blob(ours, 0), sqlite3_column_blob(theirs, 0), (size_t)len) == 0;
}

static void compare(sqlite3 *ours, sqlite3 *theirs, const char *sql, int places) {
    sqlite3_stmt *both[2];
    CHECK(sqlite3_prepare_v2(ours, sql, -1, &both[0], NULL) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(theirs, sql, -1, &both[1], NULL) == SQLITE_OK);
    for (int round = 0; round < ROUNDS; round++) {
        for (int place = 1; place <= places; place++)
            bind_any(both, place);
        int rc = sqlite3_step(both[1]);
        CHECK(sqlite3_step(both[0]) == rc);
        CHECK(rc != SQLITE_ROW || is_same(both[0], both[1]));
        sqlite3_reset(both[0]);
        sqlite3_reset(both[1]);
    }
    sqlite3_finalize(both[0]);
    sqlite3_finalize(both[1]);
}

/* More than fits, and more than one piece that is searched at once. */
static void large(sqlite3 *ours, sqlite3 *theirs) {
    static const char *const queries[] = { "SELECT length(replace(?1, 'ab', 'xyz'))", "SELECT instr(?1, 'ba')",
                                           "SELECT length(replace(?1, 'a', 'xyzxyz'))" };
    enum { LEN = 20000 };
    char *text = pl__alloc(LEN);
    for (int i = 0; i < LEN; i++)
        text[i] = i % 4099 == 7 ? 'b' : 'a';
    sqlite3_limit(ours, SQLITE_LIMIT_LENGTH, 100000);
    sqlite3_limit(theirs, SQLITE_LIMIT_LENGTH, 100000);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        sqlite3_stmt *both[2];
        CHECK(sqlite3_prepare_v2(ours, queries[i], -1, &both[0], NULL) == SQLITE_OK);
        CHECK(sqlite3_prepare_v2(theirs, queries[i], -1, &both[1], NULL) == SQLITE_OK);
        sqlite3_bind_text(both[0], 1, text, LEN, SQLITE_STATIC);
        sqlite3_bind_text(both[1], 1, text, LEN, SQLITE_STATIC);
        int rc = sqlite3_step(both[1]);
        CHECK(sqlite3_step(both[0]) == rc);
        CHECK((rc == SQLITE_ROW) == (i < 2));
        CHECK(rc != SQLITE_ROW || is_same(both[0], both[1]));
        sqlite3_finalize(both[0]);
        sqlite3_finalize(both[1]);
    }
    pl__free(text);
}

int main(void) {
    static const struct {
        const char *sql;
        int places;
    } queries[] = { { "SELECT instr(?1, ?2)", 2 },
                    { "SELECT replace(?1, ?2, ?3)", 3 },
                    { "SELECT trim(?1, ?2)", 2 },
                    { "SELECT ltrim(?1, ?2)", 2 },
                    { "SELECT rtrim(?1, ?2)", 2 } };
    const char *given = getenv("FUNCTIONS_SEED");
    pl__conn_t conn = { 0 };
    sqlite3 *theirs;
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)pl_clock_monotonic_us();
    printf("FUNCTIONS_SEED=%" PRIu64 "\n", random_state);
    CHECK(sqlite3_open(":memory:", &conn.db) == SQLITE_OK && sqlite3_open(":memory:", &theirs) == SQLITE_OK);
    CHECK(pl__guard_functions(&conn) == PL_OK);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        compare(conn.db, theirs, queries[i].sql, queries[i].places);
    large(conn.db, theirs);
    sqlite3_close(conn.db);
    sqlite3_close(theirs);
    return check_end();
}
