/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection from inside: for the listener, and for whoever unpacks handles. L4. */
#ifndef MPROC__CHANNEL_CONNECTION_H
#define MPROC__CHANNEL_CONNECTION_H

#include <mproc/connection.h>
#include "data/handle.h"

enum {
    MPROC__CONNECTION_MESSAGE_BYTES = 64 << 20 /* received at most, unless the options say otherwise */
};

/* Makes a connection of a connected stream socket. greeting_due: the peer's OPEN (auth.h) has not come yet. Takes fd only
 * when it succeeds. peer is copied. */
int mproc__connection_adopt(int fd, const mproc_connection_options *options, const char *peer,
                            bool greeting_due, mproc_connection **ret_connection);

/* 0 or -EINVAL with a story. */
int mproc__connection_options_check(const mproc_connection_options *options, const char *what);
/* The key that the options name; ret_key->set tells whether there is one. The program's only if they say so. Errors of
 * mproc__key_from_options. */
struct mproc__key;
int mproc__connection_key(const mproc_connection_options *options, struct mproc__key *ret_key);

/* So that parcels can carry connections into this process (data/parcel.h). Once is enough, more do no harm. */
void mproc__connection_register(void);

#endif
