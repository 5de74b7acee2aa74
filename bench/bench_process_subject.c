/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that starts others, and what it times. bench_process.h says how it lives. */
#include "platform/base.h"

#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc.h>

#include "bench.h"
#include "bench_process.h"

enum {
    PAGE_BYTES = 4096,
    SETTLE_MS = 2000,
    PAUSE_MS = 3, /* a spare is made in it, and is asleep by then */
    WARM_UP = 3,  /* starts that do not count */
    COUNT_MOST = 1000,
    SPARES = 2, /* the library's default */
    BURST = 40, /* starts, each by a spare: of 64, so that none is made beside them */
    SPARES_DEADLINE_MS = 5000,
    CHILDREN_MOST = 256
};

/* Where a target writes when it began: a memfd, the same for all. Not close-on-exec, its number is an argument. */
static int clock_fd;

static int64_t clock_read_ns(void)
{
    int64_t ns;
    return pread(clock_fd, &ns, sizeof ns, 0) == sizeof ns ? ns : -1;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- ours, once: nanoseconds, or negative ---- */

static int say_when(mproc_call *call)
{
    int64_t now_ns = bench_now_ns();
    return pwrite((int)mproc_call_arg(call, 0).number, &now_ns, sizeof now_ns, 0) == sizeof now_ns ? 0 : 1;
}

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* A row that could not be measured says why. */
static int64_t not_started(int rc)
{
    fprintf(stderr, "bench: a start answered %s: %s\n", mproc_errname(rc),
            mproc_error_text(mproc_last_error()));
    return -1;
}

static int64_t not_ended(mproc_process *process, int rc, int exit_code)
{
    if (rc < 0)
        fprintf(stderr, "bench: a join answered %s: %s\n", mproc_errname(rc),
                mproc_error_text(mproc_error_of(process)));
    else
        fprintf(stderr, "bench: a child ended with %d\n", exit_code);
    mproc_process_close(&process);
    return -1;
}

/* Joins, and lets go of the handle, which is not timed: a program may keep it. */
static int64_t end(mproc_process *process, int64_t start_ns)
{
    int exit_code = -1;
    int rc = mproc_process_join(process, mproc_after_ms(60000), &exit_code);
    int64_t took_ns = bench_now_ns() - start_ns;
    if (rc < 0 || exit_code != 0)
        return not_ended(process, rc, exit_code);
    mproc_process_close(&process);
    return took_ns;
}

static int64_t start_and_join(mproc_start method)
{
    mproc_process *process;
    int64_t start_ns = bench_now_ns();
    int rc = mproc_process_start(nothing, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = method),
                                 &process);
    return rc == 0 ? end(process, start_ns) : not_started(rc);
}

static int64_t first_served(void)
{
    mproc_process *process;
    int64_t start_ns = bench_now_ns();
    int rc =
        mproc_process_start(say_when, MPROC_ARGS(mproc_fd(clock_fd)),
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER), &process);
    if (rc < 0)
        return not_started(rc);
    return end(process, start_ns) >= 0 ? clock_read_ns() - start_ns : -1;
}

static int64_t join_served(void)
{
    return start_and_join(MPROC_START_FORKSERVER);
}

static int64_t join_fork(void)
{
    return start_and_join(MPROC_START_FORK);
}

static int64_t join_spawn(void)
{
    return start_and_join(MPROC_START_SPAWN);
}

static int64_t join_thread(void)
{
    return start_and_join(MPROC_START_THREAD);
}

static const char *const true_argv[] = {"/bin/true", NULL};

static int64_t join_program(void)
{
    mproc_process *process;
    int64_t start_ns = bench_now_ns();
    int rc = mproc_process_start_program(true_argv, NULL, &process);
    return rc == 0 ? end(process, start_ns) : not_started(rc);
}

/* ---- peers, once ---- */

static bool ended_well(pid_t pid)
{
    int status = -1;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static int64_t first_posix_spawn(void)
{
    char program[] = "bench/process_clock", number[16];
    char *argv[] = {program, number, NULL};
    pid_t pid;
    snprintf(number, sizeof number, "%d", clock_fd);
    int64_t start_ns = bench_now_ns();
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0 || !ended_well(pid))
        return -1;
    return clock_read_ns() - start_ns;
}

static int64_t first_bare_fork(void)
{
    int64_t start_ns = bench_now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        int64_t now_ns = bench_now_ns();
        _exit(pwrite(clock_fd, &now_ns, sizeof now_ns, 0) != sizeof now_ns);
    }
    return pid > 0 && ended_well(pid) ? clock_read_ns() - start_ns : -1;
}

static int64_t join_posix_spawn(void)
{
    pid_t pid;
    int64_t start_ns = bench_now_ns();
    if (posix_spawn(&pid, true_argv[0], NULL, NULL, (char *const *)(uintptr_t)true_argv, environ) != 0)
        return -1;
    return ended_well(pid) ? bench_now_ns() - start_ns : -1;
}

static int64_t join_bare_fork(void)
{
    int64_t start_ns = bench_now_ns();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0 && ended_well(pid) ? bench_now_ns() - start_ns : -1;
}

static void *thread_nothing(void *unused)
{
    return unused;
}

static int64_t join_pthread(void)
{
    pthread_t thread;
    int64_t start_ns = bench_now_ns();
    if (pthread_create(&thread, NULL, thread_nothing, NULL) != 0)
        return -1;
    pthread_join(thread, NULL);
    return bench_now_ns() - start_ns;
}

