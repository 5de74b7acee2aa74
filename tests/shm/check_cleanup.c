/* SPDX-License-Identifier: BSD-2-Clause */
/* What is left of names after crashes, and who takes it away: cleaning, owners' places, races, a full /dev/shm. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/named.h"
#include "shm/named_common.h"
#include "shm/segment_inside.h"
#include "shm/shm.h"
#include "support/support.h"

enum { ROUNDS = 200, STORM_NAMES = 4, STORM_CHILDREN = 5, LIMIT_MS = 5000 };

static mproc_place *place;
static mproc_shm *shm, *other;

/* False: no directory of our own; counts may be another test's. */
static bool begin(const char *options)
{
    bool own = named_own_directory(options);
    mproc__noun_register(&mproc__shm_noun);
    ck_assert_int_eq(mproc__place_shm("shm:/check", NULL, &place), 0);
    if (!own)
        named_skipped("needs a /dev/shm of its own");
    return own;
}

static void end(void)
{
    mproc_shm_close(&shm);
    mproc_shm_close(&other);
    mproc_place_close(&place);
    ck_assert_uint_eq(named_count("check%"), 0);
}

static int make(const char *name, bool persist, mproc_shm **ret_shm)
{
    return mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = name, .persist = persist),
                            ret_shm);
}

static unsigned cleaned(void)
{
    unsigned removed = 4711;
    ck_assert_int_eq(mproc_cleanup(&removed), 0);
    return removed;
}

static int makes_three_and_dies(void *unused)
{
    (void)unused;
    mproc_shm *made[3];
    if (make("one", false, &made[0]) || make("two\nlines", false, &made[1]) || make("kept", true, &made[2]))
        return 1;
    raise(SIGKILL);
    return 2;
}

/* shows: SHM-10 TRACK-01 DEATH-10 */
START_TEST(what_the_killed_left_goes_at_the_next_cleaning_with_a_warning_each)
{
    named_log log;
    if (!begin(NULL))
        return;
    named_write("check%foreign", "x", 1);
    ck_assert_int_eq(support_reap(support_fork(makes_three_and_dies, NULL), LIMIT_MS), 256 + SIGKILL);
    ck_assert_uint_eq(named_count("check%"), 4);
    named_log_begin(&log);
    ck_assert_uint_eq(cleaned(), 2);
    ck_assert_uint_eq(log.count, 2);
    ck_assert_ptr_nonnull(strstr(log.last, "shm in /dev/shm/check%"));
    ck_assert_ptr_null(strchr(log.last, '\n'));
    ck_assert_uint_eq(cleaned(), 0);
    ck_assert_uint_eq(log.count, 2);
    ck_assert(named_exists("check%kept") && named_exists("check%foreign"));
    mproc_set_log(NULL, MPROC_LOG_ERROR, NULL);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_int_eq(mproc_place_unlink(place, "kept"), 0);
    ck_assert_int_eq(mproc_place_unlink(place, "foreign"), 0);
    end();
}
END_TEST

/* shows: TRACK-09 */
START_TEST(making_and_cleaning_leave_the_signal_mask_and_the_streams_alone)
{
    named_log log;
    sigset_t set, before, after;
    struct stat stream;
    if (!begin(NULL))
        return;
    int fd = open(".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600), saved = dup(2);
    if (fd < 0)
        fd = memfd_create("stderr", 0);
    dup2(fd, 2);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigprocmask(SIG_BLOCK, NULL, &before);
    named_log_begin(&log);
    ck_assert_int_eq(make("one", false, &shm), 0);
    ck_assert_uint_eq(cleaned(), 0);
    mproc_shm_close(&shm);
    ck_assert_uint_eq(cleaned(), 0);
    sigprocmask(SIG_BLOCK, NULL, &after);
    for (int number = 1; number < 65; number++)
        ck_assert_int_eq(sigismember(&before, number), sigismember(&after, number));
    ck_assert_uint_eq(log.count, 0);
    ck_assert(fstat(2, &stream) == 0 && stream.st_size == 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    dup2(saved, 2);
    close(saved);
    close(fd);
    end();
}
END_TEST

static int opens_and_ends(void *how)
{
    mproc_shm *mine;
    named_log log;
    named_log_begin(&log);
    if (mproc_shm_open(place, "one", &mine) < 0 || mproc_cleanup(NULL) < 0)
        return 1;
    if (how)
        raise(SIGKILL);
    mproc_shm_close(&mine);
    return log.count == 0 ? 0 : 2;
}

/* The closing of a handle there is no switch for: nobody's end takes a name from those that use it.
 * shows: SHM-11 */
START_TEST(an_unrelated_user_takes_no_name_with_it_however_it_ends)
{
    named_log log;
    (void)begin(NULL);
    ck_assert_int_eq(make("one", false, &shm), 0);
    strcpy(mproc_shm_data(shm), "hello");
    named_log_begin(&log);
    ck_assert_int_eq(support_reap(support_fork(opens_and_ends, NULL), LIMIT_MS), 0);
    ck_assert_int_eq(support_reap(support_fork(opens_and_ends, &log), LIMIT_MS), 256 + SIGKILL);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert(named_exists("check%one"));
    ck_assert_str_eq(mproc_shm_data(shm), "hello");
    mproc_shm_close(&shm);
    ck_assert_uint_eq(log.count, 0);
    end();
}
END_TEST

static int sleeps(void *unused)
{
    (void)unused;
    return pause();
}

static int makes_forks_and_exits(void *child)
{
    mproc_shm *mine;
    if (make("one", false, &mine) < 0)
        return 1;
    pid_t forked = fork();
    if (!forked)
        return sleeps(NULL);
    *(volatile pid_t *)child = forked;
    return 0;
}

/* A raw fork, not one of the library's. */
START_TEST(a_forked_child_that_lives_on_holds_up_nobodys_end)
{
    pid_t *child = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)begin(NULL);
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(support_reap(support_fork(makes_forks_and_exits, child), LIMIT_MS), 0);
    ck_assert_int_lt(mproc__now_ns() - before, support_ms(1000) * INT64_C(1000000));
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert(named_exists("check%one"));
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), 0);
    mproc_shm_close(&shm);
    ck_assert(named_exists("check%one"));
    support_kill(*child);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert(!named_exists("check%one"));
    munmap(child, 4096);
    end();
}
END_TEST

