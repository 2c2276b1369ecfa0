/*
 * tree.c - the verb tree_page: the stages of a tree, or of a part of it, a page at a time.
 *
 * Stages of a tree are read in the order of their ids, which is that of an index; a parent comes before its children,
 * for whoever runs it makes them with greater ids (base/ids.h). (Files of versions before that rule may have children
 * with smaller ones, from processes whose clocks differed: they are found from the root, and their levels are right.)
 * Whether one is below `top`, and how deep, is known from its parent, which has mostly been met just before; else its
 * ancestors are looked up. So a page costs what it has, whatever the size of the tree, unless a small part is sought in
 * a large tree: then it ends after SCANNED_MAX stages, and the next one goes on from there.
 *
 * Memory: a page ends when it has PL_PAGE_BYTES_MAX; what is longer than PL_PAGE_VALUE_MAX is not read.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"

enum {
    CHUNK_STAGES = 10,    /* what is turned into values of the host at a time */
    SCANNED_MAX = 50000,  /* stages looked through for one page */
    COUNTED_MAX = 200000, /* stages looked through for counting children */
    OUTSIDE = -1          /* as a level: not below top */
};

/* ---- levels ------------------------------------------------------------------------------------------------ */

/* Levels below top, by id: open addressing, 0 = free. */
typedef struct {
    pl_id_t *ids;
    int *levels;
    size_t len, size;
} levels_t;

static size_t level_place(const levels_t *known, pl_id_t id) {
    size_t mask = known->size - 1, at = (size_t)((uint64_t)id * 0x9e3779b97f4a7c15u >> 20) & mask;
    while (known->ids[at] && known->ids[at] != id)
        at = (at + 1) & mask;
    return at;
}

static void levels_free(levels_t *known) {
    pl__free(known->ids);
    pl__free(known->levels);
}

static int levels_grow(levels_t *known) {
    enum { FIRST = 256 };
    levels_t grown = { .len = known->len, .size = known->size ? known->size * 2 : FIRST };
    grown.ids = pl__alloc(grown.size * sizeof *grown.ids);
    grown.levels = pl__alloc(grown.size * sizeof *grown.levels);
    if (!grown.ids || !grown.levels) {
        levels_free(&grown);
        return PL_ENOMEM;
    }
    memset(grown.ids, 0, grown.size * sizeof *grown.ids);
    for (size_t i = 0; i < known->size; i++) {
        size_t at = known->ids[i] ? level_place(&grown, known->ids[i]) : 0;
        if (known->ids[i]) {
            grown.ids[at] = known->ids[i];
            grown.levels[at] = known->levels[i];
        }
    }
    levels_free(known);
    *known = grown;
    return PL_OK;
}

static int level_set(levels_t *known, pl_id_t id, int level) {
    if (known->size < 2 * (known->len + 1))
        PL__TRY(levels_grow(known));
    size_t at = level_place(known, id);
    known->len += known->ids[at] == 0;
    known->ids[at] = id;
    known->levels[at] = level;
    return PL_OK;
}

static bool level_get(const levels_t *known, pl_id_t id, int *level) {
    size_t at = known->size ? level_place(known, id) : 0;
    if (!known->size || !known->ids[at])
        return false;
    *level = known->levels[at];
    return true;
}

/* The level of a stage, by those of its ancestors; all of them are known from then on. */
static int find_level(pl__conn_t *conn, levels_t *known, pl_id_t id, pl_id_t parent, int *level) {
    pl__buf_t path = { 0 };
    int64_t above = parent;
    int rc = PL_OK, base = OUTSIDE;
    if (level_get(known, parent, &base)) {
        *level = base == OUTSIDE ? OUTSIDE : base + 1;
        return level_set(known, id, *level);
    }
    pl__buf_add(&path, &id, sizeof id);
    size_t most = COUNTED_MAX * sizeof id; /* in a damaged file they may go round */
    while (rc == PL_OK && above && path.len < most && !level_get(known, above, &base)) {
        pl_id_t step = above;
        pl__buf_add(&path, &step, sizeof step);
        rc = path.rc == PL_OK ? pl__sql_int(conn, PL__SQL_STAGE_ABOVE, &above, 0, "i", (int64_t)step) : path.rc;
    }
    for (size_t i = path.len / sizeof id; rc == PL_OK && path.rc == PL_OK && i > 0; i--) {
        base = base == OUTSIDE ? OUTSIDE : base + 1;
        rc = level_set(known, ((const pl_id_t *)(const void *)path.ptr)[i - 1], base);
    }
    *level = base;
    rc = rc == PL_OK ? path.rc : rc;
    pl__buf_free(&path);
    return rc;
}

