/*
 * shown.h - what there is of durable functions: journals, news, and what they show. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_SHOWN_H
#define PL_SPEC_MEMORY_SHOWN_H

#include "reads.h"

/* ---- the journal ------------------------------------------------------------------------------------------------- */

static int by_seq(const void *a, const void *b) {
    const pl_entry_t *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Those of this era, in their order. */
static pl_entry_t *entries_of(pl__conn_t *m, pl__arena_t *arena, const flow_t *flow, size_t *len) {
    pl_entry_t *list = room(arena, m->len[ENTRIES] * sizeof *list);
    *len = 0;
    EACH(entry_t, entry, ENTRIES) {
        if (entry->stage == flow->is.stage && entry->is.seq >= flow->is.first)
            list[(*len)++] = entry->is;
    }
    qsort(list, *len, sizeof *list, by_seq);
    return list;
}

static pl_flow_t *see_flow(pl__conn_t *m, pl__arena_t *arena, const flow_t *flow) {
    pl_flow_t *seen = room(arena, sizeof *seen);
    size_t len, bytes;
    *seen = flow->is;
    seen->mails = count_mails(m, seen->stage, &bytes);
    seen->created = stage_of(m, seen->stage)->created;
    const pl_entry_t *entries = entries_of(m, arena, flow, &len);
    for (size_t i = 0; i < len; i++)
        seen->bytes += pl_entry_bytes(&entries[i]);
    return seen;
}

static void see_entries(pl__conn_t *m, pl_op_t *op, const flow_t *flow) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    size_t all, at = 0, bytes = 0;
    if (get->limit == 0 || (get->known && get->known == flow->is.next))
        return;
    const pl_entry_t *list = entries_of(m, &op->arena, flow, &all);
    while (at < all && list[at].seq <= get->after)
        at++;
    get->entries = list + at;
    for (; at < all && get->len < (size_t)get->limit && bytes < PL_JOURNAL_BYTES_MAX; at++, get->len++)
        bytes += list[at].value.len;
    get->more = at < all;
}

/* ---- news -------------------------------------------------------------------------------------------------------- */

static int by_arrival(const void *a, const void *b) {
    const pl_arrival_t *x = a, *y = b;
    return x->time != y->time ? (x->time > y->time) - (x->time < y->time) : (x->seq > y->seq) - (x->seq < y->seq);
}

/* What the entry waits for is there. */
static bool has_arrived(pl__conn_t *m, const pl_entry_t *entry, pl_arrival_t *arrival) {
    const pl_stage_t *child = entry->kind == PL_ENTRY_CHILD ? stage_of(m, entry->ref) : NULL;
    const pl_slot_t *slot = slot_of(m, child ? child->outputs->slot : entry->ref);
    if (entry->kind == PL_ENTRY_CHILD ? !child || !is_final(child) : !slot)
        return false;
    *arrival = (pl_arrival_t){ .seq = entry->seq, .ref = entry->ref };
    if (child) {
        arrival->state = child->state;
        arrival->fallback = (child->flags & PL_STAGE_FALLBACK_TAKEN) != 0;
        arrival->message = child->abort_message;
    }
    arrival->time = child ? child->finalized : slot->time;
    arrival->value = slot ? slot->value : PL_STR_NONE;
    return true;
}

static const pl_arrival_t *arrivals_of(pl__conn_t *m, pl_op_t *op, const flow_t *flow, pl_entry_kind_t kind,
                                       size_t *len) {
    size_t all;
    const pl_entry_t *entries = entries_of(m, &op->arena, flow, &all);
    pl_arrival_t *list = room(&op->arena, all * sizeof *list);
    *len = 0;
    for (size_t i = 0; i < all; i++)
        if (entries[i].kind == kind && !entries[i].done)
            *len += has_arrived(m, &entries[i], &list[*len]);
    qsort(list, *len, sizeof *list, by_arrival);
    return list;
}

