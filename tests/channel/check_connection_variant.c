/* SPDX-License-Identifier: BSD-2-Clause */
/* Values, connections and descriptors over connections. */
#include "platform/base.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mproc/connection.h>
#include "channel/connection_common.h"
#include "channel/frame.h"
#include "data/parcel.h"
#include "platform/platform.h"
#include "support/support.h"

static int echo_variants(void *context)
{
    mproc_variant item;
    (void)context;
    mproc_connection_close(&a);
    int rc;
    while ((rc = mproc_connection_recv_variant(b, SOON, &item)) == 0) {
        rc = mproc_connection_send_variant(b, item, SOON);
        mproc_variant_clear(&item);
        if (rc < 0)
            return 1;
    }
    return rc == MPROC_EEND ? 0 : 2;
}

/* shows: CONN-01 */
START_TEST(values_come_back_equal_from_an_echo_child)
{
    mproc_variant sent = MPROC_ARGS(1, 2.5, mproc_null(), "text", mproc_bool(true), mproc_bytes("\0\1", 2)),
                  got;
    open_pair();
    pid_t child = support_fork(echo_variants, NULL);
    mproc_connection_close(&b);
    ck_assert_int_eq(mproc_connection_send_variant(a, sent, SOON), 0);
    ck_assert_int_eq(mproc_connection_recv_variant(a, SOON, &got), 0);
    ck_assert(mproc_variant_equal(sent, got));
    mproc_variant_clear(&got);
    mproc_connection_close(&a);
    ck_assert_int_eq(support_reap(child, 2000), 0);
}
END_TEST

START_TEST(bytes_are_received_as_a_variant_but_not_the_other_way_round)
{
    char buffer[64];
    size_t size;
    mproc_variant item;
    open_pair();
    put(a, "raw");
    ck_assert_int_eq(mproc_connection_recv_variant(b, SOON, &item), 0);
    ck_assert_mem_eq(mproc_variant_get_bytes(item, &size), "raw", 3);
    ck_assert_uint_eq(size, 3);
    mproc_variant_clear(&item);
    put(a, "");
    ck_assert_int_eq(mproc_connection_recv_variant(b, SOON, &item), 0);
    ck_assert_int_eq(item.kind, MPROC_KIND_BYTES);
    ck_assert_int_eq(item.number, 0);
    mproc_variant_clear(&item);
    ck_assert_int_eq(mproc_connection_send_variant(a, mproc_int(7), SOON), 0);
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_connection_recv_variant(b, SOON, &item), 0);
    ck_assert_int_eq(item.number, 7);
    close_pair();
}
END_TEST

/* shows: CONN-23 */
START_TEST(a_value_that_cannot_travel_is_refused_and_nothing_is_sent)
{
    mproc_variant item;
    open_pair();
    ck_assert_int_eq(mproc_connection_send_variant(a, mproc_text("\xff\xfe"), SOON), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_connection_recv_variant(b, MPROC_NOW, &item), -ETIMEDOUT);
    close_pair();
}
END_TEST

/* shows: CONN-23 */
START_TEST(an_undecodable_message_leaves_the_next_one_readable)
{
    mproc_variant item;
    int fd;
    mproc_connection *connection = open_raw(&fd);
    raw_header(fd, MPROC__FRAME_VARIANT, 4);
    ck_assert_int_eq(send(fd, "\xff\xff\xff\xff", 4, 0), 4);
    raw_header(fd, MPROC__FRAME_BYTES, 2);
    ck_assert_int_eq(send(fd, "ok", 2, 0), 2);
    ck_assert_int_eq(mproc_connection_recv_variant(connection, SOON, &item), MPROC_EPROTOCOL);
    expect(connection, "ok");
    mproc_connection_close(&connection);
    close(fd);
}
END_TEST

