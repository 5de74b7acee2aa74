/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared objects as arguments: queues, locks, connections, descriptors cross a start by every method, and on. */
#include "platform/base.h"

#include <signal.h>

#include <mproc/connection.h>
#include <mproc/queue.h>
#include <mproc/shm.h>
#include <mproc/sync.h>
#include "process/process_support.h"
#include "shm/place.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

static int put_one(mproc_queue *queue, int64_t number)
{
    return mproc_queue_put(queue, &number, sizeof number, soon());
}

static int64_t get_one(mproc_queue *queue)
{
    int64_t number = 0;
    size_t size_bytes;
    ck_assert_int_eq(mproc_queue_get(queue, &number, sizeof number, soon(), &size_bytes), 0);
    return number;
}

/* ---- queue ---- */

static int puts_two_as_a_grandchild(mproc_call *call)
{
    mproc_queue *queue = mproc_call_queue(call, 0);
    return put_one(queue, 2);
}

static int puts_one_and_passes_on(mproc_call *call)
{
    mproc_queue *queue = mproc_call_queue(call, 0);
    mproc_process *child;
    int exit_code = 99;
    int rc = put_one(queue, 1);
    if (rc == 0)
        rc = mproc_process_start(puts_two_as_a_grandchild, MPROC_ARGS(queue), NULL, &child);
    if (rc == 0)
        rc = mproc_process_join(child, soon(), &exit_code);
    if (rc < 0)
        return rc;
    mproc_process_close(&child);
    return exit_code;
}

/* shows: START-09 */
START_TEST(a_child_passes_a_queue_it_was_given_on_to_its_child)
{
    mproc_queue *queue;
    warm();
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &queue), 0);
    ck_assert_int_eq(run(_i, puts_one_and_passes_on, MPROC_ARGS(queue)), 0);
    ck_assert_int_eq(get_one(queue), 1);
    ck_assert_int_eq(get_one(queue), 2);
    mproc_queue_close(&queue);
}
END_TEST

static int echoes(mproc_call *call)
{
    mproc_queue *from = mproc_call_queue(call, 0), *to = mproc_call_queue(call, 1);
    for (;;) {
        int64_t number;
        size_t size_bytes;
        int rc = mproc_queue_get(from, &number, sizeof number, soon(), &size_bytes);
        if (rc == 0)
            rc = put_one(to, number * 2);
        if (rc < 0)
            return rc;
        if (number == 0)
            return 0;
    }
}

/* shows: START-08 START-D */
START_TEST(one_queue_is_handed_to_processes_of_all_methods_at_once)
{
    mproc_queue *to, *from;
    mproc_process *processes[ALL_METHODS];
    int64_t sum = 0;
    warm();
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &to), 0);
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &from), 0);
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++)
        processes[method] = start(method, echoes, MPROC_ARGS(to, from));
    for (int i = 1; i <= 100; i++)
        ck_assert_int_eq(put_one(to, i), 0);
    for (int i = 1; i <= 100; i++)
        sum += get_one(from);
    ck_assert_int_eq(sum, 2 * 5050);
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++)
        ck_assert_int_eq(put_one(to, 0), 0);
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++) {
        ck_assert_int_eq(join(processes[method]), 0);
        mproc_process_close(&processes[method]);
    }
    mproc_queue_close(&to);
    mproc_queue_close(&from);
}
END_TEST

/* ---- lock ---- */

static int takes_lock_and_dies(mproc_call *call)
{
    mproc_lock *lock = mproc_call_lock(call, 0);
    if (mproc_lock_acquire(lock, MPROC_NOW) != -ETIMEDOUT)
        return 1;
    gate_say(call, 1);
    if (mproc_lock_acquire(lock, soon()) != 0)
        return 2;
    raise(SIGKILL);
    return 3;
}

/* shows: DEATH-3 */
START_TEST(a_lock_crosses_and_tells_of_the_child_that_died_with_it)
{
    mproc_lock *lock;
    warm();
    gate said = gate_make();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    mproc_process *process = start(_i, takes_lock_and_dies, MPROC_ARGS(lock, mproc_fd(said.write_fd)));
    gate_await(&said);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(join(process), -SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(lock, soon()), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    mproc_process_close(&process);
    mproc_lock_close(&lock);
    gate_destroy(&said);
}
END_TEST

/* ---- shared memory ---- */

static int opens_it_by_name(void)
{
    mproc_place *place;
    mproc_shm *found;
    int code = mproc__place_shm("shm:/check-crossing-memory", NULL, &place);
    if (code < 0)
        return code;
    code = mproc_shm_open(place, "it", &found);
    if (code == 0)
        mproc_shm_close(&found);
    mproc_place_close(&place);
    return code;
}

/* Arguments: the memory, a connection by which it comes again, what opening its name must answer. */
static int finds_hello_and_answers(mproc_call *call)
{
    mproc_shm *given = mproc_call_shm(call, 0), *sent;
    mproc_variant message;
    if (!given || strcmp(mproc_shm_data(given), "hello") != 0)
        return 1;
    if (opens_it_by_name() != (int)mproc_call_int(call, 2))
        return 2;
    if (mproc_connection_recv_variant(mproc_call_connection(call, 1), soon(), &message) != 0)
        return 3;
    sent = mproc_variant_get_handle(message, MPROC_TYPE_SHM);
    if (!sent || strcmp(mproc_shm_data(sent), "hello") != 0)
        return 4;
    memcpy(mproc_shm_data(sent), "world", 5);
    int code = strcmp(mproc_shm_data(given), "world") == 0 ? 0 : 5;
    mproc_variant_clear(&message);
    return code;
}

static void memory_crosses(int method, mproc_shm *shm, int by_name)
{
    mproc_connection *own, *its;
    strcpy(mproc_shm_data(shm), "hello");
    ck_assert_int_eq(mproc_connection_pair(&own, &its), 0);
    mproc_process *process = start(method, finds_hello_and_answers, MPROC_ARGS(shm, its, by_name));
    ck_assert_int_eq(mproc_connection_send_variant(own, mproc_handle(shm), soon()), 0);
    ck_assert_int_eq(join(process), 0);
    ck_assert_str_eq(mproc_shm_data(shm), "world");
    mproc_process_close(&process);
    mproc_connection_close(&own);
    mproc_connection_close(&its);
}

/* A handle is the memory itself, so it still leads there, for whom it is given to, when the name is gone. */
START_TEST(shared_memory_crosses_as_argument_and_message_also_when_its_name_is_gone)
{
    mproc_place *place;
    mproc_shm *shm;
    warm();
    ck_assert_int_eq(mproc__place_shm("shm:/check-crossing-memory",
                                      MPROC_WITH(mproc_place_options, .owner = true), &place),
                     0);
    ck_assert_int_eq(mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "it"), &shm), 0);
    memory_crosses(_i, shm, 0);
    ck_assert_int_eq(mproc_place_unlink(place, "it"), 0);
    memory_crosses(_i, shm, -ENOENT);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
    ck_assert_int_eq(mproc_shm_create(NULL, 100, NULL, &shm), 0);
    memory_crosses(_i, shm, -ENOENT);
    mproc_shm_close(&shm);
}
END_TEST

