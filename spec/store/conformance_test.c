/*
 * conformance_test.c - what every store must do, verb by verb, through store.h alone. See suite.h.
 */
#include <string.h>
#include <unistd.h>

#include "store/suite.h"

/* ---- the verbs --------------------------------------------------------------------------------------------- */

static void a_leaf_runs_once(void) {
    pl_stage_new_t stage = stage_of("t.Leaf");
    CHECK(start(&stage) == PL_OK);
    pl_claim_t *mine = claim_one(stage.id);
    CHECK(mine->kind == PL_TASK_RUN && mine->fence > 0 && mine->stage && mine->stage->state == PL_STAGE_READY);
    CHECK(pl_str_eq(mine->stage->class_path, PL_STR_LIT("t.Leaf")) && pl_str_eq(mine->queue, PL_STR_LIT("default")));
    CHECK(claim(5) == NULL);
    CHECK(finish_with(mine, stage.id) == PL_OK);
    CHECK(finish_with(mine, stage.id) == PL_ESTALE);
    CHECK(state_of(stage.id) == PL_STAGE_DONE);
    free_claims(mine);
}

static void a_key_starts_once(void) {
    pl_stage_new_t stage = stage_of("t.Key"), again = stage_of("t.Other");
    stage.key = again.key = PL_STR_LIT("order-17");
    CHECK(start(&stage) == PL_OK && start(&again) == PL_EEXISTS);
    CHECK(state_of(again.id) == (pl_stage_state_t)-1);
    pl_claim_t *mine = claim_one(stage.id);
    CHECK(pl_str_eq(mine->stage->key, stage.key));
    CHECK(finish_with(mine, stage.id) == PL_OK && start(&again) == PL_EEXISTS);
    free_claims(mine);
}

static void order_is_priority_eta_id(void) {
    pl_stage_new_t stages[4] = { stage_of("t.A"), stage_of("t.B"), stage_of("t.C"), stage_of("t.D") };
    stages[2].priority = 7;
    stages[1].eta = pl_clock_now(&clock_) - 50; /* earlier than now: before the others of its priority */
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ stages, 4 };
    CHECK(call_free(op) == PL_OK);
    const pl_id_t expected[4] = { stages[2].id, stages[1].id, stages[0].id, stages[3].id };
    for (int i = 0; i < 4; i++) {
        pl_claim_t *mine = claim_one(expected[i]);
        CHECK(finish_with(mine, mine->task) == PL_OK);
        free_claims(mine);
    }
}

static void fan_in_starts_when_all_are_filled(void) {
    pl_stage_new_t root = stage_of("t.Root"), children[3] = { stage_of("t.A"), stage_of("t.B"), stage_of("t.Sum") };
    pl_id_t inputs[2] = { children[0].id, children[1].id };
    pl_output_t output = { PL_STR_LIT("default"), root.id };
    children[2].inputs = inputs;
    children[2].inputs_len = 2;
    children[2].outputs = &output;
    children[2].outputs_len = 1;
    CHECK(start(&root) == PL_OK);
    pl_claim_t *mine = claim_one(root.id);
    pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = 3;
    CHECK(call_free(op) == PL_OK);
    free_claims(mine);
    CHECK(state_of(root.id) == PL_STAGE_RUN && state_of(children[2].id) == PL_STAGE_WAITING);
    pl_claim_t *both = claim(10);
    CHECK(both && both->next && !both->next->next);
    CHECK(finish_with(both, both->task) == PL_OK && state_of(children[2].id) == PL_STAGE_WAITING);
    CHECK(finish_with(both->next, both->next->task) == PL_OK && state_of(children[2].id) == PL_STAGE_READY);
    free_claims(both);
    mine = claim_one(children[2].id);
    CHECK(mine->slots_len == 2 && mine->slots[0].filled && pl_str_eq(mine->slots[1].value, PL_STR_LIT("\x07")));
    CHECK(mine->slots[0].filler == children[0].id && pl_slots_find(mine->slots, 2, 12345) == NULL);
    CHECK(finish_with(mine, root.id) == PL_OK);
    CHECK(state_of(root.id) == PL_STAGE_DONE && state_of(children[2].id) == PL_STAGE_DONE);
    free_claims(mine);
}

static bool is_live(pl_id_t task, int claim_number) {
    pl_op_t *op = pl_op_new(PL_VERB_claim_check);
    op->u.claim_check.task = task;
    op->u.claim_check.claim = claim_number;
    call(op);
    bool live = op->u.claim_check.is_live;
    CHECK(op->rc == PL_OK);
    pl_op_free(op);
    return live;
}

static void a_failed_run_leaves_nothing_but_a_failure(void) {
    pl_stage_new_t root = stage_of("t.Root"), child = stage_of("t.Child");
    pl_fill_t fill = { root.id, PL_STR_LIT("\x01") };
    CHECK(start(&root) == PL_OK);
    pl_claim_t *mine = claim_one(root.id);
    pl_op_t *op = outcome(mine, PL_OUTCOME_FAILED);
    op->u.outcome.children = &child;
    op->u.outcome.children_len = 1;
    op->u.outcome.fills = &fill;
    op->u.outcome.fills_len = 1;
    op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("Error"), .message = PL_STR_LIT("no") };
    op->u.outcome.retry_at = pl_clock_now(&clock_) + 15 * PL_USEC_PER_SEC;
    op->u.outcome.retry_message = PL_STR_LIT("Error: no");
    CHECK(call_free(op) == PL_OK);
    int first = mine->fence;
    free_claims(mine);
    CHECK(!is_live(root.id, first));
    CHECK(state_of(child.id) == (pl_stage_state_t)-1 && state_of(root.id) == PL_STAGE_READY && claim(5) == NULL);
    op = pl_op_new(PL_VERB_failures_get);
    op->u.failures_get.stage = root.id;
    call(op);
    CHECK(op->u.failures_get.len == 1 && pl_str_eq(op->u.failures_get.failures[0].message, PL_STR_LIT("no")));
    pl_op_free(op);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 15 * PL_USEC_PER_SEC);
    mine = claim_one(root.id);
    CHECK(mine->fence > first && mine->stage->attempt == 1 && mine->slots_len == 0);
    CHECK(is_live(root.id, mine->fence) && !is_live(root.id, first) && !is_live(root.id, mine->fence + 1));
    CHECK(!is_live(child.id, first));
    CHECK(finish_with(mine, root.id) == PL_OK);
    free_claims(mine);
}

static int abort_tree(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = stage, .message = PL_STR_LIT("enough") };
    return call_free(op);
}

static void an_abort_reaches_every_state(void) {
    pl_stage_new_t root = stage_of("t.Root"),
                   children[4] = { stage_of("t.Run"), stage_of("t.Ready"), stage_of("t.Waits"), stage_of("t.Async") };
    children[2].inputs = &children[0].id;
    children[2].inputs_len = 1;
    children[2].flags = PL_STAGE_HAS_FINALIZED;
    children[3].flags = PL_STAGE_ASYNC;
    children[3].priority = 2;
    children[0].priority = 1;
    CHECK(start(&root) == PL_OK);
    pl_claim_t *mine = claim_one(root.id);
    pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = 4;
    CHECK(call_free(op) == PL_OK);
    free_claims(mine);
    mine = claim_one(children[3].id);
    CHECK(call_free(outcome(mine, PL_OUTCOME_OK)) == PL_OK && state_of(children[3].id) == PL_STAGE_RUN);
    free_claims(mine);
    mine = claim_one(children[0].id); /* is being executed while the abort comes */
    CHECK(abort_tree(children[1].id) == PL_OK && abort_tree(root.id) == PL_EFINAL);
    CHECK(state_of(root.id) == PL_STAGE_ABORTED && state_of(children[1].id) == PL_STAGE_ABORTED);
    CHECK(state_of(children[0].id) == PL_STAGE_ABORTING && state_of(children[2].id) == PL_STAGE_ABORTING);
    CHECK(state_of(children[3].id) == PL_STAGE_ABORT_HELD);
    CHECK(finish_with(mine, mine->task) == PL_EABORTED && state_of(children[0].id) == PL_STAGE_ABORTED);
    free_claims(mine);
    mine = claim_one(children[2].id);
    CHECK(mine->kind == PL_TASK_ABORT);
    op = pl_op_new(PL_VERB_finalized);
    op->u.finalized = (pl_op_finalized_t){ .stage = mine->task, .claim = mine->fence };
    CHECK(call_free(op) == PL_OK && state_of(children[2].id) == PL_STAGE_ABORTED);
    free_claims(mine);
    op = pl_op_new(PL_VERB_fill);
    pl_fill_t fill = { children[3].id, PL_STR_LIT("\x01") };
    op->u.fill = (pl_op_fill_t){ .stage = children[3].id, .fills = &fill, .fills_len = 1 };
    CHECK(call_free(op) == PL_EABORTED && state_of(children[3].id) == PL_STAGE_ABORTED);
}

