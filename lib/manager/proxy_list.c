/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <mproc/data.h>
#include "manager/proxy.h"
#include "platform/story.h"

struct mproc_list {
    mproc__proxy proxy;
};

static const mproc__handle_ops list_ops = {.type = MPROC_TYPE_LIST,
                                           .noun = "list",
                                           .destroy = mproc__proxy_destroy,
                                           .describe = mproc__proxy_describe,
                                           .pack = mproc__proxy_pack};
const mproc__proxy_type mproc__proxy_list = {&list_ops, sizeof(struct mproc_list)};

static mproc_list *list_of(mproc__proxy *proxy)
{
    return MPROC__CONTAINER(proxy, mproc_list, proxy);
}

int mproc_list_create(mproc_place *place, const mproc_data_options *options, mproc_list **ret_list)
{
    mproc__proxy *proxy = NULL;
    if (!ret_list)
        return mproc__fail(-EINVAL, "ret_list is NULL");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_data_options");
    if (rc < 0)
        return rc;
    rc = options ? mproc__proxy_create(place, &mproc__proxy_list, options->name, options->and_open,
                                       options->initial, &proxy)
                 : mproc__proxy_create(place, &mproc__proxy_list, NULL, false, mproc_null(), &proxy);
    if (rc == 0)
        *ret_list = list_of(proxy);
    return rc;
}

int mproc_list_open(mproc_place *place, const char *name, mproc_list **ret_list)
{
    mproc__proxy *proxy = NULL;
    if (!ret_list)
        return mproc__fail(-EINVAL, "ret_list is NULL");
    int rc = mproc__proxy_open(place, &mproc__proxy_list, name, &proxy);
    if (rc == 0)
        *ret_list = list_of(proxy);
    return rc;
}

void mproc_list_close(mproc_list **list)
{
    mproc__handle_close((void **)list, MPROC_TYPE_LIST);
}

static int run(mproc_list *list, const mproc__proxy_call *call, mproc_variant *ret_result)
{
    int rc = mproc__handle_check(list, MPROC_TYPE_LIST);
    return rc < 0 ? rc : mproc__proxy_run(&list->proxy, call, ret_result);
}

int mproc_list_get(mproc_list *list, int64_t index, mproc_variant *ret_item)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_GET, false, 1, {mproc_int(index)}}, ret_item);
}

int mproc_list_set(mproc_list *list, int64_t index, mproc_variant item)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_SET, true, 2, {mproc_int(index), item}}, NULL);
}

int mproc_list_append(mproc_list *list, mproc_variant item)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_APPEND, true, 1, {item}}, NULL);
}

int mproc_list_insert(mproc_list *list, int64_t index, mproc_variant item)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_INSERT, true, 2, {mproc_int(index), item}}, NULL);
}

int mproc_list_remove(mproc_list *list, int64_t index, mproc_variant *ret_item)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_REMOVE, true, 1, {mproc_int(index)}}, ret_item);
}

int mproc_list_count(mproc_list *list, size_t *ret_count)
{
    int rc = mproc__handle_check(list, MPROC_TYPE_LIST);
    return rc < 0 ? rc : mproc__proxy_run_count(&list->proxy, MPROC__LIST_COUNT, ret_count);
}

int mproc_list_slice(mproc_list *list, int64_t first, int64_t end, mproc_variant *ret_list)
{
    return run(list, &(mproc__proxy_call){MPROC__LIST_SLICE, false, 2, {mproc_int(first), mproc_int(end)}},
               ret_list);
}

int mproc_list_splice(mproc_list *list, int64_t first, int64_t end, mproc_variant items)
{
    return run(list,
               &(mproc__proxy_call){MPROC__LIST_SPLICE, true, 3, {mproc_int(first), mproc_int(end), items}},
               NULL);
}