START_TEST(a_frame_that_is_no_message_ends_receiving)
{
    char buffer[8];
    size_t size;
    const unsigned kinds[] = {MPROC__FRAME_AUTH, MPROC__FRAME_MANAGER, 255};
    for (size_t i = 0; i < MPROC__COUNT(kinds); i++) {
        int fd;
        mproc_connection *connection = open_raw(&fd);
        raw_header(fd, kinds[i], 0);
        ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size),
                         MPROC_EPROTOCOL);
        ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size),
                         MPROC_EPROTOCOL);
        mproc_connection_close(&connection);
        close(fd);
    }
}
END_TEST

START_TEST(a_connection_travels_over_a_connection)
{
    mproc_connection *near_end, *far_end, *got;
    mproc_variant item;
    open_pair();
    ck_assert_int_eq(mproc_connection_pair(&near_end, &far_end), 0);
    ck_assert_int_eq(mproc_connection_send_variant(a, MPROC_ARGS("take this", far_end), SOON), 0);
    mproc_connection_close(&far_end);
    ck_assert_int_eq(mproc_connection_recv_variant(b, SOON, &item), 0);
    got = mproc_variant_get_handle(mproc_variant_at(item, 1), MPROC_TYPE_CONNECTION);
    ck_assert_ptr_nonnull(got);
    put(near_end, "through the new end");
    expect(got, "through the new end");
    mproc_variant_clear(&item);
    mproc_connection_close(&near_end);
    close_pair();
}
END_TEST

START_TEST(a_one_way_end_stays_one_way_when_it_travels)
{
    mproc_connection *reader, *writer, *got;
    mproc_variant item;
    open_pair();
    ck_assert_int_eq(mproc_connection_one_way(&reader, &writer), 0);
    ck_assert_int_eq(mproc_connection_send_variant(a, mproc_handle(reader), SOON), 0);
    ck_assert_int_eq(mproc_connection_recv_variant(b, SOON, &item), 0);
    got = mproc_variant_get_handle(item, MPROC_TYPE_CONNECTION);
    ck_assert_int_eq(mproc_connection_send(got, "x", 1, SOON), MPROC_ESTATE);
    put(writer, "down");
    expect(got, "down");
    mproc_variant_clear(&item);
    mproc_connection_close(&reader);
    mproc_connection_close(&writer);
    close_pair();
}
END_TEST

START_TEST(a_connection_with_half_a_message_cannot_be_given_away)
{
    char buffer[8];
    size_t size;
    int fd;
    mproc_connection *half = open_raw(&fd);
    open_pair();
    raw_header(fd, MPROC__FRAME_BYTES, 5);
    ck_assert_int_eq(mproc_connection_recv(half, buffer, sizeof buffer, MPROC_NOW, &size), -ETIMEDOUT);
    ck_assert_int_eq(mproc_connection_send_variant(a, mproc_handle(half), SOON), MPROC_ESTATE);
    mproc_connection_close(&half);
    close_pair();
    close(fd);
}
END_TEST

/* A message that promises two descriptors and comes with `count`. */
static void send_with_fds(int socket, const int *fds, size_t count)
{
    uint8_t bytes[256];
    mproc__parcel parcel;
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, MPROC_ARGS(mproc_fd(0), mproc_fd(1))), 0);
    ck_assert_uint_le(MPROC__FRAME_HEADER_BYTES + parcel.size_bytes, sizeof bytes);
    mproc__frame_header(bytes, MPROC__FRAME_VARIANT, parcel.size_bytes);
    memcpy(bytes + MPROC__FRAME_HEADER_BYTES, parcel.bytes, parcel.size_bytes);
    size_t size = MPROC__FRAME_HEADER_BYTES + parcel.size_bytes;
    if (count > 0)
        ck_assert_int_eq(mproc__fd_send(socket, bytes, size, fds, count, SOON), 0);
    else
        ck_assert_int_eq(send(socket, bytes, size, 0), (ssize_t)size);
    mproc__parcel_clear(&parcel, false);
}