static int resume_tree(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_resume);
    op->u.resume.stage = stage;
    return call_free(op);
}

static void an_aborted_tree_goes_on_from_where_it_failed(void) {
    pl_stage_new_t root = stage_of("t.Root"),
                   children[3] = { stage_of("t.Done"), stage_of("t.Fails"), stage_of("t.Sum") };
    pl_id_t inputs[2] = { children[0].id, children[1].id };
    children[0].priority = 1;
    children[2].inputs = inputs;
    children[2].inputs_len = 2;
    CHECK(resume_tree(root.id) == PL_ENOTFOUND && start(&root) == PL_OK && resume_tree(root.id) == PL_ESTATE);
    pl_claim_t *mine = claim_one(root.id);
    pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = 3;
    CHECK(call_free(op) == PL_OK);
    free_claims(mine);
    mine = claim_one(children[0].id);
    CHECK(finish_with(mine, mine->task) == PL_OK);
    free_claims(mine);
    mine = claim_one(children[1].id);
    int first = mine->fence;
    CHECK(abort_tree(root.id) == PL_OK && state_of(root.id) == PL_STAGE_ABORTED);
    CHECK(resume_tree(root.id) == PL_ELIVE && finish_with(mine, mine->task) == PL_EABORTED);
    CHECK(resume_tree(children[2].id) == PL_OK && resume_tree(root.id) == PL_ESTATE);
    CHECK(state_of(root.id) == PL_STAGE_RUN && state_of(children[0].id) == PL_STAGE_DONE);
    CHECK(state_of(children[1].id) == PL_STAGE_READY && state_of(children[2].id) == PL_STAGE_WAITING);
    CHECK(finish_with(mine, mine->task) == PL_ESTALE);
    free_claims(mine);
    mine = claim_one(children[1].id);
    CHECK(mine->fence > first && finish_with(mine, mine->task) == PL_OK);
    free_claims(mine);
    mine = claim_one(children[2].id);
    CHECK(mine->slots_len == 2 && finish_with(mine, mine->task) == PL_OK && state_of(root.id) == PL_STAGE_DONE);
    free_claims(mine);
    CHECK(resume_tree(root.id) == PL_ESTATE);
}

/* Whether an op knows the tree of its stage or not; and what the ids in a tree must be. */
static void ops_may_know_their_tree(void) {
    for (int knows = 0; knows < 2; knows++) {
        pl_stage_new_t root = stage_of("t.Root"), child = stage_of("t.Child"), earlier = child;
        root.flags = PL_STAGE_HAS_FINALIZED;
        CHECK(start(&root) == PL_OK);
        earlier.id = root.id;
        child.id = new_id();
        pl_claim_t *mine = claim_one(root.id);
        pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
        op->u.outcome.root = knows ? root.id : 0;
        op->u.outcome.children = &earlier;
        op->u.outcome.children_len = 1;
        CHECK(call(op)->rc == PL_EINVAL && strstr(op->error.message, "greater than that of its parent"));
        earlier.id = child.id;
        op->rc = PL_OK;
        CHECK(call_free(op) == PL_OK && state_of(child.id) == PL_STAGE_READY);
        free_claims(mine);
        op = pl_op_new(PL_VERB_abort);
        op->u.abort = (pl_op_abort_t){ .stage = child.id, .root = knows ? root.id : 0 };
        CHECK(call_free(op) == PL_OK && state_of(child.id) == PL_STAGE_ABORTED);
        mine = claim_one(root.id);
        op = pl_op_new(PL_VERB_finalized);
        op->u.finalized = (pl_op_finalized_t){
            .stage = root.id, .root = knows ? root.id : 0, .claim = mine->fence, .kind = PL_FINALIZED_OK
        };
        CHECK(call_free(op) == PL_OK && state_of(root.id) == PL_STAGE_ABORTED);
        free_claims(mine);
    }
}

static void a_tree_is_deleted_whole(void) {
    pl_stage_new_t root = stage_of("t.Root"), children[2] = { stage_of("t.A"), stage_of("t.B") };
    CHECK(start(&root) == PL_OK);
    pl_claim_t *mine = claim_one(root.id);
    pl_fill_t fill = { root.id, PL_STR_LIT("\x01") };
    pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = 2;
    op->u.outcome.fills = &fill;
    op->u.outcome.fills_len = 1;
    CHECK(call_free(op) == PL_OK);
    free_claims(mine);
    mine = claim(2);
    CHECK(mine && mine->next && finish_with(mine, mine->task) == PL_OK);
    op = pl_op_new(PL_VERB_cleanup);
    op->u.cleanup.root = root.id;
    CHECK(call_free(op) == PL_ELIVE && finish_with(mine->next, mine->next->task) == PL_OK);
    free_claims(mine);
    op = pl_op_new(PL_VERB_cleanup);
    op->u.cleanup.root = root.id;
    CHECK(call(op)->rc == PL_OK && op->u.cleanup.deleted == 6); /* three stages, three slots */
    pl_op_free(op);
}

static void an_async_stage_ends_with_its_fills(void) {
    pl_stage_new_t stage = stage_of("t.Async");
    pl_output_t outputs[2] = { { PL_STR_LIT("default"), stage.id }, { PL_STR_LIT("more"), new_id() } };
    stage.flags = PL_STAGE_ASYNC | PL_STAGE_HAS_FINALIZED;
    stage.outputs = outputs;
    stage.outputs_len = 2;
    CHECK(start(&stage) == PL_OK);
    pl_claim_t *mine = claim_one(stage.id);
    CHECK(mine->stage->outputs_len == 2 && mine->stage->outputs[1].slot == outputs[1].slot);
    CHECK(call_free(outcome(mine, PL_OUTCOME_OK)) == PL_OK && state_of(stage.id) == PL_STAGE_RUN);
    free_claims(mine);
    for (int i = 0; i < 2; i++) {
        pl_fill_t fill = { outputs[i].slot, PL_STR_LIT("\x01") };
        pl_op_t *op = pl_op_new(PL_VERB_fill);
        op->u.fill = (pl_op_fill_t){ .stage = stage.id, .root = i * stage.id, .fills = &fill, .fills_len = 1 };
        CHECK(call_free(op) == PL_OK);
        CHECK(state_of(stage.id) == (i == 0 ? PL_STAGE_RUN : PL_STAGE_FINALIZING));
    }
    mine = claim_one(stage.id);
    CHECK(mine->kind == PL_TASK_FINALIZE && mine->slots_len == 2);
    pl_op_t *op = pl_op_new(PL_VERB_finalized);
    op->u.finalized = (pl_op_finalized_t){ .stage = mine->task, .claim = mine->fence };
    CHECK(call_free(op) == PL_OK && state_of(stage.id) == PL_STAGE_DONE);
    free_claims(mine);
    op = pl_op_new(PL_VERB_cleanup);
    op->u.cleanup.root = stage.id;
    CHECK(call(op)->rc == PL_OK && op->u.cleanup.deleted == 3);
    pl_op_free(op);
    CHECK(state_of(stage.id) == (pl_stage_state_t)-1);
}

