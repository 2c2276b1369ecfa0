/*
 * field.c - the grammar of header fields. What passes here cannot begin a header, or a request, of its own.
 */
#include "http/field.h"

#include <string.h>

bool pl__field_is_token(pl_str_t name) {
    static const char OTHERS[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_alnum && (!c || !strchr(OTHERS, c)))
            return false;
    }
    return name.len > 0;
}

bool pl__field_is_value(pl_str_t value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool pl__field_is_word(pl_str_t text, const char *word) {
    size_t i = 0;
    for (; i < text.len && word[i] != '\0'; i++) {
        char c = text.ptr[i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c) != word[i])
            return false;
    }
    return i == text.len && word[i] == '\0';
}

pl_str_t pl__field_trim(pl_str_t text) {
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text.ptr++, text.len--;
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

bool pl__field_next(pl_str_t *list, pl_str_t *element) {
    if (!list->ptr)
        return false;
    const char *comma = list->len > 0 ? memchr(list->ptr, ',', list->len) : NULL;
    size_t len = comma ? (size_t)(comma - list->ptr) : list->len;
    *element = pl__field_trim((pl_str_t){ list->ptr, len });
    *list = comma ? (pl_str_t){ comma + 1, list->len - len - 1 } : PL_STR_NONE;
    return true;
}
