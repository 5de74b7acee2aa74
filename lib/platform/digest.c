/* SPDX-License-Identifier: BSD-2-Clause */
/* libcrypto, loaded when it is needed: digest.h. */
#include "platform/base.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/opensslv.h>

#include "platform/digest.h"
#include "platform/story.h"

/* The version whose headers this was built with: what it promises its users not to change. */
#ifdef OPENSSL_SHLIB_VERSION
#define TEXT_OF(number) #number
#define TEXT(macro)     TEXT_OF(macro)
#define CRYPTO_NAME     "libcrypto.so." TEXT(OPENSSL_SHLIB_VERSION)
#else
#define CRYPTO_NAME "libcrypto.so." SHLIB_VERSION_NUMBER
#endif

#define CRYPTO_CALLS(CALL)                                                                                   \
    CALL(CRYPTO_memcmp)                                                                                      \
    CALL(EVP_DigestFinal_ex)                                                                                 \
    CALL(EVP_DigestInit_ex)                                                                                  \
    CALL(EVP_DigestUpdate)                                                                                   \
    CALL(EVP_MD_CTX_free)                                                                                    \
    CALL(EVP_MD_CTX_new)                                                                                     \
    CALL(EVP_sha1)                                                                                           \
    CALL(EVP_sha256)                                                                                         \
    CALL(HMAC)

typedef struct crypto_calls {
#define CALL(name) __typeof__(&(name)) name;
    CRYPTO_CALLS(CALL)
#undef CALL
} crypto_calls;

/* NULL: not loaded. Set once, and freed never: a lock here would have to be right over forks. */
static _Atomic(const crypto_calls *) crypto;

static int load_failed(crypto_calls *made, const char *why)
{
    free(made);
    return mproc__fail(-ELIBACC, "%s is needed for this and cannot be loaded: %s", CRYPTO_NAME,
                       why ? why : "no reason given");
}

static int load(crypto_calls *made)
{
    void *library = dlopen(CRYPTO_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *address;
    if (!library)
        return load_failed(made, dlerror());
#define CALL(call_name)                                                                                      \
    if (!(address = dlsym(library, #call_name)))                                                             \
        return load_failed(made, dlerror());                                                                 \
    memcpy(&made->call_name, &address, sizeof address);
    CRYPTO_CALLS(CALL)
#undef CALL
    return 0;
}

static const crypto_calls *calls(void)
{
    return atomic_load_explicit(&crypto, memory_order_acquire);
}

bool mproc__digest_loaded(void)
{
    return calls() != NULL;
}

int mproc__digest_load(void)
{
    const crypto_calls *none = NULL;
    if (calls())
        return 0;
    crypto_calls *made = malloc(sizeof *made);
    if (!made)
        return mproc__fail(-ENOMEM, "no memory for the calls of %s", CRYPTO_NAME);
    int rc = load(made);
    if (rc == 0 && !atomic_compare_exchange_strong(&crypto, &none, made))
        free(made); /* another thread was first */
    return rc;
}

void mproc__mac(const void *key, size_t key_bytes, const void *text, size_t text_bytes,
                uint8_t ret_mac[MPROC__MAC_BYTES])
{
    unsigned size = 0;
    const void *mac =
        calls()->HMAC(calls()->EVP_sha256(), key, (int)key_bytes, text, text_bytes, ret_mac, &size);
    MPROC__ASSERT(mac && size == MPROC__MAC_BYTES);
}

bool mproc__mac_same(const uint8_t *a, const uint8_t *b)
{
    return calls()->CRYPTO_memcmp(a, b, MPROC__MAC_BYTES) == 0;
}

mproc__sha1 *mproc__sha1_begin(void)
{
    mproc__sha1 *sum = calls()->EVP_MD_CTX_new();
    if (sum && calls()->EVP_DigestInit_ex(sum, calls()->EVP_sha1(), NULL) == 1)
        return sum;
    calls()->EVP_MD_CTX_free(sum);
    return NULL;
}

bool mproc__sha1_add(mproc__sha1 *sum, const void *bytes, size_t size_bytes)
{
    return calls()->EVP_DigestUpdate(sum, bytes, size_bytes) == 1;
}

bool mproc__sha1_end(mproc__sha1 *sum, uint8_t ret_id[MPROC__SHA1_BYTES])
{
    bool good = calls()->EVP_DigestFinal_ex(sum, ret_id, NULL) == 1;
    calls()->EVP_MD_CTX_free(sum);
    return good;
}
