/* The blocking TLS client against a server in a thread: trust, pins, names, times, half-close, relay. */
#include "base/clock.h"
#include "base/mem.h"
#include "crypt/x509.h"
#include "tls/tls_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BULK ((size_t)8 * 1024 * 1024)

static struct key *ca, *other_ca, *leaf_key;
static char *ca_pem, *other_ca_pem, *ca_pin, *other_pin, *leaf_key_pem;

enum mode {
    ECHO,   /* until the client's close_notify, then its own */
    SINK,   /* reads all, answers with the count, closes */
    SOURCE, /* BULK bytes, then close_notify */
    ABRUPT, /* a few bytes, then the socket goes */
    SILENT, /* takes the connection and says nothing */
    PLAIN   /* speaks no TLS */
};

struct server {
    enum mode mode;
    const char *chain; /* PEM */
    const char *alpn;  /* chosen when offered */
    bool wants_client;
    int listener;
    uint16_t port;
    size_t received;
    pthread_t thread;
};

static int choose(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *in, unsigned in_size, void *ctx)
{
    const struct server *server = ctx;
    (void)ssl;
    for (unsigned i = 0; server->alpn && i < in_size; i += 1u + in[i]) {
        if (in[i] == strlen(server->alpn) && memcmp(in + i + 1, server->alpn, in[i]) == 0) {
            *out = in + i + 1;
            *out_size = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static SSL_CTX *server_ctx(struct server *server)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    BIO *bio = BIO_new_mem_buf(server->chain, -1);
    X509 *cert;
    bool first = true;
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (first)
            SSL_CTX_use_certificate(ctx, cert);
        else
            SSL_CTX_add1_chain_cert(ctx, cert);
        first = false;
        X509_free(cert);
    }
    BIO_free(bio);
    SSL_CTX_use_PrivateKey(ctx, key_evp(leaf_key));
    SSL_CTX_set_alpn_select_cb(ctx, choose, server);
    if (server->wants_client) {
        X509 *root;
        bio = BIO_new_mem_buf(ca_pem, -1);
        root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), root);
        X509_free(root);
        BIO_free(bio);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

static void talk(struct server *server, SSL *ssl)
{
    uint8_t *data = mem_alloc(65536);
    int count;
    if (server->mode == ABRUPT) {
        SSL_write(ssl, "abc", 3);
    } else if (server->mode == SOURCE) {
        for (size_t sent = 0; sent < BULK; sent += 16384) {
            memset(data, (int)(sent / 16384), 16384);
            if (SSL_write(ssl, data, 16384) <= 0)
                break;
        }
        SSL_shutdown(ssl);
    } else {
        while ((count = SSL_read(ssl, data, 65536)) > 0) {
            server->received += (size_t)count;
            if (server->mode == ECHO && SSL_write(ssl, data, count) <= 0)
                break;
        }
        if (server->mode == SINK)
            SSL_write(ssl, &server->received, sizeof(server->received));
        SSL_shutdown(ssl);
    }
    mem_free(data);
}

static void *serve(void *ctx)
{
    struct server *server = ctx;
    int fd = accept(server->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    if (server->mode == SILENT) {
        char byte;
        while (read(fd, &byte, 1) > 0)
            continue;
    } else if (server->mode == PLAIN) {
        ssize_t count = write(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        (void)count;
    } else {
        SSL_CTX *tls = server_ctx(server);
        SSL *ssl = SSL_new(tls);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1)
            talk(server, ssl);
        SSL_free(ssl);
        SSL_CTX_free(tls);
    }
    (void)close(fd);
    return NULL;
}

static void start(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->listener, 4), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)close(server->listener);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
}

static char *make_leaf(const struct key *issuer, const char *issuer_pem, int64_t from, int64_t to)
{
    static const char *const names[] = {"proxy.example.com", "*.node.example.com", NULL};
    static const char *const addresses[] = {"127.0.0.1", NULL};
    struct identity identity;
    char *public_pem = key_public_pem(leaf_key), *pem = NULL;
    struct x509_options options = {.public_pem = public_pem,
                                   .identity = &identity,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .server = true,
                                   .client = true};
    struct tp_error error = {0};
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup("example.com");
    identity.name = mem_strdup("proxy");
    identity.host_id = mem_strdup("0");
    identity.host_role = mem_strdup("proxy");
    identity.not_before = from;
    identity.not_after = to;
    if (x509_make(issuer, issuer_pem, &options, &pem, &error) != TP_OK)
        fail_msg("%s", error.text);
    identity_free(&identity);
    mem_free(public_pem);
    return pem;
}

