/*
 * How fast a host may write into the audit log. A report is small work for a host, and for ever on our disk: one that has been taken
 * over, or is out of its mind, would fill it in minutes, and with a full disk nobody gets in (R15). So each host has a rate
 * that no honest one reaches. What comes faster waits here in its order, nothing of it is lost, and by the limits of
 * protocols/host_load.h the rest waits at the host, whose sessions wait for it. The log says once that it is so.
 *
 * All of them together wait, too, while half of what may wait for the disk does: else the log would refuse what people do.
 *
 * A call is paid for when it has been run, by what it wrote: a host may overdraw by one call.
 */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"

#include <string.h>

#define TURN_MS 100                             /* of each 200: the rest of auth's time is for others */
#define TELL_AGAIN_MS ((int64_t)60 * 60 * 1000) /* while it goes on */

struct held {
    struct held *next;
    struct call *call; /* without its params: as a tree they may take forty times their text */
    char *params;
    size_t size;
};

struct host_pace {
    struct auth *auth;
    const struct host *host;
    struct host_pace *next; /* of auth->paced, while something waits */
    int64_t credit;         /* bytes, as of at_ms; below 0: overdrawn */
    int64_t at_ms;          /* mono */
    int64_t told_ms;        /* mono, 0: never */
    struct held *first, **last;
    size_t calls, bytes; /* that wait */
};

static struct host_pace *pace_of(struct auth *auth, struct host *host)
{
    struct host_pace *pace = host->pace;
    if (pace == NULL) {
        pace = mem_alloc(sizeof *pace);
        *pace = (struct host_pace){
            .auth = auth, .host = host, .credit = auth->pace_burst, .at_ms = clock_mono_ms(), .last = &pace->first};
        host->pace = pace;
    }
    return pace;
}

static bool may_write(struct host_pace *pace)
{
    const struct auth *auth = pace->auth;
    int64_t now = clock_mono_ms();
    int64_t credit = pace->credit + (now - pace->at_ms) * auth->pace_bytes / 1000;
    if (credit != pace->credit) {
        pace->credit = credit < auth->pace_burst ? credit : auth->pace_burst;
        pace->at_ms = now;
    }
    return pace->credit > 0 && !audit_is_behind(auth);
}

static void run(struct host_pace *pace, struct call *call)
{
    struct auth *auth = pace->auth;
    uint64_t before = audit_written(auth);
    call->method->fn(call);
    pace->credit -= (int64_t)(audit_written(auth) - before);
}

/* The operator should know: it is a fault of that host, or worse. */
static void tell(struct host_pace *pace)
{
    const struct host *host = pace->host;
    int64_t now = clock_mono_ms();
    if (pace->told_ms != 0 && now - pace->told_ms < TELL_AGAIN_MS) {
        return;
    }
    pace->told_ms = now > 0 ? now : 1;
    log_warn("a host reports more than it may, the rest waits", "host=%s name=\"%s\" bytes_a_second=%lld", host->id,
             host->name, (long long)pace->auth->pace_bytes);
    json_t *event = event_new("host.reports_held", false, pace->auth->settings.cluster);
    json_object_set_new(event, "server_id", json_string(host->id));
    json_object_set_new(event, "server_hostname", json_string(host->name));
    json_object_set_new(event, "bytes_per_second", json_integer(pace->auth->pace_bytes));
    audit_emit(pace->auth, event, NULL, NULL);
}

static void put_last(struct host_pace *pace)
{
    struct host_pace **at = &pace->auth->paced;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    pace->next = NULL;
    *at = pace;
}

static void hold(struct host_pace *pace, struct call *call)
{
    char *params = json_text(call->params);
    size_t size = strlen(params);
    if (pace->calls >= HOST_PACE_CALLS || pace->bytes + size > HOST_PACE_WAITING) {
        call_fail_text(call, TP_LIMIT,
                       "this host puts more than %lld MB a second on record, and too much of it waits already",
                       (long long)(HOST_PACE_BYTES >> 20));
        mem_free(params);
        return;
    }
    if (pace->first == NULL) {
        put_last(pace);
    }
    if (pace->credit <= 0) {
        tell(pace);
    }
    struct held *held = mem_alloc(sizeof *held);
    *held = (struct held){.call = call, .params = params, .size = size};
    json_decref(call->params);
    call->params = NULL;
    *pace->last = held;
    pace->last = &held->next;
    pace->calls++;
    pace->bytes += size;
}

static struct call *take(struct host_pace *pace)
{
    struct held *held = pace->first;
    struct call *call = held->call;
    pace->first = held->next;
    if (pace->first == NULL) {
        pace->last = &pace->first;
    }
    pace->calls--;
    pace->bytes -= held->size;
    if (json_parse_object(held->params, held->size, held->size, &call->params, NULL) != TP_OK) {
        call->params = json_object(); /* never: it is our own text */
    }
    mem_free(held->params);
    mem_free(held);
    return call;
}

static void run_held(struct host_pace *pace)
{
    struct call *call = take(pace);
    struct tp_error error = {0};
    if (call_check_log(call, &error) != TP_OK ||
        caller_locked(pace->auth, NULL, NULL, pace->host->id, &error) != TP_OK) {
        call_fail(call, &error);
    } else {
        run(pace, call);
    }
}

void hosts_report(struct call *call)
{
    struct host *host = call->caller.host_id != NULL ? hosts_get(call->auth, call->caller.host_id) : NULL;
    if (host == NULL) { /* it has no session either */
        call->method->fn(call);
        return;
    }
    struct host_pace *pace = pace_of(call->auth, host);
    if (pace->first == NULL && may_write(pace)) {
        run(pace, call);
    } else {
        hold(pace, call);
    }
}

static void run_due(struct host_pace *pace, int64_t end_ms)
{
    while (pace->first != NULL && may_write(pace) && clock_mono_ms() < end_ms) {
        run_held(pace);
    }
}

void host_pace_tick(struct auth *auth)
{
    int64_t end_ms = clock_mono_ms() + TURN_MS;
    struct host_pace *last = auth->paced;
    while (last != NULL && last->next != NULL) {
        last = last->next;
    }
    for (struct host_pace *pace = NULL; pace != last && clock_mono_ms() < end_ms;) {
        pace = auth->paced;
        run_due(pace, end_ms);
        auth->paced = pace->next;
        if (pace->first != NULL) {
            put_last(pace); /* next time another one is the first */
        }
    }
}

void host_pace_finish(struct auth *auth)
{
    while (auth->paced != NULL) {
        struct host_pace *pace = auth->paced;
        while (pace->first != NULL) {
            run_held(pace);
        }
        auth->paced = pace->next;
    }
}

void host_pace_free(struct host *host)
{
    struct host_pace *pace = host->pace;
    if (pace == NULL) {
        return;
    }
    for (struct host_pace **at = &pace->auth->paced; *at != NULL; at = &(*at)->next) {
        if (*at == pace) {
            *at = pace->next;
            break;
        }
    }
    while (pace->first != NULL) {
        call_fail_text(take(pace), TP_NOT_FOUND, "this host has been removed");
    }
    mem_free(pace);
    host->pace = NULL;
}
