/*
 * claimed.c - the stage of a claim, and the slots that its execution needs: remembered (live.c), or read.
 */
#include "store/sqlite/db.h"

static int copy_outputs(pl_claim_t *claim, const pl_stage_new_t *from, pl_stage_t *stage) {
    stage->outputs_len = from->outputs_len ? from->outputs_len : 1;
    pl_output_t *outputs = pl__arena_get(&claim->arena, stage->outputs_len * sizeof *outputs);
    if (!outputs)
        return PL_ENOMEM;
    stage->outputs = outputs;
    outputs[0] = (pl_output_t){ PL_STR_LIT("default"), from->id };
    for (size_t i = 0; i < from->outputs_len; i++) {
        outputs[i].slot = from->outputs[i].slot;
        PL__TRY(pl__arena_copy(&claim->arena, from->outputs[i].name, &outputs[i].name));
    }
    return PL_OK;
}

static int copy_ids(pl_claim_t *claim, const pl_id_t *from, size_t len, const pl_id_t **out, size_t *out_len) {
    pl_str_t bytes = PL_STR_NONE;
    if (len > 0)
        PL__TRY(pl__arena_copy(&claim->arena, (pl_str_t){ (const char *)from, len * sizeof *from }, &bytes));
    *out = (const pl_id_t *)(const void *)bytes.ptr;
    *out_len = len;
    return PL_OK;
}

/* What pl__stage_load would read of a stage that is ready to run for the first time. */
static int copy_stage(pl_claim_t *claim, const pl__live_t *live, pl_stage_t *stage) {
    const pl_stage_new_t *from = &live->made;
    pl__arena_t *arena = &claim->arena;
    *stage = (pl_stage_t){ .id = from->id,
                           .root = live->root,
                           .parent = live->parent,
                           .state = live->state,
                           .flags = from->flags,
                           .priority = from->priority,
                           .created = live->created,
                           .started = live->started,
                           .eta = from->eta,
                           .max_attempts = from->max_attempts,
                           .backoff_seconds = from->backoff_seconds,
                           .backoff_factor = from->backoff_factor,
                           .timeout = from->timeout };
    PL__TRY(pl__arena_copy(arena, from->class_path, &stage->class_path));
    PL__TRY(pl__arena_copy(arena, from->args.ptr ? from->args : PL_STR_LIT(""), &stage->args));
    PL__TRY(pl__arena_copy(arena, from->base_path, &stage->base_path));
    PL__TRY(pl__arena_copy(arena, from->target, &stage->target));
    PL__TRY(pl__arena_copy(arena, from->key, &stage->key));
    PL__TRY(copy_ids(claim, from->inputs, from->inputs_len, &stage->inputs, &stage->inputs_len));
    PL__TRY(copy_ids(claim, from->after, from->after_len, &stage->after, &stage->after_len));
    stage->queue = claim->queue;
    return copy_outputs(claim, from, stage);
}

int pl__stage_of_claim(pl__conn_t *conn, pl_claim_t *claim, pl_id_t id) {
    bool found = true, is_run = claim->kind == PL_TASK_RUN;
    const pl__live_t *live = is_run ? pl__live_find(conn, id) : NULL;
    pl_stage_t *stage = pl__arena_get(&claim->arena, sizeof *stage);
    if (!stage)
        return PL_ENOMEM;
    if (live && live->whole && live->state == PL_STAGE_READY) {
        PL__TRY(copy_stage(claim, live, stage));
        PL__TRY(pl__stage_read_trace(conn, &claim->arena, stage));
    } else
        PL__TRY(pl__stage_load(conn, id, !is_run, &claim->arena, stage, &found));
    if (!found)
        return PL_OK;
    claim->stage = stage;
    if (is_run && stage->inputs_len == 0)
        return PL_OK;
    return pl__slots_load(conn, stage, 1, true, !is_run, &claim->arena, &claim->slots, &claim->slots_len);
}
