/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <pthread.h>
#include <unistd.h>

#include <mproc/call.h>
#include "data/parcel.h"
#include "sync/array_common.h"
#include "sync/nouns.h"

mproc_place *place;
mproc_array *array;

void place_make(int home)
{
    if (home == 1 && !place)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    if (home == 2 && !place)
        ck_assert_int_eq(mproc__place_shm("shm:/check-array", NULL, &place), 0);
}

void array_make(int home, mproc_item item, size_t count, const mproc_array_options *options)
{
    place_make(home);
    int code = mproc_array_create(place, item, count, options, &array);
    ck_assert_msg(code == 0, "%s", mproc_error_text(mproc_last_error()));
}

void array_make_of(int home, mproc_item item, size_t count, const void *initial)
{
    array_make(home, item, count, MPROC_WITH(mproc_array_options, .initial = initial));
}

void array_drop(void)
{
    mproc_array_close(&array);
    ck_assert_ptr_null(array);
    mproc_place_close(&place);
}

int64_t item_get(size_t index)
{
    int64_t value = -12345;
    ck_assert_int_eq(mproc_array_get_int(array, index, &value), 0);
    return value;
}

int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), 10000);
}

typedef struct errand {
    support_fn *fn;
    int status;
} errand;

static void *errand_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(NULL);
    return NULL;
}

int elsewhere(int home, support_fn *fn)
{
    errand job = {fn, -1};
    pthread_t thread;
    if (home != 1)
        return in_child(fn);
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    pthread_join(thread, NULL);
    return job.status;
}

int crowd(int home, support_fn *fn)
{
    pid_t children[CROWD];
    pthread_t threads[CROWD];
    errand jobs[CROWD];
    int bad = 0;
    for (int i = 0; i < CROWD; i++) {
        jobs[i] = (errand){fn, -1};
        if (home != 1)
            children[i] = support_fork(fn, NULL);
        else
            ck_assert_int_eq(pthread_create(&threads[i], NULL, errand_run, &jobs[i]), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        if (home == 1)
            pthread_join(threads[i], NULL);
        bad |= home != 1 ? support_reap(children[i], 20000) : jobs[i].status;
    }
    return bad;
}

mproc_array *crossed(mproc_array *source)
{
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(source), received;
    mproc__nouns_register();
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), 0);
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = dup(parcel.fds[i]);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), 0);
    mproc__parcel_clear(&parcel, true);
    mproc_array *copy = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_ARRAY);
    ck_assert_ptr_nonnull(mproc_keep(copy));
    mproc_variant_clear(&received);
    return copy;
}
