/* SPDX-License-Identifier: BSD-2-Clause */
/* Parcels: handles and descriptors beside the bytes. */
#include "platform/base.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "data/thing.h"
#include "data/variant.h"

/* As if it had gone over a socket: the bytes as they are, the descriptors duplicated. */
static mproc__parcel parcel_send(const mproc__parcel *sent)
{
    mproc__parcel came = {.size_bytes = sent->size_bytes, .fd_count = sent->fd_count};

    came.bytes = malloc(sent->size_bytes);
    memcpy(came.bytes, sent->bytes, sent->size_bytes);
    for (size_t i = 0; i < sent->fd_count; i++)
        came.fds[i] = fcntl(sent->fds[i], F_DUPFD_CLOEXEC, 0);
    return came;
}

static bool same_file(int a, int b)
{
    struct stat one, two;

    return fstat(a, &one) == 0 && fstat(b, &two) == 0 && one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

START_TEST(handles_and_descriptors_arrive_in_their_order)
{
    int pipes[2];
    void *first, *second;
    mproc__parcel sent, came;
    mproc_variant back;

    mproc__parcel_register(MPROC_TYPE_LOCK, thing_unpack);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    first = thing_create(&thing_ops, 11, pipes[0]);
    second = thing_create(&thing_ops, 22, -1);
    ck_assert_int_eq(
        mproc__parcel_pack(&sent, true,
                           MPROC_ARGS(mproc_handle(first), 5, mproc_fd(pipes[1]), mproc_handle(second))),
        0);
    ck_assert_uint_eq(sent.fd_count, 2);
    came = parcel_send(&sent);
    ck_assert_int_eq(mproc__parcel_unpack(&came, &back), 0);
    const thing *t = mproc_variant_get_handle(mproc_variant_at(back, 0), MPROC_TYPE_LOCK);
    ck_assert_int_eq(t->number, 11);
    ck_assert(same_file(t->fd, pipes[0]));
    ck_assert(same_file((int)mproc_variant_at(back, 2).number, pipes[1]));
    t = mproc_variant_get_handle(mproc_variant_at(back, 3), MPROC_TYPE_LOCK);
    ck_assert_int_eq(t->number, 22);
    mproc__parcel_clear(&came, true);
    mproc__parcel_clear(&sent, false);
    mproc_variant_clear(&back);
    ck_assert_int_eq(things_alive, 2);
    mproc__handle_close(&first, MPROC_TYPE_LOCK);
    mproc__handle_close(&second, MPROC_TYPE_LOCK);
    close(pipes[1]);
}
END_TEST

START_TEST(where_no_descriptors_go_a_handle_that_needs_one_is_refused_by_name)
{
    void *with = thing_create(&thing_ops, 11, dup(0)), *without = thing_create(&thing_ops, 22, -1);
    void *pool = thing_create(&rock_ops, 1, -1);
    mproc__parcel parcel;

    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, mproc_handle(without)), 0);
    mproc__parcel_clear(&parcel, false);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, MPROC_ARGS("x", mproc_handle(with))),
                     MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "lock 11"));
    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, mproc_fd(0)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(pool)), MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "pool"));
    mproc__handle_close(&with, MPROC_TYPE_LOCK);
    mproc__handle_close(&without, MPROC_TYPE_LOCK);
    mproc__handle_close(&pool, MPROC_TYPE_POOL);
}
END_TEST

START_TEST(more_descriptors_than_one_message_carries_are_refused)
{
    mproc_variant list = mproc_null();
    mproc__parcel parcel;

    for (int i = 0; i < MPROC__PARCEL_FDS; i++)
        mproc__variant_append_owned(&list, mproc_fd(0));
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), 0);
    mproc__parcel_clear(&parcel, false);
    mproc__variant_append_owned(&list, mproc_fd(0));
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), -EMSGSIZE);
    mproc_variant_clear(&list);
}
END_TEST

