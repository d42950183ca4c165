/*
 * The real agent process against a master, an auth and a worker that this program plays: join over the local line, two
 * tunnels over TLS, calls upward, an SSH stream with a grant, a drain that moves the tunnel, a cut, the stop.
 * Started as "tport-session monitor" this program plays the session: it echoes, and 'A' makes it call session.start.
 */
#include "agent/agent.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/grant.h"
#include "crypt/sshcert.h"
#include "crypt/x509.h"
#include "tls/tls_stream.h"
#include "core/rpc.h"
#include "tunnel/rpc_line.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

#define CLUSTER "test.example"

/* ---- the session ---- */

static int play_session(void)
{
    char block[1024];
    (void)fcntl(3, F_SETFL, 0);
    (void)fcntl(4, F_SETFL, 0);
    for (;;) {
        ssize_t got = read(4, block, sizeof(block));
        if (got <= 0) {
            return 0;
        }
        if (block[0] == 'X') {
            abort();
        }
        if (block[0] == 'A') {
            json_t *result = NULL;
            struct tp_error error = {0};
            enum tp_err err =
                rpc_blocking(3, "session.start", json_pack("{s:s, s:s}", "sid", "someone-else", "login", "root"), 5000,
                             &result, &error);
            got = snprintf(block, sizeof(block), "%s", err == TP_OK ? json_get_text(result, "id", "?") : error.text);
            json_decref(result);
            err = rpc_blocking(3, "users.add", json_object(), 5000, &result, &error);
            got += snprintf(block + got, sizeof(block) - (size_t)got, " %s", err_name(err));
        }
        if (write(4, block, (size_t)got) != got) {
            return 1;
        }
    }
}

/* ---- master, auth and worker ---- */

struct world;

struct link {
    struct world *world;
    struct link *next;
    struct stream *transport;
    struct tunnel *tunnel;
    struct rpc_line *line;
    bool ready, gone;
    enum close_reason reason;
};

struct world {
    struct loop *loop;
    struct rpc *master;
    struct rpc *auth;
    struct watch *listener;
    struct timer *tick;
    struct tls_context *tls;
    struct link *links;
    struct key *host_ca, *user_ca, *grant_key;
    char *host_ca_pem;
    char dir[64];
    char host_id[64];
    int listen_fd;
    uint16_t port;
    pid_t pid;
    int ticks;
    int joins, beats, starts, ends;
    char start_sid[64];
    bool master_gone;
    bool (*until)(struct world *world);
    /* the SSH stream */
    struct tunnel_stream *ssh;
    char got[256];
    bool accepted, closed;
    enum close_reason reason;
    char text[256];
};

static char *make_cert(struct world *world, const char *public_pem, const char *host_id, const char *role)
{
    struct identity identity;
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup(CLUSTER);
    identity.name = mem_strdup("node-1");
    identity.host_id = mem_strdup(host_id);
    identity.host_role = mem_strdup(role);
    identity.not_before = clock_wall() - 60;
    identity.not_after = clock_wall() + 3600;
    const char *names[] = {CLUSTER, NULL};
    struct x509_options options = {
        .public_pem = public_pem, .identity = &identity, .dns_names = names, .server = true, .client = true};
    char *pem = NULL;
    struct tp_error error = {0};
    if (x509_make(world->host_ca, world->host_ca_pem, &options, &pem, &error) != TP_OK) {
        fail_msg("%s", error.text);
    }
    identity_free(&identity);
    return pem;
}

static json_t *cas_json(struct world *world)
{
    uint8_t raw[32];
    assert_int_equal(key_ed25519_public(world->grant_key, raw), TP_OK);
    char *grant_key = enc_base64(raw, sizeof(raw));
    char *pem64 = enc_base64(world->host_ca_pem, strlen(world->host_ca_pem));
    char *user_ca = key_public_ssh(world->user_ca, NULL);
    json_t *cas = json_pack("{s:[{s:s, s:[s], s:[s]}], s:[s], s:[s], s:[s]}", "host_signers", "domain_name", CLUSTER,
                            "checking_keys", user_ca, "tls_certs", pem64, "user_ca_tls", world->host_ca_pem,
                            "user_ca_ssh", user_ca, "grant_keys", grant_key);
    mem_free(grant_key);
    mem_free(pem64);
    mem_free(user_ca);
    return cas;
}

