/*
 * parser.c - the grammar of a request as a table of states, and what follows from its headers.
 *
 * Design. NEXT has a row for each state and a column for each kind of byte; in it stands the state to go to. A byte
 * that leads to its own state is part of a run, which is taken as a whole; one that leads to another state ends it, and
 * leave() does what is due. Only the data of bodies, which are counted, go past the table.
 *
 *   START ► METHOD ► TARGET ► VERSION ─┐   ┌► NAME ► BLANK ► VALUE ─┐
 *                                      ▼   │                        │
 *                          LINE_LF ► FIELD ┴◄────── VALUE_LF ◄──────┘
 *                                      │ empty line
 *                                      ▼
 *      END ◄── nothing follows ── HEAD_LF ── a length ──► DATA ──► END
 *       ▲                           │ chunked
 *       │                           ▼
 *       └── FIELD (trailers) ◄── SIZE, EXT… ──► DATA ──► DATA_CR ──► DATA_LF ──► SIZE
 *
 * Invariants
 *   1. How bytes are divided among calls makes no difference.
 *   2. A byte of the head is looked at once, and no more than max_head of them are kept.
 *   3. The length of a body comes from one header, which is there once, or from chunks.
 */
#include "http/parser.h"

#include <string.h>

#include "http/target.h"

enum {
    METHOD_MAX = 32,       /* longer methods are answered 501 */
    LINES_MAX = 200,       /* more header lines are answered 431 */
    DIGITS_MAX = 64,       /* of the size of a chunk, leading zeros included; more are answered 400 */
    EXTRA_MAX = 4096,      /* bytes of extensions of chunks in one request; more are answered 400 */
    ARGUMENTS_MAX = 10000, /* more arguments in a query are answered 400 */
    KEEP_MAX = 16 * 1024,  /* memory kept from one request to the next */
};

/* ---- the table --------------------------------------------------------------------------------------------- */

/* Kinds of bytes: hexadecimal digits, other bytes of tokens, marks that mean something somewhere, other visible ones,
 * blanks, ends of lines, bytes above ASCII, and those that may stand nowhere. */
enum { HEX, TOK, COL, SEM, EQU, QUO, BAC, VIS, SP, TAB, CR, LF, OBS, BAD, COLUMN_COUNT };

/* clang-format off */
static const unsigned char COLUMNS[128] = {
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, TAB, LF,  BAD, BAD, CR,  BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    /*   !    "    #    $    %    &    '    (    )    *    +    ,    -    .    /   */
    SP,  TOK, QUO, TOK, TOK, TOK, TOK, TOK, VIS, VIS, TOK, TOK, VIS, TOK, TOK, VIS,
    /*1  1    2    3    4    5    6    7    8    9    :    ;    <    =    >    ?   */
    HEX, HEX, HEX, HEX, HEX, HEX, HEX, HEX, HEX, HEX, COL, SEM, VIS, EQU, VIS, VIS,
    /*   A    B    C    D    E    F    G ...                                       */
    VIS, HEX, HEX, HEX, HEX, HEX, HEX, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK,
    /*                                                     [    \    ]    ^    _   */
    TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, VIS, BAC, VIS, TOK, TOK,
    TOK, HEX, HEX, HEX, HEX, HEX, HEX, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK,
    /*                                                     {    |    }    ~        */
    TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, TOK, VIS, TOK, VIS, TOK, BAD,
};

/* clang-format on */

/* START is 0: a zeroed parser is ready. The order matters: request line, headers, chunk lines, the rest. */
typedef enum {
    START,
    FIRST_LF, /* of an empty line before the request, which some clients send behind the one before */
    SECOND,
    METHOD,
    GAP,
    TARGET,
    VERSION,
    LINE_LF,
    FIELD, /* the beginning of a line */
    NAME,
    BLANK,
    VALUE,
    VALUE_LF,
    HEAD_LF,
    SIZE_0,
    SIZE,
    EXT_SEMICOLON, /* EXT...: extensions of chunks, "; name=value", which are read and forgotten */
    EXT_0,
    EXT,
    EXT_EQUAL,
    ARG_0,
    ARG,
    QUOTED,
    ESCAPE,
    ARG_END,
    SIZE_LF,
    DATA_CR,
    DATA_LF,
    DATA, /* from here on not in the table */
    END,
    REFUSED,
} state_t;

