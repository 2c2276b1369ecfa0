/*
 * longjmp.c - lets a sanitizer see how Lua leaves C functions.
 *
 * Debian's Lua throws and yields by the checked longjmp, which ThreadSanitizer does not intercept: it would take each C
 * function that was left so for one that is still being executed, and its memory would grow without end. So it is the
 * plain one, which it does intercept, for lua5.4 (preloaded) and for C tests that have a Lua in them.
 */
#include <setjmp.h>

__attribute__((noreturn, visibility("default"))) void __longjmp_chk(jmp_buf place, int value);

void __longjmp_chk(jmp_buf place, int value) {
    longjmp(place, value);
}
