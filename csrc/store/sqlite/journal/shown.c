/*
 * shown.c - what durable functions show to the outside, and what they send: written with their journals, and read by
 * whoever wants it (verb shown_get).
 *
 * All of it is written at the end of a transaction of the function, and may be written again by its next life: an
 * answer that is there stays, a chunk is known by its source, a value takes the place of the same.
 */
#include "store/sqlite/db.h"

/* ---- writing ----------------------------------------------------------------------------------------------- */

static int write_answer(pl__conn_t *conn, pl_id_t stage, const pl_answer_new_t *answer) {
    PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_ANSWER, NULL, "iiib", (int64_t)stage, answer->mail, (int64_t)answer->reply,
                        answer->value));
    return pl__sql_run(conn, PL__SQL_MAIL_FORGET, NULL, "ii", (int64_t)stage, answer->mail);
}

static int write_chunk(pl__conn_t *conn, pl_id_t stage, pl_chunk_new_t *chunk) {
    int64_t has;
    int added;
    PL__TRY(
        pl__sql_int(conn, PL__SQL_CHUNK_HAS, &has, 0, "itti", (int64_t)stage, chunk->stream, chunk->source, chunk->k));
    if (has)
        return PL_OK;
    int64_t limit = chunk->value.ptr ? PL_CHUNKS_MAX - 1 : PL_CHUNKS_MAX; /* there is room for the end */
    PL__TRY(pl__sql_run(conn, PL__SQL_CHUNK_ADD, &added, "ittiibi", (int64_t)stage, chunk->stream, chunk->source,
                        chunk->k, (int64_t)conn->now, chunk->value, limit));
    chunk->is_refused = !added;
    return PL_OK;
}

int pl__shown_write(pl__conn_t *conn, pl_id_t stage, const pl_journal_t *journal) {
    for (size_t i = 0; i < journal->answers_len; i++)
        PL__TRY(write_answer(conn, stage, &journal->answers[i]));
    for (size_t i = 0; i < journal->values_len; i++)
        PL__TRY(pl__sql_run(conn, PL__SQL_VALUE_SET, NULL, "itib", (int64_t)stage, journal->values[i].name,
                            (int64_t)conn->now, journal->values[i].value));
    for (size_t i = 0; i < journal->chunks_len; i++)
        PL__TRY(write_chunk(conn, stage, &journal->chunks[i]));
    for (size_t i = 0; i < journal->mails_len; i++)
        PL__TRY(pl__mail_post(conn, &journal->mails[i]));
    const pl_status_t *status = journal->status;
    if (status)
        PL__TRY(pl__sql_run(conn, PL__SQL_STATUS_SET, NULL, "iittb", (int64_t)stage,
                            (int64_t)(status->time ? status->time : conn->now), status->message, status->console_url,
                            status->links));
    if (journal->answers_len || journal->values_len || journal->chunks_len)
        conn->notify = true; /* somebody in another process may wait for it */
    return PL_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static int get_value(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_VALUE_GET, &row, "it", (int64_t)get->stage, get->name));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    get->time = sqlite3_column_int64(row, 1);
    int rc = pl__sql_str(row, 0, &op->arena, &get->value);
    pl__sql_end(row);
    return rc;
}

static int read_chunk(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_stream_chunk_t *chunk = item;
    (void)conn;
    *chunk = (pl_stream_chunk_t){ .n = sqlite3_column_int64(row, 0), .time = sqlite3_column_int64(row, 2) };
    return pl__sql_str(row, 1, arena, &chunk->value);
}

static int get_chunks(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_CHUNKS, &row, "itii", (int64_t)get->stage, get->stream, get->from,
                          (int64_t)get->limit));
    get->chunks = pl__sql_list(conn, row, &op->arena, read_chunk, sizeof(pl_stream_chunk_t), &get->len, &rc);
    return rc;
}

static int get_reply(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_MAIL_REPLY, &row, "ii", (int64_t)get->stage, get->mail));
    PL__TRY(pl__sql_step(conn, row, &get->has_mail));
    if (!get->has_mail)
        return PL_OK;
    get->reply = (pl_reply_t)sqlite3_column_int(row, 0);
    int rc = pl__sql_str(row, 1, &op->arena, &get->answer);
    pl__sql_end(row);
    return rc;
}

static int get_forks(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_FORKS, &row, "i", (int64_t)get->stage));
    get->forks = pl__sql_list(conn, row, &op->arena, pl__sql_read_id, sizeof(pl_id_t), &get->forks_len, &rc);
    return rc;
}

static int read_value_name(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_shown_name_t *value = item;
    (void)conn;
    *value = (pl_shown_name_t){ .time = sqlite3_column_int64(row, 1), .size = sqlite3_column_int64(row, 2) };
    PL__TRY(pl__sql_str(row, 0, arena, &value->name));
    return pl__sql_str(row, 3, arena, &value->value);
}

