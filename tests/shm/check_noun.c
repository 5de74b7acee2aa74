/* SPDX-License-Identifier: BSD-2-Clause */
/* A noun of our own, made, found and given away in every place of this host. Loop tests run for 0 thread, 1 host, 2 shm. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/named_common.h"
#include "shm/noun.h"
#include "support/support.h"

enum { TOY_MAGIC = 0x746f79, HOMES = 3 };

typedef struct toy_shared {
    uint32_t magic;
    uint32_t number;
} toy_shared;

typedef struct toy {
    mproc__handle handle;
    mproc__segment *segment;
} toy;

static unsigned built, destroyed;
static int build_code;
static mproc_place *place;

static void toy_destroy(mproc__handle *handle)
{
    toy *t = MPROC__CONTAINER(handle, toy, handle);
    mproc__names_remove(handle);
    mproc__segment_release(t->segment);
    mproc__handle_fini(handle);
    free(t);
    destroyed++;
}

static int toy_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__noun_pack(MPROC__CONTAINER(handle, toy, handle)->segment, parcel);
}

static const mproc__handle_ops toy_ops = {
    .type = MPROC_TYPE_EVENT, .noun = "toy", .destroy = toy_destroy, .pack = toy_pack};

static int toy_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    const toy_shared *shared = mproc__segment_root(segment);
    if (shared->magic != TOY_MAGIC)
        return MPROC_ECORRUPT;
    toy *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    mproc__handle_init(&t->handle, &toy_ops);
    t->segment = segment;
    *ret_handle = &t->handle;
    return 0;
}

static const mproc__noun toy_noun = {
    .type = MPROC_TYPE_EVENT, .word = "toy", .least_bytes = sizeof(toy_shared), .attach = toy_attach};
static const mproc__noun other_noun = {
    .type = MPROC_TYPE_LOCK, .word = "other", .least_bytes = sizeof(toy_shared), .attach = toy_attach};

static int toy_build(mproc__segment *segment, const void *how)
{
    toy_shared *shared = mproc__segment_root(segment);
    built++;
    shared->magic = TOY_MAGIC;
    shared->number = *(const uint32_t *)how;
    return build_code;
}

static int make(const char *name, bool and_open, uint32_t number, mproc__handle **ret_handle)
{
    return mproc__noun_create(&(mproc__making){.noun = &toy_noun,
                                               .place = place,
                                               .name = name,
                                               .and_open = and_open,
                                               .size_bytes = sizeof(toy_shared),
                                               .build = toy_build,
                                               .how = &number},
                              ret_handle);
}

static uint32_t number_of(mproc__handle *handle)
{
    const toy_shared *shared = mproc__segment_root(MPROC__CONTAINER(handle, toy, handle)->segment);
    return shared->number;
}

/* False: this home is not to be had here. */
static bool open_place(int home)
{
    int code;
    if (home == 2 && !named_own_directory(NULL)) {
        named_skipped("a /dev/shm of its own is not allowed");
        return false;
    }
    code = home == 2 ? mproc__place_shm("shm:/noun", NULL, &place)
                     : mproc__place_local(home == 0 ? MPROC__HOME_THREAD : MPROC__HOME_HOST, &place);
    ck_assert_int_eq(code, 0);
    return true;
}

