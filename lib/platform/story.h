/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors with a story: how internal code reports one. L0.
 *
 * Every failing public call leaves its story in the calling thread (mproc_last_error); calls on a handle copy it to the
 * handle as well (data/handle.h). Hot paths that fail as a matter of course (a try that finds nothing) use
 * mproc__fail_plain, which stores a code and formats nothing. */
#ifndef MPROC__PLATFORM_STORY_H
#define MPROC__PLATFORM_STORY_H

#include "platform/base.h"

#include <stdarg.h>

enum {
    MPROC__STORY_BYTES = 384,
    MPROC__STORY_LINE_BYTES = MPROC__STORY_BYTES + 32, /* the text after the longest "NAME: " */
    MPROC__STORY_FIELDS = MPROC_ERROR_MAX_RSS_KIB + 1
};

struct mproc_error {
    int code;
    uint32_t fields;               /* bit n: number[n] is set */
    char text[MPROC__STORY_BYTES]; /* empty: mproc_strerror(code) */
    int64_t number[MPROC__STORY_FIELDS];
    char line[MPROC__STORY_LINE_BYTES]; /* "NAME: text", made by mproc_error_text */
};

/* Sets this thread's story and returns code (negative). Text is one line without the code's name. */
int mproc__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int mproc__fail_list(int code, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int mproc__fail_plain(int code);
/* Adds a number to this thread's story; after mproc__fail. */
void mproc__fail_number(mproc_error_field field, int64_t number);

/* This thread's story, to copy; never NULL. */
mproc_error *mproc__story(void);
/* Copies code, text and numbers. */
void mproc__story_copy(const mproc_error *source, mproc_error *ret_story);

#endif
