/* SPDX-License-Identifier: BSD-2-Clause */
/* What a sandbox may forbid and an old kernel lack, one system call at a time, by a seccomp filter: every noun of this layer
 * works all the same, deaths included, or its creation says what is missing. */
#include "platform/base.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mproc/shm.h>
#include <mproc/sync.h>
#include "shm/place.h"
#include "support/support.h"
#include "sync/nouns.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { LONG_MS = 10000, SHORT_MS = 30, SET_ARGUMENT = 2 };

/* A system call that is answered with `error`; where `bits` is not 0, only if its third argument has them all. */
typedef struct denial {
    const char *name;
    long number;
    int error;
    uint32_t bits;
} denial;

/* For this process and its children to come; cannot be taken back. */
static int deny(const denial *what)
{
    uint32_t third =
        (uint32_t)offsetof(struct seccomp_data, args[SET_ARGUMENT]); /* its lower half: little-endian */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)what->number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, third),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, what->bits),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what->bits, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)what->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = (unsigned short)MPROC__COUNT(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- what must work, each in a process that is denied something; with another one, that dies ---- */

/* For the children, which must not use ck_assert: says where, and ends with 1. */
#define NEED(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition,                                \
                           mproc_error_text(mproc_last_error())),                                            \
                   1;                                                                                        \
    } while (0)

typedef struct scene {
    void *object;
    int (*take)(void *object); /* what the other process takes and dies with */
    _Atomic int *stage;
} scene;

static bool is_taken(void *context)
{
    return *((scene *)context)->stage == 1;
}

/* Takes, waits until its parent sleeps for it, and is killed. */
static int take_and_die(void *context)
{
    scene *s = context;
    if (s->take(s->object) != 0)
        return 1;
    *s->stage = 1;
    support_until_asleep(getppid(), LONG_MS);
    return raise(SIGKILL);
}

/* Starts that process; returns when it has taken. */
static pid_t taker_start(scene *s)
{
    *s->stage = 0;
    pid_t child = support_fork(take_and_die, s);
    return support_until(is_taken, s, LONG_MS) ? child : -1;
}

static int lock_take(void *lock)
{
    return mproc_lock_acquire(lock, mproc_after_ms(LONG_MS));
}

static int lock_works(scene *s)
{
    mproc_lock *lock;
    NEED(mproc_lock_create(NULL, NULL, &lock) == 0);
    s->object = lock;
    s->take = lock_take;
    pid_t child = taker_start(s);
    NEED(child > 0);
    NEED(mproc_lock_acquire(lock, mproc_after_ms(LONG_MS)) == MPROC_RECOVERED);
    NEED(support_reap(child, LONG_MS) == 256 + SIGKILL);
    NEED(mproc_lock_release(lock) == 0);
    mproc_lock_close(&lock);
    return 0;
}

static int semaphore_take(void *semaphore)
{
    return mproc_semaphore_acquire(semaphore, mproc_after_ms(LONG_MS));
}

static int semaphore_works(scene *s)
{
    mproc_semaphore *semaphore;
    NEED(mproc_semaphore_create(NULL, 1, MPROC_WITH(mproc_semaphore_options, .bounded = true), &semaphore) ==
         0);
    s->object = semaphore;
    s->take = semaphore_take;
    pid_t child = taker_start(s);
    NEED(child > 0);
    NEED(mproc_semaphore_acquire(semaphore, mproc_after_ms(LONG_MS)) == 0);
    NEED(support_reap(child, LONG_MS) == 256 + SIGKILL);
    NEED(mproc_semaphore_acquire(semaphore, mproc_after_ms(SHORT_MS)) == -ETIMEDOUT);
    NEED(mproc_semaphore_release(semaphore, 1) == 0);
    mproc_semaphore_close(&semaphore);
    return 0;
}

static int rwlock_take(void *rwlock)
{
    return mproc_rwlock_acquire_read(rwlock, mproc_after_ms(LONG_MS));
}

