/*
 * failing_default.c - makes each transaction of every store fail first, where PIPELINE_FAILING is set.
 *
 * It is linked into the library of builds that can inject faults: so any spec, written in Lua, too, can be run on a
 * store of which the nth statement or piece of memory of each transaction fails, for many n, before it is done
 * (support/failing.h). PIPELINE_FAILING=n: the places that fail are n apart at most. FAILING_SEED chooses them.
 */
#include "support/failing.h"

extern const pl_store_driver_t *pl__driver_default;

static pl_store_driver_t failing;

__attribute__((constructor)) static void make_default(void) {
    const char *stride = getenv("PIPELINE_FAILING"), *seed = getenv("FAILING_SEED");
    if (!stride)
        return;
    failing_stride = atoi(stride) > 0 ? atoi(stride) : 1;
    failing = failing_on(seed ? strtoull(seed, NULL, 10) : 1);
    pl__driver_default = &failing;
}
