/* SPDX-License-Identifier: BSD-2-Clause */
/* libcrypto, loaded when it is needed: digest.h. */
#include "platform/base.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/opensslv.h>

#include "platform/digest.h"
#include "platform/platform.h"
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

/* What a linker would have noted as needed, for those who make packages: "Package Metadata for Executable Files", its note of
 * dlopen. */
#define NOTE_TEXT                                                                                            \
    "[{\"feature\":\"key\",\"description\":\"Connections with a key, functions without a build-id\","        \
    "\"priority\":\"recommended\",\"soname\":[\"" CRYPTO_NAME "\"]}]"
enum { NOTE_TYPE = 0x407c0c0a };

__attribute__((used, section(".note.dlopen"), aligned(4))) static const struct {
    uint32_t name_bytes, text_bytes, type;
    char name[4];
    char text[sizeof NOTE_TEXT];
} note = {4, sizeof NOTE_TEXT, NOTE_TYPE, "FDO", NOTE_TEXT};

typedef struct crypto_calls {
#define CALL(name) __typeof__(&(name)) name;
    CRYPTO_CALLS(CALL)
#undef CALL
} crypto_calls;

/* NULL: not loaded. Set once, and freed never: a lock here would have to be right over forks. */
static _Atomic(const crypto_calls *) crypto;

static const crypto_calls *calls(void)
{
    return atomic_load_explicit(&crypto, memory_order_acquire);
}

/* ---- beside forks ---- */

/* A fork beside a thread in dlopen copies the loader's list with libcrypto half relocated in it, and whoever asks for it in
 * the copy is given that and jumps to nowhere. No lock held over forks prevents it: a thread in dlclose waits for the forks
 * under way and holds the loader's lock, for which dlopen waits. So the copy knows: somebody was loading, and not one of its own.
 *
 * How many threads of whom; the second is written before the first goes up. */
MPROC__FORK_DATA static _Atomic uint32_t loading;
static _Atomic uint64_t loader;

/* Longer than any disk takes. Whoever forks in a library's constructor holds the loader's lock, for which the thread that he
 * waits for here may wait. */
enum { SETTLE_MS = 2000 };

MPROC__FORK_TEXT bool mproc__digest_torn(void)
{
    return MPROC__UNLIKELY(atomic_load(&loading)) && !calls() && atomic_load(&loader) != mproc__incarnation();
}

__attribute__((noinline)) static bool settled(uint32_t seen)
{
    mproc_deadline deadline = mproc_after_ms(SETTLE_MS);
    for (; seen && !calls(); seen = atomic_load(&loading))
        if (mproc__digest_torn() || mproc__futex_wait(&loading, seen, false, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

MPROC__FORK_TEXT bool mproc__digest_settled(void)
{
    uint32_t seen = atomic_load(&loading);
    return MPROC__LIKELY(seen == 0) || settled(seen);
}

static void loading_begin(void)
{
    atomic_store(&loader, mproc__incarnation());
    atomic_fetch_add(&loading, 1);
}

static void loading_end(void)
{
    if (atomic_fetch_sub(&loading, 1) == 1)
        (void)mproc__futex_wake(&loading, INT_MAX, false);
}

/* ---- loading ---- */

/* The loader says in words alone what failed, and leaves errno as the system set it. */
static int load_failed(int error, const char *why)
{
    bool passes = error == EMFILE || error == ENFILE || error == ENOMEM;
    return mproc__fail(passes ? -error : -ELIBACC, "%s is needed for this and cannot be loaded: %s",
                       CRYPTO_NAME, why ? why : "no reason given");
}

static int load(crypto_calls *made)
{
    errno = 0;
    void *library = dlopen(CRYPTO_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *address;
    if (!library)
        return load_failed(errno, dlerror());
#define CALL(call_name)                                                                                      \
    if (!(address = dlsym(library, #call_name)))                                                             \
        return load_failed(0, dlerror());                                                                    \
    memcpy(&made->call_name, &address, sizeof address);
    CRYPTO_CALLS(CALL)
#undef CALL
    return 0;
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
    if (mproc__digest_torn())
        return mproc__fail(-ELIBACC,
                           "%s is needed for this, and another thread was loading it when this process was "
                           "forked: half of it is here, and cannot be used",
                           CRYPTO_NAME);
    crypto_calls *made = malloc(sizeof *made);
    if (!made)
        return mproc__fail(-ENOMEM, "no memory for the calls of %s", CRYPTO_NAME);
    loading_begin();
    int rc = load(made);
    if (rc < 0 || !atomic_compare_exchange_strong(&crypto, &none, made))
        free(made); /* or another thread was first */
    loading_end();
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
