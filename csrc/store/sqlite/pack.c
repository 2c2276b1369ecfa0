/*
 * pack.c - lists of slots as blobs.
 */
#include "store/sqlite/pack.h"

#include <string.h>

enum { ID_SIZE = 8, LENGTH_SIZE = 2, NAME_MAX = 0xffff };

static char *put_id(char *at, pl_id_t id) {
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (char)((uint64_t)id >> shift);
    return at;
}

static pl_id_t get_id(const unsigned char *at) {
    uint64_t id = 0;
    for (int i = 0; i < ID_SIZE; i++)
        id = id << 8 | at[i];
    return (pl_id_t)id;
}

int pl__pack_ids(pl__arena_t *arena, const pl_id_t *ids, size_t len, pl_str_t *out) {
    *out = PL_STR_NONE;
    if (len == 0)
        return PL_OK;
    char *bytes = pl__arena_get(arena, len * ID_SIZE);
    if (!bytes)
        return PL_ENOMEM;
    char *at = bytes;
    for (size_t i = 0; i < len; i++)
        at = put_id(at, ids[i]);
    *out = (pl_str_t){ bytes, len * ID_SIZE };
    return PL_OK;
}

int pl__unpack_ids(pl__arena_t *arena, pl_str_t in, const pl_id_t **ids, size_t *len) {
    *ids = NULL;
    *len = in.len / ID_SIZE;
    if (*len == 0)
        return PL_OK;
    pl_id_t *list = pl__arena_get(arena, *len * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    for (size_t i = 0; i < *len; i++)
        list[i] = get_id((const unsigned char *)in.ptr + i * ID_SIZE);
    *ids = list;
    return PL_OK;
}

static bool is_plain(pl_id_t own, const pl_output_t *outputs, size_t len) {
    return len == 0 || (len == 1 && outputs[0].slot == own);
}

int pl__pack_outputs(pl__arena_t *arena, pl_id_t own, const pl_output_t *outputs, size_t len, pl_str_t *out) {
    *out = PL_STR_NONE;
    if (is_plain(own, outputs, len))
        return PL_OK;
    size_t size = 0;
    for (size_t i = 0; i < len; i++) {
        if (outputs[i].name.len > NAME_MAX)
            return PL_EINVAL;
        size += LENGTH_SIZE + outputs[i].name.len + ID_SIZE;
    }
    char *bytes = pl__arena_get(arena, size);
    if (!bytes)
        return PL_ENOMEM;
    char *at = bytes;
    for (size_t i = 0; i < len; i++) {
        pl_str_t name = outputs[i].name;
        *at++ = (char)(name.len >> 8);
        *at++ = (char)name.len;
        memcpy(at, name.ptr, name.len);
        at = put_id(at + name.len, outputs[i].slot);
    }
    *out = (pl_str_t){ bytes, size };
    return PL_OK;
}

/* Takes one output off *in; false at the end or when the blob is damaged. */
static bool next_output(pl_str_t *in, pl_output_t *output) {
    const unsigned char *at = (const unsigned char *)in->ptr;
    if (in->len < LENGTH_SIZE + ID_SIZE)
        return false;
    size_t name_len = (size_t)at[0] << 8 | at[1];
    size_t size = LENGTH_SIZE + name_len + ID_SIZE;
    if (in->len < size)
        return false;
    *output = (pl_output_t){ { in->ptr + LENGTH_SIZE, name_len }, get_id(at + LENGTH_SIZE + name_len) };
    *in = (pl_str_t){ in->ptr + size, in->len - size };
    return true;
}

int pl__unpack_outputs(pl__arena_t *arena, pl_id_t own, pl_str_t in, const pl_output_t **outputs, size_t *len) {
    pl_output_t output;
    size_t count = 0;
    pl_str_t rest = in;
    while (next_output(&rest, &output))
        count++;
    *outputs = NULL;
    *len = 0;
    if (rest.len > 0) /* damaged */
        return PL_OK;
    *len = count ? count : 1;
    pl_output_t *list = pl__arena_get(arena, *len * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    *outputs = list;
    if (count == 0) {
        list[0] = (pl_output_t){ PL_STR_LIT("default"), own };
        return PL_OK;
    }
    for (size_t i = 0; i < count; i++)
        next_output(&in, &list[i]);
    return PL_OK;
}
