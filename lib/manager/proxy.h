/* SPDX-License-Identifier: BSD-2-Clause */
/* What the client's handles to served objects have in common. L7. */
#ifndef MPROC__MANAGER_PROXY_H
#define MPROC__MANAGER_PROXY_H

#include "data/parcel.h"
#include "manager/session.h"
#include "sync/lock.h"

typedef struct mproc__proxy {
    mproc__handle handle;
    mproc__server_place *place; /* one reference */
    uint64_t object, life;
    _Atomic uint64_t session; /* that holds the object for this handle; 0: none yet */
} mproc__proxy;

/* A handle of a type: its operations, and how large it is, the proxy included. */
typedef struct mproc__proxy_type {
    const mproc__handle_ops *ops;
    size_t size_bytes;
} mproc__proxy_type;
extern const mproc__proxy_type mproc__proxy_dict, mproc__proxy_list, mproc__proxy_lock;

/* A new object, or with and_open an existing one, and its handle. `args`: for the type. */
int mproc__proxy_create(mproc_place *place, const mproc__proxy_type *type, const char *name, bool and_open,
                        mproc_variant args, mproc__proxy **ret_proxy);
int mproc__proxy_open(mproc_place *place, const mproc__proxy_type *type, const char *name,
                      mproc__proxy **ret_proxy);
/* A handle to what another process has described; nothing is asked yet. Takes the place's reference on
 * success. */
int mproc__proxy_attach(mproc__server_place *place, const mproc__proxy_type *type, uint64_t object,
                        uint64_t life, mproc__proxy **ret_proxy);

/* Calls a method with `count` arguments, within the place's limit. ret_result NULL: none is wanted. The story
 * of a failure also goes to the handle. */
typedef struct mproc__proxy_call {
    mproc__method method;
    bool changes; /* see session.h */
    size_t count;
    mproc_variant args[3];
} mproc__proxy_call;
int mproc__proxy_run(mproc__proxy *proxy, const mproc__proxy_call *call, mproc_variant *ret_result);
int mproc__proxy_run_count(mproc__proxy *proxy, mproc__method method, size_t *ret_count);

/* For operation tables. */
void mproc__proxy_destroy(mproc__handle *handle);
int mproc__proxy_describe(const mproc__handle *handle, char *buffer, size_t size_bytes);
int mproc__proxy_pack(mproc__handle *handle, mproc__parcel *parcel);

int mproc__proxy_lock_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock);
int mproc__proxy_lock_open(mproc_place *place, const char *name, mproc_lock **ret_lock);

/* place_open.c: blobs. An object of 0 is the place itself. */
int mproc__place_pack(const mproc__server_place *place, mproc_type_id type, uint64_t object, uint64_t life,
                      mproc__parcel *parcel);
/* Lets parcels bring handles of served objects; at start-up, and wherever the first of them may come from. */
void mproc__manager_register(void);

#endif
