/* SPDX-License-Identifier: BSD-2-Clause */
/* The wall clock is stepped by a day while somebody waits: nothing comes of it.
 *
 * Each case runs in a program of its own (`check_wall_clock step NOUN HOME STEP`) whose clock is another's. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "channel/queue_case.h"
#include "platform/platform.h"
#include "shm/place.h"
#include "support/support.h"
#include "support/wall_clock.h"

enum { WAIT_MS = 200, LIVE_MS = 250 };

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};
static const char *const steps[] = {"+86400", "-86400"};
static const noun_case *noun_at(unsigned index)
{
    return index < noun_case_count() ? &noun_cases[index] : &queue_case;
}

/* ---- the program under the false clock ---- */

typedef struct scene {
    const noun_case *noun;
    const char *step;
    void *object;
    pid_t waiter, occupant;
    _Atomic int *occupied;
} scene;

static int occupy(void *context)
{
    scene *s = context;
    atomic_store(s->occupied, s->noun->occupy(s->object) >= 0 ? 1 : -1);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static bool is_occupied(void *context)
{
    return atomic_load(((scene *)context)->occupied) != 0;
}

/* Once the waiter sleeps. */
static int step_clock(void *context)
{
    scene *s = context;
    return support_until_asleep(s->waiter, 5000) && wall_clock_set(s->step) == 0 ? 0 : 1;
}

/* 0, or which check failed. In a thread home nobody can occupy it from outside: only what blocks by itself is waited for. */
static int wait_through_step(scene *s)
{
    s->occupied = mmap(NULL, sizeof(*s->occupied), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->noun->occupy) {
        s->occupant = support_fork(occupy, s);
        if (!support_until(is_occupied, s, 5000) || atomic_load(s->occupied) != 1)
            return 3;
    }
    time_t before = time(NULL);
    pid_t stepper = support_fork(step_clock, s);
    int64_t began_ns = mproc__now_ns();
    int rc = s->noun->block(s->object, mproc_after_ms(WAIT_MS));
    int64_t took_ms = (mproc__now_ns() - began_ns) / 1000000;
    if (support_reap(stepper, 5000) != 0 || !wall_clock_stepped(before))
        return 4;
    if (rc != -ETIMEDOUT)
        return 5;
    return took_ms < WAIT_MS || took_ms > WAIT_MS + support_ms(LIVE_MS) ? 6 : 0;
}

static int step_main(char **argv)
{
    scene s = {.noun = noun_at((unsigned)atoi(argv[2])), .step = argv[4], .waiter = getpid()};
    mproc_place *place = NULL;
    int home = atoi(argv[3]);
    if (mproc__place_local(homes[home], &place) != 0 || s.noun->create(place, NULL, &s.object) != 0)
        return 2;
    int code = homes[home] == MPROC__HOME_THREAD && s.noun->occupy ? 0 : wait_through_step(&s);
    support_children_kill();
    return code;
}

/* ---- the test ---- */

typedef struct choice {
    unsigned noun, home, step;
} choice;

static int become_stepped(void *context)
{
    const choice *c = context;
    char noun[16], home[16], program[] = "check_wall_clock", step[] = "step", by[16];
    snprintf(noun, sizeof(noun), "%u", c->noun);
    snprintf(home, sizeof(home), "%u", c->home);
    snprintf(by, sizeof(by), "%s", steps[c->step]);
    wall_clock_exec((char *[]){program, step, noun, home, by, NULL});
    return 127;
}

/* shows: TIME-1 */
START_TEST(a_day_forward_or_back_moves_no_deadline)
{
    unsigned index = (unsigned)_i;
    choice c = {.step = index % 2, .home = index / 2 % 2, .noun = index / 4};
    if (!noun_at(c.noun)->block)
        return;
    ck_assert_int_eq(wall_clock_begin(support_directory()), 0);
    int status = support_reap(support_fork(become_stepped, &c), 15000);
    ck_assert_msg(status == 0, "%s, home %u, %s s: %d", noun_at(c.noun)->name, c.home, steps[c.step], status);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "step") == 0)
        return step_main(argv);
    if (!wall_clock_usable())
        return WALL_CLOCK_SKIPPED;
    Suite *suite = suite_create("wall clock");
    TCase *steps_case = support_case(suite, "steps");
    tcase_add_loop_test(steps_case, a_day_forward_or_back_moves_no_deadline, 0,
                        4 * ((int)noun_case_count() + 1));
    return support_run(suite, argc, argv);
}
