/* handshakes: TLS 1.3 handshakes against any server, as many as it takes.
 *
 * One handshake is: connect, TLS, close_notify and FIN, and the server's own end (so it has done all of its part). With
 * --resume each connection starts with one HTTP request, because some servers send their ticket only with the first
 * answer, and resumes with that ticket from then on. Uses OpenSSL, not the server's own BoringSSL: a client that its
 * rivals meet as well. Written for bench/run, which reads the one line of JSON that it prints. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define SOURCES 64 /* addresses 127.0.0.1 to .64, so that closed connections do not use up the ports of one */

struct options {
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *server_name;
    unsigned connections;
    double seconds;
    bool resume;
    const char *alpn;
};

struct connection {
    int fd;
    SSL *ssl;
    SSL_SESSION *session;
    bool priming; /* the request that fetches the ticket */
    bool connected;
    bool ended; /* we have sent our end */
    int64_t began_us;
};

struct run {
    struct options options;
    SSL_CTX *ctx;
    int epoll;
    struct connection connections[CONNECTIONS_MAX];
    uint64_t done, resumed, failed;
    double seconds; /* that it really took */
    unsigned next_source;
    int64_t *times_us;
    size_t times, times_room;
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "handshakes: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct connection *connection = SSL_get_app_data(ssl);
    SSL_SESSION_free(connection->session);
    connection->session = session;
    return 1;
}

static void bind_source(struct run *run, int fd)
{
    const struct sockaddr_in *target = (const struct sockaddr_in *)&run->options.address;
    struct sockaddr_in source = {.sin_family = AF_INET};
    int one = 1;
    if (target->sin_family != AF_INET || (ntohl(target->sin_addr.s_addr) >> 24) != 127)
        return;
    source.sin_addr.s_addr = htonl(0x7f000001U + run->next_source++ % SOURCES);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&source, sizeof(source)) != 0)
        die("bind");
}

static void begin(struct run *run, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    int one = 1;
    connection->fd = socket(run->options.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket");
    bind_source(run, connection->fd);
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(connection->fd, (const struct sockaddr *)&run->options.address, run->options.address_size) != 0 &&
        errno != EINPROGRESS)
        die("connect");
    connection->ssl = SSL_new(run->ctx);
    connection->priming = run->options.resume && !connection->session;
    connection->connected = connection->ended = false;
    connection->began_us = now_us();
    (void)SSL_set_app_data(connection->ssl, connection);
    (void)SSL_set_fd(connection->ssl, connection->fd);
    if (run->options.server_name)
        (void)SSL_set_tlsext_host_name(connection->ssl, run->options.server_name);
    if (run->options.resume && connection->session) {
        /* A copy: OpenSSL uses a TLS 1.3 session once only. */
        SSL_SESSION *copy = SSL_SESSION_dup(connection->session);
        (void)SSL_set_session(connection->ssl, copy);
        SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(connection->ssl);
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        die("epoll_ctl");
}

static void end(struct run *run, struct connection *connection, bool good)
{
    if (connection->priming) {
        run->failed += good && connection->session ? 0 : 1;
    } else if (good) {
        run->done++;
        run->resumed += SSL_session_reused(connection->ssl) ? 1 : 0;
        if (run->times < run->times_room)
            run->times_us[run->times++] = now_us() - connection->began_us;
    } else {
        run->failed++;
    }
    /* A session whose connection ended without close_notify would not be used again. */
    SSL_set_shutdown(connection->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(connection->ssl);
    (void)close(connection->fd);
    ERR_clear_error();
}

static bool wants_more(const struct connection *connection, int result)
{
    int why = SSL_get_error(connection->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* 1: done, 0: wants more, -1: failed. */
static int step(struct connection *connection)
{
    static const char request[] = "GET /web/style.css HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    char data[16384];
    int result;
    ERR_clear_error();
    if (!connection->connected) {
        result = SSL_do_handshake(connection->ssl);
        if (result != 1)
            return wants_more(connection, result) ? 0 : -1;
        connection->connected = true;
        if (connection->priming)
            (void)SSL_write(connection->ssl, request, sizeof(request) - 1);
    }
    if (!connection->priming && !connection->ended) {
        connection->ended = true;
        (void)SSL_shutdown(connection->ssl);
        (void)shutdown(connection->fd, SHUT_WR);
    }
    if (connection->ended) {
        /* Whatever the server still sends; what counts is its end. */
        ssize_t got = 0;
        do {
            got = recv(connection->fd, data, sizeof(data), 0);
        } while (got > 0);
        return got == 0 || errno == ECONNRESET ? 1 : errno == EAGAIN ? 0 : -1;
    }
    do {
        result = SSL_read(connection->ssl, data, sizeof(data));
    } while (result > 0);
    return wants_more(connection, result) ? 0 : 1;
}

static void drive(struct run *run)
{
    int64_t start = now_us();
    int64_t stop = start + (int64_t)(run->options.seconds * 1e6);
    for (unsigned i = 0; i < run->options.connections; i++)
        begin(run, &run->connections[i]);
    while (now_us() < stop) {
        struct epoll_event events[256];
        int count = epoll_wait(run->epoll, events, 256, 100);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            int result = step(connection);
            if (result == 0)
                continue;
            end(run, connection, result > 0);
            if (run->failed > 1000 && run->done == 0) {
                (void)fprintf(stderr, "handshakes: nothing but failures\n");
                exit(1);
            }
            begin(run, connection);
        }
    }
    run->seconds = (double)(now_us() - start) / 1e6;
}

static SSL_CTX *make_context(const struct options *options)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    uint8_t wire[256];
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    if (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 || SSL_CTX_set1_groups_list(ctx, "X25519") != 1)
        die("TLS settings");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    if (options->alpn) {
        size_t length = strlen(options->alpn);
        wire[0] = (uint8_t)length;
        memcpy(wire + 1, options->alpn, length);
        (void)SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)length + 1);
    }
    return ctx;
}

