/*
 * transfer.c - what libcurl is told of a request, what it calls meanwhile, and what comes of it. See transfer.h.
 *
 * What a server can make us hold is bounded: HEAD_MAX, max_size or the window. Nothing in here runs code of the host.
 */
#include "http/transfer.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/field.h"

enum {
    HEAD_MAX = 256 * 1024, /* bytes of the headers of a response */
    LINES_MAX = 1000,      /* and lines */
};

/* ---- the head of a response, inside libcurl ------------------------------------------------------------------- */

static int code_of_space(pl__buf_t *buf) {
    return buf->rc ? PL_ENOMEM : PL_OK;
}

static void head_reset(pl_fetch_t *fetch) {
    pl__arena_free(&fetch->head_arena);
    fetch->headers.len = 0;
    fetch->head_size = 0;
    fetch->status = 0;
    fetch->has_location = false;
}

static void head_done(pl_fetch_t *fetch) {
    char *url = NULL;
    if (fetch->has_head)
        return;
    fetch->has_head = true;
    if (pl__curl.easy_getinfo(fetch->easy, CURLINFO_EFFECTIVE_URL, &url) != CURLE_OK ||
        pl__arena_copy(&fetch->arena, pl_str(url), &fetch->url) != PL_OK)
        fetch->url = PL_STR_NONE;
    if (fetch->request.stream) {
        pl__fetch_start_timer(fetch);
        pl__fetch_tell(fetch);
    }
}

/* A line, or a part of one, without the blanks and the line end around it. */
static pl_str_t trimmed(const char *from, const char *to) {
    while (to > from && (to[-1] == '\r' || to[-1] == '\n'))
        to--;
    return pl__field_trim((pl_str_t){ from, (size_t)(to - from) });
}

static int head_add(pl_fetch_t *fetch, const char *line, const char *colon, const char *end) {
    pl_http_header_t header;
    if (pl__arena_copy(&fetch->head_arena, trimmed(colon + 1, end), &header.value) != PL_OK)
        return PL_ENOMEM;
    pl_str_t raw = trimmed(line, colon);
    char *name = pl__arena_get(&fetch->head_arena, raw.len + 1);
    if (!name)
        return PL_ENOMEM;
    for (size_t i = 0; i < raw.len; i++)
        name[i] = raw.ptr[i] >= 'A' && raw.ptr[i] <= 'Z' ? (char)(raw.ptr[i] - 'A' + 'a') : raw.ptr[i];
    header.name = (pl_str_t){ name, raw.len };
    if (pl_str_eq(header.name, PL_STR_LIT("location")))
        fetch->has_location = true;
    pl__buf_add(&fetch->headers, &header, sizeof header);
    return code_of_space(&fetch->headers);
}

/* The empty line: is this the response, or will libcurl go on to another one? */
static void head_ends(pl_fetch_t *fetch) {
    bool is_redirect = fetch->status >= 300 && fetch->status < 400 && fetch->has_location;
    if (fetch->status >= 200 && !(is_redirect && fetch->request.redirects))
        head_done(fetch);
}

/* The three digits of a status line; 0 if they are not there. */
static int status_parse(const char *line, size_t len) {
    const char *space = memchr(line, ' ', len), *end = line + len;
    int status = 0, digits = 0;
    for (const char *c = space ? space + 1 : end; c < end && *c >= '0' && *c <= '9' && digits <= 3; c++, digits++)
        status = status * 10 + (*c - '0');
    return digits == 3 && status >= 100 ? status : 0;
}

static size_t header_cb(char *line, size_t one, size_t len, void *data) {
    pl_fetch_t *fetch = data;
    (void)one;
    if (fetch->has_head) /* a trailer, whatever it looks like */
        return len;
    if (len >= 5 && !strncasecmp(line, "HTTP/", 5)) {
        head_reset(fetch);
        fetch->status = status_parse(line, len);
        if (fetch->status == 0) { /* libcurl would make a 200 of it */
            pl__fetch_doom(fetch, PL_EPROTO, "the answer has no status that can be read");
            return 0;
        }
        return len;
    }
    fetch->head_size += len;
    if (fetch->head_size > HEAD_MAX || fetch->headers.len >= LINES_MAX * sizeof(pl_http_header_t)) {
        pl__fetch_doom(fetch, PL_ELIMIT, "the headers of the answer are too large");
        return 0;
    }
    if (trimmed(line, line + len).len == 0) {
        head_ends(fetch);
        return len;
    }
    const char *colon = memchr(line, ':', len);
    if (colon && colon > line && head_add(fetch, line, colon, line + len) != PL_OK) {
        pl__fetch_doom(fetch, PL_ENOMEM, NULL);
        return 0;
    }
    return len;
}

/* ---- bodies, inside libcurl ---------------------------------------------------------------------------------- */

