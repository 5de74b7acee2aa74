/* SPDX-License-Identifier: BSD-2-Clause */
/* Two processes on two CPUs, or on one; programs; the clock and the cache line. */
#include "platform/base.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { LINE_TRIPS = 200000 };

static cpu_set_t allowed;

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_begin(void)
{
    sched_getaffinity(0, sizeof(allowed), &allowed);
}

unsigned bench_cpus(void)
{
    return (unsigned)CPU_COUNT(&allowed);
}

void bench_pin(unsigned side)
{
    cpu_set_t one;
    unsigned seen = 0, last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && seen <= side; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            last = cpu;
            seen++;
        }
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

static void unpin(void)
{
    sched_setaffinity(0, sizeof(allowed), &allowed);
}

static double pair(bool pinned, double (*parent)(void *context), int (*child)(void *context), void *context)
{
    int status = -1;
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (pinned)
            bench_pin(1);
        _exit(child(context));
    }
    if (pinned)
        bench_pin(0);
    double figure = parent(context);
    if (figure < 0)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    unpin();
    if (status != 0 && figure >= 0)
        fprintf(stderr, "bench: the other process ended with status %#x\n", (unsigned)status);
    return status == 0 ? figure : -1;
}

double bench_pair(double (*parent)(void *context), int (*child)(void *context), void *context)
{
    return pair(true, parent, child, context);
}

double bench_pair_unpinned(double (*parent)(void *context), int (*child)(void *context), void *context)
{
    return pair(false, parent, child, context);
}

double bench_program(const char *command)
{
    double figure = -1;
    FILE *program = popen(command, "re");
    if (!program || fscanf(program, "%lf", &figure) != 1)
        figure = -1;
    int status = program ? pclose(program) : -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return BENCH_ABSENT;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return BENCH_CANNOT;
    if (status != 0)
        figure = -1;
    if (figure < 0)
        fprintf(stderr, "bench: `%s` failed\n", command);
    return figure;
}

double bench_ours_on_one_cpu(const char *name)
{
    char self[512], command[640];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0)
        return -1;
    self[length] = '\0';
    snprintf(command, sizeof(command), "%s --ours %s", self, name);
    bench_pin(0);
    double figure = bench_program(command);
    unpin();
    return figure;
}

double bench_peer_on_one_cpu(const char *program)
{
    bench_pin(0);
    double figure = bench_peer(program);
    unpin();
    return figure;
}

typedef struct line_shared {
    _Atomic uint32_t word;
} line_shared;

static double line_parent(void *context)
{
    line_shared *line = context;
    int64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < LINE_TRIPS; i++) {
        atomic_store_explicit(&line->word, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&line->word, memory_order_acquire) != 2 * i + 2)
            ;
    }
    return (double)(bench_now_ns() - start_ns) / LINE_TRIPS;
}

static int line_child(void *context)
{
    line_shared *line = context;
    for (uint32_t i = 0; i < LINE_TRIPS; i++) {
        while (atomic_load_explicit(&line->word, memory_order_acquire) != 2 * i + 1)
            ;
        atomic_store_explicit(&line->word, 2 * i + 2, memory_order_release);
    }
    return 0;
}

double bench_line_ns(void)
{
    if (bench_cpus() < 2)
        return -1;
    line_shared *line = mmap(NULL, sizeof(*line), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (line == MAP_FAILED)
        return -1;
    double figure = bench_pair(line_parent, line_child, line);
    munmap(line, sizeof(*line));
    return figure;
}
