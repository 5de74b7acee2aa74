/* SPDX-License-Identifier: BSD-2-Clause */
/* A call: the function's arguments, its result or failure, and its circumstances. */
#include "platform/base.h"

#include <stdarg.h>
#include <string.h>

#include "data/call.h"
#include "data/variant.h"

MPROC__FORK_TEXT void mproc__call_init(mproc_call *call, mproc_variant args)
{
    memset(
        call, 0,
        offsetof(mproc_call, story)); /* which is as long as all else ten times, and read only with a code */
    call->args = args;
    call->attempt = 1;
}

MPROC__FORK_TEXT void mproc__call_fini(mproc_call *call)
{
    mproc_variant_clear(&call->result);
}

/* ---- arguments ---- */

/* The first mark stays: what follows it is usually its consequence. */
static void call_mark(mproc_call *call, size_t index, const char *wanted)
{
    const char *name = call->name ? call->name : "the function";
    size_t count = mproc_call_count(call);

    if (call->code != 0)
        return;
    if (index >= count)
        call->code = mproc__fail(MPROC_EARGUMENT, "%s: argument %zu (%s) is missing, %zu given", name, index,
                                 wanted, count);
    else
        call->code = mproc__fail(MPROC_EARGUMENT, "%s: argument %zu is %s, not %s", name, index,
                                 mproc__kind_name(mproc_variant_at(call->args, index).kind), wanted);
    mproc__fail_number(MPROC_ERROR_ARGUMENT, (int64_t)index);
    mproc__story_copy(mproc__story(), &call->story);
}

size_t mproc_call_count(const mproc_call *call)
{
    return mproc_variant_count(call->args);
}

mproc_variant mproc_call_arg(mproc_call *call, size_t index)
{
    if (index < mproc_call_count(call))
        return mproc_variant_at(call->args, index);
    call_mark(call, index, "any");
    return mproc_null();
}

int64_t mproc_call_int(mproc_call *call, size_t index)
{
    int64_t value = 0;

    if (mproc_variant_get_int(mproc_variant_at(call->args, index), &value) != 0)
        call_mark(call, index, "int");
    return value;
}

double mproc_call_double(mproc_call *call, size_t index)
{
    double value = 0.0;

    if (mproc_variant_get_double(mproc_variant_at(call->args, index), &value) != 0)
        call_mark(call, index, "double");
    return value;
}

bool mproc_call_bool(mproc_call *call, size_t index)
{
    bool value = false;

    if (mproc_variant_get_bool(mproc_variant_at(call->args, index), &value) != 0)
        call_mark(call, index, "bool");
    return value;
}

const char *mproc_call_text(mproc_call *call, size_t index)
{
    const char *text = mproc_variant_get_text(mproc_variant_at(call->args, index));

    if (!text)
        call_mark(call, index, "text");
    return text;
}

const void *mproc_call_bytes(mproc_call *call, size_t index, size_t *ret_size_bytes)
{
    const void *data = mproc_variant_get_bytes(mproc_variant_at(call->args, index), ret_size_bytes);

    if (!data)
        call_mark(call, index, "bytes");
    return data;
}

void *mproc_call_handle(mproc_call *call, size_t index, mproc_type_id type)
{
    void *handle = mproc_variant_get_handle(mproc_variant_at(call->args, index), type);

    if (!handle)
        call_mark(call, index, "a handle of the type asked for");
    return handle;
}

int mproc_call_check(const mproc_call *call)
{
    return call->code;
}

/* ---- outcome ---- */

int mproc_call_return(mproc_call *call, mproc_variant result)
{
    mproc_variant copy;
    int code = mproc_variant_copy(result, &copy);

    if (code < 0)
        return code;
    mproc_variant_clear(&call->result);
    call->result = copy;
    return 0;
}

int mproc_call_fail(mproc_call *call, int code, const char *format, ...)
{
    va_list args;

    /* Failing with "done" is a slip; it must not look like success. */
    if (code == 0)
        code = -EINVAL;
    va_start(args, format);
    mproc__fail_list(code, format, args);
    va_end(args);
    if (call->code == MPROC_EARGUMENT)
        return code;
    call->code = code;
    mproc__story_copy(mproc__story(), &call->story);
    return code;
}

/* What is told of a function that returned `code` and said nothing itself: the story of the call that gave it that code, if
 * there was one. */
static void call_adopt(mproc_call *call, int code)
{
    if (mproc__story()->code != code)
        mproc__fail(code, "%s returned %d", call->name ? call->name : "the function", code);
    call->code = code;
    mproc__story_copy(mproc__story(), &call->story);
}

MPROC__FORK_TEXT int mproc__call_run(mproc_call *call, mproc_fn *fn)
{
    int code;

    mproc__fail_plain(0); /* so that an older story is not taken for this run's */
    code = fn(call);
    if (call->code == 0 && code != 0)
        call_adopt(call, code);
    if (call->code != 0)
        mproc_variant_clear(&call->result);
    return call->code;
}

/* ---- circumstances ---- */

bool mproc_call_stopping(const mproc_call *call)
{
    return call->stopping && call->stopping(call);
}

int mproc_call_progress(mproc_call *call, uint64_t done, uint64_t total)
{
    return call->progress ? call->progress(call, done, total) : 0;
}

int mproc_call_checkpoint(mproc_call *call, mproc_variant state)
{
    return call->checkpoint ? call->checkpoint(call, state) : 0;
}

mproc_variant mproc_call_resume(const mproc_call *call)
{
    return call->resume;
}

unsigned mproc_call_attempt(const mproc_call *call)
{
    return call->attempt;
}

void mproc_call_range(const mproc_call *call, size_t *ret_first, size_t *ret_end)
{
    if (ret_first)
        *ret_first = call->range_first;
    if (ret_end)
        *ret_end = call->range_end;
}

void *mproc_call_self(const mproc_call *call)
{
    return call->self;
}

void mproc_call_set_self(mproc_call *call, void *self)
{
    call->self = self;
}
