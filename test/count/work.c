/* Work whose instructions are counted (test_count.py): one process, one loop, both ends of every connection, sockets in
 * pairs. What has to be made first is outside of measured(). The same work runs without valgrind in a moment:
 *
 *   count_work handshakes N | up MB | down MB | requests N
 *
 * handshakes: full TLS 1.3 handshakes, client and server. up, down: bytes from a TLS client through a relay and a tunnel to a
 * sink behind it, and from a source there back. requests: answers of 2,000 bytes on one kept HTTPS connection. */
#include "base/clock.h"
#include "base/mem.h"
#include "crypt/x509.h"
#include "protocols/http/http_server.h"
#include "tls/tls_stream.h"
#include "tunnel/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK ((size_t)64 * 1024)
#define ANSWER ((size_t)2000)

struct world {
    struct loop *loop;
    struct tls_context *server_tls, *client_tls;
    unsigned ready; /* ends of connections whose handshake is done */
    size_t left;    /* handshakes, bytes or requests still to come */
    bool down;
    /* handshakes */
    struct stream *ends[2];
    struct later next;
    unsigned closed;
    /* up and down */
    struct stream *client;
    struct tunnel *near_tunnel, *far_tunnel;
    struct tunnel_stream *far;
    struct relay *relay;
    /* requests */
    struct http_server *server;
    size_t answer_left;
    uint8_t chunk[CHUNK];
};

static void die(const char *what, const struct tp_error *error)
{
    (void)fprintf(stderr, "count_work: %s: %s\n", what, error ? error->text : "");
    exit(1);
}

/* Everything inside is counted. The assignment keeps the call from becoming a jump, which would leave this function. */
__attribute__((noinline)) static void measured(struct world *world)
{
    loop_run(world->loop);
    world->left = 0;
}

/* ---- TLS on both ends ---- */

static char *make_leaf(const struct key *leaf_key, struct tp_error *error)
{
    static const char *const names[] = {"count.example.com", NULL};
    struct key *ca_key = key_generate(KEY_P256);
    char *ca = x509_make_ca(ca_key, "example.com", "host", clock_wall());
    char *public_pem = key_public_pem(leaf_key);
    char *pem = NULL;
    struct identity identity;
    struct x509_options options = {
        .public_pem = public_pem, .identity = &identity, .dns_names = names, .server = true, .client = true};
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup("example.com");
    identity.name = mem_strdup("proxy");
    identity.host_id = mem_strdup("0");
    identity.host_role = mem_strdup("proxy");
    identity.not_before = clock_wall() - 60;
    identity.not_after = clock_wall() + 3600;
    if (x509_make(ca_key, ca, &options, &pem, error) != TP_OK)
        die("certificate", error);
    identity_free(&identity);
    mem_free(public_pem);
    mem_free(ca);
    key_free(ca_key);
    return pem;
}

static void make_tls(struct world *world)
{
    struct tp_error error = {0};
    struct key *key = key_generate(KEY_P256);
    char *key_pem = key_to_pem(key);
    char *cert = make_leaf(key, &error);
    struct tls_context_options server = {
        .server = true, .cert_pem = cert, .key_pem = key_pem, .tls13_only = true, .peer = TLS_PEER_ANY};
    struct tls_context_options client = {.tls13_only = true, .peer = TLS_PEER_ANY};
    if (tls_context_new(&server, &world->server_tls, &error) != TP_OK ||
        tls_context_new(&client, &world->client_tls, &error) != TP_OK)
        die("TLS", &error);
    key_free(key);
    mem_free(key_pem);
    mem_free(cert);
}

/* Two ends of a connection; ends[0] is the server's. Buffers of one size: what a kernel gives by itself is not counted. */
static void make_pair(struct world *world, const struct stream_events *events, struct stream *ends[2])
{
    int fds[2];
    int size = 256 * 1024;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        die("socketpair", NULL);
    for (int i = 0; i < 2; i++)
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    ends[0] = tls_stream_new(world->loop, fds[0], world->server_tls, NULL, events, world);
    ends[1] = tls_stream_new(world->loop, fds[1], world->client_tls, "count.example.com", events, world);
}

