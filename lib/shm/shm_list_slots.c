/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots of a shareable list: one value each, replaced in one step. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/variant.h"
#include "platform/story.h"
#include "shm/shm_list.h"

/* ---- values as bytes ---- */

/* What a value is in a half: `length` bytes at `bytes`, or a number's bits. */
typedef struct slot_value {
    mproc_kind kind;
    size_t length;
    const void *bytes; /* NULL: bits */
    uint64_t bits;
} slot_value;

static bool is_bytes(uint32_t kind)
{
    return kind == MPROC_KIND_TEXT || kind == MPROC_KIND_BYTES;
}

static slot_value value_of(mproc_variant variant)
{
    slot_value value = {.kind = (mproc_kind)variant.kind, .length = sizeof(value.bits)};
    if (is_bytes(variant.kind)) {
        value.bytes = variant.number ? variant.data : "";
        value.length = (size_t)variant.number;
    } else if (variant.kind == MPROC_KIND_NULL)
        value.length = 0;
    else if (variant.kind == MPROC_KIND_DOUBLE)
        memcpy(&value.bits, &variant.real, sizeof(value.bits));
    else if (variant.kind == MPROC_KIND_BOOL)
        value.bits = variant.number != 0;
    else
        value.bits = (uint64_t)variant.number;
    return value;
}

int mproc__slot_value_check(mproc_variant value)
{
    if (value.kind > MPROC_KIND_BYTES)
        return mproc__fail(MPROC_EARGUMENT, "%s cannot be in a shareable list", mproc__kind_name(value.kind));
    if (!is_bytes(value.kind))
        return 0;
    if (value.number < 0 || (value.number > 0 && !value.data))
        return mproc__fail(MPROC_EARGUMENT, "%s without its bytes", mproc__kind_name(value.kind));
    if (value.number > MPROC__SLOT_BYTES_MAX)
        return mproc__fail(-EMSGSIZE, "%lld bytes in one slot, where %d can be", (long long)value.number,
                           MPROC__SLOT_BYTES_MAX);
    if (value.kind == MPROC_KIND_TEXT && !mproc__utf8_valid(value.data, (size_t)value.number))
        return mproc__fail(MPROC_EARGUMENT, "a text that is not UTF-8");
    return 0;
}

size_t mproc__slot_room(mproc_variant value)
{
    size_t length = is_bytes(value.kind) ? (size_t)value.number : 0;
    return MPROC__SLOT_UNIT * (length / MPROC__SLOT_UNIT + 1);
}

/* ---- words and halves ---- */

static uint64_t word_make(uint32_t sequence, mproc_kind kind, size_t length)
{
    return (uint64_t)sequence << 32 | (uint64_t)kind << MPROC__SLOT_LENGTH_BITS | length;
}

