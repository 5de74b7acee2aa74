/* SPDX-License-Identifier: BSD-2-Clause */
/* What runs in wordcount's workers, whatever the start method: only what came as arguments is used. */
#include "wordcount.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct worker {
    mproc_queue *jobs, *results;
    mproc_variant paths; /* owned: the initializer's arguments */
    words *table;
} worker;

static pthread_key_t worker_key;
static pthread_once_t worker_key_once = PTHREAD_ONCE_INIT;

static void worker_end(void *memory)
{
    worker *self = memory;
    mproc_queue_close(&self->jobs);
    mproc_queue_close(&self->results);
    mproc_variant_clear(&self->paths);
    words_free(self->table);
    free(self);
}

static void worker_key_make(void)
{
    if (pthread_key_create(&worker_key, worker_end) != 0)
        abort();
}

/* A worker lives as long as its thread. In a process it goes with the process, in a pool of threads with the key. */
int worker_begin(mproc_call *call)
{
    worker *self = calloc(1, sizeof *self);
    mproc_queue *jobs = mproc_call_queue(call, 0), *results = mproc_call_queue(call, 1);
    if (!self || mproc_call_check(call) < 0) {
        free(self);
        return self ? MPROC_EARGUMENT : -ENOMEM;
    }
    self->table = words_create();
    int rc = self->table ? mproc_variant_copy(mproc_call_arg(call, 2), &self->paths) : -ENOMEM;
    if (rc < 0) {
        words_free(self->table);
        free(self);
        return mproc_call_fail(call, rc, "no memory for a worker");
    }
    self->jobs = mproc_keep(jobs);
    self->results = mproc_keep(results);
    pthread_once(&worker_key_once, worker_key_make);
    int key_error = pthread_setspecific(worker_key, self);
    if (key_error) {
        worker_end(self);
        return mproc_call_fail(call, -key_error, "no memory for a worker");
    }
    mproc_call_set_self(call, self);
    return 0;
}

/* Of one file of the piece: the first, of which it may be a part only, or one behind that. */
static int file_count(mproc_call *call, worker *self, const piece *job, uint32_t nth, uint64_t *ret_too_long)
{
    uint32_t file = job->file + nth;
    const char *path = mproc_variant_get_text(mproc_variant_at(self->paths, file));
    if (!path)
        return mproc_call_fail(call, -EINVAL, "piece %u names no file", job->number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mproc_call_fail(call, -errno, "%s: %s", path, strerror(errno));
    int rc = words_scan(self->table, fd, nth ? 0 : job->offset, nth ? INT64_MAX : job->length, ret_too_long);
    close(fd);
    return rc < 0 ? mproc_call_fail(call, rc, "%s: %s", path, strerror(-rc)) : 0;
}

static int piece_count(mproc_call *call, worker *self, const piece *job, uint64_t *ret_too_long)
{
    int rc = 0;
    words_clear(self->table);
    for (uint32_t nth = 0; nth <= job->more && rc == 0; nth++)
        rc = file_count(call, self, job, nth, ret_too_long);
    return rc;
}

/* Written where the parent will read it: no copy of a result is made on the way. */
static int piece_send(mproc_call *call, worker *self, const piece *job, uint64_t too_long)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    size_t size = words_encode(self->table, job->number, (uint32_t)too_long, NULL);
    int rc = mproc_queue_reserve(self->results, size, MPROC_FOREVER, &loan);
    if (rc == 0) {
        words_encode(self->table, job->number, (uint32_t)too_long, loan.data);
        rc = mproc_queue_commit(self->results, &loan);
    }
    return rc < 0 ? mproc_call_fail(call, rc, "result of piece %u: %s", job->number, mproc_strerror(rc)) : 0;
}

int worker_count(mproc_call *call)
{
    worker *self = mproc_call_self(call);
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = 0;
    while (rc == 0 && (rc = mproc_queue_take(self->jobs, MPROC_FOREVER, &loan)) == 0) {
        uint64_t too_long = 0;
        piece job;
        memcpy(&job, loan.data, sizeof job);
        rc = piece_count(call, self, &job, &too_long);
        if (rc == 0)
            rc = piece_send(call, self, &job, too_long);
        mproc_queue_done(self->jobs, &loan); /* killed before this line: the piece goes to another worker */
    }
    return rc == MPROC_EEND ? 0 : rc;
}
