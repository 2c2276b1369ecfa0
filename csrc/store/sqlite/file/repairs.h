/*
 * repairs.h - what mends a rule of checks.h that is broken: X(title, statements).
 *
 * A mend keeps whatever can still be done or read: what is wrong in a row is made right from the rows beside it, what
 * cannot be done any more is aborted or put among the dead with a reason, and rows go only if nothing could ever read
 * them. One mend may break another rule, which has a mend of its own: a repair goes round until nothing is found.
 */
#ifndef PL_STORE_SQLITE_REPAIRS_H
#define PL_STORE_SQLITE_REPAIRS_H

#include "store/sqlite/checks.h"

/* What stages that wait need, and what asynchronous ones have promised: a row for each slot. See repair.c. */
#define PL__REPAIR_NEEDED                                                                                              \
    "WITH RECURSIVE n(stage, list, at, slot) AS (SELECT s.id, coalesce(s.inputs, l.inputs, x'') || "                   \
    "coalesce(s.after_slots, l.after_slots, x''), 0, NULL FROM main.pl_stage AS s LEFT JOIN main.pl_stage_large AS "   \
    "l ON l.stage = s.id WHERE s.state = 0 UNION ALL SELECT stage, list, at + 1, pl_slot_at(list, at) FROM n WHERE "   \
    "pl_slot_at(list, at) IS NOT NULL) SELECT DISTINCT slot, stage FROM n WHERE slot IS NOT NULL"
#define PL__REPAIR_PROMISED                                                                                            \
    "WITH RECURSIVE n(stage, list, at, slot) AS (SELECT id, outputs, 0, NULL FROM main.pl_stage WHERE state = 2 AND "  \
    "flags & 1 UNION ALL SELECT stage, list, at + 1, pl_output_at(stage, list, at) FROM n WHERE "                      \
    "pl_output_at(stage, list, at) IS NOT NULL) SELECT DISTINCT slot, stage FROM n WHERE slot IS NOT NULL"

