/*
 * secret.c - what the store's secret is for: ids of its own that cannot be guessed, and signatures.
 *
 * The id users see is the internal one in 16 hex digits and a SipHash of it under a key of its own in 16 more, so
 * nothing has to be stored or looked up to know that an id was made here.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

_Static_assert(PL__ID_KEY_SIZE == crypto_shorthash_KEYBYTES, "key of the id check");
_Static_assert(PL_MAC_LEN == crypto_auth_hmacsha256_BYTES * 2, "length of a signature");

/* A setting of the store that whoever opens it first makes: its value, borrowed from *op, which is returned owned. */
static int setting(pl_engine_t *engine, pl_str_t key, pl_str_t fresh, pl_op_t **op, pl_error_t *error) {
    *op = pl_op_new(PL_VERB_meta);
    if (!*op)
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    (*op)->u.meta = (pl_op_meta_t){ .key = key, .write = true, .if_absent = true, .value = fresh };
    int rc = pl_store_call(engine->store, *op);
    if (rc != PL_OK && error)
        *error = (*op)->error;
    return rc;
}

int pl__secret_init(pl_engine_t *engine, pl_error_t *error) {
    unsigned char fresh[PL__SECRET_SIZE];
    pl_op_t *op;
    if (sodium_init() < 0 || pl_random_bytes(&engine->random, fresh, sizeof fresh) != PL_OK)
        return PL__FAIL(error, PL_EIO, "the system's random source failed");
    int rc = setting(engine, PL_STR_LIT("secret"), (pl_str_t){ (const char *)fresh, sizeof fresh }, &op, error);
    if (rc == PL_OK && op->u.meta.value.len != sizeof engine->secret)
        rc = PL__FAIL(error, PL_ECORRUPT, "the secret in the file is damaged");
    if (rc == PL_OK) {
        memcpy(engine->secret, op->u.meta.value.ptr, sizeof engine->secret);
        crypto_generichash(engine->id_key, sizeof engine->id_key, (const unsigned char *)"pipeline id", 11,
                           engine->secret, sizeof engine->secret);
    }
    pl_op_free(op);
    return rc;
}

/* Ids with other fields would not be in one order with those that are there, nor differ from them for certain. */
int pl__secret_check_ids(pl_engine_t *engine, pl_error_t *error) {
    char fields[32];
    pl_op_t *op;
    snprintf(fields, sizeof fields, "%d %d %d", PL_IDS_TIME_BITS, PL_IDS_WORKER_BITS, PL_IDS_SEQUENCE_BITS);
    int rc = setting(engine, PL_STR_LIT("id_fields"), pl_str(fields), &op, error);
    if (rc == PL_OK && !pl_str_eq(op->u.meta.value, pl_str(fields)))
        rc = PL__FAIL(error, PL_ENEWER,
                      "%s: its ids have other fields (%.*s bits: time, worker, sequence) than those that this version "
                      "makes (%s): open it with a newer one",
                      pl_store_path(engine->store), op->u.meta.value.len < 40 ? (int)op->u.meta.value.len : 40,
                      op->u.meta.value.ptr, fields);
    pl_op_free(op);
    return rc;
}

uint32_t pl__secret_mix(const pl_engine_t *engine) {
    unsigned char bytes[crypto_generichash_BYTES_MIN];
    crypto_generichash(bytes, sizeof bytes, (const unsigned char *)"pipeline store", 14, engine->secret,
                       sizeof engine->secret);
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* An id is no secret: digits may be looked up, which sodium_bin2hex does not, at three times the cost. */
void pl_engine_id_text(const pl_engine_t *engine, pl_id_t id, char out[PL_ID_TEXT_LEN + 1]) {
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char bytes[8 + crypto_shorthash_BYTES];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)id >> (56 - 8 * i));
    crypto_shorthash(bytes + 8, bytes, 8, engine->id_key);
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = DIGITS[bytes[i] >> 4];
        out[2 * i + 1] = DIGITS[bytes[i] & 15];
    }
    out[PL_ID_TEXT_LEN] = 0;
}

uint64_t pl_engine_id_draw(const pl_engine_t *engine, pl_id_t id) {
    unsigned char bytes[8], hash[crypto_shorthash_BYTES];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)id >> (56 - 8 * i));
    crypto_shorthash(hash, bytes, 8, engine->id_key);
    return (uint64_t)hash[4] << 24 | (uint64_t)hash[5] << 16 | (uint64_t)hash[6] << 8 | hash[7];
}

pl_id_t pl_engine_id_parse(const pl_engine_t *engine, const char *text, size_t len) {
    unsigned char bytes[8];
    char expected[PL_ID_TEXT_LEN + 1];
    size_t size;
    uint64_t id = 0;
    if (len != PL_ID_TEXT_LEN || sodium_hex2bin(bytes, sizeof bytes, text, 16, NULL, &size, NULL) != 0 || size != 8)
        return 0;
    for (int i = 0; i < 8; i++)
        id = id << 8 | bytes[i];
    pl_engine_id_text(engine, (pl_id_t)id, expected);
    return sodium_memcmp(expected, text, PL_ID_TEXT_LEN) == 0 ? (pl_id_t)id : 0;
}

void pl_engine_sign(const pl_engine_t *engine, const char *bytes, size_t len, char out[PL_MAC_LEN + 1]) {
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    _Static_assert(crypto_auth_hmacsha256_KEYBYTES == PL__SECRET_SIZE, "key of a signature");
    crypto_auth_hmacsha256(mac, (const unsigned char *)bytes, len, engine->secret);
    sodium_bin2hex(out, PL_MAC_LEN + 1, mac, sizeof mac);
}

bool pl_engine_verify(const pl_engine_t *engine, const char *bytes, size_t len, const char *mac, size_t mac_len) {
    char expected[PL_MAC_LEN + 1];
    if (mac_len != PL_MAC_LEN)
        return false;
    pl_engine_sign(engine, bytes, len, expected);
    return sodium_memcmp(expected, mac, PL_MAC_LEN) == 0;
}
