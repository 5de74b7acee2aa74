/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/handle.h"
#include "platform/platform.h"
#include "shm/noun.h"
#include "sync/noun_faults.h"

enum { BLOCKED_MS = 25, OCCUPIED = 1, HOMES = 2 };

static const mproc__home homes[HOMES] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};
static const char *const home_names[HOMES] = {"host", "thread"};

/* What a case is about; the scene points to it. */
typedef struct subject {
    const noun_case *noun;
    unsigned home;
} subject;

typedef struct scene {
    const subject *about;
    mproc_place *place;
    void *object, *other;
    pid_t occupant;
    pthread_t thread;
    _Atomic int *stage; /* of the occupant */
    int fd;
} scene;

_Static_assert(sizeof(scene) <= FAULT_SCENE_BYTES, "the scene fits");

static bool is_host(const scene *s)
{
    return homes[s->about->home] == MPROC__HOME_HOST;
}

static int place_setup(void *context)
{
    scene *s = context;
    s->fd = -1;
    return mproc__place_local(homes[s->about->home], &s->place) == 0 ? 0 : 1;
}

static int object_setup(void *context)
{
    scene *s = context;
    int code = place_setup(s);
    return code ? code : s->about->noun->create(s->place, "first", &s->object) == 0 ? 0 : 2;
}

static void close_object(const noun_case *noun, void **object)
{
    mproc__handle_close(object, noun->type);
}

static void scene_cleanup(void *context)
{
    scene *s = context;
    close_object(s->about->noun, &s->other);
    close_object(s->about->noun, &s->object);
    if (s->fd >= 0)
        close(s->fd);
    mproc_place_close(&s->place);
}

static int use(scene *s, void *object)
{
    return s->about->noun->use(object) >= 0 ? 0 : 10;
}

/* ---- what another process does with what it was sent ---- */

static int pack(scene *s, mproc__parcel *parcel)
{
    const mproc__handle *handle = s->object;
    memset(parcel, 0, sizeof(*parcel));
    parcel->allow_fds = true;
    int code = handle->ops->pack(s->object, parcel);
    for (size_t i = 0; i < parcel->fd_count; i++)
        parcel->fds[i] = fcntl(parcel->fds[i], F_DUPFD_CLOEXEC, 3);
    return code;
}

static int unpack(scene *s, mproc__parcel *parcel)
{
    mproc__handle *handle = NULL;
    uint8_t blob[MPROC__PARCEL_BLOB_BYTES];
    memcpy(blob, parcel->blob, sizeof(blob));
    int rc = s->about->noun->unpack(parcel, blob, parcel->blob_bytes, &handle);
    s->other = handle;
    return rc;
}

/* The object is whole for others, too. */
static int use_from_elsewhere(scene *s)
{
    mproc__parcel parcel;
    if (!is_host(s))
        return 0;
    close_object(s->about->noun, &s->other);
    int rc = pack(s, &parcel);
    if (rc == 0)
        rc = unpack(s, &parcel);
    mproc__parcel_clear(&parcel, true);
    return rc < 0 ? 20 : use(s, s->other);
}

/* ---- create ---- */

static int create_call(void *context)
{
    scene *s = context;
    return s->about->noun->create(s->place, "first", &s->object);
}

/* After a failure the name is free, and a second try works. */
static int create_check(void *context, int rc)
{
    scene *s = context;
    const noun_case *noun = s->about->noun;
    if (rc < 0 && s->object)
        return 1;
    if (rc < 0 && noun->open(s->place, "first", &s->other) != -ENOENT)
        return 2;
    if (rc < 0 && noun->create(s->place, "first", &s->object) != 0)
        return 3;
    int code = use(s, s->object);
    return code ? code : use_from_elsewhere(s);
}

/* ---- open ---- */

static int open_call(void *context)
{
    scene *s = context;
    return s->about->noun->open(s->place, "first", &s->other);
}

static int open_check(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->other)
        return 1;
    if (rc < 0 && open_call(s) != 0)
        return 2;
    return use(s, s->other);
}

/* ---- attach ---- */

static mproc__parcel attach_parcel; /* of the child: a scene is too small for one */

static int attach_setup(void *context)
{
    int code = object_setup(context);
    return code ? code : pack(context, &attach_parcel) == 0 ? 0 : 3;
}

static int attach_call(void *context)
{
    return unpack(context, &attach_parcel);
}

static int attach_check(void *context, int rc)
{
    scene *s = context;
    mproc__parcel_clear(&attach_parcel, true);
    if (rc < 0 && s->other)
        return 1;
    int code = use_from_elsewhere(s);
    return code ? code : use(s, s->object);
}

/* ---- first use: this process joins ---- */

static int use_call(void *context)
{
    scene *s = context;
    int rc = s->about->noun->use(s->object);
    return rc > 0 ? 0 : rc;
}

static int use_check(void *context, int rc)
{
    (void)rc;
    return use(context, ((scene *)context)->object);
}

/* ---- a blocking call ---- */

static bool occupied(void *context)
{
    return atomic_load(((scene *)context)->stage) != 0;
}

static bool vacated(void *context)
{
    return atomic_load(((scene *)context)->stage) != OCCUPIED;
}

