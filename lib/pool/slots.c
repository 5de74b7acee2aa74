/* SPDX-License-Identifier: BSD-2-Clause */
/* The submitter's side of the task slots: given, published, harvested. All with the core's lock held. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "pool/future.h"
#include "pool/payload.h"
#include "pool/pool.h"
#include "pool/reports.h"

enum {
    HARVEST_AT_ONCE = 64, /* looked at by a submit that finds the pool full, before it looks at all */
    REUSE_AT_ONCE =
        32, /* slots that have ended, taken before a fresh one: ahead of the next tasks, as one by one
                             each would wait for its lines */
    REUSE_AHEAD = 3,
    FRESH_AT_ONCE = 16 /* taken where the oldest still runs, before others are looked at */
};

/* ---- functions ---- */

static int function_add(mproc__pool_core *core, mproc_fn *fn)
{
    uint32_t number = core->function_count;
    if (number == MPROC__POOL_FUNCTIONS)
        return mproc__fail(MPROC_ELIMIT, "a pool takes %d different functions", (int)MPROC__POOL_FUNCTIONS);
    mproc__function_shared *known = &core->view.shared->functions[number];
    mproc_start start = core->crew.start;
    if (start == MPROC_START_SPAWN || start == MPROC_START_FORKSERVER) {
        int rc = mproc__function_pack(fn, &known->id);
        if (rc < 0)
            return rc;
    } else {
        known->address = (uintptr_t)fn;
    }
    core->functions[number] = fn;
    core->function_count++;
    return 0;
}

int mproc__core_function(mproc__pool_core *core, mproc_fn *fn, uint32_t *ret_number)
{
    for (uint32_t i = 0; i < core->function_count; i++)
        if (core->functions[i] == fn) {
            *ret_number = i;
            return 0;
        }
    *ret_number = core->function_count;
    return function_add(core, fn);
}

/* A name that this program does not know is for its workers to find, where they are not copies of it. */
static int function_foreign(mproc__pool_core *core, const char *name, uint32_t *ret_number)
{
    uint32_t number = 0;
    mproc__function_shared *known = core->view.shared->functions;
    if (core->crew.start != MPROC_START_SPAWN && core->crew.start != MPROC_START_FORKSERVER)
        return mproc__fail(MPROC_EFUNCTION, "no function is registered as '%.63s'", name);
    while (number < core->function_count &&
           (core->functions[number] || strcmp(known[number].id.name, name) != 0))
        number++;
    if (number == MPROC__POOL_FUNCTIONS)
        return mproc__fail(MPROC_ELIMIT, "a pool takes %d different functions", (int)MPROC__POOL_FUNCTIONS);
    if (number == core->function_count) {
        memcpy(known[number].id.name, name, strlen(name) + 1);
        core->function_count++;
    }
    *ret_number = number;
    return 0;
}

int mproc__core_function_name(mproc__pool_core *core, const char *name, uint32_t *ret_number)
{
    if (strlen(name) >= MPROC__REGISTERED_BYTES)
        return mproc__fail(-ENAMETOOLONG, "a name of %zu bytes; %d are the most", strlen(name),
                           MPROC__REGISTERED_BYTES - 1);
    mproc_fn *fn = mproc__registered_find(name);
    return fn ? mproc__core_function(core, fn, ret_number) : function_foreign(core, name, ret_number);
}

/* ---- blocks of the dead ---- */

/* After a block was freed: the exchange orders the two, as the worker's does (result_store). */
static void room_tell(mproc__pool_core *core)
{
    if (atomic_exchange(&core->view.shared->room_wanted, 0))
        mproc__pool_post(&core->view, &core->view.shared->room);
}

/* Under the lock nobody else frees result blocks, so what no finished task names is nobody's. */
static bool orphan_collect(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    const mproc__pool_core *core = context;
    if (state.state != MPROC__BLOCK_ORPHAN)
        return true;
    const mproc__block_shared *head = mproc__arena_data(arena, block);
    uint32_t slot = head->slot;
    bool named = slot > 0 && slot <= core->view.shared->plan.slot_count &&
                 mproc__task_load(&core->view.slots[slot - 1].word).state == MPROC__TASK_DONE &&
                 core->view.slots[slot - 1].result.block == block + 1;
    named |= slot > 0 && slot <= core->given_count && core->busy[slot - 1] &&
             mproc__extra_names(&core->view, slot - 1, block);
    if (!named)
        mproc__arena_free(arena, block);
    return true;
}

