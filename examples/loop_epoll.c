/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue, a connection, an event and a child's end in an epoll loop of the program's own. */
#include <sys/epoll.h>

#include "loop.h"

int main(int argc, char **argv)
{
    scene s;
    scene_begin(argc, argv, &s);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < SOURCES; i++) {
        int fd = mproc_wait_fd(s.sources[i]);
        TRY(fd);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = s.sources[i]};
        epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
    }
    while (s.ended < SOURCES) {
        struct epoll_event event;
        if (epoll_wait(loop, &event, 1, 10000) != 1)
            break; /* too late: scene_end says what is missing */
        if (scene_serve(&s, event.data.ptr))
            epoll_ctl(loop, EPOLL_CTL_DEL, mproc_wait_fd(event.data.ptr), NULL);
    }
    close(loop);
    return scene_end(&s, "epoll");
}
