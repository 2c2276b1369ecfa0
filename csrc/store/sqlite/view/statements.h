/*
 * statements.h - SQL of what faces ask for: tasks, queues and workers as they are shown, roots as they are listed.
 *
 * A part of store/sqlite/statements.h, which has the columns of a task, and what is claimed ahead of a limit.
 */
#ifndef PL_STORE_SQLITE_VIEW_STATEMENTS_H
#define PL_STORE_SQLITE_VIEW_STATEMENTS_H

/* The columns read_task of view/tasks.c reads, in its order. */
#define PL__SEEN_COLUMNS                                                                                               \
    PL__TASK_COLUMNS                                                                                                   \
    ", state, coalesce(stage, CASE WHEN kind < " PL__S_KIND_CALLBACK                                                   \
    " THEN id ELSE 0 END), (SELECT w.host || ':' || w.pid FROM main.pl_worker AS w WHERE w.id = t.owner), claim"
#define PL__SEEN_TASK "SELECT " PL__SEEN_COLUMNS " FROM main.pl_task AS t INDEXED BY "

/* The columns read_brief of view/roots.c reads, in its order. */
#define PL__ROOT_BRIEF "id, state, created, queue, class_path, key, abort_message, retry_message"

#define PL__ROOT_OF_TASK                                                                                               \
    "SELECT (SELECT s.root FROM main.pl_stage AS s WHERE s.id = coalesce(t.stage, t.id)) FROM main.pl_task AS t "      \
    "INDEXED BY "

