/*
 * model_flows.h - the part of model_test.c that is about durable functions: what they write, what is sent to them, and
 * what is seen of that.
 */
#ifndef PL_SPEC_STORE_MODEL_FLOWS_H
#define PL_SPEC_STORE_MODEL_FLOWS_H

/* ---- what is seen ------------------------------------------------------------------------------------------------ */

static void put_mails(FILE *out, const pl_mail_new_t *mails, size_t len) {
    for (size_t i = 0; i < len; i++)
        fprintf(out, " mail %s to=%" PRId64 " number=%" PRId64, pl_result_name(mails[i].rc), mails[i].stage,
                mails[i].number);
}

static void put_written(FILE *out, const pl_journal_t *journal) {
    for (size_t i = 0; i < journal->chunks_len; i++)
        put_number(out, "refused", journal->chunks[i].is_refused);
    put_mails(out, journal->mails, journal->mails_len);
}

static void put_arrivals(FILE *out, const char *what, const pl_arrival_t *list, size_t len) {
    for (size_t i = 0; i < len; i++) {
        fprintf(out, "\n    %s %" PRId64 " ref=%" PRId64 " state=%d fallback=%d time=%" PRId64, what, list[i].seq,
                list[i].ref, (int)list[i].state, list[i].fallback, list[i].time);
        put(out, "message", list[i].message);
        put(out, "value", list[i].value);
    }
}

static void put_news(FILE *out, const pl_news_t *news) {
    put_arrivals(out, "child", news->children, news->children_len);
    put_arrivals(out, "slot", news->slots, news->slots_len);
    for (size_t i = 0; i < news->mails_len; i++) {
        fprintf(out, "\n    mail %" PRId64 " kind=%d time=%" PRId64, news->mails[i].number, (int)news->mails[i].kind,
                news->mails[i].time);
        put(out, "name", news->mails[i].name);
        put(out, "key", news->mails[i].key);
        put(out, "value", news->mails[i].value);
    }
    fprintf(out, "\n    cancel=%d,%d live=%zu", news->cancel, news->is_abort, news->live_len);
    put(out, "message", news->message);
}

static void put_journal(FILE *out, const pl_op_journal_get_t *get) {
    const pl_flow_t *flow = get->flow;
    if (!flow)
        return;
    fprintf(out, " %s version=%d era=%d first=%" PRId64 " next=%" PRId64 " dirty=%d mails=%d cancel=%d more=%d",
            pl_flow_mode_name((int)flow->mode), flow->version, flow->era, flow->first, flow->next, flow->dirty,
            flow->mails, (int)flow->cancel, get->more);
    put_number(out, "deadline", flow->deadline);
    put_number(out, "from", flow->forked_from);
    put_number(out, "at", flow->forked_at);
    put(out, "reason", flow->reason);
    for (size_t i = 0; i < get->len; i++) {
        const pl_entry_t *entry = &get->entries[i];
        fprintf(out, "\n    entry %" PRId64 " done=%" PRId64 " kind=%d state=%d nth=%d ref=%" PRId64 " value=%zu",
                entry->seq, entry->done, (int)entry->kind, (int)entry->state, entry->nth, entry->ref, entry->value.len);
        put(out, "name", entry->name);
    }
    put_news(out, &get->news);
}

static void put_shown(FILE *out, const pl_op_shown_get_t *get) {
    fprintf(out, " state=%d reply=%d,%d time=%" PRId64, (int)get->state, get->has_mail, (int)get->reply, get->time);
    put(out, "value", get->value);
    put(out, "answer", get->answer);
    for (size_t i = 0; i < get->len; i++) {
        put_number(out, "chunk", get->chunks[i].n + 1);
        put(out, "of", get->chunks[i].value);
    }
    for (size_t i = 0; i < get->values_len; i++)
        put(out, "named", get->values[i].name);
    for (size_t i = 0; i < get->streams_len; i++) {
        put(out, "stream", get->streams[i].name);
        fprintf(out, " size=%" PRId64 " closed=%d", get->streams[i].size, get->streams[i].is_closed);
    }
    for (size_t i = 0; i < get->forks_len; i++)
        put_number(out, "fork", get->forks[i]);
}

