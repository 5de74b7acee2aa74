/* SPDX-License-Identifier: BSD-2-Clause */
/* Who buries a worker is stopped or killed in the middle: nobody overtakes it, and what it began is ended once. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/death.h"
#include "pool/future.h"
#include "pool/granule.h"
#include "pool/pool_common.h"

enum { ITEMS = 3, VICTIM = 1, SECOND = 100, STEPS_MOST = 5000000, OVERTAKE_MS = 300, HARD_MS = 10000 };

/* The victims of two maps wait here. */
typedef struct gate_shared {
    _Atomic int open[2];
    _Atomic int worker[2]; /* who waits: pid */
} gate_shared;

typedef struct stage {
    mproc_pool *pool;
    mproc_shm *shm;
    gate_shared *gate;
    mproc__pool_view *view;
    mproc__map_shared *map; /* the first */
    unsigned desk;          /* of its victim's worker */
    pid_t others[2];        /* supervisor, the other worker */
    int in[2][ITEMS], out[2][ITEMS];
} stage;

static int item_wait(mproc_call *call, const void *in, void *out)
{
    int number = *(const int *)in, map = number / SECOND;
    gate_shared *gate = mproc_shm_data(mproc_call_shm(call, 0));
    if (number % SECOND == VICTIM) {
        atomic_store(&gate->worker[map], (int)getpid());
        while (!atomic_load(&gate->open[map]))
            usleep(1000);
    }
    *(int *)out = number + 1;
    return 0;
}

/* ---- the stage: a worker dead in an item, and nobody awake who could bury it ---- */

static mproc_future *map_start(stage *s, int map)
{
    mproc_future *future = NULL;
    for (int i = 0; i < ITEMS; i++)
        s->in[map][i] = map * SECOND + i;
    int rc = mproc_pool_map_start(
        s->pool, item_wait, s->in[map], sizeof(int), s->out[map], sizeof(int), ITEMS,
        MPROC_WITH(mproc_map_options, .chunk = 1, .args = MPROC_ARGS(mproc_handle(s->shm))), &future);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return future;
}

static bool all_but_victim_done(void *context)
{
    stage *s = context;
    return atomic_load(&s->gate->worker[0]) && atomic_load(&s->map->finished_items) == ITEMS - 1;
}

static bool victim_worker_dead(void *context)
{
    stage *s = context;
    unsigned row = mproc__worker_load(&s->view->shared->workers[s->desk]).row;
    return !mproc__segment_row_alive(s->view->segment, row - 1);
}

static bool is_stopped(void *context)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)*(pid_t *)context);
    FILE *file = fopen(path, "re");
    bool read = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    const char *state = read ? strrchr(line, ')') : NULL;
    return state && state[2] == 'T';
}

static bool second_waits(void *context)
{
    const stage *s = context;
    return atomic_load(&s->gate->worker[1]) != 0;
}

static void stop(pid_t pid, bool is_child)
{
    int status = 0;
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    if (is_child)
        ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    else
        ck_assert(support_until(is_stopped, &pid, HARD_MS));
}

static void others_stop(stage *s)
{
    int victim = atomic_load(&s->gate->worker[0]);
    for (unsigned i = 0; i < 2; i++) {
        pid_t pid = mproc__worker_load(&s->view->shared->workers[i]).pid;
        if (pid == victim)
            s->desk = i;
        else
            s->others[1] = pid;
    }
    s->others[0] = s->pool->core->supervisor;
    stop(s->others[0], true);
    stop(s->others[1], false);
    ck_assert_int_eq(kill(victim, SIGKILL), 0);
    ck_assert(support_until(victim_worker_dead, s, HARD_MS));
}

static mproc_future *stage_set(stage *s, mproc_start start)
{
    *s = (stage){.pool = NULL};
    /* Few blocks: the burier looks at each, by single steps. */
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = start, .workers = 2, .max_queued_bytes = 65536), &s->pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    s->view = &s->pool->core->view;
    ck_assert_int_eq(mproc_shm_create(NULL, sizeof(gate_shared), NULL, &s->shm), 0);
    s->gate = mproc_shm_data(s->shm);
    mproc_future *future = map_start(s, 0);
    s->map = &s->view->shared->maps[future->map->index];
    ck_assert(support_until(all_but_victim_done, s, HARD_MS));
    others_stop(s);
    return future;
}

/* ---- the burier ---- */

static bool burial_shows(const stage *s)
{
    const _Atomic uint64_t *losses = mproc__view_at(s->view, s->map->losses);
    uint64_t word = atomic_load(mproc__map_word(s->view, s->map, VICTIM));
    return atomic_load(&losses[s->desk]) != 0 || mproc__granule_unpack(word).owner == 0;
}

/* A participant that sweeps, stopped at the first thing that it writes down about the victim. */
static pid_t burier_stopped(const stage *s)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(1);
        raise(SIGSTOP);
        (void)mproc__segment_sweep(s->view->segment);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    for (int i = 0; i < STEPS_MOST && !burial_shows(s); i++) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSTOPPED(status), "it ended with %d and has buried nobody", status);
    }
    ck_assert(burial_shows(s));
    return pid;
}

static void burier_end(pid_t pid, bool by_kill)
{
    int status = 0;
    if (by_kill)
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
    else
        ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(by_kill ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- tests ---- */

/* Others have the time to do it in its place, and then another map has the memory of the first: what it still had to write
 * would be said of that one. It says of the first what it is about, whoever ends it. */
/* shows: DEATH-8 DEATH-11 */
START_TEST(what_a_late_burier_writes_is_said_of_the_map_it_buried_in)
{
    stage s;
    int64_t item = -1;
    mproc_future *first = stage_set(&s, pool_methods[_i / 2]);
    pid_t burier = burier_stopped(&s);
    ck_assert_int_eq(kill(s.others[0], SIGCONT), 0);
    ck_assert_int_eq(kill(s.others[1], SIGCONT), 0);
    (void)mproc_future_wait(first, mproc_after_ms(OVERTAKE_MS));
    mproc_future *second = map_start(&s, 1);
    ck_assert(support_until(second_waits, &s, HARD_MS));
    burier_end(burier, _i % 2);
    atomic_store(&s.gate->open[1], 1);
    ck_assert_int_eq(result_code(first), MPROC_EDIED);
    ck_assert_msg(strstr(mproc_error_text(mproc_error_of(first)), "item 1 of map"), "%s",
                  mproc_error_text(mproc_error_of(first)));
    ck_assert_int_eq(mproc_error_number(mproc_error_of(first), MPROC_ERROR_ITEM, &item), 0);
    ck_assert_int_eq(item, VICTIM);
    ck_assert_msg(result_code(second) == 0, "%s", mproc_error_text(mproc_error_of(second)));
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(s.out[1][i], SECOND + i + 1);
    mproc_future_close(&first);
    mproc_future_close(&second);
    mproc_shm_close(&s.shm);
    pool_end(&s.pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, what_a_late_burier_writes_is_said_of_the_map_it_buried_in, 2 * METHODS_FIRST,
                        2 * METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "burial", add);
}
