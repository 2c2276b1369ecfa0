/*
 * journals.h - what durable functions write, and what is sent to them: the verbs journal, suspend, signal, flow_set and
 * fork. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_JOURNALS_H
#define PL_SPEC_MEMORY_JOURNALS_H

#include "stages.h"

/* ---- mails ------------------------------------------------------------------------------------------------------- */

static mail_t *mail_of(pl__conn_t *m, pl_id_t stage, int64_t number) {
    EACH(mail_t, mail, MAILS) {
        if (mail->stage == stage && mail->is.number == number)
            return mail;
    }
    return NULL;
}

static const mail_t *mail_by(pl__conn_t *m, pl_id_t stage, pl_str_t name, pl_str_t key) {
    EACH(mail_t, mail, MAILS) {
        if (mail->stage == stage && mail->is.key.ptr && pl_str_eq(mail->is.name, name) && pl_str_eq(mail->is.key, key))
            return mail;
    }
    return NULL;
}

/* Those that were not taken, and their bytes. */
static int count_mails(pl__conn_t *m, pl_id_t stage, size_t *bytes) {
    int count = 0;
    *bytes = 0;
    EACH(mail_t, mail, MAILS) {
        bool is_new = mail->stage == stage && !mail->taken;
        count += is_new;
        *bytes += is_new ? mail->is.value.len : 0;
    }
    return count;
}

static bool wants(pl_str_t names, pl_str_t name) {
    for (size_t at = 0, len; at < names.len; at += len + 1) {
        len = strnlen(names.ptr + at, names.len - at);
        bool is_all = at + len == names.len && len == 1 && names.ptr[at] == '*';
        if (is_all || pl_str_eq((pl_str_t){ names.ptr + at, len }, name))
            return true;
    }
    return false;
}

static void post(pl__conn_t *m, pl_mail_new_t *mail) {
    pl_stage_t *stage = stage_by(m, mail->stage, mail->idempotence);
    if (!stage && mail->idempotence.ptr && mail->start) {
        mail->start->key = mail->idempotence;
        add_stage(m, mail->start, mail->start->id, 0);
        stage = stage_of(m, mail->start->id);
    }
    mail->stage = stage || mail->idempotence.ptr ? (stage ? stage->id : 0) : mail->stage;
    flow_t *flow = stage ? flow_of(m, stage->id) : NULL;
    const mail_t *had = flow && mail->key.ptr ? mail_by(m, stage->id, mail->name, mail->key) : NULL;
    size_t bytes;
    int count = count_mails(m, mail->stage, &bytes);
    bool is_full = count >= PL_MAILS_MAX || bytes + mail->value.len > PL_MAILS_BYTES_MAX;
    mail->number = had ? had->is.number : 0;
    mail->rc = !stage            ? PL_ENOTFOUND
               : !flow           ? PL_ESTATE
               : is_final(stage) ? PL_EFINAL
               : had             ? PL_EEXISTS
               : is_full         ? PL_ELIMIT
                                 : PL_OK;
    if (mail->rc != PL_OK)
        return;
    mail->number = ++flow->posted;
    *ADD(mail_t, MAILS) = (mail_t){ .stage = stage->id,
                                    .is = { .number = mail->number,
                                            .kind = mail->kind,
                                            .name = text(m, mail->name),
                                            .key = text(m, mail->key),
                                            .value = text(m, mail->value),
                                            .time = m->now } };
    tell_flow(m, flow, mail->kind == PL_MAIL_UPDATE || wants(flow->wants, mail->name));
}

static void do_signal(pl__conn_t *m, pl_op_t *op) {
    for (size_t i = 0; i < op->u.signal.len; i++)
        post(m, &op->u.signal.mails[i]);
}

/* A key is remembered, and an update until it is answered. */
static void take_mail(pl__conn_t *m, pl_id_t stage, int64_t number) {
    mail_t *mail = mail_of(m, stage, number);
    if (!mail || mail->taken)
        return;
    mail->taken = true;
    mail->is.value = PL_STR_NONE;
    if (!mail->is.key.ptr && mail->is.kind == PL_MAIL_SIGNAL)
        drop(m, MAILS, mail);
}

/* ---- what it shows ----------------------------------------------------------------------------------------------- */