/* shows: FDS-03 */
START_TEST(a_message_with_fewer_or_more_descriptors_than_it_promises_is_an_error)
{
    mproc_variant item;
    int socket;
    mproc_connection *connection = open_raw(&socket);
    for (size_t count = 0; count <= 3; count++) {
        send_with_fds(socket, (const int[]){0, 1, 2}, count);
        int rc = mproc_connection_recv_variant(connection, SOON, &item);
        ck_assert_int_eq(rc, count == 2 ? 0 : MPROC_EPROTOCOL);
        if (rc == 0)
            mproc_variant_clear(&item);
        raw_header(socket, MPROC__FRAME_BYTES, 2);
        ck_assert_int_eq(send(socket, "ok", 2, 0), 2);
        expect(connection, "ok");
    }
    close(socket);
    ck_assert_int_eq(mproc_connection_recv_variant(connection, SOON, &item), MPROC_EEND);
    mproc_connection_close(&connection);
}
END_TEST

START_TEST(descriptors_nobody_asked_for_are_closed)
{
    char buffer[8];
    size_t size;
    int fd;
    mproc_connection *connection = open_raw(&fd);
    uint8_t bytes[MPROC__FRAME_HEADER_BYTES + 1];
    mproc__frame_header(bytes, MPROC__FRAME_BYTES, 1);
    bytes[MPROC__FRAME_HEADER_BYTES] = 'x';
    ck_assert_int_eq(mproc__fd_send(fd, bytes, sizeof bytes, (const int[]){0, 1, 2}, 3, SOON), 0);
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), 0);
    ck_assert_int_eq(mproc__fd_send(fd, bytes, sizeof bytes, (const int[]){0, 1, 2}, 3, SOON), 0);
    ck_assert_int_eq(mproc_connection_recv(connection, NULL, 0, SOON, &size), MPROC_ETOOSMALL);
    mproc_connection_close(&connection); /* the fixture looks for the descriptors */
    close(fd);
}
END_TEST

/* Receives with the first, the second, ... allocation failing until none does. */
static void recv_short_of_memory(mproc_variant *ret_item)
{
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        support_fail_allocation(n);
        int rc = mproc_connection_recv_variant(b, SOON, ret_item);
        failed = support_allocation_failed();
        ck_assert_int_eq(rc, failed ? -ENOMEM : 0);
    }
}

START_TEST(without_memory_nothing_is_lost)
{
    mproc_variant item;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        support_fail_allocation(n);
        int rc = mproc_connection_pair(&a, &b);
        failed = support_allocation_failed();
        ck_assert_int_eq(rc, failed ? -ENOMEM : 0);
    }
    ck_assert_int_eq(mproc_connection_send_variant(a, MPROC_ARGS("kept", 1), SOON), 0);
    put(a, "kept too");
    recv_short_of_memory(&item);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_at(item, 0)), "kept");
    mproc_variant_clear(&item);
    recv_short_of_memory(&item);
    ck_assert_int_eq(item.number, 8);
    mproc_variant_clear(&item);
    close_pair();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection variant");
    TCase *variants = support_case(suite, "variants");
    tcase_add_test(variants, values_come_back_equal_from_an_echo_child);
    tcase_add_test(variants, bytes_are_received_as_a_variant_but_not_the_other_way_round);
    tcase_add_test(variants, a_value_that_cannot_travel_is_refused_and_nothing_is_sent);
    tcase_add_test(variants, an_undecodable_message_leaves_the_next_one_readable);
    tcase_add_test(variants, a_frame_that_is_no_message_ends_receiving);
    tcase_add_test(variants, a_connection_travels_over_a_connection);
    tcase_add_test(variants, a_one_way_end_stays_one_way_when_it_travels);
    tcase_add_test(variants, a_connection_with_half_a_message_cannot_be_given_away);
    tcase_add_test(variants, descriptors_nobody_asked_for_are_closed);
    tcase_add_test(variants, a_message_with_fewer_or_more_descriptors_than_it_promises_is_an_error);
    tcase_add_test(variants, without_memory_nothing_is_lost);
    return support_run(suite, argc, argv);
}
