/*
 * http_parser_fuzz.c - arbitrary bytes for the parser of requests.
 *
 * Whatever comes, it is the same whether it comes as a whole, byte by byte, or in portions that the first byte of the
 * input decides about; and what is told keeps to parser.h: tokens, values and texts without control bytes, names in
 * lower case and each once, a path, bodies within the limit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/parser.h"
#include "http/target.h"

enum { MAX_BODY = 300, MAX_HEAD = 2000 };

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "http_parser_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

static void note(pl__buf_t *log, pl_str_t text) {
    pl__buf_add(log, text.ptr, text.len);
    pl__buf_add(log, "\n", 1);
}

static bool is_text(pl_str_t text) {
    return text.ptr != NULL && text.ptr[text.len] == '\0' && memchr(text.ptr, '\0', text.len) == NULL;
}

static bool is_lower(pl_str_t name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
            return false;
    return true;
}

static void check_header(const pl__http_parser_t *parser, size_t n) {
    const pl_http_header_t *header = &parser->headers[n];
    NEED(pl__field_is_token(header->name) && is_lower(header->name));
    NEED(pl__field_is_value(header->value) && is_text(header->value));
    NEED(memchr(header->value.ptr, '\n', header->value.len) == NULL);
    for (size_t i = 0; i < n; i++)
        NEED(!pl_str_eq(header->name, parser->headers[i].name));
    if (pl_str_eq(header->name, PL_STR_LIT("host")))
        NEED(pl__host_is_valid(header->value));
}

static void check_head(const pl__http_parser_t *parser, pl__buf_t *log) {
    NEED(pl__field_is_token(parser->method) && is_text(parser->method));
    NEED(is_text(parser->path) && is_text(parser->query));
    NEED(parser->path.ptr[0] == '/' || !strcmp(parser->path.ptr, "*"));
    note(log, parser->method);
    note(log, parser->path);
    note(log, parser->query);
    for (size_t i = 0; i < parser->header_count; i++) {
        check_header(parser, i);
        note(log, parser->headers[i].name);
        note(log, parser->headers[i].value);
    }
    char flags[] = { parser->is_old ? 'o' : '-', parser->keeps_alive ? 'k' : '-', parser->has_body ? 'b' : '-',
                     parser->expects_continue ? 'e' : '-' };
    note(log, (pl_str_t){ flags, sizeof flags });
}

/* Parses a portion; returns false when nothing more can be understood. */
static bool parse(pl__http_parser_t *parser, const char *bytes, size_t len, pl__buf_t *log, size_t *body) {
    for (;;) {
        switch (pl__http_parse(parser, &bytes, &len)) {
        case PL__PARSE_MORE:
            NEED(len == 0);
            return true;
        case PL__PARSE_HEAD:
            check_head(parser, log);
            *body = 0;
            break;
        case PL__PARSE_BODY:
            NEED(parser->part.len > 0);
            *body += parser->part.len;
            NEED(*body <= MAX_BODY && parser->has_body);
            pl__buf_add(log, parser->part.ptr, parser->part.len);
            break;
        case PL__PARSE_DONE:
            note(log, PL_STR_LIT("\ndone"));
            pl__http_parser_reset(parser);
            break;
        case PL__PARSE_REFUSED:
            NEED(parser->status >= 400 && parser->status <= 505 && parser->problem != NULL);
            note(log, pl_str(parser->problem));
            return false;
        }
    }
}

/* Parses all of it in portions of a size, 0: of sizes at random. */
static pl__buf_t parse_all(const char *bytes, size_t len, size_t portion, unsigned seed) {
    pl__http_parser_t parser = { .max_head = MAX_HEAD, .max_body = MAX_BODY };
    pl__buf_t log = { 0 };
    size_t body = 0;
    while (len > 0) {
        seed = seed * 1103515245u + 12345u;
        size_t n = portion > 0 ? portion : (seed >> 16) % 40 + 1;
        n = n < len ? n : len;
        char *copy = malloc(n); /* so that reading beyond it is noticed */
        memcpy(copy, bytes, n);
        bool goes_on = parse(&parser, copy, n, &log, &body);
        free(copy);
        if (!goes_on)
            break;
        bytes += n;
        len -= n;
    }
    note(&log, pl__http_parser_is_inside(&parser) ? PL_STR_LIT("inside") : PL_STR_LIT("between"));
    pl__http_parser_free(&parser);
    return log;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    if (size < 2)
        return 0;
    const char *text = (const char *)bytes + 1;
    pl__buf_t whole = parse_all(text, size - 1, size, 0);
    for (size_t portion = 0; portion < 2; portion++) {
        pl__buf_t other = parse_all(text, size - 1, portion, bytes[0]);
        NEED(whole.len == other.len && !memcmp(whole.ptr, other.ptr, whole.len));
        pl__buf_free(&other);
    }
    pl__buf_free(&whole);
    return 0;
}
