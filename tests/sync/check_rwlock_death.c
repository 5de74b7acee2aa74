/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths of readers and writers, and threads that end. Loop tests run once for each: 0 host, 1 thread. */
#include "platform/base.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync/rwlock_common.h"
#include "sync/rwlock_inside.h"

static bool in_live(int64_t since_ns)
{
    return mproc__now_ns() - since_ns <= (int64_t)support_ms(LIVE_MS) * 1000000;
}

static int died(int status)
{
    return status == 256 + SIGKILL;
}

/* ---- processes ---- */

/* shows: DEATH-1 */
START_TEST(a_killed_reader_has_given_back)
{
    unsigned readers;
    rwlock_make(0, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert(died(in_child(read_and_die)));
        int64_t start_ns = mproc__now_ns();
        ck_assert_int_eq(i == 0 ? mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000))
                                : mproc_rwlock_acquire_write(rwlock, MPROC_NOW),
                         0);
        ck_assert(in_live(start_ns));
        ck_assert_int_eq(mproc_rwlock_holders(rwlock, &readers, NULL, NULL), 0);
        ck_assert_uint_eq(readers, 0);
        ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    }
    rwlock_drop();
}
END_TEST

/* shows: DEATH-1 */
START_TEST(a_writer_asleep_goes_on_when_the_last_reader_is_killed)
{
    other writer;
    rwlock_make(0, NULL);
    pid_t reader = start_holder(read_until_killed);
    other_start(&writer, 0, wait_write);
    int64_t start_ns = mproc__now_ns();
    support_kill(reader);
    ck_assert_int_eq(other_end(&writer), GOT);
    ck_assert(in_live(start_ns));
    rwlock_drop();
}
END_TEST

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_killed_writer_is_told_to_readers_and_once_to_a_writer)
{
    rwlock_make(0, NULL);
    pid_t victim = support_fork(write_and_die, NULL);
    ck_assert(died(support_reap(victim, 5000)));
    int64_t start_ns = mproc__now_ns();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, i ? MPROC_NOW : mproc_after_ms(5000)),
                         MPROC_RECOVERED);
        ck_assert(in_live(start_ns));
        ck_assert_int_eq(told_pid(), victim);
        ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    }
    ck_assert_int_eq(in_child(try_read), TOLD);
    ck_assert_int_eq(in_child(try_write), TOLD);
    ck_assert_int_eq(in_child(try_write), GOT);
    ck_assert_int_eq(in_child(try_read), GOT);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-3 */
START_TEST(a_try_is_enough_after_a_writers_death)
{
    rwlock_make(0, NULL);
    ck_assert(died(in_child(write_and_die)));
    ck_assert_int_eq(_i ? try_write(NULL) : try_read(NULL), TOLD);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-8 */
START_TEST(a_writer_that_was_told_and_dies_leaves_it_to_the_next)
{
    rwlock_make(0, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert(died(in_child(write_and_die)));
    ck_assert(died(in_child(read_and_die)));
    ck_assert_int_eq(try_write(NULL), TOLD);
    ck_assert_int_eq(try_write(NULL), GOT);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-1 DEATH-3 */
START_TEST(sleepers_go_on_when_the_writer_is_killed)
{
    other others[3];
    rwlock_make(0, NULL);
    pid_t victim = start_holder(write_until_killed);
    other_start(&others[0], 0, wait_read);
    other_start(&others[1], 0, wait_write);
    other_start(&others[2], 0, wait_read);
    int64_t start_ns = mproc__now_ns();
    support_kill(victim);
    int told = 0;
    for (int i = 0; i < 3; i++) {
        int status = other_end(&others[i]);
        ck_assert(status == TOLD || (status == GOT && i != 1));
        told += status == TOLD;
    }
    ck_assert(in_live(start_ns));
    ck_assert_int_ge(told, 1);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-4 */
START_TEST(a_writer_killed_while_it_waits_has_changed_nothing)
{
    other writer;
    rwlock_make(0, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, MPROC_NOW), 0);
    other_start(&writer, 0, wait_write);
    ck_assert_int_eq(in_child(try_read), REFUSED);
    support_kill(writer.child);
    int64_t start_ns = mproc__now_ns();
    ck_assert_int_eq(in_child(_i ? wait_read : try_read), GOT);
    ck_assert(in_live(start_ns));
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(in_child(try_write), GOT);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-4 */
START_TEST(a_reader_killed_while_it_waits_pins_nothing)
{
    other reader;
    rwlock_make(0, NULL);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, MPROC_NOW), 0);
    other_start(&reader, 0, wait_read);
    support_kill(reader.child);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    ck_assert_int_eq(try_write(NULL), GOT);
    rwlock_drop();
}
END_TEST

/* shows: DEATH-3 */
START_TEST(a_poisoned_one_fails_for_all_until_it_is_repaired)
{
    rwlock_make(0, MPROC_WITH(mproc_rwlock_options, .poison = true));
    pid_t victim = support_fork(write_and_die, NULL);
    ck_assert(died(support_reap(victim, 5000)));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, mproc_after_ms(5000)), MPROC_EPOISONED);
        ck_assert_int_eq(told_pid(), victim);
        ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000)), MPROC_EPOISONED);
        ck_assert_int_eq(in_child(try_read), POISONED);
        ck_assert_int_eq(in_child(try_write), POISONED);
    }
    ck_assert_int_eq(mproc_rwlock_repair(rwlock), 0);
    ck_assert_int_eq(mproc_rwlock_repair(rwlock), MPROC_ESTATE);
    ck_assert_int_eq(in_child(try_write), GOT);
    ck_assert_int_eq(in_child(try_read), GOT);
    rwlock_drop();
}
END_TEST

