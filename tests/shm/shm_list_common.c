/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "shm/shm_list_common.h"

mproc_place *place;
mproc_shm_list *list;

void place_make(int home)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    if (home == 2)
        ck_assert_int_eq(mproc__place_shm("shm:/check-list", NULL, &place), 0);
}

void list_make(int home, mproc_variant values, const mproc_shm_list_options *options)
{
    place_make(home);
    int code = mproc_shm_list_create(place, values, options, &list);
    ck_assert_msg(code == 0, "%s", mproc_error_text(mproc_last_error()));
}

void list_drop(void)
{
    mproc_shm_list_close(&list);
    ck_assert_ptr_null(list);
    mproc_place_close(&place);
}

mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

int set(int64_t index, mproc_variant value)
{
    return mproc_shm_list_set(list, index, value, soon());
}

bool holds(mproc_shm_list *of, int64_t index, mproc_variant value)
{
    mproc_variant seen;
    if (mproc_shm_list_get(of, index, &seen) < 0)
        return false;
    bool equal = mproc_variant_equal(seen, value);
    mproc_variant_clear(&seen);
    return equal;
}
