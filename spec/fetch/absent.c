/* absent.c - preloaded: a machine without libcurl. Built by the spec that needs it. */
#include <dlfcn.h>
#include <string.h>

void *dlopen(const char *name, int flags) {
    static void *(*next)(const char *, int);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "dlopen");
    return name && strstr(name, "libcurl") ? NULL : next(name, flags);
}
