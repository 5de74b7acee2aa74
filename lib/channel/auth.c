/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "channel/auth.h"
#include "platform/digest.h"
#include "platform/platform.h"
#include "platform/story.h"

/* The first two bytes of every message are its type and the version of the exchange. */
enum { AUTH_VERSION = 1, NONCE_BYTES = 32, MAC_BYTES = MPROC__MAC_BYTES, DIGEST_BYTES = 8 };

enum message_type { CHALLENGE = 1, ANSWER, WELCOME, REFUSED, OPEN, KEYED };

enum state {
    START,
    WAIT_ANSWER,  /* server: challenge sent */
    WAIT_OPEN,    /* server without key */
    WAIT_WELCOME, /* client: answer sent */
    DONE,
    FAILED
};

/* The only one allowed, so there is nothing to downgrade to; named and under the MAC for the day there are two. */
static const uint8_t digest_name[DIGEST_BYTES] = "sha256";

/* Exact sizes: a shorter or longer message is garbled. */
static const size_t message_bytes[] = {
    [CHALLENGE] = 2 + DIGEST_BYTES + NONCE_BYTES,
    [ANSWER] = 2 + DIGEST_BYTES + NONCE_BYTES + MAC_BYTES,
    [WELCOME] = 2 + MAC_BYTES,
    [REFUSED] = 3,
    [OPEN] = 2,
    [KEYED] = 2,
};

/* What a refusal means to the one who decides it and to the one who is told. */
static const struct {
    const char *ours, *theirs;
} reasons[] = {
    [0] = {"refused", "the peer refused, without a reason"},
    [MPROC__AUTH_WRONG_KEY] = {"the peer has another key, or called another address",
                               "the peer says that its key is another, or its address"},
    [MPROC__AUTH_HAS_KEY] = {"the peer has no key, and one is needed",
                             "the peer needs a key, and none is given here"},
    [MPROC__AUTH_NO_KEY] = {"the peer needs a key, and none is given here",
                            "the peer has no key, and one is given here"},
    [MPROC__AUTH_GARBLED] = {"the peer sent no proper handshake message",
                             "the peer could not read our handshake"},
    [MPROC__AUTH_VERSION] = {"the peer speaks another version of the handshake",
                             "the peer says that we speak another version of the handshake"},
    [MPROC__AUTH_USER] = {"the peer runs as a user that is not allowed", "the peer does not allow this user"},
    [MPROC__AUTH_LATE] = {"the peer did not finish the handshake in time",
                          "the peer says that our handshake took too long"},
};

void mproc__auth_init(mproc__auth *auth, bool server, const mproc__key *key)
{
    memset(auth, 0, sizeof *auth);
    auth->server = server;
    auth->state = START;
    auth->key.set = key && key->set;
    if (auth->key.set) {
        auth->key.size_bytes = key->size_bytes;
        memcpy(auth->key.bytes, key->bytes, key->size_bytes);
    }
}

void mproc__auth_fini(mproc__auth *auth)
{
    explicit_bzero(auth, sizeof *auth);
    auth->state = FAILED;
}

size_t mproc__auth_refusal(mproc__auth_reason reason, uint8_t out[MPROC__AUTH_MESSAGE_BYTES])
{
    out[0] = REFUSED;
    out[1] = AUTH_VERSION;
    out[2] = (uint8_t)reason;
    return message_bytes[REFUSED];
}

/* Our own refusal: tells the peer and the caller. */
static int auth_refuse(mproc__auth *auth, mproc__auth_reason reason, uint8_t *out, size_t *ret_bytes)
{
    auth->state = FAILED;
    auth->refused = true;
    *ret_bytes = mproc__auth_refusal(reason, out);
    int code = reason == MPROC__AUTH_VERSION ? MPROC_EPROTOCOL : MPROC_EAUTH;
    return mproc__fail(code, "authentication: %s", reasons[reason].ours);
}

/* The peer's. */
static int auth_was_refused(const uint8_t *in)
{
    unsigned reason = in[2] < MPROC__COUNT(reasons) ? in[2] : 0;
    return mproc__fail(MPROC_EAUTH, "authentication: %s", reasons[reason].theirs);
}

/* The type of a whole, well-formed message; 0 for anything else. */
static int message_type(const uint8_t *in, size_t in_bytes)
{
    if (in_bytes < 2 || in[0] < CHALLENGE || in[0] > KEYED || in_bytes != message_bytes[in[0]])
        return 0;
    return in[0];
}