/* ---- connection and descriptor ---- */

static int sends_hello(mproc_call *call)
{
    return mproc_connection_send(mproc_call_connection(call, 0), "hello", 5, soon());
}

START_TEST(a_connection_crosses_and_its_end_is_seen_when_the_child_is_gone)
{
    mproc_connection *own, *its;
    char text[16];
    size_t size_bytes;
    warm();
    ck_assert_int_eq(mproc_connection_pair(&own, &its), 0);
    mproc_process *process = start(_i, sends_hello, MPROC_ARGS(its));
    mproc_connection_close(&its);
    ck_assert_int_eq(mproc_connection_recv(own, text, sizeof text, soon(), &size_bytes), 0);
    ck_assert_uint_eq(size_bytes, 5);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    ck_assert_int_eq(mproc_connection_recv(own, text, sizeof text, soon(), &size_bytes), MPROC_EEND);
    mproc_connection_close(&own);
}
END_TEST

static int writes_foo(mproc_call *call)
{
    return write((int)mproc_call_arg(call, 0).number, "foo", 3) == 3 ? 0 : 1;
}

/* shows: FDS-01 */
START_TEST(a_file_handed_to_a_child_is_written_by_it_and_may_be_closed_at_once)
{
    char path[512], text[8] = {0};
    warm();
    snprintf(path, sizeof path, "%s/foo", support_directory());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
        reader = open(path, O_RDONLY | O_CLOEXEC);
    mproc_process *process = start(_i, writes_foo, MPROC_ARGS(mproc_fd(fd)));
    close(fd);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    ck_assert_int_eq(read(reader, text, sizeof text), 3);
    ck_assert_str_eq(text, "foo");
    close(reader);
    unlink(path);
}
END_TEST

/* ---- an array over a file ---- */

static int adds_up_what_is_in_the_file(mproc_call *call)
{
    mproc_array *from = mproc_call_array(call, 0), *to = mproc_call_array(call, 1);
    const double *numbers = mproc_array_data(from);
    double sum = 0;
    for (size_t i = 0; numbers && i < mproc_array_count(from); i++)
        sum += numbers[i];
    return mproc_array_set(to, 0, sum) == 0 && mproc_array_set(from, 0, sum) == -EACCES ? 0 : 1;
}

START_TEST(arrays_over_files_cross_with_their_files)
{
    char paths[2][256];
    mproc_array *arrays[2];
    double sum = 0;
    warm();
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/file%d", support_directory(), i);
        ck_assert_int_eq(mproc_array_open_file(paths[i], MPROC_ITEM_DOUBLE, 1000,
                                               MPROC_WITH(mproc_array_file_options, .create = true,
                                                          .access = MPROC_ARRAY_WRITE),
                                               &arrays[i]),
                         0);
    }
    for (size_t i = 0; i < 1000; i++)
        ck_assert_int_eq(mproc_array_set(arrays[0], i, (double)i), 0);
    mproc_array_close(&arrays[0]);
    ck_assert_int_eq(mproc_array_open_file(paths[0], MPROC_ITEM_DOUBLE, 0, NULL, &arrays[0]), 0);
    ck_assert_int_eq(unlink(paths[0]) | unlink(paths[1]), 0);
    ck_assert_int_eq(run(_i, adds_up_what_is_in_the_file, MPROC_ARGS(arrays[0], arrays[1])), 0);
    ck_assert_int_eq(mproc_array_get(arrays[1], 0, &sum), 0);
    ck_assert_double_eq(sum, 499500);
    mproc_array_close(&arrays[0]);
    mproc_array_close(&arrays[1]);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("crossing");
    TCase *objects = support_case(suite, "shared objects");
    tcase_add_loop_test(objects, a_child_passes_a_queue_it_was_given_on_to_its_child, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(objects, one_queue_is_handed_to_processes_of_all_methods_at_once);
    tcase_add_loop_test(objects, a_lock_crosses_and_tells_of_the_child_that_died_with_it, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(objects, shared_memory_crosses_as_argument_and_message_also_when_its_name_is_gone,
                        FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(objects, a_connection_crosses_and_its_end_is_seen_when_the_child_is_gone,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(objects, a_file_handed_to_a_child_is_written_by_it_and_may_be_closed_at_once,
                        FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(objects, arrays_over_files_cross_with_their_files, FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
