/* requests: HTTPS requests on kept connections, as wrk makes them, by a client that shows a certificate (which wrk cannot) and takes answers
 * in any framing. Each connection asks again as soon as it has the whole answer. */
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

#define CONNECTIONS_MAX 1024
#define DATA ((size_t)64 * 1024)

struct conn {
    int fd;
    SSL *ssl;
    bool connected, asked;
    int64_t asked_us;
    /* The answer under way. */
    char line[4096]; /* a line of the head, or of a chunk's size */
    size_t line_size;
    enum { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER } at;
    size_t left; /* of the body or the chunk */
    bool chunked;
    int status;
};

struct run {
    struct load_target target;
    const char *server_name, *alpn, *cert, *key, *path;
    unsigned count;
    double seconds;
    SSL_CTX *ctx;
    int epoll;
    char request[1024];
    int request_size;
    struct conn conns[CONNECTIONS_MAX];
    uint64_t done, bytes, failed;
    int64_t first_us, stop_us; /* only what is answered between them counts */
    struct load_times times;
    char why[256];
};

static void failed(struct run *run, struct conn *conn, const char *why)
{
    run->failed++;
    if (!run->why[0])
        (void)snprintf(run->why, sizeof(run->why), "%s, status %d", why, conn->status);
    SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(conn->ssl);
    (void)close(conn->fd);
    conn->ssl = NULL;
    conn->fd = -1;
}

/* ---- answers ---- */

