/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoding what strangers send. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "data/variant.h"
#include "support/support.h"

enum { FUZZ_INPUTS = 100000, FUZZ_BYTES = 256, BUFFER_BYTES = 4096 };

static const struct {
    const char *what;
    uint8_t bytes[24];
    size_t size_bytes;
} damaged[] = {
    {"nothing", {0}, 0},
    {"another field", {0x12, 0x00}, 2},
    {"a length without end",
     {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
     13},
    {"a length beyond the end", {0x0a, 0x7f, 0x10, 0x01}, 4},
    {"an empty node", {0x0a, 0x00}, 2},
    {"two values", {0x0a, 0x02, 0x18, 0x01, 0x0a, 0x02, 0x18, 0x01}, 8},
    {"a list of more than comes", {0x0a, 0x02, 0x40, 0x05, 0x0a, 0x02, 0x18, 0x01}, 8},
    {"a list of 2^63", {0x0a, 0x0b, 0x40, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 13},
    {"a text that is not UTF-8", {0x0a, 0x03, 0x32, 0x01, 0xff}, 5},
    {"a text with a NUL", {0x0a, 0x04, 0x32, 0x02, 'a', 0x00}, 6},
    {"a key twice",
     {0x0a, 0x02, 0x48, 0x02, 0x0a, 0x05, 0x0a, 0x01, 'k', 0x18, 0x01, 0x0a, 0x05, 0x0a, 0x01, 'k', 0x18,
      0x00},
     18},
    {"a handle where none can be", {0x0a, 0x04, 0x52, 0x02, 0x08, 0x04}, 6},
    {"a descriptor that did not come", {0x0a, 0x02, 0x58, 0x01}, 4},
};

/* shows: SEC-5 */
START_TEST(damaged_messages_are_refused)
{
    mproc_variant back;

    ck_assert_msg(mproc__variant_decode(damaged[_i].bytes, damaged[_i].size_bytes, &back) == MPROC_EPROTOCOL,
                  "%s", damaged[_i].what);
}
END_TEST

/* A list that says 2^20 items in a message of 2 MiB of the smallest nodes is all right; memory follows what came. */
START_TEST(memory_is_in_proportion_to_what_came)
{
    enum { ITEMS = 1 << 20 };
    uint8_t *bytes = malloc(8 + 4 * ITEMS), head[] = {0x0a, 0x04, 0x40, 0x80, 0x80, 0x40};
    mproc_variant back;

    memcpy(bytes, head, sizeof(head));
    for (size_t i = 0; i < ITEMS; i++)
        memcpy(bytes + sizeof(head) + 4 * i, "\x0a\x02\x18\x01", 4);
    ck_assert_int_eq(mproc__variant_decode(bytes, sizeof(head) + 4 * ITEMS, &back), 0);
    ck_assert_uint_eq(mproc_variant_count(back), ITEMS);
    mproc_variant_clear(&back);
    ck_assert_int_eq(mproc__variant_decode(bytes, sizeof(head) + 4 * (ITEMS - 1), &back), MPROC_EPROTOCOL);
    free(bytes);
}
END_TEST

static uint64_t fuzz_state;

static uint32_t fuzz_next(void)
{
    fuzz_state = fuzz_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(fuzz_state >> 33);
}

/* A sample of all kinds, encoded: what mutation starts from. */
static size_t sample_encode(uint8_t *bytes)
{
    mproc_variant dict = mproc_null();
    size_t size_bytes = 0;

    mproc_variant_set(&dict, "key",
                      MPROC_ARGS(1, -70000, "text", 2.5, mproc_bytes("\0\1\2", 3), mproc_bool(true)));
    mproc_variant_set(&dict, "other", MPROC_ARGS(MPROC_ARGS(MPROC_ARGS("deep")), mproc_null()));
    ck_assert_int_eq(mproc__variant_encoded_size(dict, &size_bytes), 0);
    ck_assert_uint_le(size_bytes, FUZZ_BYTES);
    ck_assert_int_eq(mproc__variant_encode(dict, bytes, FUZZ_BYTES), 0);
    mproc_variant_clear(&dict);
    return size_bytes;
}

/* Cuts, changes, doubles or swaps a few bytes; every fourth input is wholly random. */
static size_t fuzz_make(const uint8_t *sample, size_t sample_bytes, uint8_t *bytes)
{
    size_t size_bytes = sample_bytes;

    memcpy(bytes, sample, sample_bytes);
    if (fuzz_next() % 4 == 0) {
        size_bytes = fuzz_next() % FUZZ_BYTES;
        for (size_t i = 0; i < size_bytes; i++)
            bytes[i] = (uint8_t)fuzz_next();
        return size_bytes;
    }
    for (uint32_t n = fuzz_next() % 4 + 1; n > 0; n--)
        bytes[fuzz_next() % size_bytes] ^= (uint8_t)(fuzz_next() % 3 ? 1u << fuzz_next() % 8 : fuzz_next());
    if (fuzz_next() % 3 == 0)
        size_bytes = fuzz_next() % size_bytes + 1;
    return size_bytes;
}

static int fuzz_decode(const uint8_t *bytes, size_t size_bytes)
{
    uint8_t *exact = malloc(size_bytes + (size_bytes == 0)), again[BUFFER_BYTES];
    mproc_variant value;
    int code;

    memcpy(exact, bytes,
           size_bytes); /* apart and of exactly this size, so that a sanitizer sees a read beyond it */
    code = mproc__variant_decode(exact, size_bytes, &value);
    free(exact);
    if (code == 0) {
        ck_assert_int_eq(mproc__variant_encode(value, again, sizeof(again)), 0);
        mproc_variant_clear(&value);
    }
    return code;
}

/* shows: SEC-5 */
START_TEST(a_hundred_thousand_random_messages_do_no_harm)
{
    uint8_t sample[FUZZ_BYTES], bytes[FUZZ_BYTES];
    size_t sample_bytes = sample_encode(sample);
    unsigned good = 0;

    fuzz_state = 20240229;
    for (int i = 0; i < FUZZ_INPUTS; i++) {
        size_t size_bytes = fuzz_make(sample, sample_bytes, bytes);
        int code = fuzz_decode(bytes, size_bytes);
        good += code == 0;
        if (code != 0)
            ck_assert_int_eq(code, MPROC_EPROTOCOL);
    }
    /* Both ways were taken: a flipped bit in a number or a text is a value all the same. */
    ck_assert_uint_gt(good, FUZZ_INPUTS / 100);
    ck_assert_uint_lt(good, FUZZ_INPUTS / 2);
}
END_TEST

START_TEST(every_failing_allocation_leaves_nothing_behind)
{
    uint8_t bytes[FUZZ_BYTES];
    size_t size_bytes = sample_encode(bytes);
    mproc_variant back;
    bool failed = true;
    unsigned n;

    for (n = 1; failed; n++) {
        int code;
        support_fail_allocation(n);
        code = mproc__variant_decode(bytes, size_bytes, &back);
        failed = support_allocation_failed();
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
    }
    ck_assert_uint_gt(n, 8);
    mproc_variant_clear(&back);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("decode");
    TCase *all = support_case(suite, "decode");

    tcase_add_loop_test(all, damaged_messages_are_refused, 0, MPROC__COUNT(damaged));
    tcase_add_test(all, memory_is_in_proportion_to_what_came);
    tcase_add_test(all, a_hundred_thousand_random_messages_do_no_harm);
    tcase_add_test(all, every_failing_allocation_leaves_nothing_behind);
    return support_run(suite, argc, argv);
}
