/* SPDX-License-Identifier: BSD-2-Clause */
/* Dicts and lists that many processes share. They live on a server (a place at unix:..., where managerd listens); in
 * thread: and host: places create answers MPROC_EPLACE.
 *
 * Values: whatever a variant carries, deep and by copy: what was put in and what came out are the caller's own, and
 * changing them changes nothing on the server. Items that came out are owned: mproc_variant_clear. A handle or a
 * descriptor inside a value is refused with MPROC_ECANNOTCROSS before anything is sent.
 *
 * Each call is one step on the server: it happens whole or not at all, and no other client's call comes between its
 * parts. Calls take no deadline; the place's call_ms limits them.
 *
 * Errors of all calls below, beside their own:
 *   -EINVAL             NULL, a closed handle, or one of another type; options of a wrong size
 *   MPROC_EPLACE        create, open: the place is no server
 *   MPROC_EARGUMENT     a key or an item of a kind that the call does not take (not UTF-8, a list as key, ...)
 *   MPROC_ECANNOTCROSS  a handle, descriptor or pointer inside a value
 *   -EMSGSIZE           the request is above the server's message limit (64 MiB unless set): nothing was sent
 *   MPROC_ELIMIT        the server's memory limit, or the reply is above the message limit; the story says which
 *   MPROC_ESTALE        the server was restarted since the handle was made, or nobody held the object any more
 *   -ECONNREFUSED, -ENOENT, MPROC_EAUTH, ...   no connection: as mproc_place_ping
 *   -ETIMEDOUT, -ECONNRESET   a reading call got no answer; try again
 *   MPROC_EUNKNOWN      a changing call was sent and its answer lost: it may or may not have happened
 * The story (mproc_error_of the handle, or mproc_last_error) names the server.
 *
 * | call          | blocks                | threads of one process     | processes | in a signal handler | after fork      |
 * |---------------|-----------------------|----------------------------|-----------|---------------------|-----------------|
 * | create, open  | for the answer        | any                        | any       | no                  | works           |
 * | close         | no (sends a goodbye)  | any, each handle once      | any       | no                  | own copy only   |
 * | all others    | for the answer        | any, also on one handle    | any       | no                  | works: the child|
 * |               |                       |                            |           |                     | connects itself |
 *
 * A handle given to another process as an argument brings the address; the receiver needs the program's key (inherited,
 * or mproc_set_key) and connects at its first call. Until then only other holders keep an unnamed object alive. */
#ifndef MPROC_DATA_H
#define MPROC_DATA_H

#include <mproc/place.h>

MPROC_BEGIN

/* name NULL: the object lives as long as any process holds a handle to it; the server notices the death of a process.
 * Named: until mproc_place_unlink and the last handle. and_open: an existing object of that name and type is opened as it
 * is, without `initial`. Names: 1 to 255 bytes of UTF-8. */
typedef struct mproc_data_options {
    MPROC_OBJECT_OPTIONS;
    mproc_variant initial;          /* null: empty. Dict: a list of [key, item] lists, or a dict variant. List: a list */
} mproc_data_options;

/* ---- dict ----
 * Keys are bools, ints, doubles (not NaN), texts and bytes. 1, 1.0, true and "1" are four different keys. */

/* -EEXIST: the name is taken (without and_open). -EINVAL: it is taken by another type. */
MPROC_API MPROC_CHECK int mproc_dict_create(mproc_place *place, const mproc_data_options *options, mproc_dict **ret_dict);
/* -ENOENT: no such name. -EINVAL: not a dict. */
MPROC_API MPROC_CHECK int mproc_dict_open(mproc_place *place, const char *name, mproc_dict **ret_dict);
MPROC_API void mproc_dict_close(mproc_dict **dict);                                  /* NULL allowed; nulls */

/* MPROC_EKEY: no such key. ret_item is owned; NULL: only to see whether it is there. */
MPROC_API int  mproc_dict_get(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item);
/* A new key comes last in the order of copy; an old one keeps its place. */
MPROC_API int  mproc_dict_set(mproc_dict *dict, mproc_variant key, mproc_variant item);
/* Gives the item that was there; ret_item may be NULL. MPROC_EKEY. */
MPROC_API int  mproc_dict_remove(mproc_dict *dict, mproc_variant key, mproc_variant *ret_item);
/* Read, add, write in one step. An absent key counts as 0. Ints stay ints (-EOVERFLOW: nothing changed), a double on either
 * side makes a double. ret_new may be NULL. MPROC_EARGUMENT: one of the two is no number. */
MPROC_API int  mproc_dict_add(mproc_dict *dict, mproc_variant key, mproc_variant delta, mproc_variant *ret_new);
/* Sets the item if the present one equals `expected`; an absent key equals null. *ret_set says whether; may be NULL. */
MPROC_API int  mproc_dict_compare_set(mproc_dict *dict, mproc_variant key, mproc_variant expected, mproc_variant item,
                                      bool *ret_set);
MPROC_API int  mproc_dict_count(mproc_dict *dict, size_t *ret_count);
/* A snapshot: a list of [key, item] lists, oldest key first. */
MPROC_API int  mproc_dict_copy(mproc_dict *dict, mproc_variant *ret_pairs);
/* Many sets in one step: all or none. pairs: what copy gives, or a dict variant. Of equal keys the last counts. */
MPROC_API int  mproc_dict_update(mproc_dict *dict, mproc_variant pairs);

/* ---- list ----
 * index: 0 to count - 1, or -1 (the last) to -count; else MPROC_EKEY. first, end: borders between items, moved into the
 * list when outside, negative ones counted from the end; INT64_MAX is the end. */

MPROC_API MPROC_CHECK int mproc_list_create(mproc_place *place, const mproc_data_options *options, mproc_list **ret_list);
MPROC_API MPROC_CHECK int mproc_list_open(mproc_place *place, const char *name, mproc_list **ret_list);
MPROC_API void mproc_list_close(mproc_list **list);

MPROC_API int  mproc_list_get(mproc_list *list, int64_t index, mproc_variant *ret_item);
MPROC_API int  mproc_list_set(mproc_list *list, int64_t index, mproc_variant item);
MPROC_API int  mproc_list_append(mproc_list *list, mproc_variant item);
MPROC_API int  mproc_list_insert(mproc_list *list, int64_t index, mproc_variant item);       /* before that border */
MPROC_API int  mproc_list_remove(mproc_list *list, int64_t index, mproc_variant *ret_item);  /* ret_item may be NULL */
MPROC_API int  mproc_list_count(mproc_list *list, size_t *ret_count);
/* The items from first to before end, as an owned list; end before first: empty. */
MPROC_API int  mproc_list_slice(mproc_list *list, int64_t first, int64_t end, mproc_variant *ret_list);
/* Replaces those items by `items` (a list; empty: deletes), which may be more or fewer. */
MPROC_API int  mproc_list_splice(mproc_list *list, int64_t first, int64_t end, mproc_variant items);

MPROC_END_DECLS

#endif
