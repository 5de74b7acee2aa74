/* SPDX-License-Identifier: BSD-2-Clause */
/* A value that can travel: argument, queue item, message, result, entry of a served dict.
 *
 *     mproc_variant point = mproc_null();                     // built: owns what it holds
 *     mproc_variant_set(&point, "x", mproc_int(3));
 *     mproc_variant_set(&point, "tags", MPROC_ARGS("a", "b"));
 *     mproc_queue_put_variant(queue, point, MPROC_FOREVER);
 *     mproc_variant_clear(&point);
 *
 * Ownership. Constructors and MPROC_ARGS borrow: the text, array or handle must live as long as the variant is used. What append
 * and set built, copy made or a call received owns its memory (and references to handles, and descriptors) until
 * mproc_variant_clear. Clearing a borrowed one is harmless, so that one rule is enough: clear what you received or built.
 * Plain assignment moves; do not clear both. Items from at, find and entry are borrowed from their container.
 *
 * Limits. Text is UTF-8 without NUL. 32 levels of lists and dicts. Keys of a dict are texts, each once, in the order they were
 * first set; finding one takes the same time in a large dict. Doubles travel bit by bit.
 *
 * | call                         | blocks | threads                                | in a signal handler | after fork       |
 * |------------------------------|--------|----------------------------------------|---------------------|------------------|
 * | constructors                 | no     | any                                    | yes                 | work             |
 * | get_*, at, find, entry, equal| no     | any, while nobody changes the variant  | no                  | work             |
 * | append, set, copy, clear     | no     | one at a time for each variant         | no                  | on the copy      |
 * | print                        | no     | any, while nobody changes the variant  | no                  | works            |
 * Between processes a variant is always a copy; handles inside mean the same object there. */
#ifndef MPROC_VARIANT_H
#define MPROC_VARIANT_H

#include <mproc/base.h>

MPROC_BEGIN

typedef enum mproc_kind {
    MPROC_KIND_NULL, MPROC_KIND_BOOL, MPROC_KIND_INT, MPROC_KIND_DOUBLE, MPROC_KIND_TEXT, MPROC_KIND_BYTES,
    MPROC_KIND_LIST, MPROC_KIND_DICT, MPROC_KIND_HANDLE, MPROC_KIND_FD, MPROC_KIND_POINTER, MPROC_KIND_INVALID
} mproc_kind;
struct mproc_variant {          /* 32 bytes, layout frozen, no union (ctypes does not support unions by value) */
    uint32_t    kind;
    uint32_t    flags;          /* library's: owner of data */
    int64_t     number;         /* bool, int, fd; byte count of text and bytes; item count of list and dict */
    double      real;
    const void *data;           /* text (always NUL-ended when received), bytes, items, handle, pointer */
};
/* Constructors: by value, allocate nothing, cannot fail. A uint64 above INT64_MAX or a non-UTF-8 text becomes
 * MPROC_KIND_INVALID, which the sending call refuses with MPROC_EARGUMENT and a story. */
MPROC_API mproc_variant mproc_null(void);
MPROC_API mproc_variant mproc_bool(bool value);
MPROC_API mproc_variant mproc_int(int64_t value);
MPROC_API mproc_variant mproc_uint(uint64_t value);
MPROC_API mproc_variant mproc_double(double value);
MPROC_API mproc_variant mproc_text(const char *text);                   /* NULL gives null */
MPROC_API mproc_variant mproc_bytes(const void *data, size_t size_bytes);
MPROC_API mproc_variant mproc_items(const mproc_variant *items, size_t count);  /* a list over the caller's array */
MPROC_API mproc_variant mproc_handle(const void *handle);               /* any handle of base.h */
MPROC_API mproc_variant mproc_fd(int fd);                               /* duplicated when sent; Unix sockets, start only */
MPROC_API mproc_variant mproc_pointer(const void *pointer);             /* between threads only; NULL gives null */
/* Growing lists and dicts. The first append or set turns a null into an owned one; items are copied, deep. On failure nothing
 * has changed. MPROC_EARGUMENT: another kind, a borrowed list, an INVALID item or key, over 32 levels. -ENOMEM. Copying a
 * descriptor duplicates it (-EBADF, -EMFILE); copying a handle adds an owner. */
