/* SPDX-License-Identifier: BSD-2-Clause */
/* The one log callback; silent until a program sets it. */
#include "platform/base.h"

#include <stdarg.h>
#include <stdio.h>

#include "platform/platform.h"

enum { LOG_LINE_BYTES = 512 };

/* Plain atomics, no lock: a lock held by another thread at a fork would hang the child's first message. The level is
 * stored last and read first; mproc_set_log says that other threads must not use the library meanwhile. */
static struct {
    _Atomic(mproc_log_fn *) fn;
    void *_Atomic context;
    _Atomic int level; /* 0: silent */
} log_sink;

void mproc_set_log(mproc_log_fn *fn, mproc_log_level level, void *context)
{
    atomic_store(&log_sink.level, 0);
    atomic_store(&log_sink.context, context);
    atomic_store(&log_sink.fn, fn);
    atomic_store(&log_sink.level, fn ? (int)level : 0);
}

void mproc__log(mproc_log_level level, const char *format, ...)
{
    char text[LOG_LINE_BYTES];
    int saved_errno = errno;
    mproc_log_fn *fn;
    va_list args;

    if ((int)level > atomic_load_explicit(&log_sink.level, memory_order_acquire))
        return;
    fn = atomic_load(&log_sink.fn);
    if (!fn)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fn(level, text, atomic_load(&log_sink.context));
    errno = saved_errno;
}
