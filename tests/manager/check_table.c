/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "manager/table.h"
#include "support/support.h"

static mproc_variant owned(mproc_variant value)
{
    mproc_variant copy = mproc_null();
    ck_assert_int_eq(mproc_variant_copy(value, &copy), 0);
    return copy;
}

static void put(mproc__table *table, mproc_variant key, int64_t item)
{
    ck_assert_int_eq(mproc__table_reserve(table, 1), 0);
    mproc__table_put(table, owned(key), mproc_int(item));
}

START_TEST(keys_of_different_kinds_differ)
{
    mproc__table table;
    const mproc_variant keys[] = {mproc_int(1),    mproc_double(1.0),   mproc_bool(true),
                                  mproc_text("1"), mproc_bytes("1", 1), mproc_text(""),
                                  mproc_int(0),    mproc_bool(false)};
    mproc__table_init(&table);
    for (size_t i = 0; i < MPROC__COUNT(keys); i++) {
        ck_assert_ptr_null(mproc__table_find(&table, keys[i]));
        put(&table, keys[i], (int64_t)i);
    }
    for (size_t i = 0; i < MPROC__COUNT(keys); i++)
        ck_assert_int_eq(mproc__table_find(&table, keys[i])->item.number, (int64_t)i);
    put(&table, mproc_double(0.0), 99);
    ck_assert_int_eq(mproc__table_find(&table, mproc_double(-0.0))->item.number, 99);
    mproc__table_fini(&table);
}
END_TEST

START_TEST(only_plain_values_are_keys)
{
    ck_assert_int_eq(mproc__table_key_check(mproc_text("x")), 0);
    ck_assert_int_eq(mproc__table_key_check(mproc_double(NAN)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc__table_key_check(mproc_null()), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc__table_key_check(MPROC_ARGS(1)), MPROC_EARGUMENT);
}
END_TEST

/* Against an array of what is there, over many random puts and removals. */
START_TEST(a_table_agrees_with_a_plain_array)
{
    enum { KEYS = 300 };
    int64_t there[KEYS], order[KEYS], now = 0;
    size_t count = 0;
    mproc__table table;
    mproc__table_init(&table);
    memset(there, -1, sizeof there);
    srandom(7);
    for (int round = 0; round < 20000; round++) {
        int64_t key = random() % KEYS;
        mproc__table_entry *entry = mproc__table_find(&table, mproc_int(key));
        ck_assert_int_eq(entry ? entry->item.number : -1, there[key]);
        if (entry) {
            mproc__table_remove(&table, entry, NULL);
            there[key] = -1;
            count--;
        } else {
            put(&table, mproc_int(key), now);
            there[key] = now++;
            count++;
        }
        ck_assert_uint_eq(table.count, count);
    }
    size_t position = 0, n = 0;
    for (mproc__table_entry *entry; (entry = mproc__table_next(&table, &position));)
        order[n++] = entry->item.number;
    ck_assert_uint_eq(n, count);
    for (size_t i = 1; i < n; i++)
        ck_assert_int_lt(order[i - 1], order[i]);
    mproc__table_fini(&table);
}
END_TEST

START_TEST(long_texts_hash_by_all_their_bytes)
{
    mproc__table table;
    char key[40];
    mproc__table_init(&table);
    memset(key, 'k', sizeof key);
    key[39] = '\0';
    for (size_t i = 0; i < 39; i++) {
        key[i] = 'x';
        put(&table, mproc_text(key), (int64_t)i);
        key[i] = 'k';
    }
    for (size_t i = 0; i < 39; i++) {
        key[i] = 'x';
        ck_assert_int_eq(mproc__table_find(&table, mproc_text(key))->item.number, (int64_t)i);
        key[i] = 'k';
    }
    mproc__table_fini(&table);
}
END_TEST

START_TEST(without_memory_a_table_stays_as_it_was)
{
    mproc__table table;
    mproc__table_init(&table);
    put(&table, mproc_int(1), 1);
    for (unsigned n = 1; n <= 2; n++) {
        support_fail_allocation(n);
        ck_assert_int_eq(mproc__table_reserve(&table, 100), -ENOMEM);
        support_fail_allocation(0);
        ck_assert_int_eq(mproc__table_find(&table, mproc_int(1))->item.number, 1);
    }
    ck_assert_int_eq(mproc__table_reserve(&table, 100), 0);
    ck_assert_int_eq(mproc__table_reserve(&table, (size_t)1 << 40), MPROC_ELIMIT);
    mproc__table_fini(&table);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("table");
    TCase *table = support_case(suite, "table");
    tcase_add_test(table, keys_of_different_kinds_differ);
    tcase_add_test(table, only_plain_values_are_keys);
    tcase_add_test(table, a_table_agrees_with_a_plain_array);
    tcase_add_test(table, long_texts_hash_by_all_their_bytes);
    tcase_add_test(table, without_memory_a_table_stays_as_it_was);
    return support_run(suite, argc, argv);
}