START_TEST(what_is_made_with_a_name_is_found_by_it)
{
    static const char *const texts[HOMES] = {"thread", "host", "shm"};
    mproc__handle *made, *found;
    if (!open_place(_i))
        return;
    ck_assert_int_eq(make("a", false, 7, &made), 0);
    ck_assert_str_eq(mproc__noun_home_text(MPROC__CONTAINER(made, toy, handle)->segment), texts[_i]);
    ck_assert_int_eq(mproc__noun_open(&toy_noun, place, "a", &found), 0);
    ck_assert_ptr_eq(found, made); /* one handle a process, so that it has one row */
    ck_assert_uint_eq(number_of(found), 7);
    mproc__handle_release(found);
    ck_assert_uint_eq(destroyed, 0);
    mproc__handle_release(made);
    ck_assert_uint_eq(destroyed, 1);
    ck_assert_int_eq(mproc__noun_open(&toy_noun, place, "a", &found), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

START_TEST(a_name_that_is_taken_is_an_error_or_opened)
{
    mproc__handle *first, *second;
    if (!open_place(_i))
        return;
    ck_assert_int_eq(make("a", false, 1, &first), 0);
    ck_assert_int_eq(make("a", false, 2, &second), -EEXIST);
    ck_assert_int_eq(make("a", true, 3, &second), 0);
    ck_assert_uint_eq(number_of(second), 1);
    mproc__handle_release(second);
    mproc__handle_release(first);
    ck_assert_int_eq(make("b", true, 4, &first), 0); /* none there: made */
    ck_assert_uint_eq(number_of(first), 4);
    mproc__handle_release(first);
    mproc_place_close(&place);
}
END_TEST

START_TEST(a_name_of_another_type_is_refused)
{
    mproc__handle *made, *found = NULL;
    if (!open_place(_i))
        return;
    ck_assert_int_eq(make("a", false, 1, &made), 0);
    ck_assert_int_eq(mproc__noun_open(&other_noun, place, "a", &found), -EINVAL);
    ck_assert_int_eq(mproc__noun_open(&toy_noun, place, NULL, &found), -EINVAL);
    ck_assert_ptr_null(found);
    mproc__handle_release(made);
    mproc_place_close(&place);
}
END_TEST

START_TEST(what_cannot_be_built_leaves_nothing)
{
    mproc__handle *handle = NULL;
    if (!open_place(_i))
        return;
    build_code = -EDOM;
    ck_assert_int_eq(make("a", false, 1, &handle), -EDOM);
    ck_assert_ptr_null(handle);
    build_code = 0;
    ck_assert_int_eq(mproc__noun_open(&toy_noun, place, "a", &handle), -ENOENT);
    for (unsigned n = 1, failed = 1; failed; n++) {
        support_fail_allocation(n);
        int code = make("a", false, 1, &handle);
        failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
    }
    mproc__handle_release(handle);
    mproc_place_close(&place);
}
END_TEST

/* ---- given away ---- */

/* As a process does that gets the bytes and copies of the descriptors. */
static int receive(mproc__parcel *sent, mproc_variant *ret_value)
{
    mproc__parcel received = {.allow_fds = true, .bytes = sent->bytes, .size_bytes = sent->size_bytes};
    for (size_t i = 0; i < sent->fd_count; i++)
        received.fds[received.fd_count++] = fcntl(sent->fds[i], F_DUPFD_CLOEXEC, 0);
    int code = mproc__parcel_unpack(&received, ret_value);
    received.bytes = NULL;
    mproc__parcel_clear(&received, true);
    return code;
}

START_TEST(what_is_packed_is_the_same_object_elsewhere)
{
    mproc__handle *made;
    mproc__parcel parcel = {0};
    mproc_variant value;
    if (!open_place(_i))
        return;
    mproc__noun_register(&toy_noun);
    ck_assert_ptr_eq(mproc__noun_of(MPROC_TYPE_EVENT), &toy_noun);
    ck_assert_ptr_null(mproc__noun_of(UINT32_MAX));
    ck_assert_int_eq(make(NULL, false, 9, &made), 0);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(made)), _i == 0 ? MPROC_ECANNOTCROSS : 0);
    if (_i != 0) {
        toy_shared *shared = mproc__segment_root(MPROC__CONTAINER(made, toy, handle)->segment);
        ck_assert_int_eq(receive(&parcel, &value), 0);
        shared->number = 10;
        ck_assert_uint_eq(number_of(mproc_variant_get_handle(value, MPROC_TYPE_EVENT)), 10);
        mproc_variant_clear(&value);
        shared->magic = 0;
        ck_assert_int_eq(receive(&parcel, &value), MPROC_ECORRUPT);
    }
    mproc__parcel_clear(&parcel, false);
    mproc__handle_release(made);
    mproc_place_close(&place);
}
END_TEST

/* As after close_range(3, ~0), when the program then opens a file of its own. */
START_TEST(a_file_that_has_the_number_of_an_objects_by_now_is_given_to_nobody)
{
    mproc__handle *made, *theirs;
    mproc__parcel parcel = {0};
    ck_assert_int_eq(make(NULL, false, 9, &made), 0);
    ck_assert_int_eq(make(NULL, false, 8, &theirs), 0);
    int number = mproc__segment_fd(MPROC__CONTAINER(made, toy, handle)->segment);
    int other = mproc__segment_fd(MPROC__CONTAINER(theirs, toy, handle)->segment);
    ck_assert_int_eq(dup2(other, number), number);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(made)), MPROC_ECANNOTCROSS);
    ck_assert_uint_eq(parcel.fd_count, 0);
    mproc__parcel_clear(&parcel, false);
    mproc__handle_release(made);
    close(number);
    mproc__handle_release(theirs);
}
END_TEST

