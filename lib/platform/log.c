/* SPDX-License-Identifier: BSD-2-Clause */
/* The one log function; silent until a program sets it. One of them is our own, to stderr. */
#include "platform/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "platform/platform.h"

enum { LOG_LINE_BYTES = 512, LOG_NAME_BYTES = 128 };
#define LOG_FIRST_NAME "MainProcess"

/* Plain atomics, no lock: a lock held by another thread at a fork would hang the child's first message. The level is
 * stored last and read first; mproc_set_log says that other threads must not use the library meanwhile. */
MPROC__FORK_DATA static struct {
    _Atomic(mproc_log_fn *) fn;
    void *_Atomic context;
    _Atomic int level; /* 0: silent */
} log_sink;

MPROC__FORK_TEXT void mproc_set_log(mproc_log_fn *fn, mproc_log_level level, void *context)
{
    atomic_store(&log_sink.level, 0);
    atomic_store(&log_sink.context, context);
    atomic_store(&log_sink.fn, fn);
    atomic_store(&log_sink.level, fn ? (int)level : 0);
}

/* ---- stderr ---- */

/* Written before the process has other threads: at its first steps. */
MPROC__FORK_DATA static char log_process[LOG_NAME_BYTES]; /* empty: the first name */
static _Thread_local const char *log_thread;

MPROC__FORK_TEXT void mproc__log_name_process(const char *name)
{
    /* No printf: every fork child of the program comes here, and its machinery is eight pages to be mapped anew there. */
    size_t length = 0;
    for (; name && name[length] && length + 1 < sizeof log_process; length++)
        log_process[length] = name[length];
    log_process[length] = '\0';
}

MPROC__FORK_TEXT void mproc__log_name_thread(const char *name)
{
    log_thread = name;
}

/* One write a line, so that lines of several processes do not mix; past stdio, whose buffer a fork would copy. */
static void log_stderr(mproc_log_level level, const char *text, void *unused)
{
    static const char *const levels[] = {"", "ERROR", "WARNING", "INFO", "DEBUG"};
    char line[LOG_LINE_BYTES + LOG_NAME_BYTES + 16];
    (void)unused;
    const char *process = log_process[0] ? log_process : LOG_FIRST_NAME;
    int length =
        snprintf(line, sizeof line, "[%s/%s] %s\n", levels[level], log_thread ? log_thread : process, text);
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* nobody to tell */
}

void mproc_log_to_stderr(mproc_log_level level)
{
    mproc_set_log(level > 0 ? log_stderr : NULL, level > MPROC_LOG_DEBUG ? MPROC_LOG_DEBUG : level, NULL);
}

bool mproc__log_on_stderr(void)
{
    return atomic_load(&log_sink.fn) == log_stderr;
}

MPROC__FORK_TEXT void mproc__log_inherit(mproc_log_level level, bool on_stderr)
{
    mproc_set_log(on_stderr ? log_stderr : NULL, level, NULL);
    atomic_store(&log_sink.level, (int)level);
}

mproc_log_level mproc_log_get_level(void)
{
    return (mproc_log_level)atomic_load(&log_sink.level);
}

/* ---- messages ---- */

static _Thread_local struct {
    const char *file;
    int line;
} log_place;

int mproc_log_place(const char **ret_file)
{
    if (ret_file)
        *ret_file = log_place.file;
    return log_place.line;
}

void mproc_log_at(mproc_log_level level, const char *file, int line, const char *format, ...)
{
    char text[LOG_LINE_BYTES];
    int saved_errno = errno;
    va_list args;

    if (level < MPROC_LOG_ERROR || level > MPROC_LOG_DEBUG || !format ||
        (int)level > atomic_load_explicit(&log_sink.level, memory_order_acquire))
        return;
    mproc_log_fn *fn = atomic_load(&log_sink.fn);
    if (!fn)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_place.file = file;
    log_place.line = line;
    fn(level, text, atomic_load(&log_sink.context));
    log_place.file = NULL;
    log_place.line = 0;
    errno = saved_errno;
}
