/* SPDX-License-Identifier: BSD-2-Clause */
/* The first include of every source file: feature macros, checks that stay on, small helpers. L0. */
#ifndef MPROC__PLATFORM_BASE_H
#define MPROC__PLATFORM_BASE_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mproc/base.h>
#include <mproc/error.h>

#define MPROC__COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that a member lies in. */
#define MPROC__CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Two cache lines: some machines fetch lines in pairs, so writers on neighbouring lines would still disturb each other. */
#define MPROC__LINE 128

/* Built with the thread sanitizer, which knows libc's calls and atomics, but no fences and no robust list. */
#if defined(__SANITIZE_THREAD__)
#define MPROC__THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MPROC__THREAD_SANITIZER 1
#endif
#endif
#ifndef MPROC__THREAD_SANITIZER
#define MPROC__THREAD_SANITIZER 0
#endif

#define MPROC__LIKELY(x)   __builtin_expect(!!(x), 1)
#define MPROC__UNLIKELY(x) __builtin_expect(!!(x), 0)

/* What every fork child of the program runs and writes to: the hooks of all layers, and the first steps. Each page of code
 * is mapped anew in a child and each page of data copied, at 1 us or more, so all of it is kept together. */
#define MPROC__FORK_TEXT __attribute__((section(".text.hot.mproc_fork"))) /* linkers put .text.hot first */
#define MPROC__FORK_DATA __attribute__((section("mproc_fork")))

static inline size_t mproc__round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* A failed check means the library itself is wrong: the process says where and aborts. On in every build, because with
 * robust shared memory dying is safe and going on is not. Never used on a caller's mistake. */
#define MPROC__ASSERT(x) (MPROC__LIKELY(x) ? (void)0 : mproc__assert_failed(#x, __FILE__, __LINE__))
_Noreturn void mproc__assert_failed(const char *expression, const char *file, int line);

/* Whether an options struct is usable: NULL is; else its size field must be at least `least` (the first released size)
 * and everything beyond `known` bytes must be zero. Returns 0 or -EINVAL with a story naming `what`. */
int mproc__options_check(const void *options, size_t least, size_t known, const char *what);

#endif
