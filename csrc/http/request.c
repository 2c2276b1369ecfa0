/*
 * request.c - checks and copies what the HTTP client is asked for. See request.h.
 */
#include "http/request.h"

#include <string.h>
#include <strings.h>

#include "http/field.h"

enum {
    DEADLINE_DEFAULT = 60,
    SIZE_DEFAULT = 32 * 1024 * 1024,
    WINDOW_DEFAULT = 256 * 1024,
    SECONDS_MAX = 1000000,
};

void pl_fetch_request_init(pl_fetch_request_t *request) {
    *request = (pl_fetch_request_t){
        .method = PL_STR_LIT("GET"),
        .deadline = DEADLINE_DEFAULT,
        .max_size = SIZE_DEFAULT,
        .window = WINDOW_DEFAULT,
    };
}

/* A URL of this scheme, or of the one with an "s" behind it. */
static bool is_url(pl_str_t url, const char *scheme) {
    size_t len = strlen(scheme);
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.ptr[i];
        if (c <= 0x20 || c == 0x7f)
            return false;
    }
    if (url.len <= len || strncasecmp(url.ptr, scheme, len) != 0)
        return false;
    if (url.ptr[len] == 's' || url.ptr[len] == 'S')
        len++;
    return url.len > len + 3 && !strncmp(url.ptr + len, "://", 3);
}

static bool is_name(pl_str_t name, const char *text) {
    return name.len == strlen(text) && !strncasecmp(name.ptr, text, name.len);
}

static bool is_path(pl_str_t path) {
    return !path.ptr || !memchr(path.ptr, '\0', path.len);
}

static int check_mail(const pl_fetch_request_t *request, pl_error_t *error) {
    if (!request->url.ptr || !is_url(request->url, "smtp"))
        return PL__FAIL(error, PL_EINVAL, "not a URL that begins with smtp:// or smtps://");
    if (request->upload || request->stream || !request->body.ptr || !request->mail_from.ptr)
        return PL__FAIL(error, PL_EINVAL, "a mail has a sender, a recipient and a body, and no pieces");
    if (!is_path(request->ca_file) || !is_path(request->username) || !is_path(request->password))
        return PL__FAIL(error, PL_EINVAL, "user name, password or CA file contains a NUL byte");
    return PL_OK;
}

int pl__fetch_request_check(const pl_fetch_request_t *request, pl_error_t *error) {
    if (request->mail_to.ptr)
        return check_mail(request, error);
    if (!request->url.ptr || !is_url(request->url, "http"))
        return PL__FAIL(error, PL_EINVAL, "not a URL that begins with http:// or https://");
    if (!pl__field_is_token(request->method))
        return PL__FAIL(error, PL_EINVAL, "invalid HTTP method");
    if (is_name(request->method, "CONNECT"))
        return PL__FAIL(error, PL_EINVAL, "the method CONNECT is not for requests");
    if ((request->upload || request->body.ptr) && is_name(request->method, "HEAD"))
        return PL__FAIL(error, PL_EINVAL, "the method HEAD goes without a body");
    if (request->upload && (request->body.ptr || request->redirects))
        return PL__FAIL(error, PL_EINVAL, "a body in pieces cannot be sent again: no redirects, no other body");
    if (!is_path(request->ca_file) || !is_path(request->proxy))
        return PL__FAIL(error, PL_EINVAL, "CA file or proxy contains a NUL byte");
    for (size_t i = 0; i < request->header_count; i++) {
        const pl_http_header_t *header = &request->headers[i];
        if (!pl__field_is_token(header->name))
            return PL__FAIL(error, PL_EINVAL, "header %zu: invalid name", i + 1);
        if (!pl__field_is_value(header->value))
            return PL__FAIL(error, PL_EINVAL, "header %.*s: the value contains a control byte", (int)header->name.len,
                            header->name.ptr);
        if (is_name(header->name, "content-length") || is_name(header->name, "transfer-encoding"))
            return PL__FAIL(error, PL_EINVAL, "header %.*s is set by the client itself", (int)header->name.len,
                            header->name.ptr);
    }
    return PL_OK;
}

/* Puts a line in front of the list. A value that is empty is said with a semicolon, a header left out with a colon. */
static int add_line(pl__arena_t *arena, struct curl_slist **lines, pl_str_t name, pl_str_t value, const char *glue) {
    struct curl_slist *line = pl__arena_get(arena, sizeof *line);
    size_t glue_len = strlen(glue);
    char *text = pl__arena_get(arena, name.len + glue_len + value.len + 1);
    if (!line || !text)
        return PL_ENOMEM;
    memcpy(text, name.ptr, name.len);
    memcpy(text + name.len, glue, glue_len);
    if (value.len)
        memcpy(text + name.len + glue_len, value.ptr, value.len);
    line->data = text;
    line->next = *lines;
    *lines = line;
    return PL_OK;
}

static int make_lines(pl__arena_t *arena, const pl_fetch_request_t *request, struct curl_slist **lines) {
    bool has_type = false, has_expect = false;
    int rc = PL_OK;
    for (size_t i = request->header_count; i-- > 0 && rc == PL_OK;) {
        const pl_http_header_t *header = &request->headers[i];
        pl_str_t value = header->value.len ? pl__field_trim(header->value) : header->value;
        has_type = has_type || is_name(header->name, "content-type");
        has_expect = has_expect || is_name(header->name, "expect");
        rc = add_line(arena, lines, header->name, value, value.len ? ": " : ";");
    }
    if (rc == PL_OK && !has_type)
        rc = add_line(arena, lines, PL_STR_LIT("Content-Type"), PL_STR_NONE, ":");
    if (rc == PL_OK && !has_expect)
        rc = add_line(arena, lines, PL_STR_LIT("Expect"), PL_STR_NONE, ":");
    if (rc == PL_OK && request->upload)
        rc = add_line(arena, lines, PL_STR_LIT("Transfer-Encoding"), PL_STR_LIT("chunked"), ": ");
    return rc;
}

/* Seconds that fit any kind of milliseconds; NaN is none. */
static double bounded(double seconds) {
    return seconds > SECONDS_MAX ? SECONDS_MAX : seconds > 0 ? seconds : 0;
}

int pl__fetch_request_copy(pl__arena_t *arena, const pl_fetch_request_t *request, pl_fetch_request_t *copy,
                           struct curl_slist **lines) {
    *copy = *request;
    copy->headers = NULL;
    copy->header_count = 0;
    copy->deadline = bounded(request->deadline);
    copy->connect = bounded(request->connect);
    if (pl__arena_copy(arena, request->method, &copy->method) || pl__arena_copy(arena, request->url, &copy->url) ||
        pl__arena_copy(arena, request->body, &copy->body) || pl__arena_copy(arena, request->ca_file, &copy->ca_file) ||
        pl__arena_copy(arena, request->proxy, &copy->proxy) ||
        pl__arena_copy(arena, request->mail_from, &copy->mail_from) ||
        pl__arena_copy(arena, request->mail_to, &copy->mail_to) ||
        pl__arena_copy(arena, request->username, &copy->username) ||
        pl__arena_copy(arena, request->password, &copy->password))
        return PL_ENOMEM;
    return make_lines(arena, request, lines);
}