static uint32_t word_sequence(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static mproc_kind word_kind(uint64_t word)
{
    return (mproc_kind)(word >> MPROC__SLOT_LENGTH_BITS & ((1 << MPROC__SLOT_KIND_BITS) - 1));
}

static size_t word_length(uint64_t word)
{
    return word & MPROC__SLOT_BYTES_MAX;
}

static _Atomic uint64_t *half_at(mproc__segment *segment, const mproc__slot_shared *slot, uint32_t sequence)
{
    unsigned char *root = mproc__segment_root(segment);
    return (_Atomic uint64_t *)(void *)(root + slot->offset + (sequence & 1 ? slot->room : 0));
}

/* Unit by unit. A release store each, as the reader's loads acquire: a reader that meets one of these units must then also
 * see the word that its writer found, which differs from the one that led the reader here. */
static void half_write(_Atomic uint64_t *half, const slot_value *value)
{
    const unsigned char *from = value->bytes ? value->bytes : (const void *)&value->bits;
    for (size_t done = 0; done < value->length; done += MPROC__SLOT_UNIT, half++) {
        size_t rest = value->length - done;
        uint64_t unit = 0;
        memcpy(&unit, from + done, rest < sizeof(unit) ? rest : sizeof(unit));
        atomic_store_explicit(half, unit, memory_order_release);
    }
}

static void half_read(const _Atomic uint64_t *half, unsigned char *to, size_t length)
{
    for (size_t done = 0; done < length; done += MPROC__SLOT_UNIT, half++) {
        size_t rest = length - done;
        uint64_t unit = atomic_load_explicit(half, memory_order_acquire);
        memcpy(to + done, &unit, rest < sizeof(unit) ? rest : sizeof(unit));
    }
}

bool mproc__slot_fill(mproc__segment *segment, mproc__slot_shared *slot, mproc_variant variant)
{
    slot_value value = value_of(variant);
    if (value.length > slot->room)
        return false;
    half_write(half_at(segment, slot, 0), &value);
    atomic_store_explicit(&slot->word, word_make(0, value.kind, value.length), memory_order_release);
    return true;
}

static int damaged(mproc_shm_list *list, size_t index, const char *what)
{
    return mproc__handle_fail(&list->handle, MPROC_ECORRUPT, "slot %zu of a shareable list %s", index, what);
}

/* Where the slot says its halves are, before anything is touched there. */
static int slot_check(mproc_shm_list *list, size_t index, mproc__slot_shared *ret_slot)
{
    mproc__slot_shared *slot = &list->shared->slots[index];
    size_t size = mproc__segment_size(list->segment);
    size_t least = sizeof(mproc__shm_list_shared) + list->count * sizeof(mproc__slot_shared);
    ret_slot->offset = slot->offset;
    ret_slot->room = slot->room;
    if (ret_slot->room == 0 || ret_slot->offset < least ||
        (ret_slot->room | ret_slot->offset) % MPROC__SLOT_UNIT || ret_slot->offset > size ||
        ret_slot->room > (size - ret_slot->offset) / 2)
        return damaged(list, index, "lies outside");
    return 0;
}

/* The word, of a kind and length that can be. */
static int word_check(mproc_shm_list *list, size_t index, size_t room, uint64_t *ret_word)
{
    uint64_t word = atomic_load_explicit(&list->shared->slots[index].word, memory_order_acquire);
    mproc_kind kind = word_kind(word);
    size_t length = word_length(word);
    bool fits = is_bytes(kind) ? length <= room : length == (kind == MPROC_KIND_NULL ? 0 : sizeof(uint64_t));
    if (kind > MPROC_KIND_BYTES || !fits)
        return damaged(list, index, "holds no value");
    *ret_word = word;
    return 0;
}

int mproc__slot_look(mproc_shm_list *list, size_t index, mproc_kind *ret_kind, size_t *ret_room)
{
    mproc__slot_shared slot;
    uint64_t word;
    int code = slot_check(list, index, &slot);
    if (code == 0)
        code = word_check(list, index, slot.room, &word);
    if (code < 0)
        return code;
    *ret_kind = word_kind(word);
    *ret_room = slot.room;
    return 0;
}

/* ---- reading ---- */

/* Copies what `word` names into memory for it; false: a writer finished meanwhile, and nothing is copied. */
static bool half_copy(mproc_shm_list *list, size_t index, const mproc__slot_shared *slot, uint64_t word,
                      void *to)
{
    half_read(half_at(list->segment, slot, word_sequence(word)), to, word_length(word));
    return atomic_load_explicit(&list->shared->slots[index].word, memory_order_relaxed) == word;
}

static int number_read(mproc_shm_list *list, size_t index, mproc_kind kind, uint64_t bits,
                       mproc_variant *ret_value)
{
    double real;
    memcpy(&real, &bits, sizeof(real));
    if (kind == MPROC_KIND_BOOL && bits > 1)
        return damaged(list, index, "holds no truth value");
    *ret_value = kind == MPROC_KIND_NULL   ? mproc_null()
                 : kind == MPROC_KIND_BOOL ? mproc_bool(bits != 0)
                 : kind == MPROC_KIND_INT  ? mproc_int((int64_t)bits)
                                           : mproc_double(real);
    return 0;
}

/* Takes `bytes`. */
static int bytes_read(mproc_shm_list *list, size_t index, uint64_t word, unsigned char *bytes,
                      mproc_variant *ret_value)
{
    size_t length = word_length(word);
    bytes[length] = '\0';
    if (word_kind(word) == MPROC_KIND_TEXT && !mproc__utf8_valid((const char *)bytes, length)) {
        free(bytes);
        return damaged(list, index, "holds a text that is not UTF-8");
    }
    *ret_value = (mproc_variant){.kind = (uint32_t)word_kind(word),
                                 .flags = MPROC__VARIANT_OWNED,
                                 .number = (int64_t)length,
                                 .data = bytes};
    return 0;
}

static int slot_copy(mproc_shm_list *list, size_t index, const mproc__slot_shared *slot, uint64_t word,
                     bool *ret_whole, mproc_variant *ret_value)
{
    uint64_t bits = 0;
    if (!is_bytes(word_kind(word))) {
        *ret_whole = half_copy(list, index, slot, word, &bits);
        return *ret_whole ? number_read(list, index, word_kind(word), bits, ret_value) : 0;
    }
    unsigned char *bytes = malloc(word_length(word) + 1);
    if (!bytes)
        return mproc__handle_fail(&list->handle, -ENOMEM, "no memory for %zu bytes", word_length(word));
    *ret_whole = half_copy(list, index, slot, word, bytes);
    if (*ret_whole)
        return bytes_read(list, index, word, bytes, ret_value);
    free(bytes);
    return 0;
}

int mproc__slot_read(mproc_shm_list *list, size_t index, mproc_variant *ret_value)
{
    mproc__slot_shared slot;
    bool whole = false;
    int code = slot_check(list, index, &slot);
    while (code == 0 && !whole) {
        uint64_t word;
        code = word_check(list, index, slot.room, &word);
        if (code == 0)
            code = slot_copy(list, index, &slot, word, &whole, ret_value);
    }
    return code;
}

/* ---- one slot: the public calls ---- */

/* Counts negative ones from the end. */
static int index_resolve(mproc_shm_list *list, int64_t index, size_t *ret_index)
{
    int64_t count = (int64_t)list->count;
    if (index < -count || index >= count)
        return mproc__handle_fail(&list->handle, MPROC_EKEY, "index %lld of a list with %lld slots",
                                  (long long)index, (long long)count);
    *ret_index = (size_t)(index < 0 ? index + count : index);
    return 0;
}

static int list_check(mproc_shm_list *list)
{
    int code = mproc__handle_check(list, MPROC_TYPE_SHM_LIST);
    if (code < 0)
        return code;
    code = mproc__segment_check(list->segment);
    return code < 0 ? mproc__handle_story(&list->handle, code) : 0;
}

int mproc_shm_list_get(mproc_shm_list *list, int64_t index, mproc_variant *ret_value)
{
    size_t at = 0;
    int code = list_check(list);
    if (code == 0 && !ret_value)
        code = mproc__handle_fail(&list->handle, -EINVAL, "nowhere to put the value");
    if (code == 0)
        code = index_resolve(list, index, &at);
    return code == 0 ? mproc__slot_read(list, at, ret_value) : code;
}

/* The turn of the last writer may have ended with its life: there is nothing to repair. */
static int writers_acquire(mproc_shm_list *list, mproc_deadline deadline)
{
    mproc__robust_shared *writers = &list->shared->writers;
    int code = mproc__robust_acquire(writers, MPROC_NOW);
    if (code == -ETIMEDOUT && deadline.ns != 0) {
        int slot = mproc__waiting_begin(list->segment, MPROC__WAIT_ACQUIRE);
        code = mproc__robust_acquire(writers, deadline);
        mproc__waiting_end(list->segment, slot);
    }
    if (code == -ETIMEDOUT)
        return code;
    return code < 0 ? mproc__handle_story(&list->handle, code) : 0;
}

static void slot_replace(mproc_shm_list *list, size_t index, const mproc__slot_shared *slot,
                         const slot_value *value)
{
    _Atomic uint64_t *word = &list->shared->slots[index].word;
    uint32_t next = word_sequence(atomic_load_explicit(word, memory_order_relaxed)) + 1;
    half_write(half_at(list->segment, slot, next), value);
    atomic_store_explicit(word, word_make(next, value->kind, value->length), memory_order_release);
}

int mproc_shm_list_set(mproc_shm_list *list, int64_t index, mproc_variant variant, mproc_deadline deadline)
{
    mproc__slot_shared slot;
    size_t at = 0;
    int code = list_check(list);
    if (code == 0)
        code = index_resolve(list, index, &at);
    if (code < 0)
        return code;
    code =
        mproc__segment_enter(list->segment); /* the number in the writers' lock must mean the same to all */
    if (code < 0)
        return mproc__handle_story(&list->handle, code);
    code = mproc__slot_value_check(variant);
    if (code < 0)
        return mproc__handle_story(&list->handle, code);
    code = slot_check(list, at, &slot);
    if (code < 0)
        return code;
    slot_value value = value_of(variant);
    if (value.length > slot.room)
        return mproc__handle_fail(&list->handle, -EMSGSIZE, "%zu bytes for slot %zu, which has room for %zu",
                                  value.length, at, (size_t)slot.room);
    code = writers_acquire(list, deadline);
    if (code < 0)
        return code;
    slot_replace(list, at, &slot, &value);
    mproc__robust_release(&list->shared->writers);
    return 0;
}