static void put_flow_op(FILE *out, const pl_op_t *op) {
    if (op->verb == PL_VERB_journal)
        put_written(out, &op->u.journal.journal);
    if (op->verb == PL_VERB_suspend) {
        put_number(out, "refused", op->u.suspend.refused);
        put_written(out, &op->u.suspend.journal);
    }
    if (op->verb == PL_VERB_outcome && op->u.outcome.journal)
        put_written(out, op->u.outcome.journal);
    if (op->verb == PL_VERB_signal)
        put_mails(out, op->u.signal.mails, op->u.signal.len);
    if (op->verb == PL_VERB_journal_get)
        put_journal(out, &op->u.journal_get);
    if (op->verb == PL_VERB_shown_get && op->rc == PL_OK)
        put_shown(out, &op->u.shown_get);
    for (size_t i = 0; op->verb == PL_VERB_flows_list && i < op->u.flows_list.len; i++)
        put_number(out, "flow", op->u.flows_list.ids[i]);
    for (size_t i = 0; op->verb == PL_VERB_flows_get && i < 4; i++)
        put_number(out, "count", op->u.flows_get.counts[i]);
}

/* ---- ops from choices -------------------------------------------------------------------------------------------- */

/* More choices than a step has. */
static uint32_t pick(const step_t *step, int i) {
    uint32_t z = step->choice[i % CHOICES] + (uint32_t)i * UINT32_C(0x9e3779b9);
    z = (z ^ (z >> 16)) * UINT32_C(0x85ebca6b);
    return z ^ (z >> 13);
}

/* A claim of a durable function; if there is none, any. */
static held_t pick_function(const run_t *run, uint32_t choice) {
    for (size_t i = 0; i < run->held_len; i++) {
        held_t held = run->held[(choice + i) % run->held_len];
        if (held.kind != PL_TASK_RUN || !(held.flags & PL_STAGE_DURABLE))
            continue;
        held.claim += choice % 16 == 15;
        return held;
    }
    return pick_held(run, choice, 1U << PL_TASK_RUN);
}

static pl_stage_new_t new_function(const run_t *run, const step_t *step, int i, uint32_t choice) {
    pl_stage_new_t stage = new_stage(run, step, i, choice);
    stage.flags = PL_STAGE_DURABLE | (choice % 4 ? 0 : PL_STAGE_HAS_FINALIZED);
    stage.max_attempts = 1;
    return stage;
}

static void build_mail(const run_t *run, const step_t *step, pl_op_t *op, int at, pl_mail_new_t *mail) {
    static const char *const names[] = { "go", "stop" }, *const keys[] = { "k", NULL, NULL },
                             *const texts[] = { "key-1", "key-2", NULL, NULL, NULL, NULL };
    *mail = (pl_mail_new_t){ .stage = pick_known(run, pick(step, at))->id,
                             .kind = pick(step, at + 1) % 4 ? PL_MAIL_SIGNAL : PL_MAIL_UPDATE,
                             .name = pick_text(pick(step, at + 2), names, 2),
                             .key = pick_text(pick(step, at + 3), keys, 3),
                             .value = PL_STR_LIT("mail"),
                             .idempotence = pick_text(pick(step, at + 4), texts, 6) };
    if (mail->idempotence.ptr)
        mail->stage = 0;
    if (mail->idempotence.ptr && pick(step, at + 5) % 2) {
        mail->start = pl_op_alloc(op, sizeof *mail->start);
        *mail->start = new_function(run, step, 5 + at % 2, pick(step, at + 6));
    }
}

