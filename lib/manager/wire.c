/* SPDX-License-Identifier: BSD-2-Clause */
/* Envelopes to bytes and back. Besides L1's variants, the only user of protobuf-c. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"
#include "data/parcel.h"
#include "manager/manager.pb-c.h"
#include "manager/wire.h"
#include "platform/story.h"

_Static_assert((int)MPROC__WIRE_REPLY == (int)MPROC__WIRE__KIND__REPLY, "kinds differ from manager.proto");
_Static_assert((int)MPROC__CANCEL == (int)MPROC__WIRE__METHOD__CANCEL, "methods differ from manager.proto");
_Static_assert((int)MPROC__DICT_UPDATE == (int)MPROC__WIRE__METHOD__DICT_UPDATE,
               "methods differ from manager.proto");
_Static_assert((int)MPROC__LIST_SPLICE == (int)MPROC__WIRE__METHOD__LIST_SPLICE,
               "methods differ from manager.proto");
_Static_assert((int)MPROC__LOCK_REPAIR == (int)MPROC__WIRE__METHOD__LOCK_REPAIR,
               "methods differ from manager.proto");

/* ---- outbox ---- */

void mproc__outbox_fini(mproc__outbox *outbox)
{
    free(outbox->bytes);
    *outbox = (mproc__outbox){0};
}

int mproc__outbox_reserve(mproc__outbox *outbox, size_t bytes)
{
    if (MPROC__LIKELY(outbox->capacity - outbox->used >= bytes))
        return 0;
    if (outbox->taken > 0) {
        memmove(outbox->bytes, outbox->bytes + outbox->taken, mproc__outbox_left(outbox));
        outbox->used -= outbox->taken;
        outbox->taken = 0;
    }
    size_t needed = outbox->used + bytes, capacity = outbox->capacity < 4096 ? 4096 : outbox->capacity;
    if (needed < bytes)
        return mproc__fail(-ENOMEM, "%zu bytes to send do not fit the address space", bytes);
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    if (capacity == outbox->capacity)
        return 0;
    uint8_t *grown = realloc(outbox->bytes, capacity);
    if (!grown)
        return mproc__fail(-ENOMEM, "no memory for %zu bytes to send", capacity);
    outbox->bytes = grown;
    outbox->capacity = capacity;
    return 0;
}

void mproc__outbox_took(mproc__outbox *outbox, size_t bytes)
{
    enum {
        KEEP_BYTES = 256 * 1024
    }; /* one large message must not pin its buffer for the life of a connection */
    outbox->taken += bytes;
    if (outbox->taken < outbox->used)
        return;
    outbox->taken = outbox->used = 0;
    if (outbox->capacity > KEEP_BYTES)
        mproc__outbox_fini(outbox);
}

/* ---- encoding ---- */

static char *text_field(const char *text)
{
    return text ? (char *)(uintptr_t)text : (char *)(uintptr_t) "";
}

static void message_fill(Mproc__Wire__Envelope *message, const mproc__envelope *from)
{
    message->id = from->id;
    message->kind = (Mproc__Wire__Kind)from->kind;
    message->method = (Mproc__Wire__Method)from->method;
    message->type = from->type;
    message->object = from->object;
    message->life = from->life;
    message->holder = from->holder;
    message->timeout_us = from->timeout_us;
    message->hold = from->hold;
    message->and_open = from->and_open;
    message->name = text_field(from->name);
    message->code = from->code;
    message->story = text_field(from->story);
    message->token = from->token;
    message->target = from->target;
    message->version = from->version;
    message->version_least = from->version_least;
    message->max_message_bytes = from->max_message_bytes;
    message->incarnation = from->incarnation;
    message->session = from->session;
    message->pid = from->pid;
}

static int message_append(mproc__outbox *outbox, const Mproc__Wire__Envelope *message, size_t max_bytes)
{
    size_t size = mproc__wire__envelope__get_packed_size(message);
    if (size > max_bytes)
        return mproc__fail(-EMSGSIZE, "a message of %zu bytes is above the limit of %zu", size, max_bytes);
    int rc = mproc__outbox_reserve(outbox, MPROC__FRAME_HEADER_BYTES + size);
    if (rc < 0)
        return rc;
    mproc__frame_header(outbox->bytes + outbox->used, MPROC__FRAME_MANAGER, size);
    mproc__wire__envelope__pack(message, outbox->bytes + outbox->used + MPROC__FRAME_HEADER_BYTES);
    outbox->used += MPROC__FRAME_HEADER_BYTES + size;
    return 0;
}