/* A line without its end. False when it is not what may stand there. */
static bool take_line(struct conn *conn)
{
    char *line = conn->line;
    if (conn->line_size > 0 && line[conn->line_size - 1] == '\r')
        conn->line_size--;
    line[conn->line_size] = '\0';
    switch (conn->at) {
    case HEAD:
        if (!conn->status) {
            conn->status = strncmp(line, "HTTP/1.1 ", 9) == 0 ? (int)strtol(line + 9, NULL, 10) : -1;
            return conn->status == 200;
        }
        if (strncasecmp(line, "content-length:", 15) == 0)
            conn->left = strtoul(line + 15, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            conn->chunked = true;
        if (conn->line_size == 0)
            conn->at = conn->chunked ? CHUNK_SIZE : BODY;
        return true;
    case CHUNK_SIZE:
        conn->left = strtoul(line, NULL, 16);
        conn->at = conn->left > 0 ? CHUNK : TRAILER;
        return true;
    case CHUNK_END:
        conn->at = CHUNK_SIZE;
        return conn->line_size == 0;
    case TRAILER:
        if (conn->line_size == 0) {
            conn->at = BODY;
            conn->left = 0;
        }
        return true;
    default:
        return false;
    }
}

/* 1 the answer is complete, 0 there is more, -1 it is not one. */
static int take(struct conn *conn, const char *data, size_t size)
{
    size_t i = 0;
    while (i < size) {
        if (conn->at == BODY || conn->at == CHUNK) {
            size_t now = size - i < conn->left ? size - i : conn->left;
            i += now;
            conn->left -= now;
            if (conn->left > 0)
                return 0;
            if (conn->at == BODY)
                return i == size ? 1 : -1;
            conn->at = CHUNK_END;
            continue;
        }
        const char *end = memchr(data + i, '\n', size - i);
        size_t length = end ? (size_t)(end - data) - i : size - i;
        if (conn->line_size + length >= sizeof(conn->line))
            return -1;
        memcpy(conn->line + conn->line_size, data + i, length);
        conn->line_size += length;
        i += length;
        if (!end)
            return 0;
        i++;
        if (!take_line(conn))
            return -1;
        conn->line_size = 0;
        if (conn->at == BODY && conn->left == 0)
            return i == size ? 1 : -1;
    }
    return 0;
}

/* ---- connections ---- */

static bool again(const struct conn *conn, int result)
{
    int why = SSL_get_error(conn->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static void complete(struct run *run, struct conn *conn)
{
    int64_t now = load_now_us();
    if (run->first_us && now >= run->first_us && now < run->stop_us) {
        run->done++;
        load_times_add(&run->times, now - conn->asked_us);
    }
    conn->asked = false;
}

static void step(struct run *run, struct conn *conn)
{
    static char data[DATA];
    ERR_clear_error();
    if (!conn->connected) {
        int result = SSL_do_handshake(conn->ssl);
        if (result != 1) {
            if (!again(conn, result))
                failed(run, conn, "handshake");
            return;
        }
        conn->connected = true;
    }
    for (;;) {
        int got;
        if (!conn->asked) {
            int put = SSL_write(conn->ssl, run->request, run->request_size);
            if (put != run->request_size) {
                if (put > 0 || !again(conn, put))
                    failed(run, conn, "request");
                return;
            }
            conn->asked = true;
            conn->asked_us = load_now_us();
            conn->at = HEAD;
            conn->status = 0;
            conn->left = 0;
            conn->chunked = false;
            conn->line_size = 0;
        }
        got = SSL_read(conn->ssl, data, (int)DATA);
        if (got <= 0) {
            if (!again(conn, got))
                failed(run, conn, "the connection ended");
            return;
        }
        run->bytes += (uint64_t)got;
        got = take(conn, data, (size_t)got);
        if (got < 0) {
            failed(run, conn, "the answer");
            return;
        }
        if (got > 0)
            complete(run, conn);
    }
}

static void turn(struct run *run)
{
    struct epoll_event events[256];
    int count = epoll_wait(run->epoll, events, 256, 10);
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn->ssl)
            step(run, conn);
    }
}

static bool all_asked(const struct run *run)
{
    for (unsigned i = 0; i < run->count; i++) {
        if (run->conns[i].ssl && !run->conns[i].connected)
            return false;
    }
    return true;
}

static void drive(struct run *run)
{
    int64_t begin = load_now_us();
    for (unsigned i = 0; i < run->count; i++) {
        struct conn *conn = &run->conns[i];
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
        conn->fd = load_connect(&run->target, false);
        if (conn->fd < 0)
            load_die("connect");
        conn->ssl = SSL_new(run->ctx);
        (void)SSL_set_fd(conn->ssl, conn->fd);
        if (run->server_name)
            (void)SSL_set_tlsext_host_name(conn->ssl, run->server_name);
        SSL_set_connect_state(conn->ssl);
        if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
            load_die("epoll_ctl");
    }
    while (!all_asked(run) && load_now_us() < begin + 30 * INT64_C(1000000))
        turn(run);
    run->first_us = load_now_us();
    run->stop_us = run->first_us + (int64_t)(run->seconds * 1e6);
    run->bytes = 0;
    while (load_now_us() < run->stop_us && run->failed < run->count)
        turn(run);
}

static const char help[] =
    "usage: requests --target=HOST:PORT [options]\n"
    "Asks for one thing again and again over kept TLS connections and prints a line of JSON: answers (only 200 "
    "counts), per second,\n"
    "how long one took. It loads the server as hard as it can for --seconds: use it against servers of your own only.\n"
    "  --target=HOST:PORT   the server\n"
    "  --server-name=NAME   the name to ask for (SNI), --alpn=NAME the protocol\n"
    "  --cert=FILE --key=FILE  our certificate (PEM)\n"
    "  --path=PATH          what to ask for (default /)\n"
    "  --connections=N      at the same time (default 32, at most 1024)\n"
    "  --seconds=S          how long (default 3, at most 600)\n";

static bool parse(int argc, char **argv, struct run *run)
{
    enum { TARGET = 1, SERVER_NAME, ALPN, CERT, KEY, PATH, CONNECTIONS, SECONDS, HELP };
    static const struct option table[] = {{"target", required_argument, NULL, TARGET},
                                          {"server-name", required_argument, NULL, SERVER_NAME},
                                          {"alpn", required_argument, NULL, ALPN},
                                          {"cert", required_argument, NULL, CERT},
                                          {"key", required_argument, NULL, KEY},
                                          {"path", required_argument, NULL, PATH},
                                          {"connections", required_argument, NULL, CONNECTIONS},
                                          {"seconds", required_argument, NULL, SECONDS},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    const char **words[] = {[SERVER_NAME] = &run->server_name,
                            [ALPN] = &run->alpn,
                            [CERT] = &run->cert,
                            [KEY] = &run->key,
                            [PATH] = &run->path};
    run->count = 32;
    run->seconds = 3;
    run->path = "/";
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case TARGET:
            run->target = load_target(optarg);
            break;
        case CONNECTIONS:
            run->count = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case SECONDS:
            run->seconds = strtod(optarg, NULL);
            break;
        case HELP:
            (void)fputs(help, stdout);
            exit(0);
        case '?':
            return false;
        default:
            *words[c] = optarg;
        }
    }
    return run->target.size > 0 && optind == argc && run->count >= 1 && run->count <= CONNECTIONS_MAX &&
           run->seconds > 0 && run->seconds <= 600 && !run->cert == !run->key;
}

int main(int argc, char **argv)
{
    static struct run run;
    load_begin("requests");
    if (!parse(argc, argv, &run)) {
        (void)fputs(help, stderr);
        return 2;
    }
    run.ctx = load_tls(run.alpn, run.cert, run.key);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.request_size = snprintf(run.request, sizeof(run.request),
                                "GET %s HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n", run.path);
    if (run.epoll < 0 || run.request_size < 0 || (size_t)run.request_size >= sizeof(run.request))
        load_die("start");
    drive(&run);
    (void)printf("{\"done\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, \"mb_per_second\": %.1f, "
                 "\"p50_us\": %lld, "
                 "\"p99_us\": %lld, \"why\": \"%s\"}\n",
                 (unsigned long long)run.done, (unsigned long long)run.failed, run.seconds,
                 (double)run.done / run.seconds, (double)run.bytes / run.seconds / 1e6,
                 (long long)load_times_at(&run.times, 50), (long long)load_times_at(&run.times, 99), run.why);
    return run.done > 0 ? 0 : 1;
}
