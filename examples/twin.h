/* SPDX-License-Identifier: BSD-2-Clause */
/* What the examples have in common that do their work twice, once in a plain loop and once in a pool:
 * options, a clock, and the last line, which compares the two. */
#ifndef TWIN_H
#define TWIN_H

#include <stdbool.h>
#include <stdint.h>

#include <mproc.h>

typedef struct twin_options {
    /* Filled in by the program before twin_parse: its usage beyond the common options, and what it does. */
    const char *program, *size_means;
    int64_t size, size_least, size_most;    /* size: unless --size says otherwise */
    bool writes_image;                      /* takes --output */
    /* By twin_parse. */
    unsigned workers;
    mproc_start start;
    const char *output;                     /* or NULL */
} twin_options;

/* Options of the command line; ends the program where they are wrong (64) or --help was asked for. */
void twin_parse(twin_options *options, int argc, char **argv);

/* The pool that the options ask for, and a line that says that it is made, before the work begins; ends the program with the
 * story if there is none. */
mproc_pool *twin_pool_create(const twin_options *options);

double twin_seconds(void);

/* Prints the two times and how they compare; 0, or 1 if the results were not the same. */
int twin_report(const twin_options *options, bool same, double serial_seconds, double pool_seconds);

#endif
