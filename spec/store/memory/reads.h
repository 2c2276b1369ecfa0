/*
 * reads.h - the verbs that only look. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_READS_H
#define PL_SPEC_MEMORY_READS_H

#include "runs.h"

static pl_stage_t view(pl__conn_t *m, const pl_stage_t *stage, bool with_status) {
    pl_stage_t seen = *stage;
    seen.missing = stage->state == PL_STAGE_WAITING ? unfilled(m, stage) : 0;
    seen.open = stage->state == PL_STAGE_RUN ? unsettled(m, stage) : 0;
    EACH(told_t, told, STATUSES) {
        if (told->stage == stage->id && with_status) {
            seen.has_status = true;
            seen.status = told->is;
        }
    }
    return seen;
}

static int by_slot(const void *a, const void *b) {
    const pl_slot_t *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void note_slot(pl__conn_t *m, pl_slot_t *list, size_t *len, pl_id_t id, pl_id_t owner) {
    size_t i = 0;
    while (i < *len && list[i].id != id)
        i++;
    if (i == *len)
        list[(*len)++] = slot_of(m, id) ? *slot_of(m, id) : (pl_slot_t){ .id = id };
    if (!list[i].filled && owner > list[i].filler)
        list[i].filler = owner;
}

static const pl_slot_t *slots_of(pl__conn_t *m, pl__arena_t *arena, const pl_stage_t *stages, size_t n, bool inputs,
                                 bool outputs, size_t *len) {
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most += stages[i].inputs_len + stages[i].outputs_len;
    pl_slot_t *list = room(arena, most * sizeof *list);
    *len = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < stages[i].inputs_len && inputs; j++)
            note_slot(m, list, len, stages[i].inputs[j], 0);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < stages[i].outputs_len; j++) {
            size_t k = 0;
            while (k < *len && list[k].id != stages[i].outputs[j].slot)
                k++;
            if (outputs || k < *len) /* an input may be an output, too */
                note_slot(m, list, len, stages[i].outputs[j].slot, stages[i].id);
        }
    qsort(list, *len, sizeof *list, by_slot);
    return list;
}

static pl_tally_t *tally_of(pl__conn_t *m, pl__arena_t *arena, const pl_stage_t *stage) {
    pl_tally_t *tally = room(arena, sizeof *tally);
    *tally = (pl_tally_t){ .children = 0 };
    EACH(pl_stage_t, other, STAGES) {
        bool is_seen = !(other->flags & PL_STAGE_HIDDEN) || other->attempt > 0, is_done = other->state == PL_STAGE_DONE;
        if (other->root != stage->root || other->id <= stage->id || !is_seen)
            continue;
        tally->children += other->parent == stage->id;
        tally->children_done += other->parent == stage->id && is_done;
        tally->stages += !stage->parent;
        tally->stages_done += !stage->parent && is_done;
    }
    return tally;
}

static void do_stage_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_stage_get_t *get = &op->u.stage_get;
    const pl_stage_t *stage = stage_by(m, get->stage, get->key);
    get->result = stage ? room(&op->arena, sizeof *stage) : NULL;
    if (!stage)
        return;
    get->stage = stage->id;
    *get->result = view(m, stage, true);
    if (get->with_work)
        get->result->tally = tally_of(m, &op->arena, stage);
    if (get->with_slots)
        get->slots = slots_of(m, &op->arena, stage, 1, true, true, &get->slots_len);
}

static int by_id(const void *a, const void *b) {
    const pl_stage_t *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Stages of a root (0: all roots), ascending. */
static pl_stage_t *stages_of(pl__conn_t *m, pl__arena_t *arena, pl_id_t root, size_t *len) {
    pl_stage_t *list = room(arena, m->len[STAGES] * sizeof *list);
    *len = 0;
    EACH(pl_stage_t, stage, STAGES) {
        if (root ? stage->root == root : !stage->parent)
            list[(*len)++] = view(m, stage, true);
    }
    qsort(list, *len, sizeof *list, by_id);
    return list;
}

static void do_tree_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_tree_get_t *get = &op->u.tree_get;
    const pl_stage_t *stage = stage_by(m, get->stage, get->key);
    get->len = 0;
    if (!stage)
        return;
    get->stages = stages_of(m, &op->arena, stage->root, &get->len);
    get->slots = slots_of(m, &op->arena, get->stages, get->len, false, true, &get->slots_len);
}

