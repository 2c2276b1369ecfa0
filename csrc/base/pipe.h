/*
 * pipe.h - what becomes of a write to a peer that has left: an error of the write, not the end of the process.
 */
#ifndef PL_BASE_PIPE_H
#define PL_BASE_PIPE_H

/*
 * Ignores SIGPIPE, unless the program has its own idea of it. To be called before anything writes to a socket through
 * a library that does not say MSG_NOSIGNAL (libuv, OpenSSL below libcurl). Cheap; may be called any number of times.
 */
void pl__pipe_spare(void);

#endif
