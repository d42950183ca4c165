/* Connections to an API server over TLS: who is believed, what is read again when it is rotated, what is used twice. */
#include "agent/kube_upstream.h"

#include "base/clock.h"
#include "base/mem.h"
#include "crypt/x509.h"
#include "tls/tls_stream.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CLUSTER "example.com"
#define PATIENCE_MS 20000

struct served {
    struct world *world;
    struct stream *stream;
    struct served *next;
    bool resumed;
};

struct world {
    struct loop *loop;
    int listener;
    struct watch *accepts;
    struct tls_context *tls;
    struct served *served; /* newest first */
    size_t served_count;
    char dir[64];
    char *ca_file;
    char *token_file;
    struct kube_cluster_conf conf;
    struct kube_cluster *cluster;
    struct kube_upstream *upstream;
    bool open, closed;
    struct tp_error error;
    size_t got;
    bool greets;  /* the server says a word to each client, */
    bool greeted; /* and the client has heard it, and the ticket before it */
    struct timer *patience, *look;
    bool (*until)(struct world *world);
    bool late;
};

/* ---- the server ---- */

static void served_ready(void *ctx)
{
    struct served *served = ctx;
    served->resumed = tls_stream_is_resumed(served->stream);
    if (served->world->greets) {
        stream_write(served->stream, "hello", 5);
    }
}

static void served_data(void *ctx, const uint8_t *data, size_t size)
{
    struct served *served = ctx;
    (void)data;
    served->world->got += size;
}

static void served_close(void *ctx, enum close_reason reason)
{
    struct served *served = ctx;
    (void)reason;
    served->stream = NULL;
}

static const struct stream_events served_events = {
    .on_ready = served_ready, .on_data = served_data, .on_close = served_close};

static void on_accept(void *ctx, int events)
{
    struct world *world = ctx;
    (void)events;
    int fd = accept4(world->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct served *served = mem_alloc(sizeof(*served));
    served->world = world;
    served->next = world->served;
    world->served = served;
    world->served_count++;
    served->stream = tls_stream_new(world->loop, fd, world->tls, NULL, &served_events, served);
}

static void write_file(const char *path, const char *text)
{
    /* As kubelet does it: a new file takes the old one's place. */
    char *fresh = mem_printf("%s.new", path);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0);
    mem_free(fresh);
}

/* The server gets a certificate of a new CA for the name "kubernetes" and 127.0.0.1; returns the CA. */
static char *new_identity(struct world *world)
{
    static const char *const names[] = {"kubernetes", NULL};
    static const char *const addresses[] = {"127.0.0.1", NULL};
    struct key *ca = key_generate(KEY_P256);
    struct key *key = key_generate(KEY_P256);
    char *ca_pem = x509_make_ca(ca, CLUSTER, "host", clock_wall() - 60);
    char *public_pem = key_public_pem(key);
    char *key_pem = key_to_pem(key);
    char *pem = NULL;
    struct tp_error error = {0};
    struct identity identity = {.kind = IDENTITY_HOST,
                                .cluster = (char *)(uintptr_t)CLUSTER,
                                .host_id = (char *)(uintptr_t) "6f1e6c7e-6b5c-4c8e-9d2a-0a4d9c1f2b3e",
                                .host_role = (char *)(uintptr_t) "proxy",
                                .name = (char *)(uintptr_t) "api",
                                .not_before = clock_wall() - 60,
                                .not_after = clock_wall() + 3600};
    struct x509_options options = {
        .public_pem = public_pem, .identity = &identity, .dns_names = names, .ip_addresses = addresses, .server = true};
    assert_int_equal(x509_make(ca, ca_pem, &options, &pem, &error), TP_OK);
    struct tls_context_options tls = {.server = true, .cert_pem = pem, .key_pem = key_pem, .peer = TLS_PEER_ANY};
    tls_context_free(world->tls);
    assert_int_equal(tls_context_new(&tls, &world->tls, &error), TP_OK);
    mem_free(pem);
    mem_free(public_pem);
    secret_free(key_pem);
    key_free(ca);
    key_free(key);
    return ca_pem;
}

/* ---- the client ---- */

