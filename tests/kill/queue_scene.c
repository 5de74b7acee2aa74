/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kill/queue_scene.h"

enum { TURN_BYTES = 1000, LARGE_PAGE = 2 << 20 };

/* Large pages, of which there is little to copy in a fork. */
static uint8_t pattern[SCENE_BYTES_MOST + UINT8_MAX] __attribute__((aligned(LARGE_PAGE)));

/* Made beforehand, so that the swept call is the library's alone; no more than needed, for each fork copies what tells where
 * it is. */
static void pattern_make(size_t size_bytes)
{
    static size_t made;
    if (made == 0)
        (void)madvise(pattern, sizeof(pattern), MADV_HUGEPAGE);
    for (; made < size_bytes + UINT8_MAX; made++)
        pattern[made] = (uint8_t)made;
}

/* What is got. In the processes of a round only, which end with it. */
static uint8_t *buffer(void)
{
    static uint8_t bytes[SCENE_BYTES_MOST];
    return bytes;
}

mproc_deadline queue_hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

const uint8_t *queue_item(unsigned number)
{
    return pattern + number;
}

int queue_item_number(const queue_scene *s, const void *data, size_t size_bytes)
{
    if (size_bytes != s->size_bytes)
        return -1;
    if (size_bytes == 0)
        return 0;
    int number = *(const uint8_t *)data;
    return memcmp(data, pattern + number, size_bytes) == 0 ? number : -1;
}

int queue_number(const queue_scene *s, unsigned number)
{
    return s->size_bytes == 0 ? 0 : (int)number;
}

int queue_put_number(const queue_scene *s, unsigned number, mproc_deadline deadline)
{
    return mproc_queue_put(s->queue, pattern + number, s->size_bytes, deadline);
}

/* Where a copy takes longer than all else. */
static int get_in_place(const queue_scene *s, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take(s->queue, deadline, &loan);
    if (rc < 0)
        return rc;
    int number = queue_item_number(s, loan.data, loan.data_bytes);
    rc = mproc_queue_done(s->queue, &loan);
    return rc < 0 ? rc : number;
}

int queue_get_number(const queue_scene *s, mproc_deadline deadline)
{
    return s->size_bytes > SCENE_COPY_BYTES ? get_in_place(s, deadline) : queue_get_copy(s, deadline);
}

int queue_get_copy(const queue_scene *s, mproc_deadline deadline)
{
    size_t size_bytes = 0;
    int rc = mproc_queue_get(s->queue, buffer(), s->size_bytes, deadline, &size_bytes);
    return rc < 0 ? rc : queue_item_number(s, buffer(), size_bytes);
}

unsigned queue_puts_since(const queue_scene *s)
{
    return (mproc__position_items(s->queue->shared->tail) - s->tail_items) & 0xffffff;
}

unsigned queue_gets_since(const queue_scene *s)
{
    return (mproc__position_items(s->queue->shared->head) - s->head_items) & 0xffffff;
}

void queue_scene_begin(queue_scene *s)
{
    s->head_items = mproc__position_items(s->queue->shared->head);
    s->tail_items = mproc__position_items(s->queue->shared->tail);
}