#define PL__VIEW_STATEMENTS(X)                                                                                         \
    /* tasks, queues and workers as they are shown */                                                                  \
    X(TASKS_SEEN_CLAIMED,                                                                                              \
      PL__SEEN_TASK "pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED " AND queue = ?1 AND id > ?2 ORDER BY id")     \
    X(TASKS_SEEN_READY, PL__SEEN_TASK "pl_task_ready WHERE state = " PL__S_TASK_READY                                  \
                                      " AND queue = ?1 AND priority <= ?2 AND (priority < ?2 OR eta > ?3 OR (eta = "   \
                                      "?3 AND id > ?4)) ORDER BY priority DESC, eta, id")                              \
    X(TASKS_SEEN_PULL, PL__SEEN_TASK "pl_task_pull WHERE state = " PL__S_TASK_PULL                                     \
                                     " AND queue = ?1 AND eta >= ?2 AND (eta > ?2 OR id > ?3) ORDER BY eta, id")       \
    X(TASKS_SEEN_DELAYED, PL__SEEN_TASK "pl_task_due WHERE state = " PL__S_TASK_DELAYED                                \
                                        " AND eta >= ?1 AND eta <= ?3 AND (eta > ?1 OR id > ?2) ORDER BY eta, id")     \
    X(TASKS_SEEN_DEAD,                                                                                                 \
      PL__SEEN_TASK "pl_task_dead WHERE state = " PL__S_TASK_DEAD " AND queue = ?1 AND id < ?2 ORDER BY id DESC")      \
    X(TASK_SEEN, "SELECT " PL__SEEN_COLUMNS ", flags & " PL__S_TASK_RETRY                                              \
                 ", coalesce(alone, 0) FROM main.pl_task AS t WHERE id = ?1")                                          \
    X(TASKS_READY_BEFORE,                                                                                              \
      "SELECT count(*) FROM (SELECT 1 FROM main.pl_task INDEXED BY pl_task_ready WHERE state = " PL__S_TASK_READY      \
      " AND queue = ?1 AND priority >= ?2 AND (priority > ?2 OR eta < ?3 OR (eta = ?3 AND id < ?4)) LIMIT ?5)")        \
    X(STAGES_BEFORE, "SELECT id FROM main.pl_stage INDEXED BY pl_stage_root WHERE root = ?1 AND id < ?2 ORDER BY id "  \
                     "DESC LIMIT ?3")                                                                                  \
    /* roots as they are listed, see view/roots.c */                                                                   \
    X(ROOTS_SCAN, "SELECT " PL__ROOT_BRIEF " FROM main.pl_stage INDEXED BY pl_stage_newest WHERE parent IS NULL AND "  \
                  "id < ?1 ORDER BY id DESC")                                                                          \
    X(ROOTS_SCAN_STATES,                                                                                               \
      "SELECT id, state, created FROM main.pl_stage INDEXED BY pl_stage_newest WHERE parent IS NULL "                  \
      "AND id < ?1 ORDER BY id DESC")                                                                                  \
    X(ROOTS_SCAN_CLASS, "SELECT " PL__ROOT_BRIEF " FROM main.pl_stage INDEXED BY pl_stage_class WHERE parent IS NULL " \
                        "AND class_path = ?2 AND id < ?1 ORDER BY id DESC")                                            \
    X(ROOT_BRIEF, "SELECT " PL__ROOT_BRIEF " FROM main.pl_stage WHERE id = ?1 AND parent IS NULL")                     \
    X(ROOT_NEWEST, "SELECT id FROM main.pl_stage INDEXED BY pl_stage_newest WHERE parent IS NULL AND id < ?1 ORDER "   \
                   "BY id DESC LIMIT 1")                                                                               \
    X(ROOT_CREATED_FROM, "SELECT created FROM main.pl_stage INDEXED BY pl_stage_newest WHERE parent IS NULL AND id "   \
                         ">= ?1 ORDER BY id LIMIT 1")                                                                  \
    X(ROOTS_ABORTED, "SELECT id FROM main.pl_stage INDEXED BY pl_stage_final WHERE parent IS NULL AND finalized IS "   \
                     "NOT NULL AND state = " PL__S_STAGE_ABORTED)                                                      \
    X(ROOTS_COUNT_FINAL,                                                                                               \
      "SELECT count(*) FROM (SELECT 1 FROM main.pl_stage INDEXED BY pl_stage_final WHERE parent IS "                   \
      "NULL AND finalized IS NOT NULL AND state = ?1 LIMIT ?2)")                                                       \
    X(ROOTS_COUNT_ENDED,                                                                                               \
      "SELECT count(*) FROM (SELECT 1 FROM main.pl_stage INDEXED BY pl_stage_final WHERE parent IS NULL AND "          \
      "finalized IS NOT NULL AND state = ?1 AND finalized >= ?2 AND finalized < ?3 LIMIT ?4)")                         \
    X(ROOTS_COUNT_OVER, "SELECT count(*) FROM main.pl_stage INDEXED BY pl_stage_final WHERE parent IS NULL AND "       \
                        "finalized IS NOT NULL")                                                                       \
    X(ROOTS_OF_CLAIMED, PL__ROOT_OF_TASK "pl_task_claimed WHERE t.state = " PL__S_TASK_CLAIMED)                        \
    X(ROOTS_OF_READY, PL__ROOT_OF_TASK "pl_task_ready WHERE t.state = " PL__S_TASK_READY)                              \
    X(ROOTS_OF_DELAYED, PL__ROOT_OF_TASK "pl_task_due WHERE t.state = " PL__S_TASK_DELAYED)                            \
    X(ROOTS_OF_WAITS, "SELECT (SELECT s.root FROM main.pl_stage AS s WHERE s.id = w.stage) FROM main.pl_wait AS w")    \
    X(TASK_BRIEF, "SELECT state, eta FROM main.pl_task WHERE id = ?1")                                                 \
    X(STATUS_MESSAGE, "SELECT message FROM main.pl_status WHERE stage = ?1")                                           \
    X(STAGE_SEEN,                                                                                                      \
      "SELECT class_path, key, coalesce(abort_message, retry_message), attempt, coalesce(max_attempts, " PL__TEXT(     \
          PL__STAGE_ATTEMPTS) ") FROM main.pl_stage WHERE id = ?1")                                                    \
    X(QUEUE_SEEN,                                                                                                      \
      "SELECT count(*), min(CASE WHEN eta <= ?2 THEN eta END), (SELECT count(*) FROM main.pl_task INDEXED BY "         \
      "pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED " AND queue = ?1) - " PL__AHEAD_OF_QUEUE                     \
      ", (SELECT count(*) FROM (SELECT 1 FROM main.pl_task INDEXED BY pl_task_dead WHERE state = " PL__S_TASK_DEAD     \
      " AND queue = ?1 LIMIT ?4)), (SELECT coalesce(sum(started), 0) FROM main.pl_queue_started WHERE queue = ?1 AND " \
      "second > ?3 - 60) FROM (SELECT eta FROM main.pl_task INDEXED BY pl_task_ready WHERE state = " PL__S_TASK_READY  \
      " AND queue = ?1 LIMIT ?4)")                                                                                     \
    X(QUEUE_SEEN_PULL,                                                                                                 \
      "SELECT coalesce(sum(eta <= ?2), 0), min(CASE WHEN eta <= ?2 THEN eta END), coalesce(sum(eta > ?2 AND tries > "  \
      "0), 0), coalesce(sum(eta > ?2 AND tries = 0), 0) FROM (SELECT eta, tries FROM main.pl_task INDEXED BY "         \
      "pl_task_pull WHERE state = " PL__S_TASK_PULL " AND queue = ?1 LIMIT ?3)")                                       \
    X(QUEUES_SEEN_DELAYED,                                                                                             \
      "SELECT queue, sum(eta > ?1), sum(eta <= ?1), min(eta) FROM (SELECT queue, eta FROM main.pl_task INDEXED BY "    \
      "pl_task_due WHERE state = " PL__S_TASK_DELAYED " LIMIT ?2) GROUP BY queue")                                     \
    X(WORKERS_SEEN, "SELECT id, number, host, pid, started, lease_until, serves, version, (SELECT count(*) FROM "      \
                    "main.pl_task INDEXED BY pl_task_claimed WHERE state = " PL__S_TASK_CLAIMED                        \
                    " AND owner = w.id) FROM main.pl_worker AS w ORDER BY number")

#endif
