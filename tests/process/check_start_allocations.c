/* SPDX-License-Identifier: BSD-2-Clause */
/* Allocations that fail in what a start makes: in the nursery, in a child that is exec'd or forked by it. Those of the caller
 * itself are check_nursery.c's. The first, second ... of that process fails, once; then the start is an error that says
 * so, or has done without, and nothing is left. */
#include "platform/base.h"

#include <sys/wait.h>

#include "process/program_support.h"

enum { BY_PROGRAM = ALL_METHODS, MOST = 300, ENOUGH = 25 };

static const char *const WHICH = "CHECK_START_ALLOCATIONS";

/* In a program anew: the allocations of mproc_init and of all that follows are counted. */
__attribute__((constructor)) static void fail_here(void)
{
    const char *which = getenv(WHICH);
    if (which && getenv("MPROC_CHILD"))
        support_fail_allocation((unsigned)atoi(which));
}

typedef struct scene {
    const char *name;
    int kind;  /* of the start that meets the failure */
    bool warm; /* with a nursery from before: it is the child that fails */
} scene;

static const scene scenes[] = {
    {"the nursery, by fork", MPROC_START_FORK, false},
    {"the nursery, by a program", BY_PROGRAM, false},
    {"the nursery and its child", MPROC_START_FORKSERVER, false},
    {"a child anew", MPROC_START_SPAWN, true},
};

typedef struct attempt {
    const scene *of;
    unsigned n;
} attempt;

enum { WELL, REFUSED, NOT_WARM, NO_STORY, NO_END, NO_NEXT };

static int begin(int kind, mproc_process **ret_process)
{
    if (kind == BY_PROGRAM)
        return mproc_process_start_program(ARGV("true"), OPTIONS(.capture = true), ret_process);
    return mproc_process_start(nothing, MPROC_ARGS("text", mproc_fd(0), 2.5),
                               MPROC_WITH(mproc_process_options, .start = (mproc_start)kind), ret_process);
}

static bool whole(int kind)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    bool well = begin(kind, &process) == 0 && mproc_process_join(process, limit(), &exit_code) == 0;
    mproc_process_close(&process);
    return well && exit_code == 0;
}

/* A failure that has not happened yet may still come, in the nursery, once. */
static bool next_works(void)
{
    return whole(MPROC_START_FORK) || whole(MPROC_START_FORK);
}

static int starter(void *context)
{
    const attempt *of = context;
    mproc_process *process = NULL;
    char number[16];
    mproc_set_spares(0);
    if (of->of->warm && !whole(MPROC_START_FORK))
        return NOT_WARM;
    snprintf(number, sizeof number, "%u", of->n);
    setenv(WHICH, number, 1);
    int rc = begin(of->of->kind, &process);
    const char *text = mproc_error_text(mproc_last_error());
    bool told = (rc == -ENOMEM || rc == MPROC_EDIED) &&
                (strstr(text, "start: ") || strstr(text, "start_program") || strstr(text, "first steps"));
    unsetenv(WHICH);
    if (rc < 0 && (process || !told))
        return fprintf(stderr, "%s, %u: %s\n", of->of->name, of->n, text) ? NO_STORY : NO_STORY;
    if (rc == 0 && mproc_process_join(process, limit(), NULL) != 0)
        return NO_END;
    mproc_process_close(&process);
    return !next_works() ? NO_NEXT : rc < 0 ? REFUSED : WELL;
}

/* shows: START-27 */
START_TEST(an_allocation_that_fails_beyond_the_caller_is_an_error_or_nothing)
{
    unsigned refused = 0;
    for (unsigned n = 1, works = 0; works < ENOUGH; n++) {
        attempt of = {&scenes[_i], n};
        int said = support_reap(support_fork(starter, &of), 2 * LIMIT_MS);
        ck_assert_msg(said == WELL || said == REFUSED, "%s, allocation %u: %d", scenes[_i].name, n, said);
        ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
        works = said == WELL ? works + 1 : 0;
        refused += said == REFUSED;
        ck_assert_uint_lt(n, MOST);
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start_allocations");
    TCase *memory = support_case(suite, "memory");
    tcase_set_timeout(memory, 60);
    tcase_add_loop_test(memory, an_allocation_that_fails_beyond_the_caller_is_an_error_or_nothing, 0,
                        MPROC__COUNT(scenes));
    return support_run(suite, argc, argv);
}
