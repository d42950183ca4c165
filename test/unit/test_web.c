/* The web over socket pairs, with a scripted auth behind a real rpc line. */
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
};

static struct rpc *get_auth(void *ctx)
{
    struct bench *bench = ctx;
    return bench->away ? NULL : bench->worker_side;
}

static json_t *canned(const struct bench *bench, const char *method)
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

static void on_auth_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                            json_t *caller, int fd)
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

static void on_line_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)ctx;
    (void)rpc;
    (void)reason;
}

static void on_done(void *ctx, uint64_t id, const char *address, enum close_reason reason)
{
    struct bench *bench = ctx;
    (void)reason;
    assert_int_equal(id, 7);
    assert_string_equal(address, "192.0.2.1:5");
    bench->done++;
}

static void on_client_data(void *ctx, const uint8_t *data, size_t size)
{
    struct bench *bench = ctx;
    assert_int_equal(buf_append(&bench->answer, data, size), TP_OK);
}

static void on_client_close(void *ctx, enum close_reason reason)
{
    struct bench *bench = ctx;
    (void)reason;
    loop_stop(bench->loop);
}

static int set_up(void **state)
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

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

/* Time for what is closing. */
static void settle(struct bench *bench)
{
    struct timer *timer = timer_new(bench->loop, stop_loop, bench->loop);
    timer_start(timer, 20, 0);
    loop_run(bench->loop);
    timer_free(timer);
}

static int tear_down(void **state)
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
static const char *talk(struct bench *bench, const char *text, bool cert)
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

static const char *ask(struct bench *bench, const char *method, const char *path, const char *headers, const char *body,
                       bool cert)
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

static int status_of(const char *answer)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static json_t *json_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *json = body ? json_loads(body + 4, 0, NULL) : NULL;
    assert_non_null(json);
    return json;
}

#define JSON "Content-Type: application/json\r\n"
#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

/* R1, R2: every route names the method of auth that decides, or says why there is nothing to decide; unlisted is refused. */
static void test_R1_R2_every_route_names_its_right(void **state)
{
    size_t count;
    const struct web_route *routes = web_routes(&count);
    (void)state;
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        char *params[WEB_PARAMS_MAX];
        bool other;
        assert_non_null(routes[i].verb);
        assert_true(strlen(routes[i].verb) > 5);
        /* A WebSocket's owner asks the method that decides; nothing is answered without one. */
        assert_true(routes[i].finish ||
                    (routes[i].rpc && (routes[i].shape == WEB_SOCKET || routes[i].shape == WEB_API)));
        if (!routes[i].rpc)
            assert_true(routes[i].who == WEB_ANONYMOUS && !routes[i].begin);
        if (strcmp(routes[i].method, "GET") != 0 && routes[i].shape != WEB_API)
            assert_int_equal(routes[i].shape, WEB_FORM);
        for (int version = 0; version < 2; version++) {
            char *path = mem_printf("%s%s", version ? "/v1" : "", routes[i].path);
            char *at;
            while ((at = strchr(path, ':')) != NULL)
                *at = 'x';
            assert_ptr_equal(web_route_find(routes[i].method, path, params, &other), &routes[i]);
            for (size_t j = 0; j < WEB_PARAMS_MAX; j++)
                mem_free(params[j]);
            assert_null(web_route_find("PATCH", path, params, &other));
            assert_true(other);
            mem_free(path);
        }
    }
}

static void test_R2_unlisted_is_refused(void **state)
{
    static const char *const paths[] = {
        "/webapi", "/webapi/rpc/",       "/webapi/rpc/a/b", "/web/",        "/web/a/b/c",  "/web/invite/a/b",
        "/v1",     "/v1/v1/webapi/ping", "/webapi/ping/",   "/WEBAPI/ping", "/etc/passwd", "/webapi/users/x/y"};
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_int_equal(status_of(ask(bench, "GET", paths[i], "", NULL, true)), 404);
    assert_int_equal(status_of(ask(bench, "PUT", "/webapi/ping", "", NULL, false)), 405);
    assert_int_equal(bench->calls, 0);
}

