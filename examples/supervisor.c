/* SPDX-License-Identifier: BSD-2-Clause */
/* ./supervisor [fork|spawn|forkserver]: workers take jobs from a queue; job 13 kills whoever takes it. For each worker that
 * died another is started, and the job that it had goes to that one, until three have died of it. Ctrl-C ends the workers,
 * who are in the terminal's group as this program is, and no others are started. */
#include "try.h"

#include <signal.h>

enum { WORKERS = 3, JOBS = 40, DEADLY = 13, TRIES = 3 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static int work(mproc_call *call)
{
    mproc_queue *jobs = mproc_call_queue(call, 0), *results = mproc_call_queue(call, 1);
    mproc_loan job = MPROC_LOAN_INIT;
    int rc;
    while ((rc = mproc_queue_take(jobs, MPROC_FOREVER, &job)) == 0) {
        int number = *(const int *)job.data, square = number * number;
        if (number == DEADLY)
            raise(SIGKILL);
        TRY(mproc_queue_put(results, &square, sizeof square, MPROC_FOREVER));
        TRY(mproc_queue_done(jobs, &job)); /* who dies before this line leaves the job to another */
    }
    return rc == MPROC_EEND ? 0 : rc;
}

static mproc_process *start_worker(mproc_start method, mproc_queue *jobs, mproc_queue *results)
{
    mproc_process *worker;
    TRY(mproc_process_start(work, MPROC_ARGS(jobs, results),
                            MPROC_WITH(mproc_process_options, .start = method), &worker));
    return worker;
}

/* Which of the workers has ended. */
static int await_one(mproc_process *workers[WORKERS])
{
    mproc_wait_item items[WORKERS] = {{0}};
    int count = 0, place[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        if (workers[i]) {
            place[count] = i;
            items[count++].handle = workers[i];
        }
    TRY(mproc_wait(items, (size_t)count, MPROC_WAIT_ANY, MPROC_FOREVER, NULL));
    for (int i = 0; i < count; i++)
        if (items[i].ready)
            return place[i];
    return -1;
}

static int supervise(mproc_start method, mproc_queue *jobs, mproc_queue *results)
{
    mproc_process *workers[WORKERS];
    int living = WORKERS, restarts = 0, exit_code;
    for (int i = 0; i < WORKERS; i++)
        workers[i] = start_worker(method, jobs, results);
    while (living > 0) {
        int i = await_one(workers);
        TRY(mproc_process_join(workers[i], MPROC_FOREVER, &exit_code));
        if (exit_code != 0)
            printf("%s died: %d\n", mproc_process_name(workers[i]), exit_code);
        mproc_process_close(&workers[i]);
        if (exit_code != 0 && !interrupted && ++restarts < 10)
            workers[i] = start_worker(method, jobs, results);
        else
            living--;
    }
    return restarts;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"", "fork", "spawn", "forkserver"};
    mproc_start method = MPROC_START_DEFAULT;
    mproc_queue *jobs, *results;
    size_t done, dead;
    TRY(mproc_init(&argc, &argv));
    for (int i = MPROC_START_FORK; argc > 1 && i <= MPROC_START_FORKSERVER; i++)
        if (strcmp(argv[1], names[i]) == 0)
            method = (mproc_start)i;
    signal(SIGINT, on_interrupt);
    TRY(mproc_queue_create(
        NULL, MPROC_WITH(mproc_queue_options, .redeliver = true, .max_deliveries = TRIES, .keep_dead = true),
        &jobs));
    TRY(mproc_queue_create(NULL, NULL, &results));
    for (int i = 0; i < JOBS; i++)
        TRY(mproc_queue_put(jobs, &i, sizeof i, MPROC_FOREVER));
    TRY(mproc_queue_shutdown(jobs, false)); /* no more will come: workers get MPROC_EEND */
    int restarts = supervise(method, jobs, results);
    TRY(mproc_queue_counts(results, &done, NULL, NULL));
    TRY(mproc_queue_count_dead(jobs, &dead, NULL));
    printf("%zu jobs done, %zu given up, %d workers replaced\n", done, dead, restarts);
    mproc_queue_close(&results);
    mproc_queue_close(&jobs);
    return interrupted ? 130 : 0;
}