static void on_open(void *ctx)
{
    ((struct world *)ctx)->open = true;
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    ((struct world *)ctx)->greeted = true;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_close(void *ctx, const struct tp_error *error)
{
    struct world *world = ctx;
    world->closed = true;
    world->error = *error;
    world->upstream = NULL;
}

static const struct kube_upstream_events events = {
    .on_open = on_open, .on_data = on_data, .on_eof = on_nothing, .on_drain = on_nothing, .on_close = on_close};

static void on_look(void *ctx)
{
    struct world *world = ctx;
    if (world->until(world)) {
        loop_stop(world->loop);
    }
}

static void on_patience(void *ctx)
{
    struct world *world = ctx;
    world->late = true;
    loop_stop(world->loop);
}

static void run_until(struct world *world, bool (*until)(struct world *world))
{
    world->until = until;
    timer_start(world->look, 1, 1);
    timer_start(world->patience, PATIENCE_MS, 0);
    loop_run(world->loop);
    timer_stop(world->look);
    timer_stop(world->patience);
    assert_false(world->late);
}

static bool is_decided(struct world *world)
{
    return world->open || world->closed;
}

static void get(struct world *world)
{
    struct tp_error error = {0};
    world->open = world->closed = false;
    assert_int_equal(kube_upstream_get(world->cluster, false, &events, world, &world->upstream, &error), TP_OK);
    run_until(world, is_decided);
}

static struct world *world_new(const char *server_name)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    (void)snprintf(world->dir, sizeof(world->dir), "/tmp/tport-test-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->ca_file = mem_printf("%s/ca.crt", world->dir);
    world->token_file = mem_printf("%s/token", world->dir);
    world->loop = loop_new();
    world->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(world->listener, 16), 0);
    assert_int_equal(getsockname(world->listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(watch_new(world->loop, world->listener, on_accept, world, &world->accepts), TP_OK);
    watch_set(world->accepts, WATCH_READ);
    char *ca = new_identity(world);
    write_file(world->ca_file, ca);
    write_file(world->token_file, "first-token\n");
    mem_free(ca);
    world->conf = (struct kube_cluster_conf){.name = (char *)(uintptr_t) "prod",
                                             .host = (char *)(uintptr_t) "127.0.0.1",
                                             .port = ntohs(address.sin_port),
                                             .prefix = (char *)(uintptr_t) "",
                                             .server_name = (char *)(uintptr_t)server_name,
                                             .ca_file = world->ca_file,
                                             .token_file = world->token_file};
    world->cluster = kube_cluster_new(world->loop, &world->conf);
    world->patience = timer_new(world->loop, on_patience, world);
    world->look = timer_new(world->loop, on_look, world);
    return world;
}

static bool all_gone(struct world *world)
{
    for (struct served *served = world->served; served != NULL; served = served->next) {
        if (served->stream != NULL) {
            return false;
        }
    }
    return true;
}

static void world_free(struct world *world)
{
    kube_upstream_close(world->upstream);
    kube_cluster_free(world->cluster);
    run_until(world, all_gone);
    watch_free(world->accepts);
    (void)close(world->listener);
    while (world->served != NULL) {
        struct served *served = world->served;
        world->served = served->next;
        mem_free(served);
    }
    tls_context_free(world->tls);
    timer_free(world->patience);
    timer_free(world->look);
    loop_free(world->loop);
    (void)unlink(world->ca_file);
    (void)unlink(world->token_file);
    assert_int_equal(rmdir(world->dir), 0);
    mem_free(world->ca_file);
    mem_free(world->token_file);
    mem_free(world);
}

/* ---- tests ---- */

static void test_name_and_ca_decide(void **state)
{
    static const struct {
        const char *name;
        bool other_ca;
        bool fine;
    } cases[] = {
        {"kubernetes", false, true},       {"127.0.0.1", false, true},  {"kubernetes", true, false},
        {"kubernetes.evil", false, false}, {"127.0.0.2", false, false}, {"api", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new(cases[i].name);
        if (cases[i].other_ca) {
            mem_free(new_identity(world)); /* signed by a CA that nobody told us of */
        }
        get(world);
        assert_int_equal(world->open, cases[i].fine);
        if (!cases[i].fine) {
            assert_int_equal(world->error.code, TP_UNAVAILABLE);
            assert_non_null(strstr(world->error.text, "certificate is not accepted"));
        }
        world_free(world);
    }
}

/* insecure-skip-tls-verify. Its handshakes ended once: the library read no certificates for a client that checks none. */
static void test_a_cluster_that_is_not_checked_is_reached(void **state)
{
    struct world *world = world_new("kubernetes.evil");
    (void)state;
    world->conf.insecure = true;
    get(world);
    assert_true(world->open);
    world_free(world);
}

static void test_a_rotated_ca_is_read_again(void **state)
{
    struct world *world = world_new("kubernetes");
    (void)state;
    get(world);
    assert_true(world->open);
    kube_upstream_put(world->upstream);
    world->upstream = NULL;
    char *ca = new_identity(world);
    write_file(world->ca_file, ca);
    mem_free(ca);
    get(world); /* not the idle one: it was made with what is no longer true */
    assert_true(world->open);
    assert_int_equal(world->served_count, 2);
    assert_false(kube_upstream_was_used(world->upstream));
    world_free(world);
}

static void test_a_rotated_token_is_read_again(void **state)
{
    struct world *world = world_new("kubernetes");
    const char *value = NULL;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_OK);
    assert_string_equal(value, "Bearer first-token");
    write_file(world->token_file, "second-token");
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_OK);
    assert_string_equal(value, "Bearer second-token");
    /* Gone for a moment: what we know is used on. Two words are no token. */
    assert_int_equal(unlink(world->token_file), 0);
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_OK);
    assert_string_equal(value, "Bearer second-token");
    write_file(world->token_file, "a b\n");
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_UNAVAILABLE);
    world_free(world);
}

