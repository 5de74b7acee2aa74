/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants to bytes; variant.proto says how. */
#include "platform/base.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "data/encode.h"
#include "data/variant.h"
#include "data/variant.pb-c.h"

typedef struct encoder {
    uint8_t *bytes; /* NULL: only counts */
    size_t capacity;
    size_t used;
    bool grows;            /* bytes is from malloc and may move */
    mproc__parcel *parcel; /* NULL: handles and descriptors cannot cross */
} encoder;

static int encoder_reserve(encoder *out, size_t more)
{
    size_t capacity = out->capacity < 256 ? 256 : 2 * out->capacity;
    uint8_t *bytes;

    if (out->capacity - out->used >= more)
        return 0;
    if (!out->grows)
        return mproc__fail(-EMSGSIZE, "the buffer is too small for the value");
    if (capacity - out->used < more)
        capacity = out->used + more;
    bytes = realloc(out->bytes, capacity);
    if (!bytes)
        return mproc__fail(-ENOMEM, "no memory to encode a value of %zu bytes", capacity);
    out->bytes = bytes;
    out->capacity = capacity;
    return 0;
}

enum { NODE_SMALL_BYTES = 127, NODE_FIXED_BYTES = 40 };

/* Not less than the node will take: its bytes, and fields, tags and lengths of fixed size at their longest. */
static size_t node_bound(const Mproc__Node *node)
{
    size_t bound = NODE_FIXED_BYTES + node->key.len;

    if (node->kind_case == MPROC__NODE__KIND_TEXT || node->kind_case == MPROC__NODE__KIND_RAW)
        bound += node->raw.len;
    else if (node->kind_case == MPROC__NODE__KIND_HANDLE)
        bound += node->handle->blob.len;
    return bound;
}

/* A node whose length is one byte is packed straight behind it, without asking for its size first: that halves the time of
 * numbers and short texts, which most arguments are. */
static bool node_write_small(encoder *out, const Mproc__Node *node)
{
    size_t bound = node_bound(node), size_bytes;

    if (!out->bytes || bound > NODE_SMALL_BYTES || out->capacity - out->used < bound + 2)
        return false;
    size_bytes = mproc__node__pack(node, out->bytes + out->used + 2);
    MPROC__ASSERT(size_bytes <= bound);
    out->bytes[out->used] = MPROC__NODE_TAG;
    out->bytes[out->used + 1] = (uint8_t)size_bytes;
    out->used += size_bytes + 2;
    return true;
}

static uint8_t *varint_put(uint8_t *to, uint64_t number)
{
    for (; number > 0x7f; number >>= 7)
        *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

static uint8_t *real_put(uint8_t *to, double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof bits);
    bits = htole64(bits);
    memcpy(to, &bits, sizeof bits);
    return to + sizeof bits;
}

/* A number, or what a list begins with, without a node: most arguments and results are these. False: another, or no room. */
static bool number_write(encoder *out, mproc_variant value)
{
    uint8_t *begin, *at;

    if (!out->bytes || out->capacity - out->used < MPROC__NUMBER_BYTES + 2)
        return false;
    begin = out->bytes + out->used;
    at = begin + 2;
    if (value.kind == MPROC_KIND_DOUBLE) {
        *at = MPROC__REAL_TAG;
        at = real_put(at + 1, value.real);
    } else if (value.kind == MPROC_KIND_INT) {
        *at = MPROC__INTEGER_TAG;
        at = varint_put(at + 1, (uint64_t)value.number << 1 ^ (value.number < 0 ? UINT64_MAX : 0));
    } else if (value.kind == MPROC_KIND_LIST) {
        *at = MPROC__LIST_TAG;
        at = varint_put(at + 1, (uint64_t)value.number);
    } else {
        return false;
    }
    begin[0] = MPROC__NODE_TAG;
    begin[1] = (uint8_t)(at - begin - 2);
    out->used += (size_t)(at - begin);
    return true;
}

