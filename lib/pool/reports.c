/* SPDX-License-Identifier: BSD-2-Clause */
/* What a future knows of the attempts that died, and of what they had kept. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/future.h"
#include "pool/reports.h"

/* ---- taken when the task's slot is harvested ---- */

static void reports_take(mproc_future *future, uint32_t slot, mproc__task_word word)
{
    mproc__reports found = {.count = 0};
    mproc__pool_view *view = &future->core->view;
    found.count = mproc__extra_deaths(view, slot, word, found.deaths);
    if (word.state != MPROC__TASK_DONE)
        (void)mproc__checkpoint_load(view, slot, &found.checkpoint);
    if (found.count == 0 && found.checkpoint.kind == MPROC_KIND_NULL)
        return;
    future->reports = malloc(sizeof found);
    if (future->reports)
        *future->reports = found;
    else
        mproc_variant_clear(&found.checkpoint);
}

void mproc__reports_take(mproc_future *future, uint32_t slot, mproc__task_word word)
{
    if (MPROC__UNLIKELY(mproc__extra_of(&future->core->view, slot) != NULL))
        reports_take(future, slot, word);
}

void mproc__reports_free(mproc__reports *reports)
{
    if (reports)
        mproc_variant_clear(&reports->checkpoint);
    free(reports);
}

/* What the supervisor wrote after the slot was harvested stands in the pool's certificates for a thousand deaths. */
static void death_complete(const mproc_future *future, mproc__death *death)
{
    mproc__certificate_shared why;
    if (death->known || !mproc__certificate_read(&future->core->view, death->worker, death->life, &why))
        return;
    death->known = true;
    death->pid = why.pid;
    death->exit_code = why.exit_code;
}

size_t mproc__reports_text(const mproc_future *future, char *buffer, size_t size_bytes)
{
    int length = 0;
    mproc__reports *reports = future->reports;
    buffer[0] = 0;
    for (unsigned i = 0; reports && i < reports->count && (size_t)length < size_bytes; i++) {
        mproc__death *death = &reports->deaths[i];
        death_complete(future, death);
        if (death->attempt == future->attempt)
            continue;
        length += snprintf(buffer + length, size_bytes - (size_t)length, "%s%u",
                           length ? ", " : "; so did attempts ", death->attempt);
        if (death->known && (size_t)length < size_bytes)
            length += snprintf(buffer + length, size_bytes - (size_t)length, " (pid %d, %s %d)",
                               (int)death->pid, death->exit_code < 0 ? "signal" : "exit code",
                               death->exit_code < 0 ? -death->exit_code : death->exit_code);
    }
    return (size_t)length < size_bytes ? (size_t)length : size_bytes - 1;
}

/* ---- told ---- */

static int future_ended(const mproc_future *future, const void *ret, const char *call)
{
    int rc = mproc__future_check(future);
    if (rc < 0)
        return rc;
    if (!ret)
        return mproc__fail(-EINVAL, "%s: nowhere to put it", call);
    return mproc__future_ended((mproc_future *)future)
               ? 0
               : mproc__fail(MPROC_ESTATE, "%s: it has not ended", call);
}

static int death_dict(const mproc__death *death, mproc_variant *ret_dict)
{
    *ret_dict = mproc_null();
    int rc = mproc_variant_set(ret_dict, "attempt", mproc_int(death->attempt));
    if (rc == 0)
        rc = mproc_variant_set(ret_dict, "worker", mproc_int(death->worker));
    if (rc == 0 && death->known)
        rc = mproc_variant_set(ret_dict, "pid", mproc_int(death->pid));
    if (rc == 0 && death->known)
        rc = mproc_variant_set(ret_dict, "exit_code", mproc_int(death->exit_code));
    if (rc < 0)
        mproc_variant_clear(ret_dict);
    return rc;
}

static int death_append(mproc_variant *list, const mproc__death *death)
{
    mproc_variant dict;
    int rc = death_dict(death, &dict);
    if (rc == 0) {
        rc = mproc_variant_append(list, dict);
        mproc_variant_clear(&dict);
    }
    return rc;
}

/* A task without retries has one death at most, and that is the future's own. */
static int deaths_list(const mproc_future *future, mproc_variant *list)
{
    mproc__death only = {.attempt = future->attempt, .worker = future->worker, .life = future->life};
    mproc__reports *reports = future->reports;
    bool alone = (!reports || reports->count == 0) && !future->map && future->code == MPROC_EDIED;
    mproc__death *deaths = alone ? &only : reports ? reports->deaths : NULL;
    unsigned count = alone ? 1 : reports ? reports->count : 0;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        death_complete(future, &deaths[i]);
        rc = death_append(list, &deaths[i]);
    }
    return rc;
}

int mproc_future_deaths(const mproc_future *future, mproc_variant *ret_list)
{
    int rc = future_ended(future, ret_list, "mproc_future_deaths");
    if (rc < 0)
        return rc;
    mproc_variant list = mproc_items(NULL, 0);
    rc = mproc_variant_copy(list, ret_list);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(future->home->lock);
    rc = deaths_list(future, ret_list);
    pthread_mutex_unlock(future->home->lock);
    if (rc < 0)
        mproc_variant_clear(ret_list);
    return rc;
}

int mproc_future_checkpoint(const mproc_future *future, mproc_variant *ret_borrowed)
{
    int rc = future_ended(future, ret_borrowed, "mproc_future_checkpoint");
    if (rc == 0)
        *ret_borrowed = future->reports ? future->reports->checkpoint : mproc_null();
    return rc;
}