static int repair_finds_it_repaired(void *unused)
{
    (void)unused;
    return mproc_rwlock_repair(rwlock) == MPROC_ESTATE ? 0 : 1;
}

/* As after somebody else's repair: writes, once the parent has seen that a second repairer waits for it, and dies of it. */
static int write_repaired_and_die(void *unused)
{
    (void)unused;
    mproc__rwlock_shared *shared = rwlock->shared;
    if (mproc__robust_acquire(&shared->writer, MPROC_NOW) != 0)
        return 1;
    raise(SIGSTOP);
    atomic_store(&shared->owner, mproc__rwlock_who());
    atomic_store(&shared->gate, MPROC__GATE_CLOSED | MPROC__GATE_WRITING);
    kill(getpid(), SIGKILL);
    return 2;
}

static bool is_stopped(void *pid)
{
    int status;
    return waitpid(*(pid_t *)pid, &status, WNOHANG | WUNTRACED) > 0 && WIFSTOPPED(status);
}

/* Two repair at once, and a third one writes in between, and dies or goes on. */
START_TEST(a_repairer_that_came_second_waits_for_no_hold_and_forgives_no_death)
{
    rwlock_make(0, MPROC_WITH(mproc_rwlock_options, .poison = true));
    mproc__rwlock_shared *shared = rwlock->shared;
    ck_assert(died(in_child(write_and_die)));
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000)), MPROC_EPOISONED);
    pid_t victim = 0;
    if (_i) {
        victim = support_fork(write_repaired_and_die, NULL);
        ck_assert(support_until(is_stopped, &victim, 5000));
    } else {
        ck_assert_int_eq(mproc__robust_acquire(&shared->writer, MPROC_NOW), 0);
    }
    pid_t second = support_fork(repair_finds_it_repaired, NULL);
    ck_assert(support_until_asleep(second, 5000));
    if (_i) {
        kill(victim, SIGCONT);
        ck_assert(died(support_reap(victim, 5000)));
    } else {
        atomic_store(&shared->gate, 0);
    }
    ck_assert_int_eq(support_reap(second, LONG_MS), 0);
    if (_i) {
        ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000)), MPROC_EPOISONED);
        ck_assert_int_eq(told_pid(), victim);
        ck_assert_int_eq(mproc_rwlock_repair(rwlock), 0);
    } else {
        ck_assert_int_eq(mproc__robust_release(&shared->writer), 0);
    }
    ck_assert_int_eq(in_child(try_write), GOT);
    rwlock_drop();
}
END_TEST

START_TEST(a_stopped_holder_holds)
{
    rwlock_make(0, NULL);
    pid_t holder = start_holder(_i ? write_until_killed : read_until_killed);
    kill(holder, SIGSTOP);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(40)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_rwlock_acquire_read(rwlock, mproc_after_ms(40)), _i ? -ETIMEDOUT : 0);
    if (_i == 0)
        ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    support_kill(holder);
    ck_assert_int_eq(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(5000)), _i ? MPROC_RECOVERED : 0);
    ck_assert_int_eq(mproc_rwlock_release(rwlock), 0);
    rwlock_drop();
}
END_TEST

/* In a row's word. */
#define A_GRANT (UINT64_C(1) << 32)

/* As a writer does that leaves, for the one reader that waits. */
static void grant_the_waiting(mproc__rwlock_shared *shared)
{
    for (unsigned i = 0; i < MPROC__ROWS; i++)
        if (mproc__readers_waiting(atomic_load(&shared->rows[i].word)))
            atomic_fetch_add(&shared->rows[i].word, MPROC__READING + A_GRANT - MPROC__WAITING);
}

