/*
 * random.c - the system's randomness, or a seeded sequence (splitmix64) for tests.
 */
#include "base/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void pl_random_init_system(pl_random_t *random) {
    *random = (pl_random_t){ .is_seeded = false };
}

void pl_random_init_seed(pl_random_t *random, uint64_t seed) {
    *random = (pl_random_t){ .is_seeded = true, .state = seed };
}

static uint64_t next_word(pl_random_t *random) {
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int system_bytes(char *out, size_t size) {
    while (size > 0) {
        ssize_t got = getrandom(out, size, 0);
        if (got < 0 && errno != EINTR)
            return PL_EIO;
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        }
    }
    return PL_OK;
}

int pl_random_bytes(pl_random_t *random, void *out, size_t size) {
    if (!random->is_seeded)
        return system_bytes(out, size);
    for (char *at = out; size > 0;) {
        uint64_t word = next_word(random);
        size_t part = size < sizeof word ? size : sizeof word;
        memcpy(at, &word, part);
        at += part;
        size -= part;
    }
    return PL_OK;
}