/* ---- a page ------------------------------------------------------------------------------------------------ */

typedef struct {
    pl__conn_t *conn;
    pl_op_t *op;
    levels_t known;
    sqlite3_stmt *row;
    size_t scanned, bytes;
    pl_id_t last; /* looked at */
    bool more, full;
    pl__fronts_t fronts;
} page_t;

static bool is_whole(const pl_op_tree_page_t *get) {
    return get->depth < 0 && get->top == get->root;
}

static int is_wanted(page_t *page, bool *wanted) {
    const pl_op_tree_page_t *get = &page->op->u.tree_page;
    pl_id_t id = sqlite3_column_int64(page->row, 0), parent = sqlite3_column_int64(page->row, 2);
    int level = 0;
    *wanted = true;
    if (is_whole(get) || id == get->top)
        return PL_OK;
    PL__TRY(find_level(page->conn, &page->known, id, parent, &level));
    *wanted = level != OUTSIDE && (get->depth < 0 || level <= get->depth);
    return PL_OK;
}

/* Reads up to CHUNK_STAGES into `stages`. */
static int read_stages(page_t *page, pl_stage_t *stages, size_t *len) {
    pl_op_tree_page_t *get = &page->op->u.tree_page;
    while (page->more && !page->full && *len < CHUNK_STAGES) {
        bool wanted;
        PL__TRY(is_wanted(page, &wanted));
        page->full = page->scanned++ >= SCANNED_MAX || (wanted && get->len >= (size_t)get->limit);
        if (page->full)
            break;
        page->last = sqlite3_column_int64(page->row, 0);
        if (wanted) {
            pl_stage_t *stage = &stages[(*len)++];
            PL__TRY(pl__stage_read_row(page->conn, page->row, &page->op->arena, stage));
            PL__TRY(pl__stage_read_large(page->conn, &page->op->arena, stage));
            PL__TRY(pl__work_read(page->conn, stage, &page->op->arena, &page->fronts));
            stage->children = -1;
            page->bytes += sizeof *stage + (stage->work ? sizeof *stage->work : 0) + stage->args.len +
                           stage->status.message.len + stage->status.links.len + stage->retry_message.len +
                           stage->abort_message.len;
            get->len++;
        }
        PL__TRY(pl__sql_step(page->conn, page->row, &page->more));
    }
    return PL_OK;
}

static int read_chunk(page_t *page, pl_chunk_t ***tail) {
    pl_stage_t stages[CHUNK_STAGES];
    size_t len = 0;
    PL__TRY(read_stages(page, stages, &len));
    if (len == 0)
        return PL_OK;
    pl__arena_t *arena = &page->op->arena;
    pl_chunk_t *chunk = pl__arena_get(arena, sizeof *chunk);
    pl_stage_t *kept = chunk ? pl__arena_get(arena, len * sizeof *kept) : NULL;
    if (!kept)
        return PL_ENOMEM;
    memcpy(kept, stages, len * sizeof *kept);
    *chunk = (pl_chunk_t){ .stages = kept, .len = len };
    PL__TRY(pl__slots_load(page->conn, kept, len, false, true, arena, &chunk->slots, &chunk->slots_len));
    for (size_t i = 0; i < chunk->slots_len; i++)
        page->bytes += sizeof *chunk->slots + chunk->slots[i].value.len;
    page->full = page->full || page->bytes > PL_PAGE_BYTES_MAX;
    **tail = chunk;
    *tail = &chunk->next;
    return PL_OK;
}

