/* SPDX-License-Identifier: BSD-2-Clause */
/* The nouns of mproc/sync.h in one bakery: ./sync [fork|spawn|forkserver|thread]. The bakers are processes (or threads). They
 * begin at an event, take turns at the ovens by a semaphore, read the recipe under a reader-writer lock, count loaves in a
 * shared value and what they used in an array under its lock, and end each day at a barrier. The master waits by a condition
 * until half is done, and then changes the recipe. */
#include "try.h"

enum { BAKERS = 3, OVENS = 2, DAYS = 3, LOAVES = 40, ALL = BAKERS * DAYS * LOAVES };
enum { FLOUR, WATER, INGREDIENTS };

static void bake_one(mproc_rwlock *book, mproc_array *recipe, mproc_array *used, mproc_array *loaves,
                     mproc_condition *shelf)
{
    double now[INGREDIENTS], *sum = mproc_array_data(used);
    TRY(mproc_rwlock_acquire_read(book, MPROC_FOREVER));
    TRY(mproc_array_read(recipe, 0, INGREDIENTS, now)); /* both of one recipe */
    TRY(mproc_rwlock_release(book));
    MPROC_WITH_LOCK(mproc_array_lock(used), MPROC_FOREVER) /* the shelf's lock, too */
    {
        sum[FLOUR] += now[FLOUR];
        sum[WATER] += now[WATER];
        TRY(mproc_array_add_int(loaves, 0, 1, NULL));
        TRY(mproc_condition_notify(shelf, 1));
    }
}

static int bake(mproc_call *call)
{
    mproc_event *morning = mproc_call_event(call, 0);
    mproc_semaphore *ovens = mproc_call_semaphore(call, 1);
    mproc_rwlock *book = mproc_call_rwlock(call, 2);
    mproc_array *recipe = mproc_call_array(call, 3), *used = mproc_call_array(call, 4);
    mproc_array *loaves = mproc_call_array(call, 5);
    mproc_condition *shelf = mproc_call_condition(call, 6);
    mproc_barrier *evening = mproc_call_barrier(call, 7);
    if (mproc_call_check(call) < 0)
        return MPROC_EARGUMENT;
    TRY(mproc_event_wait(morning, MPROC_FOREVER));
    for (int day = 0; day < DAYS; day++) {
        for (int i = 0; i < LOAVES; i++)
            MPROC_WITH_SEMAPHORE(ovens, MPROC_FOREVER)
        bake_one(book, recipe, used, loaves, shelf);
        TRY(mproc_barrier_wait(evening, MPROC_FOREVER, NULL));
    }
    return 0;
}

static void write_recipe(mproc_rwlock *book, mproc_array *recipe, double flour, double water)
{
    TRY(mproc_rwlock_acquire_write(book, MPROC_FOREVER));
    TRY(mproc_array_set(recipe, FLOUR, flour));
    TRY(mproc_array_set(recipe, WATER, water));
    TRY(mproc_rwlock_release(book));
}

static bool half_done(void *context)
{
    int64_t count = 0;
    TRY(mproc_array_get_int(context, 0, &count));
    return count >= ALL / 2;
}

static mproc_start method(const char *name)
{
    static const char *const names[] = {"fork", "spawn", "forkserver", "thread"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (mproc_start)(MPROC_START_FORK + i);
    fprintf(stderr, "no start method is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    TRY(mproc_init(&argc, &argv));
    mproc_start start = argc > 1 ? method(argv[1]) : MPROC_START_DEFAULT;
    mproc_event *morning;
    mproc_semaphore *ovens;
    mproc_rwlock *book;
    mproc_array *recipe, *used, *loaves;
    mproc_lock *counter;
    mproc_condition *shelf;
    mproc_barrier *evening;
    mproc_process *bakers[BAKERS];
    TRY(mproc_event_create(NULL, NULL, &morning));
    TRY(mproc_semaphore_create(NULL, OVENS, MPROC_WITH(mproc_semaphore_options, .bounded = true), &ovens));
    TRY(mproc_rwlock_create(NULL, NULL, &book));
    TRY(mproc_lock_create(NULL, NULL, &counter)); /* guards what was used and the shelf */
    TRY(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, INGREDIENTS,
                           MPROC_WITH(mproc_array_options, .unlocked = true), &recipe));
    TRY(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, INGREDIENTS,
                           MPROC_WITH(mproc_array_options, .lock = counter), &used));
    TRY(mproc_array_create(NULL, MPROC_ITEM_INT64, 1, NULL, &loaves));
    TRY(mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .lock = counter), &shelf));
    TRY(mproc_barrier_create(NULL, BAKERS, NULL, &evening));

    for (int i = 0; i < BAKERS; i++)
        TRY(mproc_process_start(bake, MPROC_ARGS(morning, ovens, book, recipe, used, loaves, shelf, evening),
                                MPROC_WITH(mproc_process_options, .start = start), &bakers[i]));
    write_recipe(book, recipe, 5, 3);
    TRY(mproc_event_set(morning));
    MPROC_WITH_LOCK(counter, MPROC_FOREVER)
    TRY(mproc_condition_wait_for(shelf, half_done, loaves, MPROC_FOREVER));
    write_recipe(book, recipe, 10, 6);
    for (int i = 0; i < BAKERS; i++) {
        TRY(mproc_process_join(bakers[i], MPROC_FOREVER, NULL));
        mproc_process_close(&bakers[i]);
    }

    int64_t count;
    double sum[INGREDIENTS];
    TRY(mproc_array_get_int(loaves, 0, &count));
    TRY(mproc_array_read(used, 0, INGREDIENTS, sum));
    printf("%" PRId64 " loaves, %g parts of flour to 3 of water\n", count, 3 * sum[FLOUR] / sum[WATER]);
    mproc_barrier_close(&evening);
    mproc_condition_close(&shelf);
    mproc_array_close(&loaves);
    mproc_array_close(&used);
    mproc_array_close(&recipe);
    mproc_lock_close(&counter);
    mproc_rwlock_close(&book);
    mproc_semaphore_close(&ovens);
    mproc_event_close(&morning);
    return count != ALL || sum[FLOUR] * 3 != sum[WATER] * 5;
}
