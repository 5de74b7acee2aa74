/* SPDX-License-Identifier: BSD-2-Clause */
/* Making, calling and letting go of handles to served objects. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "manager/proxy.h"
#include "platform/story.h"

static mproc__proxy *proxy_of(mproc__handle *handle)
{
    return MPROC__CONTAINER(handle, mproc__proxy, handle);
}

int mproc__proxy_attach(mproc__server_place *place, const mproc__proxy_type *type, uint64_t object,
                        uint64_t life, mproc__proxy **ret_proxy)
{
    mproc__proxy *proxy = calloc(1, type->size_bytes);
    if (!proxy)
        return mproc__fail(-ENOMEM, "no memory for the handle of a %s", type->ops->noun);
    mproc__handle_init(&proxy->handle, type->ops);
    proxy->place = place;
    proxy->object = object;
    proxy->life = life;
    atomic_init(&proxy->session, 0);
    *ret_proxy = proxy;
    return 0;
}

static int server_place(mproc_place *place, const char *noun, mproc__server_place **ret_place)
{
    mproc__home home = MPROC__HOME_HOST;
    int rc = mproc__place_home(place, &home);
    if (rc < 0)
        return rc;
    if (home != MPROC__HOME_SERVER)
        return mproc__fail(MPROC_EPLACE,
                           "a %s lives on a server: open a place at unix:PATH, where managerd listens", noun);
    *ret_place = MPROC__CONTAINER(place, mproc__server_place, place);
    return 0;
}

/* Says goodbye to what was just made and cannot be had. */
static void object_release(mproc__server_place *place, uint64_t session, uint64_t object, uint64_t life)
{
    mproc__envelope release = {.method = MPROC__RELEASE, .object = object, .life = life};
    mproc__session_tell(place, session, &release);
}

static int make(mproc_place *place, const mproc__proxy_type *type, mproc__envelope *request,
                const mproc_variant *args, mproc__proxy **ret_proxy)
{
    mproc__server_place *server = NULL;
    mproc__reply reply;
    int rc = server_place(place, type->ops->noun, &server);
    if (rc < 0)
        return rc;
    mproc__request_options options = {
        .args = args, .changes = args != NULL, .deadline = mproc__server_place_limit(server)};
    request->type = (uint32_t)type->ops->type;
    rc = mproc__session_call(server, request, &options, &reply);
    if (rc < 0)
        return mproc__handle_story(&place->handle, rc);
    mproc_variant_clear(&reply.result);
    rc = mproc__proxy_attach(server, type, reply.object, request->life, ret_proxy);
    if (rc < 0) {
        object_release(server, request->session, reply.object, request->life);
        return rc;
    }
    mproc__handle_keep(&place->handle);
    atomic_store(&(*ret_proxy)->session, request->session);
    return 0;
}

int mproc__proxy_create(mproc_place *place, const mproc__proxy_type *type, const char *name, bool and_open,
                        mproc_variant args, mproc__proxy **ret_proxy)
{
    mproc__envelope request = {.method = MPROC__CREATE, .name = name, .and_open = and_open};
    if (name && !*name)
        return mproc__fail(-EINVAL, "an empty name: NULL is an object without one");
    return make(place, type, &request, &args, ret_proxy);
}

int mproc__proxy_open(mproc_place *place, const mproc__proxy_type *type, const char *name,
                      mproc__proxy **ret_proxy)
{
    mproc__envelope request = {.method = MPROC__OPEN, .name = name};
    if (!name)
        return mproc__fail(-EINVAL, "no name given");
    return make(place, type, &request, NULL, ret_proxy);
}

/* ---- calls ---- */

int mproc__proxy_run(mproc__proxy *proxy, const mproc__proxy_call *call, mproc_variant *ret_result)
{
    mproc__reply reply;
    mproc_variant args = mproc_items(call->args, call->count);
    mproc__envelope request = {.method = call->method, .object = proxy->object, .life = proxy->life};
    mproc__request_options options = {.args = call->count > 0 ? &args : NULL,
                                      .changes = call->changes,
                                      .deadline = mproc__server_place_limit(proxy->place),
                                      .holder_session = &proxy->session};
    int rc = mproc__session_call(proxy->place, &request, &options, &reply);
    if (rc < 0)
        return mproc__handle_story(&proxy->handle, rc);
    if (ret_result)
        *ret_result = reply.result;
    else
        mproc_variant_clear(&reply.result);
    return rc;
}

int mproc__proxy_run_count(mproc__proxy *proxy, mproc__method method, size_t *ret_count)
{
    mproc_variant result = mproc_null();
    const mproc__proxy_call call = {.method = method};
    if (!ret_count)
        return mproc__handle_fail(&proxy->handle, -EINVAL, "ret_count is NULL");
    int rc = mproc__proxy_run(proxy, &call, &result);
    if (rc < 0)
        return rc;
    if (result.kind == MPROC_KIND_INT && result.number >= 0)
        *ret_count = (size_t)result.number;
    else
        rc = mproc__handle_fail(&proxy->handle, MPROC_EPROTOCOL,
                                "the server answered something that is no count");
    mproc_variant_clear(&result);
    return rc;
}

/* ---- operations ---- */

void mproc__proxy_destroy(mproc__handle *handle)
{
    mproc__proxy *proxy = proxy_of(handle);
    uint64_t session = atomic_load(&proxy->session);
    if (session != 0)
        object_release(proxy->place, session, proxy->object, proxy->life);
    mproc__handle_release(&proxy->place->place.handle);
    mproc__handle_fini(handle);
    free(proxy);
}

int mproc__proxy_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc__proxy *proxy = MPROC__CONTAINER(handle, const mproc__proxy, handle);
    return snprintf(buffer, size_bytes, "%s %llu at %s", handle->ops->noun, (unsigned long long)proxy->object,
                    proxy->place->place.address);
}

int mproc__proxy_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    const mproc__proxy *proxy = proxy_of(handle);
    return mproc__place_pack(proxy->place, handle->ops->type, proxy->object, proxy->life, parcel);
}
