/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces of work, and the model of what may come of each. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "torture/pool_fuzz.h"

enum {
    RUN_US_MOST = 300,
    LONG_US = 20000000,
    RETRIES_MOST = 3,
    GRACE_MS_MOST = 8,
    LIMIT_MS_MOST = 8,
    ROOM_MS_MOST = 3,
    AFTER_MOST = 3
};

static const char *const kind_names[] = {"echo", "looks", "fails", "limited",
                                         "map",  "hangs", "dies",  "exits"};

void fuzz_blame(fuzz *f, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (atomic_fetch_add(&f->failures, 1) < 5)
        fprintf(stderr, "pool_fuzz: seed %u: %s\n", f->seed, text);
}

/* ---- tasks ---- */

static int task_fails(mproc_call *call)
{
    return mproc_call_fail(call, -ERANGE, "as it was told");
}

static int task_dies(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        raise(SIGKILL);
    return pool_task_echo(call);
}

static int task_exits(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        exit(3);
    return pool_task_echo(call);
}

static int item_double(mproc_call *call, const void *in, void *out)
{
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    if (number % 64 == 63 && mproc_call_stopping(call))
        return -EINTR;
    number = 2 * number + 1;
    memcpy(out, &number, sizeof(number));
    return 0;
}

/* ---- begin ---- */

/* Up to AFTER_MOST tasks that have ended or not, and end in whatever way. */
static size_t after_choose(const work works[FUZZ_WORKS], mproc_future *ret_after[AFTER_MOST], unsigned *seed)
{
    size_t count = 0, most = rand_r(seed) % 3 == 0 ? AFTER_MOST : 0;
    for (unsigned i = 0; i < most; i++) {
        const work *first = &works[(unsigned)rand_r(seed) % FUZZ_WORKS];
        if (first->future && first->kind != WORK_MAP)
            ret_after[count++] = first->future;
    }
    return count;
}

static int task_begin(fuzz *f, work *w, const work works[FUZZ_WORKS], unsigned *seed)
{
    static mproc_fn *const functions[] = {
        [WORK_ECHO] = pool_task_echo,    [WORK_LOOKS] = pool_task_looks, [WORK_FAILS] = task_fails,
        [WORK_LIMITED] = pool_task_echo, [WORK_HANGS] = pool_task_echo,  [WORK_DIES] = task_dies,
        [WORK_EXITS] = task_exits};
    pool_letter letter;
    mproc_future *after[AFTER_MOST];
    mproc_fn *fn = functions[w->kind];
    bool looks = w->kind == WORK_LIMITED && (f->threads || w->number % 4 < 2);
    bool is_long = w->kind == WORK_LOOKS || w->kind == WORK_HANGS || w->kind == WORK_LIMITED;
    w->run_us = is_long ? LONG_US : (uint32_t)rand_r(seed) % RUN_US_MOST;
    w->retries = (unsigned)rand_r(seed) % 2 ? (unsigned)rand_r(seed) % (RETRIES_MOST + 1) : 0;
    pool_letter_write(&letter, w->number, w->run_us);
    (void)pool_ledger_enter(f->ledger, w->number);
    mproc_task_options options = {
        .size = sizeof(options),
        .retries = w->retries,
        .grace_ms = 1 + (uint32_t)rand_r(seed) % GRACE_MS_MOST,
        .time_limit_ms = w->kind == WORK_LIMITED ? 1 + (uint32_t)rand_r(seed) % LIMIT_MS_MOST : 0,
        .after = after,
        .after_count = after_choose(works, after, seed),
        .even_if_failed = rand_r(seed) % 2,
        .submit_deadline = mproc_after_ms(1 + rand_r(seed) % ROOM_MS_MOST)};
    w->forsakes = options.after_count > 0 && !options.even_if_failed;
    return pool_letter_send(f->pool, looks ? pool_task_looks : fn, &letter, &options, &w->future);
}

static int map_begin(fuzz *f, work *w, unsigned *seed)
{
    size_t chunk = (size_t)rand_r(seed) % 4 * 7;
    w->retries = rand_r(seed) % 2 ? 60 : 0;
    for (uint32_t i = 0; i < FUZZ_ITEMS; i++)
        w->in[i] = i;
    return mproc_pool_map_start(
        f->pool, item_double, w->in, sizeof(*w->in), w->out, sizeof(*w->out), FUZZ_ITEMS,
        MPROC_WITH(mproc_map_options, .chunk = chunk, .retries = w->retries, .status = w->status),
        &w->future);
}

void work_begin(fuzz *f, work *w, const work works[FUZZ_WORKS], unsigned *seed)
{
    unsigned kinds = f->threads ? WORK_THREAD_KINDS : WORK_KINDS;
    unsigned chosen = (unsigned)rand_r(seed) % (kinds + 4); /* most are plain */
    bool stopped_before = atomic_load(&f->stops) > 0;
    w->kind = chosen < kinds ? (work_kind)chosen : WORK_ECHO;
    w->number = atomic_fetch_add(&f->next, 1);
    w->cancelled = w->ended = w->forsakes = false;
    w->future = NULL;
    int rc = w->kind == WORK_MAP ? map_begin(f, w, seed) : task_begin(f, w, works, seed);
    bool stopped = atomic_load(&f->stops) > 0;
    bool refused = (rc == MPROC_ECLOSED && stopped) || (rc == -ETIMEDOUT && w->kind != WORK_MAP) ||
                   (rc == MPROC_ELIMIT && w->kind == WORK_MAP);
    if (rc < 0 && !refused)
        fuzz_blame(f, "%s is refused%s: %s", kind_names[w->kind], stopped_before ? " after a stop" : "",
                   mproc_error_text(mproc_last_error()));
    if (rc < 0)
        w->future = NULL;
}

