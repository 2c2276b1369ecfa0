/*
 * sha1.h - SHA-1 (FIPS 180-4) for idempotence keys that are no plain names (P8). Not for secrets.
 */
#ifndef PL_BASE_SHA1_H
#define PL_BASE_SHA1_H

#include <stddef.h>

#define PL_SHA1_HEX_LEN 40

/* Writes the digest of the bytes as lower-case hex with a NUL. */
void pl_sha1_hex(const void *bytes, size_t len, char out[PL_SHA1_HEX_LEN + 1]);

#endif
