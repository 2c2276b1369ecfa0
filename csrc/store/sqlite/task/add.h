/*
 * add.h - what is checked before anything of a run becomes real: its tasks, and what its journal starts.
 */
#ifndef PL_STORE_SQLITE_TASK_ADD_H
#define PL_STORE_SQLITE_TASK_ADD_H

#include "store/sqlite/db.h"

/* What was refused with all that was to become real with it; rc PL_OK: nothing. */
typedef struct {
    int rc;
    const pl_task_new_t *task; /* or */
    const pl_stage_new_t *root;
} pl__refusal_t;

/* The error that a caller would have got. */
int pl__refusal_explain(pl__conn_t *conn, const pl__refusal_t *refusal, pl_failure_t *failure);

/* As pl__task_check, for tasks that are added together, and with others that were checked: no two may be one. The first
 * that cannot be added is refused. */
int pl__tasks_check(pl__conn_t *conn, pl_task_new_t *tasks, size_t len, const pl_task_new_t *others, size_t others_len,
                    pl__refusal_t *refusal);

/* Checks, without writing, what a durable function is to write: tasks, also beside others of its run, and roots. */
int pl__journal_check(pl__conn_t *conn, const pl_journal_t *journal, const pl_task_new_t *others, size_t others_len,
                      pl__refusal_t *refusal);

#endif
