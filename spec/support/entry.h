/*
 * entry.h - an entry of a journal, as C tests write it.
 */
#ifndef PL_SPEC_ENTRY_H
#define PL_SPEC_ENTRY_H

#include "store/durable/journal.h"

/* Open, or done with that value. */
static inline pl_entry_t entry_with(int64_t seq, int64_t done, pl_entry_kind_t kind, pl_id_t ref, pl_str_t value) {
    return (pl_entry_t){ .seq = seq,
                         .done = done,
                         .kind = kind,
                         .state = done ? PL_ENTRY_OK : PL_ENTRY_OPEN,
                         .name = PL_STR_LIT("a"),
                         .nth = 1,
                         .opened = 1,
                         .ref = ref,
                         .value = done ? value : PL_STR_NONE };
}

#endif