static int begin(void **state)
{
    int64_t now = clock_wall();
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN); /* for the server here, not for the client */
    ca = key_generate(KEY_P256);
    other_ca = key_generate(KEY_P256);
    leaf_key = key_generate(KEY_P256);
    ca_pem = x509_make_ca(ca, "example.com", "host", now - 100000);
    other_ca_pem = x509_make_ca(other_ca, "example.com", "host", now - 100000);
    leaf_key_pem = key_to_pem(leaf_key);
    assert_int_equal(x509_pin(ca_pem, &ca_pin, NULL), TP_OK);
    assert_int_equal(x509_pin(other_ca_pem, &other_pin, NULL), TP_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    key_free(ca);
    key_free(other_ca);
    key_free(leaf_key);
    mem_free(ca_pem);
    mem_free(other_ca_pem);
    mem_free(ca_pin);
    mem_free(other_pin);
    secret_free(leaf_key_pem);
    return 0;
}

static struct tls_client_options options_for(const struct server *server)
{
    return (struct tls_client_options){.host = "127.0.0.1",
                                       .port = server->port,
                                       .server_name = "proxy.example.com",
                                       .verify_name = "proxy.example.com",
                                       .ca_pem = ca_pem,
                                       .timeout_ms = 10000};
}

static void test_R6_who_is_trusted(void **state)
{
    int64_t now = clock_wall();
    char *good = make_leaf(ca, ca_pem, now - 60, now + 3600);
    char *with_ca = mem_printf("%s%s", good, ca_pem);
    char *expired = make_leaf(ca, ca_pem, now - 7200, now - 3600);
    char *early = make_leaf(ca, ca_pem, now + 3600, now + 7200);
    char *other = make_leaf(other_ca, other_ca_pem, now - 60, now + 3600);
    char *other_and_ca = mem_printf("%s%s", other, ca_pem); /* shows the pinned CA, which did not sign it */
    char *pin_of_leaf = NULL;
    const char *const right[] = {other_pin, ca_pin, NULL};
    const char *const wrong[] = {other_pin, NULL};
    const char *const broken[] = {"sha256:123", NULL};
    const char *leaf_pins[2] = {NULL, NULL};
    (void)state;
    assert_int_equal(x509_pin(good, &pin_of_leaf, NULL), TP_OK);
    leaf_pins[0] = pin_of_leaf;
    {
        const struct {
            const char *chain;
            const char *verify_name;
            const char *cas;
            const char *const *pins;
            bool insecure;
            enum tp_err code;
            const char *text;
        } cases[] = {
            {good, "proxy.example.com", ca_pem, NULL, false, TP_OK, NULL},
            {good, "abc123.node.example.com", ca_pem, NULL, false, TP_OK, NULL},
            {good, NULL, ca_pem, NULL, false, TP_OK, NULL}, /* the address itself */
            {good, "127.0.0.2", ca_pem, NULL, false, TP_DENIED, "name"},
            {good, "a.b.node.example.com", ca_pem, NULL, false, TP_DENIED, "name"},
            {good, "proxy", ca_pem, NULL, false, TP_DENIED, "name"}, /* the common name is no name */
            {good, "proxy.example.com", other_ca_pem, NULL, false, TP_DENIED, "cluster"},
            {good, "proxy.example.com", NULL, NULL, false, TP_DENIED, "--ca-pin"},
            {good, "other.example.org", other_ca_pem, NULL, true, TP_OK, NULL},
            {expired, "proxy.example.com", ca_pem, NULL, false, TP_DENIED, "clock"},
            {early, "proxy.example.com", ca_pem, NULL, false, TP_DENIED, "clock"},
            {with_ca, "proxy.example.com", NULL, right, false, TP_OK, NULL},
            {with_ca, "other.example.org", NULL, right, false, TP_DENIED, "name"},
            {with_ca, "proxy.example.com", NULL, wrong, false, TP_DENIED, "pin"},
            {with_ca, "proxy.example.com", ca_pem, wrong, false, TP_DENIED, "pin"},
            {with_ca, "proxy.example.com", NULL, leaf_pins, false, TP_DENIED, "pin"},
            {good, "proxy.example.com", NULL, right, false, TP_DENIED, "pin"}, /* the CA was not sent */
            {other_and_ca, "proxy.example.com", NULL, (const char *const[]){ca_pin, NULL}, false, TP_DENIED, "pin"},
            {good, "proxy.example.com", NULL, broken, false, TP_INVALID, "sha256"},
        };
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct server server = {.mode = ECHO, .chain = cases[i].chain};
            struct tls_client_options options;
            struct tls_client *client = NULL;
            struct tp_error error = {0};
            enum tp_err code;
            start(&server);
            options = options_for(&server);
            options.verify_name = cases[i].verify_name;
            options.ca_pem = cases[i].cas;
            options.ca_pins = cases[i].pins;
            options.insecure = cases[i].insecure;
            code = tls_client_connect(&options, &client, &error);
            if (code != cases[i].code || (cases[i].text && !strstr(error.text, cases[i].text)))
                fail_msg("case %zu: %s \"%s\"", i, err_name(code), error.text);
            tls_client_close(client);
            stop(&server);
        }
    }
    mem_free(pin_of_leaf);
    mem_free(good);
    mem_free(with_ca);
    mem_free(expired);
    mem_free(early);
    mem_free(other);
    mem_free(other_and_ca);
}

