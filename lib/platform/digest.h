/* SPDX-License-Identifier: BSD-2-Clause */
/* HMAC-SHA-256 and SHA-1, by OpenSSL's libcrypto. L0.
 *
 * libcrypto is loaded at first use and not with the program. Its 90 relocated pages and five mappings are copied at each
 * fork and freed at each end: fork, exit and wait of a small program took 170 to 208 us without it and 224 to 239 with it, and
 * few of the processes that the library starts ever shake hands. */
#ifndef MPROC__PLATFORM_DIGEST_H
#define MPROC__PLATFORM_DIGEST_H

#include "platform/base.h"

enum { MPROC__MAC_BYTES = 32, MPROC__SHA1_BYTES = 20 };

/* Loads it, if that has not been done: 0, -ENOMEM, -EMFILE, -ENFILE, else -ELIBACC with what the loader says. From any thread. */
int mproc__digest_load(void);
bool mproc__digest_loaded(void);

/* Before a fork: waits until no thread loads it. False: one does all the same. */
bool mproc__digest_settled(void);
/* This process was forked beside a thread that loaded it, and cannot load it itself (-ELIBACC). */
bool mproc__digest_torn(void);

/* ---- only when it is ---- */
void mproc__mac(const void *key, size_t key_bytes, const void *text, size_t text_bytes,
                uint8_t ret_mac[MPROC__MAC_BYTES]);
/* Takes as long whatever the difference. */
bool mproc__mac_same(const uint8_t *a, const uint8_t *b);

typedef struct evp_md_ctx_st mproc__sha1;
mproc__sha1 *mproc__sha1_begin(void); /* NULL: no memory, or not allowed on this machine */
bool mproc__sha1_add(mproc__sha1 *sum, const void *bytes, size_t size_bytes);
/* Frees it. */
bool mproc__sha1_end(mproc__sha1 *sum, uint8_t ret_id[MPROC__SHA1_BYTES]);

#endif
