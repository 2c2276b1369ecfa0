/*
 * statements.h - every SQL statement of the store, prepared once at first use.
 *
 * X(name, sql). Parameters are positional; see the caller for their order.
 */
#ifndef PL_STORE_SQLITE_STATEMENTS_H
#define PL_STORE_SQLITE_STATEMENTS_H

#include "store/sqlite/journal/shown.h"
#include "store/sqlite/schedule/statements.h"
#include "store/sqlite/schema/numbers.h"
#include "store/sqlite/view/statements.h"

/* What a stage has mostly, and NULL means in its row. */
#define PL__STAGE_ATTEMPTS 3
#define PL__STAGE_BACKOFF 15.0
#define PL__STAGE_FACTOR 2.0

/* The columns pl__stage_read_row reads, in its order. What an older record does not say has its default. */
#define PL__STAGE_COLUMNS                                                                                              \
    "s.id, s.root, s.parent, s.state, s.flags, s.missing, s.open, s.attempt, s.queue, s.priority, s.class_path, "      \
    "s.args, s.created, CASE s.started WHEN 0 THEN s.created ELSE s.started END, s.finalized, s.inputs, "              \
    "s.after_slots, s.outputs, s.eta, "                                                                                \
    "coalesce(s.max_attempts, " PL__TEXT(PL__STAGE_ATTEMPTS) "), coalesce(s.backoff_seconds, " PL__TEXT(               \
        PL__STAGE_BACKOFF) "), coalesce(s.backoff_factor, " PL__TEXT(PL__STAGE_FACTOR) "), "                           \
                                                                                       "s.timeout, s.base_path, "      \
                                                                                       "s.target, s.key, s.retry_at, " \
                                                                                       "s.retry_message, "             \
                                                                                       "s.abort_message, "             \
                                                                                       "s.abort_requested"
/* Look-ups, and no join: where a table is said to have a single row, SQLite reads all of it for each of the other. */
#define PL__STATUS_COLUMN(name) "(SELECT t." name " FROM main.pl_status AS t WHERE t.stage = s.id)"
#define PL__STATUS_COLUMNS                                                                                             \
    PL__STATUS_COLUMN("time")                                                                                          \
    ", " PL__STATUS_COLUMN("message") ", " PL__STATUS_COLUMN("console_url") ", " PL__STATUS_COLUMN("links")
#define PL__STAGE_WITH_STATUS_BY(index)                                                                                \
    "SELECT " PL__STAGE_COLUMNS ", " PL__STATUS_COLUMNS " FROM main.pl_stage AS s " index " "
#define PL__STAGE_WITH_STATUS PL__STAGE_WITH_STATUS_BY("")

/* A root whose tree is being deleted, see delete.c, is found by nobody. */
#define PL__NOT_DELETED(root) "NOT EXISTS (SELECT 1 FROM main.pl_deletion AS d WHERE d.root = " root ")"

/* The columns pl__task_read_row reads, in its order; and what a task that has it has beside its row. */
#define PL__TASK_COLUMNS                                                                                               \
    "id, kind, queue, name, payload, request, tag, eta, coalesce(first_try, 0), tries, priority, coalesce(status, "    \
    "0), flags"
#define PL__TASK_DETAILS                                                                                               \
    "request, coalesce(deadline, 0), retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses "     \
    "FROM main.pl_task_detail WHERE task = ?1"

/* The columns read_settings of queue.c reads, in its order. */
#define PL__QUEUE_COLUMNS                                                                                              \
    "mode = 'pull', paused, removed, coalesce(rate, -1), coalesce(bucket_size, -1), coalesce(max_concurrent, 0), "     \
    "target, retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses, name"

/* What a worker has claimed beyond its permits waits, whoever has it. */
#define PL__CLAIMED_AHEAD(queue)                                                                                       \
    "coalesce((SELECT sum(max(0, (SELECT count(*) FROM main.pl_task INDEXED BY pl_task_claimed WHERE state "           \
    "= " PL__S_TASK_CLAIMED                                                                                            \
    " AND queue = p.queue AND owner = p.worker) - p.permits)) FROM main.pl_permit AS p WHERE p.queue = " queue         \
    " AND p.permits > 0), 0)"

#define PL__AHEAD_OF_QUEUE PL__CLAIMED_AHEAD("?1")
#define PL__AHEAD_OF_EACH PL__CLAIMED_AHEAD("q.id")

/* Whether the worker ?1 has claimed more of the queue of its tasks (t) than it might execute. */
#define PL__IS_AHEAD                                                                                                   \
    "EXISTS (SELECT 1 FROM main.pl_permit AS p INDEXED BY pl_permit_worker WHERE p.queue = t.queue AND p.worker = ?1 " \
    "AND p.permits > 0)"

/* Of many rows at once, see bulk.c: how many a statement writes, and how many ids it names. */
#define PL__BULK_ROWS 16
#define PL__BULK_IDS 32
#define PL__FOUR(text) text "," text "," text "," text
#define PL__SIXTEEN(text) PL__FOUR(text) "," PL__FOUR(text) "," PL__FOUR(text) "," PL__FOUR(text)
#define PL__STAGE_ROWS 8
#define PL__EIGHT(text) PL__FOUR(text) "," PL__FOUR(text)
#define PL__STAGE_ROW "(?,?,?,?,?,?,0,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
#define PL__STAGE_ROW_COLUMNS                                                                                          \
    "INSERT INTO main.pl_stage (id, root, parent, state, flags, missing, open, queue, priority, class_path, args, "    \
    "created, started, inputs, after_slots, outputs, eta, max_attempts, backoff_seconds, backoff_factor, timeout, "    \
    "base_path, target, key, max_losses, waiter) VALUES "
#define PL__TASK_ROW "(?,?,?,?,?,?,?,?,?,?,?,?)"
#define PL__TASK_ROW_COLUMNS                                                                                           \
    "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta, claim, owner, name, payload, request, tag) "     \
    "VALUES "

