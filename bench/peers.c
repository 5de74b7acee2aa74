/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers: those that are programs of their own (peer.h), and the pipe's round trip. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

double bench_peer(const char *program)
{
    char command[640];
    size_t name = strcspn(program, " ");
    if (strncmp(program, "python", strlen("python")) == 0) {
        snprintf(command, sizeof(command), "python3 %s/peer_%.*s.py%s", BENCH_SOURCE, (int)name, program,
                 program + name);
        return bench_program(command);
    }
    snprintf(command, sizeof(command), "bench/peer_%.*s", (int)name, program);
    if (access(command, X_OK) != 0)
        return BENCH_ABSENT;
    snprintf(command, sizeof(command), "bench/peer_%s", program);
    return bench_program(command);
}

typedef struct pipes {
    int there[2], back[2];
} pipes;

static double pipes_parent(void *context)
{
    pipes *p = context;
    char byte = 0;
    int64_t start_ns = bench_now_ns();
    for (unsigned i = 0; i < BENCH_ROUND_TRIPS; i++)
        if (write(p->there[1], &byte, 1) != 1 || read(p->back[0], &byte, 1) != 1)
            return -1;
    return (double)(bench_now_ns() - start_ns) / BENCH_ROUND_TRIPS;
}

static int pipes_child(void *context)
{
    pipes *p = context;
    char byte;
    for (unsigned i = 0; i < BENCH_ROUND_TRIPS; i++)
        if (read(p->there[0], &byte, 1) != 1 || write(p->back[1], &byte, 1) != 1)
            return 1;
    return 0;
}

double bench_peer_pipe_round_trip(void)
{
    pipes p;
    if (pipe(p.there) != 0)
        return -1;
    if (pipe(p.back) != 0) {
        close(p.there[0]);
        close(p.there[1]);
        return -1;
    }
    double figure = bench_pair(pipes_parent, pipes_child, &p);
    for (unsigned i = 0; i < 2; i++) {
        close(p.there[i]);
        close(p.back[i]);
    }
    return figure;
}
