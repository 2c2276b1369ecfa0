/*
 * shown.h - the statements of what durable functions show, and of their forks. Part of statements.h.
 */
#ifndef PL_STORE_SQLITE_JOURNAL_SHOWN_H
#define PL_STORE_SQLITE_JOURNAL_SHOWN_H

/* The last chunk of a stream. */
#define PL__LAST_CHUNK(column)                                                                                         \
    "(SELECT c." column " FROM main.pl_chunk AS c INDEXED BY sqlite_autoindex_pl_chunk_1 WHERE c.stage = ?1 AND "      \
    "c.stream = ?2 ORDER BY c.n DESC LIMIT 1)"

/* Answers to updates without a key are kept for some time; those with one as long as the key. */
#define PL__SHOWN_STATEMENTS(X)                                                                                        \
    X(MAIL_ANSWER,                                                                                                     \
      "UPDATE main.pl_mail SET reply = ?3, answer = ?4 WHERE stage = ?1 AND number = ?2 AND kind = " PL__S_MAIL_UPDATE \
      " AND reply = " PL__S_REPLY_NONE)                                                                                \
    X(MAIL_FORGET,                                                                                                     \
      "DELETE FROM main.pl_mail INDEXED BY sqlite_autoindex_pl_mail_1 WHERE stage = ?1 AND number BETWEEN ?2 - 1100 "  \
      "AND ?2 - 1000 AND kind = " PL__S_MAIL_UPDATE " AND key IS NULL AND reply > " PL__S_REPLY_NONE)                  \
    X(MAIL_BY_KEY,                                                                                                     \
      "SELECT number FROM main.pl_mail INDEXED BY pl_mail_key WHERE stage = ?1 AND name = ?2 AND key = ?3")            \
    X(MAIL_REPLY, "SELECT reply, answer FROM main.pl_mail WHERE stage = ?1 AND number = ?2")                           \
    X(VALUE_SET, "INSERT INTO main.pl_value (stage, name, time, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (stage, "   \
                 "name) DO UPDATE SET time = excluded.time, value = excluded.value")                                   \
    X(VALUE_GET, "SELECT value, time FROM main.pl_value WHERE stage = ?1 AND name = ?2")                               \
    X(VALUES, "SELECT name, time, length(value), CASE WHEN length(value) <= ?2 THEN value END FROM main.pl_value "     \
              "WHERE stage = ?1 AND name > '' ORDER BY name LIMIT ?3") /* '': its trace */                             \
    X(STREAM_NEXT, "SELECT stream FROM main.pl_chunk INDEXED BY sqlite_autoindex_pl_chunk_1 WHERE stage = ?1 AND "     \
                   "stream > ?2 ORDER BY stream LIMIT 1")                                                              \
    X(STREAM_LAST, "SELECT n, value IS NULL, time FROM main.pl_chunk INDEXED BY sqlite_autoindex_pl_chunk_1 WHERE "    \
                   "stage = ?1 AND stream = ?2 ORDER BY n DESC LIMIT 1")                                               \
    X(CHUNK_HAS, "SELECT 1 FROM main.pl_chunk INDEXED BY pl_chunk_source WHERE stage = ?1 AND stream = ?2 AND source " \
                 "= ?3 AND k = ?4")                                                                                    \
    X(CHUNK_ADD, "INSERT INTO main.pl_chunk (stage, stream, n, source, k, time, value) SELECT ?1, ?2, "                \
                 "coalesce(" PL__LAST_CHUNK("n") " + 1, 0), ?3, ?4, ?5, ?6 WHERE coalesce(" PL__LAST_CHUNK(            \
                     "n + (value IS NULL) * 1000000000") ", -1) < ?7")                                                 \
    X(CHUNKS, "SELECT n, value, time FROM main.pl_chunk WHERE stage = ?1 AND stream = ?2 AND n >= ?3 ORDER BY n "      \
              "LIMIT ?4")                                                                                              \
    X(FLOWS_COUNT, "SELECT mode, count(*), coalesce(sum(bytes), 0) FROM main.pl_flow GROUP BY mode")                   \
    X(FLOWS_LIVE,                                                                                                      \
      "SELECT stage FROM main.pl_flow WHERE stage > ?1 AND +mode < " PL__S_MODE_OVER " ORDER BY stage LIMIT ?2")       \
    X(FLOWS_HELD, "SELECT stage FROM main.pl_flow INDEXED BY pl_flow_held WHERE mode = " PL__S_MODE_HELD               \
                  " AND stage < ?1 ORDER BY stage DESC LIMIT ?2")                                                      \
    X(FORKS, "SELECT stage FROM main.pl_flow INDEXED BY pl_flow_forked WHERE forked_from IS NOT NULL AND forked_from " \
             "= ?1 ORDER BY stage LIMIT 100")                                                                          \
    X(FORK_FLOW, "UPDATE main.pl_flow SET (seed, era, first, next, posted, bytes) = (SELECT seed, era, first, next, "  \
                 "posted, bytes FROM main.pl_flow WHERE stage = ?2), forked_from = ?2, forked_at = ?3 WHERE stage = "  \
                 "?1")                                                                                                 \
    X(FORK_ENTRIES,                                                                                                    \
      "INSERT INTO main.pl_journal (stage, seq, done, kind, state, path, name, nth, line, opened, closed, attempt, "   \
      "due, ref, large, value) SELECT ?1, seq, done, kind, state, path, name, nth, line, opened, closed, attempt, "    \
      "due, ref, large, value FROM main.pl_journal INDEXED BY pl_journal_stage WHERE stage = ?2 AND seq < ?3 AND NOT " \
      "(state = " PL__S_ENTRY_CANCELLED " AND done > ?3)")                                                             \
    X(FORK_LARGE,                                                                                                      \
      "INSERT INTO main.pl_journal_large (stage, seq, value) SELECT ?1, seq, value FROM "                              \
      "main.pl_journal_large AS l INDEXED BY pl_journal_large_stage WHERE stage = ?2 AND seq < ?3 AND EXISTS "         \
      "(SELECT 1 FROM main.pl_journal AS j INDEXED BY pl_journal_stage WHERE j.stage = ?1 AND j.seq = l.seq "          \
      "AND j.large)")                                                                                                  \
    X(FORK_MAILS, "INSERT INTO main.pl_mail (stage, number, kind, name, key, time, value) SELECT ?1, number, kind, "   \
                  "name, key, time, value FROM main.pl_mail INDEXED BY pl_mail_new WHERE stage = ?2 AND taken = 0 "    \
                  "AND kind = " PL__S_MAIL_SIGNAL)                                                                     \
    X(FORK_MAILED, "UPDATE main.pl_flow SET mails = (SELECT count(*) FROM main.pl_mail INDEXED BY pl_mail_new WHERE "  \
                   "stage = ?1 AND taken = 0) WHERE stage = ?1")

#endif