static void test_ping_and_find(void **state)
{
    struct bench *bench = *state;
    const char *answer = ask(bench, "GET", "/v1/webapi/ping", "", NULL, false);
    json_t *json = json_of(answer);
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "Strict-Transport-Security: max-age="));
    assert_non_null(strstr(answer, "Content-Security-Policy: default-src 'none'"));
    assert_non_null(strstr(answer, "Cache-Control: no-store"));
    assert_string_equal(json_get_text(json_object_get(json, "auth"), "second_factor", ""), "otp");
    assert_string_equal(json_get_text(json_object_get(json_object_get(json, "proxy"), "ssh"), "public_addr", ""),
                        "proxy.example.com:443");
    assert_string_equal(json_get_text(bench->caller, "kind", ""), "anonymous");
    assert_string_equal(json_get_text(bench->caller, "addr", ""), "192.0.2.1:5");
    json_decref(json);
    json = json_of(ask(bench, "GET", "/webapi/find", "", NULL, false));
    assert_null(json_object_get(json, "auth"));
    assert_string_equal(json_get_text(json, "cluster_name", ""), "example.com");
    json_decref(json);
    bench->away = true;
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/ping", "", NULL, false)), 503);
    assert_true(bench->done >= 2); /* the last one may close a turn later */
}

static void test_login_begin_is_no_oracle(void **state)
{
    static const char *const bodies[] = {"{\"user\":\"alice\",\"pass\":\"x\"}", "{\"user\":\"nobody\"}", "{}"};
    struct bench *bench = *state;
    for (size_t i = 0; i < 3; i++) {
        const char *answer = ask(bench, "POST", "/webapi/mfa/login/begin", JSON, bodies[i], false);
        assert_non_null(strstr(answer, "\r\n\r\n{\"totp_challenge\":true}"));
    }
    assert_int_equal(bench->calls, 0);
}

static void test_login(void **state)
{
    struct bench *bench = *state;
    json_t *json = json_of(
        ask(bench, "POST", "/webapi/mfa/login/finish", JSON,
            "{\"user\":\"alice\",\"password\":\"p\",\"totp_code\":\"123456\",\"ssh_pub_key\":\"c3NoLWVkMjU1MTkgQQ==\","
            "\"tls_pub_key\":\"-----BEGIN PUBLIC KEY-----\\nx\",\"ttl\":3600000000000}",
            false));
    assert_string_equal(bench->method, "login.password");
    assert_string_equal(json_get_text(bench->params, "ssh_pub_key", ""), "ssh-ed25519 A");
    assert_int_equal(json_get_int(bench->params, "ttl", 0), 3600000);
    assert_string_equal(json_get_text(bench->params, "otp_token", ""), "123456");
    assert_string_equal(json_get_text(json, "cert", ""), "c3NoLWNlcnQgeA==");
    json_decref(json);
    assert_int_equal(
        status_of(ask(bench, "POST", "/webapi/ssh/certs", JSON, "{\"user\":\"a\",\"ssh_pub_key\":\"%\"}", false)), 400);
    assert_int_equal(status_of(ask(bench, "POST", "/webapi/ssh/certs", "Content-Type: text/plain\r\n", "{}", false)),
                     400);
    assert_int_equal(
        status_of(ask(bench, "POST", "/webapi/ssh/certs", JSON "Origin: https://evil.example\r\n", "{}", false)), 403);
    assert_int_equal(
        status_of(ask(bench, "POST", "/webapi/ssh/certs", JSON "Sec-Fetch-Site: cross-site\r\n", "{}", false)), 403);
    assert_int_equal(bench->calls, 1);
}

