/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: what the caller's side and the nursery share, and what hangs on a program's handle. L5.
 *
 *      caller                                      nursery                        program
 *      opens files, pipes, the directory
 *      packs the record into a memfd
 *      START slot + socket, on which there wait
 *        the record's and the other descriptors -> maps the record, vfork  ->     its first steps (program_child.c)
 *                                                  ... its exec, or an errno  <-  exec
 *      pidfd, or the step that failed           <- hello
 *
 * Everything that may block or fail by the caller's doing (opening a FIFO or a file on a dead server) is done by the
 * caller. The record comes whole, in memory, so that the nursery never waits for a caller that is stopped. By vfork, because
 * a nursery of a program without mproc_init is a copy of that program, however large; and it is told by the kernel whether
 * the exec happened. Rejected: starting by posix_spawn in the caller, as cheap, but what the program starts would not
 * come to the nursery when the program dies, and a caller that ignores SIGCHLD would lose the exit code. */
#ifndef MPROC__PROCESS_PROGRAM_H
#define MPROC__PROCESS_PROGRAM_H

#include <mproc/program.h>
#include "process/limits.h"
#include "process/process.h"
#include "process/program_surroundings.h"

#define MPROC__PROGRAM_MAGIC 0x6d707267u /* "mprg" */

/* Descriptors beside the record, in this order; bit n of fd_mask: the n-th is there. Then those of pass[]. */
enum {
    MPROC__PROGRAM_INPUT,
    MPROC__PROGRAM_OUTPUT,
    MPROC__PROGRAM_ERROR,
    MPROC__PROGRAM_DIRECTORY,
    MPROC__PROGRAM_CGROUP,
    MPROC__PROGRAM_FIXED_FDS
};

/* At the beginning of the memfd, made and written by the caller, then only read. argv, environment, paths: offsets from the
 * record's begin of NULL-ended arrays of offsets of strings; the nursery's private mapping turns them into pointers. */
typedef struct mproc__program_record {
    uint32_t magic, size_bytes; /* of this struct */
    uint64_t total_bytes;
    uint64_t argv, environment, paths;
    uint32_t argv_count, environment_count, path_count; /* without the NULL */
    uint32_t fd_mask;
    uint32_t group;
    uint32_t pass_count;
    int32_t pass[MPROC_PROGRAM_FDS]; /* ascending, each once */
    mproc__program_surroundings surroundings;
    mproc__limits limits;
} mproc__program_record;

/* What came of a program's output. */
typedef struct mproc__program_output {
    char *data; /* with a 0 behind it; NULL: nothing yet */
    size_t size_bytes, capacity_bytes;
    uint64_t dropped_bytes;
} mproc__program_output;

/* On a handle of kind MPROC__PROCESS_SERVED: this one is no function but a program. */
typedef struct mproc__program {
    mproc_program_group group;
    int pipes[3];         /* our ends; -1: none, or closed */
    size_t written_bytes; /* of the input, by all communicate calls */
    bool over;            /* killed, because more came than may be kept */
    bool has_input;       /* there was a pipe for it */
    mproc__program_output outputs[2];
} mproc__program;

/* ---- caller: program_streams.c ---- */
typedef struct mproc__program_streams {
    int child[3];  /* for the program; -1: closed */
    bool owned[3]; /* opened here, to be closed */
    int ours[3];   /* of pipes; -1: none */
} mproc__program_streams;
int mproc__program_streams_open(const mproc_program_options *options, mproc__program_streams *ret_streams);
/* Closes the program's ends, and on failure ours. */
void mproc__program_streams_close(mproc__program_streams *streams, bool ours_too);

/* ---- caller: program_record.c ---- */
/* What goes beside the record, in the caller's numbers. */
typedef struct mproc__program_fds {
    int fixed[MPROC__PROGRAM_FIXED_FDS]; /* -1: not there */
    int32_t pass[MPROC_PROGRAM_FDS];     /* ascending, each once */
    uint32_t pass_count;
} mproc__program_fds;
/* A memfd with the record, the caller's. */
int mproc__program_record_make(const char *const argv[], const mproc_program_options *options,
                               const mproc__program_fds *fds, const mproc__limits *limits, int *ret_memfd);

/* ---- nursery: program_exec.c ---- */
/* What waits on the socket is started, and the owner has its pid and pidfd; or an error, which the owner is yet to be told.
 * *ret_ran: the program ran; with an error it has been ended, and shall not run once more. */
int mproc__program_serve(int socket, pid_t *ret_pid, bool *ret_ran);

/* ---- handle ---- */
void mproc__program_free(mproc__program *program);    /* NULL: none */
void mproc__program_hang_up(mproc__program *program); /* closes our ends; NULL: none */
void mproc__program_forget(mproc__program *program);  /* in a fork child, where they are closed; NULL: none */
/* To the program, or to its group. */
int mproc__program_signal(const mproc_process *process, int signal_number);
/* The handle is of a program, and of this process. */
int mproc__program_check(mproc_process *process);

#endif