static pl_entry_t new_entry(const run_t *run, const step_t *step, int i) {
    static char large[2000];
    static const pl_entry_kind_t kinds[] = { PL_ENTRY_STEP, PL_ENTRY_TIMER, PL_ENTRY_CHILD, PL_ENTRY_SLOT };
    static const pl_entry_state_t states[] = { PL_ENTRY_OPEN, PL_ENTRY_OK, PL_ENTRY_CANCELLED, PL_ENTRY_AGAIN };
    uint32_t choice = pick(step, 10 + i), of = pick(step, 14 + i);
    const known_t *other = pick_known(run, of);
    pl_entry_t entry = { .seq = 1 + 8 * (choice % 4 ? step->number : (int)(of % (uint32_t)(step->number + 1))) + i,
                         .kind = kinds[(choice >> 3) % 4],
                         .state = states[(choice >> 6) % 4],
                         .name = PL_STR_LIT("n"),
                         .nth = 1,
                         .opened = pl_clock_now(&run->clock) };
    entry.done = entry.state == PL_ENTRY_OK || entry.state == PL_ENTRY_CANCELLED ? 8 * step->number + 4 + i : 0;
    entry.ref = entry.kind == PL_ENTRY_CHILD ? other->id : entry.kind == PL_ENTRY_SLOT ? other->slots[0] : 0;
    entry.value = (choice >> 9) % 3 == 0   ? (pl_str_t){ large, sizeof large }
                  : (choice >> 9) % 3 == 1 ? PL_STR_LIT("short")
                                           : PL_STR_NONE;
    return entry;
}

static void write_shown(const step_t *step, pl_op_t *op, pl_journal_t *journal) {
    static const char *const names[] = { "v", "w" };
    pl_value_new_t *value = pl_op_alloc(op, sizeof *value);
    pl_answer_new_t *answer = pl_op_alloc(op, sizeof *answer);
    pl_status_t *status = pl_op_alloc(op, sizeof *status);
    journal->chunks = pl_op_alloc(op, sizeof *journal->chunks);
    *value = (pl_value_new_t){ pick_text(pick(step, 20), names, 2), PL_STR_LIT("shown") };
    *answer = (pl_answer_new_t){ 1 + pick(step, 21) % 4, PL_REPLY_OK, PL_STR_LIT("yes") };
    *status = (pl_status_t){ .message = PL_STR_LIT("half") };
    *journal->chunks = (pl_chunk_new_t){ .stream = pick_text(pick(step, 22), names, 2),
                                         .source = PL_STR_LIT("~"),
                                         .k = pick(step, 23) % 4,
                                         .value = pick(step, 24) % 8 ? PL_STR_LIT("chunk") : PL_STR_NONE };
    journal->values = value;
    journal->answers = answer;
    journal->values_len = pick(step, 25) % 3 == 0;
    journal->chunks_len = pick(step, 26) % 3 == 0;
    journal->answers_len = pick(step, 27) % 3 == 0;
    journal->status = pick(step, 28) % 8 ? NULL : status;
}

/* What the stage, which has that claim, writes. */
static void write_all(const run_t *run, const step_t *step, pl_op_t *op, pl_id_t stage, pl_journal_t *journal) {
    static const char *const keys[] = { "key-1", "key-2", "key-3", NULL };
    const known_t *own = known_of(run, stage);
    pl_entry_t *entries = pl_op_alloc(op, 3 * sizeof *entries);
    pl_fill_t *fill = pl_op_alloc(op, sizeof *fill);
    int64_t *taken = pl_op_alloc(op, sizeof *taken);
    for (int i = 0; i < 3; i++)
        entries[i] = new_entry(run, step, i);
    journal->entries = entries;
    journal->entries_len = pick(step, 30) % 3;
    if (journal->entries_len == 2 && entries[1].seq <= entries[0].seq)
        journal->entries_len = 1;
    journal->next = 8 * (step->number + 1) + 1;
    journal->children = pl_op_alloc(op, sizeof *journal->children);
    *journal->children =
        pick(step, 31) % 2 ? new_function(run, step, 3, pick(step, 32)) : new_stage(run, step, 3, pick(step, 32));
    journal->children_len = own && pick(step, 33) % 4 == 0;
    journal->starts = pl_op_alloc(op, sizeof *journal->starts);
    *journal->starts = new_stage(run, step, 4, pick(step, 34));
    journal->starts->key = pick_text(pick(step, 35), keys, 4);
    journal->starts_len = pick(step, 36) % 6 == 0;
    journal->tasks = pl_op_alloc(op, sizeof *journal->tasks);
    *journal->tasks = new_task(run, step, 3, pick(step, 37));
    journal->tasks_len = pick(step, 38) % 6 == 0;
    *fill = (pl_fill_t){ own ? own->slots[own->slots[1] ? pick(step, 39) % 2 : 0] : 0, PL_STR_LIT("early") };
    journal->fills = fill;
    journal->fills_len = own && pick(step, 40) % 6 == 0;
    *taken = 1 + pick(step, 41) % 4;
    journal->taken = taken;
    journal->taken_len = pick(step, 42) % 3 == 0;
    journal->mails = pl_op_alloc(op, sizeof *journal->mails);
    build_mail(run, step, op, 50, journal->mails);
    journal->mails_len = pick(step, 43) % 4 == 0;
    journal->cancel = pick(step, 44) % 40 ? PL_CANCEL_NONE : (pl_cancel_t)(1 + pick(step, 45) % 2);
    journal->deadline = pick(step, 46) % 20 ? 0 : pl_clock_now(&run->clock) + 1;
    write_shown(step, op, journal);
}

