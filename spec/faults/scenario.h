/*
 * scenario.h - one small life of an engine, written against the C API, to be run with something failing in it.
 *
 * A root starts three leaves (one fails once and is retried), an async stage that a callback task fills, and a sum of
 * all of them that becomes the root's own value; the root is finalized. A second root gives up and is aborted. Time is
 * virtual. The class paths are "root", "leaf", "ask", "sum" and "bad"; values are decimal digits.
 *
 *     root ── leaf "1" ─┐
 *          ├─ leaf "2" ─┤ (fails once)
 *          ├─ leaf "3" ─┼─> sum = 42 = root
 *          └─ ask (36) ─┘ <── callback task "call", a second later
 *
 * scenario_play runs it on a file with whatever faults the caller has armed; scenario_check looks at the file that is
 * left, opens it again with nothing failing, lets it finish and looks again.
 */
#ifndef SPEC_FAULTS_SCENARIO_H
#define SPEC_FAULTS_SCENARIO_H

#include <stdbool.h>

typedef struct {
    const char *vfs;       /* NULL: the default one */
    void (*recover)(void); /* the session goes on once more after this, which ends the faults; NULL: it closes */
} scenario_t;

typedef struct {
    bool opened, started, finished; /* finished: the session itself saw the root's value */
    int reported;                   /* errors given back or logged */
} scenario_result_t;

/* The next step of a test, for messages: "alloc 17". Also restarts the watchdog: a step that hangs ends the test. */
void scenario_step(const char *what, long nth);
/* A fresh path on a fast file system; the same one each time, with nothing there. */
const char *scenario_path(void);
/* Lets another process play on the file and die, without a word, when it has executed that many tasks. */
void scenario_crash(int executions);
scenario_result_t scenario_play(const scenario_t *scenario);
/* `result` is that of the session before. Complains to standard error and counts what is wrong. */
void scenario_check(const scenario_result_t *result, bool was_hit);
/* Removes the files and says how many checks failed: the exit code of the test. */
int scenario_end(void);

/*
 * Calls step(n, data) for n = 1, 2, … until it returns false: nothing was there to fail any more. Without FAULTS=full
 * in the environment only the first `all` are done one by one and then `sample` others by chance, up to the end that
 * the first unarmed run tells through `count` (calls in a run without faults). Returns the number of steps.
 */
long scenario_loop(bool (*step)(long nth, void *data), void *data, long count, long all, long sample);

#endif