int mproc__wire_append(mproc__outbox *outbox, const mproc__envelope *envelope, const mproc_variant *args,
                       size_t max_bytes)
{
    Mproc__Wire__Envelope message = MPROC__WIRE__ENVELOPE__INIT;
    uint8_t small[512], *bytes = small;
    size_t size = 0;
    message_fill(&message, envelope);
    if (args) {
        int rc = mproc__variant_encoded_size(*args, &size);
        if (rc < 0)
            return rc;
        if (size > max_bytes)
            return mproc__fail(-EMSGSIZE, "a value of %zu bytes is above the limit of %zu", size, max_bytes);
        if (size > sizeof small && !(bytes = malloc(size)))
            return mproc__fail(-ENOMEM, "no memory for a value of %zu bytes", size);
        rc = mproc__variant_encode(*args, bytes, size);
        if (rc < 0) {
            if (bytes != small)
                free(bytes);
            return rc;
        }
        message.args = (ProtobufCBinaryData){size, bytes};
    }
    int rc = message_append(outbox, &message, max_bytes);
    if (bytes != small)
        free(bytes);
    return rc;
}

int mproc__wire_append_raw(mproc__outbox *outbox, unsigned kind, const void *data, size_t size_bytes)
{
    int rc = mproc__outbox_reserve(outbox, MPROC__FRAME_HEADER_BYTES + size_bytes);
    if (rc < 0)
        return rc;
    mproc__frame_header(outbox->bytes + outbox->used, kind, size_bytes);
    if (size_bytes > 0)
        memcpy(outbox->bytes + outbox->used + MPROC__FRAME_HEADER_BYTES, data, size_bytes);
    outbox->used += MPROC__FRAME_HEADER_BYTES + size_bytes;
    return 0;
}

/* ---- decoding ---- */

/* protobuf-c keeps unknown fields, 24 bytes and an allocation each: without the budget a hostile message of
 * two-byte fields would take 25 times its size in memory. */
static void *scratch_alloc(void *context, size_t size)
{
    mproc__decoder *decoder = context;
    size_t rounded = mproc__round_up(size, 16);
    if (rounded < size || rounded > decoder->budget)
        return NULL;
    decoder->budget -= rounded;
    if (rounded > sizeof decoder->scratch - decoder->scratch_used)
        return malloc(size);
    void *memory = decoder->scratch + decoder->scratch_used;
    decoder->scratch_used += rounded;
    return memory;
}

static void scratch_free(void *context, void *memory)
{
    mproc__decoder *decoder = context;
    uintptr_t at = (uintptr_t)memory, scratch = (uintptr_t)decoder->scratch;
    if (at < scratch || at >= scratch + sizeof decoder->scratch)
        free(memory);
}

static ProtobufCAllocator scratch_allocator(mproc__decoder *decoder)
{
    return (ProtobufCAllocator){scratch_alloc, scratch_free, decoder};
}

static void envelope_fill(mproc__envelope *to, const Mproc__Wire__Envelope *message)
{
    *to = (mproc__envelope){
        .id = message->id,
        .kind = (mproc__wire_kind)message->kind,
        .method = (mproc__method)message->method,
        .type = message->type,
        .hold = message->hold,
        .and_open = message->and_open,
        .object = message->object,
        .life = message->life,
        .holder = message->holder,
        .target = message->target,
        .token = message->token,
        .session = message->session,
        .incarnation = message->incarnation,
        .max_message_bytes = message->max_message_bytes,
        .timeout_us = message->timeout_us,
        .code = message->code,
        .version = message->version,
        .version_least = message->version_least,
        .pid = message->pid,
        .name = message->name,
        .story = message->story,
        .args = message->args.data,
        .args_bytes = message->args.len,
    };
}

int mproc__wire_decode(mproc__decoder *decoder, const void *bytes, size_t size_bytes,
                       mproc__envelope *ret_envelope)
{
    ProtobufCAllocator allocator = scratch_allocator(decoder);
    decoder->scratch_used = 0;
    decoder->budget = size_bytes + 16384;
    Mproc__Wire__Envelope *message = mproc__wire__envelope__unpack(&allocator, size_bytes, bytes);
    decoder->message = message;
    if (!message)
        return mproc__fail(MPROC_EPROTOCOL, "%zu bytes that are no message of the protocol", size_bytes);
    envelope_fill(ret_envelope, message);
    return 0;
}

void mproc__wire_decoded(mproc__decoder *decoder)
{
    ProtobufCAllocator allocator = scratch_allocator(decoder);
    mproc__wire__envelope__free_unpacked(decoder->message, &allocator);
    decoder->message = NULL;
}
