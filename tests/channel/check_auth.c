/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/auth.h"
#include "support/support.h"

typedef struct letter { /* one message on its way */
    uint8_t bytes[MPROC__AUTH_MESSAGE_BYTES];
    size_t size_bytes;
} letter;

typedef struct outcome {
    int server, client; /* 1: done; negative: refused; 0: still waiting */
    char server_text[400], client_text[400];
} outcome;

static mproc__key key_of(const char *text)
{
    mproc__key key = {0};
    if (text)
        ck_assert_int_eq(mproc__key_from_options(text, strlen(text), NULL, &key), 0);
    return key;
}

static void auth_begin(mproc__auth *auth, bool server, const char *text)
{
    mproc__key key = key_of(text);
    mproc__auth_init(auth, server, &key);
    mproc__key_clear(&key);
}

static int step(mproc__auth *auth, const letter *in, letter *out)
{
    return mproc__auth_step(auth, in ? in->bytes : NULL, in ? in->size_bytes : 0, out->bytes,
                            &out->size_bytes);
}

static void note(int rc, char *text)
{
    if (rc < 0)
        strcpy(text, mproc_error_text(mproc_last_error()));
}

/* Runs a handshake to its end; each message goes through tamper first. */
static outcome talk(const char *server_key, const char *client_key,
                    void (*tamper)(unsigned number, letter *message))
{
    mproc__auth server, client;
    letter there = {0}, back = {0};
    outcome result = {0};
    auth_begin(&server, true, server_key);
    auth_begin(&client, false, client_key);
    result.server = step(&server, NULL, &there);
    for (unsigned number = 1; number < 8; number++) {
        letter *message = number % 2 ? &there : &back;
        if (message->size_bytes == 0)
            break;
        if (tamper)
            tamper(number, message);
        int *side = number % 2 ? &result.client : &result.server;
        if (*side < 0)
            break;
        int rc = number % 2 ? step(&client, &there, &back) : step(&server, &back, &there);
        /* A side that was done and is told otherwise counts as refused. */
        *side = *side == 1 && rc < 0 && message->bytes[0] != 4 ? 1 : rc;
        note(rc, number % 2 ? result.client_text : result.server_text);
    }
    mproc__auth_fini(&server);
    mproc__auth_fini(&client);
    return result;
}

/* shows: AUTH-01 AUTH-03 */
START_TEST(the_same_key_opens_both_sides)
{
    outcome result = talk("0123456789abcdef", "0123456789abcdef", NULL);
    ck_assert_int_eq(result.server, 1);
    ck_assert_int_eq(result.client, 1);
}
END_TEST

START_TEST(no_key_on_both_sides_is_agreed_on)
{
    outcome result = talk(NULL, NULL, NULL);
    ck_assert_int_eq(result.server, 1);
    ck_assert_int_eq(result.client, 1);
}
END_TEST

/* shows: AUTH-09 */
START_TEST(an_empty_key_is_a_key)
{
    outcome same = talk("", "", NULL), other = talk("", "0123456789abcdef", NULL),
            none = talk("", NULL, NULL);
    ck_assert_int_eq(same.server, 1);
    ck_assert_int_eq(same.client, 1);
    ck_assert_int_eq(other.server, MPROC_EAUTH);
    ck_assert_int_eq(none.client, MPROC_EAUTH);
}
END_TEST

/* shows: AUTH-02 AUTH-04 SEC-1 */
START_TEST(different_keys_are_refused_and_both_are_told_why)
{
    outcome result = talk("0123456789abcdef", "0123456789abcdeF", NULL);
    ck_assert_int_eq(result.server, MPROC_EAUTH);
    ck_assert_int_eq(result.client, MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(result.server_text, "another key"));
    ck_assert_ptr_nonnull(strstr(result.client_text, "key is another"));
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_key_on_one_side_only_is_refused_and_both_are_told_why)
{
    outcome server_only = talk("0123456789abcdef", NULL, NULL),
            client_only = talk(NULL, "0123456789abcdef", NULL);
    ck_assert_int_eq(server_only.server, MPROC_EAUTH);
    ck_assert_int_eq(server_only.client, MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(server_only.client_text, "the peer needs a key, and none is given here"));
    ck_assert_ptr_nonnull(strstr(server_only.server_text, "the peer has no key, and one is given here"));
    ck_assert_int_eq(client_only.server, MPROC_EAUTH);
    ck_assert_int_eq(client_only.client, MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(client_only.client_text, "the peer has no key, and one is needed"));
}
END_TEST

static unsigned flip_number;
static size_t flip_byte;

