/*
 * drivers.c - which driver a store is opened with.
 */
#include "store/driver.h"

#ifdef PL_FAULTS
extern const pl_store_driver_t *pl__driver_default;
const pl_store_driver_t *pl__driver_default = &pl__sqlite_driver; /* specs put one in its place that fails */
#else
static const pl_store_driver_t *const pl__driver_default = &pl__sqlite_driver;
#endif

const pl_store_driver_t *pl__driver_for(const pl_store_options_t *options, pl_error_t *error) {
    const pl_store_driver_t *driver = options->driver ? options->driver : pl__driver_default;
    if (driver->version == PL__DRIVER_VERSION && driver->op_size == sizeof(pl_op_t))
        return driver;
    PL__FAIL(error, PL_EINVAL, "%s: its driver was made for version %d of the store, this one has version %d",
             options->path, driver->version, PL__DRIVER_VERSION);
    return NULL;
}

void pl_store_guard_locks(void) {
    if (pl__sqlite_driver.install)
        pl__sqlite_driver.install();
}
