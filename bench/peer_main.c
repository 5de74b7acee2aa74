/* SPDX-License-Identifier: BSD-2-Clause */
/* What all peers share: sides, CPUs, the clock. peer.h says how it is called. */
#include "platform/base.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

enum { SEND_MOST_NS = 500000000, LARGE_BYTES = 4096, STEP = 16 };

typedef struct run {
    size_t bytes;
    unsigned long messages;
    bool pinned, fill;
    char *message;
    int through
        [2]; /* a pipe: the receiver closes its end when it has all. Some peers drop at close what is on its way */
} run;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* As bench_pin: the first two CPUs of our mask; one if it has no more. */
static void pin(unsigned side)
{
    cpu_set_t allowed, one;
    unsigned seen = 0, last = 0;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && seen <= side; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            last = cpu;
            seen++;
        }
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* The last message begins with 'e'. */
static int send_all(run *r)
{
    int64_t end_ns = now_ns() + SEND_MOST_NS;
    unsigned step = r->bytes >= LARGE_BYTES ? 1 : STEP;
    for (unsigned long i = 1;; i++) {
        bool last = i == r->messages || (i % step == 0 && now_ns() > end_ns);
        if (r->fill)
            memset(r->message, (int)(i & 63), r->bytes);
        r->message[0] = last ? 'e' : 'm';
        int status = peer.send(r->message, r->bytes);
        if (status != 0 || last)
            return status;
    }
}

/* So that the compiler does not leave the reading out. */
static volatile uint64_t sink;

static void read_all(const run *r)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof word <= r->bytes; i += sizeof word) {
        memcpy(&word, r->message + i, sizeof word);
        sum += word;
    }
    sink = sum;
}

static int receive_all(run *r, double *ret_rate)
{
    unsigned long received = 0;
    int64_t start_ns = 0;
    do {
        int status = peer.receive(r->message, r->bytes);
        if (status != 0)
            return status;
        if (r->fill)
            read_all(r);
        if (received++ == 0)
            start_ns = now_ns();
    } while (r->message[0] != 'e');
    *ret_rate = (double)(received - 1) / ((double)(now_ns() - start_ns) / 1e9);
    return 0;
}

static int side_begin(run *r, int sends)
{
    if (r->pinned)
        pin((unsigned)sends);
    return peer.begin ? peer.begin(sends) : 0;
}

static int sender(run *r)
{
    char none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(r->through[1]);
    int status = side_begin(r, 1);
    if (status == 0)
        status = send_all(r);
    if (status == 0)
        status = read(r->through[0], &none, 1) != 0;
    peer.end(1);
    return status;
}

static int receiver(run *r, pid_t child)
{
    double rate = 0;
    int status = side_begin(r, 0), child_status = 0;
    if (status == 0)
        status = receive_all(r, &rate);
    if (status != 0)
        kill(child, SIGKILL);
    close(r->through[1]);
    waitpid(child, &child_status, 0);
    peer.end(0);
    if (status == 0 && child_status == 0)
        printf("%.6g\n", rate);
    return status == 0 && child_status != 0 ? 1 : status;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 64;
    run r = {.bytes = strtoul(argv[1], NULL, 10),
             .messages = strtoul(argv[2], NULL, 10),
             .pinned = strcmp(argv[3], "pinned") == 0,
             .fill = argc > 4 && strcmp(argv[4], "fill") == 0};
    if (r.bytes == 0 || r.messages < 2 || !(r.message = malloc(r.bytes)) || pipe(r.through) != 0)
        return 64;
    memset(r.message, 'x', r.bytes);
    int status = peer.open(r.bytes);
    if (status != 0)
        return status;
    pid_t child = fork();
    if (child == 0)
        _exit(sender(&r));
    status = child > 0 ? receiver(&r, child) : 1;
    free(r.message);
    return status;
}