static const pl_mail_t *mails_of(pl__conn_t *m, pl_op_t *op, size_t *len) {
    const pl_op_journal_get_t *get = &op->u.journal_get;
    pl_mail_t *list = room(&op->arena, m->len[MAILS] * sizeof *list);
    *len = 0;
    EACH(mail_t, mail, MAILS) {
        if (mail->stage == get->stage && !mail->taken && mail->is.number > get->mail_after &&
            *len < (size_t)get->mail_limit)
            list[(*len)++] = mail->is;
    }
    return list;
}

/* An abort was asked for: why, and who below it still goes on. */
static void see_cancel(pl__conn_t *m, pl_op_t *op, pl_news_t *news) {
    pl_id_t stage = op->u.journal_get.stage, *live = room(&op->arena, m->len[STAGES] * sizeof *live);
    const pl_stage_t *told = stage_of(m, stage);
    while (told && !told->abort_requested && !(told->flags & PL_STAGE_FALLBACK_TAKEN))
        told = stage_of(m, told->parent);
    news->cancel = true;
    news->is_abort = told != NULL;
    news->message = told ? told->abort_message : PL_STR_NONE;
    news->live = live;
    EACH(pl_stage_t, each, STAGES) {
        const pl_stage_t *top = each;
        while (top && top->parent != stage)
            top = stage_of(m, top->parent);
        bool is_live = top && each->flags & PL_STAGE_DURABLE && !is_final(each);
        for (size_t i = 0; i < news->live_len && is_live; i++)
            is_live = live[i] != top->id;
        if (is_live)
            live[news->live_len++] = top->id;
    }
}

static void do_journal_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    const flow_t *flow = flow_of(m, get->stage);
    get->flow = flow ? see_flow(m, &op->arena, flow) : NULL;
    get->len = 0;
    get->more = false;
    get->news = (pl_news_t){ 0 };
    op->rc = flow ? PL_OK : PL_ENOTFOUND;
    if (!flow)
        return;
    see_entries(m, op, flow);
    if (get->mail_limit == 0)
        return;
    get->news.children = arrivals_of(m, op, flow, PL_ENTRY_CHILD, &get->news.children_len);
    get->news.slots = arrivals_of(m, op, flow, PL_ENTRY_SLOT, &get->news.slots_len);
    get->news.mails = mails_of(m, op, &get->news.mails_len);
    if (flow->is.cancel == PL_CANCEL_ASKED)
        see_cancel(m, op, &get->news);
}

/* ---- what is shown ----------------------------------------------------------------------------------------------- */

static int by_shown_name(const void *a, const void *b) {
    const pl_shown_name_t *x = a, *y = b;
    return strcmp(x->name.ptr, y->name.ptr);
}

static void see_values(pl__conn_t *m, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    pl_shown_name_t *list = room(&op->arena, m->len[VALUES] * sizeof *list);
    get->values = list;
    get->values_len = 0;
    EACH(value_t, value, VALUES) {
        bool is_short = value->value.len <= PL_SHOWN_BYTES_MAX;
        if (value->stage == get->stage && value->name.len > 0)
            list[get->values_len++] = (pl_shown_name_t){ .name = value->name,
                                                         .time = value->time,
                                                         .value = is_short ? value->value : PL_STR_NONE,
                                                         .size = (int64_t)value->value.len };
    }
    qsort(list, get->values_len, sizeof *list, by_shown_name);
    get->values_len = get->values_len > PL_SHOWN_NAMES_MAX ? PL_SHOWN_NAMES_MAX : get->values_len;
}