static json_t *join_answer(struct world *world, json_t *params)
{
    const char *tls_public = NULL;
    const char *ssh_public = NULL;
    const char *host_id = NULL;
    struct tp_error error = {0};
    assert_int_equal(json_need_text(params, "tls_pub_key", &tls_public, &error), TP_OK);
    assert_int_equal(json_need_text(params, "ssh_pub_key", &ssh_public, &error), TP_OK);
    assert_int_equal(json_need_text(params, "host_id", &host_id, &error), TP_OK);
    assert_string_equal(json_get_text(params, "role", ""), "node");
    (void)snprintf(world->host_id, sizeof(world->host_id), "%s", host_id);
    char *cert = make_cert(world, tls_public, host_id, "node");
    const char *principals[] = {host_id, NULL};
    struct sshcert_options options = {.public_line = ssh_public,
                                      .host = true,
                                      .key_id = "node-1",
                                      .principals = principals,
                                      .valid_after = 0,
                                      .valid_before = clock_wall() + 3600};
    char *line = NULL;
    assert_int_equal(sshcert_make(world->user_ca, &options, &line, &error), TP_OK);
    json_t *answer = cas_json(world);
    (void)json_object_set_new(answer, "host_id", json_string(host_id));
    (void)json_object_set_new(answer, "tls_cert", json_string(cert));
    (void)json_object_set_new(answer, "ssh_cert", json_string(line));
    mem_free(cert);
    mem_free(line);
    return answer;
}

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    struct world *world = ctx;
    (void)rpc;
    (void)fd;
    assert_null(caller);
    if (strcmp(method, "host.join_local") == 0) {
        world->joins++;
        rpc_reply(call, join_answer(world, params));
    } else if (strcmp(method, "host.heartbeat") == 0) {
        world->beats++;
        assert_string_equal(json_string_value(json_array_get(json_object_get(params, "services"), 0)), "ssh");
        rpc_reply(call, json_pack("{s:i}", "next", 60000));
    } else if (strcmp(method, "cluster.cas") == 0) {
        rpc_reply(call, cas_json(world));
    } else if (strcmp(method, "session.start") == 0) {
        world->starts++;
        (void)snprintf(world->start_sid, sizeof(world->start_sid), "%s", json_get_text(params, "sid", ""));
        rpc_reply(call, json_pack("{s:s}", "id", json_get_text(params, "sid", "")));
    } else if (strcmp(method, "session.end") == 0) {
        world->ends++;
        rpc_reply(call, NULL);
    } else {
        fail_msg("unexpected call %s", method);
    }
}

static void on_rpc_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct world *world = ctx;
    (void)reason;
    if (rpc == world->master) {
        world->master = NULL;
        world->master_gone = true;
    } else if (rpc == world->auth) {
        world->auth = NULL;
    }
}

static const struct rpc_events rpc_events = {.on_request = on_request, .on_close = on_rpc_close};

static void link_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                         json_t *caller, int fd)
{
    on_request(((struct link *)ctx)->world, rpc, call, method, params, caller, fd);
}

static const struct rpc_events link_rpc_events = {.on_request = link_request};

static void on_line_close(void *ctx, enum close_reason reason)
{
    (void)reason;
    ((struct link *)ctx)->line = NULL;
}

static const struct rpc_line_events line_events = {.rpc = &link_rpc_events, .on_close = on_line_close};

static void on_tunnel_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header,
                           size_t size)
{
    struct link *link = ctx;
    (void)header;
    assert_string_equal(kind, "rpc");
    assert_int_equal(size, 0);
    link->line = rpc_line_accept(link->world->loop, stream, &line_events, link);
}

static void on_tunnel_ready(void *ctx)
{
    ((struct link *)ctx)->ready = true;
}

static void on_tunnel_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    link->gone = true;
    link->ready = false;
    link->reason = reason;
    link->tunnel = NULL;
}

static const struct tunnel_events tunnel_events = {
    .on_ready = on_tunnel_ready, .on_open = on_tunnel_open, .on_close = on_tunnel_close};

