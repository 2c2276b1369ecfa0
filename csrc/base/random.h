/*
 * random.h - where randomness comes from: the system, or a seed that a test prints.
 */
#ifndef PL_BASE_RANDOM_H
#define PL_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

typedef struct {
    bool is_seeded;
    uint64_t state; /* splitmix64, when seeded */
} pl_random_t;

void pl_random_init_system(pl_random_t *random);
void pl_random_init_seed(pl_random_t *random, uint64_t seed);
/* Fills `size` bytes. Returns PL_OK or PL_EIO. */
int pl_random_bytes(pl_random_t *random, void *out, size_t size) PL__MUST_USE;

#endif
