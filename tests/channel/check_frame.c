/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"
#include "support/support.h"

/* Puts bytes into the reader, as many at a time as it offers room for. */
static void feed(mproc__frame_reader *reader, const uint8_t *bytes, size_t size_bytes)
{
    while (size_bytes > 0) {
        void *space;
        size_t room;
        ck_assert_int_eq(mproc__frame_reader_space(reader, &space, &room), 0);
        ck_assert_uint_ge(room, 4096);
        size_t part = room < size_bytes ? room : size_bytes;
        memcpy(space, bytes, part);
        mproc__frame_reader_fed(reader, part);
        bytes += part;
        size_bytes -= part;
    }
}

static size_t frame_make(uint8_t *out, unsigned kind, const char *text)
{
    size_t length = strlen(text);
    mproc__frame_header(out, kind, length);
    memcpy(out + MPROC__FRAME_HEADER_BYTES, text, length);
    return MPROC__FRAME_HEADER_BYTES + length;
}

static void expect_frame(mproc__frame_reader *reader, unsigned kind, const char *text)
{
    unsigned got_kind = 0;
    const void *data = NULL;
    size_t bytes = 99;
    ck_assert_int_eq(mproc__frame_reader_next(reader, &got_kind, &data, &bytes), 0);
    ck_assert_uint_eq(got_kind, kind);
    ck_assert_uint_eq(bytes, strlen(text));
    ck_assert_mem_eq(data, text, bytes);
}

static int next_code(mproc__frame_reader *reader)
{
    unsigned kind;
    const void *data;
    size_t bytes;
    return mproc__frame_reader_next(reader, &kind, &data, &bytes);
}

START_TEST(a_header_is_kind_and_length_in_network_order)
{
    uint8_t header[MPROC__FRAME_HEADER_BYTES];
    const uint8_t expected[] = {16, 0, 1, 2, 3, 4, 5, 6};
    unsigned kind;
    size_t length;
    mproc__frame_header(header, 16, UINT64_C(0x010203040506));
    ck_assert_mem_eq(header, expected, sizeof header);
    ck_assert_int_eq(mproc__frame_parse(header, SIZE_MAX, &kind, &length), 0);
    ck_assert_uint_eq(kind, 16);
    ck_assert_uint_eq(length, (size_t)UINT64_C(0x010203040506));
}
END_TEST

/* shows: CONN-02 CONN-03 */
START_TEST(frames_keep_their_boundaries_and_empty_ones_count)
{
    mproc__frame_reader reader;
    uint8_t bytes[128];
    size_t used = frame_make(bytes, 1, "a");
    used += frame_make(bytes + used, 2, "");
    used += frame_make(bytes + used, 16, "cd");
    mproc__frame_reader_init(&reader, 1024);
    feed(&reader, bytes, used);
    expect_frame(&reader, 1, "a");
    expect_frame(&reader, 2, "");
    ck_assert(mproc__frame_reader_inside(&reader));
    expect_frame(&reader, 16, "cd");
    ck_assert(!mproc__frame_reader_inside(&reader));
    ck_assert_int_eq(next_code(&reader), -EAGAIN);
    mproc__frame_reader_fini(&reader);
}
END_TEST

START_TEST(a_stream_cut_at_any_place_gives_the_same_frames)
{
    uint8_t bytes[128];
    size_t used = frame_make(bytes, 1, "hello");
    used += frame_make(bytes + used, 3, "");
    used += frame_make(bytes + used, 1, "world");
    for (size_t cut = 0; cut <= used; cut++) {
        mproc__frame_reader reader;
        unsigned frames = 0;
        mproc__frame_reader_init(&reader, 5);
        feed(&reader, bytes, cut);
        while (next_code(&reader) == 0)
            frames++;
        ck_assert_uint_eq(frames, (cut >= 13) + (cut >= 21) + (cut >= 34));
        ck_assert_int_eq(mproc__frame_reader_inside(&reader),
                         cut != 0 && cut != 13 && cut != 21 && cut != 34);
        feed(&reader, bytes + cut, used - cut);
        while (next_code(&reader) == 0)
            frames++;
        ck_assert_uint_eq(frames, 3);
        mproc__frame_reader_fini(&reader);
    }
}
END_TEST

/* shows: CONN-16 */
START_TEST(a_frame_above_the_limit_is_told_from_its_header)
{
    mproc__frame_reader reader;
    uint8_t header[MPROC__FRAME_HEADER_BYTES];
    mproc__frame_reader_init(&reader, 100);
    mproc__frame_header(header, 1, 101);
    feed(&reader, header, sizeof header);
    ck_assert_int_eq(next_code(&reader), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "101"));
    mproc__frame_reader_fini(&reader);
}
END_TEST

