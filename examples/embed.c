/*
 * embed.c - pipeline in a C program, without Lua: opens a file, adds tasks, executes them, waits until all are done.
 *
 *     cc embed.c $(pkg-config --cflags --libs pipeline) -o embed && ./embed jobs.db
 *
 * A task is a block of bytes that the program understands. It is on disk when pl_engine_call returns, and it is
 * executed once more, should the process die before the end of its execution is on disk, too.
 */
#include <pipeline.h>
#include <stdio.h>

static pl_engine_t *engine;
static int executed;

/* A task has its turn. One that went well ends with claim_done; claim_drop would give it back. */
static void execute(void *data, pl_claim_t *claim) {
    (void)data;
    printf("%.*s\n", (int)claim->payload.len, claim->payload.ptr);
    executed++;
    if (pl_engine_claim_done(engine, claim) != PL_OK)
        pl_engine_claim_drop(engine, claim);
    pl_claim_free(claim);
}

static void op_done(void *data, pl_op_t *op) {
    (void)data;
    if (op->rc != PL_OK)
        fprintf(stderr, "embed: %s %s\n", pl_result_text(op->rc), op->error.message);
    pl_op_free(op);
}

static void stage_final(void *data, pl_id_t stage, pl_stage_state_t state) {
    (void)data;
    (void)stage;
    (void)state;
}

static void log_line(void *data, int level, const char *text) {
    (void)data;
    fprintf(stderr, "embed: [%d] %s\n", level, text);
}

/* Three tasks in one commit. */
static int add(void) {
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    pl_task_new_t *tasks = op ? pl_op_alloc(op, 3 * sizeof *tasks) : NULL;
    if (!tasks) {
        pl_op_free(op);
        return PL_ENOMEM;
    }
    const char *const words[] = { "one", "two", "three" };
    for (int i = 0; i < 3; i++)
        tasks[i] = (pl_task_new_t){ .id = pl_engine_new_id(engine),
                                    .kind = PL_TASK_DEFERRED,
                                    .payload = pl_str(words[i]),
                                    .retry = PL_RETRY_NONE };
    op->u.task_add.tasks = tasks;
    op->u.task_add.len = 3;
    int rc = pl_engine_call(engine, op);
    pl_op_free(op);
    return rc;
}

int main(int argc, char **argv) {
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    pl_engine_options_init(&options);
    options.path = argc > 1 ? argv[1] : ":memory:";
    options.host = (pl_host_t){ .execute = execute, .op_done = op_done, .final = stage_final, .log = log_line };
    if (pl_engine_open(&engine, &options, &error) != PL_OK) {
        fprintf(stderr, "embed: %s\n", error.message);
        return 1;
    }
    int rc = add();
    if (rc == PL_OK)
        rc = pl_engine_run(engine, PL_RUN_READY, 10, true); /* until nothing is left to do; 10 seconds at most */
    pl_engine_close(engine);
    printf("%d tasks executed: %s\n", executed, pl_result_text(rc));
    return rc == PL_OK ? 0 : 1;
}
