/* SPDX-License-Identifier: BSD-2-Clause */
/* The server without its sockets: sessions, objects, requests. L7.
 *
 * One thread runs all of it, so nothing here is locked. A session (mproc__client) owns what its client holds:
 * references to objects, grants of locks, parked requests; mproc__client_gone gives all of it back. */
#ifndef MPROC__MANAGER_SERVED_H
#define MPROC__MANAGER_SERVED_H

#include <mproc/deadline.h>
#include <mproc/variant.h>
#include "manager/links.h"
#include "manager/table.h"
#include "manager/timers.h"
#include "manager/wire.h"

enum {
    MPROC__PARKED = 2, /* a call's code inside the server: the answer comes later */
    MPROC__PARKED_PER_CLIENT = 4096,
    MPROC__ENTRY_BYTES = 64 /* what an entry costs beside its encoded bytes, for the memory limit */
};

typedef struct mproc__answer {
    uint64_t id; /* of the request */
    int code;    /* < 0: this thread's story goes with it */
    uint64_t object, token;
    bool has_result;
    bool result_owned; /* cleared once it is sent; else it is the object's, and still there then */
    mproc_variant result;
    void *memory; /* freed once it is sent: what a borrowed result was put together in */
} mproc__answer;
void mproc__answer_fini(mproc__answer *answer);

/* ---- sessions ---- */
typedef struct mproc__client mproc__client;
struct mproc__client {
    uint64_t session;
    mproc__table holds; /* object id -> times */
    mproc__link owned;  /* locks, by their `owned` link */
    mproc__link parked;
    size_t parked_count;
    void (*answer)(mproc__client *client,
                   const mproc__answer *answer); /* may be called while others are served */
};
void mproc__client_init(mproc__client *client, uint64_t session,
                        void (*answer)(mproc__client *client, const mproc__answer *answer));

/* ---- the objects of one server life ---- */
typedef struct mproc__registry {
    uint64_t life; /* the wall clock at start, in ns; see mproc__registry_token */
    uint64_t last_id, grants;
    mproc__table objects; /* id -> mproc__served */
    mproc__table names;   /* name -> mproc__served; each counts as one reference */
    mproc__timers timers;
    size_t used_bytes, max_bytes;
} mproc__registry;
void mproc__registry_init(mproc__registry *registry, uint64_t life, size_t max_bytes);
void mproc__registry_fini(mproc__registry *registry); /* after the last client is gone */
/* Larger than every one before, also in earlier lives: grants come slower than one a nanosecond. */
uint64_t mproc__registry_token(mproc__registry *registry);
/* The memory limit: MPROC_ELIMIT. What is given back must have been charged. */
int mproc__registry_charge(mproc__registry *registry, size_t bytes);
void mproc__registry_refund(mproc__registry *registry, size_t bytes);

/* ---- objects and their types ---- */
typedef struct mproc__request {
    mproc__registry *registry;
    mproc__client *client;
    uint64_t id, holder, target;
    mproc__method method;
    mproc_deadline deadline;
    mproc_variant args; /* borrowed; any kind, from anybody */
} mproc__request;

typedef struct mproc__served mproc__served;
typedef struct mproc__served_type {
    mproc_type_id id;
    const char *name;
    int (*create)(mproc__registry *registry, mproc_variant args, mproc__served **ret_served);
    void (*destroy)(mproc__registry *registry, mproc__served *served);
    /* 0, MPROC_RECOVERED, MPROC__PARKED, or an error with a story. */
    int (*call)(mproc__served *served, const mproc__request *request, mproc__answer *answer);
    void (*cancel)(mproc__served *served, const mproc__request *request); /* NULL: nothing ever waits */
} mproc__served_type;
extern const mproc__served_type mproc__served_dict, mproc__served_list, mproc__served_lock;

struct mproc__served {
    const mproc__served_type *type;
    uint64_t id;
    uint64_t references; /* holds of all sessions, and one for the name */
    char *name;          /* owned; NULL: none */
    mproc__link waiting; /* parked requests, oldest first, by `in_object` */
};

/* A new object, or with and_open an existing one, held by the client. -EEXIST, -EINVAL (other type),
 * MPROC_EARGUMENT, MPROC_ELIMIT, -ENOMEM. */
int mproc__registry_create(const mproc__request *request, uint32_t type, const char *name, bool and_open,
                           mproc__served **ret_served);
int mproc__registry_open(const mproc__request *request, uint32_t type, const char *name,
                         mproc__served **ret_served);
int mproc__registry_find(mproc__registry *registry, uint64_t id, uint64_t life,
                         mproc__served **ret_served);                    /* MPROC_ESTALE */
int mproc__registry_unlink(mproc__registry *registry, const char *name); /* -ENOENT */
int mproc__registry_names(mproc__registry *registry, mproc_variant *ret_list);
int mproc__registry_hold(mproc__registry *registry, mproc__client *client, mproc__served *served);
void mproc__registry_release(mproc__registry *registry, mproc__client *client,
                             uint64_t id); /* not held: nothing */

/* ---- waiting requests ---- */
typedef struct mproc__parked {
    mproc__timer timer;
    mproc__link in_object, in_client;
    mproc__registry *registry;
    mproc__client *client;
    uint64_t id, holder;
} mproc__parked;
int mproc__park(mproc__served *served,
                const mproc__request *request);            /* MPROC__PARKED; MPROC_ELIMIT, -ENOMEM */
mproc__parked *mproc__parked_first(mproc__served *served); /* NULL: none */
mproc__parked *mproc__parked_find(mproc__served *served, const mproc__client *client, uint64_t id);
/* Takes it out without answering. */
void mproc__parked_drop(mproc__parked *parked);
void mproc__parked_answer(mproc__parked *parked, int code, uint64_t token); /* takes it out, answers */
void mproc__parked_fail_all(mproc__served *served, int code, const char *story);

/* The death of a session: locks go on as recovered, parked requests vanish, references drop. Idempotent. */
void mproc__client_gone(mproc__registry *registry, mproc__client *client);
void mproc__served_lock_abandon(mproc__link *owned); /* the owner of the lock with this link died */

/* Runs one request and answers it through its client, now or later. */
void mproc__serve(mproc__registry *registry, mproc__client *client, const mproc__envelope *envelope);

#endif
