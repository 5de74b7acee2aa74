/* SPDX-License-Identifier: BSD-2-Clause */
/* libcrypto when it is needed: what it computes, and that nothing has it before. */
#include "platform/base.h"

#include <link.h>
#include <pthread.h>
#include <string.h>

#include "platform/digest.h"
#include "support/support.h"

enum { THREADS = 8 };

static int look_for_crypto(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    *(bool *)context = *(bool *)context || strstr(info->dlpi_name, "libcrypto");
    return 0;
}

static bool has_crypto(void)
{
    bool found = false;
    dl_iterate_phdr(look_for_crypto, &found);
    return found;
}

START_TEST(libcrypto_is_loaded_at_the_first_use_and_not_before)
{
    ck_assert(!has_crypto());
    ck_assert(!mproc__digest_loaded());
    ck_assert_int_eq(mproc__digest_load(), 0);
    ck_assert(mproc__digest_loaded());
    ck_assert(has_crypto());
    ck_assert_int_eq(mproc__digest_load(), 0);
}
END_TEST

/* RFC 4231, test case 2. */
START_TEST(the_mac_is_the_one_of_the_standard)
{
    static const uint8_t expected[MPROC__MAC_BYTES] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
        0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const char text[] = "what do ya want for nothing?";
    uint8_t mac[MPROC__MAC_BYTES];
    ck_assert_int_eq(mproc__digest_load(), 0);
    mproc__mac("Jefe", 4, text, sizeof text - 1, mac);
    ck_assert_mem_eq(mac, expected, sizeof mac);
    ck_assert(mproc__mac_same(mac, expected));
    mac[MPROC__MAC_BYTES - 1] ^= 1;
    ck_assert(!mproc__mac_same(mac, expected));
}
END_TEST

/* FIPS 180: "abc", here in two pieces. */
START_TEST(the_sum_of_pieces_is_the_sum_of_the_whole)
{
    static const uint8_t expected[MPROC__SHA1_BYTES] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81,
                                                        0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
                                                        0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    uint8_t id[MPROC__SHA1_BYTES];
    ck_assert_int_eq(mproc__digest_load(), 0);
    mproc__sha1 *sum = mproc__sha1_begin();
    ck_assert_ptr_nonnull(sum);
    ck_assert(mproc__sha1_add(sum, "a", 1));
    ck_assert(mproc__sha1_add(sum, "bc", 2));
    ck_assert(mproc__sha1_end(sum, id));
    ck_assert_mem_eq(id, expected, sizeof id);
}
END_TEST

static pthread_barrier_t together;

static void *load_together(void *unused)
{
    pthread_barrier_wait(&together);
    return mproc__digest_load() == 0 && mproc__digest_loaded() ? &together : unused;
}

START_TEST(threads_may_be_the_first_together)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, load_together, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *good = NULL;
        pthread_join(threads[i], &good);
        ck_assert_ptr_nonnull(good);
    }
    pthread_barrier_destroy(&together);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("digest");
    TCase *all = support_case(suite, "digest");

    tcase_add_test(all, libcrypto_is_loaded_at_the_first_use_and_not_before);
    tcase_add_test(all, the_mac_is_the_one_of_the_standard);
    tcase_add_test(all, the_sum_of_pieces_is_the_sum_of_the_whole);
    tcase_add_test(all, threads_may_be_the_first_together);
    return support_run(suite, argc, argv);
}