static int add_named(pl_id_t stage, const char *name) {
    pl_task_new_t task = { .id = new_id(), .kind = PL_TASK_CALLBACK, .stage = stage, .name = pl_str(name) };
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ &task, 1, false };
    return call_free(op) == PL_OK ? task.rc : PL_EOTHER;
}

static void a_name_is_taken_for_a_while(void) {
    pl_stage_new_t stage = stage_of("t.Async");
    stage.flags = PL_STAGE_ASYNC;
    CHECK(start(&stage) == PL_OK);
    pl_claim_t *mine = claim_one(stage.id);
    CHECK(call_free(outcome(mine, PL_OUTCOME_OK)) == PL_OK);
    free_claims(mine);
    CHECK(add_named(stage.id, "once") == PL_OK && add_named(stage.id, "once") == PL_EEXISTS);
    mine = claim(1);
    CHECK(mine && mine->kind == PL_TASK_CALLBACK && pl_str_eq(mine->name, PL_STR_LIT("once")));
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    op->u.task_done = (pl_op_task_done_t){ .task = mine->task, .claim = mine->fence };
    CHECK(call_free(op) == PL_OK && add_named(stage.id, "once") == PL_ETOMBSTONE);
    free_claims(mine);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 3601 * PL_USEC_PER_SEC);
    CHECK(add_named(stage.id, "once") == PL_OK);
    free_claims(claim(1));
}

static void released_tasks_come_again(void) {
    pl_stage_new_t stage = stage_of("t.Leaf");
    CHECK(start(&stage) == PL_OK);
    pl_claim_t *mine = claim_one(stage.id);
    pl_op_t *op = pl_op_new(PL_VERB_release);
    op->u.release = (pl_op_release_t){ &mine->task, &mine->fence, 1, 0 };
    CHECK(call_free(op) == PL_OK);
    CHECK(finish_with(mine, stage.id) == PL_ESTALE);
    pl_claim_t *again = claim_one(stage.id);
    CHECK(again->fence > mine->fence && again->tries == 0 && again->stage->attempt == 0);
    CHECK(finish_with(mine, stage.id) == PL_ESTALE && finish_with(again, stage.id) == PL_OK);
    free_claims(mine);
    free_claims(again);
}

static void one_bad_op_takes_nobody_with_it(void) {
    pl_stage_new_t good = stage_of("t.Good"), twin = good; /* the same id twice: a rule of the schema */
    pl_op_t *first = pl_op_new(PL_VERB_start), *second = pl_op_new(PL_VERB_start);
    pl_batch_t batch;
    int done = 0;
    first->u.start = (pl_op_start_t){ &good, 1 };
    second->u.start = (pl_op_start_t){ &twin, 1 };
    first->owner = &good;
    second->owner = &twin;
    first->next = second;
    second->next = NULL;
    pl_store_submit_list(store, first, 0);
    while (done < 2) {
        if (!pl_store_collect(store, &batch)) {
            usleep(200);
            continue;
        }
        for (pl_op_t *op = batch.ops; op; op = op->next, done++)
            CHECK(op->owner == &good ? op->rc == PL_OK : op->rc == PL_ECONSTRAINT && op->error.message[0]);
        pl_batch_free(&batch);
    }
    pl_claim_t *mine = claim_one(good.id);
    CHECK(finish_with(mine, good.id) == PL_OK);
    free_claims(mine);
}

static void watched_stages_are_reported(void) {
    pl_stage_new_t stage = stage_of("t.Leaf");
    pl_batch_t batch;
    bool reported = false;
    CHECK(start(&stage) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_watch);
    op->u.watch.stage = stage.id;
    CHECK(call(op)->rc == PL_OK && op->u.watch.state == PL_STAGE_READY);
    pl_op_free(op);
    pl_claim_t *mine = claim_one(stage.id);
    CHECK(finish_with(mine, stage.id) == PL_OK);
    free_claims(mine);
    while (pl_store_collect(store, &batch)) {
        for (const pl_watch_event_t *final = batch.finals; final; final = final->next)
            reported = reported || (final->stage == stage.id && final->state == PL_STAGE_DONE);
        pl_batch_free(&batch);
    }
    CHECK(reported);
}

static void roots_are_listed_newest_first(void) {
    pl_op_t *op = pl_op_new(PL_VERB_roots_list);
    op->u.roots_list.limit = 2;
    call(op);
    CHECK(op->u.roots_list.len == 2 && op->u.roots_list.stages[0].id > op->u.roots_list.stages[1].id);
    pl_id_t next = op->u.roots_list.next, last = op->u.roots_list.stages[1].id;
    CHECK(next == last);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_roots_list);
    op->u.roots_list = (pl_op_roots_list_t){ .class_path = PL_STR_LIT("t.Leaf"), .before = next, .limit = 50 };
    call(op);
    for (size_t i = 0; i < op->u.roots_list.len; i++)
        CHECK(op->u.roots_list.stages[i].id < last &&
              pl_str_eq(op->u.roots_list.stages[i].class_path, PL_STR_LIT("t.Leaf")));
    CHECK(op->u.roots_list.len > 0 && op->u.roots_list.next == 0);
    pl_op_free(op);
}

static pl_op_t *find_roots(pl_roots_filter_t filter, pl_id_t before, int limit) {
    pl_op_t *op = pl_op_new(PL_VERB_roots_find);
    op->u.roots_find = (pl_op_roots_find_t){ .filter = filter, .before = before, .limit = limit };
    return call(op);
}

static void roots_are_found_with_filters(void) {
    pl_op_t *op = find_roots((pl_roots_filter_t){ .class_path = PL_STR_LIT("t.Leaf") }, 0, 2);
    pl_op_roots_find_t *find = &op->u.roots_find;
    CHECK(find->len == 2 && find->stages[0].id > find->stages[1].id && find->next == find->stages[1].id);
    CHECK(find->stages[0].tally && find->stages[0].tally->stages == 0);
    pl_id_t next = find->next;
    pl_op_free(op);
    op = find_roots((pl_roots_filter_t){ .words = 1U << PL_WORD_DONE, .text = PL_STR_LIT("T.LEAF") }, next, 100);
    find = &op->u.roots_find;
    CHECK(find->len > 0 && find->next == 0);
    for (size_t i = 0; i < find->len; i++)
        CHECK(find->stages[i].state == PL_STAGE_DONE && find->stages[i].id < next);
    pl_op_free(op);
    op = find_roots((pl_roots_filter_t){ .words = 1U << PL_WORD_ABORTED }, 0, 1000);
    size_t aborted = op->u.roots_find.len;
    pl_op_free(op);
    op = pl_op_new(PL_VERB_roots_find);
    op->u.roots_find = (pl_op_roots_find_t){ .limit = 1, .counts = true };
    call(op);
    CHECK(op->u.roots_find.by_word[PL_WORD_ABORTED] == (int64_t)aborted && !op->u.roots_find.is_more);
    pl_op_free(op);
    op = find_roots((pl_roots_filter_t){ .class_path = PL_STR_LIT("t.Nobody") }, 0, 10);
    CHECK(op->rc == PL_OK && op->u.roots_find.len == 0 && op->u.roots_find.next == 0);
    pl_op_free(op);
}