static void test_web_session(void **state)
{
    struct bench *bench = *state;
    const char *answer = ask(bench, "POST", "/webapi/sessions/web", JSON,
                             "{\"user\":\"alice\",\"pass\":\"p\",\"second_factor_token\":\"1\"}", false);
    char *hex = web_cookie_session_text("alice", "0a0b");
    char *cookie = mem_printf("Set-Cookie: __Host-session=%s; Path=/; Secure; HttpOnly; SameSite=Lax\r\n", hex);
    char *headers = mem_printf("Cookie: a=b; __Host-session=%s\r\nAuthorization: Bearer tok\r\n", hex);
    char *half = mem_printf("Cookie: __Host-session=%s\r\n", hex);
    json_t *json = json_of(answer);
    assert_non_null(strstr(answer, cookie));
    assert_string_equal(json_get_text(json, "token", ""), "tok");
    assert_true(json_get_int(json, "expires_in", 0) > 1000);
    json_decref(json);
    json = json_of(ask(bench, "GET",
                       "/v1/webapi/sites/example.com/nodes?limit=5&search=a+b&sort=name:desc&startKey=k"
                       "&query=name%20%3D%3D%20%22x%22",
                       headers, NULL, false));
    assert_string_equal(json_get_text(bench->params, "query", ""), "name == \"x\"");
    assert_string_equal(json_get_text(bench->params, "sort", ""), "name:desc");
    assert_string_equal(json_get_text(bench->params, "start_key", ""), "k");
    assert_string_equal(json_get_text(bench->caller, "kind", ""), "session");
    assert_string_equal(json_get_text(bench->caller, "sid", ""), "0a0b");
    assert_string_equal(json_get_text(bench->caller, "token", ""), "tok");
    assert_int_equal(json_array_size(json_object_get(bench->params, "search")), 2);
    assert_int_equal(json_get_int(json, "totalCount", 0), 7);
    assert_string_equal(json_get_text(json_array_get(json_object_get(json, "items"), 0), "hostname", ""), "web-1");
    json_decref(json);
    json_decref(json_of(ask(bench, "GET", "/webapi/roles", headers, NULL, false)));
    assert_string_equal(json_get_text(bench->params, "kind", ""), "role");
    json_decref(json_of(ask(bench, "GET", "/webapi/users", headers, NULL, false)));
    json_decref(json_of(ask(bench, "GET", "/webapi/sites", headers, NULL, false)));
    json_decref(json_of(
        ask(bench, "GET", "/webapi/sites/example.com/events/search?include=a;b&order=asc", headers, NULL, false)));
    assert_int_equal(json_array_size(json_object_get(bench->params, "types")), 2);
    json = json_of(ask(bench, "GET",
                       "/webapi/sites/example.com/events/search/sessions?from=2026-11-25T00:00:00Z&limit=1&startKey=4",
                       headers, NULL, false));
    assert_string_equal(json_get_text(bench->params, "from", ""), "2026-11-25T00:00:00Z");
    assert_string_equal(json_get_text(bench->params, "state", ""), "done");
    assert_string_equal(json_get_text(bench->params, "start_key", ""), "4");
    assert_string_equal(json_get_text(json, "startKey", ""), "5");
    json_t *ended = json_array_get(json_object_get(json, "events"), 0);
    assert_string_equal(json_get_text(ended, "event", ""), "session.end");
    assert_string_equal(json_get_text(ended, "sid", ""), "r1");
    assert_string_equal(json_get_text(ended, "session_recording", ""), "node");
    assert_string_equal(json_get_text(ended, "session_stop", ""), "2026-11-25T10:01:00.000Z");
    assert_string_equal(json_get_text(ended, "server_hostname", ""), "web-1");
    json_decref(json);
    assert_non_null(strstr(ask(bench, "DELETE", "/webapi/sessions/web", headers, NULL, false), "Max-Age=0"));
    assert_string_equal(bench->method, "login.web_end");
    bench->calls = 0;
    /* A cookie alone or a bearer alone is nobody; a client certificate is not a web session. */
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/users", half, NULL, true)), 401);
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/users", "Authorization: Bearer tok\r\n", NULL, true)), 401);
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/users", "", NULL, true)), 401);
    char *twice = mem_printf("%sAuthorization: Bearer other\r\n", headers);
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/users", twice, NULL, false)), 401);
    mem_free(twice);
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/sites/other/nodes", headers, NULL, false)), 404);
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/sites/example.com/nodes?limit=x", headers, NULL, false)),
                     400);
    assert_int_equal(bench->calls, 0);
    mem_free(hex);
    mem_free(cookie);
    mem_free(headers);
    mem_free(half);
}