static void on_tls_ready(void *ctx)
{
    struct link *link = ctx;
    assert_string_equal(tls_stream_alpn(link->transport), "tport-tunnel");
    assert_string_equal(tls_stream_identity(link->transport)->host_id, link->world->host_id);
    link->tunnel = tunnel_new(link->world->loop, link->transport, false, &tunnel_events, link);
}

static void on_tls_close(void *ctx, enum close_reason reason)
{
    struct link *link = ctx;
    (void)reason;
    (void)fprintf(stderr, "TLS: %s\n", tls_stream_failure(link->transport));
    link->gone = true;
}

static const struct stream_events tls_events = {.on_ready = on_tls_ready, .on_close = on_tls_close};

static void on_connection(void *ctx, int events)
{
    struct world *world = ctx;
    (void)events;
    int fd = accept4(world->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct link *link = mem_alloc(sizeof(*link));
    link->world = world;
    link->next = world->links;
    world->links = link;
    link->transport = tls_stream_new(world->loop, fd, world->tls, NULL, &tls_events, link);
}

static size_t links_ready(const struct world *world)
{
    size_t count = 0;
    for (struct link *link = world->links; link != NULL; link = link->next) {
        count += link->ready && !tunnel_is_draining(link->tunnel) ? 1 : 0;
    }
    return count;
}

static void on_tick(void *ctx)
{
    struct world *world = ctx;
    assert_true(++world->ticks < 15000);
    if (world->until(world)) {
        loop_stop(world->loop);
    }
}

static void wait_for(struct world *world, bool (*until)(struct world *world))
{
    world->until = until;
    world->ticks = 0;
    timer_start(world->tick, 1, 1);
    loop_run(world->loop);
    timer_stop(world->tick);
}

/* ---- the SSH stream ---- */

static void ssh_accept(void *ctx)
{
    ((struct world *)ctx)->accepted = true;
}

static void ssh_data(void *ctx, const uint8_t *data, size_t size)
{
    struct world *world = ctx;
    size_t have = strlen(world->got);
    assert_true(have + size < sizeof(world->got));
    memcpy(world->got + have, data, size);
    world->got[have + size] = '\0';
    tunnel_stream_consume(world->ssh, size);
}

static void ssh_eof(void *ctx)
{
    (void)ctx;
}

static void ssh_close(void *ctx, enum close_reason reason, const char *text)
{
    struct world *world = ctx;
    world->closed = true;
    world->reason = reason;
    (void)snprintf(world->text, sizeof(world->text), "%s", text);
}

static const struct tunnel_stream_events ssh_events = {
    .on_accept = ssh_accept, .on_data = ssh_data, .on_eof = ssh_eof, .on_close = ssh_close};

static struct link *any_link(struct world *world)
{
    for (struct link *link = world->links; link != NULL; link = link->next) {
        if (link->ready && !tunnel_is_draining(link->tunnel)) {
            return link;
        }
    }
    fail_msg("no tunnel");
    return NULL;
}

static void open_ssh(struct world *world, const char *sid, const char *host_id, const struct key *key)
{
    struct buf grant;
    buf_init(&grant, 0);
    char issued[CLOCK_TEXT_SIZE], expires[CLOCK_TEXT_SIZE], not_after[CLOCK_TEXT_SIZE];
    clock_format(clock_wall(), issued);
    clock_format(clock_wall() + 60, expires);
    clock_format(clock_wall() + 3600, not_after);
    json_t *json = json_pack("{s:i, s:s, s:s, s:[s], s:{}, s:s, s:s, s:s, s:[{s:s, s:b}], s:{s:b, s:b, s:b, s:s, s:i, "
                             "s:b, s:i}, s:s, s:s, s:s, s:s}",
                             "v", 1, "sid", sid, "user", "alice", "roles", "access", "traits", "cluster", CLUSTER,
                             "host_id", host_id, "service", "ssh", "logins", "name", "root", "forward_agent", 0,
                             "options", "port_forwarding", 0, "x11", 0, "file_copy", 1, "record", "strict",
                             "idle_timeout", 0, "disconnect_expired_cert", 0, "max_sessions", 0, "client_addr",
                             "127.0.0.1:5", "issued", issued, "expires", expires, "cert_not_after", not_after);
    assert_non_null(json);
    assert_int_equal(grant_sign(key, json, &grant), TP_OK);
    json_decref(json);
    world->accepted = false;
    world->closed = false;
    world->got[0] = '\0';
    assert_int_equal(tunnel_stream_open(any_link(world)->tunnel, "ssh", buf_head(&grant), buf_size(&grant), &ssh_events,
                                        world, &world->ssh),
                     TP_OK);
    buf_free(&grant);
}

static bool two_tunnels(struct world *world)
{
    return links_ready(world) == 2 && world->beats > 0;
}

static bool ssh_closed(struct world *world)
{
    return world->closed;
}

static bool ssh_answered(struct world *world)
{
    return world->got[0] != '\0' || world->closed;
}

static bool agent_gone(struct world *world)
{
    return world->master_gone;
}

static bool session_ended(struct world *world)
{
    return world->closed && world->ends > 0;
}

static void say(struct world *world, const char *text)
{
    world->got[0] = '\0';
    assert_int_equal(tunnel_stream_write(world->ssh, text, strlen(text)), strlen(text));
    wait_for(world, ssh_answered);
}

static void start_agent(struct world *world)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        (void)close(pair[0]);
        _exit(agent_main(pair[1]));
    }
    (void)close(pair[1]);
    world->loop = loop_new();
    world->tick = timer_new(world->loop, on_tick, world);
    world->master_gone = false;
    world->master = rpc_new_fd(world->loop, pair[0], &rpc_events, world);
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    assert_true(length > 0);
    path[length] = '\0';
    char proxy[64];
    (void)snprintf(proxy, sizeof(proxy), "127.0.0.1:%u", world->port);
    rpc_event(world->master, "config",
              json_pack("{s:{}, s:s, s:s, s:s, s:s, s:b, s:{s:s, s:b}, s:s}", "conf", "data_dir", world->dir,
                        "session_path", path, "session_user", "", "proxy_addr", proxy, "local_auth", 1, "log", "level",
                        "info", "json", 0, "version", "1"));
    assert_int_equal(watch_new(world->loop, world->listen_fd, on_connection, world, &world->listener), TP_OK);
    watch_set(world->listener, WATCH_READ);
}

