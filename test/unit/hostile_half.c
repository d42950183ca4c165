/*
 * tport-session with an unprivileged half that has been taken over, for test/blackbox/test_session_halves.py: the monitor is
 * the real one, and what it starts as its half makes one call that options.max_sessions numbers. A half of SSH signs in
 * before that, as the login that the host certificate's place names.
 */
#include "base/log.h"
#include "core/rpc.h"
#include "session/monitor.h"
#include "session/order.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef TPORT_SANITIZE
/* As tport-session: it ends with its memory in place. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

struct half {
    struct loop *loop;
    struct rpc *monitor;
    bool ssh;
    const char *name; /* of the call */
};

static void on_bye(void *ctx, json_t *result, const struct tp_error *error)
{
    struct half *half = ctx;
    (void)result;
    (void)error;
    loop_stop(half->loop);
}

static void on_called(void *ctx, json_t *result, const struct tp_error *error)
{
    struct half *half = ctx;
    (void)result;
    log_info("the half was answered", "call=%s code=%s", half->name, error != NULL ? err_name(error->code) : "ok");
    if (strcmp(half->name, "bye") == 0) {
        loop_stop(half->loop);
    } else {
        (void)rpc_request(half->monitor, "bye", json_object(), NULL, 2000, on_bye, half);
    }
}

static void call(struct half *half)
{
    static const char *const EVENTS[] = {"signal", "end", "audit"};
    json_t *params = json_pack("{s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:{}, s:s, s:{s:s}, s:b, s:i, s:s}", "channel",
                               1, "number", 1, "op", "download", "path", "/etc/passwd", "command", "aWQ=", "host",
                               "127.0.0.1", "port", 1, "signal", "KILL", "env", "event", "resize", "fields", "size",
                               "9:9", "ok", 0, "offset", 0, "data", "");
    for (size_t i = 0; i < sizeof(EVENTS) / sizeof(EVENTS[0]); i++) {
        if (strcmp(half->name, EVENTS[i]) == 0) {
            rpc_event(half->monitor, half->name, params);
            (void)rpc_request(half->monitor, "bye", json_object(), NULL, 2000, on_bye, half);
            return;
        }
    }
    (void)rpc_request(half->monitor, half->name, params, NULL, 5000, on_called, half);
}

static void on_signed_in(void *ctx, json_t *result, const struct tp_error *error)
{
    (void)result;
    if (error == NULL) {
        call(ctx);
    }
}

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct half *half = ctx;
    (void)rpc;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (strcmp(event, "config") != 0) {
        return;
    }
    size_t count = 0;
    const struct order_row *rows = order_rows(&count);
    size_t which = (size_t)json_get_int(params, "max_sessions", 0);
    half->name = which < count ? rows[which].name : "setuid";
    if (half->ssh) {
        (void)rpc_request(half->monitor, "auth",
                          json_pack("{s:s, s:s}", "login", json_get_text(params, "host_cert", ""), "cert", "any"), NULL,
                          5000, on_signed_in, half);
    } else {
        call(half);
    }
}

static void on_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct half *half = ctx;
    (void)rpc;
    (void)reason;
    loop_stop(half->loop);
}

static int half_main(bool ssh)
{
    static const struct rpc_events events = {.on_event = on_event, .on_close = on_close};
    struct half half = {.loop = loop_new(), .ssh = ssh};
    half.monitor = rpc_new_fd(half.loop, 3, &events, &half);
    loop_run(half.loop);
    return 0;
}

int main(int argc, char **argv)
{
    log_init("session", 2, LOG_LEVEL_INFO, false);
    if (argc == 2 && strcmp(argv[1], "calls") == 0) {
        size_t count = 0;
        const struct order_row *rows = order_rows(&count);
        for (size_t i = 0; i < count; i++) {
            puts(rows[i].name);
        }
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "monitor") == 0) {
        return monitor_main();
    }
    return half_main(argc == 2 && strcmp(argv[1], "net") == 0);
}
