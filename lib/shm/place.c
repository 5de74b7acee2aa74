/* SPDX-License-Identifier: BSD-2-Clause */
/* Places: the half that needs no server. mproc_place_open, which knows all homes, is in lib/manager. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "shm/named.h"
#include "shm/place.h"

/* An owner's place in a fork child is a copy, and the child owns nothing. */
static void local_destroy(mproc__handle *handle)
{
    mproc_place *place = MPROC__CONTAINER(handle, mproc_place, handle);
    if (place->incarnation == mproc__incarnation())
        (void)mproc__named_unlink_group(place->group);
    mproc__handle_fini(handle);
    free(place->address);
    free(place);
}

static const mproc__handle_ops local_ops = {
    .type = MPROC_TYPE_PLACE, .noun = "place", .destroy = local_destroy};

static int place_new(mproc__home home, const char *text, mproc_place **ret_place)
{
    mproc_place *place = calloc(1, sizeof(*place));
    char *address = strdup(text);
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

int mproc__place_local(mproc__home home, mproc_place **ret_place)
{
    MPROC__ASSERT(home == MPROC__HOME_HOST || home == MPROC__HOME_THREAD);
    return place_new(home, home == MPROC__HOME_THREAD ? "thread:" : "host:", ret_place);
}

static int shm_address_check(const char *address, const mproc_place_options *options)
{
    const char *rest = address + strlen("shm:");
    if (*rest == '/')
        return mproc__file_part_check(rest + 1, "a place");
    if (*rest != '\0')
        return mproc__fail(-EINVAL, "'%s' is no place: shm: and shm:/NAME are", address);
    if (options && options->owner)
        return mproc__fail(-EINVAL, "nobody owns all of shm: open shm:/NAME");
    return 0;
}

int mproc__place_shm(const char *address, const mproc_place_options *options, mproc_place **ret_place)
{
    mproc_place *place;
    int code = shm_address_check(address, options);
    if (code == 0)
        code = place_new(MPROC__HOME_SHM, address, &place);
    if (code < 0)
        return code;
    place->group = place->address + strlen(place->address[strlen("shm:")] ? "shm:/" : "shm:");
    place->persist = options && options->persist;
    place->incarnation = options && options->owner ? mproc__incarnation() : 0;
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
    switch (home) {
    case MPROC__HOME_SERVER:
        return place->server->names(place, ret_list);
    case MPROC__HOME_SHM:
        return mproc__named_list(place->group, ret_list);
    default:
        return mproc__names_list(home, ret_list);
    }
}

static int file_unlink(const mproc_place *place, const char *name)
{
    char file[MPROC__FILE_BYTES];
    int code = mproc__file_name(place->group, name, file);
    return code < 0 ? code : mproc__named_unlink(file);
}

int mproc_place_unlink(mproc_place *place, const char *name)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !name)
        code = mproc__fail(-EINVAL, "no name given");
    if (code < 0)
        return code;
    switch (home) {
    case MPROC__HOME_SERVER:
        return place->server->unlink(place, name);
    case MPROC__HOME_SHM:
        return file_unlink(place, name);
    default:
        return mproc__names_remove_name(home, name);
    }
}