static int read_page(page_t *page) {
    pl_op_tree_page_t *get = &page->op->u.tree_page;
    pl_chunk_t **tail = &get->chunks;
    pl_id_t after = get->after ? get->after : get->top == get->root ? 0 : get->top - 1;
    PL__TRY(level_set(&page->known, get->top, 0));
    PL__TRY(pl__sql_query(page->conn, PL__SQL_STAGE_TREE_AFTER, &page->row, "ii", (int64_t)get->root, (int64_t)after));
    int rc = pl__sql_step(page->conn, page->row, &page->more);
    while (rc == PL_OK && page->more && !page->full)
        rc = read_chunk(page, &tail);
    get->next = page->more ? page->last : 0;
    pl__sql_end(page->row);
    return rc;
}

/* ---- children ---------------------------------------------------------------------------------------------- */

static int compare_stages(const void *a, const void *b) {
    pl_id_t left = (*(pl_stage_t *const *)a)->id, right = (*(pl_stage_t *const *)b)->id;
    return (left > right) - (left < right);
}

/* Goes through the stages of the tree that come after the first of the page. */
static int count_into(pl__conn_t *conn, const pl_op_tree_page_t *get, pl_stage_t **list, bool *complete) {
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_PARENTS_AFTER, &row, "iii", (int64_t)get->root, (int64_t)list[0]->id,
                          (int64_t)get->hidden));
    int rc = pl__sql_step(conn, row, &more), seen = 0;
    while (rc == PL_OK && more && seen++ < COUNTED_MAX) {
        pl_stage_t wanted = { .id = sqlite3_column_int64(row, 0) }, *key = &wanted;
        pl_stage_t **found = bsearch(&key, list, get->len, sizeof *list, compare_stages);
        if (found) {
            (*found)->children++;
            (*found)->children_done += sqlite3_column_int(row, 1) == PL_STAGE_DONE;
        }
        rc = pl__sql_step(conn, row, &more);
    }
    *complete = !more;
    pl__sql_end(row);
    return rc;
}

static int count_children(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_tree_page_t *get = &op->u.tree_page;
    bool complete;
    size_t len = 0;
    if (!get->counts || get->len == 0)
        return PL_OK;
    pl_stage_t **list = pl__arena_get(&op->arena, get->len * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    for (const pl_chunk_t *chunk = get->chunks; chunk; chunk = chunk->next)
        for (size_t i = 0; i < chunk->len; i++) {
            list[len++] = &chunk->stages[i];
            chunk->stages[i].children = 0;
        }
    PL__TRY(count_into(conn, get, list, &complete));
    for (size_t i = 0; i < len && !complete; i++)
        list[i]->children = -1;
    return PL_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

/* The root of the tree, and whether top is in it. */
static int find_tree(pl__conn_t *conn, pl_op_t *op, bool *found) {
    pl_op_tree_page_t *get = &op->u.tree_page;
    pl_stage_t stage, top, root;
    if (get->key.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &get->stage, 0, "b", get->key));
    PL__TRY(pl__stage_find(conn, get->stage, false, &conn->scratch, &stage, found));
    if (!*found)
        return PL_OK;
    get->root = stage.root;
    PL__TRY(pl__stage_load(conn, stage.root, false, &conn->scratch, &root, found));
    if (*found && root.key.ptr)
        PL__TRY(pl__arena_copy(&op->arena, root.key, &get->root_key));
    if (get->top == 0)
        get->top = get->root;
    PL__TRY(pl__stage_load(conn, get->top, false, &conn->scratch, &top, found));
    *found = *found && top.root == get->root;
    if (!*found)
        op->rc = PL_ENOTFOUND;
    return PL_OK;
}

int pl__verb_tree_page(pl__conn_t *conn, pl_op_t *op) {
    page_t page = { .conn = conn, .op = op };
    bool found;
    op->u.tree_page.len = 0;
    op->u.tree_page.chunks = NULL;
    op->u.tree_page.root = op->u.tree_page.next = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    conn->value_max = PL_PAGE_VALUE_MAX;
    int rc = find_tree(conn, op, &found);
    if (rc == PL_OK && found)
        rc = read_page(&page);
    conn->value_max = 0;
    levels_free(&page.known);
    return rc == PL_OK ? count_children(conn, op) : rc;
}
