/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions, and their requests that wait: a blocked call is an entry in three lists, never a thread. */
#include "platform/base.h"

#include <stdlib.h>

#include "manager/served.h"
#include "platform/story.h"

void mproc__answer_fini(mproc__answer *answer)
{
    if (answer->has_result && answer->result_owned)
        mproc_variant_clear(&answer->result);
    free(answer->memory);
    answer->memory = NULL;
    answer->has_result = false;
}

void mproc__client_init(mproc__client *client, uint64_t session,
                        void (*answer)(mproc__client *client, const mproc__answer *answer))
{
    *client = (mproc__client){.session = session, .answer = answer};
    mproc__table_init(&client->holds);
    mproc__link_init(&client->owned);
    mproc__link_init(&client->parked);
}

static void parked_fired(mproc__timer *timer)
{
    mproc__fail_plain(-ETIMEDOUT);
    mproc__parked_answer(MPROC__CONTAINER(timer, mproc__parked, timer), -ETIMEDOUT, 0);
}

int mproc__park(mproc__served *served, const mproc__request *request)
{
    mproc__client *client = request->client;
    if (client->parked_count >= MPROC__PARKED_PER_CLIENT)
        return mproc__fail(MPROC_ELIMIT, "%d requests of this client wait already", MPROC__PARKED_PER_CLIENT);
    mproc__parked *parked = calloc(1, sizeof *parked);
    if (!parked)
        return mproc__fail(-ENOMEM, "no memory in the server to wait");
    parked->timer.fired = parked_fired;
    parked->registry = request->registry;
    parked->client = client;
    parked->id = request->id;
    parked->holder = request->holder;
    int rc = mproc__timers_set(&request->registry->timers, &parked->timer, request->deadline);
    if (rc < 0) {
        free(parked);
        return rc;
    }
    mproc__link_append(&served->waiting, &parked->in_object);
    mproc__link_append(&client->parked, &parked->in_client);
    client->parked_count++;
    return MPROC__PARKED;
}

mproc__parked *mproc__parked_first(mproc__served *served)
{
    return mproc__link_alone(&served->waiting)
               ? NULL
               : MPROC__CONTAINER(served->waiting.next, mproc__parked, in_object);
}

mproc__parked *mproc__parked_find(mproc__served *served, const mproc__client *client, uint64_t id)
{
    for (mproc__link *link = served->waiting.next; link != &served->waiting; link = link->next) {
        mproc__parked *parked = MPROC__CONTAINER(link, mproc__parked, in_object);
        if (parked->client == client && parked->id == id)
            return parked;
    }
    return NULL;
}

void mproc__parked_drop(mproc__parked *parked)
{
    mproc__timers_unset(&parked->registry->timers, &parked->timer);
    mproc__link_remove(&parked->in_object);
    mproc__link_remove(&parked->in_client);
    parked->client->parked_count--;
    free(parked);
}

void mproc__parked_answer(mproc__parked *parked, int code, uint64_t token)
{
    mproc__client *client = parked->client;
    mproc__answer answer = {.id = parked->id, .code = code, .token = token};
    mproc__parked_drop(parked);
    client->answer(client, &answer);
}

void mproc__parked_fail_all(mproc__served *served, int code, const char *story)
{
    for (mproc__parked *parked; (parked = mproc__parked_first(served));) {
        mproc__fail(code, "%s", story);
        mproc__parked_answer(parked, code, 0);
    }
}

/* Requests first: a lock that this death frees must not go to the dead client's own waiting threads. */
void mproc__client_gone(mproc__registry *registry, mproc__client *client)
{
    while (!mproc__link_alone(&client->parked))
        mproc__parked_drop(MPROC__CONTAINER(client->parked.next, mproc__parked, in_client));
    while (!mproc__link_alone(&client->owned))
        mproc__served_lock_abandon(client->owned.next);
    size_t position = 0;
    for (mproc__table_entry *entry; (entry = mproc__table_next(&client->holds, &position));) {
        uint64_t id = (uint64_t)entry->key.number;
        for (int64_t times = entry->item.number; times > 0; times--)
            mproc__registry_release(registry, client, id);
    }
    mproc__table_fini(&client->holds);
    mproc__table_init(&client->holds);
}