/* role, version and digest are under the MAC: an answer is no welcome (no reflection), nothing can be downgraded. Both
 * nonces are: neither side's random numbers alone decide whether an old answer fits again (no replay). The server's address
 * is: who sits at another one cannot pass the words on (no relay). */
static void auth_mac(const mproc__auth *auth, char role, uint8_t ret_mac[MAC_BYTES])
{
    static const char label[] = "libmproc authkey";
    uint8_t text[sizeof label + 2 + DIGEST_BYTES + 2 * NONCE_BYTES + 1 + MPROC__AUTH_ADDRESS_BYTES],
        *p = text;
    memcpy(p, label, sizeof label);
    p += sizeof label;
    *p++ = (uint8_t)role;
    *p++ = AUTH_VERSION;
    memcpy(p, digest_name, DIGEST_BYTES);
    p += DIGEST_BYTES;
    memcpy(p, auth->server ? auth->own_nonce : auth->peer_nonce, NONCE_BYTES);
    p += NONCE_BYTES;
    memcpy(p, auth->server ? auth->peer_nonce : auth->own_nonce, NONCE_BYTES);
    p += NONCE_BYTES;
    *p++ = (uint8_t)auth->address_bytes;
    memcpy(p, auth->address, auth->address_bytes);
    p += auth->address_bytes;
    mproc__mac(auth->key.bytes, auth->key.size_bytes, text, (size_t)(p - text), ret_mac);
}

static bool auth_mac_is(const mproc__auth *auth, char role, const uint8_t *claimed)
{
    uint8_t mac[MAC_BYTES];
    auth_mac(auth, role, mac);
    bool same = mproc__mac_same(mac, claimed);
    explicit_bzero(mac, sizeof mac);
    return same;
}

/* Also makes sure of the digest before anything is sent that is answered with one. */
static int nonce_make(mproc__auth *auth)
{
    int rc = mproc__digest_load();
    return rc < 0 ? rc : mproc__random(auth->own_nonce, NONCE_BYTES);
}

static uint8_t *message_begin(uint8_t *out, int type, size_t *ret_bytes)
{
    out[0] = (uint8_t)type;
    out[1] = AUTH_VERSION;
    *ret_bytes = message_bytes[type];
    return out + 2;
}

/* ---- the server's steps ---- */

static int server_start(mproc__auth *auth, uint8_t *out, size_t *ret_bytes)
{
    if (!auth->key.set) {
        if (!auth->client_first)
            message_begin(out, OPEN, ret_bytes);
        auth->state = WAIT_OPEN;
        return 0;
    }
    int rc = nonce_make(auth);
    if (rc < 0)
        return rc;
    uint8_t *p = message_begin(out, CHALLENGE, ret_bytes);
    memcpy(p, digest_name, DIGEST_BYTES);
    memcpy(p + DIGEST_BYTES, auth->own_nonce, NONCE_BYTES);
    auth->state = WAIT_ANSWER;
    return 0;
}

static int server_answered(mproc__auth *auth, const uint8_t *in, uint8_t *out, size_t *ret_bytes)
{
    const uint8_t *digest = in + 2, *nonce = digest + DIGEST_BYTES, *mac = nonce + NONCE_BYTES;
    if (memcmp(digest, digest_name, DIGEST_BYTES) != 0)
        return auth_refuse(auth, MPROC__AUTH_GARBLED, out, ret_bytes);
    memcpy(auth->peer_nonce, nonce, NONCE_BYTES);
    if (!auth_mac_is(auth, 'C', mac))
        return auth_refuse(auth, MPROC__AUTH_WRONG_KEY, out, ret_bytes);
    auth_mac(auth, 'S', message_begin(out, WELCOME, ret_bytes));
    auth->state = DONE;
    return 1;
}

static int server_step(mproc__auth *auth, int type, const uint8_t *in, uint8_t *out, size_t *ret_bytes)
{
    if (auth->state == WAIT_OPEN && type == OPEN) {
        auth->state = DONE;
        return 1;
    }
    if (auth->state == WAIT_ANSWER && type == OPEN)
        return auth_refuse(auth, MPROC__AUTH_HAS_KEY, out, ret_bytes);
    if (auth->state == WAIT_OPEN && type == KEYED)
        return auth_refuse(auth, MPROC__AUTH_NO_KEY, out, ret_bytes);
    if (auth->state == WAIT_ANSWER && type == KEYED && auth->client_first && !auth->announced) {
        auth->announced = true; /* once, so that nobody keeps us reading */
        return 0;
    }
    if (auth->state == WAIT_ANSWER && type == ANSWER)
        return server_answered(auth, in, out, ret_bytes);
    return auth_refuse(auth, MPROC__AUTH_GARBLED, out, ret_bytes);
}