static void do_roots_list(pl__conn_t *m, pl_op_t *op) {
    pl_op_roots_list_t *list = &op->u.roots_list;
    size_t all, limit = list->limit > 0 ? (size_t)list->limit : 50;
    const pl_stage_t *roots = stages_of(m, &op->arena, 0, &all);
    list->stages = room(&op->arena, all * sizeof *roots);
    list->len = 0;
    list->next = 0;
    while (all-- > 0 && !list->next) {
        const pl_stage_t *root = &roots[all];
        bool is_of = !list->class_path.ptr || pl_str_eq(root->class_path, list->class_path);
        if (!is_of || (list->before && root->id >= list->before))
            continue;
        if (list->len == limit)
            list->next = list->stages[limit - 1].id;
        else
            list->stages[list->len++] = *root;
    }
    list->slots = slots_of(m, &op->arena, list->stages, list->len, false, true, &list->slots_len);
}

/* Levels of a stage below `top`; below 0: it is not there. */
static int level_of(pl__conn_t *m, const pl_stage_t *stage, pl_id_t top) {
    int level = 0;
    for (; stage && stage->id != top; level++)
        stage = stage_of(m, stage->parent);
    return stage ? level : -1;
}

static int64_t children_of(pl__conn_t *m, const pl_stage_t *stage, unsigned hidden) {
    int64_t n = 0;
    EACH(pl_stage_t, child, STAGES)
    n += child->parent == stage->id && (!(child->flags & hidden) || child->attempt > 0);
    return n;
}

/* All in one chunk. */
static void do_tree_page(pl__conn_t *m, pl_op_t *op) {
    pl_op_tree_page_t *get = &op->u.tree_page;
    const pl_stage_t *stage = stage_by(m, get->stage, get->key), *top;
    size_t all;
    get->len = 0;
    get->root = get->next = 0;
    get->chunks = NULL;
    if (!stage)
        return;
    get->root = stage->root;
    get->root_key = stage_of(m, stage->root)->key;
    get->top = get->top ? get->top : stage->root;
    top = stage_of(m, get->top);
    op->rc = top && top->root == stage->root ? PL_OK : PL_ENOTFOUND;
    if (op->rc != PL_OK)
        return;
    const pl_stage_t *list = stages_of(m, &op->arena, stage->root, &all);
    pl_chunk_t *chunk = get->chunks = room(&op->arena, sizeof *chunk);
    chunk->stages = room(&op->arena, all * sizeof *list);
    for (size_t i = 0; i < all && !get->next; i++) {
        int level = level_of(m, &list[i], get->top);
        if (list[i].id <= get->after || level < 0 || (get->depth >= 0 && level > get->depth))
            continue;
        if (get->len == (size_t)get->limit) {
            get->next = list[i - 1].id;
            break;
        }
        chunk->stages[get->len] = list[i];
        chunk->stages[get->len].children_done = tally_of(m, &op->arena, &list[i])->children_done;
        chunk->stages[get->len++].children = get->counts ? children_of(m, &list[i], (unsigned)get->hidden) : -1;
    }
    chunk->len = get->len;
    chunk->slots = slots_of(m, &op->arena, chunk->stages, chunk->len, false, true, &chunk->slots_len);
}

static void do_failures_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_failures_get_t *get = &op->u.failures_get;
    size_t all = 1;
    const pl_stage_t *one = stage_of(m, get->stage),
                     *list = get->tree ? stages_of(m, &op->arena, get->stage, &all) : one;
    pl_failure_t *failures = room(&op->arena, m->len[FAILURES] * sizeof *failures);
    get->failures = failures;
    get->len = 0;
    for (size_t i = 0; i < all && list; i++) {
        EACH(failed_t, failed, FAILURES) {
            if (failed->stage != list[i].id || (get->tree && get->len == PL_FAILURES_MAX))
                continue;
            failures[get->len] = failed->is;
            if (get->tree) {
                failures[get->len].stage = list[i].id;
                failures[get->len].class_path = list[i].class_path;
                failures[get->len].key = list[i].key;
            }
            get->len++;
        }
    }
}

static void do_claim_check(pl__conn_t *m, pl_op_t *op) {
    op->u.claim_check.is_live = ours(m, op->u.claim_check.task, op->u.claim_check.claim) != NULL;
}

#endif
