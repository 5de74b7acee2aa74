/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects in damaged memory: every call must answer, and soon, whatever stands in the segment.
 *
 * A seed makes an object, lets a process use it and die, and then spoils some of its bytes: bits, words that programs trip
 * over, blocks of it swapped or zeroed. Three ways: before a process attaches; between its calls; all the time during its
 * calls. That process makes every call of the noun with a short deadline. It may get any answer, but must not crash, abort,
 * or stay over a second in a call.
 *
 * Left alone are the list pointers of robust mutexes that may be held at that moment: libc and the kernel write through them,
 * and no check of ours comes in between (DESIGN.md: who can write a segment is trusted). They are found by what a fresh
 * mutex looks like.
 *
 *     MPROC_FUZZ_SEED=17 MPROC_FUZZ_SEEDS=1 tests/torture/check_damage     what seed 17 does, for a debugger with CK_FORK=no
 *     make fuzz                                                            many more seeds */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue.h"
#include "channel/queue_case.h"
#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"
#include "sync/nouns.h"

enum {
    SEEDS = 30, /* of each noun and way, in a check */
    DEADLINE_MS = 3,
    LIMIT_MS = 1000,
    ROUNDS = 2,
    /* Of all calls of a seed together. In a round at most three have no deadline of their own (commit, shutdown), and
     * find out what keeps them after 500 to 700 ms (robust.c, queue_check.c); some thirty others, and the close, have
     * DEADLINE_MS, or the 20 ms that a side's lock is waited for at least (side.h). The worst of 2340 seeds took 2.6 s. */
    SEED_LIMIT_MS = ROUNDS * (3 * LIMIT_MS + LIMIT_MS),
    CHANGES_MAX = 12,
    BLOCK_BYTES = 64,
    MUTEXES_MAX = 512,
    CHANGES_RACING = 20000,
    QUEUES = 2
};

typedef enum way { BEFORE_ATTACH, BETWEEN_CALLS, DURING_CALLS, WAYS } way;
static const char *const way_names[WAYS] = {"before attach", "between calls", "during calls"};

/* ---- what is spoilt ---- */

typedef struct target {
    uint8_t *bytes; /* the whole segment */
    size_t size_bytes;
    int fd;
    size_t mutexes[MUTEXES_MAX]; /* offsets */
    unsigned mutex_count;
    uint64_t random;
} target;

static uint64_t next_random(target *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random * UINT64_C(0x2545f4914f6cdd1d);
}

static size_t below(target *t, size_t limit)
{
    return (size_t)(next_random(t) >> 8) % limit;
}

static void mutexes_find(target *t)
{
    mproc__robust_shared fresh;
    memset(&fresh, 0, sizeof(fresh));
    mproc__robust_init(&fresh, true);
    for (size_t at = 0; at + sizeof(fresh) <= t->size_bytes; at += 8)
        if (memcmp(t->bytes + at, &fresh, sizeof(fresh)) == 0 && t->mutex_count < MUTEXES_MAX)
            t->mutexes[t->mutex_count++] = at;
}

/* Whether [at, at + length) has a list pointer in it. */
static bool is_spared(const target *t, size_t at, size_t length)
{
    size_t list = offsetof(pthread_mutex_t, __data.__list);
    for (unsigned i = 0; i < t->mutex_count; i++)
        if (at < t->mutexes[i] + list + sizeof(__pthread_list_t) && at + length > t->mutexes[i] + list)
            return true;
    return false;
}

/* Mostly where the structure is: header and the front of the root; sometimes anywhere. */
static size_t somewhere(target *t, size_t length)
{
    size_t front = sizeof(mproc__header_shared) + 1024 < t->size_bytes ? sizeof(mproc__header_shared) + 1024
                                                                       : t->size_bytes;
    size_t root = sizeof(mproc__header_shared);
    switch (below(t, 4)) {
    case 0:
        return below(t, t->size_bytes - length);
    case 1:
        return below(t, offsetof(mproc__header_shared, rows) + 4 * sizeof(mproc__row_shared));
    default:
        return root + below(t, front - root - length);
    }
}

static void spoil_word(target *t)
{
    static const uint64_t words[] = {0,
                                     1,
                                     UINT64_MAX,
                                     INT64_MAX,
                                     INT32_MAX,
                                     UINT32_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_C(0x8000000080000000),
                                     UINT64_C(0x4000000040000000),
                                     4096,
                                     127,
                                     UINT64_C(0x7fffffffffffff00)};
    size_t bytes = (size_t)1 << below(t, 4);
    size_t at = somewhere(t, 8) / bytes * bytes;
    uint64_t word = words[below(t, MPROC__COUNT(words))] + below(t, 3) - 1;
    if (!is_spared(t, at, bytes))
        memcpy(t->bytes + at, &word, bytes);
}

static void spoil_bit(target *t)
{
    size_t at = somewhere(t, 1);
    if (!is_spared(t, at, 1))
        t->bytes[at] ^= (uint8_t)(1u << below(t, 8));
}

static void spoil_block(target *t)
{
    uint8_t saved[BLOCK_BYTES];
    size_t to = somewhere(t, BLOCK_BYTES), from = somewhere(t, BLOCK_BYTES);
    if (is_spared(t, to, BLOCK_BYTES) || is_spared(t, from, BLOCK_BYTES))
        return;
    memcpy(saved, t->bytes + to, BLOCK_BYTES);
    if (below(t, 4) == 0) {
        memset(t->bytes + to, 0, BLOCK_BYTES);
        return;
    }
    memmove(t->bytes + to, t->bytes + from, BLOCK_BYTES);
    memcpy(t->bytes + from, saved, BLOCK_BYTES);
}