static void build_journal(const run_t *run, const step_t *step, pl_op_t *op) {
    held_t held = pick_function(run, step->choice[0]);
    op->u.journal = (pl_op_journal_t){ .stage = held.task, .claim = held.claim };
    write_all(run, step, op, held.task, &op->u.journal.journal);
}

static void build_suspend(const run_t *run, const step_t *step, pl_op_t *op) {
    static const char *const reasons[] = { "it waits", NULL };
    held_t held = pick_function(run, step->choice[0]);
    pl_id_t *slot = pl_op_alloc(op, sizeof *slot);
    *slot = pick_known(run, pick(step, 60))->slots[0];
    op->u.suspend = (pl_op_suspend_t){ .stage = held.task,
                                       .claim = held.claim,
                                       .due = pick(step, 61) % 2 ? PL_USEC_NEVER : later(run, pick(step, 61) << 2),
                                       .slots = slot,
                                       .slots_len = pick(step, 62) % 3 == 0,
                                       .reason = pick_text(pick(step, 63), reasons, 2),
                                       .hold = pick(step, 64) % 8 == 0 };
    op->u.suspend.wants = pick(step, 65) % 3 == 0   ? (pl_str_t){ "go", 3 }
                          : pick(step, 65) % 3 == 1 ? PL_STR_LIT("*")
                                                    : PL_STR_NONE;
    if (pick(step, 66) % 2)
        write_all(run, step, op, held.task, &op->u.suspend.journal);
}

/* Of what has been built for a claim of a function: with a journal, or held, or begun anew. */
static void end_function(const run_t *run, const step_t *step, pl_op_t *op) {
    const known_t *stage = known_of(run, op->u.outcome.stage);
    pl_journal_t *journal = pl_op_alloc(op, sizeof *journal);
    if (!stage || !(stage->flags & PL_STAGE_DURABLE))
        return;
    if (pick(step, 70) % 2) {
        write_all(run, step, op, stage->id, journal);
        op->u.outcome.journal = journal;
    }
    if (op->u.outcome.kind != PL_OUTCOME_OK || pick(step, 71) % 3)
        return;
    op->u.outcome.kind = pick(step, 72) % 2 ? PL_OUTCOME_HELD : PL_OUTCOME_CONTINUE;
    op->u.outcome.children_len = op->u.outcome.fills_len = op->u.outcome.tasks_len = 0;
    op->u.outcome.retry_message = PL_STR_LIT("why");
    op->u.outcome.args = PL_STR_LIT("next");
}

static void build_signal(const run_t *run, const step_t *step, pl_op_t *op) {
    size_t len = 1 + pick(step, 80) % 2;
    pl_mail_new_t *mails = pl_op_alloc(op, len * sizeof *mails);
    for (size_t i = 0; i < len; i++)
        build_mail(run, step, op, 81 + 7 * (int)i, &mails[i]);
    op->u.signal = (pl_op_signal_t){ mails, len };
}

