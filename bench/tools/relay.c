/* relay: bytes through a TLS relay. As a client it opens streams through it and counts; with --serve it is the TLS server
 * behind a rival (behind tport it is `agents`). The first byte of a connection says what its server does: S sink, E echo,
 * G send as fast as it can. OpenSSL on both ends. */
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

#define STREAMS_MAX 4096
#define CHUNK ((size_t)64 * 1024)

struct conn {
    int fd;
    SSL *ssl;
    bool server, connected, told;
    char mode;
    uint64_t in, out;
    /* echo: what has been read and not written back */
    uint8_t *held;
    size_t held_size, held_at;
};

struct run {
    SSL_CTX *ctx;
    int epoll;
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *server_name, *alpn, *cert, *key;
    char mode;
    unsigned streams, connected, ended;
    double seconds;
    bool serve, hold;
    uint64_t in, out;
    uint8_t chunk[CHUNK];
};

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "relay: %s: %s\n", what, errno ? strerror(errno) : "TLS");
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void watch(struct run *run, struct conn *conn, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = conn};
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void conn_end(struct run *run, struct conn *conn)
{
    SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(conn->ssl);
    (void)close(conn->fd);
    ERR_clear_error();
    run->ended++;
    free(conn->held);
    free(conn);
}

static struct conn *conn_new(struct run *run, int fd, bool server)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        die("memory");
    conn->fd = fd;
    conn->server = server;
    conn->mode = server ? '\0' : run->mode;
    conn->ssl = SSL_new(run->ctx);
    (void)SSL_set_fd(conn->ssl, fd);
    if (server) {
        SSL_set_accept_state(conn->ssl);
    } else {
        SSL_set_connect_state(conn->ssl);
        if (run->server_name)
            (void)SSL_set_tlsext_host_name(conn->ssl, run->server_name);
    }
    watch(run, conn, fd);
    return conn;
}

