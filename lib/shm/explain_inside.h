/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of explain share (explain.c, explain_object.c, explain_process.c, explain_cycles.c), nobody else. L2. */
#ifndef MPROC__SHM_EXPLAIN_INSIDE_H
#define MPROC__SHM_EXPLAIN_INSIDE_H

#include "platform/platform.h"
#include "shm/report.h"
#include "shm/seek.h"
#include "shm/snapshot.h"

enum { MPROC__VIEWS = 256, MPROC__TITLE_BYTES = MPROC__LABEL_BYTES + 32 };

/* Processes and threads as first seen in this run, so that 500 objects of one process ask once. By number modulo MPROC__VIEWS. */
typedef struct mproc__view_entry {
    pid_t tid; /* 0: unused */
    int code;
    bool frozen_known, frozen;
    mproc__process_view view;
} mproc__view_entry;

/* An object that somebody waits for. */
typedef struct mproc__object {
    size_t sight;             /* first of its sights */
    unsigned number;          /* as printed; 0: not shown */
    char *title;              /* `lock "jobs"`; owned */
    size_t first_hold, holds; /* its holders that are known by thread */
} mproc__object;

/* A thread that waits until a holder lets go. */
typedef struct mproc__wait {
    pid_t tid;
    size_t object;
    int64_t since_ns;
} mproc__wait;

/* A list that grows. */
typedef struct mproc__rope {
    void *items;
    size_t count, capacity;
} mproc__rope;

typedef struct mproc__graph {
    mproc__rope objects; /* mproc__object */
    mproc__rope waits;   /* mproc__wait */
    mproc__rope holds;   /* pid_t: threads */
} mproc__graph;

typedef struct mproc__explain_counts {
    unsigned objects, participants, waiting, cycles, stopped, dead, damaged;
} mproc__explain_counts;

typedef struct mproc__explaining {
    FILE *stream;
    const mproc_explain_options *options; /* NULL: all */
    mproc__sights sights;
    mproc__snapshot snapshot; /* of the object at hand */
    mproc__report report;     /* of the object at hand */
    mproc__graph graph;
    mproc__explain_counts counts;
    mproc__view_entry views[MPROC__VIEWS];
} mproc__explaining;

/* ---- explain.c ---- */
/* Fills snapshot and report. */
mproc__judgement mproc__explain_read(mproc__explaining *explaining, size_t sight);

/* ---- explain_object.c: of the object at hand, which has the sights [sight, sight + same) ---- */
void mproc__object_print(mproc__explaining *explaining, size_t sight, size_t same, const char *title);
/* One that could not be made sense of. */
void mproc__unread_print(mproc__explaining *explaining, size_t sight, size_t same,
                         mproc__judgement judgement);

/* ---- explain_process.c ---- */
/* False: none of that number, or not to be seen. */
bool mproc__explain_view(mproc__explaining *explaining, pid_t tid, mproc__process_view *ret_view);
/* "running", "STOPPED", ...; true: it stands still, though it is not dead. */
bool mproc__explain_state(mproc__explaining *explaining, const mproc__process_view *view,
                          const char **ret_text);
/* A waiter of a snapshot that is one: the thread lives and is not a later one of the same number. */
bool mproc__explain_waits(mproc__explaining *explaining, const mproc__waiter_seen *seen,
                          mproc__process_view *ret_view);
/* The thread that a holder stands for: its own, or the only one of its process. 0: unknown. */
pid_t mproc__explain_holder_tid(mproc__explaining *explaining, const mproc__report_entry *holder, bool alone);
/* "4711 worker", or "4711" when there is none of that number now. */
void mproc__explain_name(mproc__explaining *explaining, pid_t pid);
/* "12.3 s" since then. */
double mproc__explain_seconds(int64_t since_ns);

/* ---- explain_cycles.c ---- */
/* Notes who holds the object at hand and who waits for its holders. -ENOMEM. */
int mproc__graph_add(mproc__explaining *explaining, size_t sight, unsigned number, const char *title);
/* Prints the wait cycles of shown objects that are still there at a second look, each once. -ENOMEM. */
int mproc__graph_cycles(mproc__explaining *explaining);
void mproc__graph_free(mproc__graph *graph);

#endif