static pl_op_t *why(pl_id_t id) {
    pl_op_t *op = pl_op_new(PL_VERB_why_get);
    op->u.why_get.id = id;
    return call(op);
}

static void a_task_tells_why_it_does_not_start(void) {
    pl_stage_new_t stage = stage_of("t.Why");
    stage.eta = pl_clock_add(pl_clock_now(&clock_), 3600 * PL_USEC_PER_SEC);
    CHECK(start(&stage) == PL_OK);
    pl_op_t *op = why(stage.id);
    const pl_op_why_get_t *get = &op->u.why_get;
    CHECK(op->rc == PL_OK && get->stage && get->has_task && get->task.state == PL_SEEN_DELAYED);
    CHECK(get->reasons_len >= 1 && get->reasons[0] == PL_START_ETA);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_tasks_find);
    op->u.tasks_find = (pl_op_tasks_find_t){ .states = 1U << PL_SEEN_DELAYED, .text = PL_STR_LIT("t.why"), .limit = 5 };
    call(op);
    CHECK(op->u.tasks_find.len == 1 && op->u.tasks_find.tasks[0].stage == stage.id && !op->u.tasks_find.is_more);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_ids_find);
    op->u.ids_find = (pl_op_ids_find_t){ .from = stage.id, .to = stage.id, .limit = 2 };
    call(op);
    CHECK(op->u.ids_find.roots_len == 1 && op->u.ids_find.stages_len == 1 && op->u.ids_find.roots[0] == stage.id);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_abort);
    op->u.abort.stage = stage.id;
    CHECK(call_free(op) == PL_OK && state_of(stage.id) == PL_STAGE_ABORTED);
    op = why(stage.id);
    CHECK(op->rc == PL_OK && op->u.why_get.reasons_len == 0);
    pl_op_free(op);
    op = why(1);
    CHECK(op->rc == PL_ENOTFOUND);
    pl_op_free(op);
}

static void a_queue_and_its_worker_are_shown(void) {
    pl_op_t *op = pl_op_new(PL_VERB_queues_seen);
    op->u.queues_seen.name = PL_STR_LIT("default");
    call(op);
    CHECK(op->u.queues_seen.len == 1 && op->u.queues_seen.queues[0].is.rate < 0);
    pl_op_free(op);
    op = call(pl_op_new(PL_VERB_workers_get));
    CHECK(op->u.workers_get.len == 1 && op->u.workers_get.workers[0].id == worker);
    CHECK(!op->u.workers_get.workers[0].is_gone);
    pl_op_free(op);
}

/* The stages of a page, by id, into `found`; their number. */
static int page_of(pl_op_tree_page_t get, pl_id_t *found, pl_op_tree_page_t *result) {
    int n = 0;
    pl_op_t *op = pl_op_new(PL_VERB_tree_page);
    op->u.tree_page = get;
    call(op);
    for (const pl_chunk_t *chunk = op->u.tree_page.chunks; chunk; chunk = chunk->next)
        for (size_t i = 0; i < chunk->len; i++) {
            const pl_stage_t *stage = &chunk->stages[i];
            CHECK(pl_slots_find(chunk->slots, chunk->slots_len, stage->id) && stage->args.len == 1);
            CHECK(get.counts ? stage->children == (stage->id == found[0] || n == 0 ? 2 : 0) : stage->children < 0);
            found[n++] = stage->id;
        }
    CHECK(op->u.tree_page.len == (size_t)n);
    *result = op->u.tree_page;
    CHECK(!get.key.ptr || pl_str_eq(result->root_key, get.key));
    result->chunks = NULL; /* goes with the op, as the key does */
    result->root_key = PL_STR_NONE;
    if (op->rc != PL_OK)
        n = op->rc;
    pl_op_free(op);
    return n;
}

/* root: a, b; a: c, d */
static void trees_are_read_in_pages(void) {
    pl_stage_new_t root = stage_of("t.Root"), other = stage_of("t.Other");
    pl_stage_new_t above[2] = { stage_of("t.A"), stage_of("t.B") }, below[2] = { stage_of("t.C"), stage_of("t.D") };
    pl_stage_new_t *of[2] = { above, below };
    root.key = PL_STR_LIT("pages");
    CHECK(start(&root) == PL_OK);
    for (int i = 0; i < 2; i++) {
        pl_claim_t *mine = claim_one(i == 0 ? root.id : above[0].id);
        pl_op_t *op = outcome(mine, PL_OUTCOME_OK);
        op->u.outcome.children = of[i];
        op->u.outcome.children_len = 2;
        CHECK(call_free(op) == PL_OK);
        free_claims(mine);
    }
    CHECK(start(&other) == PL_OK);
    pl_id_t found[8] = { 0 };
    pl_op_tree_page_t got;
    CHECK(page_of((pl_op_tree_page_t){ .key = root.key, .depth = -1, .limit = 9 }, found, &got) == 5 && got.next == 0);
    CHECK(got.root == root.id && found[0] == root.id && found[4] == below[1].id);
    pl_op_tree_page_t get = { .stage = below[0].id, .depth = 1, .limit = 2 };
    CHECK(page_of(get, found, &got) == 2 && found[1] == above[0].id && got.next == above[0].id);
    get.after = got.next;
    CHECK(page_of(get, found, &got) == 1 && found[0] == above[1].id && got.next == 0);
    get = (pl_op_tree_page_t){ .stage = root.id, .top = above[0].id, .depth = -1, .limit = 9, .counts = true };
    found[0] = 0;
    CHECK(page_of(get, found, &got) == 3 && found[0] == above[0].id && found[2] == below[1].id && got.next == 0);
    get.depth = 0;
    CHECK(page_of(get, found, &got) == 1 && found[0] == above[0].id);
    get.top = other.id;
    CHECK(page_of(get, found, &got) == PL_ENOTFOUND);
    CHECK(page_of((pl_op_tree_page_t){ .stage = 12345, .limit = 1 }, found, &got) == 0 && got.root == 0);
    pl_claim_t *rest = claim(9);
    for (const pl_claim_t *mine = rest; mine; mine = mine->next)
        CHECK(finish_with(mine, mine->task) == PL_OK);
    free_claims(rest);
}

/* ---- queues ------------------------------------------------------------------------------------------------ */

static pl_queue_settings_t queue_of(const char *name) {
    return (pl_queue_settings_t){ .name = pl_str(name), .rate = -1, .bucket_size = -1, .retry = PL_RETRY_NONE };
}

static int set_queue(pl_queue_settings_t settings, bool patch) {
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ &settings, 1, patch };
    int rc = call_free(op);
    return rc == PL_OK ? settings.rc : rc;
}

static pl_task_new_t task_of(pl_task_kind_t kind, const char *queue) {
    return (pl_task_new_t){
        .id = new_id(), .kind = kind, .queue = pl_str(queue), .payload = PL_STR_LIT("p"), .retry = PL_RETRY_NONE
    };
}

static int add(pl_task_new_t *task) {
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ task, 1, false };
    int rc = call_free(op);
    return rc == PL_OK ? task->rc : rc;
}

static pl_op_t *done_op(const pl_claim_t *of, bool failed) {
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    op->u.task_done = (pl_op_task_done_t){ .task = of->task, .claim = of->fence, .failed = failed };
    op->u.task_done.failure = (pl_failure_t){ .error_class = PL_STR_LIT("Error"), .message = PL_STR_LIT("broken") };
    return op;
}

static int count_claims(int wanted, bool finish) {
    pl_claim_t *claims = claim(wanted);
    int n = 0;
    for (const pl_claim_t *one = claims; one; one = one->next, n++)
        if (finish)
            CHECK(call_free(done_op(one, false)) == PL_OK);
    free_claims(claims);
    return n;
}

