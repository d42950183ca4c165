/* The web over socket pairs, with a scripted auth behind a real rpc line. */
#ifndef TEST_WEB_HELP_H
#define TEST_WEB_HELP_H

#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PROOF "0123456789abcdef0123456789abcdef"
#define TOKEN "0123456789abcdef0123456789abcdef"
#define CSRF "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SECRET "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

struct bench {
    struct loop *loop;
    struct web *web;
    struct rpc *worker_side;
    struct rpc *auth_side;
    struct buf answer;
    char *method; /* the last call that auth got */
    json_t *params;
    json_t *caller;
    int calls;
    int done;
    enum tp_err refuse; /* invite.finish answers with this */
    const char *refuse_text;
    bool away;
    const char *label; /* value of the label that tokens.script answers with */
    const char *pin;
    bool writes_roles;
};

static inline struct rpc *get_auth(void *ctx)
{
    struct bench *bench = ctx;
    return bench->away ? NULL : bench->worker_side;
}

static inline json_t *canned(const struct bench *bench, const char *method)
{
    if (strcmp(method, "tokens.script") == 0)
        return json_pack("{s:{s:s}, s:[s], s:[{s:s, s:[s]}]}", "labels", "env", bench->label ? bench->label : "dev",
                         "ca_pins", bench->pin ? bench->pin : "sha256:0ab9", "host_signers", "domain_name",
                         "example.com", "tls_certs", "UEVN");
    if (strcmp(method, "cluster.info") == 0)
        return json_pack("{s:s, s:s, s:{s:s, s:s}}", "cluster_name", "example.com", "version", "1", "auth", "type",
                         "local", "second_factor", "otp");
    if (strcmp(method, "login.password") == 0)
        return json_pack("{s:s, s:s, s:s, s:s, s:[]}", "username", "alice", "cert", "ssh-cert x", "tls_cert", "PEM",
                         "valid_until", "2030-01-01T00:00:00Z", "host_signers");
    if (strcmp(method, "login.web") == 0)
        return json_pack("{s:s, s:s, s:s, s:s}", "sid", "0a0b", "token", "tok", "expires", "2099-01-01T00:00:00Z",
                         "user", "alice");
    if (strcmp(method, "user.context") == 0)
        return json_pack("{s:s, s:{s:{s:b, s:b}}}", "user", "alice", "acl", "roles", "create", 0, "edit",
                         bench->writes_roles);
    if (strcmp(method, "invite.get") == 0)
        return json_pack("{s:s, s:s, s:s, s:s}", "user", "<alice>", "kind", "invite", "secret", SECRET, "otpauth",
                         "otpauth://totp/example.com:alice?secret=" SECRET "&issuer=example.com");
    if (strcmp(method, "invite.confirm") == 0)
        return json_pack("{s:s, s:s, s:s}", "user", "<alice>", "kind", "invite", "proof", PROOF);
    if (strcmp(method, "invite.finish") == 0)
        return json_pack("{s:s}", "user", "<alice>");
    if (strcmp(method, "host.join") == 0)
        return json_pack("{s:s, s:s, s:s, s:[{s:s, s:[s], s:[s]}]}", "host_id", "h", "tls_cert", "P", "ssh_cert", "S",
                         "host_signers", "domain_name", "example.com", "checking_keys", "ssh-ed25519 AAA", "tls_certs",
                         "UEVN");
    if (strcmp(method, "nodes.list") == 0)
        return json_pack("{s:[{s:{s:s, s:{s:s}}, s:{s:s}, s:[s]}], s:s, s:i}", "items", "metadata", "name", "id-1",
                         "labels", "env", "dev", "spec", "hostname", "web-1", "logins", "root", "start_key", "next",
                         "total", 7);
    if (strcmp(method, "recordings.list") == 0)
        return json_pack("{s:[{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:[s], s:i}], s:s}", "items", "id", "r1",
                         "started", "2026-11-25T10:00:00.000Z", "ended", "2026-11-25T10:01:00.000Z", "user", "alice",
                         "hostname", "web-1", "interactive", 1, "recorded", 1, "command", "uname -a", "participants",
                         "alice", "size", 12, "start_key", "5");
    if (strcmp(method, "resources.get") == 0)
        return json_pack("{s:[{s:s, s:{s:s}, s:{s:[s]}}]}", "items", "kind", "role", "metadata", "name", "access",
                         "spec", "roles", "x");
    if (strcmp(method, "cluster.cas") == 0)
        return json_pack("{s:[s], s:[s], s:[{s:s, s:[s], s:[s]}]}", "user_ca_ssh", "ssh-ed25519 UUU", "user_ca_tls",
                         "PEMU\n", "host_signers", "domain_name", "example.com", "checking_keys", "ssh-ed25519 AAA",
                         "tls_certs", "UEVN");
    return json_object();
}