static void build_flow_set(const run_t *run, const step_t *step, pl_op_t *op) {
    op->u.flow_set = (pl_op_flow_set_t){ .stage = pick_known(run, step->choice[0])->id,
                                         .hold = step->choice[1] % 2,
                                         .reason = step->choice[2] % 2 ? PL_STR_LIT("on request") : PL_STR_NONE };
}

static void build_fork(const run_t *run, const step_t *step, pl_op_t *op) {
    static const char *const keys[] = { "key-3", NULL, NULL };
    pl_stage_new_t *start = pl_op_alloc(op, sizeof *start);
    *start = new_function(run, step, 0, step->choice[0]);
    start->key = pick_text(step->choice[1], keys, 3);
    op->u.fork = (pl_op_fork_t){ .stage = pick_known(run, step->choice[2])->id,
                                 .before = 1 + step->choice[3] % (8U * (unsigned)step->number + 8),
                                 .start = start,
                                 .mails = step->choice[4] % 2 };
}

/* ---- what is learnt ---------------------------------------------------------------------------------------------- */

static void know(run_t *run, const pl_stage_new_t *stage, pl_id_t root);
static void let_go(run_t *run, pl_id_t task, int claim);

static void learn_mails(run_t *run, const pl_mail_new_t *mails, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (mails[i].start && mails[i].stage == mails[i].start->id)
            know(run, mails[i].start, mails[i].stage);
}

static void learn_journal(run_t *run, pl_id_t stage, const pl_journal_t *journal) {
    const known_t *above = known_of(run, stage);
    pl_id_t root = above ? above->root : 0;
    for (size_t i = 0; i < journal->children_len; i++)
        know(run, &journal->children[i], root);
    for (size_t i = 0; i < journal->starts_len; i++)
        know(run, &journal->starts[i], journal->starts[i].id);
    learn_mails(run, journal->mails, journal->mails_len);
}

static void learn_flow(run_t *run, const pl_op_t *op) {
    bool has_ended = op->verb == PL_VERB_suspend && !op->u.suspend.refused;
    if (op->rc == PL_OK && op->verb == PL_VERB_journal)
        learn_journal(run, op->u.journal.stage, &op->u.journal.journal);
    if (op->rc == PL_OK && has_ended)
        learn_journal(run, op->u.suspend.stage, &op->u.suspend.journal);
    if (op->verb == PL_VERB_outcome && op->u.outcome.journal && (op->rc == PL_OK || op->rc == PL_EABORTED))
        learn_journal(run, op->u.outcome.stage, op->u.outcome.journal);
    if (op->rc == PL_OK && op->verb == PL_VERB_fork)
        know(run, op->u.fork.start, op->u.fork.start->id);
    if (op->verb == PL_VERB_signal)
        learn_mails(run, op->u.signal.mails, op->u.signal.len);
    if ((op->rc == PL_OK && has_ended) || (op->rc == PL_EABORTED && op->verb == PL_VERB_suspend))
        let_go(run, op->u.suspend.stage, op->u.suspend.claim);
    if (op->rc == PL_EABORTED && op->verb == PL_VERB_journal)
        let_go(run, op->u.journal.stage, op->u.journal.claim);
}

/* What is asked for in the end. */
static void ask_of_flow(const run_t *run, const step_t *step, pl_op_t *op) {
    pl_id_t stage = pick_known(run, step->choice[3])->id;
    if (op->verb == PL_VERB_journal_get)
        op->u.journal_get = (pl_op_journal_get_t){ .stage = stage, .limit = 20, .mail_limit = 5 };
    if (op->verb == PL_VERB_shown_get)
        op->u.shown_get = (pl_op_shown_get_t){ .stage = stage,
                                               .name = PL_STR_LIT("v"),
                                               .stream = PL_STR_LIT("w"),
                                               .limit = 5,
                                               .mail = 1 + step->choice[4] % 4,
                                               .wants_forks = true,
                                               .wants_names = true };
    if (op->verb == PL_VERB_flows_list)
        op->u.flows_list = (pl_op_flows_list_t){ .limit = 20, .held = step->choice[5] % 2 };
}

#endif
