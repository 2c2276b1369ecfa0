/*
 * drivers.c - which driver a store is opened with.
 */
#include "store/driver.h"

const pl_store_driver_t *pl__driver_for(const pl_store_options_t *options, pl_error_t *error) {
    const pl_store_driver_t *driver = options->driver ? options->driver : &pl__sqlite_driver;
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
