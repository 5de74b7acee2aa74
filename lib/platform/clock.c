/* SPDX-License-Identifier: BSD-2-Clause */
/* One monotonic clock, and the deadlines on it. The wall clock appears nowhere (TIME-1). */
#include "platform/base.h"

#include <limits.h>

#include "platform/platform.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

int64_t mproc__now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

mproc_deadline mproc_after_ns(int64_t ns)
{
    int64_t now;

    if (ns <= 0)
        return MPROC_NOW;
    now = mproc__now_ns();
    if (ns >= INT64_MAX - now)
        return MPROC_FOREVER;
    return (mproc_deadline){now + ns};
}

mproc_deadline mproc_after_ms(int64_t ms)
{
    if (ms > INT64_MAX / NS_PER_MS)
        return MPROC_FOREVER;
    return mproc_after_ns(ms > 0 ? ms * NS_PER_MS : 0);
}

/* What is left, 0 when past; MPROC_NOW and MPROC_FOREVER are answered without asking the clock. */
static int64_t deadline_left_ns(mproc_deadline deadline)
{
    int64_t left;

    if (deadline.ns <= 0)
        return 0;
    if (deadline.ns == INT64_MAX)
        return INT64_MAX;
    left = deadline.ns - mproc__now_ns();
    return left > 0 ? left : 0;
}

/* Rounded up: half a millisecond left is 1, so that a loop on "left" never spins. */
int64_t mproc_left_ms(mproc_deadline deadline)
{
    int64_t left_ns = deadline_left_ns(deadline);

    return left_ns == INT64_MAX ? INT64_MAX : left_ns / NS_PER_MS + (left_ns % NS_PER_MS != 0);
}

bool mproc__deadline_past(mproc_deadline deadline)
{
    return deadline_left_ns(deadline) == 0;
}

struct timespec mproc__deadline_timespec(mproc_deadline deadline)
{
    int64_t ns = deadline.ns > 0 ? deadline.ns : 0;

    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

int mproc__deadline_poll_ms(mproc_deadline deadline)
{
    int64_t left_ms = mproc_left_ms(deadline);

    if (left_ms == INT64_MAX)
        return -1;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}
