/* SPDX-License-Identifier: BSD-2-Clause */
/* The same in a libuv loop: one uv_poll_t a handle. */
#include <uv.h>

#include "loop.h"

static scene s;

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    if (status < 0 || scene_serve(&s, poll->data))
        uv_poll_stop(poll); /* the loop ends when nothing is left in it */
}

static void on_late(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uv_poll_t polls[SOURCES];
    uv_timer_t limit;
    scene_begin(argc, argv, &s);
    uv_loop_init(&loop);
    for (int i = 0; i < SOURCES; i++) {
        int fd = mproc_wait_fd(s.sources[i]);
        TRY(fd);
        uv_poll_init(&loop, &polls[i], fd);
        polls[i].data = s.sources[i];
        uv_poll_start(&polls[i], UV_READABLE, on_readable);
    }
    uv_timer_init(&loop, &limit);
    uv_unref((uv_handle_t *)&limit); /* does not keep the loop going */
    uv_timer_start(&limit, on_late, 10000, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < SOURCES; i++)
        uv_close((uv_handle_t *)&polls[i], NULL);
    uv_close((uv_handle_t *)&limit, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return scene_end(&s, "libuv");
}
