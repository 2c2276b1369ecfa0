/*
 * plan.c - the rules over a part of a tree. See plan.h.
 */
#include "store/stage/plan.h"

#include <stdlib.h>

static int compare_ids(const void *a, const void *b) {
    pl_id_t x = *(const pl_id_t *)a, y = *(const pl_id_t *)b;
    return (x > y) - (x < y);
}

bool pl__part_has(const pl__part_t *part, pl_id_t stage, pl_id_t parent) {
    return stage == part->top || (part->len && bsearch(&parent, part->ids, part->len, sizeof *part->ids, compare_ids));
}

void pl__part_add(pl__part_t *part, pl_id_t stage) {
    part->ids[part->len++] = stage;
}

void pl__plan_abort(const pl__member_t *list, size_t len, pl_id_t permitted, pl__abort_t *aborts) {
    for (size_t i = 0; i < len; i++)
        aborts[i] = pl__rule_aborted(&list[i].is, list[i].id == permitted, list[i].is_claimed);
}

void pl__plan_end(const pl__member_t *list, size_t len, pl__abort_t *aborts) {
    for (size_t i = 0; i < len; i++) {
        aborts[i] = (pl__abort_t){ .to = list[i].is.state };
        if (!pl__stage_is_final(list[i].is.state))
            aborts[i] = pl__rule_ended(&list[i].is);
    }
}

static int compare_members(const void *a, const void *b) {
    return compare_ids(&((const pl__member_t *)a)->id, &((const pl__member_t *)b)->id);
}

/* NULL: it is the root. */
static const pl__member_t *parent_of(const pl__member_t *list, size_t len, const pl__member_t *member) {
    pl__member_t wanted = { .id = member->parent };
    return member->parent ? bsearch(&wanted, list, len, sizeof *list, compare_members) : NULL;
}

void pl__plan_resume(const pl__member_t *list, size_t len, pl__resumed_t *resumed) {
    for (size_t i = 0; i < len; i++) {
        const pl__member_t *parent = parent_of(list, len, &list[i]);
        resumed[i] = (pl__resumed_t){ 0 };
        if (parent)
            resumed[parent - list].has_children = true;
    }
    for (size_t i = 0; i < len; i++) {
        const pl__member_t *member = &list[i], *parent = parent_of(list, len, member);
        pl__resumed_t *above = parent ? &resumed[parent - list] : NULL;
        bool is_scope_over = above && (above->is_over || member->was_told);
        resumed[i].is_over = (member->is.flags & PL_STAGE_FALLBACK_TAKEN) || is_scope_over;
        if (member->is.state != PL_STAGE_ABORTED || resumed[i].is_over)
            continue;
        resumed[i].cut = pl__rule_resumes_from(member->is.flags, resumed[i].has_children);
        if (above && resumed[i].cut != PL_STAGE_CUT_LATE)
            above->open++;
    }
}
