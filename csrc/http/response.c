/*
 * response.c - heads of responses. No byte of a handler can end a header early: names are tokens, values hold no
 * control bytes, and what frames the response is the server's own.
 */
#include "http/response.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
    unsigned status;
    const char *reason;
} REASONS[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 203, "Non-Authoritative Information" },
    { 204, "No Content" },
    { 205, "Reset Content" },
    { 206, "Partial Content" },
    { 300, "Multiple Choices" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 407, "Proxy Authentication Required" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 425, "Too Early" },
    { 426, "Upgrade Required" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 451, "Unavailable For Legal Reasons" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
    { 511, "Network Authentication Required" },
};

const char *pl__response_reason(unsigned status) {
    for (size_t i = 0; i < sizeof REASONS / sizeof *REASONS; i++)
        if (REASONS[i].status == status)
            return REASONS[i].reason;
    return "";
}

void pl__response_date(char date[PL__DATE_LEN + 1], int64_t seconds) {
    static const char DAYS[] = "SunMonTueWedThuFriSat", MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t time = (time_t)seconds;
    struct tm tm = { 0 };
    char text[PL__DATE_LEN + 64]; /* what the compiler takes a year to be at most */
    (void)gmtime_r(&time, &tm);
    (void)snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", DAYS + 3 * tm.tm_wday, tm.tm_mday,
                   MONTHS + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(date, text, PL__DATE_LEN);
    date[PL__DATE_LEN] = '\0';
}

bool pl__response_is_valid(const pl_http_header_t *headers, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!pl__field_is_token(headers[i].name) || !pl__field_is_value(headers[i].value))
            return false;
    return true;
}

bool pl__response_closes(const pl_http_header_t *headers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!pl__field_is_word(headers[i].name, "connection"))
            continue;
        pl_str_t list = headers[i].value, word;
        while (pl__field_next(&list, &word))
            if (pl__field_is_word(word, "close"))
                return true;
    }
    return false;
}

bool pl__response_has_body(unsigned status) {
    return status != 204 && status != 205 && status != 304;
}

static bool is_ours(pl_str_t name) {
    static const char *const OURS[] = { "content-length", "transfer-encoding", "date", "connection", "keep-alive" };
    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++)
        if (pl__field_is_word(name, OURS[i]))
            return true;
    return false;
}

static void add(pl__buf_t *out, const char *text) {
    pl__buf_add(out, text, strlen(text));
}

void pl__response_head(pl__buf_t *out, const pl__response_t *response, const char *date,
                       const pl_http_header_t *headers, size_t count) {
    char line[160];
    int len = snprintf(line, sizeof line, "HTTP/1.1 %u %s\r\nDate: %s\r\n", response->status,
                       pl__response_reason(response->status), date);
    pl__buf_add(out, line, (size_t)len);
    if (!response->streams && response->status != 204 && response->status != 304) { /* RFC 9110 8.6 */
        len = snprintf(line, sizeof line, "Content-Length: %zu\r\n", response->body_len);
        pl__buf_add(out, line, (size_t)len);
    }
    if (response->closes)
        add(out, "Connection: close\r\n");
    else if (response->says_stays)
        add(out, "Connection: keep-alive\r\n");
    for (size_t i = 0; i < count; i++) {
        if (is_ours(headers[i].name))
            continue;
        pl_str_t value = pl__field_trim(headers[i].value);
        pl__buf_add(out, headers[i].name.ptr, headers[i].name.len);
        add(out, ": ");
        pl__buf_add(out, value.ptr, value.len);
        add(out, "\r\n");
    }
    add(out, "\r\n");
}
