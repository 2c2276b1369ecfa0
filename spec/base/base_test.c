/*
 * base_test.c - ids, clock, randomness, memory, digests: the ground the rest stands on.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/result.h"
#include "base/sha1.h"
#include "support/check.h"

static void ids_order_by_time_and_never_repeat(void) {
    pl_clock_t clock;
    pl_ids_t a, b;
    pl_clock_init_virtual(&clock, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_ids_init(&a, 3, 0, 0xabcdef01);
    pl_ids_init(&b, 4, 0, 0xabcdef01);
    pl_id_t last_a = 0, last_b = 0;
    for (int i = 0; i < 20000; i++) { /* more than the sequence of a millisecond holds: borrows from the next */
        pl_id_t one = pl_ids_next(&a, &clock), other = pl_ids_next(&b, &clock);
        CHECK(one > last_a && other > last_b && one != other);
        last_a = one;
        last_b = other;
    }
    CHECK(pl_ids_worker(&a, last_a) == 3 && pl_ids_worker(&b, last_b) == 4);
    pl_clock_advance_to(&clock, INT64_C(1700000100) * PL_USEC_PER_SEC);
    CHECK(pl_ids_next(&a, &clock) > last_a);
}

static void ids_never_go_back(void) {
    pl_clock_t clock, earlier;
    pl_ids_t ids, again;
    pl_clock_init_virtual(&clock, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_clock_init_virtual(&earlier, INT64_C(1600000000) * PL_USEC_PER_SEC);
    pl_ids_init(&ids, 0, 0, 0);
    pl_id_t last = pl_ids_next(&ids, &clock);
    CHECK(pl_ids_next(&ids, &earlier) > last);
    pl_ids_init(&again, 0, last, 7); /* a new worker of the same number on the same file, its clock behind */
    CHECK(pl_ids_next(&again, &earlier) > last);
}

/* One that runs what another has made, whose clock is ahead, or whose number is greater in the same millisecond. */
static void ids_pass_what_others_have_made(void) {
    pl_clock_t ahead, behind;
    pl_ids_t maker, runner;
    pl_clock_init_virtual(&ahead, INT64_C(1700003600) * PL_USEC_PER_SEC);
    pl_clock_init_virtual(&behind, INT64_C(1700000000) * PL_USEC_PER_SEC);
    pl_ids_init(&maker, 9, 0, 0);
    pl_ids_init(&runner, 3, 0, 0);
    for (int i = 0; i < 10; i++) {
        pl_id_t parent = pl_ids_next(&maker, i % 2 == 0 ? &ahead : &behind);
        pl_ids_pass(&runner, parent);
        pl_id_t child = pl_ids_next(&runner, &behind);
        CHECK(child > parent);
        pl_ids_pass(&runner, child); /* of its own, and what is older: nothing is skipped */
        pl_ids_pass(&runner, parent);
        CHECK(pl_ids_next(&runner, &behind) == child + 1);
    }
}

/* Workers of the same number on two files, in the same milliseconds, as two engines of a process have them. */
static void ids_of_stores_differ(void) {
    enum { STORES = 200, EACH = 20, MEET_MAX = 3 };
    static pl_id_t seen[STORES * EACH];
    pl_random_t random;
    int n = 0, met = 0;
    pl_random_init_seed(&random, 7);
    for (int i = 0; i < STORES; i++) {
        pl_clock_t clock;
        pl_ids_t ids;
        uint32_t store = 0;
        pl_clock_init_virtual(&clock, INT64_C(1700000000) * PL_USEC_PER_SEC);
        CHECK(pl_random_bytes(&random, &store, sizeof store) == PL_OK);
        pl_ids_init(&ids, 1, 0, store);
        for (int k = 0; k < EACH; k++) {
            seen[n] = pl_ids_next(&ids, &clock);
            for (int j = 0; j < n; j++)
                met += seen[j] == seen[n];
            n++;
        }
    }
    CHECK(met <= MEET_MAX * EACH); /* of 19,900 pairs of stores; without a part of their own all would */
}

/* A clock before 2020 makes ids, too. */
static void ids_are_positive(void) {
    pl_clock_t clock;
    pl_ids_t ids;
    pl_clock_init_virtual(&clock, 0);
    for (uint32_t store = 0; store < 4096; store++) {
        pl_ids_init(&ids, (int)(store & (PL_IDS_WORKERS - 1)), 0, store);
        CHECK(pl_ids_next(&ids, &clock) > 0);
    }
}

static void clock_reads_seconds(void) {
    CHECK(pl_clock_from_seconds(1.5) == 1500000);
    CHECK(pl_clock_from_seconds(-0.25) == -250000);
    CHECK(pl_clock_from_seconds(1e300) == PL_USEC_NEVER - 1);
    CHECK(pl_clock_from_seconds(-1e300) == -(PL_USEC_NEVER - 1));
    CHECK(pl_clock_from_seconds(strtod("nan", NULL)) == 0);
    CHECK(pl_clock_ms(0.0004) == 1 && pl_clock_ms(1.5) == 1500 && pl_clock_ms(-1) == 0);
    CHECK(pl_clock_ms(1e300) == PL_CLOCK_MS_MAX && pl_clock_ms(strtod("nan", NULL)) == 0);
    pl_clock_t clock;
    pl_clock_init_virtual(&clock, 10);
    pl_clock_advance_to(&clock, 5);
    CHECK(pl_clock_now(&clock) == 10);
    pl_clock_advance_to(&clock, 15);
    CHECK(pl_clock_now(&clock) == 15);
}

static void sums_of_times_saturate(void) {
    CHECK(pl_clock_add(5, 7) == 12 && pl_clock_add(5, -7) == -2);
    CHECK(pl_clock_add(PL_USEC_MAX, 1) == PL_USEC_MAX && pl_clock_add(5, PL_USEC_MAX) == PL_USEC_MAX);
    CHECK(pl_clock_add(PL_USEC_MAX, PL_USEC_MAX) == PL_USEC_MAX);
    CHECK(pl_clock_add(-PL_USEC_MAX, -1) == -PL_USEC_MAX && pl_clock_add(-5, -PL_USEC_MAX) == -PL_USEC_MAX);
    CHECK(pl_clock_add(PL_USEC_MAX, -PL_USEC_MAX) == 0);
    CHECK(pl_clock_add(PL_USEC_NEVER, -5) == PL_USEC_NEVER);
}

static void clocks_agree(void) {
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    int64_t offset = pl_clock_offset();
    for (int i = 0; i < 1000; i++) {
        pl_usec_t due = pl_clock_due(&clock), steady = pl_clock_steady(&clock);
        CHECK(due <= pl_clock_now(&clock) && pl_clock_steady(&clock) >= steady);
        CHECK(time(NULL) >= due / PL_USEC_PER_SEC); /* what is due is due by the clock of time() */
    }
    CHECK(llabs(pl_clock_offset() - offset) < PL_USEC_PER_SEC);
    pl_clock_init_virtual(&clock, 77);
    CHECK(pl_clock_due(&clock) == 77 && pl_clock_steady(&clock) == 77);
}

static void seeds_repeat(void) {
    pl_random_t a, b, system;
    unsigned char one[37], other[37];
    pl_random_init_seed(&a, 42);
    pl_random_init_seed(&b, 42);
    CHECK(pl_random_bytes(&a, one, sizeof one) == PL_OK && pl_random_bytes(&b, other, sizeof other) == PL_OK);
    CHECK(memcmp(one, other, sizeof one) == 0);
    pl_random_init_system(&system);
    CHECK(pl_random_bytes(&system, other, sizeof other) == PL_OK && memcmp(one, other, sizeof one) != 0);
}

static void arenas_hold_any_size(void) {
    pl__arena_t arena = { NULL }, more = { NULL };
    pl_str_t copy;
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        unsigned char *memory = pl__arena_get(&arena, size);
        CHECK(memory && memory[0] == 0 && memory[size - 1] == 0 && (uintptr_t)memory % 16 == 0);
        if (memory)
            memset(memory, 0xff, size);
    }
    CHECK(pl__arena_get(&arena, SIZE_MAX / 2) == NULL);
    CHECK(pl__arena_copy(&more, (pl_str_t){ "a\0b", 3 }, &copy) == PL_OK && copy.len == 3 && copy.ptr[2] == 'b');
    CHECK(pl__arena_copy(&more, PL_STR_NONE, &copy) == PL_OK && copy.ptr == NULL);
    CHECK(pl__arena_copy(&more, PL_STR_LIT(""), &copy) == PL_OK && copy.ptr != NULL && copy.len == 0);
    pl__arena_join(&arena, &more);
    CHECK(more.head == NULL);
    pl__arena_free(&arena);
    CHECK(arena.head == NULL);
}