static void spoil(target *t)
{
    static void (*const kinds[])(target *) = {spoil_word, spoil_word, spoil_word, spoil_bit, spoil_block};
    kinds[below(t, MPROC__COUNT(kinds))](t);
}

static void spoil_some(target *t)
{
    for (size_t changes = 1 + below(t, CHANGES_MAX); changes > 0; changes--)
        spoil(t);
}

/* ---- one seed ---- */

typedef struct seed_run {
    const noun_case *noun;
    way way;
    uint64_t seed;
    void *object;
    mproc__parcel parcel;
    target target;
    _Atomic int *attached; /* shared: the victim is about to call */
} seed_run;

static int attach(seed_run *r, void **ret_object)
{
    mproc__handle *handle = NULL;
    mproc__parcel parcel = r->parcel;
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = fcntl(parcel.fds[i], F_DUPFD_CLOEXEC, 3);
    int rc = r->noun->unpack(&parcel, r->parcel.blob, r->parcel.blob_bytes, &handle);
    for (size_t i = 0; i < parcel.fd_count; i++)
        if (parcel.fds[i] >= 0)
            close(parcel.fds[i]);
    *ret_object = handle;
    return rc;
}

/* Leaves a dead row, and what was in its hands. */
static int use_and_die(void *context)
{
    seed_run *r = context;
    noun_any(r->noun->use(r->object));
    if (r->noun->occupy)
        noun_any(r->noun->occupy(r->object));
    return 0;
}

static int meet_damage(void *context)
{
    seed_run *r = context;
    void *object = NULL;
    if (attach(r, &object) < 0)
        return 0;
    if (r->way != BEFORE_ATTACH)
        noun_any(r->noun->use(object));
    if (r->way == BETWEEN_CALLS)
        spoil_some(&r->target);
    atomic_store(r->attached, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char text[256];
        bool racing = r->way == DURING_CALLS && r->noun->in_time;
        (racing ? r->noun->in_time : r->noun->everything)(object, mproc_after_ms(DEADLINE_MS));
        (void)mproc_describe(object, text, sizeof(text));
    }
    mproc__handle_close(&object, r->noun->type);
    return 0;
}

static bool has_attached(void *context)
{
    return atomic_load(((seed_run *)context)->attached) != 0;
}

static int target_open(seed_run *r)
{
    target *t = &r->target;
    struct stat status;
    const mproc__handle *handle = r->object;
    r->parcel.allow_fds = true;
    if (handle->ops->pack(r->object, &r->parcel) != 0 || fstat(r->parcel.fds[0], &status) != 0)
        return 1;
    t->size_bytes = (size_t)status.st_size;
    t->bytes = mmap(NULL, t->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->parcel.fds[0], 0);
    t->random = r->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (unsigned i = 0; i < 8; i++)
        next_random(t);
    return t->bytes == MAP_FAILED;
}

/* In a process of its own, which never uses the object itself: it holds nothing in it. 0, or what went wrong. */
static int seed_main(void *context)
{
    seed_run *r = context;
    r->attached = mmap(NULL, sizeof(*r->attached), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r->noun->create(NULL, NULL, &r->object) != 0 || target_open(r) != 0)
        return 100;
    mutexes_find(&r->target);
    (void)support_reap(support_fork(use_and_die, r), 5000);
    if (r->way == BEFORE_ATTACH)
        spoil_some(&r->target);
    pid_t victim = support_fork(meet_damage, r);
    if (r->way == DURING_CALLS && support_until(has_attached, r, 2000))
        for (unsigned i = 0; i < CHANGES_RACING; i++)
            spoil(&r->target);
    int status = support_reap(victim, SEED_LIMIT_MS);
    return status < 0 ? 99 : status >= 256 ? status - 256 : status;
}

static unsigned setting(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static const noun_case *noun_at(unsigned index)
{
    static const noun_case *const queues[QUEUES] = {&queue_case, &queue_priority_case};
    return index < noun_case_count() ? &noun_cases[index] : queues[index - noun_case_count()];
}

/* shows: MEM-2 */
START_TEST(damage_is_answered_and_never_followed)
{
    static seed_run run;
    unsigned first = setting("MPROC_FUZZ_SEED", 1), count = setting("MPROC_FUZZ_SEEDS", SEEDS);
    for (unsigned seed = first; seed < first + count; seed++) {
        run =
            (seed_run){.noun = noun_at((unsigned)_i / WAYS), .way = (way)((unsigned)_i % WAYS), .seed = seed};
        int status = support_reap(support_fork(seed_main, &run), SEED_LIMIT_MS + 10000);
        ck_assert_msg(status == 0, "%s damaged %s: MPROC_FUZZ_SEED=%u ends with %d%s", run.noun->name,
                      way_names[run.way], seed, status, status == 99 ? " (too slow)" : "");
    }
}
END_TEST

int main(int argc, char **argv)
{
    mproc__nouns_register();
    mproc__noun_register(&mproc__queue_noun);
    Suite *suite = suite_create("damage");
    TCase *damage = support_case(suite, "damage");
    tcase_set_timeout(damage, 60 + setting("MPROC_FUZZ_SEEDS", SEEDS) / 2.0);
    tcase_add_loop_test(damage, damage_is_answered_and_never_followed, 0,
                        ((int)noun_case_count() + QUEUES) * WAYS);
    return support_run(suite, argc, argv);
}