/* Tag and length of a node, at most 11 bytes; returns how many. */
static size_t frame_make(size_t node_bytes, uint8_t frame[16])
{
    frame[0] = MPROC__NODE_TAG;
    return (size_t)(varint_put(frame + 1, node_bytes) - frame);
}

static int node_write(encoder *out, const Mproc__Node *node)
{
    size_t node_bytes, frame_bytes;
    uint8_t frame[16];
    int code;

    if (node_write_small(out, node))
        return 0;
    node_bytes = mproc__node__get_packed_size(node);
    frame_bytes = frame_make(node_bytes, frame);
    if (out->bytes || out->grows) {
        code = encoder_reserve(out, frame_bytes + node_bytes);
        if (code < 0)
            return code;
        memcpy(out->bytes + out->used, frame, frame_bytes);
        mproc__node__pack(node, out->bytes + out->used + frame_bytes);
    }
    out->used += frame_bytes + node_bytes;
    return 0;
}

static int variant_write(encoder *out, mproc_variant value, const mproc_variant *key, unsigned depth);

/* What a list or dict holds, behind its beginning. */
static int items_write(encoder *out, mproc_variant value, unsigned depth)
{
    const mproc_variant *items = value.data;
    bool dict = value.kind == MPROC_KIND_DICT;
    int code = 0;

    if (depth >= MPROC__VARIANT_DEPTH)
        return mproc__fail(MPROC_EARGUMENT, "a value is deeper than %d levels", MPROC__VARIANT_DEPTH);
    for (int64_t i = 0; i < value.number && code == 0; i++)
        code = dict ? variant_write(out, items[2 * i + 1], &items[2 * i], depth + 1)
                    : variant_write(out, items[i], NULL, depth + 1);
    return code;
}

static int container_write(encoder *out, Mproc__Node *node, mproc_variant value, unsigned depth)
{
    int code;

    node->kind_case = value.kind == MPROC_KIND_DICT ? MPROC__NODE__KIND_DICT : MPROC__NODE__KIND_LIST;
    node->list = (uint64_t)value.number;
    code = node_write(out, node);
    return code < 0 ? code : items_write(out, value, depth);
}

static int cannot_cross(const mproc_variant *value)
{
    char what[128];

    if (value->kind == MPROC_KIND_HANDLE)
        mproc_describe(value->data, what, sizeof(what));
    else
        mproc_variant_print(*value, what, sizeof(what));
    return mproc__fail(MPROC_ECANNOTCROSS, "%s cannot go there", what);
}

static int handle_write(encoder *out, Mproc__Node *node, mproc_variant value)
{
    mproc__handle *handle = (mproc__handle *)value.data;
    Mproc__Handle message = MPROC__HANDLE__INIT;
    int code;

    if (mproc_type_of(handle) == MPROC_TYPE_NONE)
        return mproc__fail(MPROC_EARGUMENT, "a handle that is closed or none");
    if (!out->parcel || !handle->ops->pack)
        return cannot_cross(&value);
    out->parcel->blob_bytes = 0;
    code = out->parcel->lending ? out->parcel->lending->lend(out->parcel, handle)
                                : handle->ops->pack(handle, out->parcel);
    if (code < 0)
        return code == MPROC_ECANNOTCROSS ? cannot_cross(&value) : code;
    message.type = handle->type;
    message.blob = (ProtobufCBinaryData){.len = out->parcel->blob_bytes, .data = out->parcel->blob};
    node->kind_case = MPROC__NODE__KIND_HANDLE;
    node->handle = &message;
    return node_write(out, node);
}

static int fd_write(encoder *out, Mproc__Node *node, mproc_variant value)
{
    int code = out->parcel ? mproc__parcel_add_fd(out->parcel, (int)value.number) : MPROC_ECANNOTCROSS;

    if (code == 0 && fcntl((int)value.number, F_GETFD) < 0)
        return mproc__fail(-EBADF, "descriptor %d is not open", (int)value.number);
    if (code < 0)
        return code == MPROC_ECANNOTCROSS ? cannot_cross(&value) : code;
    node->kind_case = MPROC__NODE__KIND_FD;
    node->fd = 1;
    return node_write(out, node);
}

