/* SPDX-License-Identifier: BSD-2-Clause */
/* Serving: managerd is this and a main. */
#ifndef MPROC_SERVER_H
#define MPROC_SERVER_H

#include <mproc/call.h>
#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_server_options {
    size_t      size;
    const void *key; size_t key_bytes; const char *key_file;
    size_t      max_clients, max_bytes, max_message_bytes;
} mproc_server_options;
MPROC_API MPROC_CHECK int mproc_server_create(const mproc_server_options *options, mproc_server **ret_server);
MPROC_API int  mproc_server_listen(mproc_server *server, const char *address, const char **ret_address);
MPROC_API int  mproc_server_run(mproc_server *server, mproc_deadline deadline);       /* until stop or the deadline */
MPROC_API int  mproc_server_stop(mproc_server *server);                               /* any thread, signal handler */
MPROC_API void mproc_server_close(mproc_server **server);

MPROC_END_DECLS

#endif