static struct tls_client *connect_to(struct server *server, char **ret_chain)
{
    int64_t now = clock_wall();
    struct tls_client_options options;
    struct tls_client *client = NULL;
    struct tp_error error = {0};
    *ret_chain = make_leaf(ca, ca_pem, now - 60, now + 3600);
    server->chain = *ret_chain;
    start(server);
    options = options_for(server);
    if (tls_client_connect(&options, &client, &error) != TP_OK)
        fail_msg("%s", error.text);
    return client;
}

static void test_read_write_and_chain(void **state)
{
    struct server server = {.mode = ECHO};
    char *chain, *sent;
    struct tls_client *client = connect_to(&server, &chain);
    struct tp_error error = {0};
    char data[8];
    size_t size = 0;
    (void)state;
    assert_int_equal(tls_client_write(client, "hello", 5, &error), TP_OK);
    assert_int_equal(tls_client_read(client, data, 2, &size, &error), TP_OK);
    assert_int_equal(size, 2);
    assert_int_equal(tls_client_pending(client), 3);
    assert_int_equal(tls_client_read(client, data, 8, &size, &error), TP_OK);
    assert_memory_equal(data, "llo", 3);
    assert_true(tls_client_fd(client) >= 0);
    sent = tls_client_peer_chain(client);
    assert_string_equal(sent, chain);
    tls_client_set_timeout(client, 50);
    assert_int_equal(tls_client_read(client, data, 8, &size, &error), TP_TIMEOUT);
    mem_free(sent);
    tls_client_close(client);
    stop(&server);
    mem_free(chain);
}

static void test_an_end_that_nobody_announced(void **state)
{
    struct server server = {.mode = ABRUPT};
    char *chain;
    struct tls_client *client = connect_to(&server, &chain);
    struct tp_error error = {0};
    char data[8];
    size_t size = 0;
    (void)state;
    assert_int_equal(tls_client_read(client, data, 8, &size, &error), TP_OK);
    assert_int_equal(size, 3);
    assert_int_equal(tls_client_read(client, data, 8, &size, &error), TP_CLOSED);
    tls_client_close(client);
    stop(&server);
    mem_free(chain);
}

static void test_alpn(void **state)
{
    static const struct {
        const char *offered;
        const char *chosen;
        enum tp_err code;
    } cases[] = {{"tport-ssh", "tport-ssh", TP_OK},
                 {"tport-ssh", NULL, TP_PROTOCOL},
                 {"http/1.1", NULL, TP_OK},
                 {NULL, "x", TP_OK}};
    int64_t now = clock_wall();
    char *chain = make_leaf(ca, ca_pem, now - 60, now + 3600);
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct server server = {.mode = ECHO, .chain = chain, .alpn = cases[i].chosen};
        struct tls_client_options options;
        struct tls_client *client = NULL;
        struct tp_error error = {0};
        start(&server);
        options = options_for(&server);
        options.alpn = cases[i].offered;
        assert_int_equal(tls_client_connect(&options, &client, &error), cases[i].code);
        if (client)
            assert_string_equal(tls_client_alpn(client), cases[i].offered && cases[i].chosen ? cases[i].chosen : "");
        tls_client_close(client);
        stop(&server);
    }
    mem_free(chain);
}

