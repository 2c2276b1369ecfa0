/*
 * heap.c - a pairing heap. See heap.h.
 *
 * A tree in which no node comes before its parent. The children of a node are a list: the parent has the first, whose
 * `prev` is the parent; the `prev` of another one is its neighbour.
 */
#include "base/heap.h"

#include <stddef.h>

bool pl__heap_is_before(const pl_heap_node_t *a, const pl_heap_node_t *b) {
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static pl_heap_node_t *meld(pl_heap_node_t *a, pl_heap_node_t *b) {
    if (!a || !b)
        return a ? a : b;
    if (pl__heap_is_before(b, a)) {
        pl_heap_node_t *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Melds a list of siblings in pairs, then the pairs from the last to the first. */
static pl_heap_node_t *meld_siblings(pl_heap_node_t *first) {
    pl_heap_node_t *pairs = NULL, *root = NULL;
    while (first) {
        pl_heap_node_t *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        pl_heap_node_t *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs) {
        pl_heap_node_t *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

void pl__heap_add(pl_heap_node_t **root, pl_heap_node_t *node) {
    node->child = node->next = node->prev = NULL;
    *root = meld(*root, node);
}

void pl__heap_remove(pl_heap_node_t **root, pl_heap_node_t *node) {
    pl_heap_node_t *rest = meld_siblings(node->child);
    node->child = NULL;
    if (node == *root) {
        *root = rest;
        return;
    }
    if (node->prev->child == node)
        node->prev->child = node->next;
    else
        node->prev->next = node->next;
    if (node->next)
        node->next->prev = node->prev;
    node->next = node->prev = NULL;
    *root = meld(*root, rest);
}
