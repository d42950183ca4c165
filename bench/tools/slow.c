/* slow: thousands of clients that take their time, one kind of security's list at a time. All are opened, then each does its
 * little at every --pace until the server has had enough or --seconds are over; one that the server ended is not opened
 * again. When the server ends one, and how many it ends, is the figure. */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 20000
#define OPENING_MAX 64 /* at the same time: they shall be slow, not in each other's way */
#define PIPELINED 64   /* requests of a slow reader */

enum kind { HELLO, TLS, HEAD, BODY, READ };
static const char *const kinds[] = {"hello", "tls", "head", "body", "read", NULL};

struct conn {
    int fd;    /* -1: ended */
    SSL *ssl;  /* kinds that get through the handshake */
    bool slow; /* as far as it goes at full speed */
    int64_t began_us;
    size_t sent;
};

struct run {
    struct load_target target;
    const char *server_name, *alpn, *path;
    enum kind kind;
    unsigned count;
    double seconds;
    int64_t pace_us;
    SSL_CTX *ctx;
    int epoll;
    struct conn *conns;
    unsigned opening, slow, refused, ended;
    struct load_times ages; /* of those that the server ended */
    uint8_t hello[2048];
    size_t hello_size;
    char request[512];
    size_t request_size;
};

/* ---- one connection ---- */

/* The server has closed it. */
static void conn_end(struct run *run, struct conn *conn)
{
    if (conn->slow) {
        run->ended++;
        run->slow--;
        load_times_add(&run->ages, load_now_us() - conn->began_us);
    } else {
        run->refused++;
        run->opening--;
    }
    if (conn->ssl) {
        SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(conn->ssl);
        conn->ssl = NULL;
    }
    (void)close(conn->fd);
    conn->fd = -1;
}

static void watch(struct run *run, struct conn *conn, uint32_t events, int how)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(run->epoll, how, conn->fd, &event) != 0)
        load_die("epoll_ctl");
}

