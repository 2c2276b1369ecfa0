/*
 * field.c - the grammar of header fields. What passes here cannot begin a header, or a request, of its own.
 */
#include "engine/field.h"

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