static const struct {
    int64_t (*once)(void);
    bool served; /* by a nursery */
    bool paused; /* before each */
    int spares;  /* kept */
    int burst;   /* starts between two looks for spares; 0: none is looked for */
} measures[BENCH_STARTS] = {
    [BENCH_FIRST_SPARE] = {first_served, .served = true, .spares = MPROC_SPARES_MOST, .burst = BURST},
    [BENCH_FIRST_SPARE_PAUSED] = {first_served, .served = true, .paused = true, .spares = SPARES, .burst = 1},
    [BENCH_FIRST_POSIX_SPAWN] = {first_posix_spawn},
    [BENCH_FIRST_POSIX_SPAWN_PAUSED] = {first_posix_spawn, .paused = true},
    [BENCH_FIRST_BARE_FORK] = {first_bare_fork},
    [BENCH_JOIN_SPARE] = {join_served, .served = true, .spares = MPROC_SPARES_MOST, .burst = BURST},
    [BENCH_JOIN_SPARE_PAUSED] = {join_served, .served = true, .paused = true, .spares = SPARES, .burst = 1},
    [BENCH_JOIN_FORKSERVER] = {join_served, .served = true},
    [BENCH_JOIN_FORK] = {join_fork},
    [BENCH_JOIN_SPAWN] = {join_spawn},
    [BENCH_JOIN_THREAD] = {join_thread},
    [BENCH_JOIN_PROGRAM] = {join_program},
    [BENCH_JOIN_POSIX_SPAWN] = {join_posix_spawn},
    [BENCH_JOIN_POSIX_SPAWN_PAUSED] = {join_posix_spawn, .paused = true},
    [BENCH_JOIN_BARE_FORK] = {join_bare_fork},
    [BENCH_JOIN_PTHREAD] = {join_pthread},
};

/* ---- spares ---- */

/* Those of a parent's children that bear a name, and of them the first. */
static unsigned children_named(mproc_running parent, const char *name, mproc_running *ret_first)
{
    mproc_running children[CHILDREN_MOST];
    size_t count = 0;
    unsigned found = 0;
    if (mproc_running_children(parent, false, children, CHILDREN_MOST, &count) < 0)
        return 0;
    for (size_t i = 0; i < count && i < CHILDREN_MOST; i++) {
        mproc_running_stats stats = {.size = sizeof stats};
        if (mproc_running_get(children[i], &stats) == 0 && stats.state == 'S' &&
            strcmp(stats.name, name) == 0 && found++ == 0)
            *ret_first = children[i];
    }
    return found;
}

/* Until as many spares sleep as are wanted. The nursery makes them when it has nothing else to do. */
static int spares_await(unsigned wanted)
{
    static mproc_running nursery;
    int64_t until_ns = bench_now_ns() + SPARES_DEADLINE_MS * INT64_C(1000000);
    while (bench_now_ns() < until_ns) {
        mproc_running first;
        if (nursery.pid == 0)
            (void)children_named((mproc_running){0}, "mproc-nursery", &nursery);
        if (nursery.pid != 0 && children_named(nursery, "mproc-spare", &first) == wanted)
            return 0;
        sleep_ms(1);
    }
    fprintf(stderr, "bench: the nursery does not have %u spares\n", wanted);
    return -1;
}

/* ---- asked ---- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The nursery is there after the first start. */
static int measure_begin(bench_start start)
{
    if (!measures[start].served)
        return 0;
    unsigned spares = (unsigned)measures[start].spares;
    return mproc_set_spares(spares) == 0 && measures[start].once() >= 0 ? spares_await(spares) : -1;
}

static double measure(bench_start start, unsigned count)
{
    static int64_t took_ns[COUNT_MOST];
    if (measure_begin(start) < 0)
        return -1;
    for (unsigned i = 0; i < WARM_UP + count; i++) {
        if (measures[start].paused)
            sleep_ms(PAUSE_MS);
        if (measures[start].burst > 0 && i % (unsigned)measures[start].burst == 0 &&
            spares_await((unsigned)measures[start].spares) < 0)
            return -1;
        int64_t took = measures[start].once();
        if (took < 0)
            return -1;
        if (i >= WARM_UP)
            took_ns[i - WARM_UP] = took;
    }
    qsort(took_ns, count, sizeof took_ns[0], by_value);
    return (double)took_ns[count / 2] / 1e3;
}

/* Every byte is written, in pages of 4 KiB as a malloc without huge pages has them. */
static int touch(unsigned gib)
{
    size_t size_bytes = (size_t)gib << 30;
    if (gib == 0)
        return 0;
    char *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    (void)madvise(memory, size_bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size_bytes; at += PAGE_BYTES)
        memory[at] = 1;
    sleep_ms(SETTLE_MS);
    return 0;
}

int bench_subject_main(unsigned gib)
{
    uint32_t question[2];
    clock_fd = memfd_create("bench:clock", 0);
    if (clock_fd < 0 || touch(gib) < 0)
        return EXIT_FAILURE;
    while (read(0, question, sizeof question) == sizeof question) {
        double answer = -1;
        if (question[0] < BENCH_STARTS && question[1] > 0 && question[1] <= COUNT_MOST)
            answer = measure((bench_start)question[0], question[1]);
        if (write(1, &answer, sizeof answer) != sizeof answer)
            break;
    }
    return EXIT_SUCCESS;
}