static void orphans_collect(mproc__pool_core *core)
{
    uint32_t burials = atomic_load(&core->view.shared->burials);
    if (burials == core->burials_seen)
        return;
    core->burials_seen = burials;
    mproc__arena_each(&core->view.arena, orphan_collect, core);
    room_tell(core);
}

/* ---- harvest ---- */

void mproc__slot_harvest(mproc__pool_core *core, uint32_t slot)
{
    mproc__task_shared *task = &core->view.slots[slot];
    mproc__task_word word = mproc__task_load(&task->word);
    if (!core->busy[slot] || !mproc__task_final(word.state))
        return;
    core->cancelled += word.state == MPROC__TASK_CANCELLED;
    core->failed +=
        word.state != MPROC__TASK_CANCELLED && (word.state != MPROC__TASK_DONE || task->code != 0);
    if (atomic_load_explicit(&task->edges_first, memory_order_relaxed))
        mproc__after_explain(core, slot);
    if (core->futures[slot]) {
        mproc__reports_take(core->futures[slot], slot, word);
        mproc__future_settle_task(core->futures[slot], task, word);
    }
    mproc__after_clear(core, slot, word);
    bool blocks = task->args.block || task->result.block || task->max_attempts > 1;
    mproc__extra_clear(&core->view, slot);
    if (task->args.block)
        core->queued_bytes -= task->args.size_bytes;
    if (task->args.kind == MPROC__PAYLOAD_LENT)
        mproc__lend_return(&core->lender, core->leases[slot]);
    mproc__payload_clear(&core->view, &task->args);
    if (word.state == MPROC__TASK_DONE) /* else what stands there is half written */
        mproc__payload_clear(&core->view, &task->result);
    core->futures[slot] = NULL;
    core->busy[slot] = false;
    mproc__task_clear(&task->word);
    core->free_slots[core->free_count++] = slot;
    if (blocks)
        room_tell(core);
}

/* A part of the slots, round and round: where many run, the next look finds some that have ended. */
static void slots_harvest_some(mproc__pool_core *core, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < core->given_count; i++) {
        core->cursor = core->cursor + 1 < core->given_count ? core->cursor + 1 : 0;
        mproc__slot_harvest(core, core->cursor);
    }
    orphans_collect(core);
}

void mproc__slots_harvest(mproc__pool_core *core)
{
    slots_harvest_some(core, core->given_count);
}

void mproc__core_harvest(mproc__pool_core *core)
{
    mproc__slots_harvest(core);
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        if (core->maps[i])
            mproc__map_look(core->maps[i]);
}

void mproc__slots_make_room(mproc__pool_core *core)
{
    if (!atomic_load_explicit(&core->view.shared->room_wanted, memory_order_relaxed))
        return;
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    pthread_mutex_unlock(&core->lock);
}

uint32_t mproc__slots_busy(const mproc__pool_core *core)
{
    return core->given_count - core->free_count;
}

/* ---- put ---- */

static bool slots_room(mproc__pool_core *core, size_t block_bytes)
{
    return mproc__slots_busy(core) < core->tasks_limit &&
           (block_bytes == 0 || core->queued_bytes + block_bytes <= core->bytes_limit);
}

/* What the worker wrote last, and the next task will. */
static void slot_prefetch(const mproc__pool_core *core, uint32_t slot)
{
    if (slot >= core->given_count)
        return;
    const mproc__task_shared *task = &core->view.slots[slot];
    __builtin_prefetch(&task->word, 1);
    __builtin_prefetch(&task->args.bytes, 1);
    __builtin_prefetch(&task->result, 1);
    if (core->futures[slot]) {
        __builtin_prefetch(&core->futures[slot]->settled, 1);
        __builtin_prefetch(&core->futures[slot]->reports, 1);
    }
}

/* A burst whose first tasks have ended goes on in their slots, whose lines and pages are at hand, here and where the workers
 * are; its results are taken on the way. Slots are looked at in the order in which they were given. Where one has not
 * ended those behind it hardly have: an eighth of all is passed over until the next time round, so that the cursor comes
 * away from the end, where fresh ones are added, faster than that goes on. */
