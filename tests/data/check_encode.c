/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoding: there and back. */
#include "platform/base.h"

#include <math.h>

#include "data/thing.h"
#include "data/variant.h"

enum { BUFFER_BYTES = 4096 };

/* Encodes into memory of exactly the announced size, so that sanitizers see a byte too many, and decodes again. */
static void there_and_back(mproc_variant value)
{
    mproc_variant back;
    size_t size_bytes = 0, used = 0;
    uint8_t again[BUFFER_BYTES];
    void *bytes;

    ck_assert_int_eq(mproc__variant_encoded_size(value, &size_bytes), 0);
    bytes = malloc(size_bytes);
    ck_assert_int_eq(mproc__variant_encode(value, bytes, size_bytes), 0);
    ck_assert_int_eq(mproc__variant_decode(bytes, size_bytes, &back), 0);
    ck_assert(mproc_variant_equal(value, back));
    mproc_variant_clear(&back);
    ck_assert_int_eq(mproc__variant_encode(value, bytes, size_bytes - 1), -EMSGSIZE);
    ck_assert_int_eq(mproc__variant_encode_into(value, again, sizeof(again), &used),
                     size_bytes <= sizeof(again) ? 0 : -EMSGSIZE);
    if (size_bytes <= sizeof(again)) {
        ck_assert_uint_eq(used, size_bytes);
        ck_assert_int_eq(mproc__variant_encode(value, bytes, size_bytes), 0);
        ck_assert_int_eq(memcmp(again, bytes, size_bytes), 0);
    }
    free(bytes);
}

START_TEST(every_scalar_comes_back_as_it_was)
{
    static const int64_t whole[] = {0, 1, -1, 127, 128, -128, INT32_MIN, INT64_MAX, INT64_MIN};

    for (size_t i = 0; i < MPROC__COUNT(whole); i++)
        there_and_back(mproc_int(whole[i]));
    there_and_back(mproc_null());
    there_and_back(mproc_bool(false));
    there_and_back(mproc_bool(true));
    there_and_back(mproc_double(0.0));
    there_and_back(mproc_double(-1e-300));
    there_and_back(mproc_double(INFINITY));
    there_and_back(mproc_text(""));
    there_and_back(mproc_text("Fl\xc3\xb6te"));
    there_and_back(mproc_bytes(NULL, 0));
    there_and_back(mproc_bytes("\0\0\xff", 3));
}
END_TEST

START_TEST(lengths_around_the_steps_of_a_varint_come_back)
{
    char *data = calloc(1, 70000);
    const size_t around[] = {100, 16384, 65536};

    memset(data, 'x', 70000);
    for (size_t k = 0; k < MPROC__COUNT(around); k++)
        for (size_t n = around[k] - 12; n < around[k] + 40; n++)
            there_and_back(mproc_bytes(data, n));
    free(data);
}
END_TEST

START_TEST(nested_lists_and_dicts_come_back_as_they_were)
{
    mproc_variant dict = mproc_null(), empty_dict;
    char key[16];

    ck_assert_int_eq(mproc__variant_make(MPROC_KIND_DICT, 0, &empty_dict), 0);
    there_and_back(empty_dict);
    there_and_back(mproc_items(NULL, 0));
    there_and_back(MPROC_ARGS(1, "two", 3.0, mproc_items(NULL, 0), MPROC_ARGS(4, MPROC_ARGS(5))));
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%d", i);
        ck_assert_int_eq(mproc_variant_set(&dict, key, MPROC_ARGS(i, empty_dict)), 0);
    }
    ck_assert_int_eq(mproc_variant_set(&dict, "", mproc_text("the empty key")), 0);
    there_and_back(dict);
    mproc_variant_clear(&dict);
    mproc_variant_clear(&empty_dict);
}
END_TEST

START_TEST(a_received_text_ends_with_a_nul_and_a_received_list_grows)
{
    uint8_t bytes[64];
    size_t size_bytes;
    mproc_variant args = MPROC_ARGS("abc", mproc_bytes("xyz", 3)), back;

    ck_assert_int_eq(mproc__variant_encoded_size(args, &size_bytes), 0);
    ck_assert_uint_le(size_bytes, sizeof(bytes));
    ck_assert_int_eq(mproc__variant_encode(args, bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(mproc__variant_decode(bytes, size_bytes, &back), 0);
    memset(bytes, 0, sizeof(bytes)); /* nothing points into the message */
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_at(back, 0)), "abc");
    ck_assert_int_eq(((const char *)mproc_variant_at(back, 1).data)[3], '\0');
    ck_assert_int_eq(mproc_variant_append(&back, mproc_int(3)), 0);
    ck_assert_uint_eq(mproc_variant_count(back), 3);
    mproc_variant_clear(&back);
}
END_TEST

