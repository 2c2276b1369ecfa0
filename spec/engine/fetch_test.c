/*
 * fetch_test.c - the HTTP client alone, against the HTTP server on the same loop: every allocation may fail and costs
 * one request at most; the client may be closed at any moment, also by its own callback.
 */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "http/fetch.h"
#include "http/server.h"
#include "support/check.h"

enum { TURNS_MAX = 20000, PIECE = 3000, PIECES = 20 };

typedef struct {
    uv_loop_t loop;
    pl_http_t *http;
    pl_fetcher_t *fetcher;
    char url[64];
    bool is_closed;
} fixture_t;

/* A request and what became of it. */
typedef struct {
    fixture_t *fix;
    pl_fetch_t *fetch;
    int calls, left; /* pieces to send */
    size_t got;      /* bytes of the response */
    bool is_over, closes, cancels;
    pl_fetch_response_t response;
} seen_t;

/* ---- the server: as many bytes as the path says, or as the body has ---- */

static void handler(void *data, pl_http_request_t *request) {
    (void)data;
    size_t size = request->path.len > 1 ? strtoul(request->path.ptr + 1, NULL, 10) : request->body.len;
    char *bytes = calloc(1, size + 1);
    pl_str_t body = { bytes, size };
    if (!strcmp(request->path.ptr, "/never") || pl_http_respond(request, 200, NULL, 0, body) != PL_OK)
        pl_http_drop(request);
    free(bytes);
}

static void closed_cb(void *data) {
    *(bool *)data = true;
}

static void open_client(fixture_t *fix) {
    pl_fetcher_options_t options;
    pl_fetcher_options_init(&options);
    options.max_active = 2;
    CHECK(pl_fetcher_open(&fix->fetcher, &fix->loop, &options, NULL) == PL_OK);
}

static void open_all(fixture_t *fix) {
    pl_http_options_t options;
    pl_http_options_init(&options);
    options.handler = handler;
    memset(fix, 0, sizeof *fix);
    CHECK(uv_loop_init(&fix->loop) == 0);
    CHECK(pl_http_open(&fix->http, &fix->loop, &options, NULL) == PL_OK);
    (void)snprintf(fix->url, sizeof fix->url, "http://127.0.0.1:%d/", pl_http_port(fix->http));
    open_client(fix);
}

static void close_all(fixture_t *fix) {
    if (fix->fetcher)
        pl_fetcher_close(fix->fetcher);
    pl_http_close(fix->http, closed_cb, &fix->is_closed);
    while (uv_run(&fix->loop, UV_RUN_ONCE) != 0) {
    }
    CHECK(fix->is_closed);
    CHECK(uv_loop_close(&fix->loop) == 0); /* no handle is left */
}

/* ---- the client ---- */

static void changed_cb(void *data, pl_fetch_t *fetch) {
    static const char piece[PIECE];
    seen_t *seen = data;
    seen->calls++;
    seen->got += pl_fetch_take(fetch).len;
    if (pl_fetch_wants(fetch) && seen->left-- > 0) {
        if (pl_fetch_send(fetch, (pl_str_t){ piece, sizeof piece }) != PL_OK)
            pl_fetch_cancel(fetch);
    } else if (pl_fetch_wants(fetch)) {
        pl_fetch_send_end(fetch);
    }
    if (seen->cancels)
        pl_fetch_cancel(fetch);
    if (seen->closes) {
        pl_fetcher_close(seen->fix->fetcher);
        seen->fix->fetcher = NULL;
    }
    seen->is_over = seen->is_over || pl_fetch_is_over(fetch);
    pl_fetch_response(fetch, &seen->response);
}

static int start(fixture_t *fix, seen_t *seen, const char *path, pl_fetch_request_t *request) {
    char url[96];
    (void)snprintf(url, sizeof url, "%s%s", fix->url, path);
    seen->fix = fix;
    request->url = pl_str(url);
    request->changed = changed_cb;
    request->data = seen;
    return pl_fetch_start(fix->fetcher, request, &seen->fetch, NULL);
}

static void run_until(fixture_t *fix, const bool *over) {
    for (int i = 0; i < TURNS_MAX && !*over; i++)
        uv_run(&fix->loop, UV_RUN_ONCE);
    CHECK(*over);
}

static void finish(fixture_t *fix, seen_t *seen) {
    if (!seen->fetch)
        return;
    run_until(fix, &seen->is_over);
    pl_fetch_response(seen->fetch, &seen->response);
    if (!seen->got)
        seen->got = seen->response.body.len;
    pl_fetch_cancel(seen->fetch);
    pl_fetch_cancel(seen->fetch);
    pl_fetch_release(seen->fetch);
}

