/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/explain_common.h"
#include "platform/platform.h"
#include "shm/noun.h"

void (*toy_on_explain)(void);

static char said[1 << 20];
static mproc_variant found;

static void toy_tell(const void *root, size_t size_bytes, mproc__report *report)
{
    const toy_shared *toy = root;
    if (toy_on_explain)
        toy_on_explain();
    pid_t tid = atomic_load(&toy->owner_tid), pid = atomic_load(&toy->owner_pid);
    mproc__report_state(report, "a toy of %zu bytes", size_bytes);
    if (tid || pid)
        mproc__report_holder(report, pid, tid, "owner");
}

static int toy_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    (void)segment;
    (void)ret_handle;
    return MPROC_EPLACE;
}

void toy_register(void)
{
    static const mproc__noun noun = {.type = MPROC_TYPE_LOCK,
                                     .word = "toy",
                                     .least_bytes = sizeof(toy_shared),
                                     .attach = toy_attach,
                                     .explain = toy_tell};
    mproc__noun_register(&noun);
}

mproc__segment *toy_make(const char *name)
{
    mproc__segment *segment;
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_LOCK, name, sizeof(toy_shared), 0, &segment), 0);
    return segment;
}

toy_shared *toy_of(mproc__segment *segment)
{
    return mproc__segment_root(segment);
}

char *toy_explain(void)
{
    char *text;
    size_t size_bytes;
    int me = getpid();
    FILE *stream = open_memstream(&text, &size_bytes);
    ck_assert_ptr_nonnull(stream);
    mproc_variant_clear(&found);
    int code = mproc__explain(stream, MPROC_WITH(mproc_explain_options, .pids = &me, .pid_count = 1), &found);
    fclose(stream);
    ck_assert_msg(code == 0, "%s", mproc_error_text(mproc_last_error()));
    snprintf(said, sizeof(said), "%s", text);
    return text;
}

int toy_found(const char *key)
{
    int64_t number = -1;
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(found, key), &number), 0);
    return (int)number;
}

bool toy_says(const char *text)
{
    bool says = strstr(said, text) != NULL;
    if (!says)
        fprintf(stderr, "\"%s\" is not in\n%s", text, said);
    return says;
}

static int child_run(void *context)
{
    const toy_child *child = context;
    if (child->joins && mproc__segment_join(child->joins) < 0)
        return 1;
    if (child->owns)
        atomic_store(&toy_of(child->owns)->owner_tid, mproc__tid());
    if (child->waits &&
        mproc__waiting_begin(child->waits, child->kind ? child->kind : MPROC__WAIT_ACQUIRE) < 0)
        return 1;
    mproc__segment *any = child->joins ? child->joins : child->owns ? child->owns : child->waits;
    atomic_fetch_add(&toy_of(any)->ready, 1);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

typedef struct goal {
    mproc__segment *segment;
    int ready;
    pid_t pid;
} goal;

static bool reached(void *context)
{
    const goal *want = context;
    return atomic_load(&toy_of(want->segment)->ready) >= want->ready;
}

pid_t toy_start(toy_child child)
{
    mproc__segment *any = child.joins ? child.joins : child.owns ? child.owns : child.waits;
    goal want = {.segment = any, .ready = atomic_load(&toy_of(any)->ready) + 1};
    pid_t pid = support_fork(child_run, &child);
    ck_assert(support_until(reached, &want, 5000));
    return pid;
}

static bool stopped(void *context)
{
    mproc__process_view view;
    return mproc__process_view_get(((const goal *)context)->pid, &view) == 0 && view.state == 'T';
}

bool toy_stop(pid_t child)
{
    return kill(child, SIGSTOP) == 0 && support_until(stopped, &(goal){.pid = child}, 5000);
}
