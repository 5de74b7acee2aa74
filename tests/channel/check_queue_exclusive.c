/* SPDX-License-Identifier: BSD-2-Clause */
/* Queues with one user on a side: who has the role, how it is lost, and what follows where membarrier is denied. Both sides
 * at once: check_queue_exclusive_race.c; how a side is owned: check_side.c; deaths inside a call:
 * tests/kill/sweep_queue_owner.c. */
#include "platform/base.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(8000));
}

static mproc_queue *make(int home, mproc_role exclusive, bool redeliver)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .redeliver = redeliver,
                                                            .max_bytes = 16384, .exclusive = exclusive));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

/* Every call of a side; what each answered must be the same. */
static int every_put(mproc_queue *queue)
{
    int value = 7;
    size_t count;
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_put(queue, &value, sizeof value, MPROC_FOREVER);
    if (mproc_queue_put_variant(queue, mproc_int(7), MPROC_FOREVER) != rc ||
        mproc_queue_put_many(queue, &value, sizeof value, 1, MPROC_FOREVER, &count) != rc ||
        mproc_queue_reserve(queue, 100, MPROC_FOREVER, &loan) != rc)
        return 1;
    return rc == 0 ? mproc_queue_drop(queue, &loan) : rc;
}

static int every_get(mproc_queue *queue)
{
    int value;
    size_t count;
    mproc_variant item;
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_get(queue, &value, sizeof value, MPROC_FOREVER, NULL);
    if (mproc_queue_get_variant(queue, MPROC_FOREVER, &item) != rc ||
        mproc_queue_get_many(queue, &value, sizeof value, 1, MPROC_FOREVER, &count) != rc ||
        mproc_queue_take(queue, MPROC_FOREVER, &loan) != rc)
        return 1;
    return rc;
}

typedef struct outsider {
    mproc_queue *queue;
    int named; /* the pid that the errors name */
    int rc;
} outsider;

/* From a thread or a process that has neither role. */
static int outside(void *context)
{
    outsider *o = context;
    o->rc = every_put(o->queue) != -EBUSY ? 1 : every_get(o->queue) != -EBUSY ? 2 : 0;
    int64_t pid = 0;
    if (o->rc == 0 &&
        (mproc_error_number(mproc_error_of(o->queue), MPROC_ERROR_PID, &pid) < 0 || pid != o->named))
        o->rc = 3;
    size_t items;
    if (o->rc == 0 && (mproc_queue_counts(o->queue, &items, NULL, NULL) < 0 || items != 1))
        o->rc = 4;
    return o->rc;
}

static void *outside_thread(void *context)
{
    outside(context);
    return NULL;
}

static void roles_get(mproc_queue *queue)
{
    int value = 1;
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL), 0);
}

START_TEST(another_thread_is_refused_and_told_who_has_the_role)
{
    mproc_queue *queue = make(_i, MPROC_ROLE_BOTH, false);
    roles_get(queue);
    outsider o = {queue, getpid(), -1};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, outside_thread, &o), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(o.rc, 0);
    roles_get(queue);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(another_process_is_refused_and_told_who_has_the_role)
{
    mproc_queue *queue = make(0, MPROC_ROLE_BOTH, false);
    roles_get(queue);
    outsider o = {queue, getpid(), -1};
    ck_assert_int_eq(support_reap(support_fork(outside, &o), 5000), 0);
    roles_get(queue);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

static int outside_put(void *context)
{
    return every_put(context);
}

static int outside_get(void *context)
{
    return every_get(context);
}

START_TEST(the_other_side_takes_any_number_of_users)
{
    for (int side = MPROC_ROLE_READ; side <= MPROC_ROLE_WRITE; side++) {
        mproc_queue *queue = make(0, (mproc_role)side, false);
        roles_get(queue);
        pid_t child = support_fork(side == MPROC_ROLE_READ ? outside_put : outside_get, queue);
        /* One item is there; the child's four gets need three more. */
        int value = 1;
        for (int i = 0; side == MPROC_ROLE_WRITE && i < 3; i++)
            ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, soon()), 0);
        ck_assert_int_eq(support_reap(child, 5000), 0);
        mproc_queue_close(&queue);
    }
}
END_TEST

static int both_calls(void *context)
{
    mproc_queue *queue = context;
    int value = 3;
    return mproc_queue_put(queue, &value, sizeof value, MPROC_NOW) < 0 ||
           mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL) < 0;
}

static void *both_calls_thread(void *context)
{
    return both_calls(context) == 0 ? context : NULL;
}