/* The first stream behind that name; its name stays absent if there is none. */
static int next_stream(pl__conn_t *conn, pl_op_t *op, pl_str_t before, pl_shown_name_t *stream) {
    pl_id_t stage = op->u.shown_get.stage;
    sqlite3_stmt *row;
    bool found;
    *stream = (pl_shown_name_t){ .size = 0 };
    PL__TRY(pl__sql_query(conn, PL__SQL_STREAM_NEXT, &row, "it", (int64_t)stage, before));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, &op->arena, &stream->name);
    pl__sql_end(row);
    PL__TRY(rc);
    PL__TRY(pl__sql_query(conn, PL__SQL_STREAM_LAST, &row, "it", (int64_t)stage, stream->name));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    stream->is_closed = sqlite3_column_int(row, 1) != 0;
    stream->size = sqlite3_column_int64(row, 0) + !stream->is_closed;
    stream->time = sqlite3_column_int64(row, 2);
    pl__sql_end(row);
    return PL_OK;
}

static int get_names(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_VALUES, &row, "iii", (int64_t)get->stage, (int64_t)PL_SHOWN_BYTES_MAX,
                          (int64_t)PL_SHOWN_NAMES_MAX));
    get->values = pl__sql_list(conn, row, &op->arena, read_value_name, sizeof(pl_shown_name_t), &get->values_len, &rc);
    PL__TRY(rc);
    pl_shown_name_t *streams = pl__arena_get(&op->arena, PL_SHOWN_NAMES_MAX * sizeof *streams);
    if (!streams)
        return PL_ENOMEM;
    pl_str_t before = PL_STR_LIT("");
    size_t len = 0;
    for (; len < PL_SHOWN_NAMES_MAX; len++) {
        PL__TRY(next_stream(conn, op, before, &streams[len]));
        before = streams[len].name;
        if (!before.ptr)
            break;
    }
    get->streams = streams;
    get->streams_len = len;
    return PL_OK;
}

int pl__verb_shown_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    pl__flow_state_t flow;
    int64_t state;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)get->stage));
    PL__TRY(pl__flow_state(conn, get->stage, &flow));
    if (state < 0 || !flow.found) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    get->state = (pl_stage_state_t)state;
    if (get->name.ptr)
        PL__TRY(get_value(conn, op));
    if (get->stream.ptr)
        PL__TRY(get_chunks(conn, op));
    if (get->wants_forks)
        PL__TRY(get_forks(conn, op));
    if (get->wants_names)
        PL__TRY(get_names(conn, op));
    return get->mail ? get_reply(conn, op) : PL_OK;
}

int pl__verb_flows_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_flows_get_t *get = &op->u.flows_get;
    sqlite3_stmt *row;
    bool found;
    *get = (pl_op_flows_get_t){ .bytes = 0 };
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOWS_COUNT, &row, ""));
    PL__TRY(pl__sql_step(conn, row, &found));
    while (found) {
        get->counts[sqlite3_column_int(row, 0) & 3] += sqlite3_column_int64(row, 1);
        get->bytes += sqlite3_column_int64(row, 2);
        PL__TRY(pl__sql_step(conn, row, &found));
    }
    return PL_OK;
}

int pl__verb_flows_list(pl__conn_t *conn, pl_op_t *op) {
    pl_op_flows_list_t *list = &op->u.flows_list;
    sqlite3_stmt *row;
    int rc;
    if (list->held) {
        pl_id_t before = list->after ? list->after : INT64_MAX;
        PL__TRY(pl__sql_query(conn, PL__SQL_FLOWS_HELD, &row, "ii", (int64_t)before, (int64_t)list->limit));
    } else {
        PL__TRY(pl__sql_query(conn, PL__SQL_FLOWS_LIVE, &row, "ii", (int64_t)list->after, (int64_t)list->limit));
    }
    list->ids = pl__sql_list(conn, row, &op->arena, pl__sql_read_id, sizeof(pl_id_t), &list->len, &rc);
    return rc;
}

/* ---- forks ------------------------------------------------------------------------------------------------- */

static int copy(pl__conn_t *conn, const pl_op_fork_t *fork) {
    static const pl__sql_t PARTS[] = { PL__SQL_FORK_FLOW, PL__SQL_FORK_ENTRIES, PL__SQL_FORK_LARGE };
    int64_t id = fork->start->id;
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        PL__TRY(pl__sql_run(conn, PARTS[i], NULL, "iii", id, (int64_t)fork->stage, fork->before));
    if (!fork->mails)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_FORK_MAILS, NULL, "ii", id, (int64_t)fork->stage));
    return pl__sql_run(conn, PL__SQL_FORK_MAILED, NULL, "i", id);
}

int pl__verb_fork(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_fork_t *fork = &op->u.fork;
    pl__flow_state_t flow;
    int64_t taken = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__flow_state(conn, fork->stage, &flow));
    if (fork->start->key.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &taken, 0, "b", fork->start->key));
    op->rc = !flow.found ? PL_ENOTFOUND : taken ? PL_EEXISTS : PL_OK;
    if (op->rc != PL_OK)
        return PL_OK;
    PL__TRY(pl__stage_insert(conn, fork->start, fork->start->id, 0, 0, 0));
    PL__TRY(pl__stage_rows_flush(conn));
    return copy(conn, fork);
}
