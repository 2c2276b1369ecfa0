/*
 * unwaited.h - the results of ops that nobody waits for.
 */
#ifndef PL_BINDING_COROUTINE_UNWAITED_H
#define PL_BINDING_COROUTINE_UNWAITED_H

#include "binding/handle.h"

/* Says in the log what has failed of an op that is committed. Returns whether there was anything to say. */
bool pl__unwaited_result(pl__handle_t *h, const pl_op_t *op);

#endif