/* ---- owners ---- */

static int makes_in_group(void *unused)
{
    (void)unused;
    mproc_shm *mine;
    int code = make("childs", true, &mine);
    mproc_place_close(&place); /* a copy of the owner's: takes nothing away */
    return code;
}

/* shows: SMM-02 SMM-04 */
START_TEST(closing_an_owners_place_takes_away_what_is_left_in_it)
{
    mproc_variant list;
    mproc_place *refused = NULL;
    (void)begin(NULL);
    mproc_place_options owner = {.size = sizeof(owner), .owner = true};
    mproc_place_close(&place);
    ck_assert_int_eq(mproc__place_shm("shm:", &owner, &refused), -EINVAL);
    ck_assert_ptr_null(refused);
    ck_assert_int_eq(mproc__place_shm("shm:/check", &owner, &place), 0);
    ck_assert_int_eq(make("one", false, &shm), 0);
    ck_assert_int_eq(make("two", true, &other), 0);
    strcpy(mproc_shm_data(shm), "hello");
    ck_assert_int_eq(support_reap(support_fork(makes_in_group, NULL), LIMIT_MS), 0);
    ck_assert_int_eq(mproc_place_names(place, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 3);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(mproc_variant_at(list, 0), "type")), "shm");
    mproc_variant_clear(&list);
    ck_assert_int_eq(mproc_place_unlink(place, "two"), 0); /* early */
    ck_assert_int_eq(mproc_place_unlink(place, "two"), -ENOENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "two"));
    ck_assert_uint_eq(named_count("check%"), 2);
    mproc_place_close(&place);
    ck_assert_uint_eq(named_count("check%"), 0);
    ck_assert_str_eq(mproc_shm_data(shm), "hello");
    end();
}
END_TEST

/* ---- crashes in any order ---- */

static ino_t inode_of(const char *file)
{
    char path[300];
    struct stat status;
    return stat(named_path(file, path), &status) == 0 ? status.st_ino : 0;
}

static void name_of(char name[16])
{
    snprintf(name, 16, "n%d", rand() % STORM_NAMES);
}

/* While it is open, its name leads to it: nobody unlinks by hand here. */
static int storm_create(void)
{
    char name[16];
    mproc_shm *mine, *again;
    uint64_t mark = (uint64_t)rand() << 32 | (uint32_t)getpid();
    name_of(name);
    int code = make(name, false, &mine);
    if (code < 0)
        return code == -EEXIST ? 0 : 11;
    *(uint64_t *)mproc_shm_data(mine) = mark;
    if (mproc_shm_open_to_read(place, name, &again) < 0)
        return 12;
    if (*(uint64_t *)mproc_shm_data(again) != mark)
        return 13;
    mproc_shm_close(&again);
    mproc_shm_close(&mine);
    return 0;
}

