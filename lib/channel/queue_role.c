/* SPDX-License-Identifier: BSD-2-Clause */
/* Roles, declared or taken by the first use, and what is over when nobody has one any more.
 *
 * A writer puts before it gives its role up, and the sweep of a dead one settles all else before it takes the role away.
 * So who sees no writer, and then looks at the queue once more, has seen all that there will be. */
#include "platform/base.h"

#include "channel/queue.h"

enum { SURVEYS = 8 };

static _Atomic uint64_t *role_word(mproc_queue *queue, unsigned row)
{
    return &queue->shared->roles.rows[row];
}

static uint64_t role_of(mproc_queue *queue, unsigned row)
{
    return atomic_load_explicit(role_word(queue, row), memory_order_acquire);
}

static uint64_t role_came(uint64_t word)
{
    return word / MPROC__ROLE_CAME_ONE & MPROC__ROLE_CAME_MOST;
}

static uint64_t role_lost(uint64_t word)
{
    return word / MPROC__ROLE_LOST_ONE & MPROC__ROLE_LOST_MOST;
}

/* One more announced writer that will never come. */
static uint64_t role_losing(uint64_t word)
{
    return role_lost(word) < MPROC__ROLE_LOST_MOST ? word + MPROC__ROLE_LOST_ONE : word;
}

/* With these flags as well. The first WRITE of a row's life is a writer that came. */
static uint64_t role_with(uint64_t word, uint64_t flags)
{
    if ((flags & MPROC_ROLE_WRITE) && !(word & MPROC__ROLE_CAME)) {
        word |= MPROC__ROLE_CAME;
        word += role_came(word) < MPROC__ROLE_CAME_MOST ? MPROC__ROLE_CAME_ONE : 0;
    }
    if (flags & MPROC_ROLE_READ)
        word |= MPROC__ROLE_READ_EVER;
    return word | flags;
}

static bool role_store(mproc_queue *queue, unsigned row, uint64_t *word, uint64_t next)
{
    return atomic_compare_exchange_weak(role_word(queue, row), word, next + MPROC__ROLE_CHANGE_ONE);
}

uint64_t mproc__queue_role_swap(mproc_queue *queue, unsigned row, uint64_t out, uint64_t in)
{
    uint64_t word = role_of(queue, row);
    while (!role_store(queue, row, &word, role_with(word & ~out, in)))
        ;
    return word;
}

void mproc__queue_role_lose(mproc_queue *queue, unsigned row)
{
    uint64_t word = role_of(queue, row);
    while (!role_store(queue, row, &word, role_losing(word)))
        ;
}

/* ---- taking ---- */

/* Those who wait for somebody's coming, going or death look again. */
static void role_post(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    mproc__eventcount_post(&shared->items, queue->process_shared);
    mproc__bell_ring(&queue->bell);
    mproc__eventcount_post(&shared->room, queue->process_shared);
    mproc__eventcount_post(&shared->done, queue->process_shared);
    mproc__eventcount_post(&shared->dead, queue->process_shared);
}

/* What close settles, as after a stamp. */
static void role_taken(mproc_queue *queue, int row, uint64_t role)
{
    mproc__queue_stamps(queue, row);
    if (role & MPROC_ROLE_WRITE)
        mproc__queue_expected_came(queue);
}

int mproc__queue_role_claim(mproc_queue *queue, int row, unsigned role)
{
    uint64_t word = role_of(queue, (unsigned)row);
    /* Who may not have the exclusive side is not counted. */
    bool decides = (queue->exclusive & role) && !(word & MPROC__ROLE_DECLARED);
    int rc = decides ? mproc__queue_exclusive_have(queue, (mproc_role)role) : 0;
    if (rc < 0)
        return rc;
    do {
        if (word & MPROC__ROLE_DECLARED)
            return mproc__fail(-EPERM, "this process has declared that it only %s this queue",
                               role & MPROC_ROLE_WRITE ? "reads" : "writes");
    } while (!role_store(queue, (unsigned)row, &word, role_with(word, role)));
    role_taken(queue, row, role);
    return 0;
}

static void role_declare(mproc_queue *queue, int row, unsigned role)
{
    atomic_store_explicit(&queue->shared->counting, 1, memory_order_seq_cst);
    (void)mproc__queue_role_swap(queue, (unsigned)row, MPROC_ROLE_BOTH | MPROC__ROLE_DECLARED,
                                 role ? role | MPROC__ROLE_DECLARED : 0);
    role_taken(queue, row, role);
    role_post(queue);
}

int mproc__queue_role_check(mproc_role role)
{
    return (unsigned)role <= MPROC_ROLE_BOTH ? 0
                                             : mproc__fail(-EINVAL, "no role has the number %d", (int)role);
}

int mproc_queue_role(mproc_queue *queue, mproc_role role)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    int rc = mproc__queue_role_check(role);
    if (rc < 0)
        return mproc__queue_answer(queue, rc);
    role_declare(queue, row, (unsigned)role);
    (void)mproc__queue_exclusive_leave(queue, MPROC_ROLE_BOTH & ~(unsigned)role);
    return 0;
}

void mproc__queue_roles_init(mproc__segment *segment, const mproc_queue_options *options)
{
    mproc__queue_shared *shared = mproc__segment_root(segment);
    if (!options || (!options->role && !options->expected_writers))
        return;
    shared->roles.expected_writers = options->expected_writers;
    atomic_store_explicit(&shared->counting, 1, memory_order_relaxed);
}

