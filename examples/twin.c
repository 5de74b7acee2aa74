/* SPDX-License-Identifier: BSD-2-Clause */
#include "twin.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const methods[] = {"fork", "spawn", "forkserver", "thread"};

enum { WORKERS_MOST = 112 };

static void usage(const twin_options *options, FILE *out)
{
    fprintf(out,
            "usage: %s [--size N] [--workers N] [--start fork|spawn|forkserver|thread]%s\n"
            "  --size N     %s, %" PRId64 " to %" PRId64 "; %" PRId64 " if not given\n"
            "  --workers N  1 to %d; as many as there are usable CPUs if not given\n",
            options->program, options->writes_image ? " [--output FILE]" : "", options->size_means,
            options->size_least, options->size_most, options->size, WORKERS_MOST);
    if (options->writes_image)
        fprintf(out, "  --output F   an image, as PNG if F ends in .png, else as PPM\n");
}

static int64_t number_parse(const twin_options *options, const char *name, const char *text, int64_t least,
                            int64_t most)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most) {
        fprintf(stderr, "%s: --%s %s: must be a number from %" PRId64 " to %" PRId64 "\n", options->program,
                name, text, least, most);
        exit(64);
    }
    return value;
}

static mproc_start start_parse(const twin_options *options, const char *text)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(text, methods[i]) == 0)
            return (mproc_start)(MPROC_START_FORK + i);
    fprintf(stderr, "%s: --start %s: must be fork, spawn, forkserver or thread\n", options->program, text);
    exit(64);
}

void twin_parse(twin_options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"size", required_argument, NULL, 'n'},  {"workers", required_argument, NULL, 'w'},
        {"start", required_argument, NULL, 's'}, {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    int option;
    options->workers = mproc_cpu_count();
    options->start = MPROC_START_FORK;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'n')
            options->size = number_parse(options, "size", optarg, options->size_least, options->size_most);
        else if (option == 'w')
            options->workers = (unsigned)number_parse(options, "workers", optarg, 1, WORKERS_MOST);
        else if (option == 's')
            options->start = start_parse(options, optarg);
        else if (option == 'o' && options->writes_image)
            options->output = optarg;
        else {
            usage(options, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 64);
        }
    }
    if (optind < argc) {
        usage(options, stderr);
        exit(64);
    }
}

mproc_pool *twin_pool_create(const twin_options *options)
{
    mproc_pool *pool;
    double begin = twin_seconds();
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = options->workers, .start = options->start,
                                     .name = options->program),
                          &pool) < 0) {
        fprintf(stderr, "%s: %s\n", options->program, mproc_error_text(mproc_last_error()));
        exit(1);
    }
    printf("%u worker%s by %s, ready after %.0f ms\n", options->workers, options->workers == 1 ? "" : "s",
           methods[options->start - MPROC_START_FORK], (twin_seconds() - begin) * 1e3);
    fflush(stdout);
    return pool;
}

double twin_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int twin_report(const twin_options *options, bool same, double serial_seconds, double pool_seconds)
{
    printf("serial %.3f s, in the pool %.3f s: %.2f times as fast\n", serial_seconds, pool_seconds,
           serial_seconds / pool_seconds);
    if (!same)
        fprintf(stderr, "%s: the pool's result is not the loop's\n", options->program);
    return same ? 0 : 1;
}
