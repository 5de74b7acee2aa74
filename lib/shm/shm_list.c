/* SPDX-License-Identifier: BSD-2-Clause */
/* Shareable lists: made, found, copied, and what is asked of all slots. One slot: shm_list_slots.c. */
#include "platform/base.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/variant.h"
#include "platform/story.h"
#include "shm/explain.h"
#include "shm/shm_list.h"

static inline mproc_shm_list *list_of(const mproc__handle *handle)
{
    return MPROC__CONTAINER((uintptr_t)handle, mproc_shm_list, handle);
}

/* ---- the handle ---- */

static void list_destroy(mproc__handle *handle)
{
    mproc_shm_list *list = list_of(handle);
    mproc__names_remove(handle);
    mproc__segment_release(list->segment);
    mproc__handle_fini(handle);
    free(list);
}

static int list_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__noun_pack(list_of(handle)->segment, parcel);
}

static int list_values(mproc_shm_list *list, mproc_variant *ret_list)
{
    mproc_variant made, value;
    int code = mproc__variant_make(MPROC_KIND_LIST, list->count, &made);
    for (size_t i = 0; code == 0 && i < list->count; i++) {
        code = mproc__slot_read(list, i, &value);
        if (code == 0 && (code = mproc__variant_append_owned(&made, value)) < 0)
            mproc_variant_clear(&value);
        if (code < 0)
            mproc_variant_clear(&made);
    }
    if (code == 0)
        *ret_list = made;
    return code;
}

/* With its content; without, when that cannot be had. */
static int list_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    mproc_shm_list *list = list_of(handle);
    const char *name = mproc__segment_name(list->segment);
    mproc_variant values = mproc_null();
    int length = snprintf(buffer, size_bytes, "shm_list%s%s of %zu on %s", *name ? " " : "", name,
                          list->count, mproc__noun_home_text(list->segment));
    if (length < 0 || mproc__segment_check(list->segment) < 0 || list_values(list, &values) < 0)
        return length;
    bool room = (size_t)length + 2 < size_bytes;
    if (room)
        snprintf(buffer + length, size_bytes - (size_t)length, ": ");
    int more = mproc_variant_print(values, room ? buffer + length + 2 : NULL,
                                   room ? size_bytes - (size_t)length - 2 : 0);
    mproc_variant_clear(&values);
    return length + 2 + more;
}

static const mproc__handle_ops list_ops = {.type = MPROC_TYPE_SHM_LIST,
                                           .noun = "shm_list",
                                           .destroy = list_destroy,
                                           .describe = list_describe,
                                           .pack = list_pack};

static bool count_fits(uint64_t count, size_t size_bytes)
{
    return count <= (size_bytes - sizeof(mproc__shm_list_shared)) / sizeof(mproc__slot_shared);
}

static int list_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc__shm_list_shared *shared = mproc__segment_root(segment);
    uint64_t count = shared->count;
    if (!count_fits(count, mproc__segment_size(segment)))
        return mproc__fail(MPROC_ECORRUPT, "a shareable list with more slots than its memory holds");
    mproc_shm_list *list = calloc(1, sizeof(*list));
    if (!list)
        return mproc__fail(-ENOMEM, "no memory for a shareable list");
    mproc__handle_init(&list->handle, &list_ops);
    list->segment = segment;
    list->shared = shared;
    list->count = count;
    *ret_handle = &list->handle;
    return 0;
}

static void list_explain(const void *root, size_t size_bytes, struct mproc__report *report)
{
    const mproc__shm_list_shared *shared = root;
    (void)size_bytes;
    pid_t writer = (pid_t)(atomic_load(mproc__robust_word(&shared->writers)) & FUTEX_TID_MASK);
    mproc__report_state(report, "%llu slots", (unsigned long long)shared->count);
    if (writer)
        mproc__report_holder(report, 0, writer, "writer");
}

const mproc__noun mproc__shm_list_noun = {
    .type = MPROC_TYPE_SHM_LIST,
    .word = "shm_list",
    .least_bytes = sizeof(mproc__shm_list_shared),
    .attach = list_attach,
    .explain = list_explain,
};

/* ---- made ---- */