static void slots_reuse(mproc__pool_core *core)
{
    if (core->given_count < core->fresh_until)
        return;
    for (uint32_t ahead = 1; ahead < REUSE_AHEAD; ahead++)
        slot_prefetch(core, core->cursor + ahead);
    for (uint32_t i = 0; i < REUSE_AT_ONCE && i < core->given_count; i++) {
        core->cursor = core->cursor + 1 < core->given_count ? core->cursor + 1 : 0;
        slot_prefetch(core, core->cursor + REUSE_AHEAD);
        mproc__slot_harvest(core, core->cursor);
        if (core->busy[core->cursor])
            break;
    }
    if (core->free_count > 0)
        return;
    core->fresh_until = core->given_count + FRESH_AT_ONCE;
    core->cursor = (core->cursor + core->given_count / 8) % (core->given_count + 1);
}

static int slot_take(mproc__pool_core *core, uint32_t *ret_slot)
{
    if (core->free_count == 0)
        slots_reuse(core);
    if (core->free_count > 0) {
        *ret_slot = core->free_slots[--core->free_count];
        return 0;
    }
    int rc = mproc__view_reserve_slots(&core->view, core->given_count + 1);
    if (rc == 0)
        *ret_slot = core->given_count++;
    return rc;
}

static void slot_fill(mproc__task_shared *to, const mproc__task_terms *from)
{
    atomic_store_explicit(&to->progress_done, 0, memory_order_relaxed);
    atomic_store_explicit(&to->progress_total, 0, memory_order_relaxed);
    to->number = from->number;
    to->begin_by_ns = from->begin_by_ns;
    to->priority = from->priority;
    to->function = from->function;
    to->time_limit_ms = from->time_limit_ms;
    to->grace_ms = from->grace_ms;
    atomic_store_explicit(&to->max_attempts, from->max_attempts, memory_order_relaxed);
    to->even_if_failed = from->even_if_failed;
}

/* Published, and READY or not. */
static void slot_publish(mproc__pool_core *core, uint32_t slot, const mproc_task_options *options,
                         mproc_future *future)
{
    _Atomic uint64_t *word = &core->view.slots[slot].word;
    bool waits = options && options->after_count > 0 &&
                 mproc__after_link(core, slot, mproc__task_serial(word), options);
    future->slot = slot;
    future->serial = mproc__task_publish(word, waits);
    if (waits)
        mproc__after_look(&core->view, slot);
    else
        mproc__ready_push(&core->view, slot);
}

static int edges_room(mproc__pool_core *core, const mproc_task_options *options)
{
    if (!options || options->after_count == 0)
        return 0;
    int rc = mproc__after_reserve(core, options);
    if (rc != -EAGAIN)
        return rc;
    mproc__slots_harvest(core);
    rc = mproc__after_reserve(core, options);
    if (rc == -EAGAIN)
        core->full_of = "tasks that come after others wait for as many as the pool can hold";
    return rc;
}

/* Handles among the arguments are lent. -EAGAIN: others have lent all that can be. */
static int order_lend(mproc__pool_core *core, const mproc__order *order, mproc__payload_draft *ret_draft)
{
    bool room;
    if (!core->leases)
        core->leases = calloc(core->view.shared->plan.slot_count, sizeof *core->leases);
    if (!core->leases)
        return mproc__fail(-ENOMEM, "no memory for handles among arguments");
    int rc = mproc__lend_draft(&core->lender, order->args, ret_draft, &room);
    if (!room)
        return rc;
    mproc__core_harvest(core);
    rc = mproc__lend_draft(&core->lender, order->args, ret_draft, &room);
    if (!room)
        return rc;
    core->full_of = "64 handles are in the arguments of tasks and maps that have not ended";
    return -EAGAIN;
}

static int order_draw(mproc__pool_core *core, const mproc__order *order, mproc__payload_draft *ret_draft)
{
    if (!order->plan) {
        int rc = mproc__payload_draw(&core->view, order->args, ret_draft);
        return rc == MPROC_ECANNOTCROSS ? order_lend(core, order, ret_draft) : rc;
    }
    ret_draft->lent = NULL;
    ret_draft->lease = 0;
    ret_draft->block_bytes =
        mproc__batch_room_at(order->plan->shared->size + order->plan->size) + order->plan->room;
    return 0;
}

