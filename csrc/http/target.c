/*
 * target.c - the forms of a request target, and hosts.
 */
#include "http/target.h"

#include <string.h>

#include "http/field.h"

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_in(char c, const char *set) {
    return c != '\0' && strchr(set, c);
}

/* RFC 3986: unreserved and sub-delims, in which hosts and paths agree. */
static bool is_plain(char c) {
    return is_alnum(c) || is_in(c, "-._~!$&'()*+,;=");
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that the three characters at `text` stand for, or -1. */
static int escaped_byte(const char *text, size_t len) {
    if (len < 3 || text[0] != '%' || hex_value(text[1]) < 0 || hex_value(text[2]) < 0)
        return -1;
    return hex_value(text[1]) * 16 + hex_value(text[2]);
}

/* ---- hosts ------------------------------------------------------------------------------------------------- */

static bool is_port(const char *text, size_t len) {
    unsigned port = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
        if (port > 65535)
            return false;
    }
    return true;
}

/* The length of "[...]" at the start of the text, or 0. */
static size_t literal_len(pl_str_t host) {
    for (size_t i = 1; i < host.len; i++) {
        if (host.ptr[i] == ']')
            return i > 1 ? i + 1 : 0;
        if (hex_value(host.ptr[i]) < 0 && host.ptr[i] != ':' && host.ptr[i] != '.')
            return 0;
    }
    return 0;
}

/* The length of the name at the start of the text. */
static size_t name_len(pl_str_t host) {
    size_t i = 0;
    while (i < host.len) {
        if (is_plain(host.ptr[i]))
            i++;
        else if (escaped_byte(host.ptr + i, host.len - i) > 0)
            i += 3;
        else
            break;
    }
    return i;
}

bool pl__host_is_valid(pl_str_t host) {
    if (host.len == 0)
        return true;
    size_t len = host.ptr[0] == '[' ? literal_len(host) : name_len(host);
    if (len == 0)
        return false;
    return len == host.len || (host.ptr[len] == ':' && is_port(host.ptr + len + 1, host.len - len - 1));
}

/* ---- paths and queries ------------------------------------------------------------------------------------- */

static const char *check_path(pl_str_t path) {
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '%') {
            int byte = escaped_byte(path.ptr + i, path.len - i);
            if (byte < 0)
                return "a percent sign in the path is not followed by two hexadecimal digits";
            if (byte == 0)
                return "the path has a zero byte";
        } else if (!is_plain(c) && !is_in(c, "/:@")) {
            return "the path has a character that must be percent-encoded";
        }
    }
    return NULL;
}

static const char *check_query(pl_str_t query) {
    for (size_t i = 0; i < query.len; i++)
        if (is_in(query.ptr[i], "\"#<>"))
            return "the query has a character that must be percent-encoded";
    return NULL;
}

/* Reads path and query; without a path it is the root. */
static const char *read_path(char *text, size_t len, pl__target_t *target) {
    char *mark = len > 0 ? memchr(text, '?', len) : NULL;
    size_t path_len = mark ? (size_t)(mark - text) : len;
    target->path = path_len > 0 ? (pl_str_t){ text, path_len } : PL_STR_LIT("/");
    target->query = PL_STR_LIT("");
    if (mark) {
        *mark = '\0';
        target->query = (pl_str_t){ mark + 1, len - path_len - 1 };
    }
    const char *problem = check_path(target->path);
    return problem ? problem : check_query(target->query);
}

/* The length of "http://" or "https://" at the start of the text, or 0. */
static size_t scheme_len(const char *text, size_t len) {
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (len >= n && pl__field_is_word((pl_str_t){ text, n }, schemes[i]))
            return n;
    }
    return 0;
}

static const char *read_absolute(char *text, size_t len, bool is_options, pl__target_t *target) {
    size_t host_len = strcspn(text, "/?");
    if (host_len > len)
        host_len = len;
    target->authority = (pl_str_t){ text, host_len };
    if (host_len == 0 || text[0] == ':' || !pl__host_is_valid(target->authority))
        return "the request target has no valid host";
    if (is_options && host_len == len) {
        target->path = PL_STR_LIT("*");
        target->query = PL_STR_LIT("");
        return NULL;
    }
    return read_path(text + host_len, len - host_len, target);
}

const char *pl__target_read(char *text, size_t len, bool is_options, pl__target_t *target) {
    *target = (pl__target_t){ { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    if (len > 0 && text[0] == '/')
        return read_path(text, len, target);
    size_t scheme = scheme_len(text, len);
    if (scheme > 0)
        return read_absolute(text + scheme, len - scheme, is_options, target);
    if (len != 1 || text[0] != '*')
        return "the request target is neither a path nor a URL of http or https";
    if (!is_options)
        return "only OPTIONS may ask for the server as a whole";
    target->path = (pl_str_t){ text, len };
    target->query = PL_STR_LIT("");
    return NULL;
}
