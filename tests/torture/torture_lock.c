/* SPDX-License-Identifier: BSD-2-Clause */
/* Six processes add to two numbers under one lock. A holder killed between the two additions leaves them different; the
 * next one must be told, and then repairs. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <mproc.h>

#include "torture/torture.h"

enum { FAULT_NOT_GOT = 2, FAULT_NOT_TOLD, FAULT_NOT_RELEASED };

typedef struct pair_shared {
    torture_shared begin;
    /* Both written under the lock only; volatile, so that a kill finds each store where it stands. */
    volatile unsigned long left, right;
} pair_shared;

typedef struct scene {
    mproc_lock *lock;
    pair_shared *pair;
} scene;

static int lock_setup(void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    s->pair = mmap(NULL, sizeof(*s->pair), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *ret_context = s;
    return s->pair == MAP_FAILED ? -1 : mproc_lock_create(NULL, NULL, &s->lock);
}

static torture_shared *lock_shared(void *context)
{
    return &((scene *)context)->pair->begin;
}

static int lock_once(scene *s)
{
    int result = mproc_lock_acquire(s->lock, mproc_after_ms(TORTURE_CALL_MS));
    if (result < 0)
        return FAULT_NOT_GOT;
    if (s->pair->left != s->pair->right) {
        if (result != MPROC_RECOVERED)
            return FAULT_NOT_TOLD;
        s->pair->right = s->pair->left;
    }
    s->pair->left = s->pair->left + 1;
    s->pair->right = s->pair->right + 1;
    return mproc_lock_release(s->lock) == 0 ? 0 : FAULT_NOT_RELEASED;
}

static int lock_work(void *context, unsigned worker)
{
    scene *s = context;
    int fault = 0;
    (void)worker;
    while (fault == 0 && !atomic_load(&s->pair->begin.stop)) {
        fault = lock_once(s);
        atomic_fetch_add(&s->pair->begin.progress, 1);
    }
    return fault;
}

static void lock_killed(void *context, unsigned worker)
{
    (void)context;
    (void)worker;
}

static unsigned lock_judge(void *context)
{
    int fault = lock_once(context);
    if (fault != 0)
        fprintf(stderr, "torture: lock: fault %d at the end\n", fault);
    return fault != 0;
}

static void lock_teardown(void *context)
{
    scene *s = context;
    mproc_lock_close(&s->lock);
    munmap(s->pair, sizeof(*s->pair));
    free(s);
}

const torture_case torture_lock = {.name = "lock",
                                   .setup = lock_setup,
                                   .shared = lock_shared,
                                   .work = lock_work,
                                   .killed = lock_killed,
                                   .judge = lock_judge,
                                   .teardown = lock_teardown};