static void tamper_flip(unsigned number, letter *message)
{
    if (number == flip_number && flip_byte < message->size_bytes)
        message->bytes[flip_byte] ^= 0x10;
}

/* shows: AUTH-05 AUTH-06 */
START_TEST(a_flipped_bit_anywhere_in_any_message_is_refused)
{
    const size_t sizes[] = {0, 42, 74, 34};
    for (flip_number = 1; flip_number <= 3; flip_number++)
        for (flip_byte = 0; flip_byte < sizes[flip_number]; flip_byte++) {
            outcome result = talk("0123456789abcdef", "0123456789abcdef", tamper_flip);
            ck_assert_msg(result.server < 0 || result.client < 0, "message %u byte %zu", flip_number,
                          flip_byte);
        }
}
END_TEST

static size_t cut_to;

static void tamper_cut(unsigned number, letter *message)
{
    if (number == flip_number && cut_to < message->size_bytes)
        message->size_bytes = cut_to;
}

/* shows: AUTH-05 AUTH-08 */
START_TEST(a_shorter_or_longer_message_is_refused)
{
    for (flip_number = 1; flip_number <= 3; flip_number++)
        for (cut_to = 1; cut_to < 34; cut_to++) {
            outcome result = talk("0123456789abcdef", "0123456789abcdef", tamper_cut);
            ck_assert(result.server < 0 || result.client < 0);
        }
    mproc__auth client;
    letter longer = {.bytes = {1, 1, 's', 'h', 'a', '2', '5', '6'}, .size_bytes = 43}, out;
    auth_begin(&client, false, "0123456789abcdef");
    ck_assert_int_eq(step(&client, &longer, &out), MPROC_EAUTH);
    mproc__auth_fini(&client);
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_reflected_challenge_gives_no_welcome)
{
    /* An impostor without the key sends a server's own challenge back to it on a second connection, to have the answer
     * made for him: the two servers never answer challenges. As a client's answer it does not fit either. */
    mproc__auth server;
    letter challenge, out;
    auth_begin(&server, true, "0123456789abcdef");
    ck_assert_int_eq(step(&server, NULL, &challenge), 0);
    ck_assert_int_eq(step(&server, &challenge, &out), MPROC_EAUTH);
    mproc__auth_fini(&server);
}
END_TEST

/* shows: SEC-1 */
START_TEST(an_answer_sent_back_as_a_welcome_is_refused)
{
    mproc__auth server, client;
    letter challenge, answer, welcome, out;
    auth_begin(&server, true, "0123456789abcdef");
    auth_begin(&client, false, "0123456789abcdef");
    ck_assert_int_eq(step(&server, NULL, &challenge), 0);
    ck_assert_int_eq(step(&client, &challenge, &answer), 0);
    welcome.bytes[0] = 3;
    welcome.bytes[1] = 1;
    memcpy(welcome.bytes + 2, answer.bytes + 42, 32); /* the client's own MAC */
    welcome.size_bytes = 34;
    ck_assert_int_eq(step(&client, &welcome, &out), MPROC_EAUTH);
    ck_assert_uint_eq(out.size_bytes, 3);
    ck_assert_uint_eq(out.bytes[0], 4);
    mproc__auth_fini(&server);
    mproc__auth_fini(&client);
}
END_TEST

/* shows: SEC-1 AUTH-08 */
START_TEST(a_replayed_answer_is_refused_by_the_next_handshake)
{
    mproc__auth first, second, client;
    letter challenge, answer, out, fresh;
    auth_begin(&first, true, "0123456789abcdef");
    auth_begin(&second, true, "0123456789abcdef");
    auth_begin(&client, false, "0123456789abcdef");
    ck_assert_int_eq(step(&first, NULL, &challenge), 0);
    ck_assert_int_eq(step(&second, NULL, &fresh), 0);
    ck_assert_mem_ne(challenge.bytes + 10, fresh.bytes + 10, 32);
    ck_assert_int_eq(step(&client, &challenge, &answer), 0);
    ck_assert_int_eq(step(&first, &answer, &out), 1);
    ck_assert_int_eq(step(&second, &answer, &out), MPROC_EAUTH);
    mproc__auth_fini(&first);
    mproc__auth_fini(&second);
    mproc__auth_fini(&client);
}
END_TEST