static void test_rpc_needs_a_certificate(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, "{}", false)), 401);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/host.join", JSON, "{}", true)), 404);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/ssh.connect", JSON, "{}", true)), 404);
    assert_int_equal(bench->calls, 0);
    /* R9: a large body is taken from certificates only. */
    char *big = mem_printf("{\"a\":\"%0*d\"}", 100000, 1);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, big, false)), 413);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, big, true)), 200);
    mem_free(big);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, "{\"limit\":1}", true)), 200);
    assert_string_equal(bench->method, "nodes.list");
    assert_int_equal(json_get_int(bench->params, "limit", 0), 1);
    assert_string_equal(json_get_text(bench->caller, "kind", ""), "user");
    assert_string_equal(json_get_text(bench->caller, "cert", ""), "REVS");
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, "[1]", true)), 400);
    assert_int_equal(status_of(ask(bench, "POST", "/v1/webapi/rpc/nodes.list", JSON, "{\"a\":1,\"a\":2}", true)), 400);
}

static void test_join_and_export(void **state)
{
    struct bench *bench = *state;
    json_t *json = json_of(
        ask(bench, "POST", "/v1/webapi/host/credentials", JSON,
            "{\"hostID\":\"h\",\"node_name\":\"n\",\"role\":\"Node\",\"token\":\"t\",\"public_tls_key\":\"UEVN\","
            "\"public_ssh_key\":\"ssh-ed25519 AAA\"}",
            false));
    assert_string_equal(json_get_text(bench->params, "role", ""), "node");
    assert_string_equal(json_get_text(bench->params, "host_id", ""), "h");
    assert_string_equal(json_get_text(bench->params, "tls_pub_key", ""), "PEM");
    assert_string_equal(json_get_text(json, "ssh_cert", ""), "S");
    assert_int_equal(json_array_size(json_object_get(json, "ssh_ca_certs")), 1);
    json_decref(json);
    assert_non_null(strstr(ask(bench, "GET", "/webapi/auth/export?type=user", "", NULL, false),
                           "\r\n\r\ncert-authority ssh-ed25519 UUU clustername=example.com&type=user\n"));
    assert_non_null(strstr(ask(bench, "GET", "/webapi/auth/export", "", NULL, false),
                           "@cert-authority example.com,*.example.com ssh-ed25519 AAA type=host\n"));
    assert_non_null(strstr(ask(bench, "GET", "/webapi/auth/export?type=tls-host", "", NULL, false), "\r\n\r\nPEM"));
    assert_int_equal(status_of(ask(bench, "GET", "/webapi/auth/export?type=../x", "", NULL, false)), 400);
}

/* A file that can be downloaded, holding text. */
static void add_file(struct bench *bench, const char *name, const char *text)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fflush(file), 0);
    web_add_file(bench->web, name, "00aa", (int64_t)strlen(text), dup(fileno(file)));
    assert_int_equal(fclose(file), 0);
}

