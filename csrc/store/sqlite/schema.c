/*
 * schema.c - the schema of a file: brought up to date when it is opened, and compared with what its version says.
 *
 * What it should be is found by making it: the migrations run in a database in memory. What differs is said in words:
 * a table that is a view, a column that is gone, a rule that is not there, something foreign on a table of ours that
 * could swallow, change or forbid what we write. Then nothing is done with the file, for what is acknowledged might not
 * be there.
 *
 * The comparison takes some milliseconds, so its good end is remembered in pl_meta as a hash over the texts that were
 * compared; opening a file compares again only where the hash differs. While the file is open it is looked at again
 * when somebody else has changed its schema (pl__schema_refresh). Then a trigger that only forbids is let be: what it
 * forbids fails with its words, and nothing gets lost.
 *
 * Statistics. ANALYZE, run by the user or by some tool, writes into sqlite_stat1 how many rows our tables had at that
 * moment, and for ever after SQLite plans by that: a table that had one row then is read from end to end for each row
 * that is looked up. So our tables have no statistics: what is found is deleted when the file is opened and when its
 * schema has changed (SQLite reads statistics with the schema), and everybody is made to read the schema again.
 *
 * Texts are compared by their words: white space, comments, quotes around names and capitals do not count.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/sqlite/db.h"

#include "schema.h"

enum { COLUMNS_MAX = 64, FOUND_SIZE = 160 };

/* ---- small helpers ----------------------------------------------------------------------------------------- */