#define PL__STATEMENTS(X)                                                                                              \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                                  \
    X(BEGIN_READ, "BEGIN")                                                                                             \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(COMMIT, "COMMIT")                                                                                                \
    /* around statements of the user; a foreign key into ours would make our deletions fail */                         \
    X(USER_SAVE, "SAVEPOINT pl_user")                                                                                  \
    X(USER_BACK, "ROLLBACK TO pl_user")                                                                                \
    X(USER_KEEP, "RELEASE pl_user")                                                                                    \
    X(NAMES_OURS, "SELECT count(*) FROM main.sqlite_schema WHERE name LIKE 'pl@_%' ESCAPE '@' OR tbl_name LIKE "       \
                  "'pl@_%' ESCAPE '@'")                                                                                \
    X(NAMES_OURS_TEMP, "SELECT count(*) FROM temp.sqlite_schema WHERE name LIKE 'pl@_%' ESCAPE '@' OR tbl_name LIKE "  \
                       "'pl@_%' ESCAPE '@'")                                                                           \
    X(TABLES_NAMING_OURS, "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'pl@_%' ESCAPE " \
                          "'@' AND sql LIKE '%pl@_%' ESCAPE '@'")                                                      \
    X(SCHEMA_OURS,                                                                                                     \
      "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE name LIKE 'pl@_%' ESCAPE '@' OR tbl_name LIKE "  \
      "'pl@_%' ESCAPE '@' OR (type = 'table' AND sql LIKE '%pl@_%' ESCAPE '@') ORDER BY name")                         \
    X(SCHEMA_COOKIE, "PRAGMA main.schema_version")                                                                     \
    /* meta, queues, workers */                                                                                        \
    X(META_GET, "SELECT value FROM main.pl_meta WHERE key = ?1")                                                       \
    X(META_SET, "INSERT INTO main.pl_meta (key, value) VALUES (?1, ?2) "                                               \
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value")                                              \
    X(META_ADD, "INSERT INTO main.pl_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING")                  \
    X(DATA_VERSION, "PRAGMA data_version")                                                                             \
    X(QUEUES,                                                                                                          \
      "SELECT id, name, mode = 'pull', paused, removed, rate, coalesce(bucket_size, 5), "                              \
      "coalesce(max_concurrent, 0), retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses, "     \
      "target "                                                                                                        \
      "FROM main.pl_queue ORDER BY id")                                                                                \
    X(QUEUE_ADD, "INSERT INTO main.pl_queue (name) VALUES (?1)")                                                       \
    X(QUEUE_REVIVE, "UPDATE main.pl_queue SET removed = 0 WHERE id = ?1")                                              \
    X(QUEUE_SET,                                                                                                       \
      "UPDATE main.pl_queue SET removed = 0, mode = CASE WHEN ?2 THEN 'pull' ELSE 'push' END, paused = ?3, "           \
      "tokens = CASE WHEN rate IS NOT NULL THEN tokens END, rate = ?4, bucket_size = ?5, "                             \
      "max_concurrent = ?6, target = ?7, retry_limit = ?8, age_limit = ?9, min_backoff = ?10, "                        \
      "max_backoff = ?11, max_doublings = ?12, max_losses = ?13 WHERE id = ?1")                                        \
    X(QUEUE_GET, "SELECT " PL__QUEUE_COLUMNS " FROM main.pl_queue WHERE name = ?1")                                    \
    X(QUEUE_LIST, "SELECT " PL__QUEUE_COLUMNS " FROM main.pl_queue WHERE NOT removed ORDER BY name")                   \
    X(QUEUE_REMOVE,                                                                                                    \
      "UPDATE main.pl_queue SET removed = 1, mode = 'push', paused = 0, rate = NULL, bucket_size = NULL, "             \
      "max_concurrent = NULL, target = NULL, retry_limit = NULL, age_limit = NULL, min_backoff = NULL, "               \
      "max_backoff = NULL, max_doublings = NULL, max_losses = NULL WHERE id = ?1")                                     \
    X(QUEUE_HAS_TASKS, "SELECT EXISTS (SELECT 1 FROM main.pl_task WHERE queue = ?1 AND kind >= " PL__S_KIND_PUSH       \
                       " AND state < " PL__S_TASK_DEAD ")")                                                            \
    X(QUEUE_TOKENS, "SELECT tokens, tokens_time FROM main.pl_queue WHERE id = ?1")                                     \
    X(QUEUE_SET_TOKENS, "UPDATE main.pl_queue SET tokens = ?2, tokens_time = ?3 WHERE id = ?1")                        \
    X(QUEUE_CLAIMS,                                                                                                    \
      "SELECT id, (SELECT count(*) FROM main.pl_task INDEXED BY pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED     \
      " AND queue = ?1 AND owner = w.id), 0, 0 FROM main.pl_worker AS w NOT INDEXED")                                  \
    X(QUEUE_CLAIMS_OF,                                                                                                 \
      "SELECT count(*) FROM main.pl_task INDEXED BY pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED                 \
      " AND queue = ?1 AND owner = ?2")                                                                                \
    /* permits, see permits.c */                                                                                       \
    X(PERMITS_ANY, "SELECT EXISTS (SELECT 1 FROM main.pl_permit INDEXED BY pl_permit_worker WHERE worker > 0)")        \
    X(PERMITS_OF_QUEUE, "SELECT worker, permits, waits, asked FROM main.pl_permit WHERE queue = ?1")                   \
    X(PERMITS_OF_WORKER, "SELECT queue, permits, waits, asked FROM main.pl_permit INDEXED BY pl_permit_worker "        \
                         "WHERE worker = ?1")                                                                          \
    X(PERMITS_ASK, "UPDATE main.pl_permit SET asked = 1 WHERE queue = ?1 AND worker <> ?2 AND permits > ?3 AND NOT "   \
                   "asked")                                                                                            \
    X(PERMIT_SET, "INSERT INTO main.pl_permit (queue, worker, permits, waits) SELECT ?1, id, ?3, ?4 FROM "             \
                  "main.pl_worker WHERE id = ?2 ON CONFLICT (queue, worker) DO UPDATE SET permits = "                  \
                  "excluded.permits, waits = excluded.waits, asked = asked AND excluded.permits > 0")                  \
    X(PERMIT_DELETE, "DELETE FROM main.pl_permit WHERE queue = ?1 AND worker = ?2")                                    \
    X(QUEUE_ANY_READY,                                                                                                 \
      "SELECT EXISTS (SELECT 1 FROM main.pl_task INDEXED BY pl_task_ready WHERE state = " PL__S_TASK_READY             \
      " AND queue = ?1)")                                                                                              \
    X(QUEUE_NEXT_READY, "SELECT queue FROM main.pl_task INDEXED BY pl_task_ready WHERE state = " PL__S_TASK_READY      \
                        " AND queue > ?1 ORDER BY queue LIMIT 1")                                                      \
    X(QUEUE_STARTED,                                                                                                   \
      "INSERT INTO main.pl_queue_started (queue, slot, second, started) VALUES (?1, ?2 & " PL__S_STARTED_MASK          \
      ", ?2, ?3) ON CONFLICT (queue, slot) DO UPDATE SET started = excluded.started + CASE second WHEN "               \
      "excluded.second THEN started ELSE 0 END, second = excluded.second")                                             \
    X(QUEUE_STATS,                                                                                                     \
      "SELECT q.id, q.rate, q.paused, (SELECT coalesce(sum(started), 0) FROM main.pl_queue_started WHERE queue = "     \
      "q.id AND second > ?2 - 60), (SELECT count(*) FROM main.pl_task INDEXED BY pl_task_dead WHERE state "            \
      "= " PL__S_TASK_DEAD " AND queue = q.id) FROM main.pl_queue AS q WHERE q.name = ?1 AND NOT q.removed")           \
    X(QUEUE_TASKS, "SELECT count(*), min(CASE WHEN eta <= ?2 THEN eta END), sum(state = " PL__S_TASK_CLAIMED           \
                   " OR (state = " PL__S_TASK_PULL " AND tries > 0 AND eta > ?2)) - " PL__AHEAD_OF_QUEUE               \
                   " FROM main.pl_task WHERE queue = ?1 AND state < " PL__S_TASK_DEAD)                                 \
    X(WORKERS,                                                                                                         \
      "SELECT id, number, pid, lease_until, EXISTS (SELECT 1 FROM main.pl_task INDEXED BY pl_task_claimed WHERE "      \
      "state = " PL__S_TASK_CLAIMED " AND owner = w.id), host || ':' || pid || '#' || id FROM main.pl_worker AS w")    \
    /* how often trees with runs under way were aborted; the runs of a worker that were */                             \
    X(ABORTS, "SELECT value FROM main.pl_meta WHERE key = 'aborts'")                                                   \
    X(ABORTS_COUNT, "INSERT INTO main.pl_meta (key, value) VALUES ('aborts', 1) "                                      \
                    "ON CONFLICT (key) DO UPDATE SET value = value + 1")                                               \
    X(RUNS_ABORTED,                                                                                                    \
      "SELECT t.id FROM main.pl_task AS t INDEXED BY pl_task_claimed WHERE t.state = " PL__S_TASK_CLAIMED              \
      " AND t.owner = ?1 AND t.kind = ?2 AND (SELECT state FROM main.pl_stage WHERE id = t.id) = ?3")                  \
    X(WORKERS_OTHER, "SELECT count(*) FROM main.pl_worker WHERE id <> ?1")                                             \
    X(WORKER_NUMBER_TAKEN, "SELECT 1 FROM main.pl_worker WHERE number = ?1")                                           \
    X(WORKER_NEXT, "INSERT INTO main.pl_meta (key, value) VALUES ('last_worker', 1) "                                  \
                   "ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value")                                \
    X(WORKER_ADD, "INSERT INTO main.pl_worker (id, number, host, pid, started, lease_until, serves, version) "         \
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                                           \
    X(WORKER_DELETE, "DELETE FROM main.pl_worker WHERE id = ?1")                                                       \
    X(WORKER_RENEW, "UPDATE main.pl_worker SET lease_until = ?2 WHERE id = ?1")                                        \
    X(WORKER_HAS, "SELECT 1 FROM main.pl_worker WHERE id = ?1")                                                        \
    X(WORKER_CLAIMS,                                                                                                   \
      "SELECT EXISTS (SELECT 1 FROM main.pl_task INDEXED BY pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED         \
      " AND owner = ?1)")                                                                                              \
    X(GREATEST_ID,                                                                                                     \
      "SELECT max(coalesce((SELECT max(id) FROM main.pl_stage), 0), coalesce((SELECT max(id) FROM main.pl_slot), "     \
      "0), coalesce((SELECT max(id) FROM main.pl_task), 0))")                                                          \
    /* tasks */                                                                                                        \
    X(TASK_ADD, "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta, claim, owner, stage, name, "         \
                "payload, flags, tag) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")                \
    X(TASK_ADD_ROW, PL__TASK_ROW_COLUMNS PL__TASK_ROW)                                                                 \
    X(TASK_ADD_ROWS, PL__TASK_ROW_COLUMNS PL__SIXTEEN(PL__TASK_ROW))                                                   \
    X(TASK_ADD_DETAIL,                                                                                                 \
      "INSERT INTO main.pl_task_detail (task, payload, request, deadline, retry_limit, age_limit, min_backoff, "       \
      "max_backoff, max_doublings, max_losses) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")                      \
    X(TASK_GET_DETAIL, "SELECT payload, " PL__TASK_DETAILS)                                                            \
    X(TASK_SEE_DETAIL, "SELECT substr(payload, 1, ?2), " PL__TASK_DETAILS)                                             \
    X(TASK_DELETE_DETAIL, "DELETE FROM main.pl_task_detail WHERE task = ?1")                                           \
    X(DETAILS_DELETE, "DELETE FROM main.pl_task_detail WHERE task IN (" PL__SIXTEEN("?") "," PL__SIXTEEN("?") ")")     \
    X(TASK_DELETE, "DELETE FROM main.pl_task WHERE id = ?1 RETURNING queue, name, flags")                              \
    X(TASK_DROP, "DELETE FROM main.pl_task WHERE id = ?1")                                                             \
    X(TASK_FINISH_RUN,                                                                                                 \
      "DELETE FROM main.pl_task WHERE id = ?1 AND owner = ?2 AND claim = ?3 AND kind = " PL__S_KIND_RUN)               \
    X(TASK_FINISH, "DELETE FROM main.pl_task WHERE id = ?1 AND owner = ?2 AND claim = ?3")                             \
    X(TASK_OWNER, "SELECT owner, claim, kind, losses IS NOT NULL FROM main.pl_task WHERE id = ?1")                     \
    X(PAGE_COUNT, "PRAGMA main.page_count")                                                                            \
    X(PAGES_FREE, "PRAGMA main.freelist_count")                                                                        \
    X(AUTO_VACUUM, "PRAGMA main.auto_vacuum")                                                                          \
    X(SHRINK, "PRAGMA main.incremental_vacuum(1)")                                                                     \
    X(PAGE_SIZE, "PRAGMA main.page_size")                                                                              \
    X(TASK_CLAIMED, "SELECT EXISTS (SELECT 1 FROM main.pl_task WHERE id = ?1 AND claim = ?2 AND owner IS NOT NULL)")   \
    X(TASK_STATE, "SELECT state FROM main.pl_task WHERE id = ?1")                                                      \
    X(TASK_OF_STAGE,                                                                                                   \
      "SELECT state, eta, queue, (SELECT paused OR coalesce(rate, 1) = 0 FROM main.pl_queue WHERE id = t.queue), "     \
      "(SELECT host || ':' || pid FROM main.pl_worker WHERE id = t.owner), claim FROM main.pl_task AS t WHERE id = "   \
      "?1")                                                                                                            \
    X(TASK_DELAY, "UPDATE main.pl_task SET kind = ?2, state = ?3, eta = ?4, owner = NULL, tries = tries + ?5, "        \
                  "flags = flags | " PL__S_TASK_RETRY ", losses = NULL, alone = NULL WHERE id = ?1")                   \
    X(TASK_READY,                                                                                                      \
      "SELECT id, kind, claim, tries, priority, eta, name, coalesce(stage, id), payload, request, flags, executions, " \
      "coalesce(status, 0) FROM main.pl_task INDEXED BY pl_task_ready WHERE state = " PL__S_TASK_READY                 \
      " AND queue = ?1 ORDER BY priority DESC, eta, id LIMIT ?2")                                                      \
    X(TASK_CLAIM, "UPDATE main.pl_task SET state = " PL__S_TASK_CLAIMED ", owner = ?1, claim = ?2 WHERE id = ?3")      \
    X(TASKS_CLAIM, "UPDATE main.pl_task SET state = " PL__S_TASK_CLAIMED                                               \
                   ", owner = ?1, claim = ?2 WHERE id IN (" PL__SIXTEEN("?") "," PL__SIXTEEN("?") ")")                 \
    X(TASKS_FINISH, "DELETE FROM main.pl_task WHERE owner = ?1 AND claim = ?2 AND id IN (" PL__SIXTEEN(                \
                        "?") "," PL__SIXTEEN("?") ")")                                                                 \
    X(TASKS_FINISH_RUN, "DELETE FROM main.pl_task WHERE owner = ?1 AND claim = ?2 AND kind = " PL__S_KIND_RUN          \
                        " AND id IN (" PL__SIXTEEN("?") "," PL__SIXTEEN("?") ")")                                      \
    X(TASK_SET_KIND, "UPDATE main.pl_task SET kind = ?2, tries = 0 WHERE id = ?1")                                     \
    X(TASK_PROMOTE,                                                                                                    \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY                                                              \
      " WHERE id IN (SELECT id FROM main.pl_task INDEXED BY pl_task_due WHERE state = " PL__S_TASK_DELAYED             \
      " AND eta <= ?1 ORDER BY eta LIMIT ?2)")                                                                         \
    X(TASK_NEXT_DUE, "SELECT eta FROM main.pl_task INDEXED BY pl_task_due WHERE state = " PL__S_TASK_DELAYED           \
                     " AND eta < " PL__S_LAST_TIME " ORDER BY eta LIMIT 1")                                            \
    X(TASK_RELEASE, "UPDATE main.pl_task SET state = " PL__S_TASK_READY                                                \
                    ", owner = NULL WHERE id = ?1 AND state = " PL__S_TASK_CLAIMED " AND owner = ?2 AND claim = ?3")   \
    X(TASK_RELEASE_LATER,                                                                                              \
      "UPDATE main.pl_task SET state = " PL__S_TASK_DELAYED ", eta = ?4, flags = flags | " PL__S_TASK_RETRY            \
      ", owner = NULL WHERE id = ?1 AND state = " PL__S_TASK_CLAIMED " AND owner = ?2 AND claim = ?3")                 \
    X(TASK_LEAVE, "UPDATE main.pl_task INDEXED BY pl_task_claimed SET state = " PL__S_TASK_READY                       \
                  ", owner = NULL WHERE state = " PL__S_TASK_CLAIMED " AND owner = ?1")                                \
    /* losses, see losses.c */                                                                                         \
    X(TASKS_LOST,                                                                                                      \
      "SELECT t.id, t.kind, t.queue, coalesce(t.losses, 0), (SELECT max_losses FROM main.pl_task_detail WHERE task = " \
      "t.id), (SELECT max_losses FROM main.pl_stage "                                                                  \
      "WHERE id = CASE t.kind WHEN " PL__S_KIND_CALLBACK " THEN t.stage ELSE t.id END), " PL__IS_AHEAD                 \
      " FROM main.pl_task AS t INDEXED BY pl_task_claimed WHERE t.state = " PL__S_TASK_CLAIMED " AND t.owner = ?1")    \
    X(TASK_RESCUE, "UPDATE main.pl_task AS t INDEXED BY pl_task_claimed SET state = " PL__S_TASK_READY                 \
                   ", owner = NULL, losses = coalesce(losses, 0) + NOT " PL__IS_AHEAD                                  \
                   " WHERE state = " PL__S_TASK_CLAIMED " AND owner = ?1")                                             \
    X(QUEUE_ANY_LOSSES, "SELECT EXISTS (SELECT 1 FROM main.pl_task INDEXED BY pl_task_losses WHERE losses IS NOT "     \
                        "NULL AND alone IS NULL AND queue = ?1) OR EXISTS (SELECT 1 FROM main.pl_task INDEXED BY "     \
                        "pl_task_losses WHERE losses IS NOT NULL AND alone = 1 AND queue = ?1)")                       \
    X(TASK_SET_ALONE, "UPDATE main.pl_task SET state = " PL__S_TASK_DELAYED                                            \
                      ", eta = ?3, owner = NULL, losses = ?2, alone = 1 WHERE id = ?1")                                \
    X(TASK_ANY_ALONE, "SELECT EXISTS (SELECT 1 FROM main.pl_task INDEXED BY pl_task_losses WHERE losses IS NOT NULL "  \
                      "AND alone = 1)")                                                                                \
    X(TASK_PROMOTE_ALONE,                                                                                              \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY                                                              \
      ", eta = ?1 WHERE id IN (SELECT min(id) FROM main.pl_task INDEXED BY pl_task_losses WHERE losses IS NOT NULL "   \
      "AND alone = 1 AND state = " PL__S_TASK_DELAYED                                                                  \
      " AND queue NOT IN (SELECT queue FROM main.pl_task INDEXED BY pl_task_losses WHERE losses IS NOT NULL AND "      \
      "alone = 1 AND state IN (" PL__S_TASK_READY ", " PL__S_TASK_CLAIMED ")) GROUP BY queue)")                        \
    X(TASK_TRIES, "SELECT tries FROM main.pl_task WHERE id = ?1")                                                      \
    X(TASK_COUNTS, "SELECT q.name, sum(t.state = " PL__S_TASK_READY ") + " PL__AHEAD_OF_EACH                           \
                   ", sum(t.state = " PL__S_TASK_DELAYED "), sum(t.state = " PL__S_TASK_CLAIMED                        \
                   ") - " PL__AHEAD_OF_EACH ", q.paused OR coalesce(q.rate, 1) = 0 FROM main.pl_queue AS q LEFT JOIN " \
                   "main.pl_task AS t ON t.queue = q.id GROUP BY q.id ORDER BY q.name")                                \
    X(TASK_DELETE_OF_STAGE,                                                                                            \
      "DELETE FROM main.pl_task INDEXED BY pl_task_stage WHERE stage = ?1 RETURNING queue, name")                      \
    X(NAME_GET, "SELECT coalesce(expires, 0) FROM main.pl_task_name WHERE queue = ?1 AND name = ?2")                   \
    X(NAME_ADD, "INSERT INTO main.pl_task_name (queue, name, task) VALUES (?1, ?2, ?3) "                               \
                "ON CONFLICT (queue, name) DO UPDATE SET expires = NULL, task = excluded.task")                        \
    X(NAME_TASK,                                                                                                       \
      "SELECT coalesce(task, 0), coalesce(expires, 0) FROM main.pl_task_name WHERE queue = ?1 AND name = ?2")          \
    X(TOMBSTONE_PUT, "UPDATE main.pl_task_name SET expires = ?3 WHERE queue = ?1 AND name = ?2")                       \
    X(NAME_FORGET, "DELETE FROM main.pl_task_name WHERE queue = ?1 AND name = ?2")                                     \
    /* a few at a time: the sweep takes what is left */                                                                \
    X(NAMES_EXPIRED, "SELECT queue, name FROM main.pl_task_name INDEXED BY pl_task_name_expires WHERE expires <= ?1 "  \
                     "ORDER BY expires LIMIT ?2")                                                                      \
    X(TASK_GREATEST, "SELECT max(id) FROM main.pl_task")                                                               \
    X(NAMES_FORGET, "DELETE FROM main.pl_task_name WHERE queue = ?1 AND name IN (SELECT name FROM main.pl_task_name "  \
                    "WHERE queue = ?1 AND expires IS NOT NULL LIMIT ?2)")                                              \
    X(TASKS_AFTER,                                                                                                     \
      "SELECT id, queue, kind, state, flags, name FROM main.pl_task WHERE id > ?1 AND id <= ?2 ORDER BY id "           \
      "LIMIT ?3")                                                                                                      \
    /* retries and the dead-letter list */                                                                             \
    X(TASK_RETRY_INFO, "SELECT queue, tries, coalesce(first_try, 0), flags FROM main.pl_task WHERE id = ?1")           \
    X(TASK_LIMITS, "SELECT retry_limit, age_limit, min_backoff, max_backoff, max_doublings, max_losses FROM "          \
                   "main.pl_task_detail WHERE task = ?1")                                                              \
    X(TASK_FAIL, "UPDATE main.pl_task SET state = ?2, eta = ?3, owner = NULL, tries = tries + 1, flags = flags "       \
                 "| " PL__S_TASK_RETRY ", "                                                                            \
                 "losses = NULL, alone = NULL, "                                                                       \
                 "executions = executions + (?4 IS NOT NULL), status = ?4, first_try = coalesce(first_try, ?5) "       \
                 "WHERE id = ?1")                                                                                      \
    X(TASK_DIE, "UPDATE main.pl_task SET state = " PL__S_TASK_DEAD                                                     \
                ", owner = NULL, losses = NULL, alone = NULL, tries = tries + ?2, executions = executions + (?3 IS "   \
                "NOT NULL), status = ?3 WHERE id = ?1 RETURNING queue, name")                                          \
    X(DEAD_ADD, "INSERT INTO main.pl_dead (task, time, error_class, message, traceback) VALUES (?1, ?2, ?3, ?4, ?5)")  \
    X(DEAD_DELETE, "DELETE FROM main.pl_dead WHERE task = ?1")                                                         \
    X(DEAD_GET, "SELECT time, error_class, message, traceback FROM main.pl_dead WHERE task = ?1")                      \
    X(DEAD_LIST, "SELECT " PL__TASK_COLUMNS " FROM main.pl_task WHERE state = " PL__S_TASK_DEAD                        \
                 " AND id < ?1 ORDER BY id DESC LIMIT ?2")                                                             \
    X(DEAD_LIST_OF_QUEUE,                                                                                              \
      "SELECT " PL__TASK_COLUMNS " FROM main.pl_task INDEXED BY pl_task_dead WHERE state = " PL__S_TASK_DEAD           \
      " AND queue = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2")                                                         \
    PL__VIEW_STATEMENTS(X)                                                                                             \
    X(DEAD_IDS, "SELECT task FROM main.pl_dead WHERE task > ?1 ORDER BY task LIMIT ?2")                                \
    X(DEAD_IDS_OF_QUEUE, "SELECT id FROM main.pl_task INDEXED BY pl_task_dead WHERE state = " PL__S_TASK_DEAD          \
                         " AND queue = ?3 AND id > ?1 ORDER BY id LIMIT ?2")                                           \
    X(DEAD_TASK, "SELECT queue, name, kind FROM main.pl_task WHERE id = ?1 AND state = " PL__S_TASK_DEAD)              \
    X(DEAD_REVIVE,                                                                                                     \
      "UPDATE main.pl_task SET state = ?2, eta = ?3, tries = 0, losses = NULL, executions = 0, status = NULL, "        \
      "first_try = NULL WHERE id = ?1")                                                                                \
    /* leases */                                                                                                       \
    X(TASK_LEASABLE,                                                                                                   \
      "SELECT " PL__TASK_COLUMNS " FROM main.pl_task INDEXED BY pl_task_pull WHERE state = " PL__S_TASK_PULL           \
      " AND queue = ?1 AND eta < ?2 ORDER BY eta, id LIMIT ?3")                                                        \
    X(TASK_LEASABLE_TAG,                                                                                               \
      "SELECT " PL__TASK_COLUMNS " FROM main.pl_task INDEXED BY pl_task_pull_tag WHERE state = " PL__S_TASK_PULL       \
      " AND queue = ?1 AND eta < ?2 AND tag IS ?4 ORDER BY eta, id LIMIT ?3")                                          \
    X(TASK_LEASE, "UPDATE main.pl_task SET eta = ?2, claim = ?2, tries = tries + 1, first_try = ?3 WHERE id = ?1")     \
    X(TASK_FIRST_TAG, "SELECT tag FROM main.pl_task INDEXED BY pl_task_pull WHERE state = " PL__S_TASK_PULL            \
                      " AND queue = ?1 AND eta < ?2 ORDER BY eta, id LIMIT 1")                                         \
    X(TASK_LEASED,                                                                                                     \
      "SELECT eta, state, coalesce(nullif(claim, 0), eta) FROM main.pl_task WHERE id = ?1 AND queue = ?2 AND kind "    \
      ">= " PL__S_KIND_CALLBACK)                                                                                       \
    X(TASK_SET_ETA, "UPDATE main.pl_task SET eta = ?2, claim = ?2 WHERE id = ?1")                                      \
    /* ends of durations, moved when the wall clock was set; what never ends stays so */                               \
    X(MOVE_STAGE_RETRIES,                                                                                              \
      "UPDATE main.pl_stage SET retry_at = retry_at + ?1 WHERE retry_at < " PL__S_ENDLESS                              \
      " AND id IN (SELECT id FROM main.pl_task INDEXED BY pl_task_due WHERE state = " PL__S_TASK_DELAYED               \
      " AND flags & " PL__S_TASK_RETRY " AND kind = " PL__S_KIND_RUN ")")                                              \
    X(MOVE_RETRIES, "UPDATE main.pl_task INDEXED BY pl_task_due SET eta = eta + ?1 WHERE state = " PL__S_TASK_DELAYED  \
                    " AND flags & " PL__S_TASK_RETRY " AND eta < " PL__S_ENDLESS)                                      \
    X(MOVE_LEASES,                                                                                                     \
      "UPDATE main.pl_task INDEXED BY pl_task_pull SET eta = eta + ?1, claim = coalesce(nullif(claim, 0), eta) "       \
      "WHERE state = " PL__S_TASK_PULL " AND (tries > 0 OR eta <= ?2) AND eta < " PL__S_ENDLESS)                       \
    X(MOVE_FIRST_TRIES,                                                                                                \
      "UPDATE main.pl_task SET first_try = first_try + ?1 WHERE first_try IS NOT NULL AND state < " PL__S_TASK_DEAD)   \
    X(MOVE_WORKERS, "UPDATE main.pl_worker SET lease_until = lease_until + ?1 WHERE lease_until < " PL__S_ENDLESS)     \
    X(MOVE_TOKENS, "UPDATE main.pl_queue SET tokens_time = tokens_time + ?1 WHERE tokens_time IS NOT NULL")            \
    X(MOVE_TOMBSTONES, "UPDATE main.pl_task_name SET expires = expires + ?1 WHERE expires < " PL__S_ENDLESS)           \
    X(MOVE_STARTED, "UPDATE main.pl_queue_started SET queue = -1 - queue, second = second + ?1, slot = (second + ?1) " \
                    "& " PL__S_STARTED_MASK)                                                                           \
    X(MOVED_STARTED, "UPDATE main.pl_queue_started SET queue = -1 - queue WHERE queue < 0")                            \
    /* stages */                                                                                                       \
    X(STAGE_ADD, PL__STAGE_ROW_COLUMNS PL__STAGE_ROW)                                                                  \
    X(STAGE_ADD_ROWS, PL__STAGE_ROW_COLUMNS PL__EIGHT(PL__STAGE_ROW))                                                  \
    X(STAGE_ADD_LARGE, "INSERT INTO main.pl_stage_large (stage, args, inputs, after_slots) VALUES (?1, ?2, ?3, ?4)")   \
    X(STAGE_GET, PL__STAGE_WITH_STATUS "WHERE s.id = ?1")                                                              \
    X(STAGE_GET_PLAIN, "SELECT " PL__STAGE_COLUMNS " FROM main.pl_stage AS s WHERE s.id = ?1")                         \
    X(STAGE_GET_LARGE, "SELECT args, inputs, after_slots FROM main.pl_stage_large WHERE stage = ?1")                   \
    X(STAGE_TREE, PL__STAGE_WITH_STATUS_BY("INDEXED BY pl_stage_root") "WHERE s.root = ?1 ORDER BY s.id")              \
    X(STAGE_TREE_AFTER,                                                                                                \
      PL__STAGE_WITH_STATUS_BY("INDEXED BY pl_stage_root") "WHERE s.root = ?1 AND s.id > ?2 ORDER BY s.id")            \
    X(STAGE_PARENTS_AFTER,                                                                                             \
      "SELECT parent, state FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND id > ?2 AND "              \
      "(flags & ?3 = 0 OR attempt > 0) ORDER BY id")                                                                   \
    X(STAGE_ROOTS, PL__STAGE_WITH_STATUS_BY("INDEXED BY pl_stage_newest") "WHERE s.parent IS NULL AND s.id < ?1 "      \
                                                                          "AND " PL__NOT_DELETED(                      \
                                                                              "s.id") " ORDER BY s.id DESC LIMIT ?2")  \
    X(STAGE_ROOTS_OF_CLASS,                                                                                            \
      PL__STAGE_WITH_STATUS_BY("INDEXED BY pl_stage_class") "WHERE s.parent IS NULL AND s.class_path = ?3 AND s.id < " \
                                                            "?1 AND " PL__NOT_DELETED(                                 \
                                                                "s.id") " ORDER BY s.id DESC LIMIT ?2")                \
    X(STAGE_TALLY, "SELECT parent, state FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND id > ?2 AND " \
                   "(flags & ?3 = 0 OR attempt > 0) ORDER BY id")                                                      \
    X(ROOT_IDS, "SELECT s.id FROM main.pl_stage AS s INDEXED BY pl_stage_newest WHERE s.parent IS NULL AND s.id "      \
                "BETWEEN ?1 AND ?2 AND " PL__NOT_DELETED("s.id") " ORDER BY s.id LIMIT ?3")                            \
    X(STAGE_IDS, "SELECT s.id FROM main.pl_stage AS s WHERE s.id BETWEEN ?1 AND ?2 AND " PL__NOT_DELETED(              \
                     "s.root") " ORDER BY s.id LIMIT ?3")                                                              \
    X(STAGE_BY_KEY, "SELECT id FROM main.pl_stage INDEXED BY pl_stage_key WHERE key = ?1")                             \
    X(STAGE_BRIEF,                                                                                                     \
      "SELECT state, root, coalesce(parent, 0), flags, queue, priority, attempt, "                                     \
      "coalesce(max_attempts, " PL__TEXT(PL__STAGE_ATTEMPTS) "), outputs FROM main.pl_stage WHERE id = ?1")            \
    X(STAGE_STATE, "SELECT state FROM main.pl_stage AS s WHERE id = ?1 AND " PL__NOT_DELETED("s.root"))                \
    X(STAGE_TO_RUN, "UPDATE main.pl_stage SET state = " PL__S_STAGE_RUN ", open = ?2, flags = ?3 WHERE id = ?1")       \
    X(STAGE_TO_FINALIZING,                                                                                             \
      "UPDATE main.pl_stage SET state = " PL__S_STAGE_FINALIZING ", open = 0, flags = ?2 WHERE id = ?1")               \
    X(STAGE_TO_FINAL, "UPDATE main.pl_stage SET state = ?2, open = 0, missing = 0, finalized = ?3 WHERE id = ?1 "      \
                      "RETURNING flags")                                                                               \
    X(STAGE_TO_ABORTED, "UPDATE main.pl_stage SET state = " PL__S_STAGE_ABORTED                                        \
                        ", open = 0, missing = 0, finalized = ?2, flags = (flags & ~?4) | ?3 WHERE id = ?1")           \
    X(STAGE_TO_DONE,                                                                                                   \
      "UPDATE main.pl_stage SET state = " PL__S_STAGE_DONE ", open = 0, finalized = ?2, flags = ?3 WHERE id = ?1")     \
    X(STAGE_TO_ABORT, "UPDATE main.pl_stage SET state = ?2, open = 0, missing = 0, flags = (flags & ~?4) | ?3 "        \
                      "WHERE id = ?1")                                                                                 \
    X(STAGE_RESUME, "UPDATE main.pl_stage SET state = ?2, missing = ?3, open = ?4, flags = ?5, started = CASE ?2 "     \
                    "WHEN " PL__S_STAGE_WAITING " THEN NULL WHEN " PL__S_STAGE_READY                                   \
                    " THEN ?6 ELSE started END, finalized = NULL, attempt = 0, retry_at = NULL, abort_requested = 0, " \
                    "abort_message = NULL WHERE id = ?1")                                                              \
    X(STAGE_ANY_LIVE, "SELECT EXISTS (SELECT 1 FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND state " \
                      "NOT IN (" PL__S_STAGE_DONE ", " PL__S_STAGE_ABORTED "))")                                       \
    X(STAGE_MEMBERS,                                                                                                   \
      "SELECT id, coalesce(parent, 0), state, flags, queue, priority, coalesce(eta, 0), abort_requested FROM "         \
      "main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 ORDER BY id")                                            \
    X(STAGE_ABOVE, "SELECT ifnull(parent, 0), flags, abort_requested, abort_message FROM main.pl_stage WHERE id = ?1") \
    X(STAGE_SLOTS, "SELECT CASE WHEN args IS NULL THEN (SELECT l.inputs FROM main.pl_stage_large AS l WHERE l.stage "  \
                   "= s.id) ELSE inputs END, CASE WHEN args IS NULL THEN (SELECT l.after_slots FROM "                  \
                   "main.pl_stage_large AS l WHERE l.stage = s.id) ELSE after_slots END, outputs FROM main.pl_stage "  \
                   "AS s WHERE id = ?1")                                                                               \
    X(STAGE_PART, "SELECT id, state, flags, queue, priority, coalesce(parent, 0) FROM main.pl_stage INDEXED BY "       \
                  "pl_stage_root WHERE root = ?1 AND id BETWEEN ?2 AND ?3 ORDER BY id")                                \
    X(FALLBACK_ADD, "INSERT INTO main.pl_fallback (stage, value) VALUES (?1, ?2)")                                     \
    X(FALLBACK_GET, "SELECT value FROM main.pl_fallback WHERE stage = ?1")                                             \
    X(STAGE_TAKE_FALLBACK,                                                                                             \
      "UPDATE main.pl_stage SET flags = flags | " PL__S_FLAG_FALLBACK_TAKEN ", abort_message = ?2 WHERE id = ?1")      \
    X(STAGE_FLAGS, "SELECT flags FROM main.pl_stage WHERE id = ?1")                                                    \
    X(TASK_SET_CLAIM, "UPDATE main.pl_task SET claim = ?2 WHERE id = ?1")                                              \
    X(STAGE_LIVE, "SELECT root, coalesce(parent, 0), state, flags, missing, open, queue, priority, coalesce(eta, 0), " \
                  "coalesce(waiter, 0) "                                                                               \
                  "FROM main.pl_stage WHERE id = ?1")                                                                  \
    X(STAGE_INPUTS_FILLED, "UPDATE main.pl_stage SET missing = ?2, state = ?3, started = ?4 WHERE id = ?1")            \
    X(STAGE_CHILDREN_SETTLED, "UPDATE main.pl_stage SET open = ?2, state = ?3, finalized = ?4 WHERE id = ?1")          \
    X(STAGE_LEAF_DONE, "UPDATE main.pl_stage SET state = ?5, finalized = ?2, waiter = ?3, result = ?4 WHERE id = ?1 "  \
                       "AND state = " PL__S_STAGE_READY)                                                               \
    /* flags are in an index */                                                                                        \
    X(STAGE_LEAF_DONE_FLAGS, "UPDATE main.pl_stage SET state = ?5, finalized = ?2, waiter = ?3, result = ?4, flags = " \
                             "?6 WHERE id = ?1 AND state = " PL__S_STAGE_READY)                                        \
    X(STAGE_RETRY, "UPDATE main.pl_stage SET state = " PL__S_STAGE_READY                                               \
                   ", open = 0, attempt = attempt + 1, retry_at = ?2, retry_message = ?3 WHERE id = ?1")               \
    X(STAGE_GIVE_UP,                                                                                                   \
      "UPDATE main.pl_stage SET attempt = attempt + 1, retry_message = ?2, abort_message = ?3 WHERE id = ?1")          \
    X(STAGE_REQUEST_ABORT, "UPDATE main.pl_stage SET abort_requested = 1, abort_message = ?2 WHERE id = ?1")           \
    X(STAGE_LIVE_OF_ROOT,                                                                                              \
      "SELECT id, state, flags, queue, priority, coalesce(parent, 0) FROM main.pl_stage INDEXED BY pl_stage_root "     \
      "WHERE root = ?1 AND state NOT IN (" PL__S_STAGE_DONE ", " PL__S_STAGE_ABORTED ") ORDER BY id DESC")             \
    X(STAGE_UNSETTLED_CHILDREN,                                                                                        \
      "SELECT count(*) FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND parent = "                      \
      "?2 AND " PL__IS_UNSETTLED)                                                                                      \
    X(STAGE_COUNT, "SELECT (SELECT count(*) FROM main.pl_stage) - (SELECT count(*) FROM main.pl_stage INDEXED BY "     \
                   "pl_stage_hidden WHERE flags & " PL__S_FLAG_HIDDEN " AND attempt = 0)")                             \
    X(STAGE_STATES_AFTER, "SELECT id, state FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND id > ?2 "  \
                          "ORDER BY id LIMIT ?3")                                                                      \
    X(STAGE_LAST_OF_TREE,                                                                                              \
      "SELECT id, outputs, result IS NOT NULL, flags FROM main.pl_stage INDEXED BY pl_stage_root WHERE "               \
      "root = ?1 AND id <> ?1 "                                                                                        \
      "ORDER BY id DESC LIMIT ?2")                                                                                     \
    X(STAGE_OUTPUTS, "SELECT id, outputs, result IS NOT NULL, flags FROM main.pl_stage WHERE id = ?1")                 \
    X(STAGE_DELETE, "DELETE FROM main.pl_stage WHERE id = ?1")                                                         \
    X(STAGE_DROP_KEY, "UPDATE main.pl_stage SET key = NULL WHERE id = ?1")                                             \
    X(ROOTS_FINAL,                                                                                                     \
      "SELECT id, finalized FROM main.pl_stage INDEXED BY pl_stage_final WHERE parent IS NULL AND "                    \
      "finalized IS NOT NULL AND state = ?1 AND finalized <= ?2 AND finalized >= ?3 AND (finalized > ?3 OR id > ?4) "  \
      "ORDER BY finalized, id LIMIT ?5")                                                                               \
    X(ROOTS_DUE,                                                                                                       \
      "SELECT count(*), min(finalized) FROM (SELECT finalized FROM main.pl_stage INDEXED BY pl_stage_final "           \
      "WHERE parent IS NULL AND finalized IS NOT NULL AND state = ?3 AND finalized <= ?1 ORDER BY finalized LIMIT "    \
      "?2)")                                                                                                           \
    X(DEAD_OLDEST,                                                                                                     \
      "SELECT task, time FROM main.pl_dead INDEXED BY pl_dead_time WHERE time <= ?1 ORDER BY time LIMIT ?2")           \
    X(DEAD_DUE, "SELECT count(*), min(time) FROM (SELECT time FROM main.pl_dead INDEXED BY pl_dead_time "              \
                "WHERE time <= ?1 + 0 * ?3 ORDER BY time LIMIT ?2)")                                                   \
    X(NAMES_DUE, "SELECT count(*), min(expires) FROM (SELECT expires FROM main.pl_task_name INDEXED BY "               \
                 "pl_task_name_expires WHERE expires <= ?1 + 0 * ?3 ORDER BY expires LIMIT ?2)")                       \
    X(NAME_NEXT_EXPIRY,                                                                                                \
      "SELECT expires FROM main.pl_task_name INDEXED BY pl_task_name_expires WHERE expires IS NOT NULL "               \
      "ORDER BY expires LIMIT 1")                                                                                      \
    X(DELETION_HAS, "SELECT 1 FROM main.pl_deletion WHERE root = ?1")                                                  \
    X(DELETION_ADD, "INSERT INTO main.pl_deletion (root) VALUES (?1) ON CONFLICT DO NOTHING")                          \
    X(DELETION_END, "DELETE FROM main.pl_deletion WHERE root = ?1")                                                    \
    X(DELETION_FIRST, "SELECT root FROM main.pl_deletion ORDER BY root LIMIT 1")                                       \
    /* slots and waits */                                                                                              \
    X(SLOT_ADD,                                                                                                        \
      "INSERT INTO main.pl_slot (id, filler, time, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING")        \
    X(SLOT_SET, "UPDATE main.pl_slot SET filler = ?2, time = ?3, value = ?4 WHERE id = ?1")                            \
    X(SLOT_GET, "SELECT filler, time, value FROM main.pl_slot WHERE id = ?1")                                          \
    X(SLOT_GET_RESULT, "SELECT finalized, result FROM main.pl_stage WHERE id = ?1 AND result IS NOT NULL")             \
    X(SLOT_FILLED, "SELECT EXISTS (SELECT 1 FROM main.pl_slot WHERE id = ?1) OR EXISTS (SELECT 1 FROM main.pl_stage "  \
                   "WHERE id = ?1 AND result IS NOT NULL)")                                                            \
    X(SLOT_DELETE, "DELETE FROM main.pl_slot WHERE id = ?1")                                                           \
    X(STAGE_WAITER, "SELECT coalesce(waiter, 0) FROM main.pl_stage WHERE id = ?1")                                     \
    X(STAGE_SET_WAITER, "UPDATE main.pl_stage SET waiter = ?2 WHERE id = ?1")                                          \
    X(WAIT_ADD, "INSERT INTO main.pl_wait (slot, stage, kind) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")             \
    X(WAITS, "SELECT stage, kind FROM main.pl_wait WHERE slot = ?1")                                                   \
    X(WAIT_DELETE, "DELETE FROM main.pl_wait WHERE slot = ?1")                                                         \
    X(WAIT_DELETE_OUTPUT, "DELETE FROM main.pl_wait WHERE slot = ?1 AND stage = ?2 AND kind = " PL__S_WAIT_OUTPUT)     \
    /* status and failures */                                                                                          \
    X(STATUS_SET, "INSERT INTO main.pl_status (stage, time, message, console_url, links) VALUES (?1, ?2, ?3, ?4, ?5) " \
                  "ON CONFLICT (stage) DO UPDATE SET time = excluded.time, message = excluded.message, "               \
                  "console_url = excluded.console_url, links = excluded.links")                                        \
    X(FAILURE_ADD, "INSERT INTO main.pl_failure (stage, time, attempt, worker, error_class, message, traceback) "      \
                   "SELECT id, ?2, attempt + 1, ?3, ?4, ?5, ?6 FROM main.pl_stage WHERE id = ?1")                      \
    X(FAILURES_OF_TREE,                                                                                                \
      "SELECT f.time, f.attempt, f.worker, f.error_class, f.message, f.traceback, s.id, s.class_path, s.key FROM "     \
      "main.pl_stage AS s INDEXED BY pl_stage_root CROSS JOIN main.pl_failure AS f INDEXED BY pl_failure_stage ON "    \
      "f.stage = s.id WHERE s.root = ?1 ORDER BY s.id, f.id LIMIT ?2")                                                 \
    X(FAILURE_LATEST,                                                                                                  \
      "SELECT f.time, f.attempt, f.worker, f.error_class, f.message, f.traceback, s.id, s.class_path, s.key, "         \
      "max(f.id) FROM main.pl_stage AS s INDEXED BY pl_stage_root CROSS JOIN main.pl_failure AS f INDEXED BY "         \
      "pl_failure_stage ON f.stage = s.id WHERE s.root = ?1")                                                          \
    PL__SCHEDULE_STATEMENTS(X)                                                                                         \
    /* durable functions, see journal/ */                                                                              \
    X(FLOW_ADD, "INSERT INTO main.pl_flow (stage, seed, version) VALUES (?1, ?2, ?3)")                                 \
    X(FLOW_NEWS, "SELECT mode, dirty, wants, mails, posted, next, cancel FROM main.pl_flow WHERE stage = ?1")          \
    X(FLOW_BIND, "UPDATE main.pl_flow SET cancel = max(cancel, ?2), deadline = ifnull(?3, deadline) WHERE stage = ?1") \
    X(FLOW_SET_DIRTY, "UPDATE main.pl_flow SET dirty = ?2 WHERE stage = ?1")                                           \
    X(FLOW_WAKE, "UPDATE main.pl_flow SET mode = " PL__S_MODE_BEGUN ", wants = NULL, reason = NULL WHERE stage = ?1")  \
    X(FLOW_SET_REASON, "UPDATE main.pl_flow SET reason = ?2 WHERE stage = ?1")                                         \
    X(FLOW_WRITTEN, "UPDATE main.pl_flow SET next = ?2, bytes = bytes + ?3 WHERE stage = ?1 AND next <= ?2")           \
    X(FLOW_SUSPEND,                                                                                                    \
      "UPDATE main.pl_flow SET mode = " PL__S_MODE_SUSPENDED ", wants = ?2, reason = ?3 WHERE stage = ?1")             \
    X(FLOW_HOLD, "UPDATE main.pl_flow SET mode = " PL__S_MODE_HELD ", wants = NULL, reason = ?2 WHERE stage = ?1")     \
    X(FLOW_OVER, "UPDATE main.pl_flow SET mode = " PL__S_MODE_OVER                                                     \
                 ", wants = NULL, reason = NULL, dirty = 0, ended = ?2 WHERE stage = ?1")                              \
    X(FLOW_AGAIN, "UPDATE main.pl_flow SET mode = CASE WHEN ended < ?2 THEN " PL__S_MODE_BEGUN                         \
                  " ELSE " PL__S_MODE_HELD " END, reason = CASE WHEN ended < ?2 THEN NULL ELSE ?3 END, ended = NULL, " \
                  "cancel = 0, deadline = NULL WHERE stage = ?1")                                                      \
    X(FLOWS_ENDED, "SELECT f.stage, f.ended, (SELECT s.state FROM main.pl_stage AS s WHERE s.id = f.stage) FROM "      \
                   "main.pl_flow AS f INDEXED BY pl_flow_ended WHERE f.ended IS NOT NULL AND f.ended >= ?1 AND "       \
                   "(f.ended > ?1 OR f.stage > ?2) AND f.ended <= ?3 ORDER BY f.ended, f.stage LIMIT ?4")              \
    X(FLOW_ENDED_FIRST,                                                                                                \
      "SELECT ended FROM main.pl_flow INDEXED BY pl_flow_ended WHERE ended IS NOT NULL AND ended > ?1 AND ended < ?2 " \
      "ORDER BY ended LIMIT 1")                                                                                        \
    X(FLOW_FORGET, "UPDATE main.pl_flow SET ended = ?2, first = next, bytes = 0, mails = 0 WHERE stage = ?1")          \
    X(TASK_PROGRESS, "UPDATE main.pl_task SET losses = NULL, alone = NULL WHERE id = ?1 AND losses IS NOT NULL")       \
    X(FLOW_DELETE, "DELETE FROM main.pl_flow WHERE stage = ?1")                                                        \
    X(FLOW_GET,                                                                                                        \
      "SELECT seed, version, era, first, next, bytes, mode, dirty, mails, (SELECT s.created FROM main.pl_stage AS s "  \
      "WHERE s.id = f.stage), reason, lost, coalesce(forked_from, 0), coalesce(forked_at, 0), cancel, "                \
      "coalesce(deadline, 0) FROM main.pl_flow AS f WHERE stage = ?1 AND " PL__NOT_DELETED("(SELECT s.root FROM "      \
                                                                                           "main.pl_stage AS s WHERE " \
                                                                                           "s.id = ?1)"))              \
    X(FLOWS_NEWS, "SELECT f.stage FROM main.pl_flow AS f INDEXED BY pl_flow_dirty WHERE f.dirty = 1 AND (SELECT "      \
                  "t.owner FROM main.pl_task AS t WHERE t.id = f.stage AND t.kind = " PL__S_KIND_RUN ") = ?1")         \
    X(FLOW_CONTINUE, "UPDATE main.pl_flow SET era = era + 1, first = next, bytes = 0, mode = " PL__S_MODE_BEGUN        \
                     ", wants = NULL, reason = NULL WHERE stage = ?1 RETURNING first")                                 \
    X(JOURNAL_FORGET, "DELETE FROM main.pl_journal INDEXED BY pl_journal_stage WHERE stage = ?1 AND seq < ?2")         \
    X(JOURNAL_FORGET_LARGE, "DELETE FROM main.pl_journal_large INDEXED BY pl_journal_large_stage WHERE stage = ?1 "    \
                            "AND seq < ?2")                                                                            \
    X(STAGE_CONTINUE, "UPDATE main.pl_stage SET args = ?2, inputs = NULL, started = ?3 WHERE id = ?1")                 \
    X(STAGE_DROP_LARGE, "DELETE FROM main.pl_stage_large WHERE stage = ?1")                                            \
    X(RUN_STATE, "SELECT state FROM main.pl_task WHERE id = ?1 AND kind = " PL__S_KIND_RUN)                            \
    X(RUN_CLAIM, "SELECT claim FROM main.pl_task WHERE id = ?1 AND kind = " PL__S_KIND_RUN)                            \
    X(TASK_WAKE,                                                                                                       \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY ", eta = ?2 WHERE id = ?1 AND kind = " PL__S_KIND_RUN        \
      " AND state = " PL__S_TASK_DELAYED " AND alone IS NULL")                                                         \
    X(TASK_SUSPEND, "UPDATE main.pl_task SET state = ?2, eta = ?3, owner = NULL, flags = flags & ~" PL__S_TASK_RETRY   \
                    ", losses = NULL, "                                                                                \
                    "alone = NULL WHERE id = ?1")                                                                      \
    X(ENTRY_SET, "INSERT INTO main.pl_journal (stage, seq, done, kind, state, path, name, nth, line, opened, closed, " \
                 "attempt, due, ref, large, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, "   \
                 "?14, ?15, ?16) ON CONFLICT (stage, seq) DO UPDATE SET done = excluded.done, kind = excluded.kind, "  \
                 "state = excluded.state, path = excluded.path, name = excluded.name, nth = excluded.nth, line = "     \
                 "excluded.line, opened = excluded.opened, closed = excluded.closed, attempt = excluded.attempt, due " \
                 "= excluded.due, ref = excluded.ref, large = excluded.large, value = excluded.value")                 \
    X(ENTRY_SET_LARGE,                                                                                                 \
      "INSERT INTO main.pl_journal_large (stage, seq, value) VALUES (?1, ?2, ?3) ON CONFLICT (stage, "                 \
      "seq) DO UPDATE SET value = excluded.value")                                                                     \
    X(ENTRY_DROP_LARGE,                                                                                                \
      "DELETE FROM main.pl_journal_large INDEXED BY pl_journal_large_stage WHERE stage = ?1 AND seq "                  \
      "= ?2")                                                                                                          \
    X(ENTRIES, "SELECT seq, coalesce(done, 0), kind, state, path, name, nth, line, opened, coalesce(closed, 0), "      \
               "attempt, coalesce(due, 0), coalesce(ref, 0), CASE large WHEN 0 THEN value ELSE (SELECT l.value FROM "  \
               "main.pl_journal_large AS l WHERE l.stage = j.stage AND l.seq = j.seq) END FROM main.pl_journal AS j "  \
               "INDEXED BY pl_journal_stage WHERE stage = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")                      \
    X(ENTRIES_OPEN, "SELECT seq, coalesce(ref, 0) FROM main.pl_journal INDEXED BY pl_journal_open WHERE stage = ?1 "   \
                    "AND done IS NULL AND seq >= ?2 AND kind = ?3 ORDER BY seq")                                       \
    X(CHILD_END, "SELECT state, flags, abort_message, finalized, outputs FROM main.pl_stage WHERE id = ?1 AND state "  \
                 "IN (" PL__S_STAGE_DONE ", " PL__S_STAGE_ABORTED ")")                                                 \
    X(NEWS_MAILS, "SELECT number, kind, name, key, time, value FROM main.pl_mail INDEXED BY pl_mail_new WHERE stage "  \
                  "= ?1 AND taken = 0 AND number > ?2 ORDER BY number LIMIT ?3")                                       \
    X(MAIL_BYTES, "SELECT coalesce(sum(length(value)), 0) FROM main.pl_mail INDEXED BY pl_mail_new WHERE stage = ?1 "  \
                  "AND taken = 0")                                                                                     \
    X(MAIL_ADD, "INSERT INTO main.pl_mail (stage, number, kind, name, key, time, value) VALUES (?1, ?2, ?3, ?4, ?5, "  \
                "?6, ?7)")                                                                                             \
    X(MAIL_POSTED, "UPDATE main.pl_flow SET posted = ?2, mails = mails + 1 WHERE stage = ?1")                          \
    X(MAIL_DELETE, "DELETE FROM main.pl_mail WHERE stage = ?1 AND number = ?2 AND key IS NULL AND taken = 0 AND kind " \
                   "= " PL__S_MAIL_SIGNAL)                                                                             \
    X(MAIL_TAKE, "UPDATE main.pl_mail SET taken = 1, value = NULL WHERE stage = ?1 AND number = ?2 AND taken = 0")     \
    X(MAILS_TAKEN, "UPDATE main.pl_flow SET mails = mails - ?2 WHERE stage = ?1")                                      \
    X(JOURNAL_DELETE, "DELETE FROM main.pl_journal WHERE stage = ?1")                                                  \
    X(JOURNAL_DELETE_LARGE, "DELETE FROM main.pl_journal_large INDEXED BY pl_journal_large_stage WHERE stage = ?1")    \
    X(MAILS_DELETE, "DELETE FROM main.pl_mail WHERE stage = ?1")                                                       \
    X(CHUNKS_DELETE, "DELETE FROM main.pl_chunk INDEXED BY pl_chunk_source WHERE stage = ?1")                          \
    X(TRACE_ADD, "INSERT INTO main.pl_value (stage, name, time, value) VALUES (?1, '', ?2, ?3)")                       \
    X(TRACE_GET, "SELECT value FROM main.pl_value WHERE stage = ?1 AND name = ''")                                     \
    X(TRACE_DELETE, "DELETE FROM main.pl_value WHERE stage = ?1 AND name = ''")                                        \
    X(VALUES_DELETE, "DELETE FROM main.pl_value WHERE stage = ?1")                                                     \
    X(WORK_TASK_NOW,                                                                                                   \
      "UPDATE main.pl_task SET state = CASE state WHEN " PL__S_TASK_DELAYED " THEN " PL__S_TASK_READY                  \
      " ELSE state END, eta = ?2 WHERE id = ?1 AND state IN (" PL__S_TASK_DELAYED ", " PL__S_TASK_PULL ")")            \
    X(FAILURES, "SELECT time, attempt, worker, error_class, message, traceback FROM main.pl_failure "                  \
                "WHERE stage = ?1 ORDER BY id")                                                                        \
    PL__SHOWN_STATEMENTS(X)

#endif