static pl_queue_stats_t stats_of(const char *queue) {
    pl_queue_stats_t stats = { .queue = pl_str(queue) };
    pl_op_t *op = pl_op_new(PL_VERB_queue_stats);
    op->u.queue_stats = (pl_op_queue_stats_t){ &stats, 1 };
    CHECK(call_free(op) == PL_OK);
    return stats;
}

static void queued_tasks_need_a_queue_of_their_mode(void) {
    pl_task_new_t push = task_of(PL_TASK_PUSH, "nowhere"), pull = task_of(PL_TASK_PULL, "default");
    CHECK(add(&push) == PL_ENOQUEUE && add(&pull) == PL_EMODE);
    pl_queue_settings_t settings = queue_of("pull");
    settings.pull = true;
    CHECK(set_queue(settings, false) == PL_OK);
    pull.queue = push.queue = PL_STR_LIT("pull");
    CHECK(add(&pull) == PL_OK && add(&push) == PL_EMODE);
    CHECK(set_queue(queue_of("pull"), false) == PL_ESTATE); /* it has a task */
    pl_op_t *op = pl_op_new(PL_VERB_queue_get);
    op->u.queue_get.name = PL_STR_LIT("pull");
    CHECK(call(op)->rc == PL_OK && op->u.queue_get.len == 1 && op->u.queue_get.queues[0].pull);
    CHECK(op->u.queue_get.queues[0].rate < 0 && op->u.queue_get.queues[0].retry.limit < 0);
    pl_op_free(op);
    settings = queue_of("pull");
    settings.removed = true;
    CHECK(set_queue(settings, false) == PL_OK && add(&pull) == PL_ENOQUEUE);
    CHECK(!stats_of("pull").known && stats_of("default").known);
}

static void a_refused_task_makes_no_queue(void) {
    pl_task_new_t tasks[2] = { task_of(PL_TASK_CALLBACK, "fresh"), task_of(PL_TASK_PUSH, "nowhere") };
    tasks[0].name = PL_STR_LIT("first");
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ tasks, 2, true };
    CHECK(call_free(op) == PL_ENOQUEUE && !stats_of("fresh").known);
}

static void the_name_of_a_task_is_taken_at_once(void) {
    pl_task_new_t tasks[2] = { task_of(PL_TASK_PUSH, "default"), task_of(PL_TASK_PUSH, "default") };
    tasks[1].name = PL_STR_LIT("task-of-the-first");
    tasks[1].name_id = tasks[0].id;
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ tasks, 2, false };
    CHECK(call_free(op) == PL_OK && tasks[0].rc == PL_OK && tasks[1].rc == PL_EEXISTS);
    CHECK(count_claims(5, true) == 1);
}

static void a_push_task_keeps_what_it_was_given(void) {
    char large[5000];
    int64_t before = stats_of("default").tasks;
    memset(large, 'x', sizeof large);
    pl_task_new_t task = task_of(PL_TASK_PUSH, "default");
    task.payload = (pl_str_t){ large, sizeof large };
    task.request = PL_STR_LIT("POST /");
    task.deadline = 20;
    CHECK(add(&task) == PL_OK);
    for (int i = 0; i < 2; i++) { /* born claimed, and claimed from the row */
        pl_claim_t *mine = claim_one(task.id);
        CHECK(mine->kind == PL_TASK_PUSH && !mine->stage && pl_str_eq(mine->payload, task.payload));
        CHECK(pl_str_eq(mine->request, task.request) && mine->deadline == 20);
        CHECK(mine->tries == i && mine->executions == i && mine->status == (i ? 503 : 0));
        pl_op_t *op = done_op(mine, i == 0);
        op->u.task_done.status = 503;
        CHECK(call(op)->rc == PL_OK && !op->u.task_done.died);
        pl_op_free(op);
        free_claims(mine);
        advance(0.1);
    }
    CHECK(stats_of("default").tasks == before);
}

/* More tasks than fit in one statement are added, claimed and ended together. */
static void many_end_together(void) {
    enum { TASKS = 50 };
    pl_task_new_t tasks[TASKS];
    pl_end_t ends[TASKS];
    int64_t before = stats_of("default").tasks;
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = task_of(i % 3 ? PL_TASK_DEFERRED : PL_TASK_PUSH, "default");
        tasks[i].payload = PL_STR_LIT("small");
        tasks[i].request = i % 3 ? PL_STR_NONE : PL_STR_LIT("POST /");
        tasks[i].deadline = i % 7 ? 0 : 20; /* not written with others */
    }
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ tasks, TASKS, true };
    CHECK(call_free(op) == PL_OK && stats_of("default").tasks == before + TASKS);
    pl_claim_t *claims = claim(TASKS), *one = claims;
    for (int i = 0; i < TASKS; i++, one = one->next) {
        CHECK(one && one->task == tasks[i].id && one->kind == tasks[i].kind && one->deadline == tasks[i].deadline);
        CHECK(one->fence == claims->fence && one->is_plain && pl_str_eq(one->payload, tasks[i].payload));
        CHECK(pl_str_eq(one->request, tasks[i].request));
        ends[i] = (pl_end_t){ .task = one->task, .claim = one->fence, .has_detail = one->has_detail };
    }
    CHECK(one == NULL);
    ends[3].claim++; /* somebody else's by now */
    op = pl_op_new(PL_VERB_tasks_done);
    op->u.tasks_done = (pl_op_tasks_done_t){ .ends = ends, .len = TASKS };
    CHECK(call(op)->rc == PL_ESTALE && op->u.tasks_done.refused == 1);
    CHECK(ends[3].refused && !ends[2].refused && !ends[4].refused);
    CHECK(stats_of("default").tasks == before + 1);
    ends[3].claim--;
    CHECK(call(op)->rc == PL_ESTALE && op->u.tasks_done.refused == TASKS - 1 && !ends[3].refused);
    CHECK(stats_of("default").tasks == before);
    pl_op_free(op);
    free_claims(claims);
}

/* Outcomes of leaves that come together are each accepted or refused by their own claims. */
static void leaves_end_together(void) {
    enum { LEAVES = 70, LOST = 41 };
    pl_stage_new_t stages[LEAVES];
    pl_fill_t fills[LEAVES];
    pl_op_t *first = NULL, **tail = &first, *op = pl_op_new(PL_VERB_start);
    pl_batch_t batch;
    int done = 0, refused = 0;
    for (int i = 0; i < LEAVES; i++)
        stages[i] = stage_of("t.Leaf");
    op->u.start = (pl_op_start_t){ stages, LEAVES };
    CHECK(call_free(op) == PL_OK);
    pl_claim_t *claims = claim(LEAVES), *one = claims, *lost = NULL;
    for (int i = 0; one; i++, one = one->next) {
        CHECK(one->task == stages[i].id);
        fills[i] = (pl_fill_t){ one->task, PL_STR_LIT("\x07") };
        *tail = op = outcome(one, PL_OUTCOME_OK);
        tail = &op->next;
        op->u.outcome.knows_parent = true;
        op->u.outcome.fills = &fills[i];
        op->u.outcome.fills_len = 1;
        op->u.outcome.claim += i == LOST; /* somebody else's by now */
        lost = i == LOST ? one : lost;
    }
    pl_store_submit_list(store, first, 0);
    while (done < LEAVES) {
        if (!pl_store_collect(store, &batch)) {
            usleep(200);
            continue;
        }
        for (op = batch.ops; op; op = op->next, done++) {
            CHECK(op->rc == (op->u.outcome.stage == lost->task ? PL_ESTALE : PL_OK));
            refused += op->rc != PL_OK;
        }
        pl_batch_free(&batch);
    }
    CHECK(refused == 1 && state_of(lost->task) == PL_STAGE_READY && state_of(stages[LOST + 1].id) == PL_STAGE_DONE);
    CHECK(finish_with(lost, lost->task) == PL_OK && state_of(stages[LEAVES - 1].id) == PL_STAGE_DONE);
    free_claims(claims);
}

