/* SPDX-License-Identifier: BSD-2-Clause */
/* This thread's last failure, with its story. Allocates nothing, so that "out of memory" can be told as well. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "platform/story.h"

/* In thread-local storage, so that no lock is needed and a fork takes the forking thread's story along. */
static _Thread_local mproc_error thread_story;

static void story_reset(mproc_error *story, int code)
{
    story->code = code;
    story->fields = 0;
    story->text[0] = '\0';
}

/* Stories are one line each, whatever a file name or a peer put in. */
static void text_make_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

int mproc__fail_list(int code, const char *format, va_list args)
{
    char text[MPROC__STORY_BYTES]; /* apart: an argument may be this thread's present story */

    vsnprintf(text, sizeof(text), format, args);
    text_make_one_line(text);
    story_reset(&thread_story, code);
    memcpy(thread_story.text, text, strlen(text) + 1);
    return code;
}

int mproc__fail(int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    mproc__fail_list(code, format, args);
    va_end(args);
    return code;
}

MPROC__FORK_TEXT int mproc__fail_plain(int code)
{
    story_reset(&thread_story, code);
    return code;
}

void mproc__fail_number(mproc_error_field field, int64_t number)
{
    MPROC__ASSERT((unsigned)field < MPROC__STORY_FIELDS);
    thread_story.number[field] = number;
    thread_story.fields |= UINT32_C(1) << field;
}

MPROC__FORK_TEXT mproc_error *mproc__story(void)
{
    return &thread_story;
}

void mproc__story_copy(const mproc_error *source, mproc_error *ret_story)
{
    if (source == ret_story)
        return;
    story_reset(ret_story, source->code);
    ret_story->fields = source->fields;
    memcpy(ret_story->number, source->number, sizeof(source->number));
    memcpy(ret_story->text, source->text, strlen(source->text) + 1);
}
