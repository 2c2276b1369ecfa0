/*
 * checks.h - rules that hold after every commit, each as a query that gives one text for each row that breaks it.
 *
 * X(title, sql). Kinds below 3 are tasks of a stage's own life (run, finalize, abort) and bear its id; states are those
 * of pl_stage_state_t and of pl_task.
 */
#ifndef PL_STORE_SQLITE_CHECKS_H
#define PL_STORE_SQLITE_CHECKS_H

/* Waits and values, wherever they are. */
#define PL__CHECK_WAITS                                                                                                \
    "(SELECT slot, stage, kind FROM main.pl_wait UNION ALL SELECT id, waiter, " PL__S_WAIT_INPUT                       \
    " FROM main.pl_stage WHERE waiter > 0)"
#define PL__CHECK_SLOTS "(SELECT id FROM main.pl_slot UNION ALL SELECT id FROM main.pl_stage WHERE result IS NOT NULL)"

/* Stage s is no durable function that was asked to abort, nor below one, which aborts it. */
#define PL__CHECK_NOT_ASKED                                                                                            \
    "NOT EXISTS (WITH RECURSIVE up (id) AS (SELECT s.id UNION ALL SELECT p.parent FROM up CROSS JOIN main.pl_stage "   \
    "AS p ON p.id = up.id WHERE p.parent IS NOT NULL) SELECT 1 FROM up CROSS JOIN main.pl_flow AS f ON f.stage = "     \
    "up.id WHERE f.cancel > 0)"

/* Where trees are being deleted some rows go before others. */
#define PL__WHOLE "NOT EXISTS (SELECT 1 FROM main.pl_deletion)"

