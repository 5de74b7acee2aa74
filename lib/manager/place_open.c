/* SPDX-License-Identifier: BSD-2-Clause */
/* From an address to a place; and server places and their objects as parcels.
 *
 * A parcel names its server by address. So that many handles that come to a process share one connection, the
 * server places of a process are in a list, weakly. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "manager/proxy.h"
#include "platform/platform.h"
#include "platform/story.h"

MPROC__FORK_DATA static pthread_mutex_t directory_lock = PTHREAD_MUTEX_INITIALIZER;
static mproc__server_place *directory;

MPROC__FORK_TEXT static void directory_hold(void)
{
    pthread_mutex_lock(&directory_lock);
}

MPROC__FORK_TEXT static void directory_let(void)
{
    pthread_mutex_unlock(&directory_lock);
}

/* A fork in the middle of another thread's look must not leave the child with a taken lock. At the program's start: at the
 * first use it might come while another thread forks, too late for that child. */
__attribute__((constructor(101))) static void directory_begin(void)
{
    pthread_atfork(directory_hold, directory_let, directory_let);
}

static void directory_add(mproc__server_place *place)
{
    directory_hold();
    place->next = directory;
    directory = place;
    directory_let();
}

static void directory_remove(const mproc__server_place *place)
{
    directory_hold();
    mproc__server_place **at = &directory;
    while (*at && *at != place)
        at = &(*at)->next;
    if (*at)
        *at = place->next;
    directory_let();
}

/* One whose last reference goes at this moment is no longer to be had. */
static bool try_keep(mproc__handle *handle)
{
    uint32_t references = atomic_load(&handle->references);
    while (references > 0)
        if (atomic_compare_exchange_weak(&handle->references, &references, references + 1))
            return true;
    return false;
}

static mproc__server_place *directory_find(const char *address)
{
    directory_hold();
    mproc__server_place *at = directory;
    while (at && !(strcmp(at->place.address, address) == 0 && try_keep(&at->place.handle)))
        at = at->next;
    directory_let();
    return at;
}

/* ---- the operations of a server place ---- */

static mproc__server_place *server_of(mproc_place *place)
{
    return MPROC__CONTAINER(place, mproc__server_place, place);
}

static void place_destroy(mproc__handle *handle)
{
    mproc__server_place *place = server_of(MPROC__CONTAINER(handle, mproc_place, handle));
    directory_remove(place);
    mproc__server_place_destroy(place);
}

static int place_pack_self(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__place_pack(server_of(MPROC__CONTAINER(handle, mproc_place, handle)), MPROC_TYPE_PLACE, 0, 0,
                             parcel);
}

static int place_ask(mproc_place *place, mproc__envelope *request, bool changes, mproc_deadline deadline,
                     mproc_variant *ret_result)
{
    mproc__reply reply;
    mproc__request_options options = {.changes = changes, .deadline = deadline};
    int rc = mproc__session_call(server_of(place), request, &options, &reply);
    if (rc < 0)
        return mproc__handle_story(&place->handle, rc);
    if (ret_result)
        *ret_result = reply.result;
    else
        mproc_variant_clear(&reply.result);
    return rc;
}

static int place_ping(mproc_place *place, mproc_deadline deadline)
{
    return place_ask(place, &(mproc__envelope){.method = MPROC__PING}, false, deadline, NULL);
}

static int place_names(mproc_place *place, mproc_variant *ret_list)
{
    return place_ask(place, &(mproc__envelope){.method = MPROC__NAMES}, false,
                     mproc__server_place_limit(server_of(place)), ret_list);
}

static int place_unlink(mproc_place *place, const char *name)
{
    return place_ask(place, &(mproc__envelope){.method = MPROC__UNLINK, .name = name}, true,
                     mproc__server_place_limit(server_of(place)), NULL);
}

static const mproc__handle_ops place_ops = {
    .type = MPROC_TYPE_PLACE, .noun = "place", .destroy = place_destroy, .pack = place_pack_self};
static const mproc__server_place_ops server_ops = {.lock_create = mproc__proxy_lock_create,
                                                   .lock_open = mproc__proxy_lock_open,
                                                   .ping = place_ping,
                                                   .names = place_names,
                                                   .unlink = place_unlink};

static int server_open(const char *address, const mproc_place_options *options,
                       mproc__server_place **ret_place)
{
    static const mproc_place_options defaults = {.size = sizeof defaults};
    const char *path = address + strlen("unix:");
    if (path[0] == '\0' || strcmp(path, "@") == 0)
        return mproc__fail(-EINVAL, "'%s' has no path", address);
    if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return mproc__fail(-ENAMETOOLONG, "%s: too long for a socket", address);
    int rc = mproc__server_place_create(address, options ? options : &defaults, ret_place);
    if (rc < 0)
        return rc;
    mproc__handle_init(&(*ret_place)->place.handle, &place_ops);
    (*ret_place)->place.home = MPROC__HOME_SERVER;
    (*ret_place)->place.server = &server_ops;
    directory_add(*ret_place);
    return 0;
}

/* ---- addresses ---- */

static bool begins(const char *address, const char *scheme)
{
    return strncmp(address, scheme, strlen(scheme)) == 0;
}