static inline void on_auth_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method,
                                   json_t *params, json_t *caller, int fd)
{
    struct bench *bench = ctx;
    (void)rpc;
    (void)fd;
    mem_free(bench->method);
    json_decref(bench->params);
    json_decref(bench->caller);
    bench->method = mem_strdup(method);
    bench->params = json_incref(params);
    bench->caller = json_incref(caller);
    bench->calls++;
    if (bench->refuse && (strcmp(method, "invite.finish") == 0 || strcmp(method, "invite.confirm") == 0))
        rpc_fail_text(call, bench->refuse, "%s", bench->refuse_text);
    else if (strcmp(method, "invite.get") == 0 && strcmp(json_get_text(params, "token", ""), TOKEN) != 0)
        rpc_fail_text(call, TP_NOT_FOUND, "no such invitation");
    else
        rpc_reply(call, canned(bench, method));
}

static inline void on_line_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)ctx;
    (void)rpc;
    (void)reason;
}

static inline void on_done(void *ctx, uint64_t id, const char *address, enum close_reason reason)
{
    struct bench *bench = ctx;
    (void)reason;
    assert_int_equal(id, 7);
    assert_string_equal(address, "192.0.2.1:5");
    bench->done++;
}

static inline void on_client_data(void *ctx, const uint8_t *data, size_t size)
{
    struct bench *bench = ctx;
    assert_int_equal(buf_append(&bench->answer, data, size), TP_OK);
}

static inline void on_client_close(void *ctx, enum close_reason reason)
{
    struct bench *bench = ctx;
    (void)reason;
    loop_stop(bench->loop);
}

static inline int set_up(void **state)
{
    static const struct rpc_events worker_events = {.on_close = on_line_close};
    static const struct rpc_events auth_events = {.on_request = on_auth_request, .on_close = on_line_close};
    struct bench *bench = mem_alloc(sizeof(*bench));
    struct web_options options = {.auth = get_auth,
                                  .auth_ctx = bench,
                                  .on_done = on_done,
                                  .on_done_ctx = bench,
                                  .cluster_name = "example.com",
                                  .public_addr = "proxy.example.com:443",
                                  .server_version = "0.1.0"};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    bench->loop = loop_new();
    bench->worker_side = rpc_new_fd(bench->loop, fds[0], &worker_events, bench);
    bench->auth_side = rpc_new_fd(bench->loop, fds[1], &auth_events, bench);
    bench->web = web_new(bench->loop, &options);
    buf_init(&bench->answer, 0);
    *state = bench;
    return 0;
}

static inline void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

/* Time for what is closing. */
static inline void settle(struct bench *bench)
{
    struct timer *timer = timer_new(bench->loop, stop_loop, bench->loop);
    timer_start(timer, 20, 0);
    loop_run(bench->loop);
    timer_free(timer);
}

static inline int tear_down(void **state)
{
    struct bench *bench = *state;
    settle(bench);
    assert_int_equal(web_count(bench->web), 0);
    web_free(bench->web);
    rpc_free(bench->worker_side);
    rpc_free(bench->auth_side);
    settle(bench);
    loop_free(bench->loop);
    buf_free(&bench->answer);
    mem_free(bench->method);
    json_decref(bench->params);
    json_decref(bench->caller);
    mem_free(bench);
    return 0;
}

/* Sends text on a new connection and reads until it closes. */
static inline const char *talk(struct bench *bench, const char *text, bool cert)
{
    static const struct stream_events events = {.on_data = on_client_data, .on_close = on_client_close};
    static const struct stream_events none = {.on_close = on_client_close};
    struct web_peer peer = {.address = "192.0.2.1:5", .alpn = "http/1.1", .connection_id = 7};
    struct stream *client;
    int fds[2];
    int done = bench->done;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    buf_clear(&bench->answer);
    if (cert) {
        peer.client_cert = (const uint8_t *)"DER";
        peer.client_cert_size = 3;
    }
    web_serve(bench->web, stream_new(bench->loop, fds[0], &none, bench), &peer);
    client = stream_new(bench->loop, fds[1], &events, bench);
    stream_write(client, text, strlen(text));
    loop_run(bench->loop);
    (void)done;
    return buf_text(&bench->answer);
}

static inline const char *ask(struct bench *bench, const char *method, const char *path, const char *headers,
                              const char *body, bool cert)
{
    char *text =
        body ? mem_printf(
                   "%s %s HTTP/1.1\r\nHost: proxy.example.com\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
                   method, path, headers, strlen(body), body)
             : mem_printf("%s %s HTTP/1.1\r\nHost: proxy.example.com\r\nConnection: close\r\n%s\r\n", method, path,
                          headers);
    const char *answer = talk(bench, text, cert);
    mem_free(text);
    return answer;
}

static inline int status_of(const char *answer)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static inline json_t *json_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *json = body ? json_loads(body + 4, 0, NULL) : NULL;
    assert_non_null(json);
    return json;
}

#define JSON "Content-Type: application/json\r\n"
#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

#endif
