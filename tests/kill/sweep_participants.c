/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed while it becomes a participant, leaves, hands its life word back, takes it again, or sweeps the dead. A row that
 * leaves something behind shows as a stamp; the sweep takes the stamp away. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { FRESH, AMONG_OTHERS, AFTER_A_DEATH, AFTER_DEATHS };

static const char *const join_states[] = {"fresh", "among others", "after a death", "after deaths", NULL};
static const char *const own_states[] = {"alone", "among others", NULL};
static const char *const sweep_states[] = {"nobody dead", "nobody dead, among others", "one dead",
                                           "three dead", NULL};

/* What the segment holds. */
typedef struct stamps_shared {
    mproc__eventcount_shared event; /* posted after every change below */
    /* By the process in that row, or its sweeper; readers see set or not. */
    _Atomic uint32_t stamp[MPROC__ROWS];
    _Atomic uint32_t victim_stamped; /* by the victim, once */
    _Atomic int waiter;              /* a pid, once it waits for the stamp to go */
} stamps_shared;

typedef struct rows_context {
    mproc__segment *segment;
    stamps_shared *stamps;
    pid_t bystander; /* in a row all the time, with a stamp */
} rows_context;

static int give_back(mproc__segment *segment, unsigned row, void *context)
{
    stamps_shared *stamps = mproc__segment_root(segment);
    (void)context;
    atomic_store(&stamps->stamp[row], 0);
    mproc__eventcount_post(&stamps->event, true);
    return 0;
}

static int stamp_row(rows_context *c)
{
    int row = mproc__segment_join(c->segment);
    if (row < 0)
        return 1;
    atomic_store(&c->stamps->stamp[row], 1);
    return 0;
}

static int stamp_and_stay(void *context)
{
    if (stamp_row(context) != 0)
        return 1;
    raise(SIGSTOP);
    for (;;)
        pause();
}

static int bystand(rows_context *c, pid_t *ret_pid)
{
    *ret_pid = support_fork(stamp_and_stay, c);
    int status;
    if (waitpid(*ret_pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
        return 1;
    return kill(*ret_pid, SIGCONT);
}

/* They live at the same time, so that each has a row of its own. */
static int bury_alive(rows_context *c, unsigned count)
{
    pid_t dead[3];
    for (unsigned i = 0; i < count; i++)
        if (bystand(c, &dead[i]) != 0)
            return 1;
    for (unsigned i = 0; i < count; i++)
        support_kill(dead[i]);
    return 0;
}

static int rows_setup(bool others, unsigned dead, void **ret_context)
{
    rows_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    if (!c || mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "rows", sizeof(stamps_shared), 0,
                                    &c->segment) < 0)
        return 1;
    mproc__segment_on_sweep(c->segment, give_back, c);
    c->stamps = mproc__segment_root(c->segment);
    if (others && bystand(c, &c->bystander) != 0)
        return 2;
    return bury_alive(c, dead);
}

static int join_setup(unsigned state, void **ret_context)
{
    return rows_setup(state == AMONG_OTHERS,
                      state == AFTER_A_DEATH  ? 1
                      : state == AFTER_DEATHS ? 3
                                              : 0,
                      ret_context);
}

static int own_setup(unsigned state, void **ret_context)
{
    return rows_setup(state == 1, 0, ret_context);
}

static int sweep_setup(unsigned state, void **ret_context)
{
    return rows_setup(state == 1, state == 2 ? 1 : state == 3 ? 3 : 0, ret_context);
}

static void rows_teardown(void *context)
{
    rows_context *c = context;
    if (c->bystander)
        support_kill(c->bystander);
    mproc__segment_release(c->segment);
    free(c);
}

/* ---- the calls ---- */

static int join_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    return mproc__segment_join(c->segment) < 0;
}

static int joined_prepare(void *context, unsigned state)
{
    (void)state;
    return stamp_row(context);
}

static int leave_prepare(void *context, unsigned state)
{
    return join_call(context, state);
}

/* The last handle of this process, and its mapping. */
static int leave_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    mproc__segment_release(c->segment);
    return 0;
}

static int hand_back_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    mproc__row_hand_back(c->segment);
    return 0;
}

static int handed_back_prepare(void *context, unsigned state)
{
    if (stamp_row(context) != 0)
        return 1;
    return hand_back_call(context, state);
}

static int retake_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    return !mproc__row_retake(c->segment);
}

static int sweep_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    mproc__segment_sweep(c->segment);
    return 0;
}

/* ---- the others ---- */

static unsigned stamped(const rows_context *c)
{
    unsigned count = 0;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        count += atomic_load(&c->stamps->stamp[row]);
    return count;
}