/* Of those without a key some of the last answers are kept. */
static void answer(pl__conn_t *m, pl_id_t stage, const pl_answer_new_t *new) {
    mail_t *mail = mail_of(m, stage, new->mail);
    if (mail && mail->is.kind == PL_MAIL_UPDATE && mail->reply == PL_REPLY_NONE) {
        mail->reply = new->reply;
        mail->answer = text(m, new->value);
    }
    for (int64_t old = new->mail - 1100; old <= new->mail - 1000; old++) {
        mail = mail_of(m, stage, old);
        if (mail && !mail->is.key.ptr && mail->reply != PL_REPLY_NONE)
            drop(m, MAILS, mail);
    }
}

static void show_value(pl__conn_t *m, pl_id_t stage, const pl_value_new_t *new) {
    value_t *value = NULL;
    EACH(value_t, each, VALUES)
    value = each->stage == stage && pl_str_eq(each->name, new->name) ? each : value;
    if (!value)
        value = ADD(value_t, VALUES);
    *value = (value_t){ stage, text(m, new->name), text(m, new->value), m->now };
}

static void write_chunk(pl__conn_t *m, pl_id_t stage, pl_chunk_new_t *new) {
    const chunk_t *last = NULL;
    EACH(chunk_t, chunk, CHUNKS) {
        if (chunk->stage != stage || !pl_str_eq(chunk->stream, new->stream))
            continue;
        if (chunk->k == new->k && pl_str_eq(chunk->source, new->source))
            return;
        last = chunk;
    }
    int64_t n = last ? last->is.n + 1 : 0;
    new->is_refused = (last && !last->is.value.ptr) || n >= PL_CHUNKS_MAX + !new->value.ptr;
    if (new->is_refused)
        return;
    *ADD(chunk_t, CHUNKS) = (chunk_t){ .stage = stage,
                                       .stream = text(m, new->stream),
                                       .source = text(m, new->source),
                                       .k = new->k,
                                       .is = { .n = n, .value = text(m, new->value), .time = m->now } };
}

