/*
 * edge.c - which stages wait for a slot, and whether it is filled.
 *
 * The default slot of a stage has its id, and mostly one stage waits for it, a sibling that takes it as an input: that
 * one is in pl_stage.waiter. Further ones, those that wait for named outputs, and async stages that wait for their own,
 * are in pl_wait. Once somebody is there, the row of the stage says so (PL__WAITERS), for pl_wait is not looked at
 * otherwise. Likewise the small value of a stage that fills its default slot as it ends is in pl_stage.result, all
 * others are in pl_slot.
 */
#include "store/sqlite/db.h"

#include <string.h>

static size_t place_of(pl_id_t slot) {
    return (size_t)((uint64_t)slot * UINT64_C(0x9e3779b97f4a7c15) >> 20) % PL__RESULTS;
}

void pl__result_note(pl__conn_t *conn, pl_id_t slot, pl_str_t value) {
    size_t at = place_of(slot);
    conn->results[at].slot = slot;
    conn->results[at].value = value;
    conn->any_results = true;
}

bool pl__result_find(const pl__conn_t *conn, pl_id_t slot, pl_str_t *value) {
    size_t at = place_of(slot);
    *value = conn->results[at].value;
    return conn->any_results && conn->results[at].slot == slot;
}

void pl__results_forget(pl__conn_t *conn) {
    if (conn->any_results)
        memset(conn->results, 0, sizeof conn->results);
    conn->any_results = false;
}

int pl__slot_is_filled(pl__conn_t *conn, pl_id_t slot, bool *filled) {
    int64_t found;
    PL__TRY(pl__sql_int(conn, PL__SQL_SLOT_FILLED, &found, 0, "i", (int64_t)slot));
    *filled = found != 0;
    return PL_OK;
}

int pl__edge_waiter(pl__conn_t *conn, pl_id_t slot, pl_id_t *waiter) {
    const pl__live_t *live = pl__live_find(conn, slot);
    if (!live)
        return pl__sql_int(conn, PL__SQL_STAGE_WAITER, waiter, PL__WAITERS, "i", (int64_t)slot);
    *waiter = live->waiter;
    return PL_OK;
}

int pl__edge_set_waiter(pl__conn_t *conn, pl_id_t slot, pl_id_t waiter) {
    pl__live_t *live = pl__live_find(conn, slot);
    if (live)
        live->waiter = waiter;
    return pl__sql_run(conn, PL__SQL_STAGE_SET_WAITER, NULL, "iz", (int64_t)slot, (int64_t)waiter);
}

int pl__wait_add(pl__conn_t *conn, pl_id_t slot, pl_id_t stage, int kind, int *added) {
    return pl__sql_run(conn, PL__SQL_WAIT_ADD, added, "iii", (int64_t)slot, (int64_t)stage, (int64_t)kind);
}

int pl__edge_add(pl__conn_t *conn, pl_id_t slot, pl_id_t stage, int kind, int *added) {
    pl_id_t waiter;
    PL__TRY(pl__edge_waiter(conn, slot, &waiter));
    bool is_input = kind == PL__WAIT_INPUT;
    *added = waiter != stage || !is_input;
    if (!*added)
        return PL_OK;
    if (waiter == 0 && is_input)
        return pl__edge_set_waiter(conn, slot, stage);
    if (waiter > 0)
        PL__TRY(pl__wait_add(conn, slot, waiter, PL__WAIT_INPUT, NULL));
    if (waiter != PL__WAITERS)
        PL__TRY(pl__edge_set_waiter(conn, slot, PL__WAITERS));
    return pl__wait_add(conn, slot, stage, kind, added);
}
