/*
 * zonefile.h - the files of the machine's time zone data (the package tzdata): names, reading, whether one has changed.
 *
 * Neither TZ, TZDIR nor /etc/localtime is ever looked at: what a name means does not depend on the host. "UTC" is known
 * without a file.
 */
#ifndef PL_BINDING_CALENDAR_ZONEFILE_H
#define PL_BINDING_CALENDAR_ZONEFILE_H

#include <stdint.h>

#include "calendar/zone.h"

#define PL__ZONE_DIRECTORY "/usr/share/zoneinfo"
enum { PL__ZONE_NAME_MAX = 100, PL__ZONE_PATH_MAX = 1024 };

/* Tells a file from the one that replaced it. */
typedef struct {
    uint64_t device, inode, size;
    int64_t changed_ns;
} pl__stamp_t;

/* Reads the zone of that name. `*out` is owned (pl_zone_free); NULL with PL_OK: it is UTC, pl_zone_utc. Returns PL_OK;
 * PL_EINVAL: this can be no name, or is an abbreviation (CET, PST) or "local"; PL_ENOTFOUND: there is no such file;
 * PL_ECORRUPT, PL_EIO, PL_ENOMEM. Messages say which name, directory and package. */
int pl__zonefile_read(const char *directory, pl_str_t name, pl_zone_t **out, pl__stamp_t *stamp,
                      pl_error_t *error) PL__MUST_USE;
/* Whether the file of a zone that was read says something else by now; when only the file is another one, `*stamp` is
 * updated. Returns PL_OK or what pl__zonefile_read returns. */
int pl__zonefile_changed(const char *directory, pl_str_t name, const pl_zone_t *zone, pl__stamp_t *stamp, bool *changed,
                         pl_error_t *error) PL__MUST_USE;

#endif