/* Asleep until only the bystander's stamp is left. Whoever dies wakes it, and it sweeps if need be. */
static int rows_wait(void *context, unsigned state)
{
    rows_context *c = context;
    unsigned wanted = c->bystander ? 1 : 0;
    (void)state;
    while (!atomic_load(&c->stamps->victim_stamped))
        mproc__futex_wait(&c->stamps->victim_stamped, 0, true, MPROC_FOREVER);
    atomic_store(&c->stamps->waiter, getpid());
    while (stamped(c) > wanted) {
        uint32_t ticket = mproc__eventcount_prepare(&c->stamps->event);
        if (stamped(c) > wanted &&
            mproc__segment_wait(c->segment, &c->stamps->event, ticket, MPROC_FOREVER) < 0)
            return 1;
    }
    return 0;
}

/* Whether a dead row is left, or a living one is taken for dead. */
static int rows_right(rows_context *c)
{
    unsigned bystanders = 0;
    for (unsigned row = 0; row < mproc__segment_rows(c->segment); row++) {
        pid_t pid = mproc__segment_row_pid(c->segment, row);
        if (pid == 0 && atomic_load(&c->stamps->stamp[row]))
            return 10;
        if (pid != 0 && !mproc__segment_row_alive(c->segment, row))
            return 11;
        bystanders += pid != 0 && pid == c->bystander;
    }
    return bystanders == (c->bystander ? 1u : 0u) ? 0 : 12;
}

static int rows_check(void *context, unsigned state, bool returned)
{
    rows_context *c = context;
    (void)state;
    (void)returned;
    mproc__segment_sweep(c->segment);
    int fault = rows_right(c);
    if (fault != 0)
        return fault;
    if (stamp_row(c) != 0)
        return 13;
    unsigned row = c->segment->row;
    if (mproc__segment_row_pid(c->segment, row) != getpid() || row > 5)
        return 14; /* free rows are used again */
    atomic_store(&c->stamps->stamp[row], 0);
    unsigned left = stamped(c);
    mproc__segment_release(c->segment);
    return left == (c->bystander ? 1u : 0u) ? 0 : 15;
}

/* Nobody is dead; a wait keeps its deadline. */
static int rows_meanwhile(void *context, unsigned state)
{
    rows_context *c = context;
    mproc_deadline deadline = mproc_after_ms(KILL_SHORT_MS);
    unsigned rows = mproc__segment_rows(c->segment);
    int code = 0;
    (void)state;
    for (unsigned row = 0; row < rows; row++)
        if (mproc__segment_row_pid(c->segment, row) && !mproc__segment_row_alive(c->segment, row))
            return 1;
    while (code == 0) {
        uint32_t ticket = mproc__eventcount_prepare(&c->stamps->event);
        code = mproc__segment_wait(c->segment, &c->stamps->event, ticket, deadline);
    }
    mproc__segment_release(c->segment);
    return code == -ETIMEDOUT ? 0 : 2;
}

#define ROWS(name, of_states, making)                                                                        \
    .operation = (name), .states = (of_states), .setup = (making), .teardown = rows_teardown,                \
    .recover = sweep_call, .check = rows_check

const kill_case killsweep_segment_join = {ROWS("segment join", join_states, join_setup), .call = join_call};
const kill_case killsweep_segment_leave = {ROWS("segment leave", own_states, own_setup),
                                           .prepare = leave_prepare, .call = leave_call,
                                           .meanwhile = rows_meanwhile};
const kill_case killsweep_segment_hand_back = {ROWS("segment hand back", own_states, own_setup),
                                               .prepare = joined_prepare, .call = hand_back_call,
                                               .meanwhile = rows_meanwhile};
const kill_case killsweep_segment_retake = {ROWS("segment retake", own_states, own_setup),
                                            .prepare = handed_back_prepare, .call = retake_call,
                                            .meanwhile = rows_meanwhile};
const kill_case killsweep_segment_sweep = {ROWS("segment sweep", sweep_states, sweep_setup),
                                           .call = sweep_call};

/* ---- a stamp that somebody waits to see gone ---- */

static bool waiter_waits(void *context)
{
    const rows_context *c = context;
    return atomic_load(&c->stamps->waiter) != 0;
}

static int post_prepare(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    if (stamp_row(c) != 0)
        return 1;
    atomic_store(&c->stamps->victim_stamped, 1);
    mproc__futex_wake(&c->stamps->victim_stamped, 1, true);
    if (!support_until(waiter_waits, c, KILL_HARD_MS))
        return 2;
    return support_until_asleep(c->stamps->waiter, KILL_HARD_MS) ? 0 : 3;
}

static int post_call(void *context, unsigned state)
{
    rows_context *c = context;
    (void)state;
    atomic_store(&c->stamps->stamp[c->segment->row], 0);
    mproc__eventcount_post(&c->stamps->event, true);
    return 0;
}

const kill_case killsweep_segment_post = {ROWS("segment post", own_states, own_setup),
                                          .prepare = post_prepare, .call = post_call, .wait = rows_wait,
                                          .meanwhile = rows_meanwhile};