static void a_bucket_of_tokens_bounds_starts(void) {
    pl_queue_settings_t settings = queue_of("rated");
    settings.rate = 2;
    settings.bucket_size = 3;
    CHECK(set_queue(settings, false) == PL_OK);
    for (int i = 0; i < 8; i++) {
        pl_task_new_t task = task_of(PL_TASK_DEFERRED, "rated");
        CHECK(add(&task) == PL_OK);
    }
    CHECK(count_claims(100, true) == 3 && count_claims(100, true) == 0);
    advance(0.4);
    CHECK(count_claims(100, true) == 0);
    advance(0.1);
    CHECK(count_claims(100, true) == 1 && count_claims(100, true) == 0);
    advance(1000);
    CHECK(count_claims(2, true) == 2 && count_claims(100, true) == 1); /* no more than the bucket holds */
    pl_queue_stats_t stats = stats_of("rated");
    CHECK(stats.tasks == 1 && stats.executed_last_minute == 3 && stats.enforced_rate == 2 && stats.in_flight == 0);
    settings = queue_of("rated");
    CHECK(set_queue(settings, false) == PL_OK && count_claims(100, true) == 1);
}

static void the_next_token_is_told(void) {
    pl_queue_settings_t settings = queue_of("slow");
    pl_batch_t batch;
    pl_usec_t next = 0, now = pl_clock_now(&clock_);
    settings.rate = 0.1;
    settings.bucket_size = 1;
    CHECK(set_queue(settings, false) == PL_OK);
    for (int i = 0; i < 2; i++) {
        pl_task_new_t task = task_of(PL_TASK_PUSH, "slow");
        CHECK(add(&task) == PL_OK);
    }
    pl_store_want(store, 5);
    pl_store_wake(store, true);
    for (int i = 0; i < 2000 && next == 0; i++) {
        usleep(500);
        if (!pl_store_collect(store, &batch))
            continue;
        if (batch.claims)
            next = batch.next_token;
        for (const pl_claim_t *one = batch.claims; one; one = one->next)
            CHECK(call_free(done_op(one, false)) == PL_OK);
        pl_batch_free(&batch);
    }
    pl_store_want(store, 0);
    CHECK(next == now + 10 * PL_USEC_PER_SEC);
    advance(10);
    CHECK(count_claims(5, true) == 1);
}

static void concurrency_is_what_lives(void) {
    pl_queue_settings_t settings = queue_of("narrow");
    settings.max_concurrent = 2;
    CHECK(set_queue(settings, false) == PL_OK);
    for (int i = 0; i < 4; i++) {
        pl_task_new_t task = task_of(PL_TASK_PUSH, "narrow");
        CHECK(add(&task) == PL_OK);
    }
    pl_claim_t *mine = claim(10);
    CHECK(mine && mine->next && !mine->next->next && claim(10) == NULL && stats_of("narrow").in_flight == 2);
    CHECK(call_free(done_op(mine, false)) == PL_OK && count_claims(10, true) == 1);
    CHECK(call_free(done_op(mine->next, true)) == PL_OK && count_claims(1, true) == 1);
    free_claims(mine);
    settings = queue_of("narrow");
    settings.paused = settings.has_paused = true;
    advance(1);
    CHECK(set_queue(settings, true) == PL_OK && count_claims(10, true) == 0 && stats_of("narrow").tasks == 1);
    settings.paused = false;
    CHECK(set_queue(settings, true) == PL_OK && count_claims(10, true) == 1);
}

static void what_has_nothing_left_to_do_holds_no_place(void) {
    pl_queue_settings_t settings = queue_of("single");
    pl_stage_new_t stage = stage_of("t.Aborted");
    settings.max_concurrent = 1;
    stage.queue = PL_STR_LIT("single");
    CHECK(set_queue(settings, false) == PL_OK && start(&stage) == PL_OK);
    pl_claim_t *mine = claim_one(stage.id);
    pl_task_new_t task = task_of(PL_TASK_PUSH, "single");
    CHECK(add(&task) == PL_OK && abort_tree(stage.id) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_release);
    op->u.release = (pl_op_release_t){ &mine->task, &mine->fence, 1, 0 };
    CHECK(call_free(op) == PL_OK);
    free_claims(mine);
    mine = claim(100); /* and not the run, which was first */
    CHECK(mine && mine->task == task.id);
    CHECK(state_of(stage.id) == PL_STAGE_ABORTED && mine && call_free(done_op(mine, false)) == PL_OK);
    free_claims(mine);
}

static pl_op_t *dead_list(const char *queue) {
    pl_op_t *op = pl_op_new(PL_VERB_dead_list);
    op->u.dead_list.queue = pl_str(queue);
    return call(op);
}

static void fail_once(pl_id_t task, bool dies) {
    pl_claim_t *mine = claim_one(task);
    pl_op_t *op = done_op(mine, true);
    op->u.task_done.status = 500;
    CHECK(call(op)->rc == PL_OK && op->u.task_done.died == dies);
    pl_op_free(op);
    free_claims(mine);
}

static void what_has_no_retries_left_is_dead(void) {
    pl_task_new_t task = task_of(PL_TASK_PUSH, "default"), again;
    int64_t before = stats_of("default").tasks;
    task.name = PL_STR_LIT("mortal");
    task.retry.limit = 1;
    task.retry.min_backoff = 10;
    CHECK(add(&task) == PL_OK);
    fail_once(task.id, false);
    advance(9.9);
    CHECK(claim(5) == NULL);
    advance(0.1);
    fail_once(task.id, true);
    again = task;
    again.id = new_id();
    CHECK(add(&again) == PL_ETOMBSTONE && stats_of("default").tasks == before && stats_of("default").dead == 1);
    pl_op_t *op = dead_list("default");
    CHECK(op->rc == PL_OK && op->u.dead_list.len == 1 && op->u.dead_list.next == 0);
    const pl_task_t *dead = op->u.dead_list.tasks;
    CHECK(dead->id == task.id && dead->tries == 2 && dead->status == 500 && dead->retry.limit == 1);
    CHECK(pl_str_eq(dead->message, PL_STR_LIT("broken")) && pl_str_eq(dead->name, task.name) && dead->died > 0);
    pl_op_free(op);
    pl_task_ref_t refs[2] = { { .id = task.id }, { .id = 12345 } };
    op = pl_op_new(PL_VERB_dead_revive);
    op->u.dead_revive = (pl_op_dead_revive_t){ .tasks = refs, .len = 2 };
    CHECK(call_free(op) == PL_OK && refs[0].rc == PL_OK && refs[1].rc == PL_ENOTFOUND && add(&again) == PL_EEXISTS);
    fail_once(task.id, false);
    advance(10);
    fail_once(task.id, true);
    op = pl_op_new(PL_VERB_dead_purge);
    op->u.dead_purge.all = true;
    CHECK(call(op)->rc == PL_OK && op->u.dead_purge.deleted == 1);
    pl_op_free(op);
    op = dead_list(NULL);
    CHECK(op->u.dead_list.len == 0);
    pl_op_free(op);
}

static pl_op_t *lease(double seconds, int max, const char *tag, bool group) {
    pl_op_t *op = pl_op_new(PL_VERB_lease);
    op->u.lease = (pl_op_lease_t){ .queue = PL_STR_LIT("leases"),
                                   .seconds = seconds,
                                   .max = max,
                                   .by_tag = tag != NULL,
                                   .tag = pl_str(tag),
                                   .group = group };
    return call(op);
}