START_TEST(a_thread_that_ends_leaves_its_roles_to_the_next)
{
    mproc_queue *queue = make(_i, MPROC_ROLE_BOTH, false);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        void *done = NULL;
        ck_assert_int_eq(pthread_create(&thread, NULL, both_calls_thread, queue), 0);
        pthread_join(thread, &done);
        ck_assert_ptr_eq(done, queue);
    }
    ck_assert_int_eq(both_calls(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int both_and_die(void *context)
{
    if (both_calls(context) == 0)
        raise(SIGKILL);
    return 1;
}

START_TEST(a_process_that_dies_leaves_its_roles_to_the_next)
{
    mproc_queue *queue = make(0, MPROC_ROLE_BOTH, false);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(support_fork(both_and_die, queue), 5000), 256 + SIGKILL);
    ck_assert_int_eq(both_calls(queue), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

typedef struct closing {
    mproc_queue *queue;
    int pipe[2];
} closing;

static int both_and_close(void *context)
{
    closing *c = context;
    char byte = (char)both_calls(c->queue);
    mproc_queue_close(&c->queue);
    bool told = write(c->pipe[1], &byte, 1) == 1;
    pause();
    return told ? 0 : 1;
}

START_TEST(closing_the_handle_leaves_the_roles_to_the_next)
{
    closing c = {.queue = make(0, MPROC_ROLE_BOTH, false)};
    char byte = 1;
    ck_assert_int_eq(pipe(c.pipe), 0);
    pid_t child = support_fork(both_and_close, &c);
    ck_assert_int_eq(read(c.pipe[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 0);
    ck_assert_int_eq(both_calls(c.queue), 0);
    support_kill(child);
    close(c.pipe[0]);
    close(c.pipe[1]);
    mproc_queue_close(&c.queue);
}
END_TEST

static int put_in_child(void *context)
{
    mproc_queue *queue = context;
    int value = 3;
    int rc = mproc_queue_put(queue, &value, sizeof value, MPROC_NOW);
    mproc_queue_close(&queue);
    return rc == -EBUSY ? 0 : 1;
}

START_TEST(a_fork_child_has_not_its_parents_role_and_does_not_end_it)
{
    mproc_queue *queue = make(0, MPROC_ROLE_WRITE, false);
    ck_assert_int_eq(both_calls(queue), 0);
    ck_assert_int_eq(support_reap(support_fork(put_in_child, queue), 5000), 0);
    ck_assert_int_eq(support_reap(support_fork(put_in_child, queue), 5000), 0);
    ck_assert_int_eq(both_calls(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int puts_in_child(void *context)
{
    int value = 3;
    return mproc_queue_put(context, &value, sizeof value, MPROC_NOW);
}

START_TEST(who_says_that_it_reads_leaves_writing_to_the_next)
{
    mproc_queue *queue = make(0, MPROC_ROLE_BOTH, false);
    int value;
    ck_assert_int_eq(both_calls(queue), 0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    ck_assert_int_eq(support_reap(support_fork(puts_in_child, queue), 5000), 0);
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL), 0);
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, MPROC_NOW), -EPERM);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- who is refused has done nothing ---- */

START_TEST(who_is_refused_does_not_count_as_one_that_came)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .expected_writers = 2,
                                                                 .exclusive = MPROC_ROLE_BOTH));
    ck_assert_ptr_nonnull(queue);
    roles_get(queue);
    ck_assert_int_eq(support_reap(support_fork(put_in_child, queue), 5000), 0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    int value;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL), 0);
    /* One came, is a writer no more, and the second is still to come. */
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL), -ETIMEDOUT);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_reserve_that_may_not_be_does_not_take_the_role)
{
    mproc_queue *queue = make(0, MPROC_ROLE_WRITE, false);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    ck_assert_int_eq(mproc_queue_reserve(queue, 100, MPROC_NOW, &loan), -EPERM);
    ck_assert_int_eq(support_reap(support_fork(puts_in_child, queue), 5000), 0);
    mproc_queue_close(&queue);
}
END_TEST

enum { LARGE = 3000 };

static int puts_large_in_child(void *context)
{
    uint8_t large[LARGE] = {0};
    return mproc_queue_put(context, large, sizeof large, mproc_after_ms(200)) == -EBUSY ? 0 : 1;
}

START_TEST(who_is_refused_does_not_wait_for_room)
{
    mproc_queue *queue = make(0, MPROC_ROLE_WRITE, false);
    uint8_t large[LARGE] = {0};
    int rc;
    while ((rc = mproc_queue_put(queue, large, sizeof large, MPROC_NOW)) == 0)
        ;
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_eq(support_reap(support_fork(puts_large_in_child, queue), 5000), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(options_other_than_sides_are_refused)
{
    mproc_queue *queue = NULL;
    ck_assert_int_eq(mproc_queue_create(NULL,
                                        MPROC_WITH(mproc_queue_options, .order = MPROC_ORDER_LIFO,
                                                   .exclusive = MPROC_ROLE_READ),
                                        &queue),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .exclusive = (mproc_role)4), &queue),
        -EINVAL);
    ck_assert_int_eq(
        mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .exclusive = (mproc_role)-1), &queue),
        -EINVAL);
    ck_assert_ptr_null(queue);
}
END_TEST

/* ---- where membarrier is denied ---- */