#define PL__CHECKS(X)                                                                                                  \
    X("a claim of a worker that is gone", "SELECT 'task ' || id FROM main.pl_task WHERE state = " PL__S_TASK_CLAIMED   \
                                          " AND owner NOT IN (SELECT id FROM main.pl_worker)")                         \
    X("a task without its stage", "SELECT 'task ' || id FROM main.pl_task WHERE kind < " PL__S_KIND_PUSH               \
                                  " AND coalesce(stage, id) NOT IN (SELECT id FROM main.pl_stage)")                    \
    X("a task that does not fit the state of its stage",                                                               \
      "SELECT 'stage ' || t.id || ', kind ' || t.kind || ', state ' || s.state FROM main.pl_task AS t CROSS JOIN "     \
      "main.pl_stage AS s ON s.id = t.id WHERE t.kind < " PL__S_KIND_CALLBACK " AND NOT (s.state = " PL__S_STAGE_READY \
      " AND t.kind = " PL__S_KIND_RUN " OR s.state = " PL__S_STAGE_FINALIZING " AND t.kind = " PL__S_KIND_FINALIZE     \
      " OR s.state = " PL__S_STAGE_ABORTING ")")                                                                       \
    /* a root that was never tried may have been started with return_task: its task is the user's to add */            \
    X("a stage without its task",                                                                                      \
      "SELECT 'stage ' || id || ', state ' || state FROM main.pl_stage AS s WHERE (state IN (" PL__S_STAGE_FINALIZING  \
      ", " PL__S_STAGE_ABORTING ") OR state = " PL__S_STAGE_READY                                                      \
      " AND (parent IS NOT NULL OR attempt > 0)) AND NOT EXISTS (SELECT 1 FROM main.pl_task AS t WHERE t.id = s.id "   \
      "AND t.kind < " PL__S_KIND_CALLBACK ")")                                                                         \
    X("a stage that does not wait for as many inputs as it says",                                                      \
      "SELECT 'stage ' || id || ', missing ' || missing FROM main.pl_stage AS s LEFT JOIN (SELECT stage, count(*) AS " \
      "n FROM " PL__CHECK_WAITS " WHERE kind = " PL__S_WAIT_INPUT                                                      \
      " GROUP BY stage) AS w ON w.stage = s.id WHERE s.state = " PL__S_STAGE_WAITING " AND missing <> coalesce(n, 0)") \
    X("a stage that does not wait for as many children and outputs as it says",                                        \
      "SELECT 'stage ' || s.id || ', open ' || open FROM main.pl_stage AS s LEFT JOIN (SELECT stage, count(*) AS n "   \
      "FROM main.pl_wait WHERE kind = " PL__S_WAIT_OUTPUT                                                              \
      " GROUP BY stage) AS w ON w.stage = s.id LEFT JOIN (SELECT parent, count(*) AS n FROM main.pl_stage WHERE "      \
      "parent IS NOT NULL AND " PL__IS_UNSETTLED                                                                       \
      " GROUP BY parent) AS c ON c.parent = s.id WHERE s.state = " PL__S_STAGE_RUN                                     \
      " AND open <> coalesce(w.n, 0) + coalesce(c.n, 0)")                                                              \
    X("a stage that has begun but still waits for an input",                                                           \
      "SELECT 'stage ' || w.stage || ', slot ' || w.slot FROM " PL__CHECK_WAITS                                        \
      " AS w CROSS JOIN main.pl_stage AS s ON s.id = w.stage WHERE w.kind = " PL__S_WAIT_INPUT                         \
      " AND s.state IN (" PL__S_STAGE_READY ", " PL__S_STAGE_RUN ", " PL__S_STAGE_FINALIZING ", " PL__S_STAGE_DONE     \
      ")")                                                                                                             \
    X("a wait for a value that is there",                                                                              \
      "SELECT 'stage ' || w.stage || ', slot ' || w.slot FROM " PL__CHECK_WAITS " AS w "                               \
      "CROSS JOIN " PL__CHECK_SLOTS " AS v ON v.id = w.slot")                                                          \
    X("a wait without its stage", "SELECT 'slot ' || slot FROM " PL__CHECK_WAITS                                       \
                                  " WHERE stage NOT IN (SELECT id FROM main.pl_stage) AND " PL__WHOLE)                 \
    X("a wait that the stage it waits for does not know",                                                              \
      "SELECT 'stage ' || w.stage || ', slot ' || w.slot FROM main.pl_wait AS w CROSS JOIN main.pl_stage AS s ON "     \
      "s.id = w.slot WHERE s.waiter IS NOT " PL__IN_WAITS)                                                             \
    X("a stage whose parent is not in its tree",                                                                       \
      "SELECT 'stage ' || id FROM main.pl_stage AS s WHERE parent IS NOT NULL AND NOT EXISTS "                         \
      "(SELECT 1 FROM main.pl_stage AS p WHERE p.id = s.parent AND p.root = s.root) AND " PL__WHOLE)                   \
    X("a tree to be aborted with a stage that goes on",                                                                \
      "SELECT 'stage ' || s.id || ', state ' || s.state FROM main.pl_stage AS s CROSS JOIN main.pl_stage AS r ON "     \
      "r.id = s.root WHERE s.state IN (" PL__S_STAGE_WAITING ", " PL__S_STAGE_READY ", " PL__S_STAGE_RUN               \
      ") AND r.abort_requested AND " PL__CHECK_NOT_ASKED)                                                              \
    X("a stage that goes on below one that was aborted",                                                               \
      "SELECT 'stage ' || s.id || ', state ' || s.state FROM main.pl_stage AS s CROSS JOIN main.pl_stage AS p ON "     \
      "p.id = s.parent WHERE s.state IN (" PL__S_STAGE_WAITING ", " PL__S_STAGE_READY ", " PL__S_STAGE_RUN             \
      ") AND (p.state IN (" PL__S_STAGE_ABORTING ", " PL__S_STAGE_ABORTED ", " PL__S_STAGE_ABORT_HELD                  \
      ") OR s.abort_requested) AND " PL__CHECK_NOT_ASKED)                                                              \
    X("a scope below a stage that is no durable function",                                                             \
      "SELECT 'stage ' || s.id FROM main.pl_stage AS s WHERE s.flags & " PL__S_FLAG_SCOPE                              \
      " AND NOT EXISTS (SELECT 1 FROM main.pl_stage AS p WHERE p.id = s.parent AND p.flags & " PL__S_FLAG_DURABLE      \
      ") AND " PL__WHOLE)                                                                                              \
    X("a durable function without its record, or a record of no such",                                                 \
      "SELECT 'stage ' || id FROM main.pl_stage AS s WHERE flags & " PL__S_FLAG_DURABLE                                \
      " AND NOT EXISTS (SELECT 1 FROM main.pl_flow AS f WHERE f.stage = s.id) UNION ALL SELECT 'stage ' || f.stage "   \
      "FROM main.pl_flow AS f WHERE NOT EXISTS (SELECT 1 FROM main.pl_stage AS s WHERE s.id = f.stage AND s.flags "    \
      "& " PL__S_FLAG_DURABLE ")")                                                                                     \
    X("a durable function in a mode that its stage is not in",                                                         \
      "SELECT 'stage ' || f.stage || ', mode ' || f.mode || ', state ' || s.state FROM main.pl_flow AS f CROSS JOIN "  \
      "main.pl_stage AS s ON s.id = f.stage WHERE (f.mode = " PL__S_MODE_OVER ") <> (s.state IN (" PL__S_STAGE_DONE    \
      ", " PL__S_STAGE_ABORTED "))")                                                                                   \
    X("a durable function that waits, and has news nobody has seen",                                                   \
      "SELECT 'stage ' || f.stage FROM main.pl_flow AS f CROSS JOIN main.pl_task AS t ON t.id = f.stage WHERE f.mode " \
      "= " PL__S_MODE_SUSPENDED " AND f.dirty AND t.state = " PL__S_TASK_DELAYED " AND t.alone IS NULL")               \
    X("a durable function that waits for a child that is final",                                                       \
      "SELECT 'stage ' || f.stage || ', child ' || j.ref FROM main.pl_flow AS f CROSS JOIN main.pl_task AS t ON t.id " \
      "= f.stage CROSS JOIN main.pl_journal AS j ON j.stage = f.stage CROSS JOIN main.pl_stage AS c ON c.id = j.ref "  \
      "WHERE f.mode = " PL__S_MODE_SUSPENDED " AND t.state = " PL__S_TASK_DELAYED                                      \
      " AND t.alone IS NULL AND j.kind = " PL__S_ENTRY_CHILD                                                           \
      " AND j.done IS NULL AND j.seq >= f.first AND c.state IN (" PL__S_STAGE_DONE ", " PL__S_STAGE_ABORTED ")")       \
    X("an entry, or a mail, of no durable function",                                                                   \
      "SELECT 'stage ' || stage || ', entry ' || seq FROM main.pl_journal WHERE stage NOT IN (SELECT stage FROM "      \
      "main.pl_flow) UNION ALL SELECT 'stage ' || stage || ', mail ' || number FROM main.pl_mail WHERE stage NOT IN "  \
      "(SELECT stage FROM main.pl_flow)")                                                                              \
    X("an entry that was numbered beyond what its function knows",                                                     \
      "SELECT 'stage ' || j.stage || ', entry ' || j.seq FROM main.pl_journal AS j CROSS JOIN main.pl_flow AS f ON "   \
      "f.stage = j.stage WHERE j.seq >= f.next OR j.done >= f.next")                                                   \
    X("two entries delivered at once",                                                                                 \
      "SELECT 'stage ' || stage || ', ' || done FROM main.pl_journal WHERE done IS NOT NULL GROUP BY stage, done "     \
      "HAVING count(*) > 1")                                                                                           \
    X("an entry whose long value is missing",                                                                          \
      "SELECT 'stage ' || stage || ', entry ' || seq FROM main.pl_journal AS j WHERE large AND NOT EXISTS (SELECT 1 "  \
      "FROM main.pl_journal_large AS l WHERE l.stage = j.stage AND l.seq = j.seq)")                                    \
    X("a long value of no entry",                                                                                      \
      "SELECT 'stage ' || stage || ', entry ' || seq FROM main.pl_journal_large AS l WHERE NOT EXISTS (SELECT 1 FROM " \
      "main.pl_journal AS j WHERE j.stage = l.stage AND j.seq = l.seq AND j.large)")                                   \
    X("a mailbox that holds not as many mails as it says",                                                             \
      "SELECT 'stage ' || stage || ', mails ' || mails FROM main.pl_flow AS f WHERE mails <> (SELECT count(*) FROM "   \
      "main.pl_mail AS m WHERE m.stage = f.stage AND m.taken = 0)")                                                    \
    X("a fallback of no stage, or of one that does not know it",                                                       \
      "SELECT 'stage ' || f.stage FROM main.pl_fallback AS f WHERE NOT EXISTS (SELECT 1 FROM main.pl_stage AS s "      \
      "WHERE s.id = f.stage AND s.flags & " PL__S_FLAG_HAS_FALLBACK ")")                                               \
    X("a trace of no root, or of one that does not know it",                                                           \
      "SELECT 'stage ' || v.stage FROM main.pl_value AS v WHERE v.name = '' AND NOT EXISTS (SELECT 1 FROM "            \
      "main.pl_stage AS s WHERE s.id = v.stage AND s.parent IS NULL AND s.flags & " PL__S_FLAG_TRACED ")")             \
    X("a task whose name is not taken",                                                                                \
      "SELECT 'task ' || id || ', ' || name FROM main.pl_task AS t WHERE name IS NOT NULL AND state "                  \
      "< " PL__S_TASK_DEAD " AND NOT EXISTS (SELECT 1 FROM main.pl_task_name AS n WHERE n.queue = t.queue AND n.name " \
      "= t.name AND n.expires IS NULL)")                                                                               \
    X("a name taken by no task",                                                                                       \
      "SELECT n.name FROM main.pl_task_name AS n WHERE expires IS NULL AND NOT EXISTS (SELECT 1 FROM main.pl_task AS " \
      "t WHERE t.id = n.task AND t.queue = n.queue AND t.state < " PL__S_TASK_DEAD ")")                                \
    X("a body of no task", "SELECT 'task ' || task FROM main.pl_task_detail WHERE task NOT IN "                        \
                           "(SELECT id FROM main.pl_task WHERE flags & " PL__S_TASK_DETAIL ")")                        \
    X("a task whose body is missing",                                                                                  \
      "SELECT 'task ' || id FROM main.pl_task WHERE flags & " PL__S_TASK_DETAIL " AND id NOT IN "                      \
      "(SELECT task FROM main.pl_task_detail)")                                                                        \
    X("a stage whose arguments are missing", "SELECT 'stage ' || id FROM main.pl_stage WHERE args IS NULL AND "        \
                                             "id NOT IN (SELECT stage FROM main.pl_stage_large)")                      \
    X("an error of no dead task", "SELECT 'task ' || task FROM main.pl_dead WHERE task NOT IN (SELECT id FROM "        \
                                  "main.pl_task WHERE state = " PL__S_TASK_DEAD ")")                                   \
    X("a dead task without its error", "SELECT 'task ' || id FROM main.pl_task WHERE state = " PL__S_TASK_DEAD         \
                                       " AND id NOT IN (SELECT task FROM main.pl_dead)")                               \
    X("a task of no queue", "SELECT 'task ' || id || ', queue ' || queue FROM main.pl_task WHERE queue NOT IN "        \
                            "(SELECT id FROM main.pl_queue)")                                                          \
    X("a value of a stage that is not done", "SELECT 'stage ' || id || ', state ' || state FROM main.pl_stage WHERE "  \
                                             "result IS NOT NULL AND state <> " PL__S_STAGE_DONE)                      \
    X("a value without the stage that filled it",                                                                      \
      "SELECT 'slot ' || id FROM main.pl_slot WHERE filler NOT IN (SELECT id FROM main.pl_stage) AND " PL__WHOLE)

#endif