static int modify(const pl_task_t *task, double seconds) {
    pl_op_t *op = pl_op_new(PL_VERB_lease_modify);
    op->u.lease_modify = (pl_op_lease_modify_t){
        .queue = PL_STR_LIT("leases"), .task = { .id = task->id }, .eta = task->eta, .seconds = seconds
    };
    return call_free(op);
}

static void leases_are_fenced_by_their_eta(void) {
    static const char *const tags[] = { NULL, "eu", "us", "eu", NULL };
    pl_queue_settings_t settings = queue_of("leases");
    settings.pull = true;
    CHECK(set_queue(settings, false) == PL_OK);
    for (int i = 0; i < 5; i++) {
        pl_task_new_t task = task_of(PL_TASK_PULL, "leases");
        task.tag = pl_str(tags[i]);
        task.eta = pl_clock_now(&clock_) + i;
        CHECK(add(&task) == PL_OK);
    }
    pl_op_t *op = lease(60, 10, NULL, false);
    CHECK(op->rc == PL_OK && op->u.lease.len == 0); /* an eta that is now has not passed */
    pl_op_free(op);
    advance(1);
    CHECK(claim(10) == NULL);
    op = lease(60, 10, NULL, true); /* untagged ones, as the first is */
    CHECK(op->u.lease.len == 2 && op->u.lease.tasks[0].tries == 1);
    pl_task_t first = op->u.lease.tasks[0];
    CHECK(first.eta == pl_clock_now(&clock_) + 60 * PL_USEC_PER_SEC && stats_of("leases").in_flight == 2);
    CHECK(modify(&first, 5) == PL_OK && modify(&first, 5) == PL_ELEASE);
    pl_op_t *other = lease(60, 1, "eu", false);
    CHECK(other->u.lease.len == 1 && pl_str_eq(other->u.lease.tasks[0].tag, PL_STR_LIT("eu")));
    pl_op_free(other);
    advance(5);
    first.eta = pl_clock_now(&clock_);
    CHECK(modify(&first, 5) == PL_ELEASE); /* over */
    pl_op_free(op);
    advance(100);
    op = lease(0, 3, NULL, false);
    CHECK(op->u.lease.len == 3);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_purge);
    op->u.purge.queue = PL_STR_LIT("leases");
    CHECK(call(op)->rc == PL_OK && op->u.purge.deleted == 5);
    pl_op_free(op);
    CHECK(modify(&first, 5) == PL_ETOMBSTONE && stats_of("leases").tasks == 0);
}

static void leases_count_as_tries(void) {
    pl_task_new_t task = task_of(PL_TASK_PULL, "leases");
    task.retry.limit = 2;
    CHECK(add(&task) == PL_OK);
    for (int i = 1; i <= 3; i++) {
        advance(1);
        pl_op_t *op = lease(0.5, 10, NULL, false);
        CHECK(op->u.lease.len == (i <= 2 ? 1 : 0));
        pl_op_free(op);
    }
    CHECK(stats_of("leases").dead == 1 && stats_of("leases").tasks == 0);
    pl_op_t *op = pl_op_new(PL_VERB_dead_revive);
    op->u.dead_revive = (pl_op_dead_revive_t){ .queue = PL_STR_LIT("leases"), .all = true };
    CHECK(call(op)->rc == PL_OK && op->u.dead_revive.revived == 1);
    pl_op_free(op);
    advance(1);
    op = lease(1, 10, "", false);
    CHECK(op->u.lease.len == 1);
    pl_op_free(op);
}

static void tasks_are_deleted_by_name_or_id(void) {
    pl_task_new_t named = task_of(PL_TASK_PUSH, "default"), plain = task_of(PL_TASK_PUSH, "default"), thief = plain;
    named.name = PL_STR_LIT("victim");
    named.eta = plain.eta = pl_clock_now(&clock_) + PL_USEC_PER_SEC;
    thief.id = new_id();
    thief.name = PL_STR_LIT("task-of-plain");
    thief.name_id = plain.id;
    CHECK(add(&named) == PL_OK && add(&plain) == PL_OK && add(&thief) == PL_EEXISTS);
    pl_task_ref_t refs[3] = { { .name = named.name }, { .id = plain.id }, { .name = PL_STR_LIT("nobody") } };
    for (int i = 0; i < 2; i++) {
        pl_op_t *op = pl_op_new(PL_VERB_task_delete);
        op->u.task_delete = (pl_op_task_delete_t){ PL_STR_LIT("default"), refs, 3 };
        CHECK(call_free(op) == PL_OK && refs[2].rc == PL_ENOTFOUND);
        CHECK(refs[0].rc == (i ? PL_ETOMBSTONE : PL_OK) && refs[1].rc == (i ? PL_ETOMBSTONE : PL_OK));
    }
    CHECK(add(&named) == PL_ETOMBSTONE && add(&thief) == PL_ETOMBSTONE);
    pl_op_t *op = pl_op_new(PL_VERB_purge);
    op->u.purge = (pl_op_purge_t){ .queue = PL_STR_LIT("default"), .forget_names = true };
    CHECK(call_free(op) == PL_OK && add(&named) == PL_OK);
    advance(1);
    CHECK(count_claims(5, true) == 1);
}

/* ---- sessions ---------------------------------------------------------------------------------------------- */

static int add_in_session(const char *name) {
    static pl_task_new_t task;
    task = (pl_task_new_t){ .id = new_id(), .kind = PL_TASK_DEFERRED, .name = pl_str(name), .retry = PL_RETRY_NONE };
    pl_op_t *op = of_session(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ &task, 1, true };
    return call_free(op);
}

static int start_in_session(pl_stage_new_t *stage) {
    pl_op_t *op = of_session(PL_VERB_start);
    op->u.start = (pl_op_start_t){ stage, 1 };
    return call_free(op);
}

/* Where there is no SQL, a setting is written in its place. */
static int sql(const char *text) {
    pl_op_t *op = of_session(has_sql ? PL_VERB_sql : PL_VERB_meta);
    if (!has_sql) {
        op->u.meta = (pl_op_meta_t){ .key = PL_STR_LIT("sql"), .write = true, .value = pl_str(text) };
        return call_free(op);
    }
    op->u.sql.text = pl_str(text);
    return call_free(op);
}

static uint64_t commits(void) {
    pl_store_stats_t stats;
    pl_store_stats(store, &stats);
    return stats.commits;
}

static void a_session_is_all_or_nothing(void) {
    pl_stage_new_t stage = stage_of("t.Session");
    uint64_t before = commits();
    for (int commit = 0; commit < 2; commit++) {
        CHECK(begin(60) == PL_OK);
        CHECK(add_in_session("of-session") == PL_OK && add_in_session("of-session") == PL_EEXISTS);
        CHECK(start_in_session(&stage) == PL_OK);
        CHECK(commits() == before && end(commit) == PL_OK && commits() == before + (uint64_t)commit);
        CHECK(end(true) == PL_EOVER && sql("SELECT 1") == PL_EOVER);
    }
    pl_claim_t *mine = claim(5);
    CHECK(mine && mine->next && !mine->next->next);
    for (pl_claim_t *each = mine; each; each = each->next) {
        pl_op_t *op = pl_op_new(PL_VERB_task_done);
        op->u.task_done = (pl_op_task_done_t){ .task = each->task, .claim = each->fence };
        CHECK(each->stage ? finish_with(each, stage.id) == PL_OK : call_free(op) == PL_OK);
        if (each->stage)
            pl_op_free(op);
    }
    free_claims(mine);
}

static void what_breaks_a_session_ends_it(void) {
    pl_stage_new_t stage = stage_of("t.Session"), twin = stage;
    CHECK(begin(60) == PL_OK && add_in_session("of-broken-session") == PL_OK && start_in_session(&stage) == PL_OK);
    CHECK(start_in_session(&twin) == PL_ECONSTRAINT); /* the same id twice: a rule of the schema */
    CHECK(sql("SELECT 1") == PL_EOVER && end(true) == PL_EOVER && state_of(stage.id) == (pl_stage_state_t)-1);
    CHECK(begin(60) == PL_OK && add_in_session("of-broken-session") == PL_OK && end(false) == PL_OK);
}

