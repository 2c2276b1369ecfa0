/*
 * fetching.c - news and the end of a request. See fetching.h.
 */
#include "http/fetching.h"

#include <stdio.h>

static void soon_cb(uv_timer_t *timer) {
    pl_fetcher_t *fetcher = timer->data;
    fetcher->settle(fetcher);
}

void pl__fetcher_settle_soon(pl_fetcher_t *fetcher) {
    if (!fetcher->is_busy && !fetcher->is_closing)
        (void)uv_timer_start(&fetcher->soon, soon_cb, 0, 0);
}

void pl__fetch_tell(pl_fetch_t *fetch) {
    if (!fetch->fetcher || !pl__link_is_alone(&fetch->news))
        return;
    pl__link_append(&fetch->fetcher->news, &fetch->news);
    pl__fetcher_settle_soon(fetch->fetcher);
}

void pl__fetch_doom(pl_fetch_t *fetch, int code, const char *text) {
    if (fetch->why == PL_OK) {
        fetch->why = code;
        fetch->why_text = text;
    }
    pl__fetch_tell(fetch);
}

void pl__fetch_free(pl_fetch_t *fetch) {
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
        pl__fetch_free(fetch);
}

static void fetch_close_timer(pl_fetch_t *fetch) {
    if (fetch->timer_state != TIMER_OPEN)
        return;
    fetch->timer_state = TIMER_CLOSING;
    uv_close((uv_handle_t *)&fetch->timer, fetch_timer_closed_cb);
}

/* An easy handle serves one request only: libcurl 7.88 remembers the last header of a response beyond its memory, and
 * a next response that begins with a folded line would have it read and moved. Connections belong to the multi
 * handle. */
static void give_easy_back(pl_fetcher_t *fetcher, CURL *easy) {
    (void)pl__curl.multi_remove_handle(fetcher->multi, easy);
    pl__curl.easy_cleanup(easy);
}

void pl__fetch_end(pl_fetch_t *fetch, int code, const char *text) {
    pl_fetcher_t *fetcher = fetch->fetcher;
    if (fetch->state == STATE_OVER)
        return;
    pl__link_remove(&fetch->link);
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
    if (!pl__link_is_alone(&fetcher->queue))
        pl__fetcher_settle_soon(fetcher);
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
    pl__fetch_end(fetch, PL_ETIMEDOUT, text);
    pl__fetch_tell(fetch);
    fetcher->settle(fetcher);
}

void pl__fetch_start_timer(pl_fetch_t *fetch) {
    if (fetch->timer_state != TIMER_OPEN || fetch->state == STATE_OVER)
        return;
    uv_update_time(fetch->fetcher->loop);
    (void)uv_timer_start(&fetch->timer, deadline_cb, (uint64_t)(fetch->request.deadline * 1000 + 0.5), 0);
}
