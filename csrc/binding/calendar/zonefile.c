/*
 * zonefile.c - the files of the machine's time zone data. See zonefile.h.
 *
 * A name is words between slashes, each of which begins with a capital and has letters, digits, "_", "+" and "-": no
 * name leads out of the directory, to the host's own zone ("localtime"), or to the tables that lie there.
 */
#include "binding/calendar/zonefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1024 * 1024 };

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* What people write for a zone, and it is none: an abbreviation stands for one offset, or for several zones. */
static const struct {
    const char *name, *instead;
} ABBREVIATIONS[] = {
    { "CET", "Europe/Berlin" },
    { "CEST", "Europe/Berlin" },
    { "MET", "Europe/Berlin" },
    { "MEST", "Europe/Berlin" },
    { "EET", "Europe/Helsinki" },
    { "EEST", "Europe/Helsinki" },
    { "WET", "Europe/Lisbon" },
    { "WEST", "Europe/Lisbon" },
    { "BST", "Europe/London" },
    { "MSK", "Europe/Moscow" },
    { "IST", "Asia/Kolkata" },
    { "EST", "America/New_York" },
    { "EDT", "America/New_York" },
    { "EST5EDT", "America/New_York" },
    { "CST", "America/Chicago" },
    { "CDT", "America/Chicago" },
    { "CST6CDT", "America/Chicago" },
    { "MST", "America/Denver" },
    { "MDT", "America/Denver" },
    { "MST7MDT", "America/Denver" },
    { "PST", "America/Los_Angeles" },
    { "PDT", "America/Los_Angeles" },
    { "PST8PDT", "America/Los_Angeles" },
    { "AKST", "America/Anchorage" },
    { "HST", "Pacific/Honolulu" },
    { "BRT", "America/Sao_Paulo" },
    { "JST", "Asia/Tokyo" },
    { "KST", "Asia/Seoul" },
    { "HKT", "Asia/Hong_Kong" },
    { "SGT", "Asia/Singapore" },
    { "AEST", "Australia/Sydney" },
    { "AEDT", "Australia/Sydney" },
    { "ACST", "Australia/Adelaide" },
    { "AWST", "Australia/Perth" },
    { "NZST", "Pacific/Auckland" },
    { "NZDT", "Pacific/Auckland" },
    { "SAST", "Africa/Johannesburg" },
};

