/* SPDX-License-Identifier: BSD-2-Clause */
/* The child's end of what boot.c sends: the record, and what follows it. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "process/boot.h"

static int receive_failed(int code)
{
    return mproc__fail(code, "the child's first steps: receiving the start data: %s", mproc_strerror(code));
}

/* What came in one piece, and the rest as it comes. As a rule there is no rest; more room would be another page of the
 * child's stack. */
enum { ARRIVAL_BYTES = 512 };
typedef struct boot_arrival {
    int socket;
    size_t at, end; /* of bytes */
    struct {
        mproc__boot boot;
        uint8_t bytes[ARRIVAL_BYTES];
    } piece;
} boot_arrival;

MPROC__FORK_TEXT static int arrival_read(boot_arrival *from, void *to, size_t size_bytes)
{
    size_t here = from->end - from->at < size_bytes ? from->end - from->at : size_bytes;
    if (here > 0)
        memcpy(to, from->piece.bytes + from->at, here);
    from->at += here;
    int rc = mproc__fd_read_all(from->socket, (char *)to + here, size_bytes - here, MPROC_FOREVER);
    return rc < 0 ? receive_failed(rc) : 0;
}

MPROC__FORK_TEXT static int arrival_read_block(boot_arrival *from, void **ret_block, uint64_t size_bytes)
{
    *ret_block = malloc(size_bytes + 1);
    if (!*ret_block)
        return mproc__fail(-ENOMEM, "the child's first steps: no memory for %llu bytes of start data",
                           (unsigned long long)size_bytes);
    return arrival_read(from, *ret_block, size_bytes);
}

MPROC__FORK_TEXT static void take_fds(const int *fds, size_t count, mproc__boot_load *load)
{
    size_t next = 0;
    for (unsigned i = 0; i < MPROC__BOOT_FDS && next < count; i++)
        if (load->boot.fd_mask & 1u << i)
            load->fds[i] = fds[next++];
    while (next < count && load->parcel.fd_count < MPROC__PARCEL_FDS)
        load->parcel.fds[load->parcel.fd_count++] = fds[next++];
}

MPROC__FORK_TEXT static int boot_check(ssize_t got, const mproc__boot_load *load)
{
    const mproc__boot *boot = &load->boot;
    if (got < (ssize_t)sizeof *boot || boot->magic != MPROC__BOOT_MAGIC || boot->size_bytes != sizeof *boot ||
        boot->parcel_fds > MPROC__PARCEL_FDS || boot->key_bytes > MPROC__KEY_BYTES)
        return mproc__fail(MPROC_EPROTOCOL,
                           "the child's first steps: the boot record is another build's (was the "
                           "library replaced while the program ran?)");
    return load->parcel.fd_count == boot->parcel_fds
               ? 0
               : mproc__fail(MPROC_EPROTOCOL, "the child's first steps: %zu of %u descriptors came",
                             load->parcel.fd_count, boot->parcel_fds);
}

MPROC__FORK_TEXT static int receive_first(boot_arrival *arrival, mproc__boot_load *load)
{
    int fds[MPROC__BOOT_FDS + MPROC__PARCEL_FDS];
    size_t count;
    ssize_t got = mproc__fd_recv(arrival->socket, &arrival->piece, sizeof arrival->piece, fds,
                                 MPROC__COUNT(fds), &count, MPROC_FOREVER);
    if (got < 0)
        return receive_failed((int)got);
    if (got == 0)
        return mproc__fail_plain(MPROC_EEND);
    load->boot = arrival->piece.boot;
    arrival->end = got > (ssize_t)sizeof load->boot ? (size_t)got - sizeof load->boot : 0;
    take_fds(fds, count, load);
    return boot_check(got, load);
}

MPROC__FORK_TEXT int mproc__boot_receive(int socket, mproc__boot_load *ret_load)
{
    boot_arrival arrival;
    arrival.socket = socket;
    arrival.at = arrival.end = 0;
    memset(ret_load, 0, sizeof *ret_load);
    for (int i = 0; i < MPROC__BOOT_FDS; i++)
        ret_load->fds[i] = -1;
    int rc = receive_first(&arrival, ret_load);
    ret_load->key.set = ret_load->boot.key_set;
    ret_load->key.size_bytes = ret_load->boot.key_bytes;
    if (rc == 0)
        rc = arrival_read(&arrival, ret_load->key.bytes, ret_load->key.size_bytes);
    if (rc == 0 && ret_load->boot.environment_comes)
        rc = arrival_read_block(&arrival, (void **)&ret_load->environment, ret_load->boot.environment_bytes);
    if (rc == 0 && ret_load->boot.parcel_bytes > 0)
        rc = arrival_read_block(&arrival, (void **)&ret_load->parcel.bytes, ret_load->boot.parcel_bytes);
    ret_load->parcel.size_bytes = ret_load->boot.parcel_bytes;
    ret_load->parcel.allow_fds = true;
    if (ret_load->boot.key_set)
        explicit_bzero(arrival.piece.bytes, arrival.end);
    return rc;
}
