/*
 * fetch.c - libcurl's multi interface driven from the uv loop.
 *
 * Design. libcurl says which sockets it waits for (socket_cb: a uv_poll each) and for how long (timer_cb: one
 * uv_timer); act() tells it what happened. Whatever comes of that is only noted on the requests; when libcurl has
 * returned, settle() collects what is over, lets waiting requests begin and tells the hosts. The queue and the
 * deadlines are ours, so that a request that waits for its place has a deadline as well.
 *
 * Invariants
 *   1. No host code runs inside libcurl: `changed` is called by settle() alone, from a callback of the loop.
 *   2. A QUEUED request is in the queue; an ACTIVE one has an easy handle, which is in the multi handle.
 *   3. A request with news is in the list `news` exactly once; settle() will run: now, or by the timer `soon`.
 *   4. Memory with a uv handle in it is freed by the close callback of that handle.
 *   5. What a server can make us hold is bounded: HEAD_MAX, max_size or the window. A failed allocation ends the one
 *      request it was for.
 */
#include "http/fetch.h"
#include "base/curl.h"
#include "http/field.h"
#include "mail/delivery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

enum {
    ACTIVE_DEFAULT = 100,
    IDLE_DEFAULT = 100,
    DEADLINE_DEFAULT = 60,
    SIZE_DEFAULT = 32 * 1024 * 1024,
    WINDOW_DEFAULT = 256 * 1024,
    HEAD_MAX = 256 * 1024, /* bytes of the headers of an answer */
    LINES_MAX = 1000,      /* and lines */
    SECONDS_MAX = 1000000,
};

typedef struct link {
    struct link *next, *prev;
} link_t;

typedef enum { STATE_QUEUED, STATE_ACTIVE, STATE_OVER } state_t;
typedef enum { TIMER_NONE, TIMER_OPEN, TIMER_CLOSING } timer_state_t;

struct pl_fetch {
    link_t link;           /* in the queue or among the active ones */
    link_t news;           /* in the client's list of requests with news */
    pl_fetcher_t *fetcher; /* NULL: closed */
    pl_fetch_request_t request;
    state_t state;
    bool is_released;
    CURL *easy;
    pl__delivery_t *delivery; /* of a mail, once there is a session */
    pl__reply_t reply;        /* of a mail, until then */
    struct curl_slist *lines; /* of header, in the arena */
    uv_timer_t timer;         /* of the deadline */
    timer_state_t timer_state;
    int why; /* what a callback found wrong inside libcurl: the code it will be over with */
    const char *why_text;
    bool recv_paused, send_paused;
    /* sending */
    pl__buf_t out;
    size_t out_at; /* bytes of it that are sent */
    bool out_ended, wants;
    /* the answer */
    pl__arena_t arena; /* of the request */
    pl__arena_t head_arena;
    pl__buf_t headers; /* of pl_http_header_t */
    size_t head_size;
    int status;
    bool has_head, has_location;
    pl_str_t url;
    pl__buf_t in, taken;
    uint64_t received;
    int code;
    char message[CURL_ERROR_SIZE];
};

/* A socket libcurl waits for. */
typedef struct sock {
    uv_poll_t poll; /* first; data: the client; NULL: it is closing */
    int events;     /* what libcurl waits for */
    struct sock *next, *prev;
} sock_t;

struct pl_fetcher {
    pl_fetcher_options_t options;
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* libcurl's */
    uv_timer_t soon;  /* settle() at the next turn */
    int open_handles;
    sock_t *socks;
    link_t queue, actives, news;
    unsigned active, queued;
    uint64_t requests, connections;
    bool is_busy; /* in act() or settle(): news will be told */
    bool is_closing;
};

static void settle(pl_fetcher_t *fetcher);

/* ---- lists ------------------------------------------------------------------------------------------------- */

static void link_init(link_t *link) {
    link->next = link->prev = link;
}

static bool link_is_alone(const link_t *link) {
    return link->next == link;
}

static void link_append(link_t *list, link_t *link) {
    link->next = list;
    link->prev = list->prev;
    list->prev->next = link;
    list->prev = link;
}

