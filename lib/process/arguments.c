/* SPDX-License-Identifier: BSD-2-Clause */
/* What a start may be given, looked at before anything is started, so that an error names the argument.
 *
 * By fork, too, where the child would find all of it in its memory: what a program may pass does not depend on the method, and
 * a lock that is only for the threads of the parent would fail its child at the first call. Nothing is encoded for that: a walk
 * over the values, without their texts and bytes. */
#include "platform/base.h"

#include <stdio.h>

#include "data/parcel.h"
#include "platform/story.h"
#include "process/launch.h"

/* This thread's story, told of `what`. */
static int told_of(int code, const char *what)
{
    char why[MPROC__STORY_BYTES];
    const mproc_error *story = mproc__story();
    snprintf(why, sizeof why, "%s", story->text[0] ? story->text : mproc_strerror(code));
    return mproc__fail(code, "start: %s: %s", what, why);
}

static int argument_name(int code, size_t index)
{
    char what[32];
    snprintf(what, sizeof what, "argument %zu", index);
    return told_of(code, what);
}

int mproc__arguments_check(mproc_variant args)
{
    mproc__parcel parcel = {.allow_fds = true};
    if (args.kind != MPROC_KIND_LIST) {
        int code = mproc__parcel_check(&parcel, args, 0);
        return code < 0 ? told_of(code, "the arguments") : 0;
    }
    const mproc_variant *items = args.data;
    for (size_t i = 0; i < (size_t)args.number; i++) {
        int code = mproc__parcel_check(&parcel, items[i], 1);
        if (code < 0)
            return argument_name(code, i);
    }
    return 0;
}

/* For a thread, which may have pointers and objects of this process alone: what cannot be copied has no meaning anywhere. */
int mproc__arguments_copy(mproc_variant args, mproc_variant *ret_copy)
{
    int code = mproc_variant_copy(args, ret_copy);
    if (code == 0)
        return 0;
    if (code == -ENOMEM || args.kind != MPROC_KIND_LIST)
        return told_of(code, "copying the arguments");
    const mproc_variant *items = args.data;
    for (size_t i = 0; i < (size_t)args.number; i++) {
        mproc_variant copy;
        int of_item = mproc_variant_copy(items[i], &copy);
        if (of_item < 0)
            return argument_name(of_item, i);
        mproc_variant_clear(&copy);
    }
    return told_of(code, "copying the arguments");
}
