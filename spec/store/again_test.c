/*
 * again_test.c - a store on a driver given from outside, whose transactions others are in the way of (PL_EAGAIN): the
 * same ops are applied again, once, and those whose turn never comes are told that the store is busy.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/driver.h"
#include "support/check.h"

static pl_store_t *store;
static pl_clock_t clock_;
static int in_the_way; /* how many turns more are refused */
static int turns;

static void wake_cb(void *data) {
    (void)data;
}

static int turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                   pl_error_t *error) {
    turns++;
    if (in_the_way > 0) {
        in_the_way--;
        return PL__FAIL(error, PL_EAGAIN, "somebody was faster");
    }
    return pl__sqlite_driver.turn(conn, ops, ask, arena, turn, error);
}

static int open_store(const pl_store_driver_t *driver, pl_error_t *error) {
    pl_store_options_t options = { .path = ":memory:", .clock = &clock_, .wake = wake_cb, .driver = driver };
    return pl_store_open(&store, &options, error);
}

static pl_op_t *write_meta(const char *value) {
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    op->u.meta = (pl_op_meta_t){ .key = PL_STR_LIT("key"), .write = true, .value = pl_str(value) };
    return op;
}

static void what_was_not_done_is_done_again(void) {
    pl_op_t *op = write_meta("first");
    in_the_way = 8;
    turns = 0;
    CHECK(pl_store_call(store, op) == PL_OK && turns == 9);
    CHECK(pl_str_eq(op->u.meta.value, PL_STR_LIT("first")));
    pl_op_free(op);
}

static void whose_turn_never_comes_is_told_so(void) {
    pl_op_t *op = write_meta("second"), *other = write_meta("third");
    pl_batch_t batch;
    int done = 0;
    op->next = other;
    in_the_way = 1000;
    pl_store_submit_list(store, op, 0);
    while (done < 2) {
        if (!pl_store_collect(store, &batch)) {
            usleep(1000);
            continue;
        }
        for (pl_op_t *each = batch.ops; each; each = each->next, done++)
            CHECK(each->rc == PL_EBUSY && strcmp(each->error.message, "somebody was faster") == 0);
        pl_batch_free(&batch);
    }
    in_the_way = 0;
    op = pl_op_new(PL_VERB_meta);
    op->u.meta.key = PL_STR_LIT("key");
    CHECK(pl_store_call(store, op) == PL_OK && pl_str_eq(op->u.meta.value, PL_STR_LIT("first")));
    pl_op_free(op);
}

static void a_driver_of_another_version_is_refused(void) {
    pl_store_driver_t older = pl__sqlite_driver, other = pl__sqlite_driver;
    pl_error_t error = { 0 };
    older.version--;
    other.op_size++;
    CHECK(open_store(&older, &error) == PL_EINVAL && strstr(error.message, "its driver was made for") && !store);
    CHECK(open_store(&other, &error) == PL_EINVAL && !store);
}

int main(void) {
    pl_store_driver_t driver = pl__sqlite_driver;
    pl_error_t error = { 0 };
    driver.turn = turn_cb;
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    a_driver_of_another_version_is_refused();
    CHECK(open_store(&driver, &error) == PL_OK);
    what_was_not_done_is_done_again();
    whose_turn_never_comes_is_told_so();
    pl_store_close(store);
    return check_end();
}
