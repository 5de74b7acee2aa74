/* SPDX-License-Identifier: BSD-2-Clause */
/* Random bytes from the kernel. */
#include "platform/base.h"

#include <sys/random.h>

#include "platform/platform.h"
#include "platform/story.h"

int mproc__random(void *buffer, size_t size_bytes)
{
    unsigned char *at = buffer;

    while (size_bytes > 0) {
        ssize_t got = getrandom(at, size_bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mproc__fail(-errno, "getrandom: %s", mproc_strerror(-errno));
        at += got;
        size_bytes -= (size_t)got;
    }
    return 0;
}
