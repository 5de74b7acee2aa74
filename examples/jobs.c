/* SPDX-License-Identifier: BSD-2-Clause */
/* ./jobs N COMMAND... -- ITEM...: runs COMMAND ITEM for each item, N at a time, as make -j and xargs -P do; no shell in
 * between. What a job prints comes in one piece when it ends; one that takes longer than a minute is ended, with what it
 * started. Ends with 1 when a job has failed. */
#include "try.h"

enum { MOST = 64, LIMIT_MS = 60000 };

typedef struct job {
    mproc_process *process; /* NULL: a free place */
    const char *item;
    FILE *output;
    mproc_deadline limit;
} job;

/* Output goes to a file without a name and not to a pipe: nobody needs to read while it runs. */
static int job_start(job *of, char **command, int count, const char *item)
{
    const char *argv[MOST + 2] = {NULL};
    for (int i = 0; i < count; i++)
        argv[i] = command[i];
    argv[count] = item;
    if (!(of->output = tmpfile()))
        return -errno;
    int rc = mproc_process_start_program(
        argv,
        MPROC_WITH(mproc_program_options, .input = {.kind = MPROC_STREAM_NULL},
                   .output = {.kind = MPROC_STREAM_FD, .fd = fileno(of->output)},
                   .error = {.kind = MPROC_STREAM_OUTPUT}, .group = MPROC_GROUP_OWN, .grace_ms = 500),
        &of->process);
    of->item = item;
    of->limit = mproc_after_ms(LIMIT_MS);
    if (rc < 0)
        fclose(of->output);
    return rc;
}

/* Of one that has ended: its exit code; the place is free again. */
static int job_finish(job *of)
{
    char buffer[4096];
    int exit_code;
    size_t got;
    TRY(mproc_process_join(of->process, MPROC_FOREVER, &exit_code));
    rewind(of->output); /* the program and we share the position */
    while ((got = fread(buffer, 1, sizeof buffer, of->output)) > 0)
        fwrite(buffer, 1, got, stdout);
    if (exit_code != 0)
        printf("%s: exit code %d\n", of->item, exit_code);
    fclose(of->output);
    mproc_process_close(&of->process);
    return exit_code;
}

/* Waits until a place is free; all: until each is. Returns how many jobs have failed. */
static int jobs_await(job *jobs, int places, int all)
{
    int failed = 0;
    for (;;) {
        mproc_wait_item items[MOST] = {{0}};
        int who[MOST], count = 0;
        mproc_deadline first = MPROC_FOREVER;
        for (int i = 0; i < places; i++)
            if (jobs[i].process) {
                items[count].handle = jobs[i].process;
                who[count++] = i;
                first = jobs[i].limit.ns < first.ns ? jobs[i].limit : first;
            }
        if (count == 0 || (count < places && !all))
            return failed;
        int rc = mproc_wait(items, (size_t)count, MPROC_WAIT_ANY, first, NULL);
        if (rc < 0 && rc != -ETIMEDOUT)
            TRY(rc);
        for (int i = 0; i < count; i++) {
            job *one = &jobs[who[i]];
            if (!items[i].ready && mproc_left_ms(one->limit) == 0)
                TRY(mproc_process_stop(one->process, mproc_after_ms(5000)));
            if (items[i].ready || mproc_left_ms(one->limit) == 0)
                failed += job_finish(one) != 0;
        }
    }
}

static int run(int places, char **command, int count, char **items, int item_count)
{
    job jobs[MOST] = {{0}};
    int failed = 0;
    for (int i = 0; i < item_count; i++) {
        int place = 0;
        failed += jobs_await(jobs, places, 0);
        while (jobs[place].process)
            place++;
        TRY(job_start(&jobs[place], command, count, items[i]));
    }
    return failed + jobs_await(jobs, places, 1);
}

int main(int argc, char **argv)
{
    TRY(mproc_init(&argc, &argv));
    int split = 2, places = argc > 1 ? atoi(argv[1]) : 0;
    while (split < argc && strcmp(argv[split], "--") != 0)
        split++;
    if (places < 1 || places > MOST || split == 2 || split >= argc || split - 2 > MOST) {
        fprintf(stderr, "usage: jobs N COMMAND... -- ITEM...      N up to %d\n", MOST);
        return 2;
    }
    return run(places, argv + 2, split - 2, argv + split + 1, argc - split - 1) != 0;
}