/* ---- going ---- */

/* So that an announcement that comes after the writer has gone finds that it came. Before its row forgets it; twice does
 * no harm. */
static void role_remember(mproc_queue *queue, unsigned row)
{
    mproc__queue_roles_shared *roles = &queue->shared->roles;
    uint64_t start = mproc__segment_row_start(queue->segment, row);
    uint64_t leaver = start << 32 | (uint32_t)mproc__segment_row_pid(queue->segment, row);
    uint32_t n = atomic_fetch_add_explicit(&roles->leaver_count, 1, memory_order_relaxed);
    atomic_store_explicit(&roles->leavers[n % MPROC__LEAVERS], leaver, memory_order_release);
}

/* Start times count as equal when one is unknown: 0. */
static bool role_same_start(uint64_t a, uint64_t b)
{
    return (uint32_t)a == 0 || (uint32_t)b == 0 || (uint32_t)a == (uint32_t)b;
}

bool mproc__queue_role_came(mproc_queue *queue, pid_t pid, uint64_t start_ticks)
{
    unsigned rows = mproc__segment_rows(queue->segment);
    for (unsigned row = 0; row < rows; row++)
        if ((role_of(queue, row) & MPROC__ROLE_CAME) && mproc__segment_row_pid(queue->segment, row) == pid &&
            role_same_start(mproc__segment_row_start(queue->segment, row), start_ticks))
            return true;
    for (unsigned i = 0; i < MPROC__LEAVERS; i++) {
        uint64_t leaver = atomic_load_explicit(&queue->shared->roles.leavers[i], memory_order_acquire);
        if ((uint32_t)leaver == (uint32_t)pid && role_same_start(leaver >> 32, start_ticks))
            return true;
    }
    return false;
}

/* Whether an announced process, which is gone, never came: neither by another row of its own. */
static bool role_never_came(mproc_queue *queue, unsigned row)
{
    return !mproc__queue_role_came(queue, mproc__segment_row_pid(queue->segment, row),
                                   mproc__segment_row_start(queue->segment, row));
}

void mproc__queue_role_clear(mproc_queue *queue, unsigned row)
{
    uint64_t word = role_of(queue, row), next;
    if (!(word & MPROC__ROLE_LIFE))
        return;
    if ((word & MPROC__ROLE_CAME) && queue->process_shared)
        role_remember(queue, row);
    bool lost = (word & MPROC__ROLE_PENDING) && role_never_came(queue, row);
    do {
        next = word & ~(uint64_t)MPROC__ROLE_LIFE;
        if (lost && (word & MPROC__ROLE_PENDING))
            next = role_losing(next);
    } while (!role_store(queue, row, &word, next));
}

/* ---- what is over ---- */

void mproc__queue_role_count(mproc__role_census *census, uint64_t word)
{
    census->readers += (word & MPROC_ROLE_READ) != 0;
    census->writers += (word & MPROC_ROLE_WRITE) != 0;
    census->pending += (word & MPROC__ROLE_PENDING) != 0;
    census->read_ever |= (word & MPROC__ROLE_READ_EVER) != 0;
    census->came += role_came(word);
    census->lost += role_lost(word);
}

/* All words as they were at one moment: what a second look finds unchanged. Otherwise a role that one process takes before
 * another gives its own up could be seen in neither. False: they change all the time; whoever changes them posts. */
static bool role_survey(mproc_queue *queue, mproc__role_census *ret_census)
{
    uint64_t words[MPROC__ROWS] = {0};
    unsigned rows = mproc__segment_rows(queue->segment);
    bool changed = true;
    for (unsigned row = 0; row < rows; row++)
        words[row] = role_of(queue, row);
    for (unsigned tries = 0; changed && tries < SURVEYS; tries++) {
        *ret_census = (mproc__role_census){0};
        changed = rows != mproc__segment_rows(queue->segment);
        rows = mproc__segment_rows(queue->segment);
        for (unsigned row = 0; row < rows; row++) {
            uint64_t word = role_of(queue, row);
            changed |= word != words[row];
            words[row] = word;
            mproc__queue_role_count(ret_census, word);
        }
    }
    return !changed;
}

static int role_written(mproc_queue *queue, const mproc__role_census *census)
{
    uint32_t expected = queue->shared->roles.expected_writers;
    if (census->writers > 0 || census->pending > 0 ||
        census->came + census->lost < (expected > 0 ? expected : 1))
        return -EAGAIN;
    bool all = expected > 0 ? census->came >= expected : census->lost == 0;
    return all ? MPROC_EEND : MPROC_ENEVER;
}

int mproc__queue_over(mproc_queue *queue, const mproc__eventcount_shared *event)
{
    const mproc__queue_shared *shared = queue->shared;
    if (MPROC__LIKELY(!atomic_load_explicit(&shared->counting, memory_order_relaxed)))
        return -EAGAIN;
    mproc__role_census census;
    if (!role_survey(queue, &census))
        return -EAGAIN;
    if (event == &shared->items)
        return role_written(queue, &census);
    if (event == &shared->dead) /* the attempt itself has looked */
        return -EAGAIN;
    return census.read_ever && census.readers == 0
               ? mproc__fail(-EPIPE, "its last reader is gone, and what is in the queue stays there")
               : -EAGAIN;
}