static size_t write_cb(char *bytes, size_t one, size_t len, void *data) {
    pl_fetch_t *fetch = data;
    (void)one;
    if (len == 0)
        return 0;
    head_done(fetch);
    if (fetch->request.stream && fetch->in.len >= fetch->request.window) {
        fetch->recv_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (fetch->request.max_size && len > fetch->request.max_size - fetch->received) {
        pl__fetch_doom(fetch, PL_ELIMIT, "the answer is larger than max_size");
        return 0;
    }
    pl__buf_add(&fetch->in, bytes, len);
    if (fetch->in.rc) {
        pl__fetch_doom(fetch, PL_ENOMEM, NULL);
        return 0;
    }
    fetch->received += len;
    if (fetch->request.stream) { /* the reader's turn */
        if (fetch->timer_state == TIMER_OPEN)
            (void)uv_timer_stop(&fetch->timer);
        pl__fetch_tell(fetch);
    }
    return len;
}

static size_t read_cb(char *room, size_t one, size_t size, void *data) {
    pl_fetch_t *fetch = data;
    size_t left = fetch->out.len - fetch->out_at;
    size *= one;
    if (left == 0 && fetch->out_ended)
        return 0;
    if (left == 0) {
        fetch->send_paused = true;
        fetch->wants = true;
        pl__fetch_tell(fetch);
        return CURL_READFUNC_PAUSE;
    }
    if (left > size)
        left = size;
    memcpy(room, fetch->out.ptr + fetch->out_at, left);
    fetch->out_at += left;
    return left;
}

void pl__transfer_unpause(pl_fetch_t *fetch) {
    int mask = (fetch->recv_paused ? CURLPAUSE_RECV : 0) | (fetch->send_paused ? CURLPAUSE_SEND : 0);
    if (pl__curl.easy_pause(fetch->easy, mask) != CURLE_OK)
        pl__fetch_doom(fetch, PL_EOTHER, "the transfer could not go on");
}

/* ---- results ----------------------------------------------------------------------------------------------- */

static int connect_code(CURL *easy) {
    long number = 0;
    (void)pl__curl.easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    return number == ECONNREFUSED ? PL_ECONNREFUSED : PL_EHOSTUNREACH;
}

int pl__transfer_code(CURLcode result, CURL *easy) {
    static const struct {
        CURLcode result;
        int code;
    } CODES[] = {
        { CURLE_OK, PL_OK },
        { CURLE_OUT_OF_MEMORY, PL_ENOMEM },
        { CURLE_OPERATION_TIMEDOUT, PL_ETIMEDOUT },
        { CURLE_URL_MALFORMAT, PL_EINVAL },
        { CURLE_COULDNT_RESOLVE_HOST, PL_ENOHOST },
        { CURLE_COULDNT_RESOLVE_PROXY, PL_ENOHOST },
        { CURLE_PARTIAL_FILE, PL_ECONNRESET },
        { CURLE_GOT_NOTHING, PL_ECONNRESET },
        { CURLE_RECV_ERROR, PL_ECONNRESET },
        { CURLE_SEND_ERROR, PL_ECONNRESET },
        { CURLE_SSL_CONNECT_ERROR, PL_ETLS },
        { CURLE_PEER_FAILED_VERIFICATION, PL_ETLS },
        { CURLE_SSL_CACERT_BADFILE, PL_ETLS },
        { CURLE_SSL_CERTPROBLEM, PL_ETLS },
        { CURLE_SSL_CIPHER, PL_ETLS },
        { CURLE_SSL_ISSUER_ERROR, PL_ETLS },
        { CURLE_SSL_INVALIDCERTSTATUS, PL_ETLS },
        { CURLE_UNSUPPORTED_PROTOCOL, PL_EPROTO }, /* HTTP/0.9, or a redirect to another protocol */
        { CURLE_WEIRD_SERVER_REPLY, PL_EPROTO },
        { CURLE_BAD_FUNCTION_ARGUMENT, PL_EPROTO }, /* of a transfer: a head that begins with a folded line */
        { CURLE_FILESIZE_EXCEEDED, PL_ELIMIT },
        { CURLE_TOO_MANY_REDIRECTS, PL_ELIMIT },
    };
    if (result == CURLE_COULDNT_CONNECT)
        return connect_code(easy);
    for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++)
        if (CODES[i].result == result)
            return CODES[i].code;
    return PL_EOTHER;
}

void pl__transfer_finish(pl_fetch_t *fetch, CURLcode result) {
    long opened = 0;
    int code = fetch->why ? fetch->why : pl__transfer_code(result, fetch->easy);
    const char *text = fetch->why ? fetch->why_text : fetch->message;
    if (!fetch->why && result == CURLE_BAD_FUNCTION_ARGUMENT)
        text = "the headers of the answer are malformed";
    else if (!fetch->why && result != CURLE_OK && !fetch->message[0])
        text = pl__curl.easy_strerror(result);
    if (pl__curl.easy_getinfo(fetch->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK)
        fetch->fetcher->connections += (uint64_t)opened;
    if (code == PL_OK)
        head_done(fetch);
    pl__fetch_end(fetch, code, text);
    pl__fetch_tell(fetch);
}

/* ---- what it is told ---------------------------------------------------------------------------------------- */

#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        if (rc == CURLE_OK)                                                                                            \
            rc = pl__curl.easy_setopt(fetch->easy, option, value);                                                     \
    } while (0)

