/* SPDX-License-Identifier: BSD-2-Clause */
/* A small program for bench_process_subject.c: its first act is to read the clock, its second to write it to a descriptor. */
#include "platform/base.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return argc == 2 && pwrite((int)strtol(argv[1], NULL, 10), &ns, sizeof ns, 0) == sizeof ns ? 0 : 1;
}
