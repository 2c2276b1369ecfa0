/*
 * places.c - the places of a server's connections: a list for each state, and who is still in a call.
 *
 * Those that came into a state first are in front of its list. What is to be done when a place has become free, when
 * something has taken too long, and when the last call has left a server that closes, the server says (pl__host_t).
 */
#include "http/connection.h"

/* ---- lists ------------------------------------------------------------------------------------------------- */

static void list_remove(pl__conns_t *list, pl__conn_t *conn) {
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        list->head = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    else
        list->tail = conn->prev;
}

static void list_append(pl__conns_t *list, pl__conn_t *conn) {
    conn->next = NULL;
    conn->prev = list->tail;
    if (list->tail)
        list->tail->next = conn;
    else
        list->head = conn;
    list->tail = conn;
}

void pl__http_look_in(pl_http_t *http, uint64_t ms) {
    uint64_t when = uv_now(http->loop) + ms;
    if (http->is_closing || (uv_is_active((uv_handle_t *)&http->timer) && http->look_ms <= when))
        return;
    http->look_ms = when;
    (void)uv_timer_start(&http->timer, http->host->look, ms, 0);
}

void pl__http_look_soon(pl_http_t *http) {
    pl__http_look_in(http, PL__LOOK_MS);
}

void pl__http_set_state(pl__conn_t *conn, pl__conn_state_t state) {
    pl_http_t *http = conn->http;
    if (conn->state != PL__CONN_CLOSED)
        list_remove(&http->lists[conn->state], conn);
    else
        http->conn_count++;
    conn->state = state;
    if (state == PL__CONN_CLOSED) {
        http->conn_count--;
        return;
    }
    conn->since_ms = conn->window_ms = uv_now(http->loop);
    list_append(&http->lists[state], conn);
    if (state == PL__CONN_IDLE)
        pl__http_look_in(http, (uint64_t)(http->options.idle_timeout * 1000));
    else if (state != PL__CONN_HANDED)
        pl__http_look_in(http, PL__LOOK_MS);
}

/* ---- the life of the server -------------------------------------------------------------------------------- */

void pl__http_place_free(pl_http_t *http) {
    http->host->place_free(http);
}

void pl__http_handle_closed(pl_http_t *http) {
    if (--http->open_handles > 0)
        return;
    void (*closed)(void *data) = http->closed;
    void *data = http->closed_data;
    pl__buf_free(&http->head);
    pl__free(http);
    if (closed)
        closed(data);
}

void pl__http_enter(pl_http_t *http) {
    http->calls++;
}

void pl__http_leave(pl_http_t *http) {
    if (--http->calls == 0 && http->is_closing)
        http->host->tear_down(http);
}