static int rwlock_works(scene *s)
{
    mproc_rwlock *rwlock;
    NEED(mproc_rwlock_create(NULL, NULL, &rwlock) == 0);
    s->object = rwlock;
    s->take = rwlock_take;
    pid_t child = taker_start(s);
    NEED(child > 0);
    NEED(mproc_rwlock_acquire_write(rwlock, mproc_after_ms(LONG_MS)) == 0);
    NEED(support_reap(child, LONG_MS) == 256 + SIGKILL);
    NEED(mproc_rwlock_release(rwlock) == 0);
    mproc_rwlock_close(&rwlock);
    return 0;
}

static int event_wait(void *event)
{
    return mproc_event_wait(event, mproc_after_ms(LONG_MS)) == 0 ? 0 : 1;
}

static int event_works(scene *s)
{
    mproc_event *event;
    (void)s;
    NEED(mproc_event_create(NULL, NULL, &event) == 0);
    NEED(mproc_event_wait(event, mproc_after_ms(SHORT_MS)) == -ETIMEDOUT);
    pid_t child = support_fork(event_wait, event);
    NEED(support_until_asleep(child, LONG_MS));
    NEED(mproc_event_set(event) == 0);
    NEED(support_reap(child, LONG_MS) == 0);
    mproc_event_close(&event);
    return 0;
}

static int condition_wait(void *context)
{
    scene *s = context;
    mproc_condition *condition = s->object;
    if (mproc_lock_acquire(mproc_condition_lock(condition), mproc_after_ms(LONG_MS)) != 0)
        return 1;
    *s->stage = 1;
    int rc = mproc_condition_wait(condition, mproc_after_ms(LONG_MS));
    return rc == 0 && mproc_lock_release(mproc_condition_lock(condition)) == 0 ? 0 : 2;
}

static int condition_works(scene *s)
{
    mproc_condition *condition;
    NEED(mproc_condition_create(NULL, NULL, &condition) == 0);
    mproc_lock *lock = mproc_condition_lock(condition);
    s->object = condition;
    *s->stage = 0;
    pid_t child = support_fork(condition_wait, s);
    NEED(support_until(is_taken, s, LONG_MS));
    NEED(mproc_lock_acquire(lock, mproc_after_ms(LONG_MS)) == 0); /* it waits: it had the lock before */
    NEED(mproc_condition_notify(condition, 1) == 0);
    NEED(mproc_condition_wait(condition, mproc_after_ms(SHORT_MS)) == -ETIMEDOUT);
    NEED(mproc_lock_release(lock) == 0);
    NEED(support_reap(child, LONG_MS) == 0);
    mproc_condition_close(&condition);
    return 0;
}

static int barrier_one_round(void *barrier)
{
    unsigned index;
    int rc = mproc_barrier_join(barrier);
    if (rc == 0)
        rc = mproc_barrier_wait(barrier, mproc_after_ms(LONG_MS), &index);
    return rc == 0 && support_until_asleep(getppid(), LONG_MS) ? raise(SIGKILL) : 1;
}

static int barrier_works(scene *s)
{
    mproc_barrier *barrier;
    unsigned index;
    (void)s;
    NEED(mproc_barrier_create(NULL, 2, NULL, &barrier) == 0);
    pid_t child = support_fork(barrier_one_round, barrier);
    NEED(mproc_barrier_wait(barrier, mproc_after_ms(LONG_MS), &index) == 0);
    NEED(mproc_barrier_wait(barrier, mproc_after_ms(LONG_MS), &index) == MPROC_EBROKEN);
    NEED(support_reap(child, LONG_MS) == 256 + SIGKILL);
    mproc_barrier_close(&barrier);
    return 0;
}

static int array_add(void *array)
{
    int64_t sum;
    return mproc_array_add_int(array, 1, 5, &sum) == 0 && sum == 5 ? 0 : 1;
}

static int array_works(scene *s)
{
    mproc_array *array;
    int64_t value;
    (void)s;
    NEED(mproc_array_create(NULL, MPROC_ITEM_INT64, 2, NULL, &array) == 0);
    NEED(support_reap(support_fork(array_add, array), LONG_MS) == 0);
    NEED(mproc_array_get_int(array, 1, &value) == 0 && value == 5);
    mproc_array_close(&array);
    return 0;
}