typedef struct list_making {
    mproc_variant values;
    mproc_shm_list *source; /* whose rooms the slots get; NULL: from the values */
    size_t size_bytes;
} list_making;

static int room_of(const list_making *making, size_t index, size_t *ret_room)
{
    mproc_kind kind;
    if (making->source)
        return mproc__slot_look(making->source, index, &kind, ret_room);
    *ret_room = mproc__slot_room(mproc_variant_at(making->values, index));
    return 0;
}

/* A source is memory that others write: its rooms must be what they were when they were measured. */
static int list_build(mproc__segment *segment, const void *how)
{
    const list_making *making = how;
    mproc__shm_list_shared *shared = mproc__segment_root(segment);
    size_t count = mproc_variant_count(making->values);
    size_t offset = sizeof(*shared) + count * sizeof(mproc__slot_shared), room = 0;
    mproc__robust_init(&shared->writers, mproc__segment_shared(segment));
    shared->count = count;
    for (size_t i = 0; i < count; i++, offset += 2 * room) {
        mproc_variant value = mproc_variant_at(making->values, i);
        int code = room_of(making, i, &room);
        if (code < 0)
            return code;
        shared->slots[i].offset = offset;
        shared->slots[i].room = room;
        if (room > (making->size_bytes - offset) / 2 || !mproc__slot_fill(segment, &shared->slots[i], value))
            return mproc__fail(MPROC_ECORRUPT, "slot %zu of the source changes its size", i);
    }
    return 0;
}

/* Looks at every value and adds up what they take. */
static int making_measure(list_making *making)
{
    size_t room = 0;
    if (making->values.kind != MPROC_KIND_LIST && making->values.kind != MPROC_KIND_NULL)
        return mproc__fail(MPROC_EARGUMENT, "the slots of a shareable list are made from a list, not from %s",
                           mproc__kind_name(making->values.kind));
    size_t count = mproc_variant_count(making->values);
    making->size_bytes = sizeof(mproc__shm_list_shared) + count * sizeof(mproc__slot_shared);
    for (size_t i = 0; i < count; i++) {
        int code = mproc__slot_value_check(mproc_variant_at(making->values, i));
        if (code == 0)
            code = room_of(making, i, &room);
        if (code < 0)
            return code;
        if (making->size_bytes > SIZE_MAX / 4 || 2 * room > SIZE_MAX / 4 - making->size_bytes)
            return mproc__fail(-ENOMEM, "no room for a list of that size"); /* of 32 bits */
        making->size_bytes += 2 * room;
    }
    return 0;
}

static int list_make(mproc_place *place, list_making *how, const mproc_shm_list_options *options,
                     mproc_shm_list **ret_list)
{
    mproc__home home = MPROC__HOME_HOST;
    mproc__handle *handle;
    int code = mproc__place_home(place, &home);
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no shareable lists, but lists that also grow");
    if (code == 0)
        code = making_measure(how);
    if (code < 0)
        return code;
    const mproc__making making = {
        .noun = &mproc__shm_list_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = how->size_bytes,
        .build = list_build,
        .how = how,
    };
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_list = list_of(handle);
    return code;
}

static int options_check(const mproc_shm_list_options *options, mproc_shm_list **ret_list)
{
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_shm_list_options");
    return code == 0 && !ret_list ? mproc__fail(-EINVAL, "nowhere to put the list") : code;
}

int mproc_shm_list_create(mproc_place *place, mproc_variant values, const mproc_shm_list_options *options,
                          mproc_shm_list **ret_list)
{
    int code = options_check(options, ret_list);
    list_making how = {.values = values};
    return code == 0 ? list_make(place, &how, options, ret_list) : code;
}

int mproc_shm_list_open(mproc_place *place, const char *name, mproc_shm_list **ret_list)
{
    mproc__home home = MPROC__HOME_HOST;
    mproc__handle *handle;
    int code = mproc__place_home(place, &home);
    if (code == 0 && (!name || !ret_list))
        code = mproc__fail(-EINVAL, "no name, or nowhere to put the list");
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no shareable lists");
    if (code == 0)
        code = mproc__noun_open(&mproc__shm_list_noun, place, name, &handle);
    if (code == 0)
        *ret_list = list_of(handle);
    return code;
}

