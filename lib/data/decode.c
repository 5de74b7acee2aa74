/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes to variants. The bytes may come from anybody: every length is checked, depth has a bound, and memory is taken only in
 * proportion to what came. */
#include "platform/base.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "data/encode.h"
#include "data/variant.h"
#include "data/variant.pb-c.h"

typedef struct decoder {
    const uint8_t *at;
    const uint8_t *end;
    size_t unclaimed;      /* nodes that no list or dict has claimed as its items yet */
    mproc__parcel *parcel; /* NULL: no handles, no descriptors */
} decoder;

/* One unpacked node, and the memory protobuf-c uses for it: nodes are small, so that most need no malloc. */
typedef struct node_box {
    ProtobufCAllocator allocator;
    Mproc__Node *node;
    size_t used;
    bool no_memory;     /* why there is no node: protobuf-c does not tell */
    Mproc__Node number; /* the node, when it is no more than a number; only key, kind and that are set */
    _Alignas(max_align_t) uint8_t bytes[384];
} node_box;

static void *box_alloc(void *context, size_t size_bytes)
{
    node_box *box = context;
    size_t left = sizeof(box->bytes) - box->used;
    void *memory;

    if (size_bytes <= left && mproc__round_up(size_bytes, _Alignof(max_align_t)) <= left) {
        memory = box->bytes + box->used;
        box->used += mproc__round_up(size_bytes, _Alignof(max_align_t));
        return memory;
    }
    memory = malloc(size_bytes);
    box->no_memory |= !memory;
    return memory;
}

static void box_free(void *context, void *pointer)
{
    node_box *box = context;
    uintptr_t offset = (uintptr_t)pointer - (uintptr_t)box->bytes;

    if (offset >= sizeof(box->bytes))
        free(pointer);
}

static int protocol_error(const char *what)
{
    return mproc__fail(MPROC_EPROTOCOL, "a received value is damaged: %s", what);
}

/* Steps over the frame of the next node: field 1, length-delimited. Lengths of more than 4 bytes are more than any message
 * of ours may have. */
static int frame_next(decoder *in, const uint8_t **ret_bytes, size_t *ret_size_bytes)
{
    size_t size_bytes = 0;
    unsigned shift = 0;

    if (in->at == in->end || *in->at++ != MPROC__NODE_TAG)
        return protocol_error("no node where one must be");
    do {
        if (in->at == in->end || shift > 63)
            return protocol_error("a length ends early");
        size_bytes |= (size_t)(*in->at & 0x7f) << shift;
        shift += 7;
    } while (*in->at++ & 0x80);
    if (size_bytes > (size_t)(in->end - in->at))
        return protocol_error("a node is longer than the rest");
    *ret_bytes = in->at;
    *ret_size_bytes = size_bytes;
    in->at += size_bytes;
    return 0;
}

/* All of the bytes; false: they are none, or one of more than 63 bits. */
static bool varint_get(const uint8_t *bytes, size_t size_bytes, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (size_bytes == 0 || size_bytes > 9 || bytes[size_bytes - 1] > 0x7f)
        return false;
    for (size_t i = 0; i < size_bytes; i++) {
        if (i + 1 < size_bytes && bytes[i] <= 0x7f)
            return false;
        number |= (uint64_t)(bytes[i] & 0x7f) << 7 * i;
    }
    *ret_number = number;
    return true;
}

static double real_get(const uint8_t *bytes)
{
    uint64_t bits;
    double real;

    memcpy(&bits, bytes, sizeof bits);
    bits = le64toh(bits);
    memcpy(&real, &bits, sizeof real);
    return real;
}

static bool number_read(node_box *box, const uint8_t *bytes, size_t size_bytes)
{
    Mproc__Node *node = &box->number;
    uint64_t number;

    node->key = (ProtobufCBinaryData){.len = 0, .data = NULL};
    if (size_bytes == MPROC__REAL_BYTES && bytes[0] == MPROC__REAL_TAG) {
        node->kind_case = MPROC__NODE__KIND_REAL;
        node->real = real_get(bytes + 1);
        return true;
    }
    if (size_bytes < 2 || (bytes[0] != MPROC__INTEGER_TAG && bytes[0] != MPROC__LIST_TAG) ||
        !varint_get(bytes + 1, size_bytes - 1, &number))
        return false;
    if (bytes[0] == MPROC__LIST_TAG) {
        node->kind_case = MPROC__NODE__KIND_LIST;
        node->list = number;
    } else {
        node->kind_case = MPROC__NODE__KIND_INTEGER;
        node->integer = (int64_t)(number >> 1 ^ (number & 1 ? UINT64_MAX : 0));
    }
    return true;
}

static int box_open(node_box *box, decoder *in)
{
    const uint8_t *bytes;
    size_t size_bytes;
    int code = frame_next(in, &bytes, &size_bytes);

    if (code < 0)
        return code;
    if (number_read(box, bytes, size_bytes)) {
        box->node = &box->number;
        return 0;
    }
    box->allocator = (ProtobufCAllocator){.alloc = box_alloc, .free = box_free, .allocator_data = box};
    box->used = 0;
    box->no_memory = false;
    box->node = mproc__node__unpack(&box->allocator, size_bytes, bytes);
    if (box->no_memory)
        return mproc__fail(-ENOMEM, "no memory to decode %zu bytes", size_bytes);
    return box->node ? 0 : protocol_error("a node is no node");
}

static void box_close(node_box *box)
{
    if (box->node != &box->number)
        mproc__node__free_unpacked(box->node, &box->allocator);
}

/* A list or dict may claim only as many items as there are nodes left: what it allocates is in proportion to what came. */
static int items_claim(decoder *in, uint64_t count)
{
    if (count > in->unclaimed)
        return protocol_error("more items are announced than come");
    in->unclaimed -= (size_t)count;
    return 0;
}