START_TEST(what_was_packed_by_strangers_is_refused)
{
    mproc__handle *handle = NULL;
    mproc__parcel parcel = {.allow_fds = true};
    const uint8_t version[] = {99, MPROC_TYPE_EVENT}, unknown[] = {1, 63}, good[] = {1, MPROC_TYPE_EVENT};
    mproc__noun_register(&toy_noun);
    ck_assert_int_eq(mproc__noun_unpack(&parcel, version, 2, &handle), MPROC_EPROTOCOL);
    ck_assert_int_eq(mproc__noun_unpack(&parcel, unknown, 2, &handle), MPROC_EPROTOCOL);
    ck_assert_int_eq(mproc__noun_unpack(&parcel, good, 1, &handle), MPROC_EPROTOCOL);
    ck_assert_int_eq(mproc__noun_unpack(&parcel, good, 2, &handle), MPROC_EPROTOCOL); /* no descriptor */
    parcel.fds[parcel.fd_count++] = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(mproc__noun_unpack(&parcel, good, 2, &handle), MPROC_ECORRUPT);
    ck_assert_ptr_null(handle);
    mproc__parcel_clear(&parcel, true);
}
END_TEST

static int attach_read_only(const char *path, mproc__handle **ret_handle)
{
    const uint8_t good[] = {1, MPROC_TYPE_EVENT};
    mproc__parcel parcel = {.allow_fds = true};
    parcel.fds[parcel.fd_count++] = open(path, O_RDONLY | O_CLOEXEC);
    int code = mproc__noun_unpack(&parcel, good, 2, ret_handle);
    mproc__parcel_clear(&parcel, true);
    return code;
}

START_TEST(what_may_only_be_read_is_for_nouns_that_only_read)
{
    static const mproc__noun readable = {.type = MPROC_TYPE_EVENT,
                                         .word = "toy",
                                         .least_bytes = sizeof(toy_shared),
                                         .attach = toy_attach,
                                         .readable = true};
    static const mproc__noun larger = {.type = MPROC_TYPE_EVENT,
                                       .word = "toy",
                                       .least_bytes = 1 << 20,
                                       .attach = toy_attach,
                                       .readable = true};
    mproc__handle *made, *handle = NULL;
    char path[64];
    ck_assert(open_place(1));
    ck_assert_int_eq(make(NULL, false, 5, &made), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d",
             mproc__segment_fd(MPROC__CONTAINER(made, toy, handle)->segment));
    mproc__noun_register(&toy_noun);
    ck_assert_int_eq(attach_read_only(path, &handle), -EACCES);
    mproc__noun_register(&larger);
    ck_assert_int_eq(attach_read_only(path, &handle), MPROC_ECORRUPT);
    mproc__noun_register(&readable);
    ck_assert_int_eq(attach_read_only(path, &handle), 0);
    ck_assert_uint_eq(number_of(handle), 5);
    mproc__handle_release(handle);
    mproc__handle_release(made);
    mproc_place_close(&place);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("noun");
    TCase *names = support_case(suite, "names");
    tcase_add_loop_test(names, what_is_made_with_a_name_is_found_by_it, 0, HOMES);
    tcase_add_loop_test(names, a_name_that_is_taken_is_an_error_or_opened, 0, HOMES);
    tcase_add_loop_test(names, a_name_of_another_type_is_refused, 0, HOMES);
    tcase_add_loop_test(names, what_cannot_be_built_leaves_nothing, 0, HOMES);
    TCase *given = support_case(suite, "given away");
    tcase_add_loop_test(given, what_is_packed_is_the_same_object_elsewhere, 0, HOMES);
    tcase_add_test(given, a_file_that_has_the_number_of_an_objects_by_now_is_given_to_nobody);
    tcase_add_test(given, what_was_packed_by_strangers_is_refused);
    tcase_add_test(given, what_may_only_be_read_is_for_nouns_that_only_read);
    return support_run(suite, argc, argv);
}
