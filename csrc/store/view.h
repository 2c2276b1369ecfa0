/*
 * view.h - what people look at: verbs that find stages, tasks and workers, for lists of them and for one of them.
 *
 * All of these only read. What they look through is bounded, so that a page of a store with a million roots comes as
 * soon as one of a small store: a page may have fewer items than asked for, or none, and goes on while `next` is there.
 */
#ifndef PL_STORE_VIEW_H
#define PL_STORE_VIEW_H

#include "store/model.h"

enum {
    PL_TALLY_MAX = 10000,      /* stages of a tree that are counted, */
    PL_TALLY_PAGE_MAX = 40000, /* and of all trees of a page */
};

/* ids_find: stages with ids in a range, by id: of roots, and of all stages, up to `limit` each. */
typedef struct {
    pl_id_t from, to; /* inclusive */
    int limit;
    const pl_id_t *roots, *stages; /* results */
    size_t roots_len, stages_len;
} pl_op_ids_find_t;

#endif
