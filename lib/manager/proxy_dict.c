/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <mproc/data.h>
#include "manager/proxy.h"
#include "platform/story.h"

struct mproc_dict {
    mproc__proxy proxy;
};

static const mproc__handle_ops dict_ops = {.type = MPROC_TYPE_DICT,
                                           .noun = "dict",
                                           .destroy = mproc__proxy_destroy,
                                           .describe = mproc__proxy_describe,
                                           .pack = mproc__proxy_pack};
const mproc__proxy_type mproc__proxy_dict = {&dict_ops, sizeof(struct mproc_dict)};

static mproc_dict *dict_of(mproc__proxy *proxy)
{
    return MPROC__CONTAINER(proxy, mproc_dict, proxy);
}

int mproc_dict_create(mproc_place *place, const mproc_data_options *options, mproc_dict **ret_dict)
{
    mproc__proxy *proxy = NULL;
    if (!ret_dict)
        return mproc__fail(-EINVAL, "ret_dict is NULL");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_data_options");
    if (rc < 0)
        return rc;
    rc = options ? mproc__proxy_create(place, &mproc__proxy_dict, options->name, options->and_open,
                                       options->initial, &proxy)
                 : mproc__proxy_create(place, &mproc__proxy_dict, NULL, false, mproc_null(), &proxy);
    if (rc == 0)
        *ret_dict = dict_of(proxy);
    return rc;
}

int mproc_dict_open(mproc_place *place, const char *name, mproc_dict **ret_dict)
{
    mproc__proxy *proxy = NULL;
    if (!ret_dict)
        return mproc__fail(-EINVAL, "ret_dict is NULL");
    int rc = mproc__proxy_open(place, &mproc__proxy_dict, name, &proxy);
    if (rc == 0)
        *ret_dict = dict_of(proxy);
    return rc;
}

void mproc_dict_close(mproc_dict **dict)
{
    mproc__handle_close((void **)dict, MPROC_TYPE_DICT);
}

static int run(mproc_dict *dict, const mproc__proxy_call *call, mproc_variant *ret_result)
{
    int rc = mproc__handle_check(dict, MPROC_TYPE_DICT);
    return rc < 0 ? rc : mproc__proxy_run(&dict->proxy, call, ret_result);
}

int mproc_dict_get(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item)
{
    return run(dict, &(mproc__proxy_call){MPROC__DICT_GET, false, 1, {key}}, ret_item);
}

int mproc_dict_set(mproc_dict *dict, mproc_variant key, mproc_variant item)
{
    return run(dict, &(mproc__proxy_call){MPROC__DICT_SET, true, 2, {key, item}}, NULL);
}

int mproc_dict_remove(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item)
{
    return run(dict, &(mproc__proxy_call){MPROC__DICT_REMOVE, true, 1, {key}}, ret_item);
}

int mproc_dict_add(mproc_dict *dict, mproc_variant key, mproc_variant delta, mproc_variant *ret_new)
{
    return run(dict, &(mproc__proxy_call){MPROC__DICT_ADD, true, 2, {key, delta}}, ret_new);
}

int mproc_dict_compare_set(mproc_dict *dict, mproc_variant key, mproc_variant expected, mproc_variant item,
                           bool *ret_set)
{
    mproc_variant result = mproc_null();
    bool set = false;
    int rc =
        run(dict, &(mproc__proxy_call){MPROC__DICT_COMPARE_SET, true, 3, {key, expected, item}}, &result);
    if (rc < 0)
        return rc;
    if (mproc_variant_get_bool(result, &set) < 0)
        rc = mproc__handle_fail(&dict->proxy.handle, MPROC_EPROTOCOL,
                                "the server answered something that is no bool");
    else if (ret_set)
        *ret_set = set;
    mproc_variant_clear(&result);
    return rc;
}

int mproc_dict_count(mproc_dict *dict, size_t *ret_count)
{
    int rc = mproc__handle_check(dict, MPROC_TYPE_DICT);
    return rc < 0 ? rc : mproc__proxy_run_count(&dict->proxy, MPROC__DICT_COUNT, ret_count);
}

int mproc_dict_copy(mproc_dict *dict, mproc_variant *ret_pairs)
{
    return run(dict, &(mproc__proxy_call){.method = MPROC__DICT_COPY}, ret_pairs);
}

int mproc_dict_update(mproc_dict *dict, mproc_variant pairs)
{
    return run(dict, &(mproc__proxy_call){MPROC__DICT_UPDATE, true, 1, {pairs}}, NULL);
}