static int scalar_write(encoder *out, Mproc__Node *node, mproc_variant value)
{
    switch (value.kind) {
    case MPROC_KIND_NULL:
        node->kind_case = MPROC__NODE__KIND_NOTHING;
        node->nothing = 1;
        break;
    case MPROC_KIND_BOOL:
        node->kind_case = MPROC__NODE__KIND_TRUTH;
        node->truth = value.number != 0;
        break;
    case MPROC_KIND_INT:
        node->kind_case = MPROC__NODE__KIND_INTEGER;
        node->integer = value.number;
        break;
    default:
        node->kind_case = MPROC__NODE__KIND_REAL;
        node->real = value.real;
        break;
    }
    return node_write(out, node);
}

static ProtobufCBinaryData binary(mproc_variant value)
{
    return (ProtobufCBinaryData){.len = (size_t)value.number, .data = (uint8_t *)value.data};
}

static int bytes_write(encoder *out, Mproc__Node *node, mproc_variant value)
{
    /* text and raw share the union. */
    node->kind_case = value.kind == MPROC_KIND_TEXT ? MPROC__NODE__KIND_TEXT : MPROC__NODE__KIND_RAW;
    node->raw = binary(value);
    return node_write(out, node);
}

static int node_make(encoder *out, mproc_variant value, const mproc_variant *key, unsigned depth)
{
    Mproc__Node node = MPROC__NODE__INIT;

    if (key)
        node.key = binary(*key);
    switch (value.kind) {
    case MPROC_KIND_NULL:
    case MPROC_KIND_BOOL:
    case MPROC_KIND_INT:
    case MPROC_KIND_DOUBLE:
        return scalar_write(out, &node, value);
    case MPROC_KIND_TEXT:
    case MPROC_KIND_BYTES:
        return bytes_write(out, &node, value);
    case MPROC_KIND_LIST:
    case MPROC_KIND_DICT:
        return container_write(out, &node, value, depth);
    case MPROC_KIND_HANDLE:
        return handle_write(out, &node, value);
    case MPROC_KIND_FD:
        return fd_write(out, &node, value);
    case MPROC_KIND_POINTER:
        return cannot_cross(&value);
    default:
        return mproc__fail(MPROC_EARGUMENT, "%s", value.data ? (const char *)value.data : "an invalid value");
    }
}

static int variant_write(encoder *out, mproc_variant value, const mproc_variant *key, unsigned depth)
{
    if (key || !number_write(out, value))
        return node_make(out, value, key, depth);
    return value.kind == MPROC_KIND_LIST ? items_write(out, value, depth) : 0;
}

int mproc__variant_encoded_size(mproc_variant value, size_t *ret_size_bytes)
{
    encoder counter = {0};
    int code = variant_write(&counter, value, NULL, 0);

    if (code == 0)
        *ret_size_bytes = counter.used;
    return code;
}

int mproc__variant_encode_into(mproc_variant value, void *buffer, size_t capacity, size_t *ret_size_bytes)
{
    encoder out = {.bytes = buffer, .capacity = capacity};
    int code = variant_write(&out, value, NULL, 0);

    if (code == 0)
        *ret_size_bytes = out.used;
    return code;
}

int mproc__variant_encode(mproc_variant value, void *buffer, size_t size_bytes)
{
    size_t used;

    return mproc__variant_encode_into(value, buffer, size_bytes, &used);
}

int mproc__encode_parcel(mproc__parcel *parcel, mproc_variant value)
{
    encoder out = {.grows = true, .parcel = parcel};
    int code = variant_write(&out, value, NULL, 0);

    parcel->bytes = out.bytes;
    parcel->size_bytes = out.used;
    return code;
}

int mproc__parcel_check(mproc__parcel *parcel, mproc_variant value, unsigned depth)
{
    encoder counter = {.parcel = parcel};

    return variant_write(&counter, value, NULL, depth);
}
