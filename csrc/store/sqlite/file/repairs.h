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
    "coalesce(s.after_slots, l.after_slots, x''), 0, NULL FROM main.pl_stage AS s LEFT JOIN main.pl_stage_large AS l " \
    "ON l.stage = s.id WHERE s.state = " PL__S_STAGE_WAITING                                                           \
    " UNION ALL SELECT stage, list, at + 1, pl_slot_at(list, at) FROM n WHERE pl_slot_at(list, at) IS NOT NULL) "      \
    "SELECT DISTINCT slot, stage FROM n WHERE slot IS NOT NULL"
#define PL__REPAIR_PROMISED                                                                                            \
    "WITH RECURSIVE n(stage, list, at, slot) AS (SELECT id, outputs, 0, NULL FROM main.pl_stage WHERE state "          \
    "= " PL__S_STAGE_RUN " AND flags & " PL__S_FLAG_ASYNC                                                              \
    " UNION ALL SELECT stage, list, at + 1, pl_output_at(stage, list, at) FROM n WHERE pl_output_at(stage, list, at) " \
    "IS NOT NULL) SELECT DISTINCT slot, stage FROM n WHERE slot IS NOT NULL"

/* A task for each stage whose state asks for one. */
#define PL__REPAIR_GIVE_TASKS                                                                                          \
    "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, CASE state WHEN " PL__S_STAGE_READY   \
    " THEN " PL__S_KIND_RUN " WHEN " PL__S_STAGE_FINALIZING " THEN " PL__S_KIND_FINALIZE " ELSE " PL__S_KIND_ABORT     \
    " END, " PL__S_TASK_DELAYED ", queue, priority, coalesce(retry_at, eta, created) FROM main.pl_stage AS s WHERE "   \
    "(state IN (" PL__S_STAGE_FINALIZING ", " PL__S_STAGE_ABORTING ") OR state = " PL__S_STAGE_READY                   \
    " AND (parent IS NOT NULL OR attempt > 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);"

/* What waits for an output that others wait for as well, in a row of its own as they do. */
#define PL__REPAIR_KNOW_WAITS                                                                                          \
    "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT id, waiter, " PL__S_WAIT_INPUT                      \
    " FROM main.pl_stage WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);"                                  \
    "UPDATE main.pl_stage SET waiter = " PL__IN_WAITS " WHERE waiter IS NOT " PL__IN_WAITS                             \
    " AND id IN (SELECT slot FROM main.pl_wait);"

/* What has come to be aborted waits for nothing, and its task is one that aborts it. */
#define PL__REPAIR_ABORTING                                                                                            \
    "DELETE FROM main.pl_wait WHERE kind < " PL__S_WAIT_DURABLE                                                        \
    " AND stage IN (SELECT id FROM main.pl_stage WHERE state = " PL__S_STAGE_ABORTING ");"                             \
    "UPDATE main.pl_stage SET waiter = NULL WHERE waiter IN (SELECT id FROM main.pl_stage WHERE state "                \
    "= " PL__S_STAGE_ABORTING ");"                                                                                     \
    "UPDATE main.pl_task SET kind = " PL__S_KIND_ABORT " WHERE kind = " PL__S_KIND_RUN                                 \
    " AND state < " PL__S_TASK_CLAIMED " AND id IN (SELECT id FROM main.pl_stage WHERE state = " PL__S_STAGE_ABORTING  \
    ");" PL__REPAIR_GIVE_TASKS