int queue_scene_make(queue_scene *s, const mproc_queue_options *options, size_t size_bytes, unsigned preload)
{
    pattern_make(size_bytes > TURN_BYTES ? size_bytes : TURN_BYTES);
    s->size_bytes = size_bytes;
    s->notes = mmap(NULL, sizeof(*s->notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->notes == MAP_FAILED)
        return 3;
    s->queue = queue_make(MPROC__HOME_HOST, options);
    if (!s->queue)
        return 1;
    for (unsigned i = 0; i < preload; i++)
        if (queue_put_number(s, i, queue_hard()) < 0)
            return 2;
    queue_scene_begin(s);
    return 0;
}

/* Where all are blocks, in one step: blocks would have it begin elsewhere in the arena. */
static void turn_at_once(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t end =
        mproc__position_advance(shared->tail, queue->ring.size_bytes - MPROC__RECORD_HEADER_BYTES, 0);
    shared->put.side.seen = shared->get.side.seen = shared->head = shared->tail = end;
}

/* By records, whatever the scene's size, and at last by the smallest ones. */
int queue_scene_turn(const queue_scene *s)
{
    const mproc__ring *ring = &s->queue->ring;
    bool is_record = s->size_bytes <= MPROC__RECORD_BYTES;
    uint64_t need = mproc__record_bytes(is_record ? s->size_bytes : sizeof(mproc__descriptor_shared));
    if (s->queue->by_block) {
        turn_at_once(s->queue);
        return 0;
    }
    for (;;) {
        uint64_t offset = mproc__position_bytes(s->queue->shared->tail) & (ring->size_bytes - 1);
        uint64_t left = ring->size_bytes - offset;
        if (left < need || left == MPROC__RECORD_HEADER_BYTES) /* an empty item always fits */
            return 0;
        size_t size_bytes = left > 2 * mproc__record_bytes(TURN_BYTES) ? TURN_BYTES : 0;
        if (mproc_queue_put(s->queue, pattern, size_bytes, queue_hard()) < 0 ||
            mproc_queue_get(s->queue, buffer(), TURN_BYTES, queue_hard(), NULL) < 0)
            return 5;
    }
}

void queue_scene_quiet(const queue_scene *s, unsigned blocks)
{
    const mproc__arena *arena = &s->queue->arena;
    size_t each = mproc__round_up(sizeof(mproc__block_shared) + s->size_bytes, arena->granule_bytes);
    if (s->size_bytes <= MPROC__RECORD_BYTES && !s->queue->by_block)
        return;
    for (unsigned i = 0; i < blocks && (i + 1) * each <= arena->granule_bytes * arena->granule_count; i++)
        kill_quiet(arena->data + i * each + sizeof(mproc__block_shared), s->size_bytes);
}

static int back(const queue_scene *s, int answer)
{
    atomic_store(&s->notes->back, 1);
    mproc__futex_wake(&s->notes->back, 1, true);
    return answer;
}

int queue_parked_get(const queue_scene *s)
{
    atomic_store(&s->notes->parked, 1);
    return back(s, queue_get_number(s, MPROC_FOREVER));
}

int queue_parked_put(const queue_scene *s)
{
    atomic_store(&s->notes->parked, 1);
    return back(s, queue_put_number(s, SCENE_PARKED, MPROC_FOREVER));
}

bool queue_parked_is_back(const queue_scene *s)
{
    mproc_deadline until = queue_hard();
    while (!atomic_load(&s->notes->back) && !mproc__deadline_past(until))
        mproc__futex_wait(&s->notes->back, 0, true, until);
    return atomic_load(&s->notes->back) != 0;
}

bool queue_parked_is_back_or_none(const queue_scene *s)
{
    return !atomic_load(&s->notes->parked) || queue_parked_is_back(s);
}

int queue_drain(const queue_scene *s)
{
    int count = 0, last = -1, number;
    for (; (number = queue_get_number(s, MPROC_NOW)) >= 0; last = number, count++)
        if (number <= last)
            return -1;
    return number == -ETIMEDOUT ? count : -1;
}

int queue_scene_use(const queue_scene *s, bool closed)
{
    if (!closed && (queue_put_number(s, SCENE_SURVIVOR, queue_hard()) < 0 ||
                    queue_get_number(s, queue_hard()) != queue_number(s, SCENE_SURVIVOR)))
        return 20;
    if (queue_get_number(s, MPROC_NOW) != (closed ? MPROC_EEND : -ETIMEDOUT))
        return 21;
    if (mproc_queue_join(s->queue, queue_hard()) < 0)
        return 22;
    return queue_verify(s->queue, 0) ? 23 : 0;
}

void queue_scene_teardown(void *context)
{
    queue_scene *s = context;
    mproc_queue_close(&s->queue);
    munmap(s->notes, sizeof(*s->notes));
    free(s);
}

static mproc_queue *queue_of(void *context)
{
    return *(mproc_queue **)context;
}

int queue_scene_enter(void *context, unsigned state)
{
    (void)state;
    return mproc__queue_enter(queue_of(context)) < 0;
}

int queue_scene_recover(void *context, unsigned state)
{
    (void)state;
    mproc__segment_sweep(queue_of(context)->segment);
    return 0;
}

int queue_scene_meanwhile(void *context, unsigned state)
{
    (void)state;
    if (mproc__segment_sweep(queue_of(context)->segment) != 0)
        return 1;
    int code = mproc_queue_join(queue_of(context), mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}