static void test_client_certificate(void **state)
{
    int64_t now = clock_wall();
    char *chain = make_leaf(ca, ca_pem, now - 60, now + 3600);
    struct key *stranger = key_generate(KEY_P256);
    char *stranger_pem = key_to_pem(stranger);
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct server server = {.mode = ECHO, .chain = chain, .wants_client = true};
        struct tls_client_options options;
        struct tls_client *client = NULL;
        struct tp_error error = {0};
        char byte = 0;
        size_t size = 0;
        enum tp_err code;
        start(&server);
        options = options_for(&server);
        options.cert_pem = i == 1 ? NULL : chain;
        options.key_pem = i == 2 ? stranger_pem : leaf_key_pem;
        code = tls_client_connect(&options, &client, &error);
        if (i == 2) {
            assert_int_equal(code, TP_INVALID);
        } else {
            assert_int_equal(code, TP_OK); /* TLS 1.3: the server's refusal comes with the first read */
            assert_int_equal(tls_client_write(client, "x", 1, &error), TP_OK);
            code = tls_client_read(client, &byte, 1, &size, &error);
            assert_int_equal(code, i == 0 ? TP_OK : TP_DENIED);
        }
        tls_client_close(client);
        stop(&server);
    }
    secret_free(stranger_pem);
    key_free(stranger);
    mem_free(chain);
}

static void count_wait(void *owner)
{
    (*(int *)owner)++;
}

/* tport login stood for 30 seconds before a proxy that took its connection and then said nothing. */
static void test_silence_is_told_once_and_then_ends(void **state)
{
    struct server server = {.mode = SILENT};
    struct tls_client_options options;
    struct tls_client *client = NULL;
    struct tp_error error = {0};
    int told = 0;
    int64_t before = clock_mono_ms();
    (void)state;
    start(&server);
    options = options_for(&server);
    options.timeout_ms = 2100;
    options.on_wait = count_wait;
    options.on_wait_owner = &told;
    assert_int_equal(tls_client_connect(&options, &client, &error), TP_TIMEOUT);
    assert_in_range(clock_mono_ms() - before, 2000, 6000);
    assert_int_equal(told, 1);
    assert_non_null(strstr(error.text, " has taken the connection, but has not answered within 2 seconds"));
    stop(&server);
}

static void test_nobody_there(void **state)
{
    struct server server = {.mode = SILENT};
    struct tls_client_options options;
    struct tls_client *client = NULL;
    struct tp_error error = {0};
    int64_t before = clock_mono_ms();
    (void)state;
    start(&server);
    options = options_for(&server);
    options.timeout_ms = 200;
    assert_int_equal(tls_client_connect(&options, &client, &error), TP_TIMEOUT);
    assert_true(clock_mono_ms() - before < 3000);
    stop(&server);
    assert_int_equal(tls_client_connect(&options, &client, &error), TP_UNAVAILABLE); /* refused now */
    options.host = "no-such-host.invalid";
    assert_int_equal(tls_client_connect(&options, &client, &error), TP_UNAVAILABLE);
    server = (struct server){.mode = PLAIN};
    start(&server);
    options = options_for(&server);
    assert_int_equal(tls_client_connect(&options, &client, &error), TP_PROTOCOL);
    assert_non_null(strstr(error.text, "does not speak TLS"));
    stop(&server);
}

struct feeder {
    int fd;
    bool is_socket;
};

static void *feed(void *ctx)
{
    struct feeder *feeder = ctx;
    uint8_t *data = mem_alloc(65536);
    for (size_t sent = 0; sent < BULK; sent += 65536) {
        for (size_t part = 0; part < 65536;) {
            ssize_t count = write(feeder->fd, data + part, 65536 - part);
            if (count <= 0)
                return NULL;
            part += (size_t)count;
        }
    }
    if (feeder->is_socket)
        (void)shutdown(feeder->fd, SHUT_WR);
    else
        (void)close(feeder->fd);
    mem_free(data);
    return NULL;
}

struct drainer {
    int fd;
    int late; /* it waits until so many bytes are in the pipe */
    size_t total;
    uint8_t last[8];
};

static void *drain(void *ctx)
{
    struct drainer *drainer = ctx;
    uint8_t *data = mem_alloc(65536);
    ssize_t count;
    for (int waiting = 0; waiting < drainer->late;) {
        (void)usleep(1000);
        if (ioctl(drainer->fd, FIONREAD, &waiting) != 0)
            break;
    }
    while ((count = read(drainer->fd, data, 65536)) > 0) {
        drainer->total += (size_t)count;
        if (count >= 8)
            memcpy(drainer->last, data + count - 8, 8);
    }
    mem_free(data);
    return NULL;
}

