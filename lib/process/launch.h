/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting a child process that runs one function: what processes, the nursery and the pool's supervisor
 * share. L5.
 *
 * MPROC_START_FORK: fork() here and now; arguments are memory the child already has. MPROC_START_SPAWN:
 * /proc/self/exe anew; function (build-id, offset) and arguments cross as a parcel over a socket, and
 * mproc_init in the child's main takes over. A caller that never called mproc_init gets MPROC_ENOINIT. The
 * child's first steps are numbered in child.c. */
#ifndef MPROC__PROCESS_LAUNCH_H
#define MPROC__PROCESS_LAUNCH_H

#include <sys/types.h>

#include <mproc/call.h>
#include <mproc/process.h>
#include "platform/base.h"

typedef struct mproc__launch_options {
    mproc_start start; /* FORK or SPAWN */
    mproc_fn *fn;
    mproc_variant args;
    const char *name;     /* process name: mproc_process_name in the child, ps (15 bytes) */
    bool die_with_parent; /* PR_SET_PDEATHSIG towards the calling process: only for single-threaded callers */
    bool keep_stdin;      /* else the null device */
    const int *keep_fds;  /* fork: the library's descriptors that stay open (by fork the program's own do) */
    size_t keep_count;
    /* The rest may stay zero. */
    /* Signals stay blocked until the function changes that, and the child is a process group of its own, so that who kills the
     * program's group leaves somebody to kill those who left it. */
    bool supervises;
    mproc_start method; /* what mproc_get_start answers in the child; 0: as `start` */
    bool daemon;        /* the child may start none itself */
    const char *path;   /* its place in the family, "2:1", for the names of its children; NULL: none */
    /* A word that turns 1 when the child shall stop: fork sees the address, spawn maps the descriptor. NULL:
     * none. */
    const _Atomic uint32_t *stop_word;
    int stop_fd;
    size_t stop_offset_bytes;
    const struct mproc__limits *limits; /* NULL: none */
    bool
        unless_stopped; /* who is found stopped (SIGSTOP) on its way is killed: -EAGAIN. Else it is waited for */
    bool own_pidfd; /* the pidfd stays noted (own_fds.h); else it is an ordinary descriptor of the caller's */
    /* Runs in the parent when the child exists and before it may go on: hand its pidfd to whoever kills it
     * when this process dies, and there is no moment without a watcher. Negative: the start is undone and
     * answers that. */
    int (*before_go)(pid_t pid, int pidfd, void *context);
    int *
        ret_leash; /* of two, -1 before: made if it can be (leash.h), the caller's to close. NULL: not wanted */
    void *context;
} mproc__launch_options;

/* 0 with pid and pidfd (both the caller's: reap with waitid), or negative with a story naming the step; no
 * child left. */
int mproc__launch(const mproc__launch_options *options, pid_t *ret_pid, int *ret_pidfd);

/* launch_exec.c: this program anew, with `socket` as its boot socket: 0, or what refused. */
int mproc__launch_exec(const mproc__launch_options *options, int socket, pid_t *ret_pid);

/* Of a new child: 0, or negative where signals by pidfd are denied. */
int mproc__launch_check(int pidfd);

/* 0, or MPROC_ETHREADS: this process has other threads, whose locks a forked copy would hold for ever. */
int mproc__launch_threads_check(void);
/* The thread that is not counted there: the library's own, which holds no lock across a fork. 0: there is none, or it runs
 * functions of the user's now. One that has ended need not be taken back. */
void mproc__launch_thread_own(pid_t tid);

/* ---- arguments.c ---- */
/* 0, or why a child could not be given them, and which: MPROC_EARGUMENT, MPROC_ECANNOTCROSS, -EBADF, -EMSGSIZE. */
int mproc__arguments_check(mproc_variant args);
/* For a thread: a deep copy, or the same. -ENOMEM. */
int mproc__arguments_copy(mproc_variant args, mproc_variant *ret_copy);

/* The middle of mproc_init: serves a spawned child and then does not return; in the first process it
 * remembers that it was called, without which spawn and forkserver are MPROC_ENOINIT. A set-user-ID program is none: there
 * it is as if it had not been called. */
int mproc__process_main(int *argc, char ***argv);
bool mproc__process_main_called(void);
/* 0, or MPROC_ENOINIT with a story. */
int mproc__process_main_check(void);

/* The identity of a function that another process can resolve: one of the same build by what it is, another one by the name
 * under which both have registered it. */
enum { MPROC__REGISTERED_BYTES = 64 }; /* of a registered name, with its end */
typedef struct mproc__function_id {
    uint8_t build_id[20];               /* shorter ids are zero-padded */
    uint64_t offset;                    /* from the object's load address */
    char name[MPROC__REGISTERED_BYTES]; /* empty: not registered */
} mproc__function_id;
int mproc__function_pack(mproc_fn *fn,
                         mproc__function_id *ret_id); /* MPROC_EFUNCTION: not in an executable segment */
int mproc__function_unpack(const mproc__function_id *id,
                           mproc_fn **ret_fn); /* MPROC_EFUNCTION: names both builds; cached */
/* registered.c: the latest name of a function, or ""; and the function of a name, or NULL. */
const char *mproc__registered_name(mproc_fn *fn);
mproc_fn *mproc__registered_find(const char *name);
/* "name" when the symbol is known, else "file+0x1234"; for stories. */
void mproc__function_name(mproc_fn *fn, char *buffer, size_t size_bytes);

#endif