static bool deny_membarrier(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = MPROC__COUNT(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static bool has_no_owners(const mproc_queue *queue)
{
    return queue->shared->put.side.never && queue->shared->get.side.never &&
           !mproc__side_has_owner(&queue->shared->put.side) &&
           !mproc__side_has_owner(&queue->shared->get.side);
}

/* Everything that would need a barrier beside an owner. */
static int every_wait(mproc_queue *queue)
{
    int value;
    if (both_calls(queue) != 0 || both_calls(queue) != 0)
        return 1;
    if (mproc_queue_get(queue, &value, sizeof value, mproc_after_ms(1), NULL) != -ETIMEDOUT)
        return 2;
    return mproc_queue_join(queue, soon()) == 0 ? 0 : 3;
}

static int denied_creator(void *context)
{
    (void)context;
    if (!deny_membarrier())
        return 10;
    mproc_queue *queue = make(0, MPROC_ROLE_BOTH, false);
    int value;
    int rc = has_no_owners(queue) ? every_wait(queue) : 11;
    if (rc == 0 && (mproc_queue_shutdown(queue, false) != 0 ||
                    mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL) != MPROC_EEND))
        rc = 4;
    mproc_queue_close(&queue);
    return rc;
}

START_TEST(a_queue_made_where_membarrier_is_denied_has_locks)
{
    ck_assert_int_eq(support_reap(support_fork(denied_creator, NULL), 5000), 0);
}
END_TEST

static bool waits_without_owners(void *context)
{
    mproc_queue *queue = context;
    int value;
    return mproc_queue_get(queue, &value, sizeof value, mproc_after_ms(1), NULL) == -ETIMEDOUT &&
           has_no_owners(queue);
}

/* A process that denied it to itself later: one call of it is slow, and from then on nobody owns a side. The deadline of a
 * call may pass before that. */
static int denied_user(void *context)
{
    if (!deny_membarrier())
        return 10;
    return support_until(waits_without_owners, context, 4000) ? 0 : 12;
}

START_TEST(a_process_to_which_membarrier_is_denied_later_ends_owning)
{
    mproc_queue *queue = make(0, MPROC_ROLE_WRITE, false);
    ck_assert_int_eq(mproc__barrier_join(), 0);
    ck_assert_int_eq(both_calls(queue), 0);
    ck_assert(mproc__side_has_owner(&queue->shared->put.side));
    ck_assert_int_eq(support_reap(support_fork(denied_user, queue), 5000), 0);
    ck_assert_int_eq(every_wait(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* A queue that came from elsewhere. */
static int denied_opener(void *context)
{
    mproc_queue *queue = context;
    mproc__handle *handle;
    if (!deny_membarrier())
        return 10;
    if (mproc__queue_noun.attach(queue->segment, &handle) != 0)
        return 1;
    return queue->shared->put.side.never && queue->shared->get.side.never ? 0 : 2;
}

START_TEST(who_opens_a_queue_without_membarrier_ends_owning)
{
    mproc_queue *queue = make(0, MPROC_ROLE_BOTH, false);
    ck_assert_int_eq(mproc__barrier_join(), 0);
    ck_assert_int_eq(both_calls(queue), 0);
    ck_assert(mproc__side_has_owner(&queue->shared->get.side));
    ck_assert_int_eq(support_reap(support_fork(denied_opener, queue), 5000), 0);
    ck_assert_int_eq(every_wait(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue exclusive");
    TCase *roles = support_case(suite, "roles");
    tcase_add_loop_test(roles, another_thread_is_refused_and_told_who_has_the_role, 0, 2);
    tcase_add_test(roles, another_process_is_refused_and_told_who_has_the_role);
    tcase_add_test(roles, the_other_side_takes_any_number_of_users);
    tcase_add_loop_test(roles, a_thread_that_ends_leaves_its_roles_to_the_next, 0, 2);
    tcase_add_test(roles, a_process_that_dies_leaves_its_roles_to_the_next);
    tcase_add_test(roles, closing_the_handle_leaves_the_roles_to_the_next);
    tcase_add_test(roles, a_fork_child_has_not_its_parents_role_and_does_not_end_it);
    tcase_add_test(roles, who_says_that_it_reads_leaves_writing_to_the_next);
    tcase_add_test(roles, who_is_refused_does_not_count_as_one_that_came);
    tcase_add_test(roles, a_reserve_that_may_not_be_does_not_take_the_role);
    tcase_add_test(roles, who_is_refused_does_not_wait_for_room);
    tcase_add_test(roles, options_other_than_sides_are_refused);
    TCase *denied = support_case(suite, "denied");
    tcase_add_test(denied, a_queue_made_where_membarrier_is_denied_has_locks);
    tcase_add_test(denied, a_process_to_which_membarrier_is_denied_later_ends_owning);
    tcase_add_test(denied, who_opens_a_queue_without_membarrier_ends_owning);
    return support_run(suite, argc, argv);
}