/* The client's end comes first; the answer must still arrive: half-close. room (0: as it is): of the client's socket. */
static void half_close(int room)
{
    struct server server = {.mode = SINK};
    char *chain;
    struct tls_client *client = connect_to(&server, &chain);
    struct tp_error error = {0};
    int pair[2];
    struct feeder feeder;
    struct drainer drainer = {0};
    pthread_t feeding, draining;
    uint64_t answer;
    if (room)
        assert_int_equal(setsockopt(tls_client_fd(client), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    feeder = (struct feeder){pair[1], true};
    drainer.fd = pair[1];
    assert_int_equal(pthread_create(&feeding, NULL, feed, &feeder), 0);
    assert_int_equal(pthread_create(&draining, NULL, drain, &drainer), 0);
    if (tls_client_relay(client, pair[0], pair[0], &error) != TP_OK)
        fail_msg("%s", error.text);
    (void)pthread_join(feeding, NULL);
    (void)pthread_join(draining, NULL);
    assert_int_equal(drainer.total, 8);
    memcpy(&answer, drainer.last, 8);
    assert_int_equal(answer, BULK);
    (void)close(pair[0]);
    (void)close(pair[1]);
    tls_client_close(client);
    stop(&server);
    mem_free(chain);
}

static void test_relay_half_close_over_a_socket(void **state)
{
    (void)state;
    half_close(0);
}

/* With no room for the close_notify at the end of the input the server waited for more for ever. */
static void test_relay_half_close_into_a_full_socket(void **state)
{
    (void)state;
    half_close(1);
}

static void test_relay_both_ways_over_pipes(void **state)
{
    struct server server = {.mode = ECHO};
    char *chain;
    struct tls_client *client = connect_to(&server, &chain);
    struct tp_error error = {0};
    int in[2], out[2];
    struct feeder feeder;
    struct drainer drainer = {0};
    pthread_t feeding, draining;
    (void)state;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    feeder = (struct feeder){in[1], false};
    drainer.fd = out[0];
    assert_int_equal(pthread_create(&feeding, NULL, feed, &feeder), 0);
    assert_int_equal(pthread_create(&draining, NULL, drain, &drainer), 0);
    if (tls_client_relay(client, in[0], out[1], &error) != TP_OK)
        fail_msg("%s", error.text);
    (void)close(out[1]);
    (void)pthread_join(feeding, NULL);
    (void)pthread_join(draining, NULL);
    assert_int_equal(drainer.total, BULK);
    (void)close(in[0]);
    (void)close(out[0]);
    tls_client_close(client);
    stop(&server);
    mem_free(chain);
}

/* The pipe that was full holds more from then on; the one in which nothing came is as it was. */
static void test_relay_ends_with_the_server(void **state)
{
    struct server server = {.mode = SOURCE};
    char *chain;
    struct tls_client *client = connect_to(&server, &chain);
    struct tp_error error = {0};
    int in[2], out[2];
    struct drainer drainer = {0};
    pthread_t draining;
    (void)state;
    assert_int_equal(pipe(in), 0); /* nothing ever comes, and its other end stays open */
    assert_int_equal(pipe(out), 0);
    int usual = fcntl(out[0], F_GETPIPE_SZ);
    drainer.fd = out[0];
    drainer.late = usual;
    assert_int_equal(pthread_create(&draining, NULL, drain, &drainer), 0);
    assert_int_equal(tls_client_relay(client, in[0], out[1], &error), TP_OK);
    (void)close(out[1]);
    (void)pthread_join(draining, NULL);
    assert_int_equal(drainer.total, BULK);
    assert_int_equal(drainer.last[7], (uint8_t)(BULK / 16384 - 1));
    assert_true(fcntl(out[0], F_GETPIPE_SZ) > usual);
    assert_int_equal(fcntl(in[0], F_GETPIPE_SZ), usual);
    (void)close(in[0]);
    (void)close(in[1]);
    (void)close(out[0]);
    tls_client_close(client);
    stop(&server);
    mem_free(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R6_who_is_trusted),
        cmocka_unit_test(test_read_write_and_chain),
        cmocka_unit_test(test_an_end_that_nobody_announced),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_silence_is_told_once_and_then_ends),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_relay_half_close_over_a_socket),
        cmocka_unit_test(test_relay_half_close_into_a_full_socket),
        cmocka_unit_test(test_relay_both_ways_over_pipes),
        cmocka_unit_test(test_relay_ends_with_the_server),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