/* shows: AUTH-01 SEC-4 */
START_TEST(the_key_is_in_no_message_and_no_story)
{
    static const char key[] = "a rather long secret";
    mproc__auth server, client;
    letter messages[3];
    auth_begin(&server, true, key);
    auth_begin(&client, false, key);
    ck_assert_int_eq(step(&server, NULL, &messages[0]), 0);
    ck_assert_int_eq(step(&client, &messages[0], &messages[1]), 0);
    ck_assert_int_eq(step(&server, &messages[1], &messages[2]), 1);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_ptr_null(memmem(messages[i].bytes, messages[i].size_bytes, "secret", 6));
    outcome refused = talk(key, "another long secret", NULL);
    ck_assert_ptr_null(strstr(refused.server_text, "secret"));
    ck_assert_ptr_null(strstr(refused.client_text, "secret"));
    mproc__auth_fini(&server);
    mproc__auth_fini(&client);
}
END_TEST

START_TEST(another_version_is_refused_by_name)
{
    mproc__auth client;
    letter challenge = {.bytes = {1, 2, 's', 'h', 'a', '2', '5', '6'}, .size_bytes = 42}, out;
    auth_begin(&client, false, "0123456789abcdef");
    ck_assert_int_eq(step(&client, &challenge, &out), MPROC_EPROTOCOL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "version"));
    ck_assert_uint_eq(out.bytes[0], 4);
    mproc__auth_fini(&client);
}
END_TEST

START_TEST(nothing_follows_the_end)
{
    mproc__auth server;
    letter out, open = {.bytes = {5, 1}, .size_bytes = 2};
    auth_begin(&server, true, NULL);
    ck_assert_int_eq(step(&server, NULL, &out), 0);
    ck_assert_int_eq(step(&server, &open, &out), 1);
    ck_assert_int_eq(step(&server, &open, &out), MPROC_EPROTOCOL);
    ck_assert_uint_eq(out.size_bytes, 0);
    mproc__auth_fini(&server);
}
END_TEST

START_TEST(a_late_greeting_says_what_the_handshake_would_have)
{
    uint8_t refusal[MPROC__AUTH_MESSAGE_BYTES];
    const uint8_t open[] = {5, 1}, challenge[42] = {1, 1};
    size_t size_bytes = mproc__auth_refusal(MPROC__AUTH_USER, refusal);
    ck_assert_int_eq(mproc__auth_late(open, sizeof open), 0);
    ck_assert_int_eq(mproc__auth_late(challenge, sizeof challenge), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "needs a key"));
    ck_assert_int_eq(mproc__auth_late(refusal, size_bytes), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "user"));
    ck_assert_int_eq(mproc__auth_late("x", 1), MPROC_EAUTH);
}
END_TEST

/* shows: SEC-5 */
START_TEST(random_messages_never_open_anything)
{
    srand(2);
    for (unsigned round = 0; round < 5000; round++) {
        mproc__auth auth;
        letter in = {0}, out;
        auth_begin(&auth, round % 2, "0123456789abcdef");
        if (round % 2)
            ck_assert_int_eq(step(&auth, NULL, &out), 0);
        in.size_bytes = 1 + (size_t)rand() % 80;
        for (size_t i = 0; i < in.size_bytes; i++)
            in.bytes[i] = (uint8_t)rand();
        in.bytes[0] = (uint8_t)(rand() % 6);
        in.bytes[1] = 1;
        ck_assert_int_le(step(&auth, &in, &out), 0);
        mproc__auth_fini(&auth);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("auth");
    TCase *handshake = support_case(suite, "handshake");
    tcase_add_test(handshake, the_same_key_opens_both_sides);
    tcase_add_test(handshake, no_key_on_both_sides_is_agreed_on);
    tcase_add_test(handshake, an_empty_key_is_a_key);
    tcase_add_test(handshake, different_keys_are_refused_and_both_are_told_why);
    tcase_add_test(handshake, a_key_on_one_side_only_is_refused_and_both_are_told_why);
    tcase_add_test(handshake, a_flipped_bit_anywhere_in_any_message_is_refused);
    tcase_add_test(handshake, a_shorter_or_longer_message_is_refused);
    tcase_add_test(handshake, a_reflected_challenge_gives_no_welcome);
    tcase_add_test(handshake, an_answer_sent_back_as_a_welcome_is_refused);
    tcase_add_test(handshake, a_replayed_answer_is_refused_by_the_next_handshake);
    tcase_add_test(handshake, the_key_is_in_no_message_and_no_story);
    tcase_add_test(handshake, another_version_is_refused_by_name);
    tcase_add_test(handshake, nothing_follows_the_end);
    tcase_add_test(handshake, a_late_greeting_says_what_the_handshake_would_have);
    tcase_add_test(handshake, random_messages_never_open_anything);
    return support_run(suite, argc, argv);
}
