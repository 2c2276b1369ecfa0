/*
 * parser.h - requests of HTTP/1.1 and 1.0 out of bytes, as RFC 9112 has them and no other way. It does no I/O.
 *
 * A server behind a proxy must see the same requests in a stream of bytes as the proxy does; where readers are known
 * to differ the RFC leaves a choice, and here it is always to refuse: bare line feeds, folded lines, blanks before a
 * colon, a length given twice, a length beside a coding, codings that are not understood, anything behind a chunk but
 * its end of line. Bytes are read once, in portions of any size, and the portions make no difference.
 *
 * It is our own because the libraries at hand forgive one or the other of these, and cannot be told not to; and because
 * whoever reads the bytes must also be able to say which connection is in the middle of what, for only then can the
 * right one give way (see server.h).
 */
#ifndef PL_HTTP_PARSER_H
#define PL_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "http/field.h"

typedef enum {
    PL__PARSE_MORE,   /* every byte was taken, and the next are needed */
    PL__PARSE_HEAD,   /* the head is complete: what is said of it below can be read */
    PL__PARSE_BODY,   /* `part` is the next part of the body */
    PL__PARSE_DONE,   /* the request is complete */
    PL__PARSE_REFUSED /* by `status` and `problem`. Nothing that follows on the connection can be understood */
} pl__parse_t;

typedef struct {
    /* Set by the owner. */
    size_t max_head; /* bytes of request line, headers and trailers */
    size_t max_body;
    /* From PL__PARSE_HEAD to the next reset; borrowed from the parser. All texts have a NUL behind them. */
    pl_str_t method, path, query;
    const pl_http_header_t *headers; /* names in lower case, each once */
    size_t header_count;
    bool is_old;           /* HTTP/1.0 */
    bool keeps_alive;      /* the client wants to use the connection again */
    bool has_body;         /* something follows the head */
    bool expects_continue; /* the client waits to be told that its body is wanted */
    /* With PL__PARSE_BODY; borrows from the bytes parsed. */
    pl_str_t part;
    /* With PL__PARSE_REFUSED; problem is static. */
    unsigned status;
    const char *problem;
    /* Private. */
    unsigned char state;
    bool is_chunked, is_trailer;
    int lines;
    size_t head_len, digits, extra; /* bytes of the head; of the size of a chunk; of extensions of chunks */
    size_t mark;                    /* where in text the part begins that is being captured */
    size_t method_len, target_at;
    uint64_t left, body_len; /* of the sized body or of the chunk; of the body so far, by what its chunks say */
    pl__buf_t text;          /* method, target, names and values */
    pl__buf_t joined;        /* values of headers that were there more than once */
    pl__buf_t marks;         /* of where in the texts the headers are */
    pl__buf_t fields;        /* of pl_http_header_t: `headers` */
} pl__http_parser_t;

/* A zeroed parser with its limits set is ready. Parses from *bytes on and moves *bytes and *len behind what was taken,
 * until there is something to tell. After PL__PARSE_DONE or PL__PARSE_REFUSED it must be reset. */
pl__parse_t pl__http_parse(pl__http_parser_t *parser, const char **bytes, size_t *len);
/* Makes it ready for the next request; keeps the limits and, unless it has become large, the memory. */
void pl__http_parser_reset(pl__http_parser_t *parser);
void pl__http_parser_free(pl__http_parser_t *parser);
/* Whether the method is HEAD, also of a request that was refused: its response has no body. */
bool pl__http_parser_is_head(const pl__http_parser_t *parser);
/* Whether a request has begun and is not complete. */
bool pl__http_parser_is_inside(const pl__http_parser_t *parser);

#endif