MPROC_API int  mproc_variant_append(mproc_variant *list, mproc_variant item);
MPROC_API int  mproc_variant_set(mproc_variant *dict, const char *key, mproc_variant item);
MPROC_API int  mproc_variant_copy(mproc_variant source, mproc_variant *ret_copy);     /* deep */
MPROC_API void mproc_variant_clear(mproc_variant *variant);                           /* frees what it owns; now null */
/* Equal kind and contents; dicts in any order; NaN and INVALID equal nothing. */
MPROC_API bool mproc_variant_equal(mproc_variant a, mproc_variant b);
/* One line, close to JSON; as snprintf, returns the length it would need. */
MPROC_API int  mproc_variant_print(mproc_variant variant, char *buffer, size_t size_bytes);
/* Reading: 0 or MPROC_EARGUMENT; ints widen to double, 0/1 to bool, nothing else converts. A NULL output is -EINVAL; get_bytes
 * takes it for "no matter how many". */
MPROC_API int  mproc_variant_get_int(mproc_variant variant, int64_t *ret_value);
MPROC_API int  mproc_variant_get_double(mproc_variant variant, double *ret_value);
MPROC_API int  mproc_variant_get_bool(mproc_variant variant, bool *ret_value);
MPROC_API const char *mproc_variant_get_text(mproc_variant variant);                  /* NULL when it is no text */
MPROC_API const void *mproc_variant_get_bytes(mproc_variant variant, size_t *ret_size_bytes);
MPROC_API void *mproc_variant_get_handle(mproc_variant variant, mproc_type_id type);  /* borrowed; NULL when not such */
MPROC_API size_t mproc_variant_count(mproc_variant variant);
MPROC_API mproc_variant mproc_variant_at(mproc_variant list, size_t index);           /* borrowed; INVALID when outside */
MPROC_API mproc_variant mproc_variant_find(mproc_variant dict, const char *key);      /* borrowed; INVALID when absent */
MPROC_API int  mproc_variant_entry(mproc_variant dict, size_t index, const char **ret_key, mproc_variant *ret_item);
MPROC_API mproc_variant mproc__same(mproc_variant variant);                           /* for MPROC_V */

MPROC_END_DECLS

/* MPROC_V(x): the variant of an ordinary expression. MPROC_ARGS(a, b, ...): a list of up to 16. No arguments: MPROC_NONE.
 * Both are sugar over mproc_int() and mproc_items(); a binding never needs them. `true` in C11 is an int: use mproc_bool. */
#define MPROC_NONE mproc_null()
#ifndef __cplusplus
/* Every handle by one name, so that MPROC_V stays short where it is written out, as in the text of an assertion: a function
 * with such a parameter takes each of these pointers and no other. */
typedef union mproc__any {
    mproc_place *place; mproc_shm *shm; mproc_shm_list *shm_list; mproc_array *array; mproc_lock *lock; mproc_rwlock *rwlock;
    mproc_semaphore *semaphore; mproc_condition *condition; mproc_event *event; mproc_barrier *barrier; mproc_queue *queue;
    mproc_connection *connection; mproc_listener *listener; mproc_list *list; mproc_dict *dict;
} __attribute__((transparent_union)) mproc__any;
static inline mproc_variant mproc__of(mproc__any handle) { return mproc_handle(handle.place); }
#define MPROC_V(x) __extension__ _Generic((x), \
    _Bool: mproc_bool, char: mproc_int, signed char: mproc_int, unsigned char: mproc_int, short: mproc_int, \
    unsigned short: mproc_int, int: mproc_int, unsigned: mproc_int, long: mproc_int, long long: mproc_int, \
    unsigned long: mproc_uint, unsigned long long: mproc_uint, float: mproc_double, double: mproc_double, \
    char *: mproc_text, const char *: mproc_text, void *: mproc_pointer, mproc_variant: mproc__same, default: mproc__of)(x)