/* Tells it to go, and checks that it has gone in order and left no tunnel. */
static void end_agent(struct world *world, const char *event)
{
    rpc_event(world->master, event, NULL);
    wait_for(world, agent_gone);
    int status = 0;
    assert_int_equal(waitpid(world->pid, &status, 0), world->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    watch_free(world->listener);
    timer_free(world->tick);
    loop_free(world->loop);
    while (world->links != NULL) {
        struct link *link = world->links;
        world->links = link->next;
        assert_true(link->gone);
        mem_free(link);
    }
}

static void remove_state(const struct world *world)
{
    static const char *const names[] = {"host_id",      "tls.key",          "tls.crt",
                                        "ssh_host_key", "ssh_host_key.pub", "ssh_host_key-cert.pub",
                                        "cas.json",     "used/sid-1",       "used/sid-4"}; /* grants that were good */
    char path[200];
    struct stat info;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/agent/%s", world->dir, names[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        assert_int_equal(unlink(path), 0);
    }
    (void)snprintf(path, sizeof(path), "%s/agent/used", world->dir);
    DIR *used = opendir(path); /* files of the minutes in which they were used */
    const struct dirent *entry;
    assert_non_null(used);
    while ((entry = readdir(used)) != NULL) {
        if (entry->d_name[1] != '\0' && entry->d_name[1] != '.')
            assert_int_equal(unlinkat(dirfd(used), entry->d_name, 0), 0);
    }
    assert_int_equal(closedir(used), 0);
    assert_int_equal(rmdir(path), 0);
    (void)snprintf(path, sizeof(path), "%s/agent", world->dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(world->dir), 0);
}