static bool method_is(const pl_fetch_t *fetch, const char *name) {
    return pl_str_eq(fetch->request.method, pl_str(name));
}

static CURLcode set_connection(pl_fetch_t *fetch, CURLcode rc) {
    const pl_fetch_request_t *request = &fetch->request;
    SET(CURLOPT_PRIVATE, (void *)fetch);
    SET(CURLOPT_ERRORBUFFER, fetch->message);
    SET(CURLOPT_URL, request->url.ptr);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* cancelling does not wait for the resolver's thread */
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_USERAGENT, "pipeline");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (request->connect > 0)
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(request->connect * 1000 + 0.5));
    if (!request->env_proxy)
        SET(CURLOPT_PROXY, request->proxy.ptr ? request->proxy.ptr : "");
    if (request->is_unverified) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (request->ca_file.ptr)
        SET(CURLOPT_CAINFO, request->ca_file.ptr);
    return rc;
}

static CURLcode set_exchange(pl_fetch_t *fetch, CURLcode rc) {
    const pl_fetch_request_t *request = &fetch->request;
    bool is_post = method_is(fetch, "POST"), is_head = method_is(fetch, "HEAD"), is_get = method_is(fetch, "GET");
    if (is_post || request->body.ptr || request->upload) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, request->upload ? (curl_off_t)-1 : (curl_off_t)request->body.len);
        if (!request->upload)
            SET(CURLOPT_POSTFIELDS, request->body.ptr ? request->body.ptr : "");
    }
    if (request->upload) /* what has gone cannot be sent again, should the server have closed a kept connection */
        SET(CURLOPT_FRESH_CONNECT, 1L);
    if (is_head)
        SET(CURLOPT_NOBODY, 1L);
    if (!is_post && !is_head && !(is_get && !request->body.ptr && !request->upload))
        SET(CURLOPT_CUSTOMREQUEST, request->method.ptr);
    if (request->redirects && (is_get || is_post || is_head)) {
        SET(CURLOPT_FOLLOWLOCATION, 1L);
        SET(CURLOPT_MAXREDIRS, (long)request->redirects);
    }
    if (request->max_size)
        SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_size);
    SET(CURLOPT_HTTPHEADER, fetch->lines);
    SET(CURLOPT_HEADERFUNCTION, header_cb);
    SET(CURLOPT_HEADERDATA, (void *)fetch);
    SET(CURLOPT_WRITEFUNCTION, write_cb);
    SET(CURLOPT_WRITEDATA, (void *)fetch);
    SET(CURLOPT_READFUNCTION, read_cb);
    SET(CURLOPT_READDATA, (void *)fetch);
    return rc;
}

/* A line from the server while libcurl makes the session: the last reply is why it failed, if it did. */
static size_t reply_cb(char *line, size_t one, size_t len, void *data) {
    pl_fetch_t *fetch = data;
    (void)one;
    for (size_t at = 0; at < len;) {
        int taken = pl__reply_read(&fetch->reply, line + at, len - at);
        if (taken <= 0) { /* libcurl will say what is wrong with it */
            pl__reply_free(&fetch->reply);
            fetch->reply = (pl__reply_t){ 0 };
            break;
        }
        at += (size_t)taken;
    }
    return len;
}

static CURLcode set_mail(pl_fetch_t *fetch, CURLcode rc) {
    const pl_fetch_request_t *request = &fetch->request;
    static const long USE_SSL[] = { CURLUSESSL_ALL, CURLUSESSL_TRY, CURLUSESSL_NONE };
    SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(CURLOPT_CONNECT_ONLY, 1L);
    SET(CURLOPT_USE_SSL, USE_SSL[request->starttls]);
    if (request->username.ptr) {
        SET(CURLOPT_USERNAME, request->username.ptr);
        SET(CURLOPT_PASSWORD, request->password.ptr ? request->password.ptr : "");
    }
    SET(CURLOPT_HEADERFUNCTION, reply_cb);
    SET(CURLOPT_HEADERDATA, (void *)fetch);
    return rc;
}

CURLcode pl__transfer_make(pl_fetch_t *fetch) {
    fetch->easy = pl__curl.easy_init();
    if (!fetch->easy)
        return CURLE_OUT_OF_MEMORY;
    CURLcode rc = set_connection(fetch, CURLE_OK);
    return pl__fetch_is_mail(fetch) ? set_mail(fetch, rc) : set_exchange(fetch, rc);
}
