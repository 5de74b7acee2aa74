/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots of shareable lists beside others: readers and writers at once, the stopped and the dead, damage. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/shm_list_common.h"

enum { LONG_BYTES = 64 };

/* A value of one letter, as long as its letter says. */
static mproc_variant letters(char *buffer, unsigned n)
{
    size_t length = 1 + n % LONG_BYTES;
    memset(buffer, 'A' + (int)(length % 26), length);
    return mproc_bytes(buffer, length);
}

static bool is_letters(mproc_variant value)
{
    size_t length;
    const char *bytes = mproc_variant_get_bytes(value, &length);
    char wanted = (char)('A' + length % 26);
    for (size_t i = 0; bytes && i < length; i++)
        if (bytes[i] != wanted)
            return false;
    return bytes && length > 0;
}

static int writes_letters(void *unused)
{
    (void)unused;
    char buffer[LONG_BYTES];
    mproc_variant stop = mproc_null();
    for (unsigned n = 0; stop.kind == MPROC_KIND_NULL; n += 7)
        if (set(0, letters(buffer, n)) != 0 || mproc_shm_list_get(list, 1, &stop) != 0)
            return 1;
    return 0;
}

static void *writes_in_thread(void *ret_code)
{
    *(int *)ret_code = writes_letters(NULL);
    return NULL;
}

START_TEST(no_reader_ever_sees_a_torn_value)
{
    enum { WRITERS = 2 };
    char buffer[LONG_BYTES];
    pid_t writers[WRITERS];
    pthread_t threads[WRITERS];
    int codes[WRITERS] = {-1, -1};
    list_make(_i, MPROC_ARGS(letters(buffer, LONG_BYTES - 1), mproc_null()), NULL);
    for (int i = 0; i < WRITERS; i++) {
        if (_i == 0)
            writers[i] = support_fork(writes_letters, NULL);
        else
            ck_assert_int_eq(pthread_create(&threads[i], NULL, writes_in_thread, &codes[i]), 0);
    }
    for (int round = 0; round < 20000; round++) {
        mproc_variant seen;
        ck_assert_int_eq(mproc_shm_list_get(list, 0, &seen), 0);
        ck_assert(is_letters(seen));
        mproc_variant_clear(&seen);
    }
    ck_assert_int_eq(set(1, mproc_int(1)), 0);
    for (int i = 0; i < WRITERS; i++) {
        if (_i == 0)
            ck_assert_int_eq(support_reap(writers[i], 10000), 0);
        else
            pthread_join(threads[i], NULL);
        ck_assert(_i == 0 || codes[i] == 0);
    }
    list_drop();
}
END_TEST

static int takes_the_turn(void *signal_number)
{
    if (mproc__robust_acquire(&list->shared->writers, MPROC_NOW) < 0)
        return 1;
    raise(*(int *)signal_number);
    return mproc__robust_release(&list->shared->writers);
}

static bool turn_is_taken(void *unused)
{
    (void)unused;
    return atomic_load(mproc__robust_word(&list->shared->writers)) != 0;
}