/* ---- the client's steps ---- */

static int client_challenged(mproc__auth *auth, const uint8_t *in, uint8_t *out, size_t *ret_bytes)
{
    const uint8_t *digest = in + 2, *nonce = digest + DIGEST_BYTES;
    if (!auth->key.set)
        return auth_refuse(auth, MPROC__AUTH_NO_KEY, out, ret_bytes);
    if (memcmp(digest, digest_name, DIGEST_BYTES) != 0)
        return auth_refuse(auth, MPROC__AUTH_GARBLED, out, ret_bytes);
    int rc = nonce_make(auth);
    if (rc < 0)
        return rc;
    memcpy(auth->peer_nonce, nonce, NONCE_BYTES);
    uint8_t *p = message_begin(out, ANSWER, ret_bytes);
    memcpy(p, digest_name, DIGEST_BYTES);
    memcpy(p + DIGEST_BYTES, auth->own_nonce, NONCE_BYTES);
    auth_mac(auth, 'C', p + DIGEST_BYTES + NONCE_BYTES);
    auth->state = WAIT_WELCOME;
    return 0;
}

static int client_step(mproc__auth *auth, int type, const uint8_t *in, uint8_t *out, size_t *ret_bytes)
{
    if (auth->state == START && type == CHALLENGE)
        return client_challenged(auth, in, out, ret_bytes);
    if (auth->state == START && type == OPEN && auth->key.set)
        return auth_refuse(auth, MPROC__AUTH_HAS_KEY, out, ret_bytes);
    if (auth->state == START && type == OPEN) {
        message_begin(out, OPEN, ret_bytes);
        auth->state = DONE;
        return 1;
    }
    if (auth->state == WAIT_WELCOME && type == WELCOME) {
        if (!auth_mac_is(auth, 'S', in + 2))
            return auth_refuse(auth, MPROC__AUTH_WRONG_KEY, out, ret_bytes);
        auth->state = DONE;
        return 1;
    }
    return auth_refuse(auth, MPROC__AUTH_GARBLED, out, ret_bytes);
}

static int auth_first(mproc__auth *auth, uint8_t *out, size_t *ret_bytes)
{
    if (auth->server)
        return server_start(auth, out, ret_bytes);
    if (auth->key.set && !auth->client_first)
        return mproc__fail(-EINVAL, "authentication: a client with a key speaks second");
    if (auth->key.set) {
        message_begin(out, KEYED, ret_bytes);
        return 0;
    }
    message_begin(out, OPEN, ret_bytes);
    auth->state = DONE;
    return 1;
}

int mproc__auth_step(mproc__auth *auth, const void *in, size_t in_bytes,
                     uint8_t out[MPROC__AUTH_MESSAGE_BYTES], size_t *ret_bytes)
{
    *ret_bytes = 0;
    if (auth->state == DONE || auth->state == FAILED)
        return mproc__fail(MPROC_EPROTOCOL, "authentication: a handshake message after its end");
    if (auth->state == START && in_bytes == 0)
        return auth_first(auth, out, ret_bytes);
    int type = message_type(in, in_bytes);
    if (type == 0)
        return auth_refuse(auth, MPROC__AUTH_GARBLED, out, ret_bytes);
    if (type == REFUSED) {
        auth->state = FAILED;
        return auth_was_refused(in);
    }
    if (((const uint8_t *)in)[1] != AUTH_VERSION)
        return auth_refuse(auth, MPROC__AUTH_VERSION, out, ret_bytes);
    return auth->server ? server_step(auth, type, in, out, ret_bytes)
                        : client_step(auth, type, in, out, ret_bytes);
}

int mproc__auth_late(const void *in, size_t in_bytes)
{
    switch (message_type(in, in_bytes)) {
    case OPEN:
        return 0;
    case CHALLENGE:
        return mproc__fail(MPROC_EAUTH, "authentication: %s", reasons[MPROC__AUTH_NO_KEY].ours);
    case REFUSED:
        return auth_was_refused(in);
    default:
        return mproc__fail(MPROC_EAUTH, "authentication: %s", reasons[MPROC__AUTH_GARBLED].ours);
    }
}
