/* SPDX-License-Identifier: BSD-2-Clause */
/* A side that one thread has without its lock: who is given it, how others take it back, what is left by those who stop, die
 * or end. Deaths at every state: tests/kill/sweep_queue_owner.c. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

/* Calls in a row after which whoever makes them owns its side, in any case. */
enum { MANY = 300 };

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(8000));
}

static mproc_queue *make(int home)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .max_bytes = 65536));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static mproc__side_shared *side_of(mproc_queue *queue, int i)
{
    return i == 0 ? &queue->shared->put.side : &queue->shared->get.side;
}

/* This thread's own, of both sides. */
static int become_owner(mproc_queue *queue)
{
    int value;
    for (int i = 0; i < MANY; i++)
        if (mproc_queue_put(queue, &i, sizeof i, soon()) < 0 ||
            mproc_queue_get(queue, &value, sizeof value, soon(), NULL) < 0 || value != i)
            return 1;
    return 0;
}

static int pair(mproc_queue *queue)
{
    int value = 5;
    return mproc_queue_put(queue, &value, sizeof value, soon()) < 0 ||
           mproc_queue_get(queue, &value, sizeof value, soon(), NULL) < 0 || value != 5;
}

static int pair_in_child(void *context)
{
    return pair(context);
}

static void *pair_in_thread(void *context)
{
    return pair(context) == 0 ? context : NULL;
}

static bool owns(mproc_queue *queue, int i)
{
    return (atomic_load(&side_of(queue, i)->owner) ^ mproc__me_now.id) < MPROC__SIDE_SLOTS;
}

#if !MPROC__THREAD_SANITIZER
static void *owner_thread(void *context)
{
    mproc_queue *queue = context;
    atomic_store(&side_of(queue, 0)->needed, 8);
    atomic_store(&side_of(queue, 1)->needed, 8);
    return become_owner(queue) == 0 && owns(queue, 0) && owns(queue, 1) ? context : NULL;
}

