/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions for the end of this process: a list in the order in which they will run. One is taken off before it
 * runs, under the lock; so it runs once, whoever asks. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>

#include "data/call.h"
#include "platform/platform.h"
#include "process/at_exit.h"
#include "process/family.h"

typedef struct exit_entry exit_entry;
struct exit_entry {
    exit_entry *next;
    uint64_t id;
    int priority;
    mproc_fn *fn;
    mproc_variant args; /* owned */
};

MPROC__FORK_DATA static struct {
    pthread_mutex_t lock;
    exit_entry *first;
    exit_entry *forgotten; /* of the process this one was forked from */
    uint64_t last_id;      /* goes on in a fork child: an id of its parent's names nothing there */
} at_exit = {.lock = PTHREAD_MUTEX_INITIALIZER};

MPROC__FORK_TEXT static void at_exit_hold(void)
{
    pthread_mutex_lock(&at_exit.lock);
}

MPROC__FORK_TEXT static void at_exit_let(void)
{
    pthread_mutex_unlock(&at_exit.lock);
}

/* Letting go of arguments waits until the hooks of all layers have run: there may be handles among them. */
MPROC__FORK_TEXT static void at_exit_forget(void)
{
    exit_entry **end = &at_exit.forgotten;
    while (*end)
        end = &(*end)->next;
    *end = at_exit.first;
    at_exit.first = NULL;
    at_exit_let();
}

/* At the program's start: at the first use it might come while another thread forks. */
__attribute__((constructor(101))) static void at_exit_begin(void)
{
    pthread_atfork(at_exit_hold, at_exit_let, at_exit_forget);
}

static void entry_free(exit_entry *entry)
{
    mproc_variant_clear(&entry->args);
    free(entry);
}

static void forgotten_clear(void)
{
    at_exit_hold();
    exit_entry *entry = at_exit.forgotten;
    at_exit.forgotten = NULL;
    at_exit_let();
    while (entry) {
        exit_entry *next = entry->next;
        entry_free(entry);
        entry = next;
    }
}

static uint64_t entry_add(exit_entry *entry)
{
    at_exit_hold();
    exit_entry **at = &at_exit.first;
    while (*at && (*at)->priority > entry->priority)
        at = &(*at)->next;
    entry->next = *at;
    *at = entry;
    uint64_t id = entry->id = ++at_exit.last_id;
    at_exit_let();
    return id; /* the entry may have run already */
}

static int entry_run(exit_entry *entry)
{
    mproc_call call;
    mproc__call_init(&call, entry->args);
    int rc = mproc__call_run(&call, entry->fn);
    if (rc < 0)
        rc = mproc__fail(rc, "a function given to mproc_at_exit: %s", mproc_error_text(&call.story));
    mproc__call_fini(&call);
    entry_free(entry);
    return rc;
}

static exit_entry *entry_take(uint64_t id)
{
    at_exit_hold();
    exit_entry **at = &at_exit.first, *found;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    found = *at;
    if (found)
        *at = found->next;
    at_exit_let();
    return found;
}

static int entry_missing(const char *what)
{
    return mproc__fail(-ENOENT, "%s: it ran, was cancelled, or is the parent's", what);
}

void mproc__at_exit_run_down_to(int priority)
{
    for (;;) {
        at_exit_hold();
        exit_entry *entry = at_exit.first && at_exit.first->priority >= priority ? at_exit.first : NULL;
        if (entry)
            at_exit.first = entry->next;
        at_exit_let();
        if (!entry)
            return;
        if (entry_run(entry) < 0)
            mproc__log(MPROC_LOG_ERROR, "%s", mproc_error_text(mproc_last_error()));
    }
}

int mproc_at_exit(mproc_fn *fn, mproc_variant args, int priority, uint64_t *ret_id)
{
    if (!fn)
        return mproc__fail(-EINVAL, "mproc_at_exit: NULL");
    forgotten_clear();
    int rc = mproc__family_begin();
    if (rc < 0)
        return rc;
    exit_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return mproc__fail(-ENOMEM, "mproc_at_exit: no memory for an entry");
    rc = mproc_variant_copy(args, &entry->args);
    if (rc < 0) {
        free(entry);
        return rc;
    }
    entry->fn = fn;
    entry->priority = priority;
    uint64_t id = entry_add(entry);
    if (ret_id)
        *ret_id = id;
    return 0;
}

int mproc_at_exit_run(uint64_t id)
{
    exit_entry *entry = entry_take(id);
    return entry ? entry_run(entry) : entry_missing("mproc_at_exit_run");
}

int mproc_at_exit_cancel(uint64_t id)
{
    exit_entry *entry = entry_take(id);
    if (!entry)
        return entry_missing("mproc_at_exit_cancel");
    entry_free(entry);
    return 0;
}
