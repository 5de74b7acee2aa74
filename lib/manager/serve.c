/* SPDX-License-Identifier: BSD-2-Clause */
/* One request: to whom it goes, and its answer. Pure: no socket, no clock but for deadlines. */
#include "platform/base.h"

#include "data/parcel.h"
#include "manager/served.h"
#include "platform/story.h"

static mproc_deadline deadline_of(const mproc__envelope *envelope)
{
    if (envelope->timeout_us < 0)
        return MPROC_FOREVER;
    return envelope->timeout_us > INT64_MAX / 1000 ? MPROC_FOREVER
                                                   : mproc_after_ns(envelope->timeout_us * 1000);
}

static int serve_unlink(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    (void)answer;
    return mproc__registry_unlink(request->registry, envelope->name);
}

static int serve_names(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    (void)envelope;
    int rc = mproc__registry_names(request->registry, &answer->result);
    answer->has_result = answer->result_owned = rc == 0;
    return rc;
}

static int serve_create(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    mproc__served *served = NULL;
    int rc = mproc__registry_create(request, envelope->type, envelope->name, envelope->and_open, &served);
    if (rc == 0)
        answer->object = served->id;
    return rc;
}

static int serve_open(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    mproc__served *served = NULL;
    int rc = mproc__registry_open(request, envelope->type, envelope->name, &served);
    if (rc == 0)
        answer->object = served->id;
    return rc;
}

/* Of an object that is gone too: to let go of nothing is no mistake. */
static int serve_release(const mproc__request *request, const mproc__envelope *envelope,
                         mproc__answer *answer)
{
    (void)answer;
    if (envelope->life == request->registry->life)
        mproc__registry_release(request->registry, request->client, envelope->object);
    return 0;
}

static int serve_cancel(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    (void)answer;
    mproc__served *served = NULL;
    int rc = mproc__registry_find(request->registry, envelope->object, envelope->life, &served);
    if (rc == 0 && served->type->cancel)
        served->type->cancel(served, request);
    return rc;
}

static int serve_object(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    mproc__served *served = NULL;
    int rc = mproc__registry_find(request->registry, envelope->object, envelope->life, &served);
    if (rc == 0 && envelope->hold)
        rc = mproc__registry_hold(request->registry, request->client, served);
    return rc < 0 ? rc : served->type->call(served, request, answer);
}

static int serve_method(const mproc__request *request, const mproc__envelope *envelope, mproc__answer *answer)
{
    switch (request->method) {
    case MPROC__PING:
        return 0;
    case MPROC__NAMES:
        return serve_names(request, envelope, answer);
    case MPROC__UNLINK:
        return serve_unlink(request, envelope, answer);
    case MPROC__CREATE:
        return serve_create(request, envelope, answer);
    case MPROC__OPEN:
        return serve_open(request, envelope, answer);
    case MPROC__RELEASE:
        return serve_release(request, envelope, answer);
    case MPROC__CANCEL:
        return serve_cancel(request, envelope, answer);
    default:
        return serve_object(request, envelope, answer);
    }
}

void mproc__serve(mproc__registry *registry, mproc__client *client, const mproc__envelope *envelope)
{
    mproc__answer answer = {.id = envelope->id};
    mproc__request request = {.registry = registry,
                              .client = client,
                              .id = envelope->id,
                              .holder = envelope->holder,
                              .target = envelope->target,
                              .method = envelope->method,
                              .deadline = deadline_of(envelope),
                              .args = mproc_null()};
    answer.code = envelope->args_bytes == 0
                      ? 0
                      : mproc__variant_decode(envelope->args, envelope->args_bytes, &request.args);
    if (answer.code == 0)
        answer.code = serve_method(&request, envelope, &answer);
    if (answer.code != MPROC__PARKED && answer.id != 0)
        client->answer(client, &answer);
    mproc__answer_fini(&answer);
    mproc_variant_clear(&request.args);
}