START_TEST(kind_zero_is_no_frame)
{
    mproc__frame_reader reader;
    const uint8_t zeros[MPROC__FRAME_HEADER_BYTES] = {0};
    mproc__frame_reader_init(&reader, 100);
    feed(&reader, zeros, sizeof zeros);
    ck_assert_int_eq(next_code(&reader), MPROC_EPROTOCOL);
    mproc__frame_reader_fini(&reader);
}
END_TEST

/* shows: CONN-22 */
START_TEST(memory_grows_with_bytes_not_with_claims)
{
    mproc__frame_reader reader;
    uint8_t header[MPROC__FRAME_HEADER_BYTES], page[4096] = {0};
    mproc__frame_reader_init(&reader, (size_t)1 << 40);
    mproc__frame_header(header, 1, UINT64_C(1) << 40);
    feed(&reader, header, sizeof header);
    for (unsigned i = 0; i < 32; i++) {
        feed(&reader, page, sizeof page);
        ck_assert_int_eq(next_code(&reader), -EAGAIN);
        ck_assert_uint_le(reader.capacity, 4 * reader.used + 16384);
    }
    mproc__frame_reader_fini(&reader);
}
END_TEST

START_TEST(a_large_buffer_goes_back_when_it_is_empty)
{
    mproc__frame_reader reader;
    size_t size = 1 << 20;
    uint8_t *bytes = calloc(1, size + MPROC__FRAME_HEADER_BYTES);
    void *space;
    size_t room;
    mproc__frame_reader_init(&reader, size);
    mproc__frame_header(bytes, 1, size);
    feed(&reader, bytes, size + MPROC__FRAME_HEADER_BYTES);
    ck_assert_int_eq(next_code(&reader), 0);
    ck_assert_int_eq(mproc__frame_reader_space(&reader, &space, &room), 0);
    ck_assert_uint_le(reader.capacity, 65536);
    mproc__frame_reader_fini(&reader);
    free(bytes);
}
END_TEST

/* shows: SEC-5 */
START_TEST(random_bytes_never_give_a_frame_above_the_limit)
{
    srand(1);
    for (unsigned round = 0; round < 500; round++) {
        mproc__frame_reader reader;
        int rc = 0;
        mproc__frame_reader_init(&reader, 300);
        for (unsigned part = 0; part < 20 && (rc == 0 || rc == -EAGAIN); part++) {
            uint8_t bytes[64];
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = rand() % 3 ? 0 : (uint8_t)rand();
            bytes[0] |= 1;
            feed(&reader, bytes, sizeof bytes);
            unsigned kind;
            const void *data;
            size_t length;
            while ((rc = mproc__frame_reader_next(&reader, &kind, &data, &length)) == 0)
                ck_assert_uint_le(length, 300);
        }
        mproc__frame_reader_fini(&reader);
    }
}
END_TEST

START_TEST(without_memory_the_reader_stays_usable)
{
    mproc__frame_reader reader;
    void *space;
    size_t room;
    uint8_t bytes[64];
    size_t used = frame_make(bytes, 1, "late");
    mproc__frame_reader_init(&reader, 100);
    support_fail_allocation(1);
    ck_assert_int_eq(mproc__frame_reader_space(&reader, &space, &room), -ENOMEM);
    feed(&reader, bytes, used);
    expect_frame(&reader, 1, "late");
    mproc__frame_reader_fini(&reader);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("frame");
    TCase *reader = support_case(suite, "reader");
    tcase_add_test(reader, a_header_is_kind_and_length_in_network_order);
    tcase_add_test(reader, frames_keep_their_boundaries_and_empty_ones_count);
    tcase_add_test(reader, a_stream_cut_at_any_place_gives_the_same_frames);
    tcase_add_test(reader, a_frame_above_the_limit_is_told_from_its_header);
    tcase_add_test(reader, kind_zero_is_no_frame);
    tcase_add_test(reader, memory_grows_with_bytes_not_with_claims);
    tcase_add_test(reader, a_large_buffer_goes_back_when_it_is_empty);
    tcase_add_test(reader, random_bytes_never_give_a_frame_above_the_limit);
    tcase_add_test(reader, without_memory_the_reader_stays_usable);
    return support_run(suite, argc, argv);
}
