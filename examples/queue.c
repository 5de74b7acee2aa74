/* SPDX-License-Identifier: BSD-2-Clause */
/* One queue between threads or processes: ./queue [thread:|host:]. Changing the place is changing one line. Two producers,
 * four consumers; a consumer that is killed before `done` leaves its job to another. */
#include "try.h"

typedef struct job {
    int number;
    double weight;
} job;

enum { JOBS = 1000, PRODUCERS = 2, WORKERS = 6 };

static int produce(mproc_call *call)
{
    mproc_queue *jobs = mproc_call_queue(call, 0);
    for (int i = 0; i < JOBS; i++) {
        job j = {i, i / 2.0};
        int rc = mproc_queue_put(jobs, &j, sizeof j, mproc_after_ms(5000));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int consume(mproc_call *call)
{
    mproc_queue *jobs = mproc_call_queue(call, 0);
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc;
    while ((rc = mproc_queue_take(jobs, MPROC_FOREVER, &loan)) == 0) {
        const job *j = loan.data;
        printf("%d did %d%s\n", (int)getpid(), j->number, loan.delivery > 1 ? " again" : "");
        fflush(stdout); /* whole lines, also where several processes write to one file */
        if ((rc = mproc_queue_done(jobs, &loan)) < 0) /* die before this line and another gets it */
            return rc;
    }
    return rc == MPROC_EEND ? 0 : rc;
}

int main(int argc, char **argv)
{
    mproc_init(&argc, &argv);
    const char *where = argc > 1 ? argv[1] : "host:"; /* <== the line */
    mproc_start start = strcmp(where, "thread:") ? MPROC_START_DEFAULT : MPROC_START_THREAD;
    mproc_place *place;
    mproc_queue *jobs;
    mproc_process *p[WORKERS];
    int bad = 0;
    TRY(mproc_place_open(where, NULL, &place));
    TRY(mproc_queue_create(
        place, MPROC_WITH(mproc_queue_options, .name = "jobs", .and_open = true, .redeliver = true), &jobs));
    for (int i = 0; i < WORKERS; i++)
        TRY(mproc_process_start(i < PRODUCERS ? produce : consume, MPROC_ARGS(jobs),
                                MPROC_WITH(mproc_process_options, .start = start), &p[i]));
    for (int i = 0; i < PRODUCERS; i++)
        TRY(mproc_process_join(p[i], MPROC_FOREVER, NULL));
    TRY(mproc_queue_join(jobs, MPROC_FOREVER)); /* everything put is done */
    TRY(mproc_queue_shutdown(jobs, false));     /* consumers see MPROC_EEND */
    for (int i = 0; i < WORKERS; i++) {
        int code;
        TRY(mproc_process_join(p[i], MPROC_FOREVER, &code));
        bad += code != 0;
        mproc_process_close(&p[i]);
    }
    mproc_queue_close(&jobs);
    mproc_place_close(&place);
    return bad != 0;
}
