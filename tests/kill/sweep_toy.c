/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations to prove the harness on: one that a kill cannot hurt and two that it can, each with its hole on purpose.
 *
 * The object is a pair of numbers that must be equal, and a word that a waiter sleeps on. */
#include "platform/base.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kill/killsweep.h"

typedef struct toy_shared {
    _Atomic uint64_t pair; /* both numbers in one word: sound */
    _Atomic uint32_t left; /* the same as two words: torn between the stores */
    _Atomic uint32_t right;
    _Atomic uint32_t door; /* 0 shut, 1 open */
    uint8_t pad[44];
    uint8_t text[128]; /* written before the pair, private until then */
} toy_shared;

static const char *const toy_states[] = {"fresh", NULL};

static int toy_setup(unsigned state, void **ret_context)
{
    (void)state;
    *ret_context = mmap(NULL, sizeof(toy_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return *ret_context == MAP_FAILED;
}

static void toy_teardown(void *context)
{
    munmap(context, sizeof(toy_shared));
}

/* Three stores: two bytes that nobody looks at yet, then the one that commits. */
static int toy_sound(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    *(volatile uint8_t *)&toy->text[0] = 1;
    *(volatile uint8_t *)&toy->text[1] = 2;
    atomic_store_explicit(&toy->pair, ((uint64_t)1 << 32) | 1, memory_order_release);
    return 0;
}

static int toy_sound_check(void *context, unsigned state, bool returned)
{
    toy_shared *toy = context;
    uint64_t pair = atomic_load(&toy->pair);
    (void)state;
    if ((pair >> 32) != (uint32_t)pair)
        return 1;
    if (pair != 0 && (toy->text[0] != 1 || toy->text[1] != 2))
        return 2;
    return returned && pair == 0 ? 3 : 0;
}

static int toy_torn(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    atomic_store_explicit(&toy->left, 1, memory_order_release);
    atomic_store_explicit(&toy->right, 1, memory_order_release);
    return 0;
}

static int toy_torn_check(void *context, unsigned state, bool returned)
{
    toy_shared *toy = context;
    (void)state;
    if (atomic_load(&toy->left) != atomic_load(&toy->right))
        return 1;
    return returned && atomic_load(&toy->left) != 1;
}

/* Killed between the store and the wake, it leaves the waiter asleep: a plain futex has no net. */
static int toy_silent(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    atomic_store(&toy->door, 1);
    syscall(SYS_futex, &toy->door, FUTEX_WAKE, 1, NULL, NULL, 0);
    return 0;
}

static int toy_silent_wait(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    while (atomic_load(&toy->door) == 0)
        syscall(SYS_futex, &toy->door, FUTEX_WAIT, 0, NULL, NULL, 0);
    return 0;
}

/* Before the store the waiter rightly sleeps: then the survivor opens the door. */
static int toy_silent_wakes(void *context, unsigned state)
{
    toy_shared *toy = context;
    (void)state;
    return atomic_load(&toy->door) == 1 ? 0 : 1;
}

static int toy_silent_check(void *context, unsigned state, bool returned)
{
    (void)returned;
    return toy_silent(context, state);
}

const kill_case killsweep_toy_sound = {.operation = "toy sound",
                                       .states = toy_states,
                                       .on_request = true,
                                       .setup = toy_setup,
                                       .teardown = toy_teardown,
                                       .call = toy_sound,
                                       .check = toy_sound_check};

const kill_case killsweep_toy_torn = {.operation = "toy torn",
                                      .states = toy_states,
                                      .on_request = true,
                                      .setup = toy_setup,
                                      .teardown = toy_teardown,
                                      .call = toy_torn,
                                      .check = toy_torn_check};

const kill_case killsweep_toy_silent = {.operation = "toy silent",
                                        .states = toy_states,
                                        .on_request = true,
                                        .setup = toy_setup,
                                        .teardown = toy_teardown,
                                        .call = toy_silent,
                                        .wait = toy_silent_wait,
                                        .wakes = toy_silent_wakes,
                                        .check = toy_silent_check};