static void link_remove(link_t *link) {
    link->next->prev = link->prev;
    link->prev->next = link->next;
    link_init(link);
}

static pl_fetch_t *of_link(link_t *link) {
    return (pl_fetch_t *)((char *)link - offsetof(pl_fetch_t, link));
}

static pl_fetch_t *of_news(link_t *link) {
    return (pl_fetch_t *)((char *)link - offsetof(pl_fetch_t, news));
}

/* ---- news -------------------------------------------------------------------------------------------------- */

static void soon_cb(uv_timer_t *timer) {
    settle(timer->data);
}

static void settle_soon(pl_fetcher_t *fetcher) {
    if (!fetcher->is_busy && !fetcher->is_closing)
        (void)uv_timer_start(&fetcher->soon, soon_cb, 0, 0);
}

/* The host is to look at the request. */
static void tell(pl_fetch_t *fetch) {
    if (!fetch->fetcher || !link_is_alone(&fetch->news))
        return;
    link_append(&fetch->fetcher->news, &fetch->news);
    settle_soon(fetch->fetcher);
}

/* Something went wrong inside libcurl, or at a place that cannot end the request: settle() does. */
static void doom(pl_fetch_t *fetch, int code, const char *text) {
    if (fetch->why == PL_OK) {
        fetch->why = code;
        fetch->why_text = text;
    }
    tell(fetch);
}

/* ---- the end of a request ---------------------------------------------------------------------------------- */

static void fetch_free(pl_fetch_t *fetch) {
    pl__buf_free(&fetch->out);
    pl__buf_free(&fetch->headers);
    pl__buf_free(&fetch->in);
    pl__buf_free(&fetch->taken);
    pl__reply_free(&fetch->reply);
    pl__arena_free(&fetch->arena);
    pl__arena_free(&fetch->head_arena);
    pl__free(fetch);
}

static void fetch_timer_closed_cb(uv_handle_t *handle) {
    pl_fetch_t *fetch = handle->data;
    fetch->timer_state = TIMER_NONE;
    if (fetch->is_released)
        fetch_free(fetch);
}

static void fetch_close_timer(pl_fetch_t *fetch) {
    if (fetch->timer_state != TIMER_OPEN)
        return;
    fetch->timer_state = TIMER_CLOSING;
    uv_close((uv_handle_t *)&fetch->timer, fetch_timer_closed_cb);
}

/* An easy handle serves one request only: libcurl 7.88 remembers the last header of an answer beyond its memory, and
 * a next answer that begins with a folded line would have it read and moved. Connections belong to the multi handle. */
static void give_easy_back(pl_fetcher_t *fetcher, CURL *easy) {
    (void)pl__curl.multi_remove_handle(fetcher->multi, easy);
    pl__curl.easy_cleanup(easy);
}

/* The one way to OVER. The text is copied. */
static void fetch_end(pl_fetch_t *fetch, int code, const char *text) {
    pl_fetcher_t *fetcher = fetch->fetcher;
    if (fetch->state == STATE_OVER)
        return;
    link_remove(&fetch->link);
    if (fetch->state == STATE_ACTIVE)
        fetcher->active--;
    else
        fetcher->queued--;
    fetch->state = STATE_OVER;
    fetch->code = code;
    fetch->wants = false;
    if (text != fetch->message)
        (void)snprintf(fetch->message, sizeof fetch->message, "%s", text ? text : "");
    if (fetch->delivery)
        pl__delivery_close(fetch->delivery); /* before the connection is closed */
    fetch->delivery = NULL;
    if (fetch->easy) {
        CURL *easy = fetch->easy;
        fetch->easy = NULL;
        give_easy_back(fetcher, easy);
    }
    fetch_close_timer(fetch);
    if (code != PL_OK && !fetch->request.stream)
        pl__buf_free(&fetch->in);
    if (!link_is_alone(&fetcher->queue))
        settle_soon(fetcher);
}

