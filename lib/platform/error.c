/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes as words, and reading a story. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "platform/story.h"

/* The kernel's codes are -1..-4095; ours begin beyond. glibc's tables are static text in any locale and any thread,
 * which strerror is not. */
static bool code_is_errno(int code)
{
    return code < 0 && code >= -4095;
}

const char *mproc_strerror(int code)
{
    const char *text = code_is_errno(code) ? strerrordesc_np(-code) : NULL;

    switch (code) {
    case 0:
        return "done";
    case MPROC_RECOVERED:
        return "done; the previous owner died";
#define X(name, number, words)                                                                               \
    case name:                                                                                               \
        return words;
        MPROC_ERRORS(X)
#undef X
    default:
        return text ? text : "unknown error";
    }
}

const char *mproc_errname(int code)
{
    const char *name = code_is_errno(code) ? strerrorname_np(-code) : NULL;

    switch (code) {
    case 0:
        return "OK";
    case MPROC_RECOVERED:
        return "MPROC_RECOVERED";
#define X(word, number, words)                                                                               \
    case word:                                                                                               \
        return #word;
        MPROC_ERRORS(X)
#undef X
    default:
        return name ? name : "unknown";
    }
}

const mproc_error *mproc_last_error(void)
{
    return mproc__story();
}

int mproc_error_code(const mproc_error *error)
{
    return error ? error->code : 0;
}

/* The line is put together when it is asked for: most stories are never read. Every story a caller can see belongs to
 * one thread (mproc_error_of hands out copies), so that writing to it here is no race. */
const char *mproc_error_text(const mproc_error *error)
{
    mproc_error *story = (mproc_error *)error;
    const char *text;

    if (!story)
        return "OK: done";
    text = story->text[0] ? story->text : mproc_strerror(story->code);
    snprintf(story->line, sizeof(story->line), "%s: %s", mproc_errname(story->code), text);
    return story->line;
}

int mproc_error_number(const mproc_error *error, mproc_error_field field, int64_t *ret_number)
{
    if (!ret_number)
        return -EINVAL;
    if (!error || (unsigned)field >= MPROC__STORY_FIELDS || !(error->fields & UINT32_C(1) << field))
        return -ENOENT;
    *ret_number = error->number[field];
    return 0;
}
