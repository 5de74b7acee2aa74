/* SPDX-License-Identifier: BSD-2-Clause */
/* The peers that are measured from C. Each is used the way its own manual shows. */
#include "platform/base.h"

#include <stdio.h>
#include <unistd.h>

#include "bench.h"

double bench_peer_boost_rate(void)
{
    char command[128];
    snprintf(command, sizeof(command), "bench/peer_boost %d %d", BENCH_MESSAGE_BYTES, BENCH_MESSAGES);
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