static void on_ready(void *ctx)
{
    struct world *world = ctx;
    if (++world->ready == 2) /* both ends of the one that is being made */
        loop_stop(world->loop);
}

static void on_no_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_broken(void *ctx, enum close_reason reason)
{
    (void)ctx;
    die("a connection broke", NULL);
    (void)reason;
}

static void connect_pair(struct world *world, struct stream *ends[2])
{
    static const struct stream_events events = {.on_ready = on_ready, .on_data = on_no_data, .on_close = on_broken};
    world->ready = 0;
    make_pair(world, &events, ends);
    loop_run(world->loop);
}

/* ---- handshakes ---- */

static void on_greeted(void *ctx)
{
    struct world *world = ctx;
    if (++world->ready < 2)
        return;
    world->ready = 0;
    stream_close(world->ends[0], CLOSE_DONE);
    stream_close(world->ends[1], CLOSE_DONE);
}

static void on_parted(void *ctx, enum close_reason reason)
{
    struct world *world = ctx;
    if (reason != CLOSE_DONE)
        die("a handshake failed", NULL);
    if (++world->closed < 2)
        return;
    world->closed = 0;
    if (--world->left == 0)
        loop_stop(world->loop);
    else
        later_run(world->loop, &world->next);
}

static void greet(void *ctx)
{
    static const struct stream_events events = {.on_ready = on_greeted, .on_data = on_no_data, .on_close = on_parted};
    struct world *world = ctx;
    make_pair(world, &events, world->ends);
}

static void handshakes(struct world *world, size_t count)
{
    world->left = 1; /* the first one finds things to make once and for all */
    world->next = (struct later){.fn = greet, .ctx = world};
    greet(world);
    loop_run(world->loop);
    world->left = count;
    later_run(world->loop, &world->next);
    measured(world);
}

/* ---- up and down ---- */

static void arrived(struct world *world, size_t size)
{
    world->left -= size < world->left ? size : world->left;
    if (world->left == 0)
        loop_stop(world->loop);
}

static void pour(void *ctx)
{
    struct world *world = ctx;
    while (!world->down && !stream_is_full(world->client))
        stream_write(world->client, world->chunk, CHUNK);
}

static void pour_down(void *ctx)
{
    struct world *world = ctx;
    while (world->down && tunnel_stream_write(world->far, world->chunk, CHUNK) == CHUNK)
        ;
}

static void on_client_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)data;
    arrived(ctx, size);
}

static void on_far_data(void *ctx, const uint8_t *data, size_t size)
{
    struct world *world = ctx;
    (void)data;
    tunnel_stream_consume(world->far, size);
    arrived(world, size);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_far_close(void *ctx, enum close_reason reason, const char *text)
{
    (void)reason;
    (void)text;
    on_broken(ctx, reason);
}

static void on_far_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    static const struct tunnel_stream_events events = {
        .on_data = on_far_data, .on_eof = on_nothing, .on_writable = pour_down, .on_close = on_far_close};
    struct world *world = ctx;
    (void)kind;
    (void)header;
    (void)size;
    world->far = stream;
    tunnel_stream_accept(stream, &events, world);
    loop_stop(world->loop);
}

static void on_relay_done(void *ctx, const struct relay_result *result)
{
    (void)result;
    on_broken(ctx, CLOSE_DONE);
}