#define MPROC__N(...) MPROC__N_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define MPROC__N_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, count, ...) count
#define MPROC__CAT(a, b) MPROC__CAT_(a, b)
#define MPROC__CAT_(a, b) a##b
#define MPROC__V1(x) MPROC_V(x)
#define MPROC__V2(x, ...) MPROC_V(x), MPROC__V1(__VA_ARGS__)
#define MPROC__V3(x, ...) MPROC_V(x), MPROC__V2(__VA_ARGS__)
#define MPROC__V4(x, ...) MPROC_V(x), MPROC__V3(__VA_ARGS__)
#define MPROC__V5(x, ...) MPROC_V(x), MPROC__V4(__VA_ARGS__)
#define MPROC__V6(x, ...) MPROC_V(x), MPROC__V5(__VA_ARGS__)
#define MPROC__V7(x, ...) MPROC_V(x), MPROC__V6(__VA_ARGS__)
#define MPROC__V8(x, ...) MPROC_V(x), MPROC__V7(__VA_ARGS__)
#define MPROC__V9(x, ...) MPROC_V(x), MPROC__V8(__VA_ARGS__)
#define MPROC__V10(x, ...) MPROC_V(x), MPROC__V9(__VA_ARGS__)
#define MPROC__V11(x, ...) MPROC_V(x), MPROC__V10(__VA_ARGS__)
#define MPROC__V12(x, ...) MPROC_V(x), MPROC__V11(__VA_ARGS__)
#define MPROC__V13(x, ...) MPROC_V(x), MPROC__V12(__VA_ARGS__)
#define MPROC__V14(x, ...) MPROC_V(x), MPROC__V13(__VA_ARGS__)
#define MPROC__V15(x, ...) MPROC_V(x), MPROC__V14(__VA_ARGS__)
#define MPROC__V16(x, ...) MPROC_V(x), MPROC__V15(__VA_ARGS__)
#define MPROC_ARGS(...) mproc_items((const mproc_variant[]){ MPROC__CAT(MPROC__V, MPROC__N(__VA_ARGS__))(__VA_ARGS__) }, \
                                    MPROC__N(__VA_ARGS__))
#else
/* The same two names by overloading and a pack whose storage lives to the end of the full expression. */
inline mproc_variant MPROC_V(bool x) { return mproc_bool(x); }
inline mproc_variant MPROC_V(int x) { return mproc_int(x); }
inline mproc_variant MPROC_V(unsigned x) { return mproc_int(x); }
inline mproc_variant MPROC_V(long x) { return mproc_int(x); }
inline mproc_variant MPROC_V(long long x) { return mproc_int(x); }
inline mproc_variant MPROC_V(unsigned long x) { return mproc_uint(x); }
inline mproc_variant MPROC_V(unsigned long long x) { return mproc_uint(x); }
inline mproc_variant MPROC_V(double x) { return mproc_double(x); }
inline mproc_variant MPROC_V(const char *x) { return mproc_text(x); }
inline mproc_variant MPROC_V(mproc_variant x) { return x; }
inline mproc_variant MPROC_V(mproc_place *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_shm *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_shm_list *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_array *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_lock *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_rwlock *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_semaphore *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_condition *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_event *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_barrier *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_queue *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_connection *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_listener *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_list *x) { return mproc_handle(x); }
inline mproc_variant MPROC_V(mproc_dict *x) { return mproc_handle(x); }
/* No void * overload, so that a stray pointer does not compile. */
template <class... T> struct mproc__pack {
    mproc_variant items[sizeof...(T)];
    explicit mproc__pack(T... x) : items{ MPROC_V(x)... } {}
    operator mproc_variant() const { return mproc_items(items, sizeof...(T)); }
};
template <class... T> mproc__pack<T...> mproc__args(T... x) { return mproc__pack<T...>(x...); }
#define MPROC_ARGS(...) mproc__args(__VA_ARGS__)
#endif

#endif
