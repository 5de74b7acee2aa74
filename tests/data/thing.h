/* SPDX-License-Identifier: BSD-2-Clause */
/* A noun for tests: a handle that can cross, with or without a descriptor. */
#ifndef MPROC__TESTS_DATA_THING_H
#define MPROC__TESTS_DATA_THING_H

#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/parcel.h"
#include "support/support.h"

typedef struct thing {
    mproc__handle handle;
    int number;
    int fd; /* -1: none */
} thing;

static int things_alive;

static void thing_destroy(mproc__handle *handle)
{
    thing *t = MPROC__CONTAINER(handle, thing, handle);

    if (t->fd >= 0)
        close(t->fd);
    mproc__handle_fini(handle);
    free(t);
    things_alive--;
}

static int thing_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    return snprintf(buffer, size_bytes, "lock %d", MPROC__CONTAINER(handle, thing, handle)->number);
}

static int thing_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    thing *t = MPROC__CONTAINER(handle, thing, handle);
    int code = mproc__parcel_add_blob(parcel, &t->number, sizeof(t->number));

    return code < 0 || t->fd < 0 ? code : mproc__parcel_add_fd(parcel, t->fd);
}

static const mproc__handle_ops thing_ops = {.type = MPROC_TYPE_LOCK,
                                            .noun = "lock",
                                            .destroy = thing_destroy,
                                            .describe = thing_describe,
                                            .pack = thing_pack};
/* One that cannot cross and has no description of its own. */
static const mproc__handle_ops rock_ops = {.type = MPROC_TYPE_POOL, .noun = "pool", .destroy = thing_destroy};

static thing *thing_create(const mproc__handle_ops *ops, int number, int fd)
{
    thing *t = calloc(1, sizeof(*t));

    ck_assert_ptr_nonnull(t);
    mproc__handle_init(&t->handle, ops);
    t->number = number;
    t->fd = fd;
    things_alive++;
    return t;
}

static inline int thing_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                               mproc__handle **ret_handle)
{
    int number;
    thing *t;

    if (blob_bytes != sizeof(number))
        return mproc__fail(MPROC_EPROTOCOL, "a lock of %zu bytes", blob_bytes);
    memcpy(&number, blob, sizeof(number));
    t = calloc(1, sizeof(*t));
    if (!t)
        return mproc__fail(-ENOMEM, "no memory for a lock");
    mproc__handle_init(&t->handle, &thing_ops);
    t->number = number;
    t->fd = mproc__parcel_take_fd(parcel);
    things_alive++;
    *ret_handle = &t->handle;
    return 0;
}

#endif