START_TEST(what_cannot_travel_is_refused_by_name)
{
    void *lock = thing_create(&thing_ops, 5, -1);
    size_t size_bytes = 77;
    int x = 0;

    ck_assert_int_eq(mproc__variant_encoded_size(MPROC_ARGS(1, mproc_handle(lock)), &size_bytes),
                     MPROC_ECANNOTCROSS);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "MPROC_ECANNOTCROSS: lock 5 cannot go there");
    ck_assert_int_eq(mproc__variant_encoded_size(mproc_fd(1), &size_bytes), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc__variant_encoded_size(mproc_pointer(&x), &size_bytes), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc__variant_encoded_size(mproc_text("\xff"), &size_bytes), MPROC_EARGUMENT);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()),
                     "MPROC_EARGUMENT: a text that is not UTF-8 (send it as bytes)");
    ck_assert_uint_eq(size_bytes, 77);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(depth_has_a_limit_both_ways)
{
    mproc_variant levels[40] = {[0] = mproc_int(1)}, back;
    size_t size_bytes;
    uint8_t bytes[256];

    for (size_t i = 1; i < MPROC__COUNT(levels); i++)
        levels[i] = mproc_items(&levels[i - 1], 1);
    there_and_back(levels[32]);
    ck_assert_int_eq(mproc__variant_encoded_size(levels[33], &size_bytes), MPROC_EARGUMENT);
    /* One list more around the deepest there may be: a node of 4 bytes in front, "list of one". */
    ck_assert_int_eq(mproc__variant_encoded_size(levels[32], &size_bytes), 0);
    ck_assert_int_eq(mproc__variant_encode(levels[32], bytes + 4, sizeof(bytes) - 4), 0);
    memcpy(bytes, bytes + 4, 4);
    ck_assert_int_eq(mproc__variant_decode(bytes, size_bytes + 4, &back), MPROC_EPROTOCOL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "deep"));
}
END_TEST

/* A protocol is a promise: these bytes are what the first version wrote. */
START_TEST(the_bytes_are_those_of_the_first_version)
{
    static const uint8_t wanted[] = {0x0a, 0x02, 0x40, 0x03,           /* list of 3 */
                                     0x0a, 0x02, 0x20, 0x03,           /* -2 */
                                     0x0a, 0x04, 0x32, 0x02, 'h', 'i', /* "hi" */
                                     0x0a, 0x02, 0x10, 0x01};          /* null */
    uint8_t bytes[sizeof(wanted)];

    ck_assert_int_eq(mproc__variant_encode(MPROC_ARGS(-2, "hi", mproc_null()), bytes, sizeof(bytes)), 0);
    ck_assert_mem_eq(bytes, wanted, sizeof(wanted));
}
END_TEST

/* They are written without protobuf-c, and must be what it writes. */
START_TEST(numbers_have_the_bytes_of_the_first_version)
{
    static const uint8_t wanted[] = {0x0a, 0x02, 0x40, 0x04, /* list of 4 */
                                     0x0a, 0x09, 0x29, 0,    0,    0,    0,    0,    0, 0xf8, 0xbf, /* -1.5 */
                                     0x0a, 0x02, 0x20, 0x00,                                        /* 0 */
                                     0x0a, 0x03, 0x20, 0x80, 0x02,                                  /* 128 */
                                     0x0a, 0x0b, 0x20, 0xff, 0xff, 0xff, 0xff, 0xff, /* -2^63 */
                                     0xff, 0xff, 0xff, 0xff, 0x01};
    uint8_t bytes[sizeof(wanted)];

    ck_assert_int_eq(mproc__variant_encode(MPROC_ARGS(-1.5, 0, 128, INT64_MIN), bytes, sizeof(bytes)), 0);
    ck_assert_mem_eq(bytes, wanted, sizeof(wanted));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("encode");
    TCase *all = support_case(suite, "encode");

    tcase_add_test(all, every_scalar_comes_back_as_it_was);
    tcase_add_test(all, lengths_around_the_steps_of_a_varint_come_back);
    tcase_add_test(all, nested_lists_and_dicts_come_back_as_they_were);
    tcase_add_test(all, a_received_text_ends_with_a_nul_and_a_received_list_grows);
    tcase_add_test(all, what_cannot_travel_is_refused_by_name);
    tcase_add_test(all, depth_has_a_limit_both_ways);
    tcase_add_test(all, the_bytes_are_those_of_the_first_version);
    tcase_add_test(all, numbers_have_the_bytes_of_the_first_version);
    return support_run(suite, argc, argv);
}