static void start_worker(struct world *world)
{
    struct tp_error error = {0};
    (void)snprintf(world->dir, sizeof(world->dir), "/tmp/tport-agent-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->host_ca = key_generate(KEY_P256);
    world->user_ca = key_generate(KEY_ED25519);
    world->grant_key = key_generate(KEY_ED25519);
    world->host_ca_pem = x509_make_ca(world->host_ca, CLUSTER, "host", clock_wall() - 60);
    struct key *key = key_generate(KEY_P256);
    char *public_pem = key_public_pem(key);
    char *key_pem = key_to_pem(key);
    char *cert = make_cert(world, public_pem, "11111111-1111-4111-8111-111111111111", "proxy");
    const char *alpn[] = {"tport-tunnel", NULL};
    struct tls_context_options options = {.server = true,
                                          .cert_pem = cert,
                                          .key_pem = key_pem,
                                          .alpn = alpn,
                                          .alpn_required = true,
                                          .tls13_only = true,
                                          .peer = TLS_PEER_NODE,
                                          .ca_pems = world->host_ca_pem};
    assert_int_equal(tls_context_new(&options, &world->tls, &error), TP_OK);
    mem_free(public_pem);
    secret_free(key_pem);
    mem_free(cert);
    key_free(key);
    world->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(world->listen_fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(world->listen_fd, 16), 0);
    assert_int_equal(getsockname(world->listen_fd, (struct sockaddr *)&address, &size), 0);
    world->port = ntohs(address.sin_port);
}

static void give_auth_line(struct world *world)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    world->auth = rpc_new_fd(world->loop, pair[0], &rpc_events, world);
    rpc_event_fd(world->master, "auth_line", NULL, pair[1]);
    (void)close(pair[1]);
}

static void test_life_of_an_agent(void **state)
{
    (void)state;
    static struct world world;
    start_worker(&world);
    start_agent(&world);
    give_auth_line(&world);
    wait_for(&world, two_tunnels);
    assert_int_equal(world.joins, 1);

    /* Without the local line calls go through the tunnel. */
    rpc_free(world.auth);
    world.auth = NULL;

    open_ssh(&world, "sid-1", world.host_id, world.grant_key);
    say(&world, "hello");
    assert_true(world.accepted);
    assert_string_equal(world.got, "hello");
    /* R15: whatever the session claims, auth hears the grant's session id; and other methods do not exist for it. */
    say(&world, "A");
    assert_string_equal(world.got, "sid-1 not_found");
    assert_string_equal(world.start_sid, "sid-1");

    /* A drain moves the tunnel; the running stream goes on. */
    struct tunnel *old = tunnel_stream_tunnel(world.ssh);
    tunnel_drain(old);
    wait_for(&world, two_tunnels);
    say(&world, "still here");
    assert_string_equal(world.got, "still here");
    tunnel_stream_close(world.ssh, CLOSE_LOCKED, "locked");
    world.ends = 0;
    wait_for(&world, session_ended); /* the process is gone, what it had started is ended in its name or by itself */

    /* The same grant again, a stranger's signature, another host's grant: refused. */
    open_ssh(&world, "sid-1", world.host_id, world.grant_key);
    wait_for(&world, ssh_closed);
    assert_int_equal(world.reason, CLOSE_ACCESS_DENIED);
    open_ssh(&world, "sid-2", world.host_id, world.user_ca);
    wait_for(&world, ssh_closed);
    assert_int_equal(world.reason, CLOSE_ACCESS_DENIED);
    open_ssh(&world, "sid-3", "22222222-2222-4222-8222-222222222222", world.grant_key);
    wait_for(&world, ssh_closed);
    assert_int_equal(world.reason, CLOSE_ACCESS_DENIED);

    /* A session process that dies is told as such, and its session is ended. */
    open_ssh(&world, "sid-4", world.host_id, world.grant_key);
    say(&world, "A");
    assert_string_equal(world.got, "sid-4 not_found");
    world.ends = 0;
    say(&world, "X");
    wait_for(&world, session_ended);
    assert_int_equal(world.reason, CLOSE_SESSION_CRASHED);

    end_agent(&world, "stop");

    /* It has kept its identity: no second join, no auth line needed. A drain without sessions ends it. */
    start_agent(&world);
    world.beats = 0;
    wait_for(&world, two_tunnels);
    assert_int_equal(world.joins, 1);
    end_agent(&world, "drain");

    (void)close(world.listen_fd);
    remove_state(&world);
    tls_context_free(world.tls);
    key_free(world.host_ca);
    key_free(world.user_ca);
    key_free(world.grant_key);
    mem_free(world.host_ca_pem);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "monitor") == 0) {
        return play_session();
    }
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_an_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