/* The fixture counts descriptors: those of a damaged parcel are closed by clear. */
START_TEST(descriptors_of_a_damaged_parcel_are_closed)
{
    mproc__parcel sent, came;
    mproc_variant back;

    ck_assert_int_eq(mproc__parcel_pack(&sent, true, MPROC_ARGS(mproc_fd(0), mproc_fd(1))), 0);
    came = parcel_send(&sent);
    came.size_bytes -= 1;
    ck_assert_int_eq(mproc__parcel_unpack(&came, &back), MPROC_EPROTOCOL);
    mproc__parcel_clear(&came, true);
    came = parcel_send(&sent);
    close(came.fds[1]);
    came.fd_count = 1; /* one was lost on the way */
    ck_assert_int_eq(mproc__parcel_unpack(&came, &back), MPROC_EPROTOCOL);
    mproc__parcel_clear(&came, true);
    mproc__parcel_clear(&sent, false);
}
END_TEST

START_TEST(a_handle_nobody_here_can_open_is_told)
{
    void *lock = thing_create(&thing_ops, 11, -1);
    mproc__parcel parcel;
    mproc_variant back;

    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(lock)), 0);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &back), MPROC_EPROTOCOL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "nobody here"));
    mproc__parcel_clear(&parcel, true);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

static int remote_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc__parcel_add_blob(parcel, MPROC__PARCEL_REMOTE, MPROC__PARCEL_REMOTE_BYTES);
    return thing_pack(handle, parcel);
}

static int remote_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                         mproc__handle **ret_handle)
{
    return thing_unpack(parcel, (const char *)blob + MPROC__PARCEL_REMOTE_BYTES,
                        blob_bytes - MPROC__PARCEL_REMOTE_BYTES, ret_handle);
}

START_TEST(handles_to_served_objects_have_one_maker_whatever_their_type)
{
    static const mproc__handle_ops remote_ops = {
        .type = MPROC_TYPE_LOCK, .noun = "lock", .destroy = thing_destroy, .pack = remote_pack};
    void *lock = thing_create(&remote_ops, 33, -1);
    mproc__parcel parcel;
    mproc_variant back;
    const thing *t;

    mproc__parcel_register_remote(remote_unpack);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, mproc_handle(lock)), 0);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &back), 0);
    t = mproc_variant_get_handle(back, MPROC_TYPE_LOCK);
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->number, 33);
    mproc_variant_clear(&back);
    mproc__parcel_clear(&parcel, true);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(a_blob_has_a_limit)
{
    mproc__parcel parcel = {0};
    char blob[MPROC__PARCEL_BLOB_BYTES] = {0};

    ck_assert_int_eq(mproc__parcel_add_blob(&parcel, blob, sizeof(blob) - 24), 0);
    ck_assert_int_eq(mproc__parcel_add_blob(&parcel, blob, 25), -EMSGSIZE);
    ck_assert_int_eq(mproc__parcel_add_blob(&parcel, blob, 24), 0);
}
END_TEST

START_TEST(every_failing_allocation_leaves_nothing_behind)
{
    void *lock = thing_create(&thing_ops, 11, dup(0));
    mproc_variant back;
    bool failed = true;

    mproc__parcel_register(MPROC_TYPE_LOCK, thing_unpack);
    for (unsigned n = 1; failed; n++) {
        mproc__parcel parcel, came = {0};
        int code;
        support_fail_allocation(n);
        code = mproc__parcel_pack(&parcel, true, MPROC_ARGS(mproc_handle(lock), mproc_bytes("x", 1)));
        failed = support_allocation_failed();
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
        if (failed)
            continue;
        came = parcel_send(&parcel);
        mproc__parcel_clear(&parcel, false);
        support_fail_allocation(1);
        code = mproc__parcel_unpack(&came, &back);
        ck_assert(support_allocation_failed());
        ck_assert_int_eq(code, -ENOMEM);
        mproc__parcel_clear(&came, true);
    }
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
    ck_assert_int_eq(things_alive, 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("parcel");
    TCase *all = support_case(suite, "parcel");

    tcase_add_test(all, handles_and_descriptors_arrive_in_their_order);
    tcase_add_test(all, where_no_descriptors_go_a_handle_that_needs_one_is_refused_by_name);
    tcase_add_test(all, more_descriptors_than_one_message_carries_are_refused);
    tcase_add_test(all, descriptors_of_a_damaged_parcel_are_closed);
    tcase_add_test(all, a_handle_nobody_here_can_open_is_told);
    tcase_add_test(all, handles_to_served_objects_have_one_maker_whatever_their_type);
    tcase_add_test(all, a_blob_has_a_limit);
    tcase_add_test(all, every_failing_allocation_leaves_nothing_behind);
    return support_run(suite, argc, argv);
}
