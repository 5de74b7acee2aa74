/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a listener or a connection asks of the system may be refused: tests/support/faultloop.h says what must then be
 * true. Here each call is made with a key and without, over a Unix socket and TCP. */
#include "platform/base.h"

#include <string.h>

#include "channel/listener_common.h"
#include "support/faultloop.h"
#include "support/support.h"

typedef struct scene {
    const void *argument; /* the family: &families[n] */
    bool keyed;
    mproc_listener *listener;
    mproc_connection *near, *far;
} scene;

_Static_assert(sizeof(scene) <= FAULT_SCENE_BYTES, "the scene fits");

static const int families[2] = {0, 1};

static const char *scene_key(const scene *s)
{
    return s->keyed ? KEY : NULL;
}

static int setup(void *context)
{
    scene *s = context;
    family = *(const int *)s->argument;
    return 0;
}

static int setup_keyed(void *context)
{
    scene *s = context;
    s->keyed = true;
    return setup(s);
}

static int create(void *context)
{
    scene *s = context;
    return mproc_listener_create(family_address(), with_key(scene_key(s)), &s->listener);
}

static int setup_listening(void *context)
{
    int code = setup(context);
    return code ? code : create(context) == 0 ? 0 : 1;
}

static int open_near(void *context)
{
    scene *s = context;
    return mproc_connection_open(mproc_listener_address(s->listener), with_key(NULL), SOON, &s->near);
}

static int setup_knocking(void *context)
{
    int code = setup_listening(context);
    return code ? code : open_near(context) == 0 ? 0 : 2;
}

static int accept_far(void *context)
{
    scene *s = context;
    return mproc_listener_accept(s->listener, SOON, &s->far);
}

static int send_near(void *context)
{
    scene *s = context;
    return mproc_connection_send(s->near, "message", 7, SOON);
}

static int setup_joined(void *context)
{
    int code = setup_knocking(context);
    return code ? code : accept_far(context) == 0 ? 0 : 3;
}

/* A listener that was made, or is made at the second try, serves a client. */
static int check_listener(void *context, int rc)
{
    scene *s = context;
    char buffer[16];
    size_t size;
    s->keyed = false;
    if (rc < 0 && s->listener)
        return 10;
    if (rc < 0 && create(s) < 0)
        return 11;
    if (!s->near && open_near(s) < 0)
        return 12;
    if (!s->far && accept_far(s) < 0)
        return 13;
    if (send_near(s) < 0 || mproc_connection_recv(s->far, buffer, sizeof buffer, SOON, &size) < 0 ||
        size != 7)
        return 14;
    return 0;
}

/* With a key there is nobody beside it to shake hands with: that it can be made again is enough. */
static int check_keyed(void *context, int rc)
{
    scene *s = context;
    return rc < 0 && create(s) < 0 ? 10 : 0;
}

static int check_opened(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->near)
        return 20;
    /* One that failed half-way may have left its knock: that one is accepted first, or refused. */
    for (int tries = 0; tries < 3; tries++) {
        char buffer[16];
        size_t size;
        if (!s->near && open_near(s) < 0)
            return 21;
        if (accept_far(s) < 0)
            continue;
        if (send_near(s) == 0 &&
            mproc_connection_recv(s->far, buffer, sizeof buffer, mproc_after_ms(50), &size) == 0)
            return size == 7 ? 0 : 22;
        mproc_connection_close(&s->far);
    }
    return 23;
}

/* Its header and its body are written by themselves. */
enum { LARGE_BYTES = 100000 };
static const char large[LARGE_BYTES];
static char received[LARGE_BYTES];

static int send_large(void *context)
{
    scene *s = context;
    return mproc_connection_send(s->near, large, sizeof large, SOON);
}

/* Either nothing of the message was sent and another can be, or the other end is told that it will not go on. */
static int check_large(void *context, int rc)
{
    scene *s = context;
    size_t size = 0;
    bool cut = rc < 0 && send_near(s) < 0;
    int got = mproc_connection_recv(s->far, received, sizeof received, SOON, &size);
    if (cut)
        return got == MPROC_EPROTOCOL ? 0 : 30;
    return got == 0 && size == (rc < 0 ? 7 : sizeof large) ? 0 : 31;
}

static void cleanup(void *context)
{
    scene *s = context;
    mproc_connection_close(&s->near);
    mproc_connection_close(&s->far);
    mproc_listener_close(&s->listener);
}

static const fault_case cases[] = {
    {.name = "listener create", .setup = setup, .call = create, .check = check_listener, .cleanup = cleanup},
    {.name = "listener create with a key",
     .setup = setup_keyed,
     .call = create,
     .check = check_keyed,
     .cleanup = cleanup},
    {.name = "connection open",
     .setup = setup_listening,
     .call = open_near,
     .check = check_opened,
     .cleanup = cleanup},
    {.name = "send of a large message",
     .setup = setup_joined,
     .call = send_large,
     .check = check_large,
     .cleanup = cleanup},
};

static fault_case case_of(int number)
{
    fault_case fault = cases[number / 2];
    fault.argument = &families[number % 2];
    return fault;
}

START_TEST(a_failing_allocation_changes_nothing)
{
    fault_case fault = case_of(_i);
    fault_allocations(&fault);
}
END_TEST

/* Not with the address sanitizer: the call that fails may be its own mmap inside an allocation, and it ends the process. */
#ifdef MPROC__SANITIZED
enum { SYSTEM_CALLS_MAY_FAIL = 0 };
#else
enum { SYSTEM_CALLS_MAY_FAIL = 1 };
#endif

START_TEST(a_failing_system_call_changes_nothing)
{
    fault_case fault = case_of(_i);
    fault_system_calls(&fault);
}
END_TEST

START_TEST(interruptions_change_nothing)
{
    static const fault_case blocking[] = {
        {.name = "accept",
         .setup = setup_knocking,
         .call = accept_far,
         .check = check_listener,
         .cleanup = cleanup},
        {.name = "send",
         .setup = setup_joined,
         .call = send_near,
         .check = check_listener,
         .cleanup = cleanup},
    };
    fault_case fault = blocking[_i / 2];
    fault.argument = &families[_i % 2];
    fault_interruptions(&fault);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection_faults");
    TCase *faults = support_case(suite, "faults");
    tcase_set_timeout(faults, 60);
    int count = 2 * (int)MPROC__COUNT(cases);
    tcase_add_loop_test(faults, a_failing_allocation_changes_nothing, 0, count);
    tcase_add_loop_test(faults, a_failing_system_call_changes_nothing, 0, SYSTEM_CALLS_MAY_FAIL * count);
    tcase_add_loop_test(faults, interruptions_change_nothing, 0, 4);
    return support_run(suite, argc, argv);
}