void mproc_shm_list_close(mproc_shm_list **list)
{
    mproc__handle_close((void **)list, MPROC_TYPE_SHM_LIST);
}

/* ---- all slots ---- */

size_t mproc_shm_list_count(const mproc_shm_list *list)
{
    return mproc__handle_check(list, MPROC_TYPE_SHM_LIST) == 0 ? list->count : 0;
}

static int query_check(mproc_shm_list *list, const void *result)
{
    int code = mproc__handle_check(list, MPROC_TYPE_SHM_LIST);
    if (code == 0 && !result)
        return mproc__handle_fail(&list->handle, -EINVAL, "nowhere to put the result");
    if (code == 0 && (code = mproc__segment_check(list->segment)) < 0)
        return mproc__handle_story(&list->handle, code);
    return code;
}

int mproc_shm_list_values(mproc_shm_list *list, mproc_variant *ret_list)
{
    int code = query_check(list, ret_list);
    return code == 0 ? list_values(list, ret_list) : code;
}

int mproc_shm_list_copy(mproc_shm_list *list, mproc_place *place, const mproc_shm_list_options *options,
                        mproc_shm_list **ret_copy)
{
    int code = query_check(list, ret_copy);
    if (code == 0)
        code = options_check(options, ret_copy);
    if (code == 0 && options && options->and_open)
        code = mproc__fail(-EINVAL, "a copy is a new list");
    list_making how = {.source = list};
    if (code == 0)
        code = list_values(list, &how.values);
    if (code < 0)
        return code;
    code = list_make(place, &how, options, ret_copy);
    mproc_variant_clear(&how.values);
    return code;
}

/* Slots from *index on; 1: found, at *index; 0: none. */
static int slot_find(mproc_shm_list *list, mproc_variant value, size_t *index)
{
    mproc_variant seen;
    int code = 0;
    for (; *index < list->count; ++*index) {
        code = mproc__slot_read(list, *index, &seen);
        if (code < 0)
            return code;
        bool equal = mproc_variant_equal(seen, value);
        mproc_variant_clear(&seen);
        if (equal)
            return 1;
    }
    return 0;
}

int mproc_shm_list_find(mproc_shm_list *list, mproc_variant value, size_t *ret_index)
{
    size_t index = 0;
    int code = query_check(list, ret_index);
    if (code == 0)
        code = slot_find(list, value, &index);
    else
        return code;
    if (code == 0)
        return mproc__handle_fail(&list->handle, MPROC_EKEY, "no slot holds that value");
    if (code < 0)
        return code;
    *ret_index = index;
    return 0;
}

int mproc_shm_list_occurrences(mproc_shm_list *list, mproc_variant value, size_t *ret_count)
{
    size_t count = 0, index = 0;
    int code = query_check(list, ret_count);
    if (code < 0)
        return code;
    for (; (code = slot_find(list, value, &index)) > 0; index++)
        count++;
    if (code == 0)
        *ret_count = count;
    return code;
}

static int format_append(mproc_shm_list *list, size_t index, mproc_variant *formats)
{
    mproc_variant format;
    mproc_kind kind;
    size_t room;
    int code = mproc__slot_look(list, index, &kind, &room);
    if (code == 0)
        code = mproc__variant_make(MPROC_KIND_DICT, 2, &format);
    if (code < 0)
        return code;
    code = mproc_variant_set(&format, "kind", mproc_text(mproc__kind_name(kind)));
    if (code == 0)
        code = mproc_variant_set(&format, "room", mproc_int((int64_t)room));
    if (code == 0)
        code = mproc__variant_append_owned(formats, format);
    if (code < 0)
        mproc_variant_clear(&format);
    return code;
}

int mproc_shm_list_formats(mproc_shm_list *list, mproc_variant *ret_list)
{
    mproc_variant formats;
    int code = query_check(list, ret_list);
    if (code == 0)
        code = mproc__variant_make(MPROC_KIND_LIST, list->count, &formats);
    if (code < 0)
        return code;
    for (size_t i = 0; code == 0 && i < list->count; i++)
        code = format_append(list, i, &formats);
    if (code == 0)
        *ret_list = formats;
    else
        mproc_variant_clear(&formats);
    return code;
}