static void see_streams(pl__conn_t *m, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    pl_shown_name_t *list = room(&op->arena, m->len[CHUNKS] * sizeof *list);
    size_t len = 0;
    EACH(chunk_t, chunk, CHUNKS) {
        size_t i = 0;
        if (chunk->stage != get->stage || chunk->stream.len == 0)
            continue;
        while (i < len && !pl_str_eq(list[i].name, chunk->stream))
            i++;
        len += i == len;
        bool is_closed = !chunk->is.value.ptr;
        list[i] = (pl_shown_name_t){
            .name = chunk->stream, .time = chunk->is.time, .size = chunk->is.n + !is_closed, .is_closed = is_closed
        };
    }
    qsort(list, len, sizeof *list, by_shown_name);
    get->streams = list;
    get->streams_len = len > PL_SHOWN_NAMES_MAX ? PL_SHOWN_NAMES_MAX : len;
}

static void see_chunks(pl__conn_t *m, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    pl_stream_chunk_t *list = room(&op->arena, m->len[CHUNKS] * sizeof *list);
    get->chunks = list;
    get->len = 0;
    EACH(chunk_t, chunk, CHUNKS) {
        if (chunk->stage == get->stage && pl_str_eq(chunk->stream, get->stream) && chunk->is.n >= get->from &&
            get->len < (size_t)get->limit)
            list[get->len++] = chunk->is;
    }
}

static int by_id_alone(const void *a, const void *b) {
    const pl_id_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void see_forks(pl__conn_t *m, pl_op_t *op) {
    enum { FORKS = 100 };
    pl_op_shown_get_t *get = &op->u.shown_get;
    pl_id_t *list = room(&op->arena, m->len[FLOWS] * sizeof *list);
    get->forks = list;
    get->forks_len = 0;
    EACH(flow_t, flow, FLOWS) {
        if (flow->is.forked_from == get->stage)
            list[get->forks_len++] = flow->is.stage;
    }
    qsort(list, get->forks_len, sizeof *list, by_id_alone);
    get->forks_len = get->forks_len > FORKS ? FORKS : get->forks_len;
}

static void do_shown_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_shown_get_t *get = &op->u.shown_get;
    const mail_t *mail = mail_of(m, get->stage, get->mail);
    op->rc = flow_of(m, get->stage) ? PL_OK : PL_ENOTFOUND;
    if (op->rc != PL_OK)
        return;
    get->state = stage_of(m, get->stage)->state;
    EACH(value_t, value, VALUES) {
        if (value->stage == get->stage && get->name.ptr && pl_str_eq(value->name, get->name)) {
            get->value = value->value;
            get->time = value->time;
        }
    }
    if (get->stream.ptr)
        see_chunks(m, op);
    if (get->wants_forks)
        see_forks(m, op);
    if (get->wants_names) {
        see_values(m, op);
        see_streams(m, op);
    }
    get->has_mail = mail != NULL;
    get->reply = mail ? mail->reply : PL_REPLY_NONE;
    get->answer = mail ? mail->answer : PL_STR_NONE;
}

/* ---- which there are --------------------------------------------------------------------------------------------- */

static void do_flows_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_flows_get_t *get = &op->u.flows_get;
    *get = (pl_op_flows_get_t){ .bytes = 0 };
    EACH(flow_t, flow, FLOWS) {
        get->counts[flow->is.mode]++;
        get->bytes += see_flow(m, &op->arena, flow)->bytes;
    }
}

static void do_flows_list(pl__conn_t *m, pl_op_t *op) {
    pl_op_flows_list_t *get = &op->u.flows_list;
    pl_id_t *all = room(&op->arena, m->len[FLOWS] * sizeof *all), *list = room(&op->arena, m->len[FLOWS] * sizeof *all);
    size_t len = 0;
    EACH(flow_t, flow, FLOWS) {
        if (get->held ? flow->is.mode == PL_FLOW_HELD : flow->is.mode != PL_FLOW_OVER)
            all[len++] = flow->is.stage;
    }
    qsort(all, len, sizeof *all, by_id_alone);
    get->ids = list;
    get->len = 0;
    for (size_t i = 0; i < len && get->len < (size_t)get->limit; i++) {
        pl_id_t id = all[get->held ? len - 1 - i : i];
        if (!get->after || (get->held ? id < get->after : id > get->after))
            list[get->len++] = id;
    }
}

#endif
