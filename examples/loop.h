/* SPDX-License-Identifier: BSD-2-Clause */
/* What the three loop examples share: a child that talks by a queue, a connection and an event, and ends; and what to do with
 * each of the four when its descriptor is readable. What is different, the loop, is in loop_epoll.c, loop_libuv.c and
 * loop_libevent.c. */
#ifndef LOOP_H
#define LOOP_H

#include "try.h"

enum { SOURCES = 4 };

typedef struct scene {
    mproc_queue *queue;
    mproc_connection *connection;
    mproc_event *event;
    mproc_process *child;
    void *sources[SOURCES]; /* the four handles */
    unsigned ended;
    int64_t sum;    /* of what came by the queue */
    char said[32];  /* by the connection */
    bool signalled; /* the event was seen */
} scene;

/* Starts the child, by the method that the command line names (fork). */
void scene_begin(int argc, char **argv, scene *ret_scene);
/* The handle's descriptor is readable: takes what there is, without waiting. True: nothing more will come, take it out of the
 * loop. A descriptor may be early: then there is nothing, and the try has made it unreadable again. */
bool scene_serve(scene *s, void *handle);
/* Checks what came and prints it; what main returns. */
int scene_end(scene *s, const char *loop);

#endif
