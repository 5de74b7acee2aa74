/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants, killed at every state of their put and get: texts, which travel encoded. By size from each start state, and of a
 * small one in a plain and in an acknowledged queue with deaths in recovery, too. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kill/queue_sizes.h"

enum { SMALL_BYTES = 9, FIRST = 'A', REST = '.' };

typedef struct scene {
    queue_scene base; /* its items are the texts that are put beforehand */
    const queue_start *start;
} scene;

static const char *const states[] = {"plain", "acknowledged", NULL};
static const queue_start starts[] = {{.preload = 0}, {.redeliver = true}};
static const queue_start full_starts[] = {{.preload = 1}, {.preload = 1, .redeliver = true}};

/* Text `number`: its first letter tells which. All others are there before the call. */
static char letters[SCENE_BYTES_MOST + 1];

static void letters_make(size_t size_bytes)
{
    static size_t made;
    if (made != size_bytes)
        memset(letters, REST, size_bytes);
    letters[size_bytes] = '\0';
    made = size_bytes;
}

static int put_text(const queue_scene *s, unsigned number, mproc_deadline deadline)
{
    if (s->size_bytes > 0)
        letters[0] = (char)(FIRST + number);
    return mproc_queue_put_variant(s->queue, mproc_text(letters), deadline);
}

static int put_first(const queue_scene *s, unsigned number)
{
    return put_text(s, number, queue_hard());
}

static int text_number(const queue_scene *s, const mproc_variant *got)
{
    if (got->kind != MPROC_KIND_TEXT || (size_t)got->number != s->size_bytes)
        return -1;
    const char *text = got->data;
    if (s->size_bytes == 0)
        return 0;
    return memcmp(text + 1, letters + 1, s->size_bytes) == 0 ? text[0] - FIRST : -1;
}

/* Its number, -1: not whole, or an error below that. */
static int get_text(const queue_scene *s, mproc_deadline deadline)
{
    mproc_variant got = mproc_null();
    int rc = mproc_queue_get_variant(s->queue, deadline, &got);
    int number = rc < 0 ? rc : text_number(s, &got);
    mproc_variant_clear(&got);
    return number;
}

static int scene_make(const queue_start *start, size_t size_bytes, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->start = start;
    letters_make(size_bytes);
    return queue_start_make(&s->base, start, size_bytes, put_first);
}

/* ---- put ---- */

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&starts[state], SMALL_BYTES, ret_context);
}

static int put_sizes_setup(unsigned state, void **ret_context)
{
    return scene_make(queue_put_start(state), queue_size(state, QUEUE_STARTS), ret_context);
}

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc_deadline deadline = s->start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    return put_text(&s->base, s->start->preload, deadline) != s->start->expected;
}

/* Texts from `from` on, in order, and nothing else. */
static int drained(const scene *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (get_text(&s->base, queue_hard()) != queue_number(&s->base, i))
            return 11;
    return queue_scene_use(&s->base, s->start->closed);
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned committed = queue_puts_since(&s->base);
    bool may = s->start->expected == 0;
    (void)state;
    if (committed > may || (returned && may && committed == 0))
        return 10;
    return kill_swept(s->base.queue->segment) ? drained(s, 0, s->start->preload + committed) : 15;
}

/* ---- get ---- */

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&full_starts[state], SMALL_BYTES, ret_context);
}

static int get_sizes_setup(unsigned state, void **ret_context)
{
    return scene_make(queue_get_start(state), queue_size(state, QUEUE_STARTS), ret_context);
}

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return get_text(&s->base, s->start->expected ? MPROC_NOW : MPROC_FOREVER) != s->start->expected;
}

/* An acknowledged queue gives the text again unless the victim was through with it. */
static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned taken = queue_gets_since(&s->base);
    bool may = s->start->expected == 0;
    (void)state;
    if (taken > may || (returned && may && taken == 0))
        return 10;
    if (!kill_swept(s->base.queue->segment))
        return 15;
    size_t items = 0;
    if (mproc_queue_counts(s->base.queue, &items, NULL, NULL) < 0)
        return 16;
    bool again = taken && s->start->redeliver && !returned && items > 0;
    return drained(s, again ? 0 : taken, s->start->preload);
}

#define VARIANT(title, names, making, of)                                                                    \
    .operation = (title), .states = (names), .copies = true, .setup = (making),                              \
    .teardown = queue_scene_teardown, .prepare = queue_scene_enter, .call = of##_call, .check = of##_check,  \
    .meanwhile = queue_scene_meanwhile

const kill_case killsweep_queue_put_variant = {VARIANT("queue put variant", states, put_setup, put),
                                               .recover = queue_scene_recover};
const kill_case killsweep_queue_get_variant = {VARIANT("queue get variant", states, get_setup, get),
                                               .recover = queue_scene_recover};
const kill_case killsweep_queue_put_variant_sizes = {
    VARIANT("queue put variant by size", queue_sizes_states, put_sizes_setup, put)};
const kill_case killsweep_queue_get_variant_sizes = {
    VARIANT("queue get variant by size", queue_sizes_states, get_sizes_setup, get)};
