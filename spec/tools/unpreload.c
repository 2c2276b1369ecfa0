/*
 * unpreload.c - what a preloaded sanitizer needs beside it.
 *
 * lua5.4 itself is not instrumented, so a sanitized build of the module needs the sanitizer's runtime preloaded (see
 * spec/tools/sanitized-lua.sh). Shells and other programs that a spec starts must run without it: some of them crash
 * under it, all of them get slow. This library is preloaded last and takes LD_PRELOAD out of the environment.
 *
 * And Debian's Lua throws and yields by the checked longjmp, which ThreadSanitizer does not see: it would take each C
 * function that was left so for one that is still being executed, without end.
 */
#include <setjmp.h>
#include <stdlib.h>

__attribute__((constructor)) static void forget(void) {
    unsetenv("LD_PRELOAD");
}

__attribute__((noreturn, visibility("default"))) void __longjmp_chk(jmp_buf place, int value);

void __longjmp_chk(jmp_buf place, int value) {
    longjmp(place, value);
}