static int occupy_and_stay(void *context)
{
    scene *s = context;
    atomic_store(s->stage, s->about->noun->occupy(s->object) >= 0 ? OCCUPIED : -1);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static void *occupy_in_thread(void *context)
{
    scene *s = context;
    atomic_store(s->stage, s->about->noun->occupy(s->object) >= 0 ? OCCUPIED : -1);
    (void)support_until(vacated, s, 15000);
    (void)s->about->noun->vacate(s->object);
    return NULL;
}

static int block_setup(void *context)
{
    scene *s = context;
    int code = object_setup(s);
    s->stage = mmap(NULL, sizeof(*s->stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (code || !s->about->noun->occupy)
        return code;
    if (is_host(s))
        s->occupant = support_fork(occupy_and_stay, s);
    else if (pthread_create(&s->thread, NULL, occupy_in_thread, s) != 0)
        return 4;
    return support_until(occupied, s, 5000) && atomic_load(s->stage) == OCCUPIED ? 0 : 5;
}

static int block_call(void *context)
{
    scene *s = context;
    return s->about->noun->block(s->object, mproc_after_ms(BLOCKED_MS));
}

/* Still there, still occupied; and free for us once the other is gone. */
static int block_check(void *context, int rc)
{
    scene *s = context;
    (void)rc;
    if (s->about->noun->block(s->object, mproc_after_ms(1)) != -ETIMEDOUT)
        return 1;
    if (s->occupant)
        support_kill(s->occupant);
    atomic_store(s->stage, 0);
    if (s->about->noun->occupy && !is_host(s))
        pthread_join(s->thread, NULL);
    return use(s, s->object);
}

static void block_cleanup(void *context)
{
    scene *s = context;
    munmap(s->stage, sizeof(*s->stage));
    scene_cleanup(s);
}

/* ---- close ---- */

static int close_setup(void *context)
{
    int code = object_setup(context);
    return code ? code : use(context, ((scene *)context)->object);
}

static int close_call(void *context)
{
    scene *s = context;
    close_object(s->about->noun, &s->object);
    return 0;
}

/* The name is free again. */
static int close_check(void *context, int rc)
{
    return create_check(context, rc == 0 ? -1 : rc);
}

static const fault_case kinds[] = {
    {.name = "create", .setup = place_setup, .call = create_call, .check = create_check},
    {.name = "open", .setup = object_setup, .call = open_call, .check = open_check},
    {.name = "attach", .setup = attach_setup, .call = attach_call, .check = attach_check},
    {.name = "first use", .setup = object_setup, .call = use_call, .check = use_check},
    {.name = "blocking call",
     .setup = block_setup,
     .call = block_call,
     .check = block_check,
     .cleanup = block_cleanup,
     .expected = -ETIMEDOUT,
     .limit_ms = 600},
    {.name = "close", .setup = close_setup, .call = close_call, .check = close_check},
};

static const noun_case *nouns;

/* Loop index: (noun, home, kind). Kinds that make no sense for a noun or a home are left out of the run. */
static bool choose(int index, fault_case *ret_fault, subject *ret_about, char *name, size_t name_bytes)
{
    const noun_case *noun = &nouns[index / (int)(HOMES * MPROC__COUNT(kinds))];
    unsigned home = (unsigned)index / MPROC__COUNT(kinds) % HOMES;
    const fault_case *kind = &kinds[(unsigned)index % MPROC__COUNT(kinds)];
    if ((kind->call == attach_call && homes[home] != MPROC__HOME_HOST) ||
        (kind->call == block_call && !noun->block))
        return false;
    *ret_about = (subject){noun, home};
    *ret_fault = *kind;
    snprintf(name, name_bytes, "%s %s, %s", noun->name, kind->name, home_names[home]);
    ret_fault->name = name;
    ret_fault->argument = ret_about;
    if (!ret_fault->cleanup)
        ret_fault->cleanup = scene_cleanup;
    return true;
}

START_TEST(every_allocation_may_fail)
{
    fault_case fault;
    subject about;
    char name[96];
    if (choose(_i, &fault, &about, name, sizeof(name)))
        fault_allocations(&fault);
}
END_TEST

/* Not with the address sanitizer: the call that fails may be its own mmap inside an allocation, and it ends the process. */
#ifdef __SANITIZE_ADDRESS__
enum { SYSTEM_CALLS_MAY_FAIL = 0 };
#else
enum { SYSTEM_CALLS_MAY_FAIL = 1 };
#endif

START_TEST(every_system_call_may_fail)
{
    fault_case fault;
    subject about;
    char name[96];
    if (choose(_i, &fault, &about, name, sizeof(name)))
        fault_system_calls(&fault);
}
END_TEST

START_TEST(signals_do_not_move_a_deadline)
{
    fault_case fault;
    subject about;
    char name[96];
    if (choose(_i, &fault, &about, name, sizeof(name)))
        fault_interruptions(&fault);
}
END_TEST

void noun_faults_add(Suite *suite, const noun_case *table, unsigned count)
{
    int cases = (int)(count * HOMES * MPROC__COUNT(kinds));
    nouns = table;
    TCase *faults = support_case(suite, "faults");
    tcase_add_loop_test(faults, every_allocation_may_fail, 0, cases);
    tcase_add_loop_test(faults, every_system_call_may_fail, 0, SYSTEM_CALLS_MAY_FAIL * cases);
    tcase_add_loop_test(faults, signals_do_not_move_a_deadline, 0, cases);
}