START_TEST(who_is_alone_for_a_while_owns_the_side)
{
    mproc_queue *queue = make(_i);
    ck_assert_int_eq(pair(queue), 0);
    ck_assert(!owns(queue, 0) && !owns(queue, 1));
    ck_assert_int_eq(become_owner(queue), 0);
    ck_assert(owns(queue, 0) && owns(queue, 1));
    ck_assert_int_eq(atomic_load(&side_of(queue, 0)->slots[0].inside), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(another_takes_it_back_and_the_owner_goes_on)
{
    mproc_queue *queue = make(_i);
    pthread_t thread;
    void *done = NULL;
    ck_assert_int_eq(become_owner(queue), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, pair_in_thread, queue), 0);
    pthread_join(thread, &done);
    ck_assert_ptr_eq(done, queue);
    ck_assert(!owns(queue, 0) && !owns(queue, 1));
    ck_assert_int_eq(pair(queue), 0);
    ck_assert(!owns(queue, 0)); /* it takes longer each time */
    ck_assert_uint_gt(atomic_load(&side_of(queue, 0)->needed), MANY / 2);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_fork_child_owns_nothing_of_its_parents)
{
    mproc_queue *queue = make(0);
    ck_assert_int_eq(become_owner(queue), 0);
    ck_assert_int_eq(support_reap(support_fork(pair_in_child, queue), 5000), 0);
    ck_assert(!owns(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* ---- who is inside ---- */

typedef struct insider {
    mproc_queue *queue;
    int side;
} insider;

/* Goes in as its owner and stops there; then out and on. */
static int stops_inside(void *context)
{
    insider *in = context;
    if (become_owner(in->queue) != 0)
        return 1;
    mproc__side_slot_shared *slot = mproc__side_enter(side_of(in->queue, in->side));
    if (!slot)
        return 2;
    raise(SIGSTOP);
    mproc__side_leave(slot);
    return pair(in->queue);
}

static pid_t insider_start(insider *in)
{
    int status;
    pid_t child = support_fork(stops_inside, in);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
    return child;
}

static int call_of(mproc_queue *queue, int side, mproc_deadline deadline)
{
    int value = 7;
    return side == 0 ? mproc_queue_put(queue, &value, sizeof value, deadline)
                     : mproc_queue_get(queue, &value, sizeof value, deadline, NULL);
}

/* shows: DEATH-11 */
START_TEST(beside_an_owner_stopped_inside_others_keep_their_deadlines)
{
    insider in = {make(0), _i};
    pid_t child = insider_start(&in);
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(call_of(in.queue, _i, mproc_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_eq(call_of(in.queue, _i, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_lt((int)((mproc__now_ns() - begin) / 1000000), support_ms(1000));
    kill(child, SIGCONT);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert_int_eq(pair(in.queue), 0);
    ck_assert_ptr_null(queue_verify(in.queue, 0));
    mproc_queue_close(&in.queue);
}
END_TEST

/* shows: DEATH-1 */
START_TEST(an_owner_killed_inside_keeps_nobody)
{
    insider in = {make(0), _i};
    pid_t child = insider_start(&in);
    support_kill(child);
    ck_assert_int_eq(pair(in.queue), 0);
    ck_assert_ptr_null(queue_verify(in.queue, 0));
    for (int i = 0; i < MPROC__SIDE_SLOTS; i++)
        ck_assert_uint_eq(atomic_load(&side_of(in.queue, _i)->slots[i].inside), 0);
    mproc_queue_close(&in.queue);
}
END_TEST

START_TEST(explain_names_who_stopped_inside)
{
    insider in = {make(0), _i};
    pid_t child = insider_start(&in);
    ck_assert_int_eq(mproc__side_thread(side_of(in.queue, _i)), child);
    support_kill(child);
    mproc_queue_close(&in.queue);
}
END_TEST

/* A thread that looked whether it is the owner and was then held up comes late: what it writes is in its own slot. */
START_TEST(a_slot_is_no_other_threads_before_its_own_has_come_by)
{
    mproc_queue *queue = make(0);
    mproc__side_shared *put = side_of(queue, 0);
    ck_assert_int_eq(become_owner(queue), 0);
    uint64_t slot = atomic_load(&put->owner) % MPROC__SIDE_SLOTS;
    insider in = {queue, 0};
    atomic_store(&put->needed, 8);
    pid_t child = insider_start(&in);
    ck_assert_uint_ne(atomic_load(&put->owner) % MPROC__SIDE_SLOTS, slot);
    atomic_store(&put->slots[slot].inside, 1); /* late, */
    ck_assert(!owns(queue, 0));
    atomic_store(&put->slots[slot].inside, 0); /* and seen */
    ck_assert_int_eq(call_of(queue, 0, MPROC_NOW), -ETIMEDOUT);
    kill(child, SIGCONT);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert_int_eq(pair(queue), 0);
    ck_assert_uint_eq(atomic_load(&put->slots[slot].who), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_call_in_a_call_of_the_same_thread_is_told_so)
{
    mproc_queue *queue = make(_i);
    ck_assert_int_eq(become_owner(queue), 0);
    mproc__side_slot_shared *slot = mproc__side_enter(side_of(queue, 0));
    ck_assert_ptr_nonnull(slot);
    ck_assert_int_eq(call_of(queue, 0, soon()), -EDEADLK);
    mproc__side_leave(slot);
    ck_assert_int_eq(pair(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- what the owner's way may not leave out ---- */

/* shows: WORK-3 */
START_TEST(an_empty_message_of_an_acknowledged_queue_is_redelivered)
{
    mproc_queue *queue = queue_make(homes[_i], MPROC_WITH(mproc_queue_options, .redeliver = true));
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(become_owner(queue), 0);
    ck_assert(owns(queue, 0));
    ck_assert_int_eq(mproc_queue_put(queue, "x", 0, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_uint_eq(loan.data_bytes, 0);
    size_t taken;
    ck_assert_int_eq(mproc_queue_counts(queue, NULL, &taken, NULL), 0);
    ck_assert_uint_eq(taken, 1);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* Its row is given back though the thread that had the side is not the one whose death the row tells. */
static void *owner_and_lease(void *context)
{
    static mproc_loan loan = MPROC_LOAN_INIT;
    mproc_queue *queue = context;
    int value = 9;
    bool done = owner_thread(queue) && mproc_queue_put(queue, &value, sizeof value, soon()) == 0 &&
                mproc_queue_take(queue, soon(), &loan) == 0;
    return done ? context : NULL;
}

static int lease_by_thread_and_die(void *context)
{
    pthread_t thread;
    void *done = NULL;
    if (pair(context) != 0 || pthread_create(&thread, NULL, owner_and_lease, context) != 0)
        return 1;
    pthread_join(thread, &done);
    if (done)
        raise(SIGKILL);
    return 2;
}

/* shows: WORK-3 DEATH-1 */
START_TEST(a_lease_of_a_former_owner_that_died_is_delivered_again)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .redeliver = true));
    int value = 0;
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(support_reap(support_fork(lease_by_thread_and_die, queue), 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), 0);
    ck_assert_int_eq(value, 9);
    mproc_queue_close(&queue);
}
END_TEST

/* A program that takes this one's place keeps pid and thread id. */
static int owner_execs_inside(void *context)
{
    mproc_queue *queue = context;
    if (!owner_thread(queue) || !mproc__side_enter(side_of(queue, 0)))
        return 1;
    execl("/bin/sleep", "sleep", "30", (char *)NULL);
    return 2;
}

/* shows: DEATH-1 */
START_TEST(an_owner_that_execs_inside_keeps_nobody)
{
    mproc_queue *queue = make(0);
    pid_t child = support_fork(owner_execs_inside, queue);
    while (mproc__side_insider(side_of(queue, 0)) != ((uint64_t)child | (uint64_t)child << 32))
        sched_yield();
    ck_assert_int_eq(pair(queue), 0);
    support_kill(child);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: MEM-2 */
START_TEST(an_inside_that_was_overwritten_keeps_nobody_for_ever)
{
    mproc_queue *queue = make(_i);
    mproc__side_shared *put = side_of(queue, 0);
    int value = 3;
    const uint64_t no_process = UINT64_C(3072) << 32, no_number = UINT64_MAX;
    const uint64_t whos[] = {0, mproc__me_now.who, no_process, no_number,
                             (uint32_t)getppid() | (uint64_t)getppid() << 32};
    const int count = MPROC__COUNT(whos);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(become_owner(queue), 0);
        mproc__side_slot_shared *slot = &put->slots[atomic_load(&put->owner) % MPROC__SIDE_SLOTS];
        atomic_store(&slot->who, whos[i]);
        atomic_store(&slot->inside, 1);
        ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, mproc_after_ms(50)),
                         i == count - 1 ? -ETIMEDOUT : 0);
        while (mproc_queue_get(queue, &value, sizeof value, MPROC_NOW, NULL) == 0)
            ;
    }
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), MPROC_ECORRUPT);
    mproc_queue_close(&queue);
}
END_TEST

static int64_t thread_cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

START_TEST(who_waits_for_an_inside_that_nobody_wrote_sleeps)
{
    enum { WAIT_MS = 200 };
    mproc_queue *queue = make(_i);
    mproc__side_shared *put = side_of(queue, 0);
    int value = 3;
    ck_assert_int_eq(become_owner(queue), 0);
    mproc__side_slot_shared *slot = &put->slots[atomic_load(&put->owner) % MPROC__SIDE_SLOTS];
    atomic_store(&slot->who, (uint32_t)getppid() | (uint64_t)getppid() << 32);
    atomic_store(&slot->inside, UINT32_C(0x80000001));
    int64_t before_ms = thread_cpu_ms();
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, mproc_after_ms(WAIT_MS)), -ETIMEDOUT);
    ck_assert_int_lt(thread_cpu_ms() - before_ms, WAIT_MS / 2);
    mproc_queue_close(&queue);
}
END_TEST

static void *exclusive_pair(void *context)
{
    mproc_queue *queue = context;
    bool done = pair(queue) == 0 && pair(queue) == 0 && pair(queue) == 0;
    done = done && mproc__queue_exclusive_leave(queue, MPROC_ROLE_BOTH);
    return done ? context : NULL;
}

START_TEST(a_role_that_is_given_up_leaves_its_slot_to_others)
{
    mproc_queue *queue = queue_make(homes[_i], MPROC_WITH(mproc_queue_options, .exclusive = MPROC_ROLE_BOTH));
    ck_assert_ptr_nonnull(queue);
    for (int i = 0; i < 2 * MPROC__SIDE_SLOTS; i++)
        ck_assert_ptr_nonnull(exclusive_pair(queue));
    for (int i = 0; i < MPROC__SIDE_SLOTS; i++)
        ck_assert_uint_eq(atomic_load(&side_of(queue, 0)->slots[i].who), 0);
    ck_assert_int_eq(pair(queue) + pair(queue), 0);
    ck_assert(owns(queue, 0) && owns(queue, 1));
    mproc_queue_close(&queue);
}
END_TEST

/* ---- slots ---- */

START_TEST(threads_that_ended_leave_their_slots_to_others)
{
    mproc_queue *queue = make(_i);
    for (int i = 0; i < 3 * MPROC__SIDE_SLOTS; i++) {
        pthread_t thread;
        void *done = NULL;
        ck_assert_int_eq(pthread_create(&thread, NULL, owner_thread, queue), 0);
        pthread_join(thread, &done);
        ck_assert_ptr_eq(done, queue);
    }
    mproc_queue_close(&queue);
}
END_TEST

static int owner_dies(void *context)
{
    if (owner_thread(context))
        raise(SIGKILL);
    return 1;
}

START_TEST(processes_that_died_leave_their_slots_to_others)
{
    mproc_queue *queue = make(0);
    for (int i = 0; i < 3 * MPROC__SIDE_SLOTS; i++)
        ck_assert_int_eq(support_reap(support_fork(owner_dies, queue), 5000), 256 + SIGKILL);
    ck_assert_int_eq(pair(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

static bool has_slot(const mproc__side_shared *side)
{
    for (int i = 0; i < MPROC__SIDE_SLOTS; i++)
        if (atomic_load(&side->slots[i].who) == mproc__me_now.who)
            return true;
    return false;
}

static int owner_closes(void *context)
{
    mproc_queue *queue = context;
    if (!owner_thread(queue))
        return 1;
    mproc__queue_shared *shared = queue->shared;
    mproc__segment *segment = queue->segment;
    mproc__segment_keep(segment);
    mproc_queue_close(&queue);
    bool left = has_slot(&shared->put.side) || has_slot(&shared->get.side) ||
                mproc__side_has_owner(&shared->put.side) || mproc__side_has_owner(&shared->get.side);
    mproc__segment_release(segment);
    return left ? 2 : 0;
}

START_TEST(who_closes_leaves_its_slots_to_others)
{
    mproc_queue *queue = make(0);
    ck_assert_int_eq(support_reap(support_fork(owner_closes, queue), 5000), 0);
    ck_assert_int_eq(pair(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- all at once ---- */

enum { USERS = 4, ROUNDS = 30000 };

typedef struct crowd {
    mproc_queue *queue;
    _Atomic int64_t *sum; /* shared: of what was put, less what was got */
    int number;
} crowd;

/* Alone for some, and then taken back: bursts, at other times for each. */
static int crowd_run(crowd *c)
{
    int64_t sum = 0;
    for (int i = 0, value; i < ROUNDS; i++) {
        if (mproc_queue_put(c->queue, &i, sizeof i, soon()) < 0 ||
            mproc_queue_get(c->queue, &value, sizeof value, soon(), NULL) < 0)
            return 1;
        sum += i - value;
        if (i % 1000 == c->number * 100)
            sched_yield();
        if (i % 500 == 0) { /* else they would soon be taken for a crowd */
            atomic_store(&side_of(c->queue, 0)->needed, 4);
            atomic_store(&side_of(c->queue, 1)->needed, 4);
        }
    }
    atomic_fetch_add(c->sum, sum);
    return 0;
}

static int crowd_child(void *context)
{
    return crowd_run(context);
}

static void *crowd_thread(void *context)
{
    return crowd_run(context) == 0 ? context : NULL;
}

START_TEST(processes_that_take_the_sides_from_each_other_lose_nothing)
{
    crowd all[USERS];
    pid_t children[USERS];
    mproc_queue *queue = make(0);
    _Atomic int64_t *sum = mmap(NULL, sizeof *sum, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(sum, MAP_FAILED);
    for (int i = 0; i < USERS; i++) {
        all[i] = (crowd){queue, sum, i};
        children[i] = support_fork(crowd_child, &all[i]);
    }
    for (int i = 0; i < USERS; i++)
        ck_assert_int_eq(support_reap(children[i], 60000), 0);
    ck_assert_int_eq(*sum, 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    munmap((void *)sum, sizeof *sum);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(threads_that_take_the_sides_from_each_other_lose_nothing)
{
    crowd all[USERS];
    pthread_t threads[USERS];
    mproc_queue *queue = make(_i);
    _Atomic int64_t sum = 0;
    for (int i = 0; i < USERS; i++) {
        all[i] = (crowd){queue, &sum, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_thread, &all[i]), 0);
    }
    for (int i = 0; i < USERS; i++) {
        void *done = NULL;
        pthread_join(threads[i], &done);
        ck_assert_ptr_eq(done, &all[i]);
    }
    ck_assert_int_eq(sum, 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST
#endif

int main(int argc, char **argv)
{
    Suite *suite = suite_create("side");
#if !MPROC__THREAD_SANITIZER /* takes the lock each time */
    TCase *owner = support_case(suite, "owner");
    tcase_add_loop_test(owner, who_is_alone_for_a_while_owns_the_side, 0, 2);
    tcase_add_loop_test(owner, another_takes_it_back_and_the_owner_goes_on, 0, 2);
    tcase_add_test(owner, a_fork_child_owns_nothing_of_its_parents);
    TCase *inside = support_case(suite, "inside");
    tcase_add_loop_test(inside, beside_an_owner_stopped_inside_others_keep_their_deadlines, 0, 2);
    tcase_add_loop_test(inside, an_owner_killed_inside_keeps_nobody, 0, 2);
    tcase_add_loop_test(inside, explain_names_who_stopped_inside, 0, 2);
    tcase_add_test(inside, a_slot_is_no_other_threads_before_its_own_has_come_by);
    tcase_add_loop_test(inside, a_call_in_a_call_of_the_same_thread_is_told_so, 0, 2);
    TCase *way = support_case(suite, "way");
    tcase_add_loop_test(way, an_empty_message_of_an_acknowledged_queue_is_redelivered, 0, 2);
    tcase_add_test(way, a_lease_of_a_former_owner_that_died_is_delivered_again);
    tcase_add_test(way, an_owner_that_execs_inside_keeps_nobody);
    tcase_add_loop_test(way, an_inside_that_was_overwritten_keeps_nobody_for_ever, 0, 2);
    tcase_add_loop_test(way, who_waits_for_an_inside_that_nobody_wrote_sleeps, 0, 2);
    tcase_add_loop_test(way, a_role_that_is_given_up_leaves_its_slot_to_others, 0, 2);
    TCase *slots = support_case(suite, "slots");
    tcase_add_loop_test(slots, threads_that_ended_leave_their_slots_to_others, 0, 2);
    tcase_add_test(slots, processes_that_died_leave_their_slots_to_others);
    tcase_add_test(slots, who_closes_leaves_its_slots_to_others);
    TCase *crowds = support_case(suite, "crowds");
    tcase_add_test(crowds, processes_that_take_the_sides_from_each_other_lose_nothing);
    tcase_add_loop_test(crowds, threads_that_take_the_sides_from_each_other_lose_nothing, 0, 2);
#endif
    return support_run(suite, argc, argv);
}
