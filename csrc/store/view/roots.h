/*
 * roots.h - lists of roots: filters, and the words for states.
 */
#ifndef PL_STORE_VIEW_ROOTS_H
#define PL_STORE_VIEW_ROOTS_H

#include "store/model.h"

/* What a stage is doing, as people see it: its state, and, where that is READY, what its task is. */
#define PL_STAGE_WORDS(X)                                                                                              \
    X(WAITING, 0, "waiting")                                                                                           \
    X(DELAYED, 1, "delayed")                                                                                           \
    X(READY, 2, "ready")                                                                                               \
    X(EXECUTING, 3, "executing")                                                                                       \
    X(OPEN, 4, "open")                                                                                                 \
    X(FINALIZING, 5, "finalizing")                                                                                     \
    X(ABORTING, 6, "aborting")                                                                                         \
    X(DONE, 7, "done")                                                                                                 \
    X(ABORTED, 8, "aborted")

typedef enum {
#define X(name, number, text) PL_WORD_##name = (number),
    PL_STAGE_WORDS(X)
#undef X
        PL_STAGE_WORDS_LEN
} pl_stage_word_t;
PL_API const char *pl_stage_word_name(int word);
/* The word for a state; of READY that of a stage without a task. */
pl_stage_word_t pl_stage_word(pl_stage_state_t state);

enum {
    PL_ROOTS_SCAN_MAX = 30000,       /* roots that are looked at for a page, or to count them */
    PL_ROOTS_COUNT_MAX = 1000000,    /* of those that are over, that are counted by their index */
    PL_ROOTS_CANDIDATES_MAX = 30000, /* that may be found by what they are doing, and are sorted */
};

/* Which roots. What is absent, or 0, does not count. */
typedef struct {
    unsigned words; /* 1 << pl_stage_word_t of those wanted */
    pl_str_t class_path, queue, key;
    pl_str_t text;  /* found in class, key, message or error; capitals do not count */
    pl_str_t error; /* found in the last error or the reason of the abort */
    bool any_error;
    pl_usec_t since, until; /* created, both inclusive */
} pl_roots_filter_t;

/* What of a root is compared. */
typedef struct {
    pl_id_t id;
    pl_stage_word_t word;
    pl_usec_t created;
    pl_str_t class_path, queue, key, reason, last_error, message;
} pl_root_brief_t;

/* Whether a root is wanted; `message` need be there only if `text` is. */
bool pl_root_is_wanted(const pl_roots_filter_t *filter, const pl_root_brief_t *root);
/* Whether there is nothing to compare. */
bool pl_roots_filter_is_empty(const pl_roots_filter_t *filter);

/* roots_find: newest first, with work and tally. A page may have fewer than asked for, or none, and go on: see
 * PL_ROOTS_SCAN_MAX. With `counts`, none of them, but how many there are by word. */
typedef struct {
    pl_roots_filter_t filter;
    pl_id_t before; /* 0: from the newest */
    int limit;
    bool counts;
    pl_stage_t *stages; /* results */
    size_t len;
    pl_id_t next; /* pass as before for the next page; 0: none */
    int64_t by_word[PL_STAGE_WORDS_LEN];
    bool is_more; /* counts: there are more */
} pl_op_roots_find_t;

/* roots_over: how many have ended within a time, and are still there. */
typedef struct {
    pl_usec_t since, before;
    int64_t limit;         /* of each number */
    int64_t done, aborted; /* results */
} pl_op_roots_over_t;

#endif
