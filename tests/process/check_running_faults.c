/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a look at the machine or at a process asks of the system may be refused: tests/support/faultloop.h says what must
 * then be true. */
#include "platform/base.h"

#include <sys/socket.h>
#include <unistd.h>

#include <mproc/running.h>
#include <mproc/variant.h>
#include "process/process_support.h"
#include "support/faultloop.h"

typedef struct scene {
    const void *argument;
    int pair[2];
    mproc_running which;
    mproc_running list[4];
    size_t count;
    double load;
    mproc_variant dict;
} scene;

_Static_assert(sizeof(scene) <= FAULT_SCENE_BYTES, "the scene fits");

static int setup(void *context)
{
    scene *s = context;
    s->count = 99;
    s->load = -7;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->pair) == 0 ? 0 : 1;
}

static void cleanup(void *context)
{
    scene *s = context;
    mproc_variant_clear(&s->dict);
    close(s->pair[0]);
    close(s->pair[1]);
}

/* ---- the machine ---- */

static int machine_get(void *context)
{
    scene *s = context;
    mproc_machine machine = {.size = sizeof machine};
    int rc = mproc_machine_get(&machine);
    if (rc == 0)
        s->load = machine.load[0];
    return rc == 0 || machine.cpus == 0 ? rc : 1;
}

static int check_machine(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->load > -7)
        return 1;
    return machine_get(s) == 0 && s->load >= 0 ? 0 : 2;
}

/* ---- who ---- */

static int find(void *context)
{
    scene *s = context;
    return mproc_running_find(0, &s->which);
}

static int check_find(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->which.pid != 0)
        return 1;
    return find(s) == 0 && s->which.pid == getpid() ? 0 : 2;
}

static int list(void *context)
{
    scene *s = context;
    return mproc_running_list(s->list, MPROC__COUNT(s->list), &s->count);
}

static int check_list(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->count != 99)
        return 1;
    return list(s) == 0 && s->count != 99 ? 0 : 2;
}

static int children(void *context)
{
    scene *s = context;
    return mproc_running_children((mproc_running){.pid = getppid()}, true, s->list, MPROC__COUNT(s->list),
                                  &s->count);
}

static int check_children(void *context, int rc)
{
    scene *s = context;
    if (rc < 0 && s->count != 99)
        return 1;
    return children(s) == 0 && s->count >= 1 && s->count < 99 ? 0 : 2;
}

/* ---- what ---- */

static int detail(void *context)
{
    scene *s = context;
    return mproc_running_detail((mproc_running){0}, MPROC_RUNNING_EVERYTHING & ~MPROC_RUNNING_ENVIRONMENT,
                                &s->dict);
}

/* A part that was refused is null and said to be denied. */
static int check_detail(void *context, int rc)
{
    static const char *const keys[] = {"command",     "memory", "threads", "files",
                                       "connections", "cpus",   "names"};
    scene *s = context;
    if (rc < 0 && s->dict.kind != MPROC_KIND_NULL)
        return 1;
    for (size_t i = 0; rc == 0 && i < MPROC__COUNT(keys); i++)
        if (mproc_variant_find(s->dict, keys[i]).kind == MPROC_KIND_NULL &&
            mproc_variant_find(mproc_variant_find(s->dict, "denied"), keys[i]).kind != MPROC_KIND_INT)
            return 2;
    mproc_variant_clear(&s->dict);
    if (detail(s) != 0 || mproc_variant_find(s->dict, "denied").kind != MPROC_KIND_INVALID)
        return 3;
    return mproc_variant_count(mproc_variant_find(s->dict, "connections")) >= 2 ? 0 : 4;
}

static int stats(void *context)
{
    scene *s = context;
    mproc_running_stats numbers = {.size = sizeof numbers};
    int rc = mproc_process_stats(mproc_process_self(), &numbers);
    s->which = numbers.which;
    return rc;
}

enum { TRACED = 4 };
static const fault_case cases[] = {
    {.name = "machine get", .setup = setup, .call = machine_get, .check = check_machine, .cleanup = cleanup},
    {.name = "running find", .setup = setup, .call = find, .check = check_find, .cleanup = cleanup},
    {.name = "running detail", .setup = setup, .call = detail, .check = check_detail, .cleanup = cleanup},
    {.name = "process stats", .setup = setup, .call = stats, .check = check_find, .cleanup = cleanup},
    /* From here on as many system calls as the machine has processes, which come and go: allocations only. */
    {.name = "running list", .setup = setup, .call = list, .check = check_list, .cleanup = cleanup},
    {.name = "running children",
     .setup = setup,
     .call = children,
     .check = check_children,
     .cleanup = cleanup},
};

START_TEST(allocations_that_fail_leave_nothing)
{
    fault_allocations(&cases[_i]);
}
END_TEST

/* Not with the address sanitizer: the call that fails may be its own mmap inside an allocation, and it ends the process. */
#ifdef MPROC__SANITIZED
enum { SYSTEM_CALLS_MAY_FAIL = 0 };
#else
enum { SYSTEM_CALLS_MAY_FAIL = 1 };
#endif

START_TEST(system_calls_that_fail_leave_nothing)
{
    fault_system_calls(&cases[_i]);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("running_faults");
    TCase *faults = support_case(suite, "faults");
    tcase_set_timeout(faults, 60);
    tcase_add_loop_test(faults, allocations_that_fail_leave_nothing, 0, MPROC__COUNT(cases));
    if (SYSTEM_CALLS_MAY_FAIL)
        tcase_add_loop_test(faults, system_calls_that_fail_leave_nothing, 0, TRACED);
    return support_run(suite, argc, argv);
}