static void test_script_and_programs(void **state)
{
    struct bench *bench = *state;
    static const char *const hostile[] = {"'", "$(id)", "`id`", "a,b=c", "[1m:\"id\"]", "a\nb", "\\", "\"", "é", "a;b"};
    const char *answer = ask(bench, "GET", "/scripts/" TOKEN "/install-node.sh", "", NULL, false);
    /* Without its programs a proxy makes no promise. */
    assert_int_equal(status_of(answer), 404);
    add_file(bench, "tportd", "D");
    add_file(bench, "tport-session", "S");
    add_file(bench, "tport", "T");
    add_file(bench, "tportctl", "C");
    answer = ask(bench, "GET", "/scripts/" TOKEN "/install-node.sh", "", NULL, false);
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(bench->method, "tokens.script");
    assert_string_equal(json_get_text(bench->params, "token", ""), TOKEN);
    assert_non_null(
        strstr(answer, "\r\n\r\n#!/bin/sh\nPROXY='proxy.example.com:443'\nCLUSTER='example.com'\nTOKEN='" TOKEN "'\n"));
    assert_non_null(strstr(answer, "\nPINS='sha256:0ab9'\nCA='PEM'\nLABELS='env=dev'\n"
                                   "SUMS='00aa  tportd\n00aa  tport-session\n00aa  tport\n00aa  tportctl'\n# Joins"));
    assert_non_null(strstr(answer, "Cache-Control: no-store"));
    assert_string_equal(answer + strlen(answer) - 6, "\nmain\n");
    answer = ask(bench, "GET", "/scripts/" TOKEN "/tport", "", NULL, false);
    assert_non_null(strstr(answer, "Content-Length: 1\r\n"));
    assert_string_equal(answer + strlen(answer) - 5, "\r\n\r\nT");
    /* What auth says is not trusted either. */
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        bench->label = hostile[i];
        answer = ask(bench, "GET", "/scripts/" TOKEN "/install-node.sh", "", NULL, false);
        assert_int_equal(status_of(answer), 400);
        assert_null(strstr(answer, "LABELS"));
        bench->label = NULL;
        bench->pin = hostile[i];
        assert_int_equal(status_of(ask(bench, "GET", "/scripts/" TOKEN "/install-node.sh", "", NULL, false)), 500);
        bench->pin = NULL;
    }
    /* A token that no script could carry is no token: auth is not even asked. */
    bench->calls = 0;
    answer = ask(bench, "GET", "/scripts/a%27b/install-node.sh", "", NULL, false);
    assert_int_equal(status_of(answer), 404);
    assert_non_null(strstr(answer, "There is nothing here"));
    assert_int_equal(bench->calls, 0);
}

