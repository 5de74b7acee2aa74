/* SPDX-License-Identifier: BSD-2-Clause */
/* Slices of an array, and items of one byte as text. Loop tests run once for each home: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "sync/array_common.h"

static int makes_prefix_sums(void *unused)
{
    (void)unused;
    int32_t items[7];
    size_t count = mproc_array_count(array);
    if (count != 7 || mproc_array_read(array, 0, count, items) != 0)
        return 1;
    for (size_t i = 1; i < count; i++)
        items[i] += items[i - 1];
    return mproc_array_write(array, 0, count, items);
}

/* shows: SCTY-05 */
START_TEST(slices_are_read_assigned_and_summed_up_by_a_child)
{
    const int32_t initial[7] = {680, 626, 934, 821, 150, 233, 548}, two[2] = {1, 2};
    int32_t seen[7];
    int home = _i % 2;
    array_make(home, MPROC_ITEM_INT32, 7,
               MPROC_WITH(mproc_array_options, .initial = initial, .unlocked = _i >= 2));
    ck_assert_uint_eq(mproc_array_count(array), 7);
    for (size_t i = 0; i < 7; i++)
        ck_assert_int_eq(item_get(i), initial[i]);
    ck_assert_int_eq(mproc_array_read(array, 2, 4, seen), 0);
    ck_assert_int_eq(memcmp(seen, initial + 2, 4 * sizeof(int32_t)), 0);
    ck_assert_int_eq(mproc_array_write(array, 4, 2, two), 0);
    ck_assert(item_get(3) == 821 && item_get(4) == 1 && item_get(5) == 2 && item_get(6) == 548);
    ck_assert_int_eq(mproc_array_write(array, 0, 7, initial), 0);
    ck_assert_int_eq(elsewhere(home, makes_prefix_sums), 0);
    for (int32_t i = 0, sum = 0; i < 7; i++) {
        sum += initial[i];
        ck_assert_int_eq(item_get((size_t)i), sum);
    }
    array_drop();
}
END_TEST

START_TEST(slices_of_every_item_size_go_to_and_from_memory_that_is_not_aligned)
{
    const size_t sizes[] = {1, 2, 4, 8, 24};
    const mproc_item types[] = {MPROC_ITEM_INT8, MPROC_ITEM_UINT16, MPROC_ITEM_FLOAT, MPROC_ITEM_UINT64,
                                MPROC_ITEM_BYTES};
    unsigned char out[24 * 5 + 1], in[24 * 5 + 1];
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i * 7 + 1);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        const mproc_array_options *options = MPROC_WITH(
            mproc_array_options, .item_bytes = types[i] == MPROC_ITEM_BYTES ? sizes[i] : 0, .unlocked = true);
        ck_assert_int_eq(mproc_array_create(NULL, types[i], 7, options, &array), 0);
        memset(in, 0, sizeof(in));
        ck_assert_int_eq(mproc_array_write(array, 1, 5, out + 1), 0);
        ck_assert_int_eq(mproc_array_read(array, 1, 5, in + 1), 0);
        ck_assert_int_eq(memcmp(in + 1, out + 1, 5 * sizes[i]), 0);
        const unsigned char *data = mproc_array_data(array);
        ck_assert_int_eq(memcmp(data + sizes[i], out + 1, 5 * sizes[i]), 0);
        for (size_t b = 0; b < sizes[i]; b++)
            ck_assert(data[b] == 0 && data[6 * sizes[i] + b] == 0);
        mproc_array_close(&array);
    }
}
END_TEST

/* Half a pattern must never be seen in one item. The reader stops the writer. */
static int writes_patterns(void *unused)
{
    (void)unused;
    uint64_t items[64];
    for (uint64_t n = 1; item_get(64) == 0; n++) {
        for (size_t i = 0; i < 64; i++)
            items[i] = (n & 1) ? UINT64_MAX : 0;
        if (mproc_array_write(array, 0, 64, items) != 0)
            return 1;
    }
    return 0;
}

START_TEST(an_item_is_never_seen_half_written)
{
    array_make_of(0, MPROC_ITEM_UINT64, 65, NULL);
    pid_t writer = support_fork(writes_patterns, NULL);
    uint64_t items[64];
    for (int round = 0; round < 20000; round++) {
        ck_assert_int_eq(mproc_array_read(array, 0, 64, items), 0);
        for (size_t i = 0; i < 64; i++)
            ck_assert(items[i] == 0 || items[i] == UINT64_MAX);
    }
    ck_assert_int_eq(mproc_array_set_int(array, 64, 1), 0);
    ck_assert_int_eq(support_reap(writer, 10000), 0);
    array_drop();
}
END_TEST

/* ---- text ---- */

/* shows: SCTY-09 */
START_TEST(bytes_are_a_text_up_to_the_first_nul_and_one_that_does_not_fit_is_refused)
{
    char text[32], twice[64];
    size_t length = 99;
    array_make_of(_i, MPROC_ITEM_INT8, 20, NULL);
    ck_assert_int_eq(mproc_array_set_text(array, "hello"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, sizeof(text), &length), 0);
    ck_assert_str_eq(text, "hello");
    snprintf(twice, sizeof(twice), "%s%s", text, text);
    ck_assert_int_eq(mproc_array_set_text(array, twice), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, 11, &length), 0);
    ck_assert_str_eq(text, "hellohello");
    ck_assert_uint_eq(length, 10);
    ck_assert_int_eq(mproc_array_set_text(array, "123456789012345678901"), -ERANGE);
    ck_assert_int_eq(mproc_array_get_text(array, text, 10, &length), MPROC_ETOOSMALL);
    ck_assert_uint_eq(length, 10);
    ck_assert_str_eq(text, "hellohello");
    ck_assert_int_eq(mproc_array_set_text(array, "x"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, sizeof(text), NULL), 0);
    ck_assert_str_eq(text, "x");
    ck_assert_int_eq(memcmp(mproc_array_data(array), "x\0llohello\0\0\0\0\0\0\0\0\0\0", 20), 0);
    ck_assert_int_eq(mproc_array_set_text(array, "12345678901234567890"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, 21, &length), 0);
    ck_assert_str_eq(text, "12345678901234567890");
    ck_assert_int_eq(mproc_array_get_text(array, text, 0, &length), MPROC_ETOOSMALL);
    ck_assert_int_eq(mproc_array_set_text(array, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_get_text(array, NULL, 5, NULL), -EINVAL);
    array_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array_slices");
    TCase *slices = support_case(suite, "slices");
    tcase_add_loop_test(slices, slices_are_read_assigned_and_summed_up_by_a_child, 0, 4);
    tcase_add_test(slices, slices_of_every_item_size_go_to_and_from_memory_that_is_not_aligned);
    tcase_add_test(slices, an_item_is_never_seen_half_written);
    tcase_add_loop_test(slices, bytes_are_a_text_up_to_the_first_nul_and_one_that_does_not_fit_is_refused, 0,
                        3);
    return support_run(suite, argc, argv);
}