START_TEST(a_stopped_writer_keeps_writers_to_their_deadlines_and_readers_from_nothing)
{
    int stop = SIGSTOP, status;
    list_make(0, MPROC_ARGS(1, 2), NULL);
    pid_t stopped = support_fork(takes_the_turn, &stop);
    ck_assert_int_eq(waitpid(stopped, &status, WUNTRACED), stopped);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(mproc_shm_list_set(list, 0, mproc_int(5), MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_shm_list_set(list, 0, mproc_int(5), mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert(holds(list, 0, mproc_int(1)) && holds(list, 1, mproc_int(2)));
    kill(stopped, SIGCONT);
    ck_assert_int_eq(set(0, mproc_int(5)), 0);
    ck_assert_int_eq(support_reap(stopped, 5000), 0);
    list_drop();
}
END_TEST

static int waits_for_the_turn(void *unused)
{
    (void)unused;
    return set(0, mproc_int(8));
}

START_TEST(a_killed_writers_turn_is_over_at_once_for_who_waits_for_it)
{
    int stop = SIGSTOP;
    list_make(0, MPROC_ARGS(1, 2), NULL);
    pid_t victim = support_fork(takes_the_turn, &stop);
    ck_assert(support_until(turn_is_taken, NULL, 5000));
    pid_t waiter = support_fork(waits_for_the_turn, NULL);
    ck_assert(support_until_asleep(waiter, 5000));
    int64_t killed_at = mproc__now_ns();
    support_kill(victim);
    ck_assert_int_eq(support_reap(waiter, 5000), 0);
    ck_assert_int_lt(mproc__now_ns() - killed_at, (int64_t)support_ms(250) * 1000000);
    ck_assert(holds(list, 0, mproc_int(8)) && holds(list, 1, mproc_int(2)));
    ck_assert_int_eq(set(1, mproc_int(9)), 0);
    list_drop();
}
END_TEST

START_TEST(damage_is_found_and_nothing_outside_is_touched)
{
    mproc_variant seen;
    list_make(0, MPROC_ARGS("text", 2), NULL);
    mproc__slot_shared *slot = &list->shared->slots[0];
    const uint64_t offset = slot->offset, room = slot->room, word = atomic_load(&slot->word);
    const struct {
        uint64_t offset, room, word;
    } damage[] = {
        {UINT64_MAX - 7, room, word},
        {offset, UINT64_MAX - 7, word},
        {offset, 0, word},
        {offset + 1, room, word},
        {sizeof(mproc__shm_list_shared), room, word},
        {offset, room + 1, word},
        {offset, room, word | MPROC__SLOT_BYTES_MAX},
        {offset, room, word | UINT64_C(15) << MPROC__SLOT_LENGTH_BITS},
        {offset, room, (uint64_t)MPROC_KIND_INT << MPROC__SLOT_LENGTH_BITS | 7},
        {offset, room, (uint64_t)MPROC_KIND_BOOL << MPROC__SLOT_LENGTH_BITS | 8},
    };
    for (size_t i = 0; i < MPROC__COUNT(damage); i++) {
        slot->offset = damage[i].offset;
        slot->room = damage[i].room;
        atomic_store(&slot->word, damage[i].word);
        ck_assert_int_eq(mproc_shm_list_get(list, 0, &seen), MPROC_ECORRUPT);
        ck_assert_int_eq(mproc_shm_list_values(list, &seen), MPROC_ECORRUPT);
        mproc_shm_list *copy;
        ck_assert_int_eq(mproc_shm_list_copy(list, NULL, NULL, &copy), MPROC_ECORRUPT);
        if (i < 5)
            ck_assert_int_eq(set(0, mproc_int(1)), MPROC_ECORRUPT);
        ck_assert(holds(list, 1, mproc_int(2)));
    }
    slot->offset = offset;
    slot->room = room;
    atomic_store(&slot->word, word);
    ck_assert(holds(list, 0, mproc_text("text")));
    memset((char *)mproc__segment_root(list->segment) + offset, 0xff, 4);
    ck_assert_int_eq(mproc_shm_list_get(list, 0, &seen), MPROC_ECORRUPT);
    list->shared->count = (mproc__segment_size(list->segment) - sizeof(*list->shared)) / sizeof(*slot) + 1;
    mproc__segment *segment;
    mproc__handle *handle;
    ck_assert_int_eq(
        mproc__segment_attach(dup(mproc__segment_fd(list->segment)), MPROC_TYPE_SHM_LIST, &segment), 0);
    ck_assert_int_eq(mproc__shm_list_noun.attach(segment, &handle), MPROC_ECORRUPT);
    mproc__segment_release(segment);
    list_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("shm_list_slots");
    TCase *turns = support_case(suite, "turns");
    tcase_add_loop_test(turns, no_reader_ever_sees_a_torn_value, 0, 2);
    tcase_add_test(turns, a_stopped_writer_keeps_writers_to_their_deadlines_and_readers_from_nothing);
    tcase_add_test(turns, a_killed_writers_turn_is_over_at_once_for_who_waits_for_it);
    TCase *memory = support_case(suite, "memory");
    tcase_add_test(memory, damage_is_found_and_nothing_outside_is_touched);
    return support_run(suite, argc, argv);
}