#define PL__REPAIRS(X)                                                                                                 \
    X("a claim of a worker that is gone",                                                                              \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY ", owner = NULL WHERE state = " PL__S_TASK_CLAIMED           \
      " AND owner NOT IN (SELECT id FROM main.pl_worker);"                                                             \
      "DELETE FROM main.pl_permit WHERE worker NOT IN (SELECT id FROM main.pl_worker);")                               \
    X("a task without its stage", "DELETE FROM main.pl_task WHERE kind < " PL__S_KIND_PUSH                             \
                                  " AND coalesce(stage, id) NOT IN (SELECT id FROM main.pl_stage);")                   \
    X("a task that does not fit the state of its stage",                                                               \
      "UPDATE main.pl_task SET kind = (SELECT CASE s.state WHEN " PL__S_STAGE_FINALIZING " THEN " PL__S_KIND_FINALIZE  \
      " ELSE " PL__S_KIND_RUN                                                                                          \
      " END FROM main.pl_stage AS s WHERE s.id = pl_task.id) WHERE kind < " PL__S_KIND_CALLBACK                        \
      " AND id IN (SELECT id FROM main.pl_stage WHERE state IN (" PL__S_STAGE_READY ", " PL__S_STAGE_FINALIZING "));"  \
      "DELETE FROM main.pl_task WHERE kind < " PL__S_KIND_CALLBACK                                                     \
      " AND id IN (SELECT id FROM main.pl_stage WHERE state IN (" PL__S_STAGE_WAITING ", " PL__S_STAGE_RUN             \
      ", " PL__S_STAGE_DONE ", " PL__S_STAGE_ABORTED ", " PL__S_STAGE_ABORT_HELD "));")                                \
    X("a stage without its task", PL__REPAIR_GIVE_TASKS)                                                               \
    X("a stage that does not wait for as many inputs as it says",                                                      \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT w.slot, w.stage, " PL__S_WAIT_INPUT               \
      " FROM (" PL__REPAIR_NEEDED ") AS w WHERE w.slot NOT IN " PL__CHECK_SLOTS                                        \
      " AND NOT EXISTS (SELECT 1 FROM main.pl_stage AS f WHERE f.id = w.slot AND f.waiter = "                          \
      "w.stage);" PL__REPAIR_KNOW_WAITS                                                                                \
      "UPDATE main.pl_stage SET missing = n, state = CASE n WHEN 0 THEN " PL__S_STAGE_READY                            \
      " ELSE " PL__S_STAGE_WAITING " END FROM (SELECT s.id AS stage, (SELECT count(*) FROM " PL__CHECK_WAITS           \
      " AS w WHERE w.stage = s.id AND w.kind = " PL__S_WAIT_INPUT                                                      \
      ") AS n FROM main.pl_stage AS s WHERE s.state = " PL__S_STAGE_WAITING ") WHERE id = stage AND missing <> n;"     \
      "INSERT INTO main.pl_task (id, kind, state, queue, priority, eta) SELECT id, " PL__S_KIND_RUN                    \
      ", " PL__S_TASK_DELAYED                                                                                          \
      ", queue, priority, coalesce(eta, created) FROM main.pl_stage AS s WHERE state = " PL__S_STAGE_READY             \
      " AND parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id);")                   \
    X("a stage that does not wait for as many children and outputs as it says",                                        \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT w.slot, w.stage, " PL__S_WAIT_OUTPUT              \
      " FROM (" PL__REPAIR_PROMISED ") AS w WHERE w.slot NOT IN " PL__CHECK_SLOTS ";"                                  \
      "UPDATE main.pl_stage SET waiter = " PL__IN_WAITS                                                                \
      " WHERE waiter IS NULL AND id IN (SELECT slot FROM main.pl_wait);"                                               \
      "INSERT OR IGNORE INTO main.pl_wait (slot, stage, kind) SELECT id, waiter, " PL__S_WAIT_INPUT                    \
      " FROM main.pl_stage WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);"                                \
      "UPDATE main.pl_stage SET waiter = " PL__IN_WAITS " WHERE waiter > 0 AND id IN (SELECT slot FROM main.pl_wait);" \
      "UPDATE main.pl_stage SET open = n, state = CASE n WHEN 0 THEN " PL__S_STAGE_FINALIZING " ELSE " PL__S_STAGE_RUN \
      " END FROM (SELECT s.id AS stage, (SELECT count(*) FROM main.pl_wait AS w WHERE w.stage = s.id AND w.kind "      \
      "= " PL__S_WAIT_OUTPUT ") + (SELECT count(*) FROM main.pl_stage WHERE parent IS NOT NULL AND root = s.root AND " \
      "parent = s.id AND " PL__IS_UNSETTLED ") AS n FROM main.pl_stage AS s WHERE s.state = " PL__S_STAGE_RUN          \
      ") WHERE id = stage AND open <> n;" PL__REPAIR_GIVE_TASKS)                                                       \
    X("a stage that has begun but still waits for an input",                                                           \
      "DELETE FROM main.pl_wait WHERE kind = " PL__S_WAIT_INPUT                                                        \
      " AND stage IN (SELECT id FROM main.pl_stage WHERE state IN (" PL__S_STAGE_READY ", " PL__S_STAGE_RUN            \
      ", " PL__S_STAGE_FINALIZING ", " PL__S_STAGE_DONE "));"                                                          \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter IN (SELECT id FROM main.pl_stage WHERE state IN "           \
      "(" PL__S_STAGE_READY ", " PL__S_STAGE_RUN ", " PL__S_STAGE_FINALIZING ", " PL__S_STAGE_DONE "));")              \
    X("a wait for a value that is there",                                                                              \
      "DELETE FROM main.pl_wait WHERE kind < " PL__S_WAIT_DURABLE " AND slot IN " PL__CHECK_SLOTS ";"                  \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter > 0 AND id IN " PL__CHECK_SLOTS ";")                        \
    X("a wait without its stage",                                                                                      \
      "DELETE FROM main.pl_wait WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                    \
      "UPDATE main.pl_stage SET waiter = NULL WHERE waiter > 0 AND waiter NOT IN (SELECT id FROM "                     \
      "main.pl_stage);")                                                                                               \
    X("a wait that the stage it waits for does not know", PL__REPAIR_KNOW_WAITS)                                       \
    X("a tree to be aborted with a stage that goes on",                                                                \
      "UPDATE main.pl_stage SET state = " PL__S_STAGE_ABORTING                                                         \
      ", missing = 0, open = 0 WHERE state IN (" PL__S_STAGE_WAITING ", " PL__S_STAGE_READY ", " PL__S_STAGE_RUN       \
      ") AND root IN (SELECT id FROM main.pl_stage WHERE abort_requested);" PL__REPAIR_ABORTING)                       \
    X("a stage that goes on below one that was aborted",                                                               \
      "WITH RECURSIVE below(id) AS (SELECT id FROM main.pl_stage WHERE abort_requested OR state IN "                   \
      "(" PL__S_STAGE_ABORTING ", " PL__S_STAGE_ABORTED ", " PL__S_STAGE_ABORT_HELD                                    \
      ") UNION SELECT c.id FROM below AS b CROSS JOIN main.pl_stage AS c ON c.parent = b.id) UPDATE main.pl_stage "    \
      "SET state = " PL__S_STAGE_ABORTING ", missing = 0, open = 0 WHERE state IN (" PL__S_STAGE_WAITING               \
      ", " PL__S_STAGE_READY ", " PL__S_STAGE_RUN ") AND id IN (SELECT id FROM below);" PL__REPAIR_ABORTING)           \
    X("a stage whose parent is not in its tree",                                                                       \
      "UPDATE main.pl_stage SET parent = NULL, root = id, abort_requested = 1, abort_message = "                       \
      "coalesce(abort_message, 'its pipeline was lost: what was left of it was aborted by a repair "                   \
      "of the store') WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM main.pl_stage);"                      \
      "WITH RECURSIVE tree(id, root) AS (SELECT id, id FROM main.pl_stage WHERE parent IS NULL "                       \
      "UNION ALL SELECT c.id, t.root FROM tree AS t CROSS JOIN main.pl_stage AS c ON c.parent = "                      \
      "t.id) UPDATE main.pl_stage SET root = t.root FROM tree AS t WHERE pl_stage.id = t.id AND "                      \
      "pl_stage.root <> t.root;")                                                                                      \
    X("a durable function that waits, and has news nobody has seen",                                                   \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY " WHERE state = " PL__S_TASK_DELAYED                         \
      " AND alone IS NULL AND id IN (SELECT stage FROM main.pl_flow WHERE mode = " PL__S_MODE_SUSPENDED                \
      " AND dirty);")                                                                                                  \
    X("a durable function that waits for a child that is final",                                                       \
      "UPDATE main.pl_task SET state = " PL__S_TASK_READY " WHERE state = " PL__S_TASK_DELAYED                         \
      " AND alone IS NULL AND id IN (SELECT f.stage FROM main.pl_flow AS f CROSS JOIN main.pl_journal AS j ON "        \
      "j.stage = f.stage CROSS JOIN main.pl_stage AS c ON c.id = j.ref WHERE f.mode = " PL__S_MODE_SUSPENDED           \
      " AND j.kind = " PL__S_ENTRY_CHILD " AND j.done IS NULL AND j.seq >= f.first AND c.state IN (" PL__S_STAGE_DONE  \
      ", " PL__S_STAGE_ABORTED "));")                                                                                  \
    X("a long value of no entry",                                                                                      \
      "DELETE FROM main.pl_journal_large WHERE NOT EXISTS (SELECT 1 FROM main.pl_journal AS j WHERE j.stage = "        \
      "pl_journal_large.stage AND j.seq = pl_journal_large.seq AND j.large);")                                         \
    X("a mailbox that holds not as many mails as it says",                                                             \
      "UPDATE main.pl_flow SET mails = (SELECT count(*) FROM main.pl_mail AS m WHERE m.stage = "                       \
      "pl_flow.stage AND m.taken = 0);")                                                                               \
    X("a fallback of no stage, or of one that does not know it",                                                       \
      "DELETE FROM main.pl_fallback WHERE stage NOT IN (SELECT id FROM main.pl_stage);"                                \
      "UPDATE main.pl_stage SET flags = flags | " PL__S_FLAG_HAS_FALLBACK " WHERE flags & " PL__S_FLAG_HAS_FALLBACK    \
      " = 0 AND id IN (SELECT stage FROM main.pl_fallback);")                                                          \
    X("a trace of no root, or of one that does not know it",                                                           \
      "DELETE FROM main.pl_value WHERE name = '' AND stage NOT IN (SELECT id FROM main.pl_stage WHERE parent IS NULL " \
      "AND flags & " PL__S_FLAG_TRACED ");")                                                                           \
    X("a task whose name is not taken",                                                                                \
      "INSERT INTO main.pl_task_name (queue, name, expires, task) SELECT queue, name, NULL, id FROM main.pl_task AS "  \
      "t WHERE name IS NOT NULL AND state < " PL__S_TASK_DEAD                                                          \
      " AND NOT EXISTS (SELECT 1 FROM main.pl_task_name AS n WHERE n.queue = t.queue AND n.name = t.name AND "         \
      "n.expires IS NULL) ON CONFLICT (queue, name) DO UPDATE SET expires = NULL, task = excluded.task;")              \
    X("a name taken by no task",                                                                                       \
      "UPDATE main.pl_task_name AS n SET expires = 1 WHERE expires IS NULL AND NOT EXISTS (SELECT 1 FROM "             \
      "main.pl_task AS t WHERE t.id = n.task AND t.queue = n.queue AND t.state < " PL__S_TASK_DEAD ");")               \
    X("a body of no task", "DELETE FROM main.pl_task_detail WHERE task NOT IN (SELECT id FROM main.pl_task "           \
                           "WHERE flags & " PL__S_TASK_DETAIL ");")                                                    \
    X("a task whose body is missing",                                                                                  \
      "INSERT OR IGNORE INTO main.pl_dead (task, time, error_class, message) SELECT id, eta, 'Error', 'what it was "   \
      "to do is lost: a repair of the store put it aside' FROM main.pl_task WHERE flags & " PL__S_TASK_DETAIL          \
      " AND kind >= " PL__S_KIND_PUSH " AND state < " PL__S_TASK_DEAD                                                  \
      " AND id NOT IN (SELECT task FROM main.pl_task_detail);"                                                         \
      "UPDATE main.pl_task SET state = " PL__S_TASK_DEAD ", owner = NULL, flags = flags & ~" PL__S_TASK_DETAIL         \
      " WHERE flags & " PL__S_TASK_DETAIL " AND kind >= " PL__S_KIND_PUSH                                              \
      " AND id NOT IN (SELECT task FROM main.pl_task_detail);"                                                         \
      "DELETE FROM main.pl_task WHERE flags & " PL__S_TASK_DETAIL " AND kind < " PL__S_KIND_PUSH                       \
      " AND id NOT IN (SELECT task FROM main.pl_task_detail);")                                                        \
    X("a stage whose arguments are missing",                                                                           \
      "UPDATE main.pl_stage SET args = x'' WHERE args IS NULL AND id NOT IN (SELECT stage FROM "                       \
      "main.pl_stage_large);")                                                                                         \
    X("an error of no dead task",                                                                                      \
      "DELETE FROM main.pl_dead WHERE task NOT IN (SELECT id FROM main.pl_task WHERE state = " PL__S_TASK_DEAD ");")   \
    X("a dead task without its error",                                                                                 \
      "INSERT INTO main.pl_dead (task, time, error_class, message) SELECT id, eta, 'Error', 'its error is lost' FROM " \
      "main.pl_task WHERE state = " PL__S_TASK_DEAD " AND id NOT IN (SELECT task FROM main.pl_dead);")                 \
    X("a task of no queue",                                                                                            \
      "UPDATE main.pl_task SET queue = (SELECT s.queue FROM main.pl_stage AS s WHERE s.id = coalesce(pl_task.stage, "  \
      "pl_task.id)) WHERE kind < " PL__S_KIND_PUSH                                                                     \
      " AND queue NOT IN (SELECT id FROM main.pl_queue) AND EXISTS (SELECT 1 FROM main.pl_stage AS s CROSS JOIN "      \
      "main.pl_queue AS q ON q.id = s.queue WHERE s.id = coalesce(pl_task.stage, pl_task.id));"                        \
      "INSERT INTO main.pl_queue (id, name, mode) SELECT queue, 'lost-' || queue, CASE WHEN max(kind "                 \
      "= " PL__S_KIND_PULL ") THEN 'pull' ELSE 'push' END FROM main.pl_task WHERE queue NOT IN (SELECT id FROM "       \
      "main.pl_queue) GROUP BY queue;")                                                                                \
    X("a value of a stage that is not done",                                                                           \
      "INSERT OR IGNORE INTO main.pl_slot (id, filler, time, value) SELECT id, id, created, result FROM "              \
      "main.pl_stage WHERE result IS NOT NULL AND state NOT IN (" PL__S_STAGE_WAITING ", " PL__S_STAGE_READY           \
      ", " PL__S_STAGE_DONE ");"                                                                                       \
      "UPDATE main.pl_stage SET result = NULL WHERE result IS NOT NULL AND state <> " PL__S_STAGE_DONE ";")            \
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
