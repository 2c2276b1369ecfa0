/*
 * host.h - the hooks of an engine whose host waits for nothing: for C tests.
 */
#ifndef PL_SPEC_HOST_H
#define PL_SPEC_HOST_H

#include "engine/pipeline.h"

static inline void op_done_cb(void *data, pl_op_t *op) {
    (void)data;
    pl_op_free(op);
}

static inline void final_cb(void *data, pl_id_t stage, pl_stage_state_t state) {
    (void)data;
    (void)stage;
    (void)state;
}

#endif
