/*
 * check.c - the verb check: whether the file is what it should be.
 *
 * Part 0 compares the schema (schema.c), the last ones let SQLite look at its pages and foreign keys; those between are
 * the rules that the verbs keep and no constraint can state, each a query for what breaks it (PL__CHECKS in checks.h).
 * Every part is one look at one moment: a rule holds after each commit, so work that goes on does not break it.
 */
#include <stdio.h>
#include <string.h>

#include "store/sqlite/checks.h"
#include "store/sqlite/db.h"

enum { FOUND_MAX = 20, TEXT_SIZE = 240 };

static const struct {
    const char *title, *sql;
} checks[] = {
#define X(title, sql) { title, sql },
    PL__CHECKS(X)
#undef X
};

enum { CHECKS = sizeof checks / sizeof *checks, PART_SCHEMA = 0, PART_PAGES = CHECKS + 1, PART_KEYS, PARTS };

typedef struct {
    pl__arena_t *arena;
    pl__buf_t list;
    size_t len;
} found_t;

static int add(found_t *found, const char *text) {
    pl_str_t copy;
    PL__TRY(pl__arena_copy(found->arena, pl_str(text), &copy));
    pl__buf_add(&found->list, &copy, sizeof copy);
    found->len++;
    return found->list.rc;
}

static int add_cb(void *data, const char *text, bool *stop) {
    found_t *found = data;
    char line[TEXT_SIZE];
    *stop = found->len + 1 >= FOUND_MAX;
    snprintf(line, sizeof line, "schema: %s", text);
    return add(found, line);
}

/* One line for each row: its first column, behind the title. */
static int add_rows(pl__conn_t *conn, sqlite3_stmt *row, const char *title, found_t *found) {
    char line[TEXT_SIZE];
    int rc = PL_OK, sqlite_rc = SQLITE_DONE;
    while (rc == PL_OK && (sqlite_rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        if (text && strcmp(text, "ok") == 0) /* of PRAGMA integrity_check */
            continue;
        if (found->len == FOUND_MAX)
            return add(found, "... and more of the kind");
        snprintf(line, sizeof line, "%s: %s", title, text ? text : "?");
        rc = add(found, line);
    }
    return rc == PL_OK ? pl__sql_rc(conn, sqlite_rc) : rc;
}

static int run_query(pl__conn_t *conn, const char *title, const char *sql, found_t *found) {
    sqlite3_stmt *row = NULL;
    int rc = pl__sql_rc(conn, sqlite3_prepare_v2(conn->db, sql, -1, &row, NULL));
    if (rc == PL_OK)
        rc = add_rows(conn, row, title, found);
    sqlite3_finalize(row);
    return rc;
}

static int run_part(pl__conn_t *conn, int part, found_t *found) {
    switch (part) {
    case PART_SCHEMA:
        return pl__schema_compare(conn, add_cb, found);
    case PART_PAGES:
        return run_query(conn, "damage", "PRAGMA main.integrity_check(25)", found);
    case PART_KEYS:
        return run_query(conn, "a row without the one it belongs to, in table", "PRAGMA main.foreign_key_check", found);
    default:
        return run_query(conn, checks[part - 1].title, checks[part - 1].sql, found);
    }
}

int pl__verb_check(pl__conn_t *conn, pl_op_t *op) {
    pl_op_check_t *check = &op->u.check;
    found_t found = { .arena = &op->arena };
    if (check->part < 0 || check->part >= PARTS) {
        op->rc = PL_EINVAL;
        return PL_OK;
    }
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    int rc = run_part(conn, check->part, &found);
    if (rc == PL_ECORRUPT) {
        char line[TEXT_SIZE];
        snprintf(line, sizeof line, "damage: %.180s", conn->failure);
        rc = add(&found, line);
    }
    pl_str_t *list = rc == PL_OK ? pl__arena_get(&op->arena, found.list.len + 1) : NULL;
    if (list && found.list.len > 0)
        memcpy(list, found.list.ptr, found.list.len);
    pl__buf_free(&found.list);
    check->found = list;
    check->len = found.len;
    check->next = check->part + 1 < PARTS ? check->part + 1 : 0;
    if (check->part == PART_SCHEMA && found.len > 0) /* the queries are made for the right one */
        check->next = PART_PAGES;
    return rc == PL_OK && !list ? PL_ENOMEM : rc;
}
