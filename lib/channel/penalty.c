/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "channel/penalty.h"

#define MS_NS INT64_C(1000000)

static bool penalty_is_of(const mproc__penalty *penalty, const mproc__penalty_source *source)
{
    return memcmp(&penalty->source, source, sizeof *source) == 0;
}

static bool penalty_is_over(const mproc__penalty *penalty, int64_t now_ns)
{
    return now_ns - penalty->failed_ns >= MPROC__PENALTY_FORGET_MS * MS_NS;
}

/* The place of a source, or where to remember it. */
static mproc__penalty *penalty_place(mproc__penalties *penalties, const mproc__penalty_source *source)
{
    mproc__penalty *oldest = &penalties->of[0];
    for (size_t i = 0; i < penalties->count; i++) {
        if (penalty_is_of(&penalties->of[i], source))
            return &penalties->of[i];
        if (penalties->of[i].failed_ns < oldest->failed_ns)
            oldest = &penalties->of[i];
    }
    if (penalties->count < MPROC__PENALTY_SOURCES)
        oldest = &penalties->of[penalties->count++];
    *oldest = (mproc__penalty){.source = *source};
    return oldest;
}

void mproc__penalty_note(mproc__penalties *penalties, const mproc__penalty_source *source, int64_t now_ns)
{
    mproc__penalty *penalty = penalty_place(penalties, source);
    if (penalty_is_over(penalty, now_ns))
        penalty->failures = 0;
    penalty->failures++;
    penalty->failed_ns = now_ns;
}

int64_t mproc__penalty_until(const mproc__penalties *penalties, const mproc__penalty_source *source,
                             int64_t now_ns)
{
    for (size_t i = 0; i < penalties->count; i++) {
        const mproc__penalty *penalty = &penalties->of[i];
        if (!penalty_is_of(penalty, source) || penalty_is_over(penalty, now_ns))
            continue;
        int64_t wait_ms = MPROC__PENALTY_FIRST_MS;
        for (unsigned n = 1; n < penalty->failures && wait_ms < MPROC__PENALTY_MOST_MS; n++)
            wait_ms *= 2;
        return penalty->failed_ns + wait_ms * MS_NS;
    }
    return now_ns;
}