static void relayed(struct world *world, size_t megabytes, bool down)
{
    static const struct stream_events client_events = {
        .on_data = on_client_data, .on_drain = pour, .on_close = on_broken};
    static const struct tunnel_events tunnel_events = {
        .on_ready = on_ready, .on_open = on_far_open, .on_close = on_broken};
    static const struct relay_events relay_events = {.on_done = on_relay_done};
    struct stream *outside[2], *inside[2];
    connect_pair(world, outside);
    connect_pair(world, inside);
    /* In earnest both have shown certificates by now. */
    tls_stream_trust(outside[0]);
    tls_stream_trust(inside[0]);
    world->client = outside[1];
    stream_set_events(world->client, &client_events, world);
    world->ready = 0;
    world->near_tunnel = tunnel_new(world->loop, inside[0], false, &tunnel_events, world);
    world->far_tunnel = tunnel_new(world->loop, inside[1], true, &tunnel_events, world);
    loop_run(world->loop);
    world->down = down;
    if (relay_open(outside[0], world->near_tunnel, "ssh", "grant", 5, &relay_events, world, &world->relay) != TP_OK)
        die("relay", NULL);
    loop_run(world->loop);
    for (int warm = 1; warm >= 0; warm--) {
        /* A megabyte first: buffers have their sizes then. */
        world->left = (warm ? 1 : megabytes) * 1000000;
        pour(world);
        pour_down(world);
        if (warm)
            loop_run(world->loop);
        else
            measured(world);
    }
}

/* ---- requests ---- */

static void ask(struct world *world)
{
    static const char request[] = "GET /web/style.css HTTP/1.1\r\nHost: count.example.com\r\nAccept: text/css,*/*\r\n"
                                  "User-Agent: count\r\nAccept-Encoding: gzip\r\n\r\n";
    world->answer_left = SIZE_MAX;
    stream_write(world->client, request, sizeof(request) - 1);
}

/* The head comes with the first piece, whole: it is small, and sent at once. */
static void on_answer(void *ctx, const uint8_t *data, size_t size)
{
    struct world *world = ctx;
    if (world->answer_left == SIZE_MAX) {
        const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end || memcmp(data, "HTTP/1.1 200", 12) != 0)
            die("the answer", NULL);
        size -= (size_t)(end + 4 - data);
        world->answer_left = ANSWER;
    }
    world->answer_left -= size;
    if (world->answer_left > 0)
        return;
    if (--world->left == 0)
        loop_stop(world->loop);
    else
        ask(world);
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
    static const struct http_header headers[] = {{"Content-Type", "text/css; charset=utf-8"},
                                                 {"Content-Security-Policy", "default-src 'none'; style-src 'self'"},
                                                 {"X-Content-Type-Options", "nosniff"},
                                                 {"Cache-Control", "no-cache"}};
    const struct world *world = ctx;
    http_exchange_respond(exchange, 200, headers, 4, world->chunk, ANSWER);
}

static void requests(struct world *world, size_t count)
{
    static const struct stream_events client_events = {.on_data = on_answer, .on_close = on_broken};
    static const struct http_server_events server_events = {.on_request = on_request, .on_close = on_broken};
    static const struct http_server_options defaults = {0};
    struct stream *ends[2];
    connect_pair(world, ends);
    world->client = ends[1];
    stream_set_events(world->client, &client_events, world);
    world->server = http_server_new(world->loop, ends[0], &defaults, &server_events, world);
    for (int warm = 1; warm >= 0; warm--) {
        world->left = warm ? 10 : count;
        ask(world);
        if (warm)
            loop_run(world->loop);
        else
            measured(world);
    }
}

int main(int argc, char **argv)
{
    static struct world world;
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    const char *what = argc == 3 ? argv[1] : "";
    memset(world.chunk, 'x', sizeof(world.chunk));
    world.loop = loop_new();
    make_tls(&world);
    if (count > 0 && strcmp(what, "handshakes") == 0)
        handshakes(&world, count);
    else if (count > 0 && (strcmp(what, "up") == 0 || strcmp(what, "down") == 0))
        relayed(&world, count, what[0] == 'd');
    else if (count > 0 && strcmp(what, "requests") == 0)
        requests(&world, count);
    else
        die("usage", &(struct tp_error){.text = "count_work handshakes N | up MB | down MB | requests N"});
    return 0; /* everything is still open; that is for the system */
}