static int storm_open(void)
{
    char name[16], file[32];
    int fd;
    struct stat status;
    name_of(name);
    snprintf(file, sizeof(file), "check%%%s", name);
    int code = mproc__named_open(file, true, &fd);
    if (code < 0)
        return code == -ENOENT ? 0 : 21;
    if (fstat(fd, &status) < 0 || inode_of(file) != status.st_ino)
        return 22;
    sched_yield();
    if (inode_of(file) != status.st_ino)
        return 23;
    close(fd);
    return 0;
}

static int storm(void *seed)
{
    int code = 0;
    srand(*(unsigned *)seed + (unsigned)getpid());
    int role = rand() % 3;
    while (code == 0)
        code = role == 0 ? storm_create() : role == 1 ? storm_open() : mproc_cleanup(NULL) < 0 ? 31 : 0;
    return code;
}

static void storm_round(unsigned seed)
{
    pid_t children[STORM_CHILDREN];
    for (int i = 0; i < STORM_CHILDREN; i++)
        children[i] = support_fork(storm, &seed);
    for (int left = STORM_CHILDREN; left > 0; left--) {
        usleep((useconds_t)(rand() % 1500)); /* kills come at any moment */
        int which = rand() % left;
        kill(children[which], SIGKILL);
        int status = support_reap(children[which], LIMIT_MS);
        ck_assert_msg(status == 256 + SIGKILL, "seed %u: a child ended with %d", seed, status);
        children[which] = children[left - 1];
    }
}

/* shows: DEATH-10 */
START_TEST(two_hundred_crashes_in_any_order_leave_nothing_and_take_nothing_in_use)
{
    char text[64];
    (void)begin(NULL);
    ck_assert_int_eq(make("held", false, &shm), 0);
    ino_t held = inode_of("check%held");
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        srand(seed + round);
        storm_round(seed + round);
        ck_assert_msg(inode_of("check%held") == held, "seed %u took a name in use", seed + round);
        ck_assert_int_eq(mproc_cleanup(NULL), 0);
        ck_assert_msg(named_count("check%") == 1, "seed %u left names", seed + round);
        ck_assert_uint_eq(named_count(".mproc-"), 0);
    }
    ck_assert_int_eq(mproc_shm_open_to_read(place, "held", &other), 0);
    snprintf(text, sizeof(text), "%d crashes", ROUNDS * STORM_CHILDREN);
    strcpy(mproc_shm_data(shm), text);
    ck_assert_str_eq(mproc_shm_data(other), text);
    mproc_shm_close(&other);
    end();
}
END_TEST

/* ---- at once ---- */

enum { MEETINGS = 300 };

static int meets(void *unused)
{
    (void)unused;
    for (int i = 0; i < MEETINGS; i++) {
        mproc_shm *mine;
        if (mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one", .and_open = true),
                             &mine) < 0)
            return 1;
        atomic_fetch_add((_Atomic unsigned *)mproc_shm_data(mine), 1);
        mproc_shm_close(&mine);
    }
    return 0;
}

START_TEST(many_that_open_or_make_one_name_at_once_all_meet)
{
    pid_t children[4];
    (void)begin(NULL);
    for (int held = 0; held < 2; held++) {
        if (held)
            ck_assert_int_eq(make("one", false, &shm), 0);
        for (size_t i = 0; i < MPROC__COUNT(children); i++)
            children[i] = support_fork(meets, NULL);
        for (size_t i = 0; i < MPROC__COUNT(children); i++)
            ck_assert_int_eq(support_reap(children[i], 15000), 0);
    }
    ck_assert_uint_eq(*(unsigned *)mproc_shm_data(shm), MPROC__COUNT(children) * MEETINGS);
    mproc_shm_close(&shm);
    end();
}
END_TEST

static void *opens_often(void *unused)
{
    (void)unused;
    mproc_shm *mine = NULL;
    for (int i = 0; i < MEETINGS; i++) {
        if (mproc_shm_open(place, "one", &mine) < 0)
            return (void *)(uintptr_t)1;
        if (mine != shm)
            return (void *)(uintptr_t)2;
        mproc_shm_close(&mine);
    }
    return NULL;
}

START_TEST(a_process_has_one_handle_on_a_file_in_all_its_threads)
{
    pthread_t threads[3];
    void *wrong;
    (void)begin(NULL);
    ck_assert_int_eq(make("one", false, &shm), 0);
    for (size_t i = 0; i < MPROC__COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, opens_often, NULL), 0);
    for (size_t i = 0; i < MPROC__COUNT(threads); i++) {
        pthread_join(threads[i], &wrong);
        ck_assert_ptr_null(wrong); /* 1: not opened, 2: another handle */
    }
    mproc_shm_close(&shm);
    end();
}
END_TEST

/* ---- no room, no /proc ---- */

