/*
 * view.h - what people look at. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_VIEW_H
#define PL_SPEC_MEMORY_VIEW_H

#include "reads.h"

static int by_number(const void *a, const void *b) {
    const pl_id_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void do_ids_find(pl__conn_t *m, pl_op_t *op) {
    pl_op_ids_find_t *find = &op->u.ids_find;
    pl_id_t *roots = room(&op->arena, m->len[STAGES] * sizeof *roots);
    pl_id_t *stages = room(&op->arena, m->len[STAGES] * sizeof *stages);
    find->roots_len = find->stages_len = 0;
    EACH(pl_stage_t, stage, STAGES) {
        bool is_in = stage->id >= find->from && stage->id <= find->to;
        if (is_in)
            stages[find->stages_len++] = stage->id;
        if (is_in && !stage->parent)
            roots[find->roots_len++] = stage->id;
    }
    qsort(roots, find->roots_len, sizeof *roots, by_number);
    qsort(stages, find->stages_len, sizeof *stages, by_number);
    find->roots = roots;
    find->stages = stages;
    find->roots_len = find->roots_len > (size_t)find->limit ? (size_t)find->limit : find->roots_len;
    find->stages_len = find->stages_len > (size_t)find->limit ? (size_t)find->limit : find->stages_len;
}

#endif
