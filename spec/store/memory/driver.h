/*
 * driver.h - the store in memory that tests use: see driver.c.
 */
#ifndef PL_SPEC_MEMORY_DRIVER_H
#define PL_SPEC_MEMORY_DRIVER_H

#include "store/driver.h"

extern const pl_store_driver_t pl__memory_driver;

#endif
