/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "channel/queue_people.h"

mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

mproc_queue *make(const mproc_queue_options *options)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, options);
    ck_assert_ptr_nonnull(queue);
    return queue;
}

int put_number(mproc_queue *queue, int value)
{
    return mproc_queue_put(queue, &value, sizeof value, soon());
}

int get_number(mproc_queue *queue, mproc_deadline deadline)
{
    int value, rc = mproc_queue_get(queue, &value, sizeof value, deadline, NULL);
    return rc < 0 ? rc : value;
}

int reads_one(void *context)
{
    return get_number(context, soon()) < 0;
}

int writes_one(void *context)
{
    return put_number(context, 7) < 0;
}

int writes_one_and_dies(void *context)
{
    return put_number(context, 7) < 0 || raise(SIGKILL) != 0;
}

int writes_one_and_closes(void *context)
{
    mproc_queue *queue = context;
    int rc = put_number(queue, 7);
    mproc_queue_close(&queue);
    return rc < 0;
}

void ends_well(pid_t child)
{
    ck_assert_int_eq(support_reap(child, 5000), 0);
}

/* A child that has done fn, and lives on until it is killed. */
typedef struct staying {
    support_fn *fn;
    void *context;
    int ready[2];
} staying;

static int stays(void *context)
{
    const staying *who = context;
    char ok = who->fn(who->context) == 0;
    if (write(who->ready[1], &ok, 1) != 1)
        return 1;
    for (;;)
        pause();
}

pid_t fork_staying(support_fn *fn, void *context)
{
    staying who = {.fn = fn, .context = context};
    char ok = 0;
    ck_assert_int_eq(pipe(who.ready), 0);
    pid_t child = support_fork(stays, &who);
    ck_assert_int_eq(read(who.ready[0], &ok, 1), 1);
    ck_assert_int_eq(ok, 1);
    close(who.ready[0]);
    close(who.ready[1]);
    return child;
}

/* Kills `victim` when `sleeper` is asleep. */
typedef struct killing {
    pid_t victim, sleeper;
} killing;

static int kills(void *context)
{
    const killing *who = context;
    return !support_until_asleep(who->sleeper, 3000) || kill(who->victim, SIGKILL) < 0;
}

pid_t kill_when_i_sleep(pid_t victim)
{
    killing who = {.victim = victim, .sleeper = getpid()};
    return support_fork(kills, &who);
}

int every_way_of_getting(mproc_queue *queue, int rc)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    mproc_variant item;
    size_t count;
    int value;
    return mproc_queue_get(queue, &value, sizeof value, soon(), NULL) == rc &&
           mproc_queue_get_variant(queue, soon(), &item) == rc &&
           mproc_queue_get_many(queue, &value, sizeof value, 1, soon(), &count) == rc &&
           mproc_queue_take(queue, soon(), &loan) == rc;
}
