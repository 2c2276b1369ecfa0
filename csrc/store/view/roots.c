/*
 * roots.c - which roots are wanted, and the words for states. See roots.h.
 */
#include "store/view/roots.h"

#include "store/view/seen.h"

const char *pl_stage_word_name(int word) {
    static const char *const names[] = {
#define X(name, number, text) [number] = text,
        PL_STAGE_WORDS(X)
#undef X
    };
    return word >= 0 && word < PL_STAGE_WORDS_LEN ? names[word] : "?";
}

pl_stage_word_t pl_stage_word(pl_stage_state_t state) {
    static const pl_stage_word_t words[] = {
        [PL_STAGE_WAITING] = PL_WORD_WAITING, [PL_STAGE_READY] = PL_WORD_WAITING,
        [PL_STAGE_RUN] = PL_WORD_OPEN,        [PL_STAGE_FINALIZING] = PL_WORD_FINALIZING,
        [PL_STAGE_DONE] = PL_WORD_DONE,       [PL_STAGE_ABORTING] = PL_WORD_ABORTING,
        [PL_STAGE_ABORTED] = PL_WORD_ABORTED, [PL_STAGE_ABORT_HELD] = PL_WORD_ABORTING,
    };
    return words[state];
}

static bool is_other(pl_str_t wanted, pl_str_t is) {
    return wanted.ptr && !pl_str_eq(wanted, is);
}

static bool has_error(const pl_roots_filter_t *filter, const pl_root_brief_t *root) {
    if (filter->any_error && root->reason.len == 0 && root->last_error.len == 0)
        return false;
    return !filter->error.ptr || pl_text_has(root->reason, filter->error) ||
           pl_text_has(root->last_error, filter->error);
}

static bool has_text(const pl_roots_filter_t *filter, const pl_root_brief_t *root) {
    const pl_str_t texts[] = { root->class_path, root->key, root->message, root->reason, root->last_error };
    bool found = !filter->text.ptr;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !found; i++)
        found = pl_text_has(texts[i], filter->text);
    return found;
}

bool pl_root_is_wanted(const pl_roots_filter_t *filter, const pl_root_brief_t *root) {
    if (filter->words && !(filter->words & (1U << root->word)))
        return false;
    if (is_other(filter->class_path, root->class_path) || is_other(filter->key, root->key) ||
        is_other(filter->queue, root->queue))
        return false;
    if ((filter->since && root->created < filter->since) || (filter->until && root->created > filter->until))
        return false;
    return has_error(filter, root) && has_text(filter, root);
}

bool pl_roots_filter_is_empty(const pl_roots_filter_t *filter) {
    return !filter->words && !filter->class_path.ptr && !filter->queue.ptr && !filter->key.ptr && !filter->text.ptr &&
           !filter->error.ptr && !filter->any_error && !filter->since && !filter->until;
}