static void find_target(struct options *options, char *target)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char *colon = strrchr(target, ':');
    if (!colon) {
        (void)fprintf(stderr, "handshakes: --target wants HOST:PORT\n");
        exit(2);
    }
    *colon = '\0';
    if (getaddrinfo(target, colon + 1, &hints, &found) != 0) {
        (void)fprintf(stderr, "handshakes: %s is not known\n", target);
        exit(1);
    }
    memcpy(&options->address, found->ai_addr, found->ai_addrlen);
    options->address_size = found->ai_addrlen;
    freeaddrinfo(found);
}

static const char help[] =
    "usage: handshakes --target=HOST:PORT [options]\n"
    "Makes TLS 1.3 handshakes (X25519, AES-128-GCM) with a server and prints one line of JSON: how many, per second, "
    "how\n"
    "long one took. It loads the server as hard as it can for --seconds: use it against servers of your own only.\n"
    "  --target=HOST:PORT   the server\n"
    "  --server-name=NAME   the name to ask for (SNI)\n"
    "  --alpn=NAME          the protocol to ask for (default: none)\n"
    "  --connections=N      at the same time (default 32, at most 1024)\n"
    "  --seconds=S          how long (default 3, at most 600)\n"
    "  --resume             resume with the ticket of the handshake before\n";

static bool parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"target", required_argument, NULL, 't'},  {"server-name", required_argument, NULL, 'n'},
        {"alpn", required_argument, NULL, 'a'},    {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'}, {"resume", no_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    options->connections = 32;
    options->seconds = 3;
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 't':
            find_target(options, optarg);
            break;
        case 'n':
            options->server_name = optarg;
            break;
        case 'a':
            options->alpn = optarg;
            break;
        case 'c':
            options->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'r':
            options->resume = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(0);
        default:
            return false;
        }
    }
    return options->address_size > 0 && optind == argc && options->connections >= 1 &&
           options->connections <= CONNECTIONS_MAX && options->seconds > 0 && options->seconds <= 600 &&
           (!options->alpn || strlen(options->alpn) < 256);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static struct run run;
    (void)signal(SIGPIPE, SIG_IGN);
    if (!parse(argc, argv, &run.options)) {
        (void)fputs(help, stderr);
        return 2;
    }
    run.ctx = make_context(&run.options);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.times_room = 1000000;
    run.times_us = calloc(run.times_room, sizeof(*run.times_us));
    if (run.epoll < 0 || !run.times_us)
        die("start");
    drive(&run);
    qsort(run.times_us, run.times, sizeof(*run.times_us), by_size);
    (void)printf("{\"done\": %llu, \"resumed\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, "
                 "\"p50_us\": %lld, \"p99_us\": %lld}\n",
                 (unsigned long long)run.done, (unsigned long long)run.resumed, (unsigned long long)run.failed,
                 run.seconds, (double)run.done / run.seconds, run.times ? (long long)run.times_us[run.times / 2] : 0,
                 run.times ? (long long)run.times_us[run.times * 99 / 100] : 0);
    return run.done > 0 ? 0 : 1;
}