/* shows: SHM-12 MEM-1 */
START_TEST(a_full_directory_is_an_error_at_creation_and_never_a_signal_later)
{
    mproc_shm *made[16];
    named_log log;
    unsigned count = 0;
    int code = 0;
    if (!begin("size=64k"))
        return;
    named_log_begin(&log);
    ck_assert_int_eq(mproc_shm_create(place, 1 << 20, MPROC_WITH(mproc_shm_options, .name = "big"), &shm),
                     -ENOSPC);
    ck_assert_int_eq(
        mproc_shm_create(place, SIZE_MAX / 2, MPROC_WITH(mproc_shm_options, .name = "big"), &shm), -EINVAL);
    support_fail_allocation(1);
    ck_assert_int_eq(mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "big"), &shm),
                     -ENOMEM);
    ck_assert_uint_eq(named_count(""), 0);
    ck_assert_uint_eq(cleaned(), 0);
    ck_assert_uint_eq(log.count, 0);
    mproc_set_log(NULL, MPROC_LOG_ERROR, NULL);
    while (count < MPROC__COUNT(made) && (code = mproc_shm_create(place, 4096, NULL, &made[count])) == 0)
        count++;
    ck_assert_int_eq(code, -ENOSPC);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "ENOSPC"));
    ck_assert_uint_gt(count, 0);
    ck_assert_uint_eq(named_count(""), count);
    for (unsigned i = 0; i < count; i++)
        memset(mproc_shm_data(made[i]), 1, 4096);
    ck_assert_int_eq(mproc_shm_open(place, mproc_shm_name(made[0]), &other), 0);
    mproc_shm_close(&other);
    mproc_shm_close(&made[0]);
    ck_assert_int_eq(mproc_shm_create(place, 4096, NULL, &made[0]), 0);
    /* Anonymous memory has no part in it. */
    ck_assert_int_eq(mproc_shm_create(NULL, 1 << 20, NULL, &other), 0);
    memset(mproc_shm_data(other), 1, 1 << 20);
    for (unsigned i = 0; i < count; i++)
        mproc_shm_close(&made[i]);
    end();
}
END_TEST

static int dies_half_way(void *unused)
{
    (void)unused;
    const mproc__naming naming = {.file = "check%half"};
    mproc__segment *segment;
    if (mproc__named_create(&naming, MPROC_TYPE_SHM, 100, 0, &segment) < 0)
        return 1;
    raise(SIGKILL);
    return 2;
}

START_TEST(without_proc_files_have_a_temporary_name_that_cleaners_know)
{
    if (!begin(NULL))
        return;
    if (umount2("/proc", MNT_DETACH) < 0) {
        named_skipped("cannot take /proc away");
        end();
        return;
    }
    ck_assert_int_eq(make("one", false, &shm), 0);
    ck_assert_int_eq(make("one", false, &other), -EEXIST);
    ck_assert_uint_eq(named_count(""), 1);
    ck_assert_int_eq(mproc_shm_open(place, "one", &other), 0);
    mproc_shm_close(&other);
    ck_assert_int_eq(support_reap(support_fork(dies_half_way, NULL), LIMIT_MS), 256 + SIGKILL);
    ck_assert_uint_eq(named_count(".mproc-"), 1);
    ck_assert_uint_eq(cleaned(), 1);
    ck_assert_uint_eq(named_count(""), 1);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
    ck_assert_uint_eq(named_count(""), 0);
    ck_assert_int_eq(mount("proc", "/proc", "proc", 0, NULL), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("cleanup");
    TCase *left = support_case(suite, "left behind");
    tcase_add_test(left, what_the_killed_left_goes_at_the_next_cleaning_with_a_warning_each);
    tcase_add_test(left, making_and_cleaning_leave_the_signal_mask_and_the_streams_alone);
    tcase_add_test(left, an_unrelated_user_takes_no_name_with_it_however_it_ends);
    tcase_add_test(left, a_forked_child_that_lives_on_holds_up_nobodys_end);
    tcase_add_test(left, closing_an_owners_place_takes_away_what_is_left_in_it);
    TCase *crashes = support_case(suite, "crashes");
    tcase_set_timeout(crashes, support_ms(60000) / 1000.0);
    tcase_add_test(crashes, two_hundred_crashes_in_any_order_leave_nothing_and_take_nothing_in_use);
    tcase_add_test(crashes, many_that_open_or_make_one_name_at_once_all_meet);
    tcase_add_test(crashes, a_process_has_one_handle_on_a_file_in_all_its_threads);
    TCase *room = support_case(suite, "room");
    tcase_add_test(room, a_full_directory_is_an_error_at_creation_and_never_a_signal_later);
    tcase_add_test(room, without_proc_files_have_a_temporary_name_that_cleaners_know);
    return support_run(suite, argc, argv);
}
