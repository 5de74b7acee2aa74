/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel/address.h"
#include "manager/manager_common.h"
#include "platform/platform.h"
#include "support/support.h"

const mproc_server_options common_options = {
    .size = sizeof common_options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1};

static mproc_server *running;

static void on_term(int signal_number)
{
    (void)signal_number;
    mproc_server_stop(running);
}

typedef struct serve_context {
    const char *name;
    const mproc_server_options *options;
    int ready;
} serve_context;

static int serve_child(void *context)
{
    serve_context *serve = context;
    char byte = 1;
    if (mproc_server_create(serve->options, &running) < 0)
        return 2;
    signal(SIGTERM, on_term);
    if (mproc_server_listen(running, common_address(serve->name), NULL) < 0)
        return 3;
    if (write(serve->ready, &byte, 1) != 1)
        return 4;
    close(serve->ready);
    int rc = mproc_server_run(running, MPROC_FOREVER);
    mproc_server_close(&running);
    return rc == 0 ? 0 : 5;
}

const char *common_address(const char *name)
{
    static char address[128];
    bool abstract = name[0] == '@';
    snprintf(address, sizeof address, "unix:%s%s/%s", abstract ? "@" : "", support_directory(),
             name + abstract);
    return address;
}

pid_t common_serve(const char *name, const mproc_server_options *options)
{
    int ends[2];
    char byte = 0;
    ck_assert_int_eq(pipe(ends), 0);
    serve_context context = {name, options ? options : &common_options, ends[1]};
    pid_t child = support_fork(serve_child, &context);
    close(ends[1]);
    ck_assert_int_eq(mproc__fd_read_all(ends[0], &byte, 1, mproc_after_ms(support_ms(5000))), 0);
    close(ends[0]);
    return child;
}

void common_stop(pid_t server)
{
    kill(server, SIGTERM);
    ck_assert_int_eq(support_reap(server, 5000), 0);
}

mproc_place *common_open(const char *name)
{
    mproc_place *place = NULL;
    const mproc_place_options options = {
        .size = sizeof options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1};
    ck_assert_int_eq(mproc_place_open(common_address(name), &options, &place), 0);
    return place;
}

int common_connect(const char *name)
{
    int fd = -1;
    ck_assert_int_eq(mproc__address_connect(common_address(name), mproc_after_ms(support_ms(5000)), &fd), 0);
    return fd;
}