/* The dead writer's gate is put right by whoever has `writer`. Here that is a writer that comes and goes, and another one
 * after it, before the reader that wanted to do it gets its turn: the second one waits for that reader to leave. */
START_TEST(a_reader_at_a_dead_writers_gate_sees_that_it_was_let_in)
{
    other reader;
    rwlock_make(0, NULL);
    mproc__rwlock_shared *shared = rwlock->shared;
    ck_assert(died(in_child(write_and_die)));
    ck_assert_int_eq(mproc__robust_acquire(&shared->writer, MPROC_NOW), MPROC_RECOVERED);
    other_start(&reader, 0, wait_read);
    ck_assert(mproc__rwlock_is_orphaned(shared));
    atomic_store(&shared->gate, MPROC__GATE_NEWS);
    int64_t start_ns = mproc__now_ns();
    grant_the_waiting(shared);
    ck_assert_int_eq(other_end(&reader), TOLD);
    ck_assert(in_live(start_ns));
    ck_assert_int_eq(mproc__robust_release(&shared->writer), 0);
    ck_assert_int_eq(try_write(NULL), TOLD);
    ck_assert_int_eq(try_write(NULL), GOT);
    rwlock_drop();
}
END_TEST

/* ---- threads ---- */

static int read_and_end(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++)
        if (mproc_rwlock_acquire_read(rwlock, MPROC_NOW) != 0)
            return 1;
    return 0;
}

static int write_and_end(void *unused)
{
    (void)unused;
    return mproc_rwlock_acquire_write(rwlock, MPROC_NOW);
}

START_TEST(a_thread_that_ends_gives_back)
{
    rwlock_make(_i, NULL);
    ck_assert_int_eq(in_thread(read_and_end), 0);
    ck_assert_int_eq(try_write(NULL), GOT);
    ck_assert_int_eq(in_thread(write_and_end), 0);
    ck_assert_int_eq(try_read(NULL), TOLD);
    ck_assert_int_eq(told_pid(), getpid());
    ck_assert_int_eq(try_write(NULL), TOLD);
    ck_assert_int_eq(try_write(NULL), GOT);
    rwlock_drop();
}
END_TEST

static pthread_barrier_t holding, asleep;

static int write_until_the_other_sleeps(void *unused)
{
    (void)unused;
    int code = mproc_rwlock_acquire_write(rwlock, MPROC_NOW);
    pthread_barrier_wait(&holding);
    pthread_barrier_wait(&asleep);
    return code;
}

/* shows: DEATH-3 */
START_TEST(sleepers_go_on_when_the_writers_thread_ends)
{
    pthread_t thread;
    errand writer = {write_until_the_other_sleeps, -1, 0};
    other sleepers[2];
    rwlock_make(_i, NULL);
    pthread_barrier_init(&holding, NULL, 2);
    pthread_barrier_init(&asleep, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &writer), 0);
    pthread_barrier_wait(&holding);
    other_start(&sleepers[0], 1, wait_read);
    other_start(&sleepers[1], 1, wait_read);
    pthread_barrier_wait(&asleep);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(other_end(&sleepers[i]), TOLD);
    pthread_barrier_destroy(&holding);
    pthread_barrier_destroy(&asleep);
    rwlock_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("rwlock_death");
    TCase *death = support_case(suite, "death");
    tcase_add_checked_fixture(death, notes_open, notes_close);
    tcase_add_test(death, a_killed_reader_has_given_back);
    tcase_add_test(death, a_writer_asleep_goes_on_when_the_last_reader_is_killed);
    tcase_add_test(death, a_killed_writer_is_told_to_readers_and_once_to_a_writer);
    tcase_add_loop_test(death, a_try_is_enough_after_a_writers_death, 0, 2);
    tcase_add_test(death, a_writer_that_was_told_and_dies_leaves_it_to_the_next);
    tcase_add_test(death, sleepers_go_on_when_the_writer_is_killed);
    tcase_add_loop_test(death, a_writer_killed_while_it_waits_has_changed_nothing, 0, 2);
    tcase_add_test(death, a_reader_killed_while_it_waits_pins_nothing);
    tcase_add_test(death, a_poisoned_one_fails_for_all_until_it_is_repaired);
    tcase_add_loop_test(death, a_repairer_that_came_second_waits_for_no_hold_and_forgives_no_death, 0, 2);
    tcase_add_loop_test(death, a_stopped_holder_holds, 0, 2);
    tcase_add_test(death, a_reader_at_a_dead_writers_gate_sees_that_it_was_let_in);
    tcase_add_loop_test(death, a_thread_that_ends_gives_back, 0, 2);
    tcase_add_loop_test(death, sleepers_go_on_when_the_writers_thread_ends, 0, 2);
    return support_run(suite, argc, argv);
}
