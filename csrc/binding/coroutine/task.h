/*
 * task.h - a task as the job of a coroutine. See task.c.
 */
#ifndef PL_BINDING_COROUTINE_TASK_H
#define PL_BINDING_COROUTINE_TASK_H

#include "binding/handle.h"

/* Takes claim: executes it in a managed coroutine (host.execute). */
void pl__task_execute(pl__handle_t *h, pl_claim_t *claim);

#endif