static bool again(const struct conn *conn, int result)
{
    int why = SSL_get_error(conn->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* Writes until the socket is full: false at the end of the connection. share bounds one turn. */
static bool pour(struct run *run, struct conn *conn)
{
    for (int i = 0; i < 16; i++) {
        int put = SSL_write(conn->ssl, run->chunk, (int)CHUNK);
        if (put <= 0)
            return again(conn, put);
        conn->out += (uint64_t)put;
        run->out += (uint64_t)put;
    }
    /* Edge-triggered: ask to be woken again. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = conn};
    (void)epoll_ctl(run->epoll, EPOLL_CTL_MOD, conn->fd, &event);
    return true;
}

static bool give_back(struct run *run, struct conn *conn)
{
    while (conn->held_at < conn->held_size) {
        int put = SSL_write(conn->ssl, conn->held + conn->held_at, (int)(conn->held_size - conn->held_at));
        if (put <= 0)
            return again(conn, put);
        conn->held_at += (size_t)put;
        run->out += (uint64_t)put;
    }
    conn->held_at = conn->held_size = 0;
    return true;
}

static bool drink(struct run *run, struct conn *conn)
{
    static uint8_t data[CHUNK];
    for (;;) {
        if (conn->mode == 'E' && conn->server) {
            if (!give_back(run, conn))
                return false;
            if (conn->held_size > 0)
                return true;
        }
        int got = SSL_read(conn->ssl, data, (int)sizeof(data));
        size_t skip = 0;
        if (got <= 0)
            return again(conn, got);
        if (!conn->mode) {
            conn->mode = (char)data[0];
            skip = 1;
            if (conn->mode == 'G')
                return pour(run, conn);
        }
        conn->in += (uint64_t)got - skip;
        run->in += (uint64_t)got - skip;
        if (conn->mode == 'E' && conn->server) {
            if (!conn->held)
                conn->held = malloc(CHUNK);
            conn->held_size = (size_t)got - skip;
            memcpy(conn->held, data + skip, conn->held_size);
        }
    }
}

static bool step(struct run *run, struct conn *conn)
{
    ERR_clear_error();
    errno = 0;
    if (!conn->connected) {
        int result = SSL_do_handshake(conn->ssl);
        if (result != 1)
            return again(conn, result);
        conn->connected = true;
        run->connected++;
    }
    if (!conn->server && !conn->told) {
        int put = SSL_write(conn->ssl, &run->mode, 1);
        if (put <= 0)
            return again(conn, put);
        conn->told = true;
    }
    if (run->hold)
        return true;
    bool writes = conn->server ? conn->mode == 'G' : conn->mode == 'S';
    if (writes && !pour(run, conn))
        return false;
    return drink(run, conn);
}

static void open_stream(struct run *run)
{
    int fd = socket(run->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    (void)conn_new(run, fd, false);
    if (connect(fd, (const struct sockaddr *)&run->address, run->address_size) != 0 && errno != EINPROGRESS)
        die("connect");
}

static int listen_on(const struct run *run)
{
    int one = 1;
    int fd = socket(run->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&run->address, run->address_size) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

static void turn(struct run *run, int listener, int timeout_ms)
{
    struct epoll_event events[256];
    int count = epoll_wait(run->epoll, events, 256, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn) {
            if (!step(run, conn))
                conn_end(run, conn);
            continue;
        }
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
            (void)conn_new(run, fd, true);
    }
}

static void serve(struct run *run)
{
    int listener = listen_on(run);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll_ctl");
    for (;;)
        turn(run, listener, 1000);
}

static uint64_t moved(const struct run *run)
{
    return run->in + run->out;
}

/* All streams are open before the clock starts; the first tenth of a second of flow does not count. "total" is all that
 * passed, from the first byte on. */
static void drive(struct run *run)
{
    double begin = now_s();
    for (unsigned i = 0; i < run->streams; i++) {
        open_stream(run);
        while (run->connected + 32 < i)
            turn(run, -1, 100);
    }
    while (run->connected + run->ended < run->streams && now_s() < begin + 60)
        turn(run, -1, 100);
    double opened = now_s();
    (void)printf("{\"open\": %u, \"seconds\": %.3f}\n", run->connected, opened - begin);
    (void)fflush(stdout);
    while (!run->hold && (now_s() < opened + 0.1 || (moved(run) == 0 && now_s() < opened + 20)))
        turn(run, -1, 10);
    double start = now_s();
    uint64_t before = moved(run);
    while (now_s() < start + run->seconds)
        turn(run, -1, 10);
    double seconds = now_s() - start;
    (void)printf("{\"streams\": %u, \"ended\": %u, \"bytes\": %llu, \"total\": %llu, \"seconds\": %.3f, "
                 "\"mb_per_second\": %.1f}\n",
                 run->connected, run->ended, (unsigned long long)(moved(run) - before), (unsigned long long)moved(run),
                 seconds, (double)(moved(run) - before) / seconds / 1e6);
}

static void make_context(struct run *run)
{
    uint8_t wire[256];
    run->ctx = SSL_CTX_new(run->serve ? TLS_server_method() : TLS_client_method());
    (void)SSL_CTX_set_min_proto_version(run->ctx, TLS1_3_VERSION);
    (void)SSL_CTX_set_ciphersuites(run->ctx, "TLS_AES_128_GCM_SHA256");
    (void)SSL_CTX_set1_groups_list(run->ctx, "X25519");
    (void)SSL_CTX_set_mode(run->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(run->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(run->ctx, CHUNK);
    SSL_CTX_set_verify(run->ctx, SSL_VERIFY_NONE, NULL);
    if (run->cert && (SSL_CTX_use_certificate_chain_file(run->ctx, run->cert) != 1 ||
                      SSL_CTX_use_PrivateKey_file(run->ctx, run->key, SSL_FILETYPE_PEM) != 1))
        die("certificate");
    if (run->alpn && strlen(run->alpn) < sizeof(wire)) {
        wire[0] = (uint8_t)strlen(run->alpn);
        memcpy(wire + 1, run->alpn, wire[0]);
        (void)SSL_CTX_set_alpn_protos(run->ctx, wire, (unsigned)wire[0] + 1);
    }
}

static bool find(struct run *run, char *target)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char *colon = strrchr(target, ':');
    if (!colon)
        return false;
    *colon = '\0';
    if (getaddrinfo(target, colon + 1, &hints, &found) != 0)
        return false;
    memcpy(&run->address, found->ai_addr, found->ai_addrlen);
    run->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static const char help[] =
    "usage: relay --target=HOST:PORT [options]     or: relay --serve --target=ADDRESS:PORT --cert=FILE --key=FILE\n"
    "Opens TLS streams to a server (or through a relay to one) and counts the bytes that pass; prints a line of JSON "
    "when all\n"
    "are open and one at the end. It loads both ends as hard as it can for --seconds: use it against your own only.\n"
    "  --target=HOST:PORT  where to connect to; with --serve, where to listen\n"
    "  --serve             be the server: the first byte of a connection says S sink, E echo, G send at full speed\n"
    "  --server-name=NAME  the name to ask for (SNI), --alpn=NAME the protocol\n"
    "  --cert=FILE --key=FILE  our certificate (PEM)\n"
    "  --mode=S|G          upload or download (default S)\n"
    "  --streams=N         at the same time (default 1, at most 4096)\n"
    "  --hold              only keep them open\n"
    "  --seconds=S         how long (default 3, at most 600)\n";

static bool parse(int argc, char **argv, struct run *run)
{
    static const struct option table[] = {
        {"target", required_argument, NULL, 't'},  {"server-name", required_argument, NULL, 'n'},
        {"alpn", required_argument, NULL, 'a'},    {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},     {"mode", required_argument, NULL, 'm'},
        {"streams", required_argument, NULL, 'N'}, {"seconds", required_argument, NULL, 's'},
        {"serve", no_argument, NULL, 'S'},         {"hold", no_argument, NULL, 'H'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    run->streams = 1;
    run->seconds = 3;
    run->mode = 'S';
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 't':
            if (!find(run, optarg))
                return false;
            break;
        case 'n':
            run->server_name = optarg;
            break;
        case 'a':
            run->alpn = optarg;
            break;
        case 'c':
            run->cert = optarg;
            break;
        case 'k':
            run->key = optarg;
            break;
        case 'm':
            run->mode = optarg[0];
            break;
        case 'N':
            run->streams = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            run->seconds = strtod(optarg, NULL);
            break;
        case 'S':
            run->serve = true;
            break;
        case 'H':
            run->hold = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(0);
        default:
            return false;
        }
    }
    return run->address_size > 0 && optind == argc && strchr("SG", run->mode) && run->mode && run->streams >= 1 &&
           run->streams <= STREAMS_MAX && run->seconds > 0 && run->seconds <= 600 && !run->cert == !run->key;
}

int main(int argc, char **argv)
{
    static struct run run;
    (void)signal(SIGPIPE, SIG_IGN);
    if (!parse(argc, argv, &run)) {
        (void)fputs(help, stderr);
        return 2;
    }
    make_context(&run);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.serve)
        serve(&run);
    drive(&run);
    return run.connected > 0 ? 0 : 1;
}
