/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager protocol's envelope as a plain struct, and its encoding. L7. protobuf-c stops in wire.c. */
#ifndef MPROC__MANAGER_WIRE_H
#define MPROC__MANAGER_WIRE_H

#include <mproc/variant.h>
#include "platform/base.h"

enum {
    MPROC__WIRE_VERSION = 1,            /* the newest this build speaks, and */
    MPROC__WIRE_VERSION_LEAST = 1,      /* the oldest */
    MPROC__WIRE_HANDSHAKE_BYTES = 1024, /* no envelope of the handshake is longer */
    MPROC__WIRE_NAME_BYTES = 255,       /* no object name is longer */
    MPROC__WIRE_OVERHEAD_BYTES =
        1024, /* what an envelope adds to its args, name and story included, at most */
    MPROC__WIRE_STORY_BYTES = 384
};

/* The numbers of manager.proto; wire.c asserts that they agree. */
typedef enum mproc__wire_kind {
    MPROC__WIRE_NOTHING,
    MPROC__WIRE_REFUSAL,
    MPROC__WIRE_GREETING,
    MPROC__WIRE_HELLO,
    MPROC__WIRE_WELCOME,
    MPROC__WIRE_REQUEST,
    MPROC__WIRE_REPLY
} mproc__wire_kind;

typedef enum mproc__method {
    MPROC__METHOD_NONE = 0,
    MPROC__PING = 1,
    MPROC__NAMES,
    MPROC__UNLINK,
    MPROC__CREATE,
    MPROC__OPEN,
    MPROC__RELEASE,
    MPROC__CANCEL,
    MPROC__OBJECT_METHODS = 32, /* from here on methods of objects */
    MPROC__DICT_GET = 32,
    MPROC__DICT_SET,
    MPROC__DICT_REMOVE,
    MPROC__DICT_ADD,
    MPROC__DICT_COMPARE_SET,
    MPROC__DICT_COUNT,
    MPROC__DICT_COPY,
    MPROC__DICT_UPDATE,
    MPROC__LIST_GET = 64,
    MPROC__LIST_SET,
    MPROC__LIST_APPEND,
    MPROC__LIST_INSERT,
    MPROC__LIST_REMOVE,
    MPROC__LIST_COUNT,
    MPROC__LIST_SLICE,
    MPROC__LIST_SPLICE,
    MPROC__LOCK_ACQUIRE = 96,
    MPROC__LOCK_RELEASE,
    MPROC__LOCK_IS_HELD,
    MPROC__LOCK_REPAIR
} mproc__method;

typedef struct mproc__envelope {
    uint64_t id;
    mproc__wire_kind kind;
    mproc__method method;
    uint32_t type;
    bool hold, and_open;
    uint64_t object, life, holder, target, token, session, incarnation, max_message_bytes;
    int64_t timeout_us;
    int code;
    uint32_t version, version_least, pid;
    const char *name, *story; /* NULL or "": none. Decoded: borrowed from the decoder */
    const void *args;         /* an encoded variant. Decoded: borrowed from the decoder */
    size_t args_bytes;
} mproc__envelope;

/* Growing bytes to send: [taken, used) is still to go. */
typedef struct mproc__outbox {
    uint8_t *bytes;
    size_t taken, used, capacity;
} mproc__outbox;

void mproc__outbox_fini(mproc__outbox *outbox);
/* Room for `bytes` more behind `used`. -ENOMEM. */
int mproc__outbox_reserve(mproc__outbox *outbox, size_t bytes);
void mproc__outbox_took(mproc__outbox *outbox, size_t bytes);
static inline size_t mproc__outbox_left(const mproc__outbox *outbox)
{
    return outbox->used - outbox->taken;
}

/* Appends one frame with the envelope; `args` is the variant that goes with it (its args fields are not
 * looked at; NULL: none). -EMSGSIZE above max_bytes, MPROC_ECANNOTCROSS, MPROC_EARGUMENT, -ENOMEM: nothing
 * was appended. */
int mproc__wire_append(mproc__outbox *outbox, const mproc__envelope *envelope, const mproc_variant *args,
                       size_t max_bytes);
/* Appends a frame of another kind. */
int mproc__wire_append_raw(mproc__outbox *outbox, unsigned kind, const void *data, size_t size_bytes);

/* Keeps what a decoded envelope borrows. Its scratch memory serves small envelopes, so that they cost no
 * allocation. */
typedef struct mproc__decoder {
    void *message;
    size_t scratch_used;
    size_t budget; /* what decoding may still allocate */
    _Alignas(16) uint8_t scratch[1024];
} mproc__decoder;

/* From anybody's bytes: MPROC_EPROTOCOL with a story; nothing to free then. -ENOMEM. */
int mproc__wire_decode(mproc__decoder *decoder, const void *bytes, size_t size_bytes,
                       mproc__envelope *ret_envelope);
void mproc__wire_decoded(mproc__decoder *decoder); /* done with the envelope */

#endif