#define TOKEN(state) [HEX] = (state), [TOK] = (state)
#define BLANKS(state) [SP] = (state), [TAB] = (state)
#define VISIBLE(state)                                                                                                 \
    TOKEN(state), [COL] = (state), [SEM] = (state), [EQU] = (state), [QUO] = (state), [BAC] = (state), [VIS] = (state)
#define TEXT(state) VISIBLE(state), BLANKS(state), [OBS] = (state)

/* Nothing leads to START: a place that is left out is 0, which means that the byte may not stand there. */
static const unsigned char NEXT[DATA][COLUMN_COUNT] = {
    [START] = { TOKEN(METHOD), [CR] = FIRST_LF },
    [FIRST_LF] = { [LF] = SECOND },
    [SECOND] = { TOKEN(METHOD) },
    [METHOD] = { TOKEN(METHOD), [SP] = GAP },
    [GAP] = { VISIBLE(TARGET) },
    [TARGET] = { VISIBLE(TARGET), [SP] = VERSION },
    [VERSION] = { TOKEN(VERSION), [VIS] = VERSION, [CR] = LINE_LF },
    [LINE_LF] = { [LF] = FIELD },
    [FIELD] = { TOKEN(NAME), [CR] = HEAD_LF },
    [NAME] = { TOKEN(NAME), [COL] = BLANK },
    [BLANK] = { VISIBLE(VALUE), [OBS] = VALUE, BLANKS(BLANK), [CR] = VALUE_LF },
    [VALUE] = { TEXT(VALUE), [CR] = VALUE_LF },
    [VALUE_LF] = { [LF] = FIELD },
    [HEAD_LF] = { [LF] = END },
    [SIZE_0] = { [HEX] = SIZE },
    [SIZE] = { [HEX] = SIZE, [SEM] = EXT_0, BLANKS(EXT_SEMICOLON), [CR] = SIZE_LF },
    [EXT_SEMICOLON] = { BLANKS(EXT_SEMICOLON), [SEM] = EXT_0 },
    [EXT_0] = { BLANKS(EXT_0), TOKEN(EXT) },
    [EXT] = { TOKEN(EXT), BLANKS(EXT_EQUAL), [EQU] = ARG_0, [SEM] = EXT_0, [CR] = SIZE_LF },
    [EXT_EQUAL] = { BLANKS(EXT_EQUAL), [EQU] = ARG_0, [SEM] = EXT_0 },
    [ARG_0] = { BLANKS(ARG_0), TOKEN(ARG), [QUO] = QUOTED },
    [ARG] = { TOKEN(ARG), BLANKS(EXT_SEMICOLON), [SEM] = EXT_0, [CR] = SIZE_LF },
    [QUOTED] = { TOKEN(QUOTED), BLANKS(QUOTED), [COL] = QUOTED, [SEM] = QUOTED, [EQU] = QUOTED, [VIS] = QUOTED,
                 [OBS] = QUOTED, [QUO] = ARG_END, [BAC] = ESCAPE },
    [ESCAPE] = { TEXT(QUOTED) },
    [ARG_END] = { BLANKS(EXT_SEMICOLON), [SEM] = EXT_0, [CR] = SIZE_LF },
    [SIZE_LF] = { [LF] = DATA },
    [DATA_CR] = { [CR] = DATA_LF },
    [DATA_LF] = { [LF] = SIZE_0 },
};

