/*
 * final.h - watched stages that have become final, until the "final" hook has heard of them.
 */
#ifndef PL_BINDING_COROUTINE_FINAL_H
#define PL_BINDING_COROUTINE_FINAL_H

#include <stdbool.h>

#include "binding/handle.h"

/* Notes that the stage is in that state; the engine has its record as long as it tells of it. False, and said in the
 * log: there is no memory. */
bool pl__final_add(pl__handle_t *h, pl_id_t stage, pl_stage_state_t state);
/* Tells the hook of the first one, through the trampoline. */
void pl__final_report(pl__handle_t *h);
/* The engine has told: whoever has not heard yet reads the records from the store. */
void pl__final_forget_records(pl__handle_t *h);
/* Frees all; nobody hears of them. */
void pl__final_forget(pl__handle_t *h);

#endif