#define PL__REPAIRS(X)                                                                                                 \
    X("a claim of a worker that is gone",                                                                              \
      "UPDATE main.pl_task SET state = 0, owner = NULL WHERE state = 2 AND owner NOT IN (SELECT id "                   \
      "FROM main.pl_worker);"                                                                                          \
      "DELETE FROM main.pl_permit WHERE worker NOT IN (SELECT id FROM main.pl_worker);")                               \
    X("a task without its stage",                                                                                      \
      "DELETE FROM main.pl_task WHERE kind < 4 AND coalesce(stage, id) NOT IN (SELECT id FROM "                        \
      "main.pl_stage);")                                                                                               \
    X("a task that does not fit the state of its stage",                                                               \
      "UPDATE main.pl_task SET kind = (SELECT s.state = 3 FROM main.pl_stage AS s WHERE s.id = "                       \
      "pl_task.id) WHERE kind < 3 AND id IN (SELECT id FROM main.pl_stage WHERE state IN (1, 3));"                     \
      "DELETE FROM main.pl_task WHERE kind < 3 AND id IN (SELECT id FROM main.pl_stage WHERE state "                   \
      "IN (0, 2, 4, 6, 7));")                                                                                          \
    X("a stage without its task",                                                                                      \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, CASE state WHEN "                   \
      "1 THEN 0 WHEN 3 THEN 1 ELSE 2 END, 1, queue, priority, coalesce(retry_at, eta, created) FROM"                   \
      " main.pl_stage AS s WHERE (state IN (3, 5) OR state = 1 AND (parent IS NOT NULL OR attempt >"                   \
      " 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                                      \
    X("a stage that does not wait for as many inputs as it says",                                                      \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT w.slot, w.stage, 0 FROM (" PL__REPAIR_NEEDED      \
      ") AS w WHERE w.slot NOT IN " PL__CHECK_SLOTS                                                                    \
      " AND NOT EXISTS (SELECT 1 FROM main.pl_stage AS f WHERE f.id = w.slot AND f.waiter = "                          \
      "w.stage);"                                                                                                      \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT id, waiter, 0 FROM "                              \
      "main.pl_stage WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);"                                      \
      "UPDATE main.pl_stage SET waiter = -1 WHERE waiter IS NOT -1 AND id IN (SELECT slot FROM "                       \
      "main.pl_wait);"                                                                                                 \
      "UPDATE main.pl_stage SET missing = n, state = CASE n WHEN 0 THEN 1 ELSE 0 END FROM (SELECT "                    \
      "s.id AS stage, (SELECT count(*) FROM " PL__CHECK_WAITS                                                          \
      " AS w WHERE w.stage = s.id AND w.kind = 0) AS n FROM main.pl_stage AS s WHERE s.state = 0) "                    \
      "WHERE id = stage AND missing <> n;"                                                                             \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, 0, 1, queue, "                      \
      "priority, coalesce(eta, created) FROM main.pl_stage AS s WHERE state = 1 AND parent IS NOT "                    \
      "NULL AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                                      \
    X("a stage that does not wait for as many children and outputs as it says",                                        \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT w.slot, w.stage, 1 FROM (" PL__REPAIR_PROMISED    \
      ") AS w WHERE w.slot NOT IN " PL__CHECK_SLOTS ";"                                                                \
      "UPDATE main.pl_stage SET waiter = -1 WHERE waiter IS NULL AND id IN (SELECT slot FROM "                         \
      "main.pl_wait);"                                                                                                 \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT id, waiter, 0 FROM "                              \
      "main.pl_stage WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);"                                      \
      "UPDATE main.pl_stage SET waiter = -1 WHERE waiter > 0 AND id IN (SELECT slot FROM "                             \
      "main.pl_wait);"                                                                                                 \
      "UPDATE main.pl_stage SET open = n, state = CASE n WHEN 0 THEN 3 ELSE 2 END FROM (SELECT s.id"                   \
      " AS stage, (SELECT count(*) FROM main.pl_wait AS w WHERE w.stage = s.id AND w.kind = 1) + "                     \
      "(SELECT count(*) FROM main.pl_stage WHERE parent IS NOT NULL AND root = s.root AND parent = "                   \
      "s.id AND " PL__IS_UNSETTLED ") AS n FROM main.pl_stage AS s WHERE s.state = 2) WHERE id = stage AND open <> n;" \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, CASE state WHEN "                   \
      "1 THEN 0 WHEN 3 THEN 1 ELSE 2 END, 1, queue, priority, coalesce(retry_at, eta, created) FROM"                   \
      " main.pl_stage AS s WHERE (state IN (3, 5) OR state = 1 AND (parent IS NOT NULL OR attempt >"                   \
      " 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                                      \
    X("a stage that has begun but still waits for an input",                                                           \
      "DELETE FROM main.pl_wait WHERE kind = 0 AND stage IN (SELECT id FROM main.pl_stage WHERE "                      \
      "state IN (1, 2, 3, 4));"                                                                                        \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter IN (SELECT id FROM main.pl_stage WHERE "                    \
      "state IN (1, 2, 3, 4));")                                                                                       \
    X("a wait for a value that is there",                                                                              \
      "DELETE FROM main.pl_wait WHERE kind < 2 AND slot IN " PL__CHECK_SLOTS ";"                                       \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter > 0 AND id IN " PL__CHECK_SLOTS ";")                        \
    X("a wait without its stage",                                                                                      \
      "DELETE FROM main.pl_wait WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                    \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter > 0 AND waiter NOT IN (SELECT id FROM "                     \
      "main.pl_stage);")                                                                                               \
    X("a wait that the stage it waits for does not know",                                                              \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT id, waiter, 0 FROM "                              \
      "main.pl_stage WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);"                                      \
      "UPDATE main.pl_stage SET waiter = -1 WHERE waiter IS NOT -1 AND id IN (SELECT slot FROM "                       \
      "main.pl_wait);")                                                                                                \
    X("a tree to be aborted with a stage that goes on",                                                                \
      "UPDATE main.pl_stage SET state = 5, missing = 0, open = 0 WHERE state IN (0, 1, 2) AND root "                   \
      "IN (SELECT id FROM main.pl_stage WHERE abort_requested);"                                                       \
      "DELETE FROM main.pl_wait WHERE kind < 2 AND stage IN (SELECT id FROM main.pl_stage WHERE "                      \
      "state = 5);"                                                                                                    \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter IN (SELECT id FROM main.pl_stage WHERE "                    \
      "state = 5);"                                                                                                    \
      "UPDATE main.pl_task SET kind = 2 WHERE kind = 0 AND state < 2 AND id IN (SELECT id FROM "                       \
      "main.pl_stage WHERE state = 5);"                                                                                \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, CASE state WHEN "                   \
      "1 THEN 0 WHEN 3 THEN 1 ELSE 2 END, 1, queue, priority, coalesce(retry_at, eta, created) FROM"                   \
      " main.pl_stage AS s WHERE (state IN (3, 5) OR state = 1 AND (parent IS NOT NULL OR attempt >"                   \
      " 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                                      \
    X("a stage that goes on below one that was aborted",                                                               \
      "WITH RECURSIVE below(id) AS (SELECT id FROM main.pl_stage WHERE abort_requested OR state IN "                   \
      "(5, 6, 7) UNION SELECT c.id FROM below AS b CROSS JOIN main.pl_stage AS c ON c.parent = "                       \
      "b.id) UPDATE main.pl_stage SET state = 5, missing = 0, open = 0 WHERE state IN (0, 1, 2) AND"                   \
      " id IN (SELECT id FROM below);"                                                                                 \
      "DELETE FROM main.pl_wait WHERE kind < 2 AND stage IN (SELECT id FROM main.pl_stage WHERE "                      \
      "state = 5);"                                                                                                    \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter IN (SELECT id FROM main.pl_stage WHERE "                    \
      "state = 5);"                                                                                                    \
      "UPDATE main.pl_task SET kind = 2 WHERE kind = 0 AND state < 2 AND id IN (SELECT id FROM "                       \
      "main.pl_stage WHERE state = 5);"                                                                                \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, CASE state WHEN "                   \
      "1 THEN 0 WHEN 3 THEN 1 ELSE 2 END, 1, queue, priority, coalesce(retry_at, eta, created) FROM"                   \
      " main.pl_stage AS s WHERE (state IN (3, 5) OR state = 1 AND (parent IS NOT NULL OR attempt >"                   \
      " 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                                      \
    X("a stage whose parent is not in its tree",                                                                       \
      "UPDATE main.pl_stage SET parent = NULL, root = id, abort_requested = 1, abort_message = "                       \
      "coalesce(abort_message, 'its pipeline was lost: what was left of it was aborted by a repair "                   \
      "of the store') WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM main.pl_stage);"                      \
      "WITH RECURSIVE tree(id, root) AS (SELECT id, id FROM main.pl_stage WHERE parent IS NULL "                       \
      "UNION ALL SELECT c.id, t.root FROM tree AS t CROSS JOIN main.pl_stage AS c ON c.parent = "                      \
      "t.id) UPDATE main.pl_stage SET root = t.root FROM tree AS t WHERE pl_stage.id = t.id AND "                      \
      "pl_stage.root <> t.root;")                                                                                      \
    X("a durable function that waits, and has news nobody has seen",                                                   \
      "UPDATE main.pl_task SET state = 0 WHERE state = 1 AND alone IS NULL AND id IN (SELECT stage "                   \
      "FROM main.pl_flow WHERE mode = 1 AND dirty);")                                                                  \
    X("a durable function that waits for a child that is final",                                                       \
      "UPDATE main.pl_task SET state = 0 WHERE state = 1 AND alone IS NULL AND id IN (SELECT "                         \
      "f.stage FROM main.pl_flow AS f CROSS JOIN main.pl_journal AS j ON j.stage = f.stage CROSS "                     \
      "JOIN main.pl_stage AS c ON c.id = j.ref WHERE f.mode = 1 AND j.kind = 4 AND j.done IS NULL "                    \
      "AND j.seq >= f.first AND c.state IN (4, 6));")                                                                  \
    X("a mailbox that holds not as many mails as it says",                                                             \
      "UPDATE main.pl_flow SET mails = (SELECT count(*) FROM main.pl_mail AS m WHERE m.stage = "                       \
      "pl_flow.stage AND m.taken = 0);")                                                                               \
    X("a fallback of no stage, or of one that does not know it",                                                       \
      "DELETE FROM main.pl_fallback WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                \
      "UPDATE main.pl_stage SET flags = flags | 16384 WHERE flags & 16384 = 0 AND id IN (SELECT "                      \
      "stage FROM main.pl_fallback);")                                                                                 \
    X("a trace of no root, or of one that does not know it",                                                           \
      "DELETE FROM main.pl_value WHERE name = '' AND stage NOT IN (SELECT id FROM main.pl_stage WHERE parent IS NULL " \
      "AND flags & 4194304);")                                                                                         \
    X("a task whose name is not taken",                                                                                \
      "INSERT INTO main.pl_task_name (queue, name, expires, task) SELECT queue, name, NULL, id FROM"                   \
      " main.pl_task AS t WHERE name IS NOT NULL AND state < 4 AND NOT EXISTS (SELECT 1 FROM "                         \
      "main.pl_task_name AS n WHERE n.queue = t.queue AND n.name = t.name AND n.expires IS NULL) ON"                   \
      " CONFLICT (queue, name) DO UPDATE SET expires = NULL, task = excluded.task;")                                   \
    X("a name taken by no task",                                                                                       \
      "UPDATE main.pl_task_name AS n SET expires = 1 WHERE expires IS NULL AND NOT EXISTS (SELECT 1"                   \
      " FROM main.pl_task AS t WHERE t.id = n.task AND t.queue = n.queue AND t.state < 4);")                           \
    X("a long body of no task",                                                                                        \
      "DELETE FROM main.pl_task_large WHERE task NOT IN (SELECT id FROM main.pl_task WHERE large);")                   \
    X("a task whose long body is missing",                                                                             \
      "INSERT OR IGNORE INTO main.pl_dead (task, time, error_class, message) SELECT id, eta, "                         \
      "'Error', 'what it was to do is lost: a repair of the store put it aside' FROM main.pl_task "                    \
      "WHERE large AND kind >= 4 AND state < 4 AND id NOT IN (SELECT task FROM main.pl_task_large);"                   \
      "UPDATE main.pl_task SET state = 4, owner = NULL, large = 0 WHERE large AND kind >= 4 AND id "                   \
      "NOT IN (SELECT task FROM main.pl_task_large);"                                                                  \
      "DELETE FROM main.pl_task WHERE large AND kind < 4 AND id NOT IN (SELECT task FROM "                             \
      "main.pl_task_large);")                                                                                          \
    X("a stage whose arguments are missing",                                                                           \
      "UPDATE main.pl_stage SET args = x'' WHERE args IS NULL AND id NOT IN (SELECT stage FROM "                       \
      "main.pl_stage_large);")                                                                                         \
    X("an error of no dead task",                                                                                      \
      "DELETE FROM main.pl_dead WHERE task NOT IN (SELECT id FROM main.pl_task WHERE state = 4);")                     \
    X("a dead task without its error",                                                                                 \
      "INSERT INTO main.pl_dead (task, time, error_class, message) SELECT id, eta, 'Error', 'its "                     \
      "error is lost' FROM main.pl_task WHERE state = 4 AND id NOT IN (SELECT task FROM "                              \
      "main.pl_dead);")                                                                                                \
    X("a task of no queue",                                                                                            \
      "UPDATE main.pl_task SET queue = (SELECT s.queue FROM main.pl_stage AS s WHERE s.id = "                          \
      "coalesce(pl_task.stage, pl_task.id)) WHERE kind < 4 AND queue NOT IN (SELECT id FROM "                          \
      "main.pl_queue) AND EXISTS (SELECT 1 FROM main.pl_stage AS s CROSS JOIN main.pl_queue AS q ON"                   \
      " q.id = s.queue WHERE s.id = coalesce(pl_task.stage, pl_task.id));"                                             \
      "INSERT INTO main.pl_queue (id, name, mode) SELECT queue, 'lost-' || queue, CASE WHEN "                          \
      "max(kind = 5) THEN 'pull' ELSE 'push' END FROM main.pl_task WHERE queue NOT IN (SELECT id "                     \
      "FROM main.pl_queue) GROUP BY queue;")                                                                           \
    X("a value of a stage that is not done",                                                                           \
      "INSERT OR IGNORE INTO main.pl_slot (id, filler, time, value) SELECT id, id, created, result "                   \
      "FROM main.pl_stage WHERE result IS NOT NULL AND state NOT IN (0, 1, 4);"                                        \
      "UPDATE main.pl_stage SET result = NULL WHERE result IS NOT NULL AND state <> 4;")                               \
    X("a value without the stage that filled it",                                                                      \
      "UPDATE main.pl_slot SET filler = coalesce((SELECT max(id) FROM main.pl_stage WHERE id <= "                      \
      "pl_slot.id), (SELECT min(id) FROM main.pl_stage)) WHERE filler NOT IN (SELECT id FROM "                         \
      "main.pl_stage) AND EXISTS (SELECT 1 FROM main.pl_stage);"                                                       \
      "DELETE FROM main.pl_slot WHERE NOT EXISTS (SELECT 1 FROM main.pl_stage);")                                      \
    X("damage", "REINDEX;")                                                                                            \
    X("a row without the one it belongs to, in table",                                                                 \
      "DELETE FROM main.pl_stage_large WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                             \
      "DELETE FROM main.pl_status WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                  \
      "DELETE FROM main.pl_failure WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                 \
      "DELETE FROM main.pl_fallback WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                \
      "DELETE FROM main.pl_flow WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                    \
      "DELETE FROM main.pl_told WHERE root NOT IN (SELECT id FROM main.pl_stage);"                                     \
      "DELETE FROM main.pl_permit WHERE worker NOT IN (SELECT id FROM main.pl_worker);"                                \
      "DELETE FROM main.pl_fire WHERE schedule NOT IN (SELECT id FROM main.pl_schedule);")

#endif