static int list_set(void *list)
{
    return mproc_shm_list_set(list, 1, mproc_int(7), mproc_after_ms(LONG_MS)) == 0 ? 0 : 1;
}

static int list_works(scene *s)
{
    mproc_variant items[] = {mproc_int(1), mproc_int(2)};
    mproc_shm_list *list;
    mproc_variant value;
    (void)s;
    NEED(mproc_shm_list_create(NULL, mproc_items(items, 2), NULL, &list) == 0);
    NEED(support_reap(support_fork(list_set, list), LONG_MS) == 0);
    NEED(mproc_shm_list_get(list, 1, &value) == 0 && value.number == 7);
    mproc_variant_clear(&value);
    mproc_shm_list_close(&list);
    return 0;
}

/* ---- names ---- */

static const char *named_address(void)
{
    static char address[40];
    static pid_t first;
    if (!first)
        snprintf(address, sizeof(address), "shm:/denied-%d", (int)(first = getpid()));
    return address;
}

static int named_write(void *unused)
{
    mproc_place *place;
    mproc_shm *shm;
    (void)unused;
    NEED(mproc__place_shm(named_address(), NULL, &place) == 0);
    NEED(mproc_shm_open(place, "a", &shm) == 0);
    strcpy(mproc_shm_data(shm), "seen");
    mproc_shm_close(&shm);
    mproc_place_close(&place);
    return 0;
}

static int named_works(scene *s)
{
    mproc_place *place;
    mproc_shm *shm, *again;
    (void)s;
    NEED(mproc__place_shm(named_address(), NULL, &place) == 0);
    NEED(mproc_shm_create(place, 4096, MPROC_WITH(mproc_shm_options, .name = "a"), &shm) == 0);
    NEED(mproc_shm_create(place, 4096, MPROC_WITH(mproc_shm_options, .name = "a"), &again) == -EEXIST);
    NEED(support_reap(support_fork(named_write, NULL), LONG_MS) == 0);
    NEED(strcmp(mproc_shm_data(shm), "seen") == 0);
    mproc_shm_close(&shm);
    NEED(mproc_shm_open(place, "a", &shm) == -ENOENT);
    mproc_place_close(&place);
    return 0;
}

typedef struct workout {
    const char *name;
    int (*works)(scene *s);
} workout;

static const workout workouts[] = {
    {"lock", lock_works},   {"semaphore", semaphore_works}, {"rwlock", rwlock_works},
    {"event", event_works}, {"condition", condition_works}, {"barrier", barrier_works},
    {"array", array_works}, {"list", list_works},           {"name", named_works},
};

/* ---- denied, and done without ---- */

static const denial done_without[] = {
    {"nothing", -1, 0, 0},
    {"futex_waitv", SYS_futex_waitv, ENOSYS, 0},
    {"futex_waitv", SYS_futex_waitv, EPERM, 0},
    {"memfd_create", SYS_memfd_create, ENOSYS, 0},
    {"memfd_create", SYS_memfd_create, EPERM, 0},
    {"memfd_create", SYS_memfd_create, EACCES, 0},
    {"pidfd_open", SYS_pidfd_open, ENOSYS, 0},
    {"pidfd_open", SYS_pidfd_open, EPERM, 0},
    {"get_robust_list", SYS_get_robust_list, EPERM, 0},
    {"madvise", SYS_madvise, EINVAL, 0},
    {"sched_getaffinity", SYS_sched_getaffinity, EPERM, 0},
    {"O_TMPFILE", SYS_openat, EOPNOTSUPP, O_TMPFILE},
};

static int denied_and_at_work(void *context)
{
    const denial *what = context;
    void *page = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    scene s = {.stage = page};
    if (page == MAP_FAILED || (what->number >= 0 && deny(what) != 0))
        return 200;
    for (unsigned i = 0; i < MPROC__COUNT(workouts); i++)
        if (workouts[i].works(&s) != 0)
            return (int)i + 1;
    return 0;
}

