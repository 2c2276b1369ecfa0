/*
 * pipe.c - SIGPIPE. See pipe.h.
 *
 * By default it kills the process, and any client can cause it: it ends its side, reads some of a long answer and
 * closes. The disposition belongs to the process, so a handler, or the program's own SIG_IGN, is left as it is.
 */
#include "base/pipe.h"

#include <signal.h>
#include <stddef.h>

void pl__pipe_spare(void) {
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL)
        return;
    now.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &now, NULL);
}
