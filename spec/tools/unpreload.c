/*
 * unpreload.c - keeps a preloaded sanitizer from spreading to child processes.
 *
 * lua5.4 itself is not instrumented, so a sanitized build of the module needs the sanitizer's runtime preloaded (see
 * spec/tools/sanitized-lua.sh). Shells and other programs that a spec starts must run without it: some of them crash
 * under it, all of them get slow. This library is preloaded last and takes LD_PRELOAD out of the environment.
 */
#include <stdlib.h>

__attribute__((constructor)) static void forget(void) {
    unsetenv("LD_PRELOAD");
}