static void test_a_pipe_in_the_place_of_a_rotated_file_holds_nobody_up(void **state)
{
    struct world *world = world_new("kubernetes");
    const char *value = NULL;
    struct tp_error error = {0};
    (void)state;
    get(world);
    assert_true(world->open);
    kube_upstream_close(world->upstream);
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_OK);
    (void)alarm(PATIENCE_MS / 1000); /* who waits for a writer waits for ever */
    assert_int_equal(unlink(world->ca_file), 0);
    assert_int_equal(mkfifo(world->ca_file, 0600), 0);
    assert_int_equal(unlink(world->token_file), 0);
    assert_int_equal(mkfifo(world->token_file, 0600), 0);
    assert_int_equal(kube_cluster_authorization(world->cluster, &value, &error), TP_OK);
    assert_string_equal(value, "Bearer first-token");
    get(world);
    assert_true(world->open);
    (void)alarm(0);
    world_free(world);
}

static void test_connections_are_used_again_while_they_are_quiet(void **state)
{
    struct world *world = world_new("kubernetes");
    (void)state;
    get(world);
    struct kube_upstream *first = world->upstream;
    assert_false(kube_upstream_was_used(first));
    kube_upstream_put(first);
    get(world);
    assert_ptr_equal(world->upstream, first);
    assert_true(kube_upstream_was_used(first));
    assert_int_equal(world->served_count, 1);
    kube_upstream_put(first);
    /* The API server closes it. Whether or not we have heard of that, the next one is new. */
    stream_close(world->served->stream, CLOSE_SHUTDOWN);
    run_until(world, all_gone);
    get(world);
    assert_true(world->open);
    assert_int_equal(world->served_count, 2);
    world_free(world);
}

static bool is_greeted(struct world *world)
{
    return world->greeted || world->closed;
}

/* A connection, and its end; whether it took up an earlier session. */
static bool resumes(struct world *world)
{
    world->greeted = false;
    get(world);
    assert_true(world->open);
    run_until(world, is_greeted);
    assert_true(world->greeted);
    kube_upstream_close(world->upstream);
    world->upstream = NULL;
    return world->served->resumed;
}

static void test_a_server_that_proved_itself_need_not_sign_again(void **state)
{
    struct world *world = world_new("kubernetes");
    (void)state;
    world->greets = true;
    assert_false(resumes(world));
    assert_true(resumes(world));
    assert_true(resumes(world)); /* each brings a new ticket */
    /* What was proved for one name is not proved for another. */
    world->conf.server_name = (char *)(uintptr_t) "127.0.0.1";
    assert_false(resumes(world));
    assert_true(resumes(world));
    /* Nor to those who trust others now. */
    char *ca = new_identity(world);
    write_file(world->ca_file, ca);
    assert_false(resumes(world));
    assert_true(resumes(world));
    char *more = mem_printf("%s%s", ca, ca);
    write_file(world->ca_file, more); /* the server is the same, and would take its tickets */
    assert_false(resumes(world));
    mem_free(more);
    mem_free(ca);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_and_ca_decide),
        cmocka_unit_test(test_a_cluster_that_is_not_checked_is_reached),
        cmocka_unit_test(test_a_rotated_ca_is_read_again),
        cmocka_unit_test(test_a_rotated_token_is_read_again),
        cmocka_unit_test(test_a_pipe_in_the_place_of_a_rotated_file_holds_nobody_up),
        cmocka_unit_test(test_connections_are_used_again_while_they_are_quiet),
        cmocka_unit_test(test_a_server_that_proved_itself_need_not_sign_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
