/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of a pool's supervisor share, and nobody else includes. L6. */
#ifndef MPROC__POOL_SUPERVISOR_INSIDE_H
#define MPROC__POOL_SUPERVISOR_INSIDE_H

#include "pool/supervisor.h"

/* One desk as the supervisor sees it. */
typedef struct mproc__charge {
    pid_t pid; /* 0: vacant */
    int pidfd; /* -1: reaped */
    int exit_code;
    mproc__end_cause cause;
    unsigned life;
    uint64_t stopping; /* which work is being stopped; 0: none */
    int64_t since_ns;
    unsigned signals; /* sent for it */
} mproc__charge;

/* What counts against the limit of restarts. */
typedef struct mproc__loss {
    int64_t ns;
    int code, exit_code;
    unsigned worker;
    pid_t pid;
    char text[200];
} mproc__loss;

typedef struct mproc__supervisor {
    mproc__crew crew;
    mproc__pool_view *view;
    mproc__pool_shared *shared;
    mproc__charge charges[MPROC__POOL_WORKERS];
    unsigned alive;      /* or reaped, and not settled */
    mproc__loss *losses; /* the last restarts_per_minute unplanned deaths and failed starts, a ring */
    uint64_t lost;       /* all of them, ever */
    int64_t retry_ns;    /* of a failed start */
    int64_t wake_ns;
    bool oom_looked;
    int64_t oom_seen,
        oom_open;   /* kills for want of memory: at the last look; those of them that no death was told for */
    int64_t oom_ns; /* when they were found */
} mproc__supervisor;

static inline bool mproc__charge_runs(const mproc__charge *charge)
{
    return charge->pid && charge->pidfd >= 0;
}

/* ---- supervisor_losses.c: the limit of restarts ---- */
/* A death nobody asked for. */
void mproc__supervisor_died(mproc__supervisor *self, unsigned index, pid_t pid, const char *end,
                            int exit_code);
/* The thread's story says why. */
void mproc__supervisor_start_failed(mproc__supervisor *self, unsigned index, int code);

/* ---- supervisor_memory.c: deaths for want of memory ---- */
/* What the kernel has counted before; once. */
void mproc__supervisor_memory_begin(mproc__supervisor *self);
/* Of a worker that ended, and whom nobody here has sent a signal. */
mproc__end_cause mproc__supervisor_memory_cause(mproc__supervisor *self, int exit_code);

/* ---- supervisor_ended.c ---- */
/* Its row is a living process's. */
bool mproc__supervisor_present(const mproc__supervisor *self, mproc__worker_word word);
/* Buries who is at the desk and has ended. False: another process is at it, and tells (or its death does) when it is done. */
bool mproc__supervisor_bury(mproc__supervisor *self, unsigned index);
/* All children that have ended, and desks that were left because another was burying. */
void mproc__supervisor_reap(mproc__supervisor *self);

#endif
