/* SPDX-License-Identifier: BSD-2-Clause */
/* Places: the half that needs no server. mproc_place_open, which knows all homes, is in lib/manager. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "shm/place.h"

static void local_destroy(mproc__handle *handle)
{
    mproc_place *place = MPROC__CONTAINER(handle, mproc_place, handle);
    mproc__handle_fini(handle);
    free(place->address);
    free(place);
}

static const mproc__handle_ops local_ops = {
    .type = MPROC_TYPE_PLACE, .noun = "place", .destroy = local_destroy};

int mproc__place_local(mproc__home home, mproc_place **ret_place)
{
    MPROC__ASSERT(home != MPROC__HOME_SERVER);
    mproc_place *place = calloc(1, sizeof(*place));
    char *address = strdup(home == MPROC__HOME_THREAD ? "thread:" : "host:");
    if (!place || !address) {
        free(place);
        free(address);
        return mproc__fail(-ENOMEM, "no memory for a place");
    }
    mproc__handle_init(&place->handle, &local_ops);
    place->home = home;
    place->address = address;
    *ret_place = place;
    return 0;
}

int mproc__place_home(mproc_place *place, mproc__home *ret_home)
{
    int code = place ? mproc__handle_check(place, MPROC_TYPE_PLACE) : 0;
    if (code == 0)
        *ret_home = place ? place->home : MPROC__HOME_HOST;
    return code;
}

void mproc_place_close(mproc_place **place)
{
    mproc__handle_close((void **)place, MPROC_TYPE_PLACE);
}

const char *mproc_place_address(const mproc_place *place)
{
    mproc__home home = MPROC__HOME_HOST;
    if (mproc__place_home((mproc_place *)place, &home) < 0)
        return NULL;
    return place ? place->address : "host:";
}

int mproc_place_ping(mproc_place *place, mproc_deadline deadline)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code < 0 || home != MPROC__HOME_SERVER)
        return code;
    return place->server->ping(place, deadline);
}

int mproc_place_names(mproc_place *place, mproc_variant *ret_list)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !ret_list)
        code = mproc__fail(-EINVAL, "nowhere to put the list");
    if (code < 0)
        return code;
    return home == MPROC__HOME_SERVER ? place->server->names(place, ret_list)
                                      : mproc__names_list(home, ret_list);
}

int mproc_place_unlink(mproc_place *place, const char *name)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !name)
        code = mproc__fail(-EINVAL, "no name given");
    if (code < 0)
        return code;
    return home == MPROC__HOME_SERVER ? place->server->unlink(place, name)
                                      : mproc__names_remove_name(home, name);
}
