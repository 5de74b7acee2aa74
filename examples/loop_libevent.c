/* SPDX-License-Identifier: BSD-2-Clause */
/* The same in a libevent loop: one persistent event a handle. */
#include <event2/event.h>

#include "loop.h"

static scene s;
static struct event *events[SOURCES];

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    struct event **event = argument;
    (void)fd;
    (void)what;
    if (scene_serve(&s, s.sources[event - events]))
        event_del(*event);
    if (s.ended == SOURCES)
        event_base_loopbreak(event_get_base(*event));
}

int main(int argc, char **argv)
{
    struct timeval limit = {.tv_sec = 10};
    scene_begin(argc, argv, &s);
    struct event_base *loop = event_base_new();
    for (int i = 0; i < SOURCES; i++) {
        int fd = mproc_wait_fd(s.sources[i]);
        TRY(fd);
        events[i] = event_new(loop, fd, EV_READ | EV_PERSIST, on_readable, &events[i]);
        event_add(events[i], NULL);
    }
    event_base_loopexit(loop, &limit); /* at the latest */
    event_base_dispatch(loop);
    for (int i = 0; i < SOURCES; i++)
        event_free(events[i]);
    event_base_free(loop);
    return scene_end(&s, "libevent");
}