/* How many ops have come back; takes them away. */
static int came_back(void) {
    pl_batch_t batch;
    int n = 0;
    while (pl_store_collect(store, &batch)) {
        for (const pl_op_t *each = batch.ops; each; each = each->next)
            n++;
        pl_batch_free(&batch);
    }
    return n;
}

static int send_ahead(pl_task_new_t *task) {
    pl_op_t *op = of_session(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ task, 1, true };
    pl_store_send_ahead(store, op);
    return PL_OK;
}

static int64_t count_tasks(const char *queue) {
    pl_op_t *op = of_session(PL_VERB_queue_stats);
    pl_queue_stats_t stats = { .queue = pl_str(queue) };
    op->u.queue_stats = (pl_op_queue_stats_t){ &stats, 1 };
    int rc = call_free(op);
    return rc == PL_OK ? stats.tasks : -rc;
}

static void what_is_sent_ahead_comes_before_what_follows(void) {
    pl_task_new_t tasks[3];
    (void)came_back();
    CHECK(set_queue(queue_of("ahead"), false) == PL_OK);
    for (int commit = 0; commit < 2; commit++) {
        CHECK(begin(60) == PL_OK);
        for (int i = 0; i < 3; i++) {
            tasks[i] = task_of(PL_TASK_DEFERRED, "ahead");
            CHECK(send_ahead(&tasks[i]) == PL_OK);
        }
        CHECK(count_tasks("ahead") == 3 && end(commit) == PL_OK);
    }
    CHECK(came_back() == 0 && count_claims(5, true) == 3);
    CHECK(begin(60) == PL_OK && end(true) == PL_OK && send_ahead(&tasks[0]) == PL_OK); /* it is over */
    CHECK(came_back() == 0 && count_claims(5, true) == 0);
}

static void what_is_sent_ahead_in_vain_ends_the_session(void) {
    pl_stage_new_t stage = stage_of("t.Session");
    pl_task_new_t unknown = task_of(PL_TASK_DEFERRED, "nowhere"), twice = task_of(PL_TASK_DEFERRED, "ahead");
    CHECK(begin(60) == PL_OK && start_in_session(&stage) == PL_OK && send_ahead(&unknown) == PL_OK);
    pl_op_t *op = of_session(PL_VERB_meta);
    op->u.meta.key = PL_STR_LIT("any");
    CHECK(pl_store_call(store, op) == PL_EOVER && strstr(op->error.message, "queue nowhere"));
    pl_op_free(op);
    CHECK(end(true) == PL_EOVER && state_of(stage.id) == (pl_stage_state_t)-1);
    CHECK(begin(60) == PL_OK && send_ahead(&twice) == PL_OK && send_ahead(&twice) == PL_OK); /* the same id */
    CHECK(end(true) == PL_EOVER && count_claims(5, true) == 0);
}

static void sql_of_a_session_is_undone_with_it(void) {
    CHECK(begin(60) == PL_OK && sql("CREATE TABLE mine (x UNIQUE)") == PL_OK && end(true) == PL_OK);
    for (int commit = 0; commit < 2; commit++) {
        CHECK(begin(60) == PL_OK);
        CHECK(sql("INSERT INTO mine VALUES (1)") == PL_OK && sql("INSERT INTO mine VALUES (1)") == PL_ECONSTRAINT);
        CHECK(sql("nonsense") == PL_ESQL && end(commit) == PL_OK);
    }
    CHECK(begin(60) == PL_OK && sql("INSERT INTO mine VALUES (1)") == PL_ECONSTRAINT);
    CHECK(sql("DROP TABLE mine") == PL_OK && end(true) == PL_OK);
}

static void others_wait_for_a_session(void) {
    pl_op_t *other = pl_op_new(PL_VERB_meta), *second = pl_op_new(PL_VERB_tx_begin);
    other->u.meta.key = PL_STR_LIT("other");
    CHECK(begin(60) == PL_OK);
    CHECK(pl_store_would_wait(store, other));
    pl_store_submit(store, other);
    second->session = session + 1;
    second->u.tx_begin.seconds = 60;
    pl_store_submit(store, second);
    CHECK(sql("CREATE TABLE mine (x)") == PL_OK && came_back() == 0);
    CHECK(end(false) == PL_OK);
    for (int i = 0, n = 0; n < 2 && i < 5000; i++) {
        usleep(1000);
        n += came_back();
    }
    session++;
    CHECK(sql("CREATE TABLE mine (x)") == PL_OK); /* in the second one, which has begun by itself */
    CHECK(end(false) == PL_OK);
    second = pl_op_new(PL_VERB_meta);
    CHECK(!pl_store_would_wait(store, second));
    pl_op_free(second);
}

static void a_session_is_over_when_its_time_is_up(void) {
    pl_op_t *other = pl_op_new(PL_VERB_meta);
    other->u.meta.key = PL_STR_LIT("other");
    CHECK(begin(0.05) == PL_OK && sql("CREATE TABLE mine (x)") == PL_OK);
    CHECK(call_free(other) == PL_ENOTFOUND); /* had to wait for just that */
    CHECK(sql("SELECT 1") == PL_ETIMEDOUT && end(true) == PL_ETIMEDOUT);
}

static void a_statement_is_over_when_its_time_is_up(void) {
    CHECK(begin(0.05) == PL_OK);
    CHECK(sql("WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c") ==
          PL_ETIMEDOUT);
    CHECK(end(true) == PL_ETIMEDOUT);
    CHECK(begin(60) == PL_OK && sql("SELECT * FROM mine") == PL_ESQL && end(true) == PL_OK);
}

static void try_all(void) {
    a_leaf_runs_once();
    a_key_starts_once();
    order_is_priority_eta_id();
    fan_in_starts_when_all_are_filled();
    a_failed_run_leaves_nothing_but_a_failure();
    an_abort_reaches_every_state();
    an_aborted_tree_goes_on_from_where_it_failed();
    ops_may_know_their_tree();
    a_tree_is_deleted_whole();
    an_async_stage_ends_with_its_fills();
    a_name_is_taken_for_a_while();
    released_tasks_come_again();
    one_bad_op_takes_nobody_with_it();
    watched_stages_are_reported();
    roots_are_listed_newest_first();
    roots_are_found_with_filters();
    a_task_tells_why_it_does_not_start();
    a_queue_and_its_worker_are_shown();
    trees_are_read_in_pages();
    queued_tasks_need_a_queue_of_their_mode();
    a_refused_task_makes_no_queue();
    the_name_of_a_task_is_taken_at_once();
    a_push_task_keeps_what_it_was_given();
    many_end_together();
    leaves_end_together();
    a_bucket_of_tokens_bounds_starts();
    the_next_token_is_told();
    concurrency_is_what_lives();
    what_has_nothing_left_to_do_holds_no_place();
    what_has_no_retries_left_is_dead();
    leases_are_fenced_by_their_eta();
    leases_count_as_tries();
    tasks_are_deleted_by_name_or_id();
    a_session_is_all_or_nothing();
    what_breaks_a_session_ends_it();
    what_is_sent_ahead_comes_before_what_follows();
    what_is_sent_ahead_in_vain_ends_the_session();
    others_wait_for_a_session();
    a_session_is_over_when_its_time_is_up();
    if (has_sql) {
        sql_of_a_session_is_undone_with_it();
        a_statement_is_over_when_its_time_is_up();
    }
}

int main(void) {
    return try_everywhere(try_all);
}