static void test_pages(void **state)
{
    struct bench *bench = *state;
    const char *answer = ask(bench, "GET", "/", "", NULL, false);
    assert_int_equal(status_of(answer), 302);
    assert_non_null(strstr(answer, "Location: /web\r\n"));
    /* The application: one page for all its addresses, with our own scripts and no others. */
    answer = ask(bench, "GET", "/web", "Accept-Encoding: gzip, br\r\n", NULL, false);
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(answer, "Vary: Accept-Encoding\r\n"));
    assert_non_null(strstr(answer, "Cache-Control: no-cache\r\n"));
    assert_non_null(strstr(answer, "script-src 'self'; style-src 'self'; "));
    assert_non_null(strstr(answer, "frame-ancestors 'none'; base-uri 'none'\r\n"));
    assert_null(strstr(answer, "unsafe-inline"));
    assert_int_equal(status_of(ask(bench, "GET", "/web/roles/dev2", "", NULL, false)), 200);
    assert_int_equal(status_of(ask(bench, "GET", "/web/a/b/c", "", NULL, false)), 404);
    assert_int_equal(status_of(ask(bench, "GET", "/web/assets/none.js", "", NULL, false)), 404);
    answer = ask(bench, "GET", "/web/style.css", "", NULL, false);
    assert_non_null(strstr(answer, "Content-Type: text/css"));
    assert_null(strstr(answer, "script-src"));
    assert_null(strstr(answer, "Set-Cookie:")); /* nothing to send back there */
    assert_null(strstr(ask(bench, "GET", "/web/a/b/c", "", NULL, false), "Set-Cookie:"));
    answer = ask(bench, "GET", "/web/invite/" TOKEN, "", NULL, false);
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "Welcome, &#60;alice&#62;"));
    assert_null(strstr(answer, "<alice>"));
    assert_null(strstr(answer, "<script"));
    assert_null(strstr(answer, "style=\""));
    assert_non_null(strstr(answer, "JBSW Y3DP EHPK 3PXP"));
    assert_non_null(strstr(answer, "data:image/png;base64,iVBOR"));
    assert_non_null(strstr(answer, "Set-Cookie: __Host-grv_csrf="));
    answer = ask(bench, "GET", "/web/invite/ffff", "", NULL, false);
    assert_int_equal(status_of(answer), 404);
    assert_non_null(strstr(answer, "This link is not valid"));
    answer = ask(bench, "HEAD", "/web/invite/" TOKEN, "", NULL, false);
    assert_non_null(strstr(answer, "\r\n\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

/* Gzip goes to who takes it; everybody else gets the same bytes unpacked, with their size. */
static void test_files_for_who_takes_no_gzip(void **state)
{
    static const char *const plain[] = {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, *\r\n",
                                        "Accept-Encoding: *;q=0\r\n", "Accept-Encoding: x-gzip-like\r\n"};
    static const char *const packed[] = {"Accept-Encoding: GZIP\r\n", "Accept-Encoding: br, *;q=0.1\r\n",
                                         "Accept-Encoding: *;q=0, gzip;q=0.001\r\n"};
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        const char *answer = ask(bench, "GET", "/web", plain[i], NULL, false);
        const char *body = strstr(answer, "\r\n\r\n");
        char *length = mem_printf("Content-Length: %zu\r\n", strlen(body + 4));
        assert_int_equal(status_of(answer), 200);
        assert_null(strstr(answer, "Content-Encoding"));
        assert_non_null(strstr(answer, "Vary: Accept-Encoding\r\n"));
        assert_non_null(strstr(body, "</html>"));
        assert_non_null(strstr(answer, length));
        mem_free(length);
        answer = ask(bench, "HEAD", "/web", plain[i], NULL, false);
        assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    }
    for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++)
        assert_non_null(strstr(ask(bench, "GET", "/web", packed[i], NULL, false), "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(ask(bench, "GET", "/web/style.css", "", NULL, false), ":root"));
}

static const char *send_form(struct bench *bench, const char *below, const char *headers, const char *fields)
{
    char *path = mem_printf("/web/invite/" TOKEN "%s", below);
    char *all = mem_printf(FORM "Origin: null\r\nSec-Fetch-Site: same-origin\r\n%s", headers);
    const char *answer = ask(bench, "POST", path, all, fields, false);
    mem_free(all);
    mem_free(path);
    return answer;
}

#define COOKIE "Cookie: __Host-grv_csrf=" CSRF "\r\n"
#define KOREAN "Accept-Language: ko-KR,ko;q=0.9,en;q=0.8\r\n"

/* Step 1, the code; and CSRF of both: no cookie, another token, no token, a cookie that is no token. */
static void test_form_of_the_code(void **state)
{
    struct bench *bench = *state;
    const char *answer;
    for (size_t i = 0; i < 2; i++) {
        const char *below = i == 0 ? "" : "/password";
        assert_int_equal(status_of(send_form(bench, below, "", "csrf_token=" CSRF "&code=123456")), 403);
        assert_int_equal(status_of(send_form(bench, below, COOKIE, "csrf_token=b&code=123456")), 403);
        assert_int_equal(status_of(send_form(bench, below, COOKIE, "code=123456")), 403);
        assert_int_equal(
            status_of(send_form(bench, below, "Cookie: __Host-grv_csrf=x\r\n", "csrf_token=x&code=123456")), 403);
    }
    answer = send_form(bench, "", KOREAN, "csrf_token=" CSRF "&code=123456");
    assert_non_null(strstr(answer, "더는 쓸 수 없는 양식입니다"));
    assert_non_null(strstr(answer, "lang=\"en\">this form is no longer valid"));
    assert_int_equal(bench->calls, 0);
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=12345");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "six digits"));
    assert_string_equal(bench->method, "invite.get");
    assert_int_equal(status_of(send_form(bench, "", COOKIE, "csrf_token=" CSRF)), 400);
    bench->refuse = TP_INVALID;
    bench->refuse_text = "the code is wrong";
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123+456");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "The code does not match."));
    assert_non_null(strstr(answer, "JBSW Y3DP EHPK 3PXP"));
    answer = send_form(bench, "", COOKIE KOREAN, "csrf_token=" CSRF "&code=123456");
    assert_non_null(strstr(answer, "<html lang=\"ko\">"));
    assert_non_null(strstr(answer, "코드가 맞지 않습니다."));
    assert_null(strstr(answer, "code is wrong"));
    bench->refuse = TP_NOT_FOUND;
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456");
    assert_int_equal(status_of(answer), 404);
    assert_non_null(strstr(answer, "This link is not valid"));
    bench->refuse = TP_LIMIT;
    assert_int_equal(status_of(send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456")), 429);
    bench->refuse = TP_OK;
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(json_get_text(bench->params, "code", ""), "123456");
    assert_non_null(strstr(answer, "name=\"proof\" value=\"" PROOF "\""));
    assert_non_null(strstr(answer, "action=\"/web/invite/" TOKEN "/password\""));
    assert_non_null(strstr(answer, "Welcome, &#60;alice&#62;"));
    assert_null(strstr(answer, "JBSW"));
}

/* Step 2, the password: what is wrong with it costs neither the code nor its proof. */
static void test_form_of_the_password(void **state)
{
#define PROVEN "csrf_token=" CSRF "&proof=" PROOF
    struct bench *bench = *state;
    const char *answer = send_form(bench, "/password", COOKIE, PROVEN "&password=short+pass&repeat=short+pass");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "too short"));
    assert_null(strstr(answer, "short pass"));
    assert_non_null(strstr(answer, "name=\"proof\" value=\"" PROOF "\""));
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+batterz");
    assert_non_null(strstr(answer, "not the same"));
    assert_null(strstr(answer, "correct horse"));
    answer = send_form(bench, "/password", COOKIE KOREAN,
                       PROVEN "&password=correct+horse+battery&repeat=correct+horse+batterz");
    assert_non_null(strstr(answer, "두 비밀번호가 서로 다릅니다."));
    assert_string_equal(bench->method, "invite.get");
    bench->refuse = TP_INVALID;
    bench->refuse_text = "the password is <b>common</b>";
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "The password is &#60;b&#62;common&#60;/b&#62;."));
    assert_null(strstr(answer, "correct horse"));
    answer = send_form(bench, "/password", COOKIE KOREAN,
                       PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_non_null(strstr(answer, "쓸 수 없는 비밀번호입니다."));
    /* A proof that is too old, or none: back to the code, and that is said. */
    bench->refuse = TP_EXPIRED;
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_int_equal(status_of(answer), 403);
    assert_non_null(strstr(answer, "the code is needed once more"));
    assert_non_null(strstr(answer, "name=\"code\""));
    bench->refuse = TP_OK;
    answer = send_form(bench, "/password", COOKIE, "csrf_token=" CSRF "&password=correct+horse+battery&repeat=x");
    assert_non_null(strstr(answer, "the code is needed once more"));
    answer = send_form(bench, "/password", COOKIE,
                       PROVEN "&password=correct+horse+b%c3%a4ttery&repeat=correct+horse+b%c3%a4ttery");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(bench->method, "invite.finish");
    assert_string_equal(json_get_text(bench->params, "password", ""), "correct horse b\xc3\xa4ttery");
    assert_string_equal(json_get_text(bench->params, "proof", ""), PROOF);
    assert_non_null(strstr(answer, "--user=&#60;alice&#62;</span></code>"));
    assert_non_null(strstr(answer, "href=\"/web\">Sign in here</a>"));
    /* Who loads the second address again begins anew. */
    assert_non_null(strstr(ask(bench, "GET", "/web/invite/" TOKEN "/password", "", NULL, false), "name=\"code\""));
#undef PROVEN
}

static void test_languages(void **state)
{
    (void)state;
    assert_int_equal(web_language_of(NULL), WEB_ENGLISH);
    assert_int_equal(web_language_of("fr, de;q=0.5"), WEB_ENGLISH);
    assert_int_equal(web_language_of("ko"), WEB_KOREAN);
    assert_int_equal(web_language_of("fr,KO-kr;q=0.3,en;q=0.2"), WEB_KOREAN);
    assert_int_equal(web_language_of("en-GB,ko;q=0.9"), WEB_ENGLISH);
    assert_int_equal(web_language_of("ko;q=0,*"), WEB_ENGLISH);
    assert_int_equal(web_language_of("kok, korean"), WEB_ENGLISH);
    for (enum web_word word = WORD_NONE + 1; word <= WORD_WRONG_OLD; word++) {
        const char *english = web_word_text(WEB_ENGLISH, word);
        const char *korean = web_word_text(WEB_KOREAN, word);
        assert_true(*english && *korean && strcmp(english, korean) != 0);
        assert_int_equal(strstr(english, "{}") != NULL, strstr(korean, "{}") != NULL);
    }
}

static void test_html_escape(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    web_html_text(&out, "a<b>&\"'`\xc3\xa4");
    assert_string_equal(buf_text(&out), "a&#60;b&#62;&#38;&#34;&#39;&#96;\xc3\xa4");
    buf_free(&out);
}

static void test_cookie_parsing(void **state)
{
    struct web_session_cookie cookie = {0};
    char *value = NULL;
    (void)state;
    assert_int_equal(web_cookie_get("a=1; b=2;c=3", "b", &value), TP_OK);
    assert_string_equal(value, "2");
    mem_free(value);
    assert_int_equal(web_cookie_get("a=1; a=2", "a", &value), TP_INVALID);
    assert_int_equal(web_cookie_get("xa=1; ab=2", "a", &value), TP_NOT_FOUND);
    assert_int_equal(web_cookie_get("a=\"1\"", "a", &value), TP_INVALID);
    assert_int_equal(web_cookie_get(NULL, "a", &value), TP_NOT_FOUND);
    assert_int_equal(web_cookie_session_parse("zz", &cookie), TP_INVALID);
    assert_int_equal(web_cookie_session_parse("7b7d", &cookie), TP_INVALID);
    value = web_cookie_session_text("a\"b", "c");
    assert_int_equal(web_cookie_session_parse(value, &cookie), TP_OK);
    assert_string_equal(cookie.user, "a\"b");
    web_cookie_session_free(&cookie);
    mem_free(value);
    assert_false(web_cookie_csrf_matches("", ""));
    assert_false(web_cookie_csrf_matches(NULL, NULL));
    assert_true(web_cookie_csrf_matches(CSRF, CSRF));
}

/* Flow on one connection: pipelined requests are answered in order; nothing behind a refused one is looked at. */
static void test_pipelining(void **state)
{
    struct bench *bench = *state;
    const char *answer =
        talk(bench,
             "GET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\n",
             false);
    const char *second = strstr(answer + 1, "HTTP/1.1 302 Found");
    assert_non_null(second);
    assert_non_null(strstr(second + 1, "HTTP/1.1 302 Found"));
    assert_int_equal(bench->calls, 1);
    answer = talk(
        bench, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\nGET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\n",
        false);
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "Connection: close"));
    assert_null(strstr(answer + 1, "HTTP/1.1"));
    assert_int_equal(bench->calls, 1);
    answer = talk(bench, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false);
    assert_int_equal(status_of(answer), 505);
    answer = talk(
        bench, "POST /webapi/ssh/certs HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999\r\n\r\n",
        false);
    assert_int_equal(status_of(answer), 413);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R1_R2_every_route_names_its_right),
        cmocka_unit_test(test_html_escape),
        cmocka_unit_test(test_cookie_parsing),
        cmocka_unit_test_setup_teardown(test_R2_unlisted_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ping_and_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login_begin_is_no_oracle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_web_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rpc_needs_a_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_join_and_export, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_script_and_programs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_for_who_takes_no_gzip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form_of_the_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form_of_the_password, set_up, tear_down),
        cmocka_unit_test(test_languages),
        cmocka_unit_test_setup_teardown(test_pipelining, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