/* What is wrong with a byte that may not stand there; without an entry it is the end of a line. */
static const char *const PROBLEMS[DATA] = {
    [START] = "it does not begin with a method",
    [SECOND] = "it does not begin with a method",
    [METHOD] = "the method is not a token with one blank behind it",
    [GAP] = "there is no request target behind method and blank",
    [TARGET] = "the request target is not followed by one blank and a version",
    [VERSION] = "the request line does not end with a version of HTTP",
    [FIELD] = "a header line does not begin with a name",
    [NAME] = "the name of a header is not a token with a colon behind it",
    [BLANK] = "the value of a header has a control byte",
    [VALUE] = "the value of a header has a control byte",
    [SIZE_0] = "a chunk does not begin with a valid size",
    [SIZE] = "a chunk does not begin with a valid size",
    [EXT_SEMICOLON] = "a chunk has an extension that is not valid",
    [EXT_0] = "a chunk has an extension that is not valid",
    [EXT] = "a chunk has an extension that is not valid",
    [EXT_EQUAL] = "a chunk has an extension that is not valid",
    [ARG_0] = "a chunk has an extension that is not valid",
    [ARG] = "a chunk has an extension that is not valid",
    [QUOTED] = "a chunk has an extension that is not valid",
    [ESCAPE] = "a chunk has an extension that is not valid",
    [ARG_END] = "a chunk has an extension that is not valid",
    [DATA_CR] = "a chunk is longer than its size",
};

static unsigned column(unsigned char c) {
    return c < 128 ? COLUMNS[c] : OBS;
}

/* ---- refusals ---------------------------------------------------------------------------------------------- */

static bool refuse(pl__http_parser_t *parser, unsigned status, const char *problem) {
    if (parser->state != REFUSED) {
        parser->status = status;
        parser->problem = problem;
        parser->state = REFUSED;
    }
    return false;
}

static bool refuse_byte(pl__http_parser_t *parser, unsigned char byte) {
    const char *problem = PROBLEMS[parser->state];
    if (!problem)
        problem = "a carriage return is not followed by a line feed";
    if (byte == '\n')
        problem = "a line feed without a carriage return before it";
    else if (byte == '\0')
        problem = "a zero byte";
    else if (parser->state == FIELD && (byte == ' ' || byte == '\t'))
        problem = "a header line is folded, or begins with a blank";
    return refuse(parser, 400, problem);
}

/* ---- text -------------------------------------------------------------------------------------------------- */

/* Where a header is in `text`. */
typedef struct {
    size_t name, name_len, value, value_len;
    bool is_joined; /* the value is in `joined` */
} mark_t;

static bool capture(pl__http_parser_t *parser, const char *bytes, size_t len) {
    pl__buf_add(&parser->text, bytes, len);
    return parser->text.rc == PL_OK || refuse(parser, 503, "out of memory");
}

/* Ends what is being captured, and begins the next. */
static bool capture_next(pl__http_parser_t *parser) {
    if (!capture(parser, "", 1))
        return false;
    parser->mark = parser->text.len;
    return true;
}

/* Bytes of a run, or the one that ends it: counts them. */
static bool count(pl__http_parser_t *parser, size_t len) {
    state_t state = parser->state;
    if (state < SIZE_0) {
        parser->head_len += len;
        if (parser->head_len > parser->max_head && state <= TARGET)
            return refuse(parser, 414, "the request line is too long");
        if (parser->head_len > parser->max_head)
            return refuse(parser, 431, "the headers are too long");
    } else if (state >= EXT_SEMICOLON && state < SIZE_LF) {
        parser->extra += len;
        if (parser->extra > EXTRA_MAX)
            return refuse(parser, 400, "the extensions of chunks are too long");
    }
    return true;
}

static bool add_size(pl__http_parser_t *parser, const char *digits, size_t len) {
    for (size_t i = 0; i < len; i++) {
        char c = (char)(digits[i] | 0x20);
        unsigned value = (unsigned)(c >= 'a' ? c - 'a' + 10 : digits[i] - '0');
        parser->left = parser->left > UINT64_MAX / 32 ? UINT64_MAX : parser->left * 16 + value;
    }
    parser->digits += len;
    return parser->digits <= DIGITS_MAX || refuse(parser, 400, PROBLEMS[SIZE]);
}