static void conn_open(struct run *run, struct conn *conn)
{
    bool tls = run->kind >= HEAD;
    conn->fd = load_connect(&run->target, false);
    conn->began_us = load_now_us();
    if (conn->fd < 0)
        load_die("connect");
    run->opening++;
    if (run->kind == READ) {
        int small = 4096;
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    if (tls) {
        conn->ssl = SSL_new(run->ctx);
        (void)SSL_set_fd(conn->ssl, conn->fd);
        if (run->server_name)
            (void)SSL_set_tlsext_host_name(conn->ssl, run->server_name);
        SSL_set_connect_state(conn->ssl);
    }
    watch(run, conn, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, EPOLL_CTL_ADD);
}

/* From here on it is slow. A slow reader is not told of what it does not read. */
static void conn_slow(struct run *run, struct conn *conn)
{
    conn->slow = true;
    run->opening--;
    run->slow++;
    watch(run, conn, run->kind == READ ? EPOLLRDHUP | EPOLLET : EPOLLIN | EPOLLRDHUP | EPOLLET, EPOLL_CTL_MOD);
}

static bool again(const struct conn *conn, int result)
{
    int why = SSL_get_error(conn->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* What goes at full speed: false when the connection has ended. */
static bool conn_start(struct run *run, struct conn *conn)
{
    int result;
    int error = 0;
    socklen_t size = sizeof(error);
    uint8_t answer;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
        return false;
    ERR_clear_error();
    if (run->kind == HELLO || run->kind == TLS) {
        size_t now = run->kind == HELLO ? 1 : run->hello_size;
        if (conn->sent == 0 && send(conn->fd, run->hello, now, MSG_NOSIGNAL) != (ssize_t)now)
            return errno == EAGAIN || errno == ENOTCONN;
        conn->sent = now;
        /* Its age shall not be the time that the ones before it kept the server busy: the next ones wait for the answer. */
        if (run->kind == TLS && recv(conn->fd, &answer, 1, MSG_PEEK) != 1)
            return errno == EAGAIN;
        conn_slow(run, conn);
        return true;
    }
    result = SSL_do_handshake(conn->ssl);
    if (result != 1)
        return again(conn, result);
    result = SSL_write(conn->ssl, run->request, (int)run->request_size);
    if (result <= 0)
        return again(conn, result);
    if (run->kind == READ) {
        for (int i = 1; i < PIPELINED && SSL_write(conn->ssl, run->request, (int)run->request_size) > 0; i++)
            ;
    }
    conn_slow(run, conn);
    return true;
}

/* Drops what the server said (a slow reader must not): false at its end. */
static bool conn_listen(struct run *run, struct conn *conn)
{
    uint8_t data[4096];
    ssize_t got;
    int error = 0;
    socklen_t size = sizeof(error);
    if (run->kind == READ)
        return getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    do {
        got = recv(conn->fd, data, sizeof(data), 0);
    } while (got > 0);
    return got < 0 && errno == EAGAIN;
}

/* The little that it does at every pace: false at the end of the connection. */
static bool conn_crawl(struct run *run, struct conn *conn)
{
    uint8_t byte;
    ssize_t got;
    ERR_clear_error();
    switch (run->kind) {
    case HELLO:
        if (conn->sent + 1 < run->hello_size && send(conn->fd, run->hello + conn->sent, 1, MSG_NOSIGNAL) != 1)
            return errno == EAGAIN;
        conn->sent++;
        return true;
    case TLS:
        return true; /* it says nothing more */
    case HEAD:
    case BODY:
        return SSL_write(conn->ssl, "x", 1) == 1;
    case READ:
        /* Of the ciphertext: nobody here wants to know what it says. */
        got = recv(conn->fd, &byte, 1, 0);
        return got == 1 || (got < 0 && errno == EAGAIN);
    }
    return false;
}

/* ---- all of them ---- */

static void turn(struct run *run, int timeout_ms)
{
    struct epoll_event events[256];
    int count = epoll_wait(run->epoll, events, 256, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        bool dead = events[i].events & (EPOLLERR | EPOLLHUP);
        if (conn->fd < 0)
            continue;
        if (dead || (conn->slow ? !conn_listen(run, conn) : !conn_start(run, conn)))
            conn_end(run, conn);
    }
}

static void drive(struct run *run)
{
    int64_t began = load_now_us();
    int64_t stop, next;
    unsigned at = 0;
    for (unsigned i = 0; i < run->count; i++) {
        conn_open(run, &run->conns[i]);
        while (run->opening >= OPENING_MAX && load_now_us() < began + 120 * INT64_C(1000000))
            turn(run, 10);
    }
    while (run->opening > 0 && load_now_us() < began + 120 * INT64_C(1000000))
        turn(run, 10);
    (void)printf("{\"slow\": %u, \"refused\": %u, \"ended\": %u, \"seconds\": %.3f}\n", run->slow, run->refused,
                 run->ended, (double)(load_now_us() - began) / 1e6);
    (void)fflush(stdout);
    stop = load_now_us() + (int64_t)(run->seconds * 1e6);
    next = load_now_us();
    /* One after the other through the whole pace, so that no burst is measured. */
    while (run->slow > 0 && load_now_us() < stop) {
        int64_t now = load_now_us();
        while (next <= now) {
            struct conn *conn = &run->conns[at];
            if (conn->fd >= 0 && conn->slow && !conn_crawl(run, conn))
                conn_end(run, conn);
            at = (at + 1) % run->count;
            next += run->pace_us / run->count > 0 ? run->pace_us / run->count : 1;
        }
        turn(run, 1);
    }
}

/* The ClientHello of an ordinary client. */
static void make_hello(struct run *run)
{
    SSL *ssl = SSL_new(run->ctx);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
    if (run->server_name)
        (void)SSL_set_tlsext_host_name(ssl, run->server_name);
    SSL_set_connect_state(ssl);
    (void)SSL_do_handshake(ssl);
    run->hello_size = (size_t)BIO_read(out, run->hello, sizeof(run->hello));
    SSL_free(ssl);
}

static void make_request(struct run *run)
{
    int size = 0;
    if (run->kind == HEAD)
        size = snprintf(run->request, sizeof(run->request), "GET %s HTTP/1.1\r\nHost: bench\r\nX-Slow: ", run->path);
    else if (run->kind == BODY)
        size = snprintf(
            run->request, sizeof(run->request),
            "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{",
            run->path);
    else
        size = snprintf(run->request, sizeof(run->request),
                        "GET %s HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n", run->path);
    run->request_size = (size_t)size < sizeof(run->request) ? (size_t)size : 0;
}

static const char help[] =
    "usage: slow --target=HOST:PORT --kind=KIND [options]\n"
    "Opens clients that take their time and prints a line of JSON when all are open, and one at "
    "the end: how many the server has\n"
    "ended, and how old they were. It takes up the server's connections for --seconds: use it "
    "against servers of your own only.\n"
    "  --target=HOST:PORT   the server\n"
    "  --kind=hello         one byte of the ClientHello at every pace\n"
    "  --kind=tls           the whole ClientHello, and after the answer no more of the handshake\n"
    "  --kind=head          TLS, then one byte of a request's head at every pace\n"
    "  --kind=body          TLS, then one byte of a request's body at every pace\n"
    "  --kind=read          TLS, 64 requests in a row, then one byte read at every pace\n"
    "  --server-name=NAME   the name to ask for (SNI), --alpn=NAME the protocol\n"
    "  --path=PATH          what to ask for (default /)\n"
    "  --connections=N      at the same time (default 1000, at most 20000)\n"
    "  --pace-ms=N          (default 1000)\n"
    "  --seconds=S          how long after all are open, or until all are ended (default 12, at most 600)\n";

static bool parse(int argc, char **argv, struct run *run)
{
    enum { TARGET = 1, KIND, SERVER_NAME, ALPN, PATH, CONNECTIONS, PACE, SECONDS, HELP };
    static const struct option table[] = {{"target", required_argument, NULL, TARGET},
                                          {"kind", required_argument, NULL, KIND},
                                          {"server-name", required_argument, NULL, SERVER_NAME},
                                          {"alpn", required_argument, NULL, ALPN},
                                          {"path", required_argument, NULL, PATH},
                                          {"connections", required_argument, NULL, CONNECTIONS},
                                          {"pace-ms", required_argument, NULL, PACE},
                                          {"seconds", required_argument, NULL, SECONDS},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    bool known = false;
    run->count = 1000;
    run->seconds = 12;
    run->pace_us = 1000000;
    run->path = "/";
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case TARGET:
            run->target = load_target(optarg);
            break;
        case KIND:
            for (unsigned i = 0; kinds[i]; i++) {
                if (strcmp(kinds[i], optarg) == 0) {
                    run->kind = (enum kind)i;
                    known = true;
                }
            }
            break;
        case SERVER_NAME:
            run->server_name = optarg;
            break;
        case ALPN:
            run->alpn = optarg;
            break;
        case PATH:
            run->path = optarg;
            break;
        case CONNECTIONS:
            run->count = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case PACE:
            run->pace_us = strtol(optarg, NULL, 10) * 1000;
            break;
        case SECONDS:
            run->seconds = strtod(optarg, NULL);
            break;
        case HELP:
            (void)fputs(help, stdout);
            exit(0);
        default:
            return false;
        }
    }
    return run->target.size > 0 && known && optind == argc && run->count >= 1 && run->count <= CONNECTIONS_MAX &&
           run->pace_us > 0 && run->seconds > 0 && run->seconds <= 600;
}

int main(int argc, char **argv)
{
    static struct run run;
    load_begin("slow");
    if (!parse(argc, argv, &run)) {
        (void)fputs(help, stderr);
        return 2;
    }
    run.ctx = load_tls(run.alpn, NULL, NULL);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.conns = calloc(run.count, sizeof(*run.conns));
    if (run.epoll < 0 || !run.conns)
        load_die("start");
    make_hello(&run);
    make_request(&run);
    drive(&run);
    (void)printf("{\"slow\": %u, \"refused\": %u, \"ended\": %u, \"ended_p50_s\": %.2f, \"ended_last_s\": %.2f}\n",
                 run.slow, run.refused, run.ended, (double)load_times_at(&run.ages, 50) / 1e6,
                 (double)load_times_at(&run.ages, 100) / 1e6);
    return 0;
}
