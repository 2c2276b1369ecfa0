/*
 * fetching.h - a request of the HTTP client while it is under way: what is known of it, its news and its end.
 *
 * The ground of the client's rooms: transfer.c is what libcurl calls, fetch.c begins requests and looks after them.
 * Each of them may say that there is news of a request, or that it cannot go on; both are only noted here, for host
 * code may not run inside libcurl. The client's settle() sees to it, now or by the timer `soon`.
 */
#ifndef PL_HTTP_FETCHING_H
#define PL_HTTP_FETCHING_H

#include <uv.h>

#include "base/curl.h"
#include "http/fetch.h"
#include "mail/delivery.h"

typedef struct link {
    struct link *next, *prev;
} pl__link_t;

typedef enum { STATE_QUEUED, STATE_ACTIVE, STATE_OVER } pl__fetch_state_t;
typedef enum { TIMER_NONE, TIMER_OPEN, TIMER_CLOSING } pl__fetch_timer_t;

struct pl_fetch {
    pl__link_t link;       /* in the queue or among the active ones */
    pl__link_t news;       /* in the client's list of requests with news */
    pl_fetcher_t *fetcher; /* NULL: closed */
    pl_fetch_request_t request;
    pl__fetch_state_t state;
    bool is_released;
    CURL *easy;
    pl__delivery_t *delivery; /* of a mail, once there is a session */
    pl__reply_t reply;        /* of a mail, until then */
    struct curl_slist *lines; /* of header, in the arena */
    uv_timer_t timer;         /* of the deadline */
    pl__fetch_timer_t timer_state;
    int why; /* what a callback found wrong inside libcurl: the code it will be over with */
    const char *why_text;
    bool recv_paused, send_paused;
    /* sending */
    pl__buf_t out;
    size_t out_at; /* bytes of it that are sent */
    bool out_ended, wants;
    /* the response */
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
} pl__sock_t;

struct pl_fetcher {
    pl_fetcher_options_t options;
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* libcurl's */
    uv_timer_t soon;  /* settle() at the next turn */
    int open_handles;
    pl__sock_t *socks;
    pl__link_t queue, actives, news;
    unsigned active, queued;
    uint64_t requests, connections;
    void (*settle)(pl_fetcher_t *fetcher); /* fetch.c: what is over, what may begin, what is to be told */
    bool is_busy;                          /* news will be told anyway */
    bool is_closing;
};

static inline void pl__link_init(pl__link_t *link) {
    link->next = link->prev = link;
}

static inline bool pl__link_is_alone(const pl__link_t *link) {
    return link->next == link;
}

static inline void pl__link_append(pl__link_t *list, pl__link_t *link) {
    link->next = list;
    link->prev = list->prev;
    list->prev->next = link;
    list->prev = link;
}

static inline void pl__link_remove(pl__link_t *link) {
    link->next->prev = link->prev;
    link->prev->next = link->next;
    pl__link_init(link);
}

static inline pl_fetch_t *pl__fetch_of_link(pl__link_t *link) {
    return (pl_fetch_t *)((char *)link - offsetof(pl_fetch_t, link));
}

static inline pl_fetch_t *pl__fetch_of_news(pl__link_t *link) {
    return (pl_fetch_t *)((char *)link - offsetof(pl_fetch_t, news));
}

static inline bool pl__fetch_is_mail(const pl_fetch_t *fetch) {
    return fetch->request.mail_to.ptr;
}

/* settle() at the next turn of the loop. */
void pl__fetcher_settle_soon(pl_fetcher_t *fetcher);
/* The host is to look at the request. */
void pl__fetch_tell(pl_fetch_t *fetch);
/* Something went wrong inside libcurl, or at a place that cannot end the request: settle() does. `text`: static. */
void pl__fetch_doom(pl_fetch_t *fetch, int code, const char *text);
/* The server's turn to be waited for begins. */
void pl__fetch_start_timer(pl_fetch_t *fetch);
/* The one way to OVER. The text is copied. */
void pl__fetch_end(pl_fetch_t *fetch, int code, const char *text);
void pl__fetch_free(pl_fetch_t *fetch); /* its timer is closed */

#endif