/* The bytes of a run. */
static bool take(pl__http_parser_t *parser, const char *bytes, size_t len) {
    if (!count(parser, len))
        return false;
    switch ((state_t)parser->state) {
    case NAME:
    case VALUE:
        return parser->is_trailer || capture(parser, bytes, len);
    case METHOD:
    case TARGET:
    case VERSION:
        return capture(parser, bytes, len);
    case SIZE:
        return add_size(parser, bytes, len);
    default:
        return true;
    }
}

/* ---- the request line -------------------------------------------------------------------------------------- */

static bool end_method(pl__http_parser_t *parser) {
    parser->method_len = parser->text.len;
    if (parser->method_len > METHOD_MAX)
        return refuse(parser, 501, "the method is too long");
    return capture_next(parser);
}

static bool end_target(pl__http_parser_t *parser) {
    parser->target_at = parser->mark;
    return capture_next(parser);
}

/* The target is looked at later, when the text has come to rest. */
static bool end_version(pl__http_parser_t *parser) {
    const char *version = parser->text.ptr + parser->mark;
    size_t len = parser->text.len - parser->mark;
    bool is_good = len == 8 && !memcmp(version, "HTTP/", 5) && version[5] >= '0' && version[5] <= '9' &&
                   version[6] == '.' && version[7] >= '0' && version[7] <= '9';
    if (!is_good)
        return refuse(parser, 400, PROBLEMS[VERSION]);
    if (version[5] != '1')
        return refuse(parser, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    parser->is_old = version[7] == '0';
    parser->text.len = parser->mark;
    return true;
}

static bool is_method(const pl__http_parser_t *parser, const char *name) {
    return parser->method_len == strlen(name) && !memcmp(parser->text.ptr, name, parser->method_len);
}

/* Gives method, path and query. */
static bool read_line(pl__http_parser_t *parser, pl__target_t *target) {
    char *text = parser->text.ptr + parser->target_at;
    parser->method = (pl_str_t){ parser->text.ptr, parser->method_len };
    if (is_method(parser, "CONNECT"))
        return refuse(parser, 501, "this server is no proxy");
    const char *problem = pl__target_read(text, strlen(text), is_method(parser, "OPTIONS"), target);
    if (problem)
        return refuse(parser, 400, problem);
    parser->path = target->path;
    parser->query = target->query;
    size_t arguments = 0;
    for (size_t i = 0; target->query.len > ARGUMENTS_MAX && i < target->query.len; i++)
        arguments += target->query.ptr[i] == '&';
    if (arguments > ARGUMENTS_MAX)
        return refuse(parser, 400, "the query has too many arguments");
    return true;
}

/* ---- headers ----------------------------------------------------------------------------------------------- */

static bool end_name(pl__http_parser_t *parser) {
    if (++parser->lines > LINES_MAX)
        return refuse(parser, 431, "there are too many headers");
    if (parser->is_trailer)
        return true;
    mark_t mark = { .name = parser->mark, .name_len = parser->text.len - parser->mark };
    for (size_t i = mark.name; i < parser->text.len; i++) {
        char c = parser->text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            parser->text.ptr[i] = (char)(c - 'A' + 'a');
    }
    if (!capture_next(parser))
        return false;
    mark.value = parser->mark;
    pl__buf_add(&parser->marks, &mark, sizeof mark);
    return parser->marks.rc == PL_OK || refuse(parser, 503, "out of memory");
}

static bool end_value(pl__http_parser_t *parser) {
    if (parser->is_trailer)
        return true;
    mark_t mark;
    char *last = parser->marks.ptr + parser->marks.len - sizeof mark;
    memcpy(&mark, last, sizeof mark);
    pl_str_t value = { parser->text.ptr + mark.value, parser->text.len - mark.value };
    mark.value_len = pl__field_trim(value).len; /* it begins with no blank */
    parser->text.len = mark.value + mark.value_len;
    memcpy(last, &mark, sizeof mark);
    return capture_next(parser);
}

static mark_t *marks(const pl__http_parser_t *parser) {
    return (mark_t *)(void *)parser->marks.ptr;
}

static pl_str_t name_of(const pl__http_parser_t *parser, const mark_t *mark) {
    return (pl_str_t){ parser->text.ptr + mark->name, mark->name_len };
}

static bool is_name(pl_str_t name, const char *text) {
    return name.len == strlen(text) && !memcmp(name.ptr, text, name.len);
}

/* Adds the value of a header line to those of its name before it. RFC 9110 5.3: joined with commas; cookies with
 * semicolons; what must be there once only is refused, since two readers could see two different requests. */
static bool join(pl__http_parser_t *parser, mark_t *first, mark_t *again) {
    pl_str_t name = name_of(parser, first);
    if (is_name(name, "host") || is_name(name, "content-length"))
        return refuse(parser, 400, "a header that must be there once only is there twice");
    if (!first->is_joined) {
        size_t value = parser->joined.len;
        pl__buf_add(&parser->joined, parser->text.ptr + first->value, first->value_len);
        first->value = value;
        first->is_joined = true;
    }
    pl__buf_add(&parser->joined, is_name(name, "cookie") ? "; " : ", ", 2);
    pl__buf_add(&parser->joined, parser->text.ptr + again->value, again->value_len);
    first->value_len += 2 + again->value_len;
    again->name_len = 0; /* nothing more to say */
    return parser->joined.rc == PL_OK || refuse(parser, 503, "out of memory");
}

/* Joins what is there more than once. */
static bool join_all(pl__http_parser_t *parser) {
    size_t count_all = parser->marks.len / sizeof(mark_t);
    for (size_t i = 0; i < count_all; i++) {
        mark_t *first = &marks(parser)[i];
        for (size_t j = i + 1; first->name_len > 0 && j < count_all; j++) {
            mark_t *again = &marks(parser)[j];
            if (first->name_len != again->name_len || !pl_str_eq(name_of(parser, first), name_of(parser, again)))
                continue;
            if (!join(parser, first, again))
                return false;
        }
        if (!first->is_joined)
            continue;
        pl__buf_add(&parser->joined, "", 1);
        if (parser->joined.rc != PL_OK)
            return refuse(parser, 503, "out of memory");
    }
    return true;
}

/* Makes the list of headers. The texts do not move any more. The authority of the target, which may have to stand for
 * the host, comes first among what is joined. */
static bool list_headers(pl__http_parser_t *parser, pl_str_t authority) {
    pl__buf_add(&parser->joined, authority.ptr, authority.len);
    pl__buf_add(&parser->joined, "", 1);
    if (!join_all(parser))
        return false;
    for (size_t i = 0; i < parser->marks.len / sizeof(mark_t); i++) {
        const mark_t *mark = &marks(parser)[i];
        if (mark->name_len == 0)
            continue;
        const char *texts = mark->is_joined ? parser->joined.ptr : parser->text.ptr;
        pl_http_header_t header = { name_of(parser, mark), { texts + mark->value, mark->value_len } };
        pl__buf_add(&parser->fields, &header, sizeof header);
    }
    parser->headers = (const pl_http_header_t *)(const void *)parser->fields.ptr;
    parser->header_count = parser->fields.len / sizeof(pl_http_header_t);
    return (parser->fields.rc == PL_OK && parser->joined.rc == PL_OK) || refuse(parser, 503, "out of memory");
}

/* ---- what the headers say ---------------------------------------------------------------------------------- */

static pl_http_header_t *find(const pl__http_parser_t *parser, const char *name) {
    pl_http_header_t *fields = (pl_http_header_t *)(void *)parser->fields.ptr;
    for (size_t i = 0; i < parser->header_count; i++)
        if (is_name(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static pl_str_t value_of(const pl__http_parser_t *parser, const char *name) {
    const pl_http_header_t *header = find(parser, name);
    return header ? header->value : PL_STR_NONE;
}

/* RFC 9112 3.2: HTTP/1.1 must name the host; the one in an absolute target counts. */
static bool check_host(pl__http_parser_t *parser, const pl__target_t *target) {
    pl_http_header_t *host = find(parser, "host");
    if (!host && !parser->is_old)
        return refuse(parser, 400, "there is no Host");
    if (host && !pl__host_is_valid(host->value))
        return refuse(parser, 400, "Host is not a host with or without a port");
    if (host && target->authority.ptr)
        host->value = (pl_str_t){ parser->joined.ptr, target->authority.len };
    return true;
}

static void read_connection(pl__http_parser_t *parser) {
    pl_str_t list = value_of(parser, "connection"), word;
    bool closes = false, stays = !parser->is_old;
    while (pl__field_next(&list, &word)) {
        closes = closes || pl__field_is_word(word, "close");
        stays = stays || pl__field_is_word(word, "keep-alive");
    }
    parser->keeps_alive = stays && !closes;
}

/* RFC 9110 10.1.1: HTTP/1.0 knows no expectations. */
static bool read_expect(pl__http_parser_t *parser) {
    pl_str_t list = parser->is_old ? PL_STR_NONE : value_of(parser, "expect"), word;
    while (pl__field_next(&list, &word)) {
        if (!pl__field_is_word(word, "100-continue"))
            return refuse(parser, 417, "the expectation is not 100-continue");
        parser->expects_continue = true;
    }
    return true;
}

/* RFC 9112 6.1: chunked, and nothing else, is understood; it must be there once and last. */
static bool read_coding(pl__http_parser_t *parser, pl_str_t list) {
    bool is_unknown = false;
    pl_str_t coding;
    if (parser->is_old)
        return refuse(parser, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (value_of(parser, "content-length").ptr)
        return refuse(parser, 400, "there are both Transfer-Encoding and Content-Length");
    while (pl__field_next(&list, &coding)) {
        if (parser->is_chunked || coding.len == 0)
            return refuse(parser, 400, "Transfer-Encoding does not end with chunked, once");
        parser->is_chunked = pl__field_is_word(coding, "chunked");
        is_unknown = is_unknown || !parser->is_chunked;
    }
    if (!parser->is_chunked)
        return refuse(parser, 400, "Transfer-Encoding does not end with chunked, once");
    return !is_unknown || refuse(parser, 501, "the transfer coding is not understood");
}

static bool read_length(pl__http_parser_t *parser, pl_str_t text) {
    uint64_t length = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return refuse(parser, 400, "Content-Length is not a number");
        length = length > UINT64_MAX / 16 ? UINT64_MAX : length * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (text.len == 0)
        return refuse(parser, 400, "Content-Length is empty");
    if (length > parser->max_body)
        return refuse(parser, 413, "the body is too large");
    parser->left = length;
    return true;
}

/* The head is complete. */
static bool end_head(pl__http_parser_t *parser) {
    pl__target_t target;
    if (!read_line(parser, &target) || !list_headers(parser, target.authority) || !check_host(parser, &target))
        return false;
    pl_str_t coding = value_of(parser, "transfer-encoding"), length = value_of(parser, "content-length");
    if (coding.ptr && !read_coding(parser, coding))
        return false;
    if (length.ptr && !read_length(parser, length))
        return false;
    read_connection(parser);
    parser->has_body = parser->is_chunked || parser->left > 0;
    return read_expect(parser);
}

/* ---- states ------------------------------------------------------------------------------------------------ */

/* A chunk begins; one without bytes is the last, and trailers follow. */
static state_t end_size(pl__http_parser_t *parser) {
    if (parser->left == 0) {
        parser->is_trailer = true;
        return FIELD;
    }
    if (parser->left > parser->max_body - parser->body_len) {
        (void)refuse(parser, 413, "the body is too large");
        return REFUSED;
    }
    parser->body_len += parser->left;
    return DATA;
}

/* Leaves a state for `next`: does what is due. Returns the state to be in. */
static state_t leave(pl__http_parser_t *parser, state_t next) {
    bool is_good = true;
    switch ((state_t)parser->state) {
    case METHOD:
        is_good = end_method(parser);
        break;
    case TARGET:
        is_good = end_target(parser);
        break;
    case VERSION:
        is_good = end_version(parser);
        break;
    case NAME:
        is_good = end_name(parser);
        break;
    case VALUE_LF:
        is_good = end_value(parser);
        break;
    case SIZE_LF:
        return end_size(parser);
    case DATA_LF:
        parser->left = parser->digits = 0;
        break;
    case HEAD_LF:
        if (parser->is_trailer)
            return END;
        is_good = end_head(parser);
        next = parser->is_chunked ? SIZE_0 : parser->left > 0 ? DATA : END;
        break;
    default:
        break;
    }
    return is_good ? next : REFUSED;
}

/* Whether the byte that leads to a state is the first of its run. */
static bool is_first_of(state_t state) {
    return state == METHOD || state == TARGET || state == NAME || state == VALUE || state == SIZE;
}

/* Takes a run and the byte behind it. Returns how many bytes it took. */
static size_t step(pl__http_parser_t *parser, const char *bytes, size_t len) {
    state_t state = parser->state;
    const unsigned char *row = NEXT[state];
    size_t n = 0;
    while (state != START && n < len && row[column((unsigned char)bytes[n])] == state)
        n++;
    if ((n > 0 && !take(parser, bytes, n)) || n == len)
        return n;
    state_t next = row[column((unsigned char)bytes[n])];
    if (next == START) {
        (void)refuse_byte(parser, (unsigned char)bytes[n]);
        return n;
    }
    if (!is_first_of(next)) {
        if (!count(parser, 1))
            return n;
        n++;
    }
    next = leave(parser, next);
    parser->state = (unsigned char)next;
    return n;
}

static pl__parse_t take_data(pl__http_parser_t *parser, const char **bytes, size_t *len) {
    size_t n = *len < parser->left ? *len : (size_t)parser->left;
    parser->part = (pl_str_t){ *bytes, n };
    *bytes += n;
    *len -= n;
    parser->left -= n;
    if (parser->left == 0)
        parser->state = parser->is_chunked ? DATA_CR : END;
    return PL__PARSE_BODY;
}

pl__parse_t pl__http_parse(pl__http_parser_t *parser, const char **bytes, size_t *len) {
    for (;;) {
        if (parser->state == REFUSED)
            return PL__PARSE_REFUSED;
        if (parser->state == END)
            return PL__PARSE_DONE;
        if (*len == 0)
            return PL__PARSE_MORE;
        if (parser->state == DATA)
            return take_data(parser, bytes, len);
        bool was_head = parser->state == HEAD_LF && !parser->is_trailer;
        size_t n = step(parser, *bytes, *len);
        *bytes += n;
        *len -= n;
        if (was_head && parser->state != HEAD_LF && parser->state != REFUSED)
            return PL__PARSE_HEAD;
    }
}

bool pl__http_parser_is_head(const pl__http_parser_t *parser) {
    return is_method(parser, "HEAD");
}

bool pl__http_parser_is_inside(const pl__http_parser_t *parser) {
    return parser->state != START && parser->state != END;
}

static void keep(pl__buf_t *buf) {
    if (buf->size > KEEP_MAX || buf->rc != PL_OK)
        pl__buf_free(buf);
    buf->len = 0;
}

void pl__http_parser_reset(pl__http_parser_t *parser) {
    pl__http_parser_t next = { .max_head = parser->max_head, .max_body = parser->max_body };
    pl__buf_t *const bufs[] = { &parser->text, &parser->joined, &parser->marks, &parser->fields };
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        keep(bufs[i]);
    next.text = parser->text;
    next.joined = parser->joined;
    next.marks = parser->marks;
    next.fields = parser->fields;
    *parser = next;
}

void pl__http_parser_free(pl__http_parser_t *parser) {
    pl__buf_free(&parser->text);
    pl__buf_free(&parser->joined);
    pl__buf_free(&parser->marks);
    pl__buf_free(&parser->fields);
}