static void deadline_cb(uv_timer_t *timer) {
    pl_fetch_t *fetch = timer->data;
    pl_fetcher_t *fetcher = fetch->fetcher;
    char text[96];
    if (fetch->delivery)
        (void)snprintf(text, sizeof text, "no reply to %s within %.10g s",
                       pl__smtp_command(pl__delivery_dialog(fetch->delivery)), fetch->request.deadline);
    else
        (void)snprintf(text, sizeof text, "no %s within %.10g s", fetch->has_head ? "more of the answer" : "answer",
                       fetch->request.deadline);
    fetch_end(fetch, PL_ETIMEDOUT, text);
    tell(fetch);
    settle(fetcher);
}

/* The server's turn to be waited for begins. */
static void start_timer(pl_fetch_t *fetch) {
    if (fetch->timer_state != TIMER_OPEN || fetch->state == STATE_OVER)
        return;
    uv_update_time(fetch->fetcher->loop);
    (void)uv_timer_start(&fetch->timer, deadline_cb, (uint64_t)(fetch->request.deadline * 1000 + 0.5), 0);
}

/* ---- the head of an answer, inside libcurl ------------------------------------------------------------------- */

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
        start_timer(fetch);
        tell(fetch);
    }
}

static pl_str_t trimmed(const char *from, const char *to) {
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r' || to[-1] == '\n'))
        to--;
    return (pl_str_t){ from, (size_t)(to - from) };
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

/* The empty line: is this the answer, or will libcurl go on to another one? */
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
            doom(fetch, PL_EPROTO, "the answer has no status that can be read");
            return 0;
        }
        return len;
    }
    fetch->head_size += len;
    if (fetch->head_size > HEAD_MAX || fetch->headers.len >= LINES_MAX * sizeof(pl_http_header_t)) {
        doom(fetch, PL_ELIMIT, "the headers of the answer are too large");
        return 0;
    }
    if (trimmed(line, line + len).len == 0) {
        head_ends(fetch);
        return len;
    }
    const char *colon = memchr(line, ':', len);
    if (colon && colon > line && head_add(fetch, line, colon, line + len) != PL_OK) {
        doom(fetch, PL_ENOMEM, NULL);
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
        doom(fetch, PL_ELIMIT, "the answer is larger than max_size");
        return 0;
    }
    pl__buf_add(&fetch->in, bytes, len);
    if (fetch->in.rc) {
        doom(fetch, PL_ENOMEM, NULL);
        return 0;
    }
    fetch->received += len;
    if (fetch->request.stream) { /* the reader's turn */
        if (fetch->timer_state == TIMER_OPEN)
            (void)uv_timer_stop(&fetch->timer);
        tell(fetch);
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
        tell(fetch);
        return CURL_READFUNC_PAUSE;
    }
    if (left > size)
        left = size;
    memcpy(room, fetch->out.ptr + fetch->out_at, left);
    fetch->out_at += left;
    return left;
}

static void unpause(pl_fetch_t *fetch) {
    int mask = (fetch->recv_paused ? CURLPAUSE_RECV : 0) | (fetch->send_paused ? CURLPAUSE_SEND : 0);
    if (pl__curl.easy_pause(fetch->easy, mask) != CURLE_OK)
        doom(fetch, PL_EOTHER, "the transfer could not go on");
}

/* ---- results ----------------------------------------------------------------------------------------------- */

static int connect_code(CURL *easy) {
    long number = 0;
    (void)pl__curl.easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    return number == ECONNREFUSED ? PL_ECONNREFUSED : PL_EHOSTUNREACH;
}