/* shows: DEATH-1 */
START_TEST(every_noun_works_and_outlives_deaths_without_it)
{
    denial what = done_without[_i];
    int status = support_reap(support_fork(denied_and_at_work, &what), 3 * LONG_MS);
    const char *failed =
        status > 0 && status <= (int)MPROC__COUNT(workouts) ? workouts[status - 1].name : "?";
    ck_assert_msg(status == 0, "%s denied with %s: status %d, %s", what.name, mproc_errname(-what.error),
                  status, failed);
}
END_TEST

/* ---- denied, and said so ---- */

typedef struct refusal {
    denial what;
    int (*create)(void);
} refusal;

static int create_lock(void)
{
    mproc_lock *lock;
    return mproc_lock_create(NULL, NULL, &lock);
}

static int create_rwlock(void)
{
    mproc_rwlock *rwlock;
    return mproc_rwlock_create(NULL, NULL, &rwlock);
}

static int create_pollable(void)
{
    mproc_event *event;
    return mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &event);
}

static int create_named(void)
{
    mproc_place *place;
    mproc_shm *shm;
    int rc = mproc__place_shm(named_address(), NULL, &place);
    if (rc < 0)
        return 0;
    rc = mproc_shm_create(place, 4096, MPROC_WITH(mproc_shm_options, .name = "b"), &shm);
    mproc_place_close(&place);
    return rc;
}

static const refusal refusals[] = {
    {{"set_robust_list", SYS_set_robust_list, ENOSYS, 0}, create_lock},
    {{"fcntl(F_ADD_SEALS)", SYS_fcntl, EPERM, 0}, create_lock},
    {{"fallocate", SYS_fallocate, ENOSYS, 0}, create_lock},
    {{"getrandom", SYS_getrandom, ENOSYS, 0}, create_rwlock},
    {{"eventfd", SYS_eventfd2, EPERM, 0}, create_pollable},
    {{"flock", SYS_flock, ENOSYS, 0}, create_named},
    {{"linkat", SYS_linkat, EPERM, 0}, create_named},
};

/* In a thread home nothing of it is needed. */
static int thread_home_works(void)
{
    mproc_place *place;
    mproc_lock *lock;
    NEED(mproc__place_local(MPROC__HOME_THREAD, &place) == 0);
    NEED(mproc_lock_create(place, NULL, &lock) == 0);
    NEED(mproc_lock_acquire(lock, MPROC_NOW) == 0 && mproc_lock_release(lock) == 0);
    mproc_lock_close(&lock);
    mproc_place_close(&place);
    return 0;
}

static int refused_by_name(void *context)
{
    const refusal *r = context;
    int rc = r->create();
    if (rc != -r->what.error)
        return 2;
    NEED(strstr(mproc_error_text(mproc_last_error()), r->what.name));
    return thread_home_works();
}

/* A process is known to the kernel from its start, so it is one that starts under the filter which is refused. */
static int denied_and_refused(void *context)
{
    const refusal *r = context;
    return deny(&r->what) == 0 ? support_reap(support_fork(refused_by_name, context), LONG_MS) : 200;
}

START_TEST(what_cannot_be_done_without_is_named_at_creation)
{
    refusal r = refusals[_i];
    int status = support_reap(support_fork(denied_and_refused, &r), LONG_MS);
    ck_assert_msg(status == 0, "%s: %d", r.what.name, status);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__nouns_register();
    Suite *suite = suite_create("denied");
    TCase *all = support_case(suite, "denied");
    tcase_set_timeout(all, support_ms(4 * LONG_MS) / 1000.0);
    tcase_add_loop_test(all, every_noun_works_and_outlives_deaths_without_it, 0,
                        (int)MPROC__COUNT(done_without));
    tcase_add_loop_test(all, what_cannot_be_done_without_is_named_at_creation, 0,
                        (int)MPROC__COUNT(refusals));
    return support_run(suite, argc, argv);
}
