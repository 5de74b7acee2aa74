/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks that stay on, and options structs. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"

/* dprintf to descriptor 2: stdio may be in any state here, and its locks may be held by a thread a fork left behind. */
_Noreturn void mproc__assert_failed(const char *expression, const char *file, int line)
{
    dprintf(STDERR_FILENO, "libmproc: %s:%d: impossible state, not (%s)\n", file, line, expression);
    abort();
}

enum { OPTIONS_BYTES_MAX = 4096 };

/* The first non-zero byte in [from, end), or end. */
static size_t bytes_first_set(const unsigned char *bytes, size_t from, size_t end)
{
    while (from < end && bytes[from] == 0)
        from++;
    return from;
}

int mproc__options_check(const void *options, size_t least, size_t known, const char *what)
{
    size_t size_bytes;

    if (!options)
        return 0;
    memcpy(&size_bytes, options, sizeof(size_bytes));
    if (size_bytes < least)
        return mproc__fail(-EINVAL, "%s: size field is %zu, at least %zu is needed (use MPROC_WITH)", what,
                           size_bytes, least);
    /* No version of any options will be so large: a structure on the stack that nobody filled in. Not to be read on. */
    if (size_bytes > OPTIONS_BYTES_MAX)
        return mproc__fail(-EINVAL, "%s: size field is %zu, which no version has (use MPROC_WITH)", what,
                           size_bytes);
    /* A caller built with a newer header may use this library as long as it sets none of the new fields. */
    if (size_bytes > known && bytes_first_set(options, known, size_bytes) != size_bytes)
        return mproc__fail(-EINVAL, "%s: a field is set that this version of the library does not know",
                           what);
    return 0;
}

void mproc_options_init(void *options, size_t size)
{
    if (!options || size < sizeof(size))
        return;
    memset(options, 0, size);
    memcpy(options, &size, sizeof(size));
}

const char *mproc_version(void)
{
    return MPROC_VERSION_TEXT;
}
