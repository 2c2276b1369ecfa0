/*
 * op.c - ops as blocks of memory.
 */
#include "store/op.h"

#include <stdalign.h>

/* What an op carries in its own block, before its arena needs another. */
enum { OP_ROOM = 512 };

typedef struct {
    pl_op_t op;
    alignas(max_align_t) char room[OP_ROOM];
} op_block_t;

pl_op_t *pl_op_new(pl_verb_t verb) {
    op_block_t *block = pl__alloc(sizeof *block);
    if (!block)
        return NULL;
    block->op.verb = verb;
    pl__arena_init(&block->op.arena, block->room, sizeof block->room);
    return &block->op;
}

void pl_op_free(pl_op_t *op) {
    if (!op)
        return;
    pl__arena_free(&op->arena);
    pl__free(op);
}

void *pl_op_alloc(pl_op_t *op, size_t size) {
    return pl__arena_get(&op->arena, size);
}

pl_steps_t *pl__op_steps(const pl_op_t *op, pl_progress_t *progress) {
    if (op->portions == progress->portion) { /* the first one; or again, since its transaction broke */
        progress->now = progress->last;
    } else {
        progress->last = progress->now;
        progress->portion = op->portions;
    }
    return &progress->now;
}

bool pl__op_is_sound(pl_op_t *op) {
    const pl_op_outcome_t *run = &op->u.outcome;
    if (op->verb != PL_VERB_outcome)
        return true;
    for (size_t i = 0; i < run->children_len; i++)
        if (run->children[i].id <= run->stage) {
            op->rc = PL__FAIL(&op->error, PL_EINVAL, "the id of a child is not greater than that of its parent");
            return false;
        }
    return true;
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

void pl__ops_init(pl__ops_t *ops) {
    ops->head = NULL;
    ops->tail = &ops->head;
}

void pl__ops_push(pl__ops_t *ops, pl_op_t *op) {
    op->next = NULL;
    *ops->tail = op;
    ops->tail = &op->next;
}

/* NULL: there is none. */
pl_op_t *pl__ops_pop(pl__ops_t *ops) {
    pl_op_t *op = ops->head;
    if (!op)
        return NULL;
    ops->head = op->next;
    if (!ops->head)
        ops->tail = &ops->head;
    op->next = NULL;
    return op;
}

pl_op_t *pl__ops_take(pl__ops_t *ops) {
    pl_op_t *head = ops->head;
    pl__ops_init(ops);
    return head;
}
