/* Routes of the web API: rights, sign-in, sessions, joining. */
#include "web_help.h"

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
        if (strcmp(routes[i].method, "GET") != 0 && routes[i].shape != WEB_API && routes[i].shape != WEB_LARGE)
            assert_int_equal(routes[i].shape, WEB_FORM);
        /* A large body is for those who have signed in. */
        assert_true(routes[i].shape != WEB_LARGE || routes[i].who == WEB_SESSION);
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

/* Who may not write roles sends no more than others do, whatever route he takes. */
static void test_large_bodies_are_for_who_may_write_them(void **state)
{
    static const char *const routes[][2] = {
        {"POST", "/webapi/roles/check"}, {"POST", "/webapi/roles"}, {"PUT", "/webapi/roles/dev"}};
    struct bench *bench = *state;
    char *hex = web_cookie_session_text("alice", "5f3a");
    char *headers = mem_printf(JSON "Cookie: __Host-session=%s\r\nAuthorization: Bearer 5f3a\r\n", hex);
    char *big = mem_printf("{\"content\":\"%0*d\"}", 100000, 1);
    char *huge = mem_printf("{\"content\":\"%0*d\"}", 2 * 1024 * 1024, 1);
    for (size_t i = 0; i < 3; i++) {
        bench->writes_roles = false;
        bench->calls = 0;
        const char *answer = ask(bench, routes[i][0], routes[i][1], headers, big, false);
        assert_int_equal(status_of(answer), 413);
        assert_non_null(strstr(answer, "you may not create or update roles"));
        assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff\r\n"));
        assert_int_equal(bench->calls, 1);
        bench->writes_roles = true;
        answer = ask(bench, routes[i][0], routes[i][1], headers, big, false);
        assert_int_equal(status_of(answer), 400); /* it was read, and is no role */
        assert_int_equal(bench->calls, 3);
        assert_int_equal(status_of(ask(bench, routes[i][0], routes[i][1], headers, huge, false)), 413);
        assert_int_equal(bench->calls, 3);
    }
    mem_free(huge);
    mem_free(big);
    mem_free(headers);
    mem_free(hex);
}

/* Small bodies that would be large trees are refused before anybody is asked who sends them. */
static void test_R9_a_small_body_is_no_large_tree(void **state)
{
    struct bench *bench = *state;
    char *hex = web_cookie_session_text("alice", "5f3a");
    char *headers = mem_printf(JSON "Cookie: __Host-session=%s\r\nAuthorization: Bearer 5f3a\r\n", hex);
    char lists[16000];
    struct buf text;
    memset(lists, '[', sizeof(lists) - 1);
    lists[sizeof(lists) - 1] = '\0';
    const char *answer = ask(bench, "POST", "/webapi/sessions/web", JSON, lists, false);
    assert_int_equal(status_of(answer), 413);
    assert_non_null(strstr(answer, "too many values"));
    assert_int_equal(status_of(ask(bench, "POST", "/webapi/locks", headers, lists, false)), 413);
    assert_int_equal(bench->calls, 0);
    /* Of a certificate's owner more is taken, and not 90 MB. */
    buf_init(&text, 0);
    assert_int_equal(buf_append_text(&text, "{\"a\":[[]"), TP_OK);
    while (buf_size(&text) < (size_t)2 * 1024 * 1024 - 16)
        assert_int_equal(buf_append_text(&text, ",[]"), TP_OK);
    assert_int_equal(buf_append_text(&text, "]}"), TP_OK);
    assert_int_equal(status_of(ask(bench, "POST", "/webapi/rpc/nodes.list", JSON, buf_text(&text), true)), 413);
    bench->writes_roles = true;
    assert_int_equal(status_of(ask(bench, "POST", "/webapi/roles/check", headers, buf_text(&text), false)), 413);
    assert_int_equal(bench->calls, 1); /* the right to send it */
    buf_free(&text);
    mem_free(headers);
    mem_free(hex);
}

static void test_a_worker_takes_eight_large_bodies_and_two_of_one_person(void **state)
{
    static const char *const names[] = {"ann", "ann", "bob", "bob", "eve", "eve", "joe", "joe"};
    struct web_bodies bodies = {0};
    struct web_body *taken[8];
    struct web_body *more = NULL;
    struct tp_error error = {0};
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(web_body_take(&bodies, names[i], &taken[i], &error), TP_OK);
        if (i % 2 == 1) {
            assert_int_equal(web_body_take(&bodies, names[i], &more, &error), TP_UNAVAILABLE);
            assert_non_null(strstr(error.text, "2 large requests of yours are under way"));
            assert_non_null(strstr(error.text, "; try again in a moment"));
        }
    }
    assert_int_equal(web_body_take(&bodies, "kim", &more, &error), TP_UNAVAILABLE);
    assert_non_null(strstr(error.text, "8 large requests are under way"));
    web_body_give(taken[3]);
    assert_int_equal(web_body_take(&bodies, "ann", &more, &error), TP_UNAVAILABLE);
    assert_int_equal(web_body_take(&bodies, "kim", &taken[3], &error), TP_OK);
    web_body_give(taken[0]);
    web_body_give(NULL);
    web_bodies_end(&bodies);
    for (size_t i = 1; i < 8; i++)
        web_body_give(taken[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R1_R2_every_route_names_its_right),
        cmocka_unit_test_setup_teardown(test_R2_unlisted_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ping_and_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login_begin_is_no_oracle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_web_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rpc_needs_a_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_join_and_export, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_bodies_are_for_who_may_write_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_R9_a_small_body_is_no_large_tree, set_up, tear_down),
        cmocka_unit_test(test_a_worker_takes_eight_large_bodies_and_two_of_one_person),
        cmocka_unit_test_setup_teardown(test_script_and_programs, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