static void show_status(pl__conn_t *m, pl_id_t stage, const pl_status_t *new) {
    told_t *told = NULL;
    EACH(told_t, each, STATUSES)
    told = each->stage == stage ? each : told;
    if (!told)
        told = ADD(told_t, STATUSES);
    *told = (told_t){
        stage, { text(m, new->message), text(m, new->console_url), text(m, new->links), new->time ? new->time : m->now }
    };
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void write_entry(pl__conn_t *m, pl_id_t stage, const pl_entry_t *new) {
    entry_t *entry = NULL;
    EACH(entry_t, each, ENTRIES)
    entry = each->stage == stage && each->is.seq == new->seq ? each : entry;
    if (!entry)
        entry = ADD(entry_t, ENTRIES);
    *entry = (entry_t){ stage, *new };
    entry->is.path = text(m, new->path);
    entry->is.name = text(m, new->name);
    entry->is.line = text(m, new->line);
    entry->is.value = text(m, new->value);
}

/* What cannot be added; rc PL_OK: all can. */
typedef struct {
    int rc;
    const pl_task_new_t *task;
    const pl_stage_new_t *root;
} refusal_t;

static int compare_tasks(const pl_task_new_t *a, const pl_task_new_t *b) {
    if (a->kind == PL_TASK_RUN && b->kind == PL_TASK_RUN && a->stage == b->stage)
        return PL_ESTATE;
    bool is_one = a->name.ptr ? b->name.ptr && pl_str_eq(a->name, b->name) : a->name_id && a->name_id == b->name_id;
    pl_str_t queues[2] = { a->queue.ptr ? a->queue : PL_STR_LIT("default"),
                           b->queue.ptr ? b->queue : PL_STR_LIT("default") };
    return is_one && pl_str_eq(queues[0], queues[1]) ? PL_EEXISTS : PL_OK;
}

/* The first that cannot be, or that is one before it, or one of the others. */
static void check_tasks(pl__conn_t *m, pl_task_new_t *tasks, size_t len, const pl_task_new_t *others, size_t others_len,
                        refusal_t *refused) {
    for (size_t i = 0; i < len && refused->rc == PL_OK; i++) {
        check_task(m, &tasks[i]);
        for (size_t j = 0; j < i + others_len && tasks[i].rc == PL_OK; j++)
            tasks[i].rc = compare_tasks(&tasks[i], j < i ? &tasks[j] : &others[j - i]);
        if (tasks[i].rc != PL_OK)
            *refused = (refusal_t){ .rc = tasks[i].rc, .task = &tasks[i] };
    }
}

static void check_journal(pl__conn_t *m, const pl_journal_t *journal, const pl_task_new_t *others, size_t others_len,
                          refusal_t *refused) {
    check_tasks(m, journal->tasks, journal->tasks_len, others, others_len, refused);
    for (size_t i = 0; i < journal->starts_len && refused->rc == PL_OK; i++) {
        pl_str_t key = journal->starts[i].key;
        bool is_taken = key.ptr && stage_by(m, 0, key);
        for (size_t j = 0; j < i && key.ptr; j++)
            is_taken = is_taken || (journal->starts[j].key.ptr && pl_str_eq(journal->starts[j].key, key));
        if (is_taken)
            *refused = (refusal_t){ .rc = PL_EEXISTS, .root = &journal->starts[i] };
    }
}

static void spawn(pl__conn_t *m, const pl_stage_t *stage, unsigned flags, pl_stage_new_t *children, size_t len) {
    for (size_t i = 0; i < len; i++) {
        children[i].flags |= flags & PL_STAGE_DURABLE ? PL_STAGE_SCOPE : 0;
        children[i].flags |= flags & PL_STAGE_TRACED;
        add_stage(m, &children[i], stage->root, stage->id);
    }
}

static void write_journal(pl__conn_t *m, const pl_stage_t *stage, const pl_journal_t *journal) {
    flow_t *flow = flow_of(m, stage->id);
    for (size_t i = 0; i < journal->entries_len; i++)
        write_entry(m, stage->id, &journal->entries[i]);
    flow->is.next = journal->next > flow->is.next ? journal->next : flow->is.next;
    flow->is.cancel = journal->cancel > flow->is.cancel ? journal->cancel : flow->is.cancel;
    flow->is.deadline = journal->deadline ? journal->deadline : flow->is.deadline;
    spawn(m, stage, stage->flags, journal->children, journal->children_len);
    for (size_t i = 0; i < journal->starts_len; i++)
        add_stage(m, &journal->starts[i], journal->starts[i].id, 0);
    for (size_t i = 0; i < journal->tasks_len; i++)
        add_task(m, &journal->tasks[i]);
    for (size_t i = 0; i < journal->fills_len; i++)
        fill_slot(m, stage->id, &journal->fills[i]);
    for (size_t i = 0; i < journal->taken_len; i++)
        take_mail(m, stage->id, journal->taken[i]);
    for (size_t i = 0; i < journal->answers_len; i++)
        answer(m, stage->id, &journal->answers[i]);
    for (size_t i = 0; i < journal->values_len; i++)
        show_value(m, stage->id, &journal->values[i]);
    for (size_t i = 0; i < journal->chunks_len; i++)
        write_chunk(m, stage->id, &journal->chunks[i]);
    for (size_t i = 0; i < journal->mails_len; i++)
        post(m, &journal->mails[i]);
    if (journal->status)
        show_status(m, stage->id, journal->status);
}

/* The stage, if its journal may be written; op->rc says. */
static pl_stage_t *check_run(pl__conn_t *m, pl_op_t *op, pl_id_t id, int claim, const pl_journal_t *journal) {
    const task_t *task = ours(m, id, claim);
    pl_stage_t *stage = stage_of(m, id);
    refusal_t refused = { .rc = PL_OK };
    op->rc = task && stage && task->is.kind == PL_TASK_RUN ? PL_OK : PL_ESTALE;
    if (op->rc == PL_OK && stage->state == PL_STAGE_ABORTING) {
        op->rc = PL_EABORTED;
        abort_now(m, stage);
    }
    if (op->rc == PL_OK && !(stage->flags & PL_STAGE_DURABLE))
        op->rc = PL_ESTATE;
    if (op->rc == PL_OK) {
        check_journal(m, journal, NULL, 0, &refused);
        op->rc = refused.rc;
    }
    return op->rc == PL_OK ? stage : NULL;
}

static void do_journal(pl__conn_t *m, pl_op_t *op) {
    const pl_op_journal_t *write = &op->u.journal;
    const pl_stage_t *stage = check_run(m, op, write->stage, write->claim, &write->journal);
    if (stage)
        write_journal(m, stage, &write->journal);
}

/* What has come is looked at from here on. */
static bool look_for_news(pl__conn_t *m, flow_t *flow, const pl_op_suspend_t *suspend) {
    bool found = flow->is.dirty;
    flow->is.dirty = false;
    for (size_t i = 0; i < suspend->slots_len; i++)
        found = found || slot_of(m, suspend->slots[i]);
    return found;
}

/* Also where it has done so before, and was woken by something else. */
static void wait_for_slot(pl__conn_t *m, pl_id_t stage, pl_id_t slot) {
    EACH(wait_t, wait, WAITS) {
        if (wait->stage == stage && wait->slot == slot)
            return;
    }
    *ADD(wait_t, WAITS) = (wait_t){ stage, slot };
}

static void do_suspend(pl__conn_t *m, pl_op_t *op) {
    pl_op_suspend_t *suspend = &op->u.suspend;
    const pl_stage_t *stage = check_run(m, op, suspend->stage, suspend->claim, &suspend->journal);
    flow_t *flow = stage ? flow_of(m, stage->id) : NULL;
    suspend->refused = flow && look_for_news(m, flow, suspend);
    if (!flow || suspend->refused)
        return;
    write_journal(m, stage, &suspend->journal);
    go_on(m);
    if (suspend->hold) {
        hold_flow(m, flow, suspend->reason);
        return;
    }
    bool has_news = look_for_news(m, flow, suspend); /* what it has written may be news for itself */
    for (size_t i = 0; i < suspend->slots_len && !has_news; i++)
        wait_for_slot(m, stage->id, suspend->slots[i]);
    task_t *task = task_of(m, stage->id);
    flow->is.mode = PL_FLOW_SUSPENDED;
    flow->wants = text(m, suspend->wants);
    flow->is.reason = text(m, suspend->reason);
    delay(m, task, has_news ? m->due : suspend->due < PL_USEC_MAX ? suspend->due : PL_USEC_MAX, 0);
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static void do_flow_set(pl__conn_t *m, pl_op_t *op) {
    const pl_op_flow_set_t *set = &op->u.flow_set;
    const pl_stage_t *stage = stage_of(m, set->stage);
    const task_t *task = task_of(m, set->stage);
    flow_t *flow = flow_of(m, set->stage);
    bool is_held = flow && flow->is.mode == PL_FLOW_HELD;
    op->rc = !stage                                                               ? PL_ENOTFOUND
             : !flow                                                              ? PL_ESTATE
             : is_final(stage)                                                    ? PL_EFINAL
             : is_held == set->hold                                               ? PL_ESTATE
             : stage->state != PL_STAGE_READY && stage->state != PL_STAGE_WAITING ? PL_ESTATE
                                                                                  : PL_OK;
    if (op->rc != PL_OK)
        return;
    if (!set->hold) {
        let_go(m, flow);
        flow->is.reason = text(m, set->reason);
    } else if (!task || task->state != CLAIMED) {
        hold_flow(m, flow, set->reason);
    } else { /* it is told, and holds itself */
        flow->is.mode = PL_FLOW_HELD;
        flow->wants = PL_STR_NONE;
        flow->is.reason = text(m, set->reason);
        flow->is.dirty = true;
        note(m, set->stage, PL_STAGE_READY);
    }
}

static void do_fork(pl__conn_t *m, pl_op_t *op) {
    pl_op_fork_t *fork = &op->u.fork;
    const flow_t *from = flow_of(m, fork->stage);
    bool is_taken = fork->start->key.ptr && stage_by(m, 0, fork->start->key);
    op->rc = !from ? PL_ENOTFOUND : is_taken ? PL_EEXISTS : PL_OK;
    if (op->rc != PL_OK)
        return;
    pl_id_t id = fork->start->id;
    add_stage(m, fork->start, id, 0);
    flow_t *flow = flow_of(m, id);
    flow->is.seed = from->is.seed;
    flow->is.era = from->is.era;
    flow->is.first = from->is.first;
    flow->is.next = from->is.next;
    flow->is.forked_from = fork->stage;
    flow->is.forked_at = fork->before;
    flow->posted = from->posted;
    for (size_t i = 0, len = m->len[ENTRIES]; i < len; i++) {
        entry_t entry = ((const entry_t *)(void *)m->items[ENTRIES])[i];
        bool is_undone = entry.is.state == PL_ENTRY_CANCELLED && entry.is.done > fork->before;
        if (entry.stage != fork->stage || entry.is.seq >= fork->before || is_undone)
            continue;
        entry.stage = id;
        *ADD(entry_t, ENTRIES) = entry;
    }
    for (size_t i = 0, len = m->len[MAILS]; i < len && fork->mails; i++) {
        mail_t mail = ((const mail_t *)(void *)m->items[MAILS])[i];
        if (mail.stage != fork->stage || mail.taken || mail.is.kind != PL_MAIL_SIGNAL)
            continue;
        mail.stage = id;
        *ADD(mail_t, MAILS) = mail;
    }
}

#endif
