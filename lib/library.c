/* SPDX-License-Identifier: BSD-2-Clause */
/* The one file that knows all layers: start-up of the library. */
#include "platform/base.h"

#include <mproc/shm.h>
#include "channel/connection.h"
#include "channel/queue.h"
#include "manager/proxy.h"
#include "process/launch.h"
#include "sync/nouns.h"

int mproc_init(int *argc, char ***argv)
{
    /* First, because a spawned child unpacks its arguments in the process layer and never comes back. */
    mproc__nouns_register();
    mproc__parcel_register(MPROC_TYPE_QUEUE, mproc__queue_unpack);
    mproc__connection_register();
    mproc__manager_register();
    int rc = argc || argv ? mproc__process_main(argc, argv) : 0;
    /* Names that killed programs left. A directory that cannot be read is no reason not to start. */
    if (rc == 0)
        (void)mproc_cleanup(NULL);
    return rc;
}