static int code_of(CURLcode result, CURL *easy) {
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

static void finish(pl_fetch_t *fetch, CURLcode result) {
    long opened = 0;
    int code = fetch->why ? fetch->why : code_of(result, fetch->easy);
    const char *text = fetch->why ? fetch->why_text : fetch->message;
    if (!fetch->why && result == CURLE_BAD_FUNCTION_ARGUMENT)
        text = "the headers of the answer are malformed";
    else if (!fetch->why && result != CURLE_OK && !fetch->message[0])
        text = pl__curl.easy_strerror(result);
    if (pl__curl.easy_getinfo(fetch->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK)
        fetch->fetcher->connections += (uint64_t)opened;
    if (code == PL_OK)
        head_done(fetch);
    fetch_end(fetch, code, text);
    tell(fetch);
}

/* ---- mail --------------------------------------------------------------------------------------------------- */

static bool is_mail(const pl_fetch_t *fetch) {
    return fetch->request.mail_to.ptr;
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

/* The mail is over with a reply of the server, which is the answer. */
static void mail_answered(pl_fetch_t *fetch, const pl__reply_t *reply) {
    fetch->status = reply->status;
    fetch->has_head = true;
    fetch->url = fetch->request.url;
    pl__buf_add(&fetch->in, reply->text.ptr, reply->text.len);
    fetch_end(fetch, fetch->in.rc ? PL_ENOMEM : PL_OK, NULL);
    tell(fetch);
}

/* There was something in the dialog. */
static void mail_news(void *data) {
    pl_fetch_t *fetch = data;
    pl_fetcher_t *fetcher = fetch->fetcher;
    const pl__smtp_t *smtp = pl__delivery_dialog(fetch->delivery);
    char text[CURL_ERROR_SIZE];
    if (!pl__smtp_is_over(smtp)) {
        start_timer(fetch);
        return;
    }
    if (smtp->code == PL_OK) {
        mail_answered(fetch, &smtp->reply);
    } else {
        (void)snprintf(text, sizeof text, "%s", smtp->why ? smtp->why : pl_result_text(smtp->code));
        fetch_end(fetch, smtp->code, text);
        tell(fetch);
    }
    settle(fetcher);
}

/* libcurl has a session with the server, or has none. */
static void mail_connected(pl_fetch_t *fetch, CURLcode result) {
    const pl_fetch_request_t *request = &fetch->request;
    pl_error_t error = { 0 };
    if (result != CURLE_OK && !fetch->why && fetch->reply.is_complete && fetch->reply.status >= 400) {
        mail_answered(fetch, &fetch->reply);
        return;
    }
    if (result != CURLE_OK || fetch->why) {
        finish(fetch, result);
        return;
    }
    int rc = pl__delivery_open(&fetch->delivery, fetch->fetcher->loop, fetch->easy, request->mail_from,
                               request->mail_to, request->body, mail_news, fetch, &error);
    if (rc != PL_OK) {
        fetch_end(fetch, rc, error.message);
        tell(fetch);
        return;
    }
    fetch->fetcher->connections++;
    start_timer(fetch);
}

static void collect(pl_fetcher_t *fetcher) {
    int left;
    for (CURLMsg *message; (message = pl__curl.multi_info_read(fetcher->multi, &left));) {
        char *private = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)pl__curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        pl_fetch_t *fetch = (pl_fetch_t *)(void *)private;
        if (fetch && is_mail(fetch))
            mail_connected(fetch, result);
        else if (fetch)
            finish(fetch, result);
    }
}

/* ---- sockets and time -------------------------------------------------------------------------------------- */

static void act(pl_fetcher_t *fetcher, curl_socket_t fd, int events) {
    int running;
    if (fetcher->is_closing)
        return;
    fetcher->is_busy = true;
    (void)pl__curl.multi_socket_action(fetcher->multi, fd, events, &running);
    fetcher->is_busy = false;
    settle(fetcher);
}

/* An error of the socket (status) is libcurl's to find, when it reads: what the server sent before it comes first. And
 * libuv has stopped the poll then, of which libcurl knows nothing. */
static void poll_cb(uv_poll_t *poll, int status, int events) {
    const sock_t *sock = (const sock_t *)(const void *)poll;
    uv_os_fd_t fd;
    int flags = 0;
    if (!poll->data || uv_fileno((uv_handle_t *)poll, &fd) != 0)
        return;
    if (status < 0) {
        events = sock->events;
        if (uv_poll_start(poll, events, poll_cb) != 0)
            flags = CURL_CSELECT_ERR;
    }
    flags |= (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    act(poll->data, fd, flags);
}

static void sock_closed_cb(uv_handle_t *handle) {
    pl__free(handle); /* the poll is the first member */
}

/* At once, not later: the number of the descriptor may be another one's soon. */
static void sock_close(pl_fetcher_t *fetcher, sock_t *sock) {
    if (sock->prev)
        sock->prev->next = sock->next;
    else
        fetcher->socks = sock->next;
    if (sock->next)
        sock->next->prev = sock->prev;
    sock->poll.data = NULL;
    uv_close((uv_handle_t *)&sock->poll, sock_closed_cb);
}

static sock_t *sock_new(pl_fetcher_t *fetcher, curl_socket_t fd) {
    sock_t *sock = pl__alloc(sizeof *sock);
    if (!sock || uv_poll_init_socket(fetcher->loop, &sock->poll, fd) != 0) {
        pl__free(sock);
        return NULL;
    }
    sock->poll.data = fetcher;
    sock->next = fetcher->socks;
    if (sock->next)
        sock->next->prev = sock;
    fetcher->socks = sock;
    (void)pl__curl.multi_assign(fetcher->multi, fd, sock);
    return sock;
}

/* Without a poll the request would hang: it ends. A result other than 0 would end all requests. */
static int socket_failed(CURL *easy) {
    char *private = NULL;
    (void)pl__curl.easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    if (private)
        doom((pl_fetch_t *)(void *)private, PL_ENOMEM, "the socket could not be watched");
    return 0;
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *data, void *sockp) {
    pl_fetcher_t *fetcher = data;
    sock_t *sock = sockp;
    if (what == CURL_POLL_REMOVE) {
        if (sock)
            sock_close(fetcher, sock);
        (void)pl__curl.multi_assign(fetcher->multi, fd, NULL);
        return 0;
    }
    if (!sock && !(sock = sock_new(fetcher, fd)))
        return socket_failed(easy);
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    sock->events = events;
    int rc = events ? uv_poll_start(&sock->poll, events, poll_cb) : uv_poll_stop(&sock->poll);
    return rc == 0 ? 0 : socket_failed(easy);
}

static void timeout_cb(uv_timer_t *timer) {
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_cb(CURLM *multi, long ms, void *data) {
    pl_fetcher_t *fetcher = data;
    (void)multi;
    if (fetcher->is_closing)
        return 0;
    if (ms < 0) {
        (void)uv_timer_stop(&fetcher->timer);
        return 0;
    }
    uv_update_time(fetcher->loop);
    (void)uv_timer_start(&fetcher->timer, timeout_cb, (uint64_t)ms, 0);
    return 0;
}

/* ---- beginning --------------------------------------------------------------------------------------------- */

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

static void begin(pl_fetch_t *fetch) {
    pl_fetcher_t *fetcher = fetch->fetcher;
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    fetch->easy = pl__curl.easy_init();
    if (fetch->easy)
        rc = set_connection(fetch, CURLE_OK);
    rc = is_mail(fetch) ? set_mail(fetch, rc) : set_exchange(fetch, rc);
    if (rc == CURLE_OK) {
        link_remove(&fetch->link);
        link_append(&fetcher->actives, &fetch->link);
        fetcher->queued--;
        fetcher->active++;
        fetch->state = STATE_ACTIVE;
        if (pl__curl.multi_add_handle(fetcher->multi, fetch->easy) == CURLM_OK)
            return;
        rc = CURLE_OUT_OF_MEMORY;
    }
    fetch_end(fetch, code_of(rc, NULL), pl__curl.easy_strerror(rc));
    tell(fetch);
}

static void begin_queued(pl_fetcher_t *fetcher) {
    while (fetcher->active < fetcher->options.max_active && !link_is_alone(&fetcher->queue))
        begin(of_link(fetcher->queue.next));
}

/* Collects what is over, begins what waits, tells the hosts. They may do anything, close the client too. */
static void settle(pl_fetcher_t *fetcher) {
    if (fetcher->is_busy || fetcher->is_closing)
        return;
    fetcher->is_busy = true;
    do {
        collect(fetcher);
        begin_queued(fetcher);
        for (int i = 0; i < 1000 && !link_is_alone(&fetcher->news) && !fetcher->is_closing; i++) {
            pl_fetch_t *fetch = of_news(fetcher->news.next);
            link_remove(&fetch->news);
            if (fetch->why)
                fetch_end(fetch, fetch->why, fetch->why_text);
            fetch->request.changed(fetch->request.data, fetch);
        }
    } while (!fetcher->is_closing && fetcher->active < fetcher->options.max_active && !link_is_alone(&fetcher->queue));
    fetcher->is_busy = false;
    if (!link_is_alone(&fetcher->news))
        settle_soon(fetcher);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

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

static int check_request(const pl_fetch_request_t *request, pl_error_t *error) {
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
static int add_line(pl_fetch_t *fetch, pl_str_t name, pl_str_t value, const char *glue) {
    struct curl_slist *line = pl__arena_get(&fetch->arena, sizeof *line);
    size_t glue_len = strlen(glue);
    char *text = pl__arena_get(&fetch->arena, name.len + glue_len + value.len + 1);
    if (!line || !text)
        return PL_ENOMEM;
    memcpy(text, name.ptr, name.len);
    memcpy(text + name.len, glue, glue_len);
    if (value.len)
        memcpy(text + name.len + glue_len, value.ptr, value.len);
    line->data = text;
    line->next = fetch->lines;
    fetch->lines = line;
    return PL_OK;
}

static int make_lines(pl_fetch_t *fetch, const pl_fetch_request_t *request) {
    bool has_type = false, has_expect = false;
    int rc = PL_OK;
    for (size_t i = request->header_count; i-- > 0 && rc == PL_OK;) {
        const pl_http_header_t *header = &request->headers[i];
        pl_str_t value =
            header->value.len ? trimmed(header->value.ptr, header->value.ptr + header->value.len) : header->value;
        has_type = has_type || is_name(header->name, "content-type");
        has_expect = has_expect || is_name(header->name, "expect");
        rc = add_line(fetch, header->name, value, value.len ? ": " : ";");
    }
    if (rc == PL_OK && !has_type)
        rc = add_line(fetch, PL_STR_LIT("Content-Type"), PL_STR_NONE, ":");
    if (rc == PL_OK && !has_expect)
        rc = add_line(fetch, PL_STR_LIT("Expect"), PL_STR_NONE, ":");
    if (rc == PL_OK && request->upload)
        rc = add_line(fetch, PL_STR_LIT("Transfer-Encoding"), PL_STR_LIT("chunked"), ": ");
    return rc;
}

/* Seconds that fit any kind of milliseconds; NaN is none. */
static double bounded(double seconds) {
    return seconds > SECONDS_MAX ? SECONDS_MAX : seconds > 0 ? seconds : 0;
}

static int copy_request(pl_fetch_t *fetch, const pl_fetch_request_t *request) {
    pl_fetch_request_t *copy = &fetch->request;
    *copy = *request;
    copy->headers = NULL;
    copy->header_count = 0;
    copy->deadline = bounded(request->deadline);
    copy->connect = bounded(request->connect);
    if (pl__arena_copy(&fetch->arena, request->method, &copy->method) ||
        pl__arena_copy(&fetch->arena, request->url, &copy->url) ||
        pl__arena_copy(&fetch->arena, request->body, &copy->body) ||
        pl__arena_copy(&fetch->arena, request->ca_file, &copy->ca_file) ||
        pl__arena_copy(&fetch->arena, request->proxy, &copy->proxy) ||
        pl__arena_copy(&fetch->arena, request->mail_from, &copy->mail_from) ||
        pl__arena_copy(&fetch->arena, request->mail_to, &copy->mail_to) ||
        pl__arena_copy(&fetch->arena, request->username, &copy->username) ||
        pl__arena_copy(&fetch->arena, request->password, &copy->password))
        return PL_ENOMEM;
    return make_lines(fetch, request);
}

int pl_fetch_start(pl_fetcher_t *fetcher, const pl_fetch_request_t *request, pl_fetch_t **out, pl_error_t *error) {
    *out = NULL;
    if (fetcher->is_closing)
        return PL__FAIL(error, PL_ECLOSED, "the client is closed");
    int rc = check_request(request, error);
    if (rc != PL_OK)
        return rc;
    pl_fetch_t *fetch = pl__alloc(sizeof *fetch);
    if (!fetch || copy_request(fetch, request) != PL_OK) {
        if (fetch)
            fetch_free(fetch);
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    }
    fetch->fetcher = fetcher;
    link_init(&fetch->link);
    link_init(&fetch->news);
    if (fetch->request.deadline > 0) {
        (void)uv_timer_init(fetcher->loop, &fetch->timer);
        fetch->timer.data = fetch;
        fetch->timer_state = TIMER_OPEN;
        start_timer(fetch);
    }
    link_append(&fetcher->queue, &fetch->link);
    fetcher->queued++;
    fetcher->requests++;
    *out = fetch;
    begin_queued(fetcher);
    return PL_OK;
}

void pl_fetch_cancel(pl_fetch_t *fetch) {
    link_remove(&fetch->news);
    if (fetch->state != STATE_OVER)
        fetch_end(fetch, PL_EABORTED, "cancelled");
}

void pl_fetch_release(pl_fetch_t *fetch) {
    if (!fetch)
        return;
    pl_fetch_cancel(fetch);
    fetch->is_released = true;
    if (fetch->timer_state == TIMER_NONE)
        fetch_free(fetch);
}

bool pl_fetch_is_over(const pl_fetch_t *fetch) {
    return fetch->state == STATE_OVER;
}

bool pl_fetch_has_head(const pl_fetch_t *fetch) {
    return fetch->has_head;
}

void pl_fetch_answer(const pl_fetch_t *fetch, pl_fetch_answer_t *answer) {
    bool has_text = fetch->code != PL_OK && fetch->message[0];
    *answer = (pl_fetch_answer_t){
        .code = fetch->code,
        .message = has_text ? fetch->message : pl_result_text(fetch->code),
        .status = fetch->has_head ? fetch->status : 0,
        .headers = (const pl_http_header_t *)(const void *)fetch->headers.ptr,
        .header_count = fetch->has_head ? fetch->headers.len / sizeof(pl_http_header_t) : 0,
        .body = { fetch->in.ptr ? fetch->in.ptr : "", fetch->in.len },
        .url = fetch->url,
    };
    if (fetch->request.stream)
        answer->body = PL_STR_LIT("");
}

bool pl_fetch_has_bytes(const pl_fetch_t *fetch) {
    return fetch->request.stream && fetch->in.len > 0;
}

pl_str_t pl_fetch_take(pl_fetch_t *fetch) {
    if (!pl_fetch_has_bytes(fetch))
        return PL_STR_LIT("");
    pl__buf_t taken = fetch->in;
    fetch->in = fetch->taken;
    fetch->in.len = 0;
    fetch->in.rc = PL_OK;
    fetch->taken = taken;
    if (fetch->state == STATE_ACTIVE) {
        start_timer(fetch); /* now the server is waited for */
        if (fetch->recv_paused) {
            fetch->recv_paused = false;
            unpause(fetch);
        }
    }
    return (pl_str_t){ taken.ptr, taken.len };
}

bool pl_fetch_wants(const pl_fetch_t *fetch) {
    return fetch->wants;
}

static void send_on(pl_fetch_t *fetch) {
    fetch->wants = false;
    if (fetch->state == STATE_ACTIVE && fetch->send_paused) {
        fetch->send_paused = false;
        unpause(fetch);
    }
}

int pl_fetch_send(pl_fetch_t *fetch, pl_str_t bytes) {
    if (!fetch->request.upload || fetch->out_ended || fetch->state == STATE_OVER)
        return PL_ESTATE;
    if (bytes.len == 0)
        return PL_OK;
    if (fetch->out_at == fetch->out.len)
        fetch->out_at = fetch->out.len = 0;
    pl__buf_add(&fetch->out, bytes.ptr, bytes.len);
    if (fetch->out.rc) {
        fetch->out.rc = PL_OK;
        return PL_ENOMEM;
    }
    send_on(fetch);
    return PL_OK;
}

void pl_fetch_send_end(pl_fetch_t *fetch) {
    if (fetch->out_ended)
        return;
    fetch->out_ended = true;
    send_on(fetch);
}

/* ---- the client -------------------------------------------------------------------------------------------- */

void pl_fetcher_options_init(pl_fetcher_options_t *options) {
    *options = (pl_fetcher_options_t){ .max_active = ACTIVE_DEFAULT, .max_idle = IDLE_DEFAULT };
}

void pl_fetcher_limit(pl_fetcher_t *fetcher, const pl_fetcher_options_t *options) {
    fetcher->options = *options;
    if (fetcher->options.max_active == 0)
        fetcher->options.max_active = 1;
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)options->max_host_connections);
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, options->max_idle ? (long)options->max_idle : 1L);
    settle_soon(fetcher);
}

int pl_fetcher_open(pl_fetcher_t **out, struct uv_loop_s *loop, const pl_fetcher_options_t *options,
                    pl_error_t *error) {
    *out = NULL;
    int rc = pl__curl_load(error);
    if (rc != PL_OK)
        return rc;
    pl_fetcher_t *fetcher = pl__alloc(sizeof *fetcher);
    CURLM *multi = fetcher ? pl__curl.multi_init() : NULL;
    if (!multi) {
        pl__free(fetcher);
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    }
    fetcher->multi = multi;
    fetcher->loop = loop;
    link_init(&fetcher->queue);
    link_init(&fetcher->actives);
    link_init(&fetcher->news);
    (void)uv_timer_init(loop, &fetcher->timer);
    (void)uv_timer_init(loop, &fetcher->soon);
    fetcher->timer.data = fetcher->soon.data = fetcher;
    fetcher->open_handles = 2;
    (void)pl__curl.multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
    (void)pl__curl.multi_setopt(multi, CURLMOPT_SOCKETDATA, (void *)fetcher);
    (void)pl__curl.multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_cb);
    (void)pl__curl.multi_setopt(multi, CURLMOPT_TIMERDATA, (void *)fetcher);
    (void)pl__curl.multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    pl_fetcher_limit(fetcher, options);
    *out = fetcher;
    return PL_OK;
}

void pl_fetcher_facts(const pl_fetcher_t *fetcher, pl_fetcher_facts_t *facts) {
    *facts = (pl_fetcher_facts_t){
        .active = fetcher->active,
        .queued = fetcher->queued,
        .requests = fetcher->requests,
        .connections = fetcher->connections,
    };
}

static void handle_closed_cb(uv_handle_t *handle) {
    pl_fetcher_t *fetcher = handle->data;
    if (--fetcher->open_handles == 0)
        pl__free(fetcher);
}

static void cancel_all(link_t *list) {
    while (!link_is_alone(list)) {
        pl_fetch_t *fetch = of_link(list->next);
        link_remove(&fetch->news);
        fetch_end(fetch, PL_ECLOSED, "the client was closed");
        fetch->fetcher = NULL;
    }
}

void pl_fetcher_close(pl_fetcher_t *fetcher) {
    if (fetcher->is_closing)
        return;
    fetcher->is_closing = true;
    cancel_all(&fetcher->actives);
    cancel_all(&fetcher->queue);
    while (!link_is_alone(&fetcher->news)) {
        pl_fetch_t *fetch = of_news(fetcher->news.next);
        link_remove(&fetch->news);
    }
    while (fetcher->socks)
        sock_close(fetcher, fetcher->socks);
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, NULL);
    (void)pl__curl.multi_cleanup(fetcher->multi);
    uv_close((uv_handle_t *)&fetcher->timer, handle_closed_cb);
    uv_close((uv_handle_t *)&fetcher->soon, handle_closed_cb);
}