static int order_store(mproc__pool_core *core, const mproc__order *order, uint32_t slot,
                       const mproc__payload_draft *draft)
{
    const mproc__batch_plan *plan = order->plan;
    mproc__task_shared *to = &core->view.slots[slot];
    to->items = plan ? plan->items : 0;
    to->result.block =
        0; /* a worker that died left one here, perhaps; a batch that fits its room stores none */
    to->result.kind = MPROC__PAYLOAD_NONE;
    if (!plan)
        return mproc__payload_put(&core->view, slot, order->args, draft, &to->args);
    to->packed_bytes = (uint32_t)(plan->shared->size + plan->size);
    to->first_attempt = plan->first_attempt;
    to->unpack = plan->unpack;
    to->busy_ns = 0;
    atomic_store_explicit(&to->committed, 0, memory_order_relaxed);
    return mproc__payload_store_batch(&core->view, slot, plan, &to->args);
}

static int room_none(mproc__pool_core *core)
{
    core->full_of = "max_queued_tasks or max_queued_bytes is reached";
    return -EAGAIN;
}

static int room_find(mproc__pool_core *core, size_t block_bytes)
{
    if (block_bytes > core->bytes_limit)
        return mproc__fail(-EMSGSIZE, "arguments of %zu bytes; the pool's max_queued_bytes is %zu",
                           block_bytes, core->bytes_limit);
    if (!slots_room(core, block_bytes))
        slots_harvest_some(core, HARVEST_AT_ONCE);
    if (!slots_room(core, block_bytes))
        mproc__slots_harvest(core);
    return slots_room(core, block_bytes) ? 0 : room_none(core);
}

/* A slot with all but the word. */
static int slot_prepare(mproc__pool_core *core, const mproc__order *order, const mproc__task_terms *terms,
                        const mproc__payload_draft *draft, uint32_t *ret_slot)
{
    int rc = room_find(core, draft->block_bytes);
    if (rc == 0)
        rc = mproc__ready_reserve(&core->view, terms->priority);
    if (rc == 0)
        rc = edges_room(core, order->options);
    if (rc == 0)
        rc = slot_take(core, ret_slot);
    if (rc < 0)
        return rc;
    rc = terms->max_attempts > 1 ? mproc__extra_prepare(&core->view, *ret_slot) : 0;
    if (rc == 0)
        rc = order_store(core, order, *ret_slot, draft);
    if (rc < 0) {
        core->free_slots[core->free_count++] = *ret_slot;
        return rc == -ENOSPC ? room_none(core) : rc;
    }
    if (draft->block_bytes)
        core->queued_bytes += core->view.slots[*ret_slot].args.size_bytes;
    slot_fill(&core->view.slots[*ret_slot], terms);
    return 0;
}

int mproc__slots_put(mproc__pool_core *core, const mproc__order *order, const mproc__task_terms *terms,
                     mproc_future *future)
{
    mproc__payload_draft draft;
    uint32_t slot = 0;
    int rc = order_draw(core, order, &draft);
    if (rc < 0)
        return rc;
    rc = slot_prepare(core, order, terms, &draft, &slot);
    if (MPROC__UNLIKELY(draft.lease != 0)) {
        free(draft.lent);
        if (rc == 0)
            core->leases[slot] = draft.lease;
        else
            mproc__lend_return(&core->lender, draft.lease);
    }
    if (rc < 0)
        return rc;
    core->busy[slot] = true;
    core->futures[slot] = future;
    slot_publish(core, slot, order->options, future);
    core->accepted++;
    return 0;
}

size_t mproc__slots_cancel(mproc__pool_core *core, bool even_if_running)
{
    size_t cancelled = 0;
    for (uint32_t slot = 0; slot < core->given_count; slot++) {
        mproc__task_word word = mproc__task_load(&core->view.slots[slot].word);
        if (core->busy[slot] && word.state != MPROC__TASK_STOPPING &&
            mproc__task_cancel(&core->view.slots[slot].word, word.serial, even_if_running) == 0)
            cancelled++;
    }
    mproc__slots_harvest(core);
    mproc__pool_post(&core->view, &core->view.shared->command);
    return cancelled;
}