/* Three requests of different kinds with two places for them. */
static void three(fixture_t *fix, seen_t seen[3]) {
    pl_fetch_request_t plain, stream, upload;
    pl_http_header_t header = { PL_STR_LIT("X-A"), PL_STR_LIT("b") };
    memset(seen, 0, 3 * sizeof *seen);
    pl_fetch_request_init(&plain);
    plain.headers = &header;
    plain.header_count = 1;
    plain.method = PL_STR_LIT("POST");
    plain.body = PL_STR_LIT("hello");
    pl_fetch_request_init(&stream);
    stream.stream = true;
    stream.window = 1000;
    pl_fetch_request_init(&upload);
    upload.upload = true;
    upload.method = PL_STR_LIT("PUT");
    seen[2].left = PIECES;
    int rcs[] = { start(fix, &seen[0], "", &plain), start(fix, &seen[1], "100000", &stream),
                  start(fix, &seen[2], "", &upload) };
    for (int i = 0; i < 3; i++)
        CHECK(rcs[i] == PL_OK ? seen[i].fetch != NULL : rcs[i] == PL_ENOMEM && !seen[i].fetch);
    for (int i = 0; i < 3; i++)
        finish(fix, &seen[i]);
}

static void check_three(fixture_t *fix) {
    static const size_t sizes[] = { 5, 100000, PIECE * PIECES };
    seen_t seen[3];
    three(fix, seen);
    for (int i = 0; i < 3; i++) {
        CHECK(seen[i].response.code == PL_OK);
        CHECK(seen[i].got == sizes[i]);
    }
}

/* ---- tests ---- */

static void test_plain(void) {
    fixture_t fix;
    pl_fetcher_facts_t facts;
    open_all(&fix);
    check_three(&fix);
    check_three(&fix);
    pl_fetcher_facts(fix.fetcher, &facts);
    CHECK(facts.active == 0 && facts.queued == 0 && facts.requests == 6);
    CHECK(facts.connections >= 2 && facts.connections < 6);
    close_all(&fix);
}

/* The server's allocations fail as well, so that a request may end in any way; but it ends. */
static void test_faults(void) {
    for (long nth = 1;; nth++) {
        fixture_t fix;
        seen_t seen[3];
        open_all(&fix);
        pl__alloc_fail_at(nth);
        three(&fix, seen);
        bool hit = pl__alloc_failed();
        pl__alloc_fail_at(0);
        check_three(&fix);
        close_all(&fix);
        if (!hit)
            break;
    }
}

static void test_open_fault(void) {
    fixture_t fix;
    pl_fetcher_t *fetcher;
    pl_fetcher_options_t options;
    open_all(&fix);
    pl_fetcher_options_init(&options);
    pl__alloc_fail_at(1);
    int rc = pl_fetcher_open(&fetcher, &fix.loop, &options, NULL);
    bool hit = pl__alloc_failed();
    pl__alloc_fail_at(0);
    CHECK(rc == (hit ? PL_ENOMEM : PL_OK));
    if (rc == PL_OK)
        pl_fetcher_close(fetcher);
    close_all(&fix);
}

/* After so many turns of the loop the client is closed, with all that is under way. */
static void test_close(void) {
    for (int turns = 0; turns < 40; turns++) {
        fixture_t fix;
        seen_t seen[4];
        pl_fetch_request_t request;
        memset(seen, 0, sizeof seen);
        open_all(&fix);
        pl_fetch_request_init(&request);
        for (int i = 0; i < 4; i++) {
            request.stream = i == 1;
            CHECK(start(&fix, &seen[i], i == 2 ? "never" : "5000", &request) == PL_OK);
        }
        for (int i = 0; i < turns; i++)
            uv_run(&fix.loop, UV_RUN_NOWAIT);
        pl_fetcher_close(fix.fetcher);
        pl_fetch_t *none;
        CHECK(pl_fetch_start(fix.fetcher, &request, &none, NULL) == PL_ECLOSED && !none);
        fix.fetcher = NULL;
        for (int i = 0; i < 4; i++) {
            CHECK(pl_fetch_is_over(seen[i].fetch));
            (void)pl_fetch_take(seen[i].fetch);
            pl_fetch_cancel(seen[i].fetch);
            if (i != 3)
                pl_fetch_release(seen[i].fetch);
        }
        close_all(&fix);
        pl_fetch_release(seen[3].fetch); /* later than the loop */
    }
}

static void test_inside(void) {
    fixture_t fix;
    seen_t seen[3];
    pl_fetch_request_t request;
    memset(seen, 0, sizeof seen);
    open_all(&fix);
    pl_fetch_request_init(&request);
    seen[0].cancels = true;
    seen[1].closes = true;
    for (int i = 0; i < 3; i++) {
        request.stream = true;
        CHECK(start(&fix, &seen[i], i == 2 ? "never" : "5000", &request) == PL_OK);
    }
    run_until(&fix, &seen[0].is_over);
    run_until(&fix, &seen[1].is_over);
    CHECK(fix.fetcher == NULL);
    for (int i = 0; i < 3; i++)
        pl_fetch_release(seen[i].fetch);
    CHECK(seen[0].calls == 1 && seen[1].calls == 1);
    close_all(&fix);
}

int main(void) {
    test_plain();
    test_faults();
    test_open_fault();
    test_close();
    test_inside();
    return check_end();
}
