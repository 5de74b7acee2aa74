/* SPDX-License-Identifier: BSD-2-Clause */
/* Many of one size at once. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/queue_common.h"
#include "support/support.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(int which, size_t max_items)
{
    mproc_queue *queue =
        queue_make(which & 1 ? MPROC__HOME_THREAD : MPROC__HOME_HOST,
                   MPROC_WITH(mproc_queue_options, .max_items = max_items, .redeliver = which >= 2));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

/* All four kinds of queue; small items are records, large ones and those of an acknowledged queue blocks. */
START_TEST(as_many_as_fit_are_put_and_got_in_order)
{
    static const size_t sizes[] = {0, 1, 64, 1024, 2000};
    for (size_t s = 0; s < MPROC__COUNT(sizes); s++) {
        mproc_queue *queue = make(_i, 10);
        size_t size = sizes[s], n = 0, got = 0;
        uint8_t *in = malloc(16 * size + 1), *out = malloc(16 * size + 1);
        for (size_t i = 0; i < 16 * size; i++)
            in[i] = (uint8_t)(i / size + i);
        ck_assert_int_eq(mproc_queue_put_many(queue, in, size, 16, soon(), &n), 0);
        ck_assert_uint_eq(n, 10);
        ck_assert_int_eq(mproc_queue_put_many(queue, in, size, 1, MPROC_NOW, &n), -ETIMEDOUT);
        ck_assert_int_eq(mproc_queue_get_many(queue, out, size, 3, soon(), &got), 0);
        ck_assert_uint_eq(got, 3);
        ck_assert_int_eq(mproc_queue_get_many(queue, out + 3 * size, size, 13, soon(), &got), 0);
        ck_assert_uint_eq(got, 7);
        ck_assert_int_eq(memcmp(in, out, 10 * size), 0);
        ck_assert_int_eq(mproc_queue_get_many(queue, out, size, 13, MPROC_NOW, &got), -ETIMEDOUT);
        ck_assert_ptr_null(queue_verify(queue, 0));
        free(in);
        free(out);
        mproc_queue_close(&queue);
    }
}
END_TEST

START_TEST(more_than_one_lock_hold_is_put_in_one_call)
{
    mproc_queue *queue = make(_i, 0);
    enum { ITEMS = 5000 };
    uint64_t *in = malloc(ITEMS * sizeof *in), *out = malloc(ITEMS * sizeof *in);
    size_t n = 0, got = 0;
    for (uint64_t i = 0; i < ITEMS; i++)
        in[i] = i;
    ck_assert_int_eq(mproc_queue_put_many(queue, in, sizeof *in, ITEMS, soon(), &n), 0);
    ck_assert_uint_eq(n, ITEMS);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, sizeof *out, ITEMS, soon(), &got), 0);
    ck_assert_uint_eq(got, ITEMS);
    ck_assert_int_eq(memcmp(in, out, ITEMS * sizeof *in), 0);
    free(in);
    free(out);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_message_of_another_size_ends_the_batch_and_is_kept)
{
    mproc_queue *queue = make(_i, 0);
    char out[40];
    size_t n = 0;
    ck_assert_int_eq(mproc_queue_put(queue, "1234", 4, soon()), 0);
    ck_assert_int_eq(mproc_queue_put(queue, "5678", 4, soon()), 0);
    ck_assert_int_eq(mproc_queue_put(queue, "12345678", 8, soon()), 0);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 4, 10, soon(), &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 4, 10, soon(), &n), MPROC_ETOOSMALL);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 16, 2, soon(), &n), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 8, 2, soon(), &n), 0);
    ck_assert_uint_eq(n, 1);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(batches_end_with_the_queue)
{
    mproc_queue *queue = make(_i, 0);
    char out[4];
    size_t n = 0;
    ck_assert_int_eq(mproc_queue_put_many(queue, "1234", 1, 4, soon(), &n), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(mproc_queue_put_many(queue, "1234", 1, 4, soon(), &n), MPROC_ECLOSED);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 1, 4, soon(), &n), 0);
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, 1, 4, soon(), &n), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue batches");
    TCase *all = support_case(suite, "homes and modes");
    tcase_add_loop_test(all, as_many_as_fit_are_put_and_got_in_order, 0, 4);
    tcase_add_loop_test(all, more_than_one_lock_hold_is_put_in_one_call, 0, 4);
    tcase_add_loop_test(all, a_message_of_another_size_ends_the_batch_and_is_kept, 0, 4);
    tcase_add_loop_test(all, batches_end_with_the_queue, 0, 4);
    return support_run(suite, argc, argv);
}
