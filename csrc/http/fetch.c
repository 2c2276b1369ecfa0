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

#include <stdio.h>

#include "http/request.h"
#include "http/transfer.h"

enum {
    ACTIVE_DEFAULT = 100,
    IDLE_DEFAULT = 100,
};

static void settle(pl_fetcher_t *fetcher);

/* ---- mail --------------------------------------------------------------------------------------------------- */

/* The mail is over with a reply of the server, which is the response. */
static void mail_answered(pl_fetch_t *fetch, const pl__reply_t *reply) {
    fetch->status = reply->status;
    fetch->has_head = true;
    fetch->url = fetch->request.url;
    pl__buf_add(&fetch->in, reply->text.ptr, reply->text.len);
    pl__fetch_end(fetch, fetch->in.rc ? PL_ENOMEM : PL_OK, NULL);
    pl__fetch_tell(fetch);
}

/* There was something in the dialog. */
static void mail_news(void *data) {
    pl_fetch_t *fetch = data;
    pl_fetcher_t *fetcher = fetch->fetcher;
    const pl__smtp_t *smtp = pl__delivery_dialog(fetch->delivery);
    char text[CURL_ERROR_SIZE];
    if (!pl__smtp_is_over(smtp)) {
        pl__fetch_start_timer(fetch);
        return;
    }
    if (smtp->code == PL_OK) {
        mail_answered(fetch, &smtp->reply);
    } else {
        (void)snprintf(text, sizeof text, "%s", smtp->why ? smtp->why : pl_result_text(smtp->code));
        pl__fetch_end(fetch, smtp->code, text);
        pl__fetch_tell(fetch);
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
        pl__transfer_finish(fetch, result);
        return;
    }
    int rc = pl__delivery_open(&fetch->delivery, fetch->fetcher->loop, fetch->easy, request->mail_from,
                               request->mail_to, request->body, mail_news, fetch, &error);
    if (rc != PL_OK) {
        pl__fetch_end(fetch, rc, error.message);
        pl__fetch_tell(fetch);
        return;
    }
    fetch->fetcher->connections++;
    pl__fetch_start_timer(fetch);
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
        if (fetch && pl__fetch_is_mail(fetch))
            mail_connected(fetch, result);
        else if (fetch)
            pl__transfer_finish(fetch, result);
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
    const pl__sock_t *sock = (const pl__sock_t *)(const void *)poll;
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
static void sock_close(pl_fetcher_t *fetcher, pl__sock_t *sock) {
    if (sock->prev)
        sock->prev->next = sock->next;
    else
        fetcher->socks = sock->next;
    if (sock->next)
        sock->next->prev = sock->prev;
    sock->poll.data = NULL;
    uv_close((uv_handle_t *)&sock->poll, sock_closed_cb);
}

static pl__sock_t *sock_new(pl_fetcher_t *fetcher, curl_socket_t fd) {
    pl__sock_t *sock = pl__alloc(sizeof *sock);
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
        pl__fetch_doom((pl_fetch_t *)(void *)private, PL_ENOMEM, "the socket could not be watched");
    return 0;
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *data, void *sockp) {
    pl_fetcher_t *fetcher = data;
    pl__sock_t *sock = sockp;
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

static void begin(pl_fetch_t *fetch) {
    pl_fetcher_t *fetcher = fetch->fetcher;
    CURLcode rc = pl__transfer_make(fetch);
    if (rc == CURLE_OK) {
        pl__link_remove(&fetch->link);
        pl__link_append(&fetcher->actives, &fetch->link);
        fetcher->queued--;
        fetcher->active++;
        fetch->state = STATE_ACTIVE;
        if (pl__curl.multi_add_handle(fetcher->multi, fetch->easy) == CURLM_OK)
            return;
        rc = CURLE_OUT_OF_MEMORY;
    }
    pl__fetch_end(fetch, pl__transfer_code(rc, NULL), pl__curl.easy_strerror(rc));
    pl__fetch_tell(fetch);
}

static void begin_queued(pl_fetcher_t *fetcher) {
    while (fetcher->active < fetcher->options.max_active && !pl__link_is_alone(&fetcher->queue))
        begin(pl__fetch_of_link(fetcher->queue.next));
}

/* Collects what is over, begins what waits, tells the hosts. They may do anything, close the client too. */
static void settle(pl_fetcher_t *fetcher) {
    if (fetcher->is_busy || fetcher->is_closing)
        return;
    fetcher->is_busy = true;
    do {
        collect(fetcher);
        begin_queued(fetcher);
        for (int i = 0; i < 1000 && !pl__link_is_alone(&fetcher->news) && !fetcher->is_closing; i++) {
            pl_fetch_t *fetch = pl__fetch_of_news(fetcher->news.next);
            pl__link_remove(&fetch->news);
            if (fetch->why)
                pl__fetch_end(fetch, fetch->why, fetch->why_text);
            fetch->request.changed(fetch->request.data, fetch);
        }
    } while (!fetcher->is_closing && fetcher->active < fetcher->options.max_active &&
             !pl__link_is_alone(&fetcher->queue));
    fetcher->is_busy = false;
    if (!pl__link_is_alone(&fetcher->news))
        pl__fetcher_settle_soon(fetcher);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

int pl_fetch_start(pl_fetcher_t *fetcher, const pl_fetch_request_t *request, pl_fetch_t **out, pl_error_t *error) {
    *out = NULL;
    if (fetcher->is_closing)
        return PL__FAIL(error, PL_ECLOSED, "the client is closed");
    int rc = pl__fetch_request_check(request, error);
    if (rc != PL_OK)
        return rc;
    pl_fetch_t *fetch = pl__alloc(sizeof *fetch);
    if (!fetch || pl__fetch_request_copy(&fetch->arena, request, &fetch->request, &fetch->lines) != PL_OK) {
        if (fetch)
            pl__fetch_free(fetch);
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    }
    fetch->fetcher = fetcher;
    pl__link_init(&fetch->link);
    pl__link_init(&fetch->news);
    if (fetch->request.deadline > 0) {
        (void)uv_timer_init(fetcher->loop, &fetch->timer);
        fetch->timer.data = fetch;
        fetch->timer_state = TIMER_OPEN;
        pl__fetch_start_timer(fetch);
    }
    pl__link_append(&fetcher->queue, &fetch->link);
    fetcher->queued++;
    fetcher->requests++;
    *out = fetch;
    begin_queued(fetcher);
    return PL_OK;
}

void pl_fetch_cancel(pl_fetch_t *fetch) {
    pl__link_remove(&fetch->news);
    if (fetch->state != STATE_OVER)
        pl__fetch_end(fetch, PL_EABORTED, "cancelled");
}

void pl_fetch_release(pl_fetch_t *fetch) {
    if (!fetch)
        return;
    pl_fetch_cancel(fetch);
    fetch->is_released = true;
    if (fetch->timer_state == TIMER_NONE)
        pl__fetch_free(fetch);
}

bool pl_fetch_is_over(const pl_fetch_t *fetch) {
    return fetch->state == STATE_OVER;
}

bool pl_fetch_has_head(const pl_fetch_t *fetch) {
    return fetch->has_head;
}

void pl_fetch_response(const pl_fetch_t *fetch, pl_fetch_response_t *response) {
    bool has_text = fetch->code != PL_OK && fetch->message[0];
    *response = (pl_fetch_response_t){
        .code = fetch->code,
        .message = has_text ? fetch->message : pl_result_text(fetch->code),
        .status = fetch->has_head ? fetch->status : 0,
        .headers = (const pl_http_header_t *)(const void *)fetch->headers.ptr,
        .header_count = fetch->has_head ? fetch->headers.len / sizeof(pl_http_header_t) : 0,
        .body = { fetch->in.ptr ? fetch->in.ptr : "", fetch->in.len },
        .url = fetch->url,
    };
    if (fetch->request.stream)
        response->body = PL_STR_LIT("");
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
        pl__fetch_start_timer(fetch); /* now the server is waited for */
        if (fetch->recv_paused) {
            fetch->recv_paused = false;
            pl__transfer_unpause(fetch);
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
        pl__transfer_unpause(fetch);
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
    pl__fetcher_settle_soon(fetcher);
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
    fetcher->settle = settle;
    fetcher->loop = loop;
    pl__link_init(&fetcher->queue);
    pl__link_init(&fetcher->actives);
    pl__link_init(&fetcher->news);
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

static void cancel_all(pl__link_t *list) {
    while (!pl__link_is_alone(list)) {
        pl_fetch_t *fetch = pl__fetch_of_link(list->next);
        pl__link_remove(&fetch->news);
        pl__fetch_end(fetch, PL_ECLOSED, "the client was closed");
        fetch->fetcher = NULL;
    }
}

void pl_fetcher_close(pl_fetcher_t *fetcher) {
    if (fetcher->is_closing)
        return;
    fetcher->is_closing = true;
    cancel_all(&fetcher->actives);
    cancel_all(&fetcher->queue);
    while (!pl__link_is_alone(&fetcher->news)) {
        pl_fetch_t *fetch = pl__fetch_of_news(fetcher->news.next);
        pl__link_remove(&fetch->news);
    }
    while (fetcher->socks)
        sock_close(fetcher, fetcher->socks);
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    (void)pl__curl.multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, NULL);
    (void)pl__curl.multi_cleanup(fetcher->multi);
    uv_close((uv_handle_t *)&fetcher->timer, handle_closed_cb);
    uv_close((uv_handle_t *)&fetcher->soon, handle_closed_cb);
}