static int node_read(decoder *in, const Mproc__Node *node, unsigned depth, mproc_variant *ret_value);

static int item_read(decoder *in, unsigned depth, mproc_variant *container)
{
    mproc_variant item;
    node_box box;
    int code = box_open(&box, in);

    if (code < 0)
        return code;
    code = node_read(in, box.node, depth, &item);
    if (code == 0) {
        const char *key = box.node->key.data ? (const char *)box.node->key.data : "";

        code = container->kind == MPROC_KIND_DICT
                   ? mproc__variant_set_owned(container, key, box.node->key.len, item, true)
                   : mproc__variant_append_owned(container, item);
        if (code < 0)
            mproc_variant_clear(&item);
    }
    box_close(&box);
    return code == MPROC_EARGUMENT || code == -EEXIST ? protocol_error("a key is not UTF-8 or comes twice")
                                                      : code;
}

static int items_read(decoder *in, mproc_kind kind, uint64_t count, unsigned depth, mproc_variant *ret_value)
{
    mproc_variant made;
    int code = depth < MPROC__VARIANT_DEPTH ? items_claim(in, count) : protocol_error("too deep");

    if (code == 0)
        code = mproc__variant_make(kind, (size_t)count, &made);
    if (code < 0)
        return code;
    for (uint64_t i = 0; i < count && code == 0; i++)
        code = item_read(in, depth + 1, &made);
    if (code < 0)
        mproc_variant_clear(&made);
    else
        *ret_value = made;
    return code;
}

static int handle_read(decoder *in, const Mproc__Handle *message, mproc_variant *ret_value)
{
    mproc__handle *handle;
    int code;

    if (!in->parcel)
        return protocol_error("a handle where none can be");
    code =
        mproc__parcel_open_handle(in->parcel, message->type, message->blob.data, message->blob.len, &handle);
    if (code == 0)
        *ret_value =
            (mproc_variant){.kind = MPROC_KIND_HANDLE, .flags = MPROC__VARIANT_OWNED, .data = handle};
    return code;
}

static int fd_read(decoder *in, mproc_variant *ret_value)
{
    int fd = in->parcel ? mproc__parcel_take_fd(in->parcel) : -1;

    if (fd < 0)
        return protocol_error("a descriptor is named and did not come");
    *ret_value = (mproc_variant){.kind = MPROC_KIND_FD, .flags = MPROC__VARIANT_OWNED, .number = fd};
    return 0;
}

static int text_read(ProtobufCBinaryData text, mproc_variant *ret_value)
{
    if (!mproc__utf8_valid((const char *)text.data, text.len))
        return protocol_error("a text is not UTF-8");
    return mproc__variant_own_bytes(MPROC_KIND_TEXT, text.data, text.len, ret_value);
}

static int node_read(decoder *in, const Mproc__Node *node, unsigned depth, mproc_variant *ret_value)
{
    switch (node->kind_case) {
    case MPROC__NODE__KIND_NOTHING:
        *ret_value = mproc_null();
        return 0;
    case MPROC__NODE__KIND_TRUTH:
        *ret_value = mproc_bool(node->truth);
        return 0;
    case MPROC__NODE__KIND_INTEGER:
        *ret_value = mproc_int(node->integer);
        return 0;
    case MPROC__NODE__KIND_REAL:
        *ret_value = mproc_double(node->real);
        return 0;
    case MPROC__NODE__KIND_TEXT:
        return text_read(node->text, ret_value);
    case MPROC__NODE__KIND_RAW:
        return mproc__variant_own_bytes(MPROC_KIND_BYTES, node->raw.data, node->raw.len, ret_value);
    case MPROC__NODE__KIND_LIST:
        return items_read(in, MPROC_KIND_LIST, node->list, depth, ret_value);
    case MPROC__NODE__KIND_DICT:
        return items_read(in, MPROC_KIND_DICT, node->dict, depth, ret_value);
    case MPROC__NODE__KIND_HANDLE:
        return handle_read(in, node->handle, ret_value);
    case MPROC__NODE__KIND_FD:
        return fd_read(in, ret_value);
    default:
        return protocol_error("a node of unknown kind");
    }
}

/* Counts the nodes by their frames alone; leaves the decoder at the beginning. */
static int nodes_count(decoder *in)
{
    const uint8_t *begin = in->at, *bytes;
    size_t size_bytes;
    int code = 0;

    for (in->unclaimed = 0; in->at < in->end && code == 0; in->unclaimed++)
        code = frame_next(in, &bytes, &size_bytes);
    in->at = begin;
    return code;
}

static int value_read(decoder *in, mproc_variant *ret_value)
{
    mproc_variant value;
    node_box box;
    int code = nodes_count(in);

    if (code == 0)
        code = box_open(&box, in);
    if (code < 0)
        return code;
    in->unclaimed--;
    code = node_read(in, box.node, 0, &value);
    box_close(&box);
    if (code == 0 && in->at != in->end) {
        mproc_variant_clear(&value);
        code = protocol_error("there is more behind the value");
    }
    if (code == 0)
        *ret_value = value;
    return code;
}

int mproc__variant_decode(const void *bytes, size_t size_bytes, mproc_variant *ret_value)
{
    decoder in = {.at = bytes};

    in.end = size_bytes > 0 ? in.at + size_bytes : in.at; /* no bytes may be NULL, which has no sums */
    return value_read(&in, ret_value);
}

int mproc__parcel_unpack(mproc__parcel *parcel, mproc_variant *ret_value)
{
    decoder in = {.at = parcel->bytes, .parcel = parcel};

    in.end = parcel->size_bytes > 0 ? in.at + parcel->size_bytes : in.at;
    return value_read(&in, ret_value);
}