static bool is_word(pl_str_t name, const char *word) {
    return name.len == strlen(word) && !strncasecmp(name.ptr, word, name.len);
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_form(pl_str_t name) {
    bool begins = true;
    if (name.len == 0 || name.len > PL__ZONE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (begins ? c < 'A' || c > 'Z' : !is_letter(c) && !(c >= '0' && c <= '9') && !(c && strchr("_+-/", c)))
            return false;
        begins = c == '/';
    }
    return !begins;
}

static int check_name(pl_str_t name, pl_error_t *error) {
    int shown = (int)(name.len < 60 ? name.len : 60);
    if (is_word(name, "local") || is_word(name, "localtime") || is_word(name, "system"))
        return PL__FAIL(error, PL_EINVAL,
                        "\"%.*s\" is no time zone, as it differs between hosts: name one, such as "
                        "\"Europe/Berlin\"",
                        shown, name.ptr);
    for (size_t i = 0; i < sizeof ABBREVIATIONS / sizeof ABBREVIATIONS[0]; i++)
        if (is_word(name, ABBREVIATIONS[i].name))
            return PL__FAIL(error, PL_EINVAL,
                            "\"%.*s\" is an abbreviation, not the name of a time zone: name a place, such as \"%s\"",
                            shown, name.ptr, ABBREVIATIONS[i].instead);
    if (!has_form(name))
        return PL__FAIL(error, PL_EINVAL,
                        "\"%.*s\" is no name of a time zone, as \"Europe/Berlin\", \"UTC\" and "
                        "\"Etc/GMT+5\" are",
                        shown, name.ptr);
    return PL_OK;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static int not_found(const char *directory, pl_str_t name, pl_error_t *error) {
    struct stat found;
    if (stat(directory, &found) != 0 || !S_ISDIR(found.st_mode))
        return PL__FAIL(error, PL_ENOTFOUND,
                        "time zone \"%.*s\": there is no time zone data in %.80s; install the "
                        "package tzdata",
                        (int)name.len, name.ptr, directory);
    return PL__FAIL(
        error, PL_ENOTFOUND,
        "no time zone \"%.*s\" in %.60s (package tzdata; old names such as US/Central are in tzdata-legacy)",
        (int)(name.len < 60 ? name.len : 60), name.ptr, directory);
}

static pl__stamp_t stamp_of(const struct stat *found) {
    return (pl__stamp_t){ (uint64_t)found->st_dev, (uint64_t)found->st_ino, (uint64_t)found->st_size,
                          (int64_t)found->st_mtim.tv_sec * 1000000000 + found->st_mtim.tv_nsec };
}

static int read_all(int fd, char *bytes, size_t size, size_t *len) {
    *len = 0;
    while (*len < size) {
        ssize_t n = read(fd, bytes + *len, size - *len);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return PL_EIO;
        *len += n > 0 ? (size_t)n : 0;
    }
    return PL_OK;
}

/* Reads the zone from an open file. */
static int read_zone(int fd, pl_str_t name, pl_zone_t **out, pl__stamp_t *stamp, pl_error_t *error) {
    struct stat found;
    pl_error_t reason = { 0 };
    size_t len;
    if (fstat(fd, &found) != 0)
        return PL__FAIL(error, PL_EIO, "time zone \"%.*s\": %s", (int)name.len, name.ptr, strerror(errno));
    if (!S_ISREG(found.st_mode) || found.st_size > FILE_MAX)
        return PL__FAIL(error, PL_ENOTFOUND, "\"%.*s\" is no time zone", (int)name.len, name.ptr);
    char *bytes = pl__alloc((size_t)found.st_size + 1);
    if (!bytes)
        return PL__FAIL(error, PL_ENOMEM, "no memory for a time zone");
    int rc = read_all(fd, bytes, (size_t)found.st_size, &len);
    if (rc != PL_OK)
        PL__FAIL(&reason, rc, "%s", strerror(errno));
    else
        rc = pl_zone_read(bytes, len, out, &reason);
    pl__free(bytes);
    if (rc != PL_OK)
        return PL__FAIL(error, rc, "the file of time zone \"%.*s\" cannot be used: %.120s", (int)name.len, name.ptr,
                        reason.message);
    *stamp = stamp_of(&found);
    return PL_OK;
}

static int open_file(const char *directory, pl_str_t name, int *fd, pl_error_t *error) {
    char path[PL__ZONE_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%.*s", directory, (int)name.len, name.ptr);
    if (len < 0 || len >= (int)sizeof path)
        return PL__FAIL(error, PL_EINVAL, "the path of the time zone data is too long");
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd >= 0)
        return PL_OK;
    if (errno == ENOENT || errno == ENOTDIR)
        return not_found(directory, name, error);
    return PL__FAIL(error, PL_EIO, "time zone \"%.*s\" in %.60s: %s", (int)name.len, name.ptr, directory,
                    strerror(errno));
}

int pl__zonefile_read(const char *directory, pl_str_t name, pl_zone_t **out, pl__stamp_t *stamp, pl_error_t *error) {
    int fd;
    *out = NULL;
    *stamp = (pl__stamp_t){ 0 };
    int rc = check_name(name, error);
    if (rc != PL_OK || pl_str_eq(name, PL_STR_LIT("UTC")))
        return rc;
    rc = open_file(directory, name, &fd, error);
    if (rc != PL_OK)
        return rc;
    rc = read_zone(fd, name, out, stamp, error);
    close(fd);
    return rc;
}

int pl__zonefile_changed(const char *directory, pl_str_t name, const pl_zone_t *zone, pl__stamp_t *stamp, bool *changed,
                         pl_error_t *error) {
    char path[PL__ZONE_PATH_MAX];
    struct stat found;
    pl_zone_t *other;
    pl__stamp_t now;
    *changed = false;
    int len = snprintf(path, sizeof path, "%s/%.*s", directory, (int)name.len, name.ptr);
    if (len > 0 && len < (int)sizeof path && stat(path, &found) == 0) {
        now = stamp_of(&found);
        if (!memcmp(&now, stamp, sizeof now))
            return PL_OK;
    }
    int rc = pl__zonefile_read(directory, name, &other, &now, error);
    if (rc != PL_OK)
        return rc;
    *changed = other && pl_zone_digest(other) != pl_zone_digest(zone);
    if (!*changed)
        *stamp = now;
    pl_zone_free(other);
    return PL_OK;
}
