/* SPDX-License-Identifier: BSD-2-Clause */
#include <time.h>

#include "loop.h"

/* The child: numbers into the queue, a word into the connection, the event, and its own end. */
static int talk(mproc_call *call)
{
    mproc_queue *queue = mproc_call_queue(call, 0);
    mproc_connection *connection = mproc_call_connection(call, 1);
    struct timespec pause = {.tv_nsec = 5000000};
    int rc = 0;
    for (int64_t i = 1; rc == 0 && i <= 10; i++) {
        rc = mproc_queue_put(queue, &i, sizeof i, mproc_after_ms(10000));
        if (i % 4 == 0)
            nanosleep(&pause, NULL); /* so that the loop gets to sleep in between */
    }
    if (rc == 0)
        rc = mproc_connection_send(connection, "hello", 6, mproc_after_ms(10000));
    if (rc == 0)
        rc = mproc_event_set(mproc_call_event(call, 2));
    return rc < 0 ? rc : 7;
}

static mproc_start method_of(const char *name)
{
    return strcmp(name, "spawn") == 0        ? MPROC_START_SPAWN
           : strcmp(name, "forkserver") == 0 ? MPROC_START_FORKSERVER
                                             : MPROC_START_FORK;
}

void scene_begin(int argc, char **argv, scene *s)
{
    mproc_connection *theirs;
    memset(s, 0, sizeof *s);
    TRY(mproc_init(&argc, &argv));
    /* Declared as a reader, this process hears of the end when the last writer is gone. */
    TRY(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .pollable = true, .role = MPROC_ROLE_READ),
                           &s->queue));
    TRY(mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &s->event));
    TRY(mproc_connection_one_way(&s->connection, &theirs));
    TRY(mproc_process_start(
        talk, MPROC_ARGS(s->queue, theirs, s->event),
        MPROC_WITH(mproc_process_options, .start = method_of(argc > 1 ? argv[1] : "fork")), &s->child));
    mproc_connection_close(&theirs); /* so that ours sees the end */
    s->sources[0] = s->queue;
    s->sources[1] = s->connection;
    s->sources[2] = s->event;
    s->sources[3] = s->child;
}

static int queue_serve(scene *s)
{
    int64_t number;
    int rc;
    while ((rc = mproc_queue_get(s->queue, &number, sizeof number, MPROC_NOW, NULL)) == 0)
        s->sum += number;
    return rc;
}

static int connection_serve(scene *s)
{
    size_t size;
    int rc;
    while ((rc = mproc_connection_recv(s->connection, s->said, sizeof s->said, MPROC_NOW, &size)) == 0)
        ;
    return rc;
}

static int event_serve(scene *s)
{
    int rc = mproc_event_wait(s->event, MPROC_NOW);
    s->signalled = rc == 0;
    return rc == 0 ? MPROC_EEND : rc;
}

static int child_serve(const scene *s)
{
    int rc = mproc_process_join(s->child, MPROC_NOW, NULL);
    return rc == 0 ? MPROC_EEND : rc;
}

bool scene_serve(scene *s, void *handle)
{
    int rc = handle == s->queue        ? queue_serve(s)
             : handle == s->connection ? connection_serve(s)
             : handle == s->event      ? event_serve(s)
                                       : child_serve(s);
    if (rc == -ETIMEDOUT)
        return false;
    if (rc != MPROC_EEND)
        TRY(rc);
    s->ended++;
    return true;
}

int scene_end(scene *s, const char *loop)
{
    int code = -1;
    TRY(mproc_process_join(s->child, MPROC_NOW, &code));
    printf("%s: the queue brought %" PRId64
           ", the connection \"%s\", the event was %s, the child ended with %d\n",
           loop, s->sum, s->said, s->signalled ? "set" : "not set", code);
    bool all =
        s->ended == SOURCES && s->sum == 55 && strcmp(s->said, "hello") == 0 && s->signalled && code == 7;
    mproc_process_close(&s->child);
    mproc_event_close(&s->event);
    mproc_connection_close(&s->connection);
    mproc_queue_close(&s->queue);
    return all ? 0 : 1;
}
