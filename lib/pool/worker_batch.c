/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker runs a batch: item after item, each outcome committed before the next begins. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "platform/story.h"
#include "pool/batch.h"
#include "pool/payload.h"
#include "pool/worker.h"

enum { ARGUMENTS_INLINE = 16 };

/* A batch under way. */
typedef struct run {
    mproc__worker *worker;
    mproc__task_shared *task;
    mproc_fn *fn;
    const uint8_t *cursor, *end; /* of the items */
    uint8_t *room;
    size_t capacity, used;
    mproc_variant shared;     /* owned */
    mproc_variant *arguments; /* of an item; owned when it is not the next */
    mproc_variant inline_arguments[ARGUMENTS_INLINE];
    size_t argument_room;
} run;

/* ---- begin and end ---- */

static int run_begin(run *self, mproc__worker *worker, mproc_fn *fn)
{
    uint32_t size;
    mproc__task_shared *task = worker->task;
    uint8_t *bytes = mproc__payload_bytes(worker->view, &task->args);
    size_t room_at = mproc__batch_room_at(task->packed_bytes);
    if (!bytes || task->packed_bytes > task->args.size_bytes || room_at > task->args.size_bytes)
        return mproc__fail(MPROC_ECORRUPT, "a batch names a block that is none");
    *self = (run){.worker = worker,
                  .task = task,
                  .fn = fn,
                  .cursor = bytes,
                  .end = bytes + task->packed_bytes,
                  .room = bytes + room_at,
                  .capacity = task->args.size_bytes - room_at,
                  .argument_room = ARGUMENTS_INLINE};
    self->arguments = self->inline_arguments;
    const uint8_t *shared = mproc__packed_next(&self->cursor, self->end, &size);
    if (!shared)
        return mproc__fail(MPROC_ECORRUPT, "a batch without arguments");
    return mproc__variant_decode(shared, size, &self->shared);
}

static void run_end(run *self)
{
    mproc_variant_clear(&self->shared);
    if (self->arguments != self->inline_arguments)
        free(self->arguments);
}

/* ---- one item ---- */

static int arguments_fill(run *self, mproc_variant item, mproc_variant *ret_list)
{
    size_t count = mproc__item_count(item, self->shared, self->task->unpack);
    if (count > self->argument_room) {
        mproc_variant *larger = calloc(count, sizeof *larger);
        if (!larger)
            return mproc__fail(-ENOMEM, "no memory for %zu arguments", count);
        if (self->arguments != self->inline_arguments)
            free(self->arguments);
        self->arguments = larger;
        self->argument_room = count;
    }
    *ret_list = mproc_items(self->arguments, count);
    return mproc__item_args(item, self->shared, self->task->unpack, self->arguments);
}

static int item_call(run *self, mproc_call *call, mproc_variant item, unsigned attempt)
{
    mproc_variant list;
    int rc = arguments_fill(self, item, &list);
    mproc__worker_call_init(self->worker, call, rc == 0 ? list : mproc_null());
    call->attempt = attempt;
    if (rc == 0) {
        rc = mproc__call_run(call, self->fn);
        mproc__worker_stay(self->worker);
        return rc;
    }
    mproc__story_copy(mproc__story(), &call->story);
    return rc;
}

/* The outcome behind the last one. False: it does not fit, or cannot be encoded. */
static bool outcome_record(run *self, int rc, const mproc_call *call)
{
    size_t size = 0, left = self->capacity - self->used;
    if (left < MPROC__BATCH_RECORD)
        return false;
    uint8_t *at = self->room + self->used;
    left -= MPROC__BATCH_RECORD;
    if (rc != 0) {
        size = strnlen(call->story.text, MPROC__POOL_INLINE - 1);
        if (size > left)
            return false;
        memcpy(at + MPROC__BATCH_RECORD, call->story.text, size);
    } else if (call->result.kind != MPROC_KIND_NULL &&
               mproc__variant_encode_into(call->result, at + MPROC__BATCH_RECORD, left, &size) < 0) {
        return false;
    }
    int32_t code = rc;
    uint32_t length = (uint32_t)size;
    memcpy(at, &code, sizeof code);
    memcpy(at + sizeof code, &length, sizeof length);
    self->used += MPROC__BATCH_RECORD + size;
    return true;
}

/* True: go on with the next. Late is late, as for a task (task_end). */
static bool item_settle(run *self, uint32_t index, int rc, mproc_call *call)
{
    mproc__worker *worker = self->worker;
    if (worker->limit_ns && mproc__now_ns() >= worker->limit_ns)
        (void)mproc__task_expire(&self->task->word, worker->claimed);
    if (mproc__task_load(&self->task->word).state != MPROC__TASK_RUNNING)
        return false;
    if (!outcome_record(self, rc, call)) {
        mproc__worker_outcome(worker, rc, call);
        return false;
    }
    atomic_store_explicit(&self->task->committed, mproc__committed_pack(index + 1, self->used),
                          memory_order_release);
    return true;
}

static bool item_run(run *self, uint32_t index)
{
    uint32_t size;
    mproc_call call;
    mproc_variant item = mproc_null();
    const uint8_t *bytes = mproc__packed_next(&self->cursor, self->end, &size);
    if (self->task->time_limit_ms)
        mproc__worker_limit(self->worker, self->task->time_limit_ms);
    int rc = bytes ? mproc__variant_decode(bytes, size, &item)
                   : mproc__fail(MPROC_ECORRUPT, "a batch ends before its last item");
    if (rc == 0) {
        rc = item_call(self, &call, item, index == 0 ? self->task->first_attempt : 1);
    } else {
        mproc__worker_call_init(self->worker, &call, mproc_null());
        mproc__story_copy(mproc__story(), &call.story);
    }
    bool on = item_settle(self, index, rc, &call);
    mproc__call_fini(&call);
    mproc_variant_clear(&item);
    return on;
}

/* ---- all of them ---- */

int mproc__worker_batch(mproc__worker *worker, mproc_fn *fn)
{
    run self;
    mproc__task_shared *task = worker->task;
    int64_t begin = mproc__now_ns();
    atomic_store_explicit(&task->code, 0, memory_order_relaxed);
    int rc = run_begin(&self, worker, fn);
    if (rc < 0)
        return rc;
    uint32_t index = 0;
    while (index < task->items && item_run(&self, index))
        index++;
    run_end(&self);
    task->busy_ns = (uint64_t)(mproc__now_ns() - begin);
    return 0;
}
