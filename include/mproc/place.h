/* SPDX-License-Identifier: BSD-2-Clause */
/* Where shared objects live. NULL means this host: anonymous shared memory that started processes can be given. */
#ifndef MPROC_PLACE_H
#define MPROC_PLACE_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef struct mproc_place_options {
    size_t      size;
    const void *key;                /* authkey; NULL: the program's (mproc_set_key) */
    size_t      key_bytes;
    const char *key_file;           /* instead: mode 0600 file */
    uint32_t    connect_ms;         /* 0: 5000 */
    uint32_t    call_ms;            /* limit of calls that take no deadline; 0: 30000 */
} mproc_place_options;
/* address: "thread:"                 this process; values may hold pointers
 *          "host:"                   as NULL
 *          "unix:/run/x.sock" "unix:@abstract"   managerd
 *          "env:"                    whatever MPROC_PLACE says */
MPROC_API MPROC_CHECK int mproc_place_open(const char *address, const mproc_place_options *options, mproc_place **ret_place);
MPROC_API void mproc_place_close(mproc_place **place);               /* objects opened from it stay usable */
MPROC_API const char *mproc_place_address(const mproc_place *place); /* resolved: real port, private socket */
MPROC_API int  mproc_place_ping(mproc_place *place, mproc_deadline deadline);
MPROC_API int  mproc_place_names(mproc_place *place, mproc_variant *ret_list);       /* named objects: name, type, holders */
MPROC_API int  mproc_place_unlink(mproc_place *place, const char *name);             /* handles keep working */
/* Every shared noun X below has the same three:
 *   int  mproc_X_create(mproc_place *, ..., const mproc_X_options *, mproc_X **ret);   new; options->name makes it findable
 *   int  mproc_X_open(mproc_place *, const char *name, mproc_X **ret);                 existing; -ENOENT
 *   void mproc_X_close(mproc_X **);                                                    this handle only
 * Each options struct begins with size, name, and_open (an existing one of that name is opened instead of -EEXIST). */
#define MPROC_OBJECT_OPTIONS size_t size; const char *name; bool and_open

MPROC_END_DECLS

#endif
