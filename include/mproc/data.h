/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared containers and registered objects. In server places; elsewhere create answers MPROC_EPLACE. */
#ifndef MPROC_DATA_H
#define MPROC_DATA_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_data_options { MPROC_OBJECT_OPTIONS; mproc_variant initial; } mproc_data_options;
/* Keys and items go in copied and come out owned; a handle inside is a reference: changes inside show everywhere. */
MPROC_API MPROC_CHECK int mproc_dict_create(mproc_place *place, const mproc_data_options *options, mproc_dict **ret_dict);
MPROC_API MPROC_CHECK int mproc_dict_open(mproc_place *place, const char *name, mproc_dict **ret_dict);
MPROC_API void mproc_dict_close(mproc_dict **dict);
MPROC_API int  mproc_dict_get(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item);          /* MPROC_EKEY */
MPROC_API int  mproc_dict_set(mproc_dict *dict, mproc_variant key, mproc_variant item);
MPROC_API int  mproc_dict_remove(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item);       /* ret may be NULL */
MPROC_API int  mproc_dict_add(mproc_dict *dict, mproc_variant key, mproc_variant delta, mproc_variant *ret_new);
MPROC_API int  mproc_dict_compare_set(mproc_dict *dict, mproc_variant key, mproc_variant expected, mproc_variant item, bool *ret_set);
MPROC_API int  mproc_dict_count(mproc_dict *dict, size_t *ret_count);
MPROC_API int  mproc_dict_copy(mproc_dict *dict, mproc_variant *ret_pairs);          /* list of [key, item], oldest first */
MPROC_API int  mproc_dict_update(mproc_dict *dict, mproc_variant pairs);
MPROC_API MPROC_CHECK int mproc_list_create(mproc_place *place, const mproc_data_options *options, mproc_list **ret_list);
MPROC_API MPROC_CHECK int mproc_list_open(mproc_place *place, const char *name, mproc_list **ret_list);
MPROC_API void mproc_list_close(mproc_list **list);
MPROC_API int  mproc_list_get(mproc_list *list, int64_t index, mproc_variant *ret_item);     /* negative: from the end */
MPROC_API int  mproc_list_set(mproc_list *list, int64_t index, mproc_variant item);
MPROC_API int  mproc_list_append(mproc_list *list, mproc_variant item);
MPROC_API int  mproc_list_insert(mproc_list *list, int64_t index, mproc_variant item);
MPROC_API int  mproc_list_remove(mproc_list *list, int64_t index, mproc_variant *ret_item);
MPROC_API int  mproc_list_count(mproc_list *list, size_t *ret_count);
MPROC_API int  mproc_list_slice(mproc_list *list, int64_t first, int64_t end, mproc_variant *ret_list);
MPROC_API int  mproc_list_splice(mproc_list *list, int64_t first, int64_t end, mproc_variant items);

MPROC_END_DECLS

#endif
