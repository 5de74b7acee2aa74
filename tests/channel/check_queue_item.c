/* SPDX-License-Identifier: BSD-2-Clause */
/* What one get does with what stands in shared memory. */
#include "platform/base.h"

#include "channel/queue_common.h"
#include "platform/platform.h"
#include "support/support.h"

/* The pauses of a getter that waits for company stand in shared memory: 2^32 of them would be a minute. */
START_TEST(a_back_off_overwritten_holds_no_get_up)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, NULL);
    int in = 1, out = 0;
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(mproc_queue_put(queue, &in, sizeof in, MPROC_NOW), 0);
    atomic_store(&queue->shared->get.streak, UINT32_MAX);
    atomic_store(&queue->shared->get.pauses, UINT32_MAX);
    int64_t start_ns = mproc__now_ns();
    ck_assert_int_eq(mproc_queue_get(queue, &out, sizeof out, MPROC_NOW, NULL), 0);
    ck_assert_int_lt(mproc__now_ns() - start_ns, INT64_C(1000000000));
    ck_assert_int_eq(out, in);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue item");
    TCase *item = support_case(suite, "overwritten");
    tcase_add_test(item, a_back_off_overwritten_holds_no_get_up);
    return support_run(suite, argc, argv);
}
