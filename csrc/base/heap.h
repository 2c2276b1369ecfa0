/*
 * heap.h - what falls due next: a pairing heap without allocation, ordered by time, then by a number.
 *
 * It is the order of all timers: those of the engine (engine/timer.c), and those of tasklets and of Lua code of the
 * library (binding/tasklet/timetable.c). A node belongs to the caller, who takes it out before freeing it. Adding takes
 * constant time; taking out the first, or any other one, O(log n) on the average of many.
 */
#ifndef PL_BASE_HEAP_H
#define PL_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct pl_heap_node {
    struct pl_heap_node *child, *next, *prev; /* the heap's own */
    int64_t when;                             /* set by the caller, as `order`, and not changed while it is in a heap */
    uint64_t order;                           /* among those of the same time */
} pl_heap_node_t;

/* Whether a comes before b. */
bool pl__heap_is_before(const pl_heap_node_t *a, const pl_heap_node_t *b);
/* *root is the first node, NULL when there is none. */
void pl__heap_add(pl_heap_node_t **root, pl_heap_node_t *node);
/* Takes out a node that is in that heap. */
void pl__heap_remove(pl_heap_node_t **root, pl_heap_node_t *node);

#endif