static int prepare(pl__conn_t *conn, sqlite3 *db, sqlite3_stmt **row, char *sql) {
    int rc = sql ? sqlite3_prepare_v2(db, sql, -1, row, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (db == conn->db)
        return pl__sql_rc(conn, rc);
    return rc == SQLITE_OK ? PL_OK : PL_ENOMEM;
}

static int query_int(pl__conn_t *conn, const char *sql, int64_t *value) {
    sqlite3_stmt *row = NULL;
    *value = 0;
    int rc = prepare(conn, conn->db, &row, sqlite3_mprintf("%s", sql));
    if (rc == PL_OK) {
        int sqlite_rc = sqlite3_step(row);
        if (sqlite_rc == SQLITE_ROW)
            *value = sqlite3_column_int64(row, 0);
        rc = pl__sql_rc(conn, sqlite_rc);
    }
    sqlite3_finalize(row);
    return rc;
}

static const char *text_of(sqlite3_stmt *row, int column) {
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text ? text : "";
}

static int newest_version(void) {
    int newest = 0;
    while (pl__schema_steps[newest].sql)
        newest++;
    return pl__schema_steps[newest - 1].version;
}

/* ---- words of a statement ---------------------------------------------------------------------------------- */

static bool is_word(unsigned char c) {
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* Behind white space and comments. */
static const char *skip_blanks(const char *at) {
    for (;;) {
        if (isspace((unsigned char)*at)) {
            at++;
        } else if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            at = end ? end + 2 : at + strlen(at);
        } else {
            return at;
        }
    }
}

/* Behind a quoted name or text, which goes to *out: names without their quotes and in small letters. */
static const char *take_quoted(const char *at, char **out) {
    char close = *at == '[' ? ']' : *at;
    bool is_text = *at == '\'';
    if (is_text)
        *(*out)++ = *at;
    for (at++; *at && (*at != close || (close != ']' && at[1] == close)); at++) {
        if (*at == close && is_text)
            *(*out)++ = *at; /* doubled, and stays so */
        if (*at == close)
            at++;
        *(*out)++ = is_text ? *at : (char)tolower((unsigned char)*at);
    }
    if (is_text)
        *(*out)++ = '\'';
    return *at ? at + 1 : at;
}

/* The words of a statement, one blank between them. Returns owned (sqlite3_free), or NULL. */
static char *words_of(const char *sql) {
    char *words = sqlite3_malloc64(2 * strlen(sql) + 2), *out = words;
    if (!words)
        return NULL;
    for (const char *at = skip_blanks(sql); *at; at = skip_blanks(at)) {
        if (out > words)
            *out++ = ' ';
        if (strchr("'\"`[", *at))
            at = take_quoted(at, &out);
        else if (is_word((unsigned char)*at))
            while (is_word((unsigned char)*at))
                *out++ = (char)tolower((unsigned char)*at++);
        else
            *out++ = *at++;
    }
    *out = 0;
    return words;
}

static int same_words(const char *a, const char *b, bool *same) {
    char *first = words_of(a), *second = words_of(b);
    int rc = first && second ? PL_OK : PL_ENOMEM;
    *same = rc == PL_OK && strcmp(first, second) == 0;
    sqlite3_free(first);
    sqlite3_free(second);
    return rc;
}

/* Whether a trigger does no more than to refuse: BEGIN SELECT RAISE(ABORT, '…'); END. */
static int only_forbids(const char *sql, bool *forbids) {
    static const char *const WAYS[] = { " begin select raise ( abort , '", " begin select raise ( fail , '" };
    char *words = words_of(sql);
    bool had = words;
    *forbids = false;
    for (size_t i = 0; words && i < sizeof WAYS / sizeof *WAYS; i++) {
        const char *at = strstr(words, WAYS[i]);
        if (!at)
            continue;
        at += strlen(WAYS[i]);
        while (*at && (*at != '\'' || at[1] == '\''))
            at += *at == '\'' ? 2 : 1;
        *forbids = *forbids || strcmp(at, "' ) ; end") == 0;
    }
    sqlite3_free(words);
    return had ? PL_OK : PL_ENOMEM;
}

/* ---- the comparison ---------------------------------------------------------------------------------------- */

typedef struct {
    pl__conn_t *conn;
    sqlite3 *expected;
    pl__schema_found_t *found;
    void *data;
    bool stop;    /* found has said so */
    bool lenient; /* triggers that only forbid are let be */
} comparison_t;

static int report(comparison_t *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int report(comparison_t *c, const char *format, ...) {
    char text[FOUND_SIZE];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return c->found(c->data, text, &c->stop);
}

typedef struct {
    int len;
    char *names[COLUMNS_MAX], *texts[COLUMNS_MAX];
} columns_t;

static void columns_free(columns_t *columns) {
    for (int i = 0; i < columns->len; i++) {
        sqlite3_free(columns->names[i]);
        sqlite3_free(columns->texts[i]);
    }
}

static int add_column(columns_t *columns, sqlite3_stmt *row) {
    int at = columns->len;
    if (at == COLUMNS_MAX)
        return PL_OK; /* more than we have: the texts differ, too */
    columns->names[at] = sqlite3_mprintf("%s", text_of(row, 1));
    columns->texts[at] = sqlite3_mprintf("%s%s%s%s%s", text_of(row, 2), sqlite3_column_int(row, 3) ? " NOT NULL" : "",
                                         *text_of(row, 4) ? " DEFAULT " : "", text_of(row, 4),
                                         sqlite3_column_int(row, 5) ? " PRIMARY KEY" : "");
    columns->len++;
    return columns->names[at] && columns->texts[at] ? PL_OK : PL_ENOMEM;
}

static int read_columns(comparison_t *c, sqlite3 *db, const char *table, columns_t *columns) {
    sqlite3_stmt *row = NULL;
    int rc = prepare(c->conn, db, &row, sqlite3_mprintf("PRAGMA main.table_xinfo(\"%w\")", table));
    while (rc == PL_OK && sqlite3_step(row) == SQLITE_ROW)
        rc = add_column(columns, row);
    sqlite3_finalize(row);
    return rc;
}

static int find_column(const columns_t *columns, const char *name) {
    for (int i = 0; i < columns->len; i++)
        if (sqlite3_stricmp(columns->names[i], name) == 0)
            return i;
    return -1;
}

/* *differs: something was reported. */
static int report_columns(comparison_t *c, const char *table, const columns_t *wanted, const columns_t *there,
                          bool *differs) {
    for (int i = 0; i < wanted->len && !c->stop; i++) {
        int at = find_column(there, wanted->names[i]);
        if (at >= 0 && strcmp(wanted->texts[i], there->texts[at]) == 0)
            continue;
        *differs = true;
        PL__TRY(at < 0 ? report(c, "table %s has no column %s", table, wanted->names[i])
                       : report(c, "column %s of table %s is %s, %s expected", wanted->names[i], table,
                                *there->texts[at] ? there->texts[at] : "of no type", wanted->texts[i]));
    }
    for (int i = 0; i < there->len && !c->stop; i++) {
        if (find_column(wanted, there->names[i]) >= 0)
            continue;
        *differs = true;
        PL__TRY(report(c, "table %s has a column %.40s that does not belong to it", table, there->names[i]));
    }
    return PL_OK;
}

static int compare_columns(comparison_t *c, const char *table, bool *differs) {
    columns_t wanted = { 0 }, there = { 0 };
    int rc = read_columns(c, c->expected, table, &wanted);
    if (rc == PL_OK)
        rc = read_columns(c, c->conn->db, table, &there);
    if (rc == PL_OK)
        rc = report_columns(c, table, &wanted, &there, differs);
    columns_free(&wanted);
    columns_free(&there);
    return rc;
}

/* `there` is at the row of the file that has the name of the one `wanted` is at. */
static int compare_found(comparison_t *c, sqlite3_stmt *wanted, sqlite3_stmt *there) {
    const char *type = text_of(wanted, 0), *name = text_of(wanted, 1);
    bool is_table = strcmp(type, "table") == 0, same, differs = false;
    if (strcmp(type, text_of(there, 0)) != 0)
        return report(c, "%s is a %s, a %s is expected", name, text_of(there, 0), type);
    if (is_table)
        PL__TRY(compare_columns(c, name, &differs));
    if (differs)
        return PL_OK;
    PL__TRY(same_words(text_of(wanted, 3), text_of(there, 3), &same));
    if (same)
        return PL_OK;
    return is_table ? report(c, "the constraints of table %s are not those it was made with", name)
                    : report(c, "index %s of table %s is not the one it was made as", name, text_of(wanted, 2));
}

static int compare_one(comparison_t *c, sqlite3_stmt *wanted) {
    sqlite3_stmt *there = NULL;
    int rc = prepare(c->conn, c->conn->db, &there,
                     sqlite3_mprintf("SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE name = %Q "
                                     "COLLATE NOCASE",
                                     text_of(wanted, 1)));
    if (rc == PL_OK) {
        int sqlite_rc = sqlite3_step(there);
        if (sqlite_rc == SQLITE_ROW)
            rc = compare_found(c, wanted, there);
        else if (sqlite_rc == SQLITE_DONE)
            rc = report(c, "%s %s is missing", text_of(wanted, 0), text_of(wanted, 1));
        else
            rc = pl__sql_rc(c->conn, sqlite_rc);
    }
    sqlite3_finalize(there);
    return rc;
}

/* All of ours: tables first. */
static int compare_ours(comparison_t *c) {
    sqlite3_stmt *wanted = NULL;
    int rc = prepare(c->conn, c->expected, &wanted,
                     sqlite3_mprintf("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL "
                                     "ORDER BY type DESC, name"));
    while (rc == PL_OK && !c->stop && sqlite3_step(wanted) == SQLITE_ROW)
        rc = compare_one(c, wanted);
    sqlite3_finalize(wanted);
    return rc;
}

/* ---- what is foreign --------------------------------------------------------------------------------------- */

static int is_expected(comparison_t *c, const char *name, bool *expected) {
    sqlite3_stmt *row = NULL;
    int rc = prepare(c->conn, c->expected, &row, sqlite3_mprintf("SELECT 1 FROM sqlite_schema WHERE name = %Q", name));
    *expected = rc == PL_OK && sqlite3_step(row) == SQLITE_ROW;
    sqlite3_finalize(row);
    return rc;
}

static int report_foreign(comparison_t *c, sqlite3_stmt *row) {
    bool is_trigger = strcmp(text_of(row, 0), "trigger") == 0, fine = false;
    if (!is_trigger)
        PL__TRY(is_expected(c, text_of(row, 1), &fine));
    else if (c->lenient)
        PL__TRY(only_forbids(text_of(row, 3), &fine));
    if (fine)
        return PL_OK;
    return report(c, "%s %.50s on table %s does not belong to the engine", is_trigger ? "trigger" : "unique index",
                  text_of(row, 1), text_of(row, 2));
}

/* Triggers, indexes that would refuse rows, and keys that would keep rows from being deleted. */
static int compare_foreign(comparison_t *c) {
    sqlite3_stmt *row = NULL;
    char table[60];
    int rc = prepare(c->conn, c->conn->db, &row,
                     sqlite3_mprintf("SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE "
                                     "tbl_name LIKE 'pl@_%%' ESCAPE '@' AND (type = 'trigger' OR "
                                     "(type = 'index' AND sql LIKE 'CREATE UNIQUE%%')) ORDER BY type DESC, name"));
    while (rc == PL_OK && !c->stop && sqlite3_step(row) == SQLITE_ROW)
        rc = report_foreign(c, row);
    sqlite3_finalize(row);
    PL__TRY(rc);
    if (!c->stop)
        PL__TRY(pl__guard_find_key(c->conn, table, sizeof table));
    return c->stop || !table[0] ? PL_OK : report(c, "a foreign key of table %s leads to the engine", table);
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

/* The schema as it should be. Returns owned, by *db. */
static int make_expected(sqlite3 **db) {
    int rc = sqlite3_open_v2(":memory:", db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    for (int i = 0; rc == SQLITE_OK && pl__schema_steps[i].sql; i++)
        rc = sqlite3_exec(*db, pl__schema_steps[i].sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? PL_OK : PL_ENOMEM; /* nothing else can fail there */
}

static int compare(pl__conn_t *conn, bool lenient, pl__schema_found_t *found, void *data) {
    comparison_t c = { .conn = conn, .lenient = lenient, .found = found, .data = data };
    int rc = make_expected(&c.expected);
    if (rc == PL_OK)
        rc = compare_ours(&c);
    if (rc == PL_OK && !c.stop)
        rc = compare_foreign(&c);
    sqlite3_close(c.expected);
    return rc;
}

static int read_encoding(pl__conn_t *conn, char *encoding, size_t size) {
    sqlite3_stmt *row = NULL;
    int rc = prepare(conn, conn->db, &row, sqlite3_mprintf("PRAGMA main.encoding"));
    if (rc == PL_OK) {
        int sqlite_rc = sqlite3_step(row);
        snprintf(encoding, size, "%s", sqlite_rc == SQLITE_ROW ? text_of(row, 0) : "");
        rc = pl__sql_rc(conn, sqlite_rc);
    }
    sqlite3_finalize(row);
    return rc;
}

int pl__schema_compare(pl__conn_t *conn, pl__schema_found_t *found, void *data) {
    char encoding[20], text[80];
    bool stop = false;
    PL__TRY(read_encoding(conn, encoding, sizeof encoding));
    if (strcmp(encoding, "UTF-8") != 0) {
        snprintf(text, sizeof text, "its text is in %s, UTF-8 expected", encoding);
        PL__TRY(found(data, text, &stop));
    }
    return stop ? PL_OK : compare(conn, false, found, data);
}

/* FNV-1a over all texts that compare would look at, and the version. */
static int hash_schema(pl__conn_t *conn, int64_t *hash) {
    uint64_t sum = 14695981039346656037U ^ (uint64_t)newest_version();
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__sql_query(conn, PL__SQL_SCHEMA_OURS, &row, ""));
    int rc = pl__sql_step(conn, row, &more);
    while (rc == PL_OK && more) {
        for (int column = 0; column < 4; column++)
            for (const char *at = text_of(row, column);; at++) {
                sum = (sum ^ (unsigned char)*at) * 1099511628211U;
                if (!*at)
                    break;
            }
        rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    *hash = (int64_t)sum;
    return rc;
}

static int first_cb(void *data, const char *text, bool *stop) {
    snprintf(data, FOUND_SIZE, "%s", text);
    *stop = true;
    return PL_OK;
}

static int refuse(pl__conn_t *conn, const char *first) {
    snprintf(conn->failure, sizeof conn->failure, "%s: undo what changed it, or use a backup", first);
    return PL_ESCHEMA;
}

/* ---- statistics ------------------------------------------------------------------------------------------- */

static int has_statistics(pl__conn_t *conn, int64_t *has) {
    *has = 0;
    PL__TRY(
        query_int(conn, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_stat1' AND type = 'table'", has));
    return *has ? query_int(conn, "SELECT EXISTS (SELECT 1 FROM main.sqlite_stat1 WHERE tbl LIKE 'pl@_%' ESCAPE '@')",
                            has)
                : PL_OK;
}

/* In a transaction. A change of the schema that leaves nothing behind makes every other connection read it again, one
 * that is taken back does so for this one. */
static int drop_statistics(pl__conn_t *conn) {
    int64_t has;
    PL__TRY(has_statistics(conn, &has));
    if (!has)
        return PL_OK;
    pl_log(conn->options.log, PL_LOG_INFO, "%s: statistics on tables of the engine were made by ANALYZE: deleted",
           conn->options.path);
    PL__TRY(pl__sql_execute(conn, "DELETE FROM main.sqlite_stat1 WHERE tbl LIKE 'pl@_%' ESCAPE '@';"
                                  "CREATE VIEW main.pl_changed AS SELECT 1; DROP VIEW main.pl_changed;"
                                  "SAVEPOINT pl_again; CREATE VIEW main.pl_changed AS SELECT 1;"
                                  "ROLLBACK TO pl_again; RELEASE pl_again"));
    return query_int(conn, "PRAGMA main.schema_version", &conn->schema_cookie);
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static int read_version(pl__conn_t *conn, int64_t *version) {
    int64_t exists;
    *version = 0;
    PL__TRY(query_int(conn, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'pl_meta'", &exists));
    return exists ? query_int(conn, "SELECT value FROM main.pl_meta WHERE key = 'schema_version'", version) : PL_OK;
}

static int note(pl__conn_t *conn, const char *key, int64_t value) {
    char sql[160];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO main.pl_meta (key, value) VALUES ('%s', %lld)", key,
             (long long)value);
    return pl__sql_execute(conn, sql);
}

static int run_steps(pl__conn_t *conn, int64_t version) {
    for (int i = 0; pl__schema_steps[i].sql; i++) {
        if (pl__schema_steps[i].version <= version)
            continue;
        PL__TRY(pl__sql_execute(conn, pl__schema_steps[i].sql));
        PL__TRY(note(conn, "schema_version", pl__schema_steps[i].version));
    }
    return PL_OK;
}

/* What has just been made need not be compared. */
static int verify(pl__conn_t *conn, bool is_new) {
    char first[FOUND_SIZE] = "";
    int64_t known = 0;
    PL__TRY(hash_schema(conn, &conn->schema_hash));
    PL__TRY(query_int(conn, "PRAGMA main.schema_version", &conn->schema_cookie));
    PL__TRY(query_int(conn, "SELECT value FROM main.pl_meta WHERE key = 'schema_hash'", &known));
    if (known == conn->schema_hash)
        return PL_OK;
    if (!is_new)
        PL__TRY(compare(conn, false, first_cb, first));
    return first[0] ? refuse(conn, first) : note(conn, "schema_hash", conn->schema_hash);
}

/* Tables of ours, but none that says of which version. */
static int refuse_unmarked(pl__conn_t *conn) {
    char first[FOUND_SIZE] = "pl_meta has no schema_version";
    PL__TRY(compare(conn, false, first_cb, first));
    return refuse(conn, first);
}

static int bring_up_to_date(pl__conn_t *conn, pl_error_t *error) {
    int64_t version;
    PL__TRY(read_version(conn, &version));
    if (version > newest_version()) {
        snprintf(conn->failure, sizeof conn->failure, "%s", "newer schema");
        return PL__FAIL(error, PL_ENEWER,
                        "%s: the file has schema version %lld, this library knows up to %d; use a newer library",
                        conn->options.path, (long long)version, newest_version());
    }
    int64_t ours = 0;
    if (version == 0)
        PL__TRY(pl__guard_count_names(conn, &ours));
    if (ours > 0)
        return refuse_unmarked(conn);
    int rc = run_steps(conn, version);
    if (rc == PL_EOTHER && version > 0) {
        char why[FOUND_SIZE];
        snprintf(why, sizeof why, "cannot be brought up to date: %.110s", conn->failure);
        return refuse(conn, why);
    }
    if (rc == PL_OK)
        rc = verify(conn, version == 0);
    return rc == PL_OK ? drop_statistics(conn) : rc;
}

int pl__schema_encoding(pl__conn_t *conn) {
    char encoding[20];
    PL__TRY(read_encoding(conn, encoding, sizeof encoding));
    if (strcmp(encoding, "UTF-8") != 0) {
        snprintf(conn->failure, sizeof conn->failure,
                 "its text is in %s, UTF-8 expected: make a copy with `sqlite3 OLD .dump | sqlite3 NEW`", encoding);
        return PL_ESCHEMA;
    }
    return PL_OK;
}

int pl__schema_require(pl__conn_t *conn) {
    int64_t ours;
    PL__TRY(query_int(conn, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'pl_meta'", &ours));
    if (ours > 0)
        return PL_OK;
    snprintf(conn->failure, sizeof conn->failure, "%s", "the file is no store: it has none of the tables of one");
    return PL_ESCHEMA;
}

int pl__schema_open(pl__conn_t *conn, pl_error_t *error) {
    PL__TRY(pl__sql_execute(conn, "BEGIN IMMEDIATE"));
    int rc = bring_up_to_date(conn, error);
    if (rc == PL_OK)
        rc = pl__sql_execute(conn, "COMMIT");
    if (rc != PL_OK)
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* ---- while it is open -------------------------------------------------------------------------------------- */

/* A newer library may have brought the file to a version that this one does not know: that is its business. */
static int verify_again(pl__conn_t *conn, int64_t hash) {
    char first[FOUND_SIZE] = "";
    int64_t version;
    int rc = query_int(conn, "SELECT value FROM main.pl_meta WHERE key = 'schema_version'", &version);
    if (rc == PL_OK && version > newest_version())
        return PL_OK;
    PL__TRY(compare(conn, true, first_cb, first));
    if (first[0])
        return refuse(conn, first);
    PL__TRY(rc);
    conn->schema_hash = hash;
    return PL_OK;
}

int pl__schema_refresh(pl__conn_t *conn) {
    int64_t cookie, hash;
    PL__TRY(pl__sql_int(conn, PL__SQL_SCHEMA_COOKIE, &cookie, 0, ""));
    if (cookie == conn->schema_cookie)
        return PL_OK;
    PL__TRY(hash_schema(conn, &hash));
    if (hash != conn->schema_hash)
        PL__TRY(verify_again(conn, hash));
    conn->schema_cookie = cookie;
    return drop_statistics(conn);
}