static int address_resolve(const char *address, const char **ret_address)
{
    if (!address)
        return mproc__fail(-EINVAL, "the address of a place is NULL");
    *ret_address = address;
    if (strcmp(address, "env:") != 0)
        return 0;
    *ret_address = getenv("MPROC_PLACE");
    if (!*ret_address || !**ret_address)
        return mproc__fail(-EINVAL, "env: says to look at MPROC_PLACE, and that is not set");
    if (strcmp(*ret_address, "env:") == 0)
        return mproc__fail(-EINVAL, "MPROC_PLACE is env: itself");
    return 0;
}

static int address_unknown(const char *address)
{
    static const char *const schemes[] = {"private:", "tcp:", "tls:"};
    for (size_t i = 0; i < MPROC__COUNT(schemes); i++)
        if (begins(address, schemes[i]))
            return mproc__fail(
                MPROC_EPLACE,
                "%s: places are thread:, host:, shm:/NAME, unix:PATH, unix:@NAME and env:", address);
    return mproc__fail(
        -EINVAL, "'%s' is no place: thread:, host:, shm:/NAME, unix:PATH, unix:@NAME and env: are", address);
}

int mproc_place_open(const char *address, const mproc_place_options *options, mproc_place **ret_place)
{
    mproc__server_place *server = NULL;
    if (!ret_place)
        return mproc__fail(-EINVAL, "ret_place is NULL");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_place_options");
    if (rc == 0)
        rc = address_resolve(address, &address);
    if (rc < 0)
        return rc;
    if (strcmp(address, "thread:") == 0)
        return mproc__place_local(MPROC__HOME_THREAD, ret_place);
    if (strcmp(address, "host:") == 0)
        return mproc__place_local(MPROC__HOME_HOST, ret_place);
    if (begins(address, "shm:"))
        return mproc__place_shm(address, options, ret_place);
    if (!begins(address, "unix:"))
        return address_unknown(address);
    mproc__manager_register();
    rc = server_open(address, options, &server);
    if (rc == 0)
        *ret_place = &server->place;
    return rc;
}

/* ---- parcels ---- */

/* What a blob says; the address with its NUL follows. Both ends are on one machine: no byte order. */
typedef struct blob_head {
    char remote[MPROC__PARCEL_REMOTE_BYTES];
    uint64_t object, life;
    uint32_t type, address_bytes;
} blob_head;

int mproc__place_pack(const mproc__server_place *place, mproc_type_id type, uint64_t object, uint64_t life,
                      mproc__parcel *parcel)
{
    blob_head head = {.object = object,
                      .life = life,
                      .type = (uint32_t)type,
                      .address_bytes = (uint32_t)strlen(place->place.address) + 1};
    memcpy(head.remote, MPROC__PARCEL_REMOTE, sizeof head.remote);
    int rc = mproc__parcel_add_blob(parcel, &head, sizeof head);
    return rc < 0 ? rc : mproc__parcel_add_blob(parcel, place->place.address, head.address_bytes);
}

static int blob_read(const void *blob, size_t blob_bytes, blob_head *ret_head, const char **ret_address)
{
    if (blob_bytes < sizeof *ret_head)
        return mproc__fail(MPROC_EPROTOCOL, "a served object's handle came cut short");
    memcpy(ret_head, blob, sizeof *ret_head);
    const char *address = (const char *)blob + sizeof *ret_head;
    size_t left = blob_bytes - sizeof *ret_head;
    if (left == 0 || ret_head->address_bytes != left || address[left - 1] != '\0' ||
        strlen(address) != left - 1 || !begins(address, "unix:"))
        return mproc__fail(MPROC_EPROTOCOL, "a served object's handle came without a proper address");
    *ret_address = address;
    return 0;
}

static const mproc__proxy_type *proxy_type(uint32_t type)
{
    switch (type) {
    case MPROC_TYPE_DICT:
        return &mproc__proxy_dict;
    case MPROC_TYPE_LIST:
        return &mproc__proxy_list;
    case MPROC_TYPE_LOCK:
        return &mproc__proxy_lock;
    default:
        return NULL;
    }
}

static int place_for(const char *address, mproc__server_place **ret_place)
{
    *ret_place = directory_find(address);
    return *ret_place ? 0 : server_open(address, NULL, ret_place);
}

static int remote_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                         mproc__handle **ret_handle)
{
    (void)parcel;
    blob_head head;
    const char *address = NULL;
    mproc__server_place *place = NULL;
    mproc__proxy *proxy = NULL;
    int rc = blob_read(blob, blob_bytes, &head, &address);
    if (rc < 0)
        return rc;
    const mproc__proxy_type *type = proxy_type(head.type);
    if (!type && head.type != MPROC_TYPE_PLACE)
        return mproc__fail(MPROC_EPROTOCOL, "a served object of type %u came, which nobody here knows",
                           head.type);
    rc = place_for(address, &place);
    if (rc == 0 && !type) {
        *ret_handle = &place->place.handle;
    } else if (rc == 0) {
        rc = mproc__proxy_attach(place, type, head.object, head.life, &proxy);
        if (rc < 0)
            mproc__handle_release(&place->place.handle);
        else
            *ret_handle = &proxy->handle;
    }
    return rc;
}

void mproc__manager_register(void)
{
    mproc__parcel_register_remote(remote_unpack);
}
