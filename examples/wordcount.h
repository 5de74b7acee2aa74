/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the word count: inputs and pieces, the workers' side, the daemon it starts. */
#ifndef WORDCOUNT_H
#define WORDCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mproc.h>

enum {
    PIECE_BYTES = 1024 * 1024   /* a few milliseconds of work: a lost one costs little, a queue trip costs less; part of a
                                 * large file, or many small ones */
};

/* ---- wordcount_inputs.c ---- */
typedef struct piece {
    uint32_t number;            /* from 1 */
    uint32_t file;
    uint32_t more;              /* whole files behind this one that belong to the piece, too */
    uint64_t offset, length;    /* in the first file */
} piece;

typedef struct inputs {
    char **paths;
    uint64_t *sizes;
    size_t count;
    uint64_t pieces;            /* in all, after inputs_cut */
} inputs;

int inputs_add(inputs *in, const char *path);
int inputs_add_defaults(inputs *in);
int inputs_cut(inputs *in);     /* prints what is wrong */
bool inputs_next(const inputs *in, piece *at);
void inputs_free(inputs *in);

/* ---- wordcount_worker.c: runs in the workers ---- */
int worker_begin(mproc_call *call);     /* initializer(jobs, results, path, path, ...) */
int worker_count(mproc_call *call);     /* one task a worker: pieces from jobs until its end */

/* ---- wordcount_daemon.c ---- */
typedef struct daemon_process {
    pid_t pid;                  /* 0: not started or already reaped */
    int lifeline;               /* when we die, managerd reads its end and goes too */
    char address[80];
    char key_file[64];
} daemon_process;

int daemon_start(daemon_process *daemon);           /* prints what is wrong */
bool daemon_running(daemon_process *daemon);        /* prints how it ended, once */
void daemon_stop(daemon_process *daemon);

/* ---- wordcount_serial.c ---- */
struct words;
double seconds_now(void);
/* Counts again in a loop, compares the tables and prints both times; negative when something is wrong, which it prints. */
int serial_compare(const inputs *in, const struct words *pool, double pool_seconds, unsigned workers);

#endif