/* ---- what may come of it ---- */

static bool may_have_died(fuzz *f, const work *w)
{
    bool dies = w->kind == WORK_DIES || w->kind == WORK_EXITS;
    return atomic_load(&f->kills) + dies > w->retries;
}

static bool may_end(fuzz *f, const work *w, int code)
{
    bool is_long = w->kind == WORK_LOOKS || w->kind == WORK_HANGS || w->kind == WORK_LIMITED;
    bool dies = w->kind == WORK_DIES || w->kind == WORK_EXITS;
    bool stopped = atomic_load(&f->stops) > 0;
    switch (code) {
    case 0:
        return !w->cancelled && w->kind != WORK_FAILS && w->kind != WORK_HANGS &&
               !(dies && w->retries == 0) && (!is_long || stopped);
    case -ERANGE:
        return w->kind == WORK_FAILS && !w->cancelled;
    case -ETIME:
        return w->kind == WORK_LIMITED;
    case -ECANCELED:
        return w->cancelled || stopped;
    case MPROC_EAFTER:
        return w->forsakes;
    case -EINTR:
        return w->kind == WORK_MAP && stopped;
    default:
        return code == MPROC_EDIED && may_have_died(f, w);
    }
}

static void map_judge(fuzz *f, const work *w, int code)
{
    unsigned wrong = 0;
    for (uint32_t i = 0; i < FUZZ_ITEMS; i++)
        wrong += w->status[i] == 0 ? w->out[i] != 2 * i + 1 : !may_end(f, w, w->status[i]);
    for (uint32_t i = 0; i < FUZZ_ITEMS && code == 0; i++)
        wrong += w->status[i] != 0;
    if (wrong > 0)
        fuzz_blame(f, "map %u ends with %s and %u wrong items", w->number, mproc_errname(code), wrong);
}

static void work_judge(fuzz *f, const work *w, int code, mproc_variant answer)
{
    static const mproc_future_state failed = MPROC_FUTURE_FAILED;
    mproc_future_state state = mproc_future_get_state(w->future);
    if (state != (code == 0 ? MPROC_FUTURE_DONE : code == -ECANCELED ? MPROC_FUTURE_CANCELLED : failed))
        fuzz_blame(f, "%s %u ends with %s and is in state %d", kind_names[w->kind], w->number,
                   mproc_errname(code), (int)state);
    if (!may_end(f, w, code))
        fuzz_blame(f, "%s %u, %u retries%s, ends with %s: %s", kind_names[w->kind], w->number, w->retries,
                   w->cancelled ? ", cancelled" : "", mproc_errname(code),
                   mproc_error_text(mproc_error_of(w->future)));
    else if (w->kind == WORK_MAP)
        map_judge(f, w, code);
    else if (code == 0 && pool_letter_read(answer, w->number, w->run_us) == 0)
        fuzz_blame(f, "%s %u has a wrong answer", kind_names[w->kind], w->number);
}

/* ---- what is done to it ---- */

void work_cancel(fuzz *f, work *w, bool even_if_running)
{
    int rc = mproc_future_cancel(w->future, even_if_running);
    if (rc == 0)
        w->cancelled = true;
    else if (rc == MPROC_ESTATE ? mproc_future_get_state(w->future) <= MPROC_FUTURE_RUNNING
                                : !(rc == -EBUSY && !even_if_running))
        fuzz_blame(f, "cancel of %s %u answers %s: %s", kind_names[w->kind], w->number, mproc_errname(rc),
                   mproc_error_text(mproc_last_error()));
}

void work_look(fuzz *f, work *w)
{
    mproc_future_state state = mproc_future_get_state(w->future);
    uint64_t done = 0, total = 0;
    if (w->ended && state != w->end)
        fuzz_blame(f, "%s %u has ended in state %d, then %d", kind_names[w->kind], w->number, (int)w->end,
                   (int)state);
    w->ended = state > MPROC_FUTURE_RUNNING;
    w->end = state;
    int rc = mproc_future_progress(w->future, &done, &total);
    if (rc < 0 || done > total)
        fuzz_blame(f, "%s %u has done %llu of %llu", kind_names[w->kind], w->number, (unsigned long long)done,
                   (unsigned long long)total);
}

bool work_take(fuzz *f, work *w, mproc_deadline deadline)
{
    mproc_variant answer = mproc_null();
    if (mproc_future_wait(w->future, deadline) == -ETIMEDOUT) {
        if (w->ended)
            fuzz_blame(f, "%s %u has ended and is waited for", kind_names[w->kind], w->number);
        return false;
    }
    int code = mproc_future_result(w->future, MPROC_NOW, &answer);
    work_judge(f, w, code, answer);
    mproc_future_close(&w->future);
    return true;
}
