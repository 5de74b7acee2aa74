/* SPDX-License-Identifier: BSD-2-Clause */
/* Two handles of one queue in a process: a thread that was given a side by one may be inside by the other. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "shm/noun.h"
#include "support/support.h"

/* Calls in a row after which whoever makes them owns the side, also where another thread called before it. */
enum { MANY = 2000 };

typedef struct two_handles {
    mproc_queue *joined, *other;
    _Atomic int inside, leave;
} two_handles;

static int put(mproc_queue *queue, mproc_deadline deadline)
{
    int value = 7;
    return mproc_queue_put(queue, &value, sizeof value, deadline);
}

static int pairs(mproc_queue *queue, int count)
{
    mproc_deadline soon = mproc_after_ms(support_ms(8000));
    int rc = 0, value;
    for (int i = 0; i < count && rc == 0; i++) {
        rc = put(queue, soon);
        if (rc == 0)
            rc = mproc_queue_get(queue, &value, sizeof value, soon, NULL);
    }
    return rc;
}

/* Becomes the owner by one handle, goes in by the other and stays there until it is told. */
static void *stays_inside(void *context)
{
    two_handles *two = context;
    mproc__side_slot_shared *slot = NULL;
    if (pairs(two->joined, MANY) == 0 && pairs(two->other, 1) == 0)
        slot = mproc__side_enter(&two->other->shared->put.side);
    atomic_store(&two->inside, slot ? 1 : -1);
    while (slot && !atomic_load(&two->leave))
        sched_yield();
    if (slot)
        mproc__side_leave(slot);
    return slot && pairs(two->other, 1) == 0 ? context : NULL;
}

static int handle_again(mproc_queue *queue, mproc_queue **ret_queue)
{
    mproc__parcel parcel = {.allow_fds = true};
    mproc__handle *handle = NULL;
    int rc = queue->handle.ops->pack(&queue->handle, &parcel);
    if (rc == 0)
        rc = mproc__noun_unpack(&parcel, parcel.blob, parcel.blob_bytes, &handle);
    for (size_t i = 0; i < parcel.fd_count; i++)
        if (parcel.fds[i] >= 0)
            close(parcel.fds[i]);
    *ret_queue = (mproc_queue *)(void *)handle;
    return rc;
}

/* One thread is inside by a handle, another closes the one by which that was given the side; stops there, then both go on. */
static int closes_one_of_two(void *context)
{
    two_handles *two = context;
    pthread_t thread;
    void *done = NULL;
    /* By this thread: with its life word in another's hands the row would stay until that one ends. */
    if (pairs(two->joined, 1) != 0 || pthread_create(&thread, NULL, stays_inside, two) != 0)
        return 1;
    while (atomic_load(&two->inside) == 0)
        sched_yield();
    if (atomic_load(&two->inside) < 0)
        return 2;
    mproc_queue_close(&two->joined);
    raise(SIGSTOP);
    atomic_store(&two->leave, 1);
    pthread_join(thread, &done);
    return done ? 0 : 3;
}

/* Gets the row that the slot names, and dies there. */
static int dies_in_the_row(void *context)
{
    two_handles *two = context;
    mproc__side_shared *side = &two->other->shared->put.side;
    uint32_t row = atomic_load(&side->slots[atomic_load(&side->owner) % MPROC__SIDE_SLOTS].row);
    int joined = mproc__segment_join(two->other->segment);
    if (joined < 0 || (uint32_t)joined != row / 2)
        return 1;
    return raise(SIGKILL);
}

/* The row becomes that of another process, which dies: it tells nothing of who is inside. Of the producers' side, since to close
 * takes the consumers' back. */
START_TEST(an_owner_whose_first_handle_was_closed_is_still_inside)
{
    static two_handles two;
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = 65536));
    int status;
    ck_assert_ptr_nonnull(queue);
    two.joined = queue;
    ck_assert_int_eq(handle_again(queue, &two.other), 0);
    pid_t child = support_fork(closes_one_of_two, &two);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(support_reap(support_fork(dies_in_the_row, &two), 5000), 256 + SIGKILL);
    ck_assert_int_eq(put(queue, mproc_after_ms(50)), -ETIMEDOUT);
    kill(child, SIGCONT);
    ck_assert_int_eq(support_reap(child, 10000), 0);
    ck_assert_int_eq(pairs(queue, 1), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&two.other);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__noun_register(&mproc__queue_noun);
    Suite *suite = suite_create("side_handles");
#if !MPROC__THREAD_SANITIZER /* takes the lock each time */
    TCase *handles = support_case(suite, "handles");
    tcase_add_test(handles, an_owner_whose_first_handle_was_closed_is_still_inside);
#endif
    return support_run(suite, argc, argv);
}