static void arrays_grow(void) {
    int *array = NULL;
    size_t size = 0;
    for (size_t len = 0; len < 100; len++) {
        int *room = pl__reserve(array, len, &size, 3, sizeof *room);
        CHECK(room && size > len);
        array = room;
        array[len] = (int)len;
    }
    CHECK(array && array[0] == 0 && array[99] == 99 && size == 192);
    pl__alloc_fail_at(1);
    CHECK(!pl__alloc_failed() && pl__reserve(array, size, &size, 3, sizeof *array) == NULL && size == 192);
    pl__alloc_fail_at(0);
    pl__free(array);
}

static void buffers_grow(void) {
    pl__buf_t buf = { 0 };
    for (int i = 0; i < 1000; i++)
        pl__buf_add(&buf, &i, sizeof i);
    int last;
    memcpy(&last, buf.ptr + 999 * sizeof last, sizeof last);
    CHECK(buf.rc == PL_OK && buf.len == 1000 * sizeof last && last == 999);
    pl__buf_free(&buf);
    CHECK(buf.ptr == NULL && buf.len == 0);
}

static void digests_match_the_standard(void) {
    char hex[PL_SHA1_HEX_LEN + 1];
    pl_sha1_hex("abc", 3, hex);
    CHECK(strcmp(hex, "a9993e364706816aba3e25717850c26c9cd0d89d") == 0);
    pl_sha1_hex("", 0, hex);
    CHECK(strcmp(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709") == 0);
    pl_sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex); /* needs a second last block */
    CHECK(strcmp(hex, "84983e441c3bd26ebaae4aa1f95129e5e54670f1") == 0);
}

static void results_have_names(void) {
    pl_error_t error = { 0 };
    CHECK(strcmp(pl_result_name(PL_EFULL), "EFULL") == 0 && strcmp(pl_result_text(PL_EFULL), "disk full") == 0);
    CHECK(strcmp(pl_result_name(-999), "EOTHER") == 0);
    CHECK(PL__FAIL(&error, PL_EIO, "%s %d", "text", 7) == PL_EIO && strcmp(error.message, "text 7") == 0);
    CHECK(error.code == PL_EIO);
    CHECK(PL__FAIL(NULL, PL_EIO, "nobody asks") == PL_EIO);
}

int main(void) {
    ids_order_by_time_and_never_repeat();
    ids_never_go_back();
    ids_pass_what_others_have_made();
    ids_of_stores_differ();
    ids_are_positive();
    clock_reads_seconds();
    sums_of_times_saturate();
    clocks_agree();
    seeds_repeat();
    arenas_hold_any_size();
    arrays_grow();
    buffers_grow();
    digests_match_the_standard();
    results_have_names();
    return check_end();
}
