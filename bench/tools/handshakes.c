/* handshakes: TLS 1.3 handshakes against any server, as many as it takes.
 *
 * One handshake is: connect, TLS, close_notify and FIN, and the server's own end (so it has done all of its part). With
 * --resume each connection starts with one HTTP request, because some servers send their ticket only with the first
 * answer, and resumes with that ticket from then on. With --request each connection asks for something after its handshake
 * and must get all of the answer; with --upgrade it asks for another protocol and leaves when it has got it. Written for
 * bench/run and bench/kube, which read the one line of JSON that it prints. */
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

struct options {
    struct load_target target;
    const char *server_name;
    const char *alpn;
    const char *path;     /* --request */
    const char *protocol; /* --upgrade */
    const char *headers[8];
    unsigned header_count;
    const char *cert, *key;
    unsigned connections;
    double seconds;
    double rate; /* new connections per second at most; 0: as many as it takes */
    bool resume;
};

struct connection {
    int fd; /* -1: waits for its turn */
    SSL *ssl;
    SSL_SESSION *session;
    bool priming; /* the request that fetches the ticket */
    bool connected;
    bool ended; /* we have sent our end */
    int64_t began_us;
    const char *step; /* how far it got, for a failure */
    /* --request */
    char head[2048];
    size_t head_size, body, length; /* length SIZE_MAX: the head is not complete */
};

struct run {
    struct options options;
    SSL_CTX *ctx;
    int epoll;
    struct connection connections[CONNECTIONS_MAX];
    uint64_t done, resumed, failed;
    double seconds;  /* that it really took */
    int64_t next_us; /* --rate: when the next connection may start */
    char why[128];   /* of the first failure */
    char request[2048];
    size_t request_size;
    struct load_times times;
};

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct connection *connection = SSL_get_app_data(ssl);
    SSL_SESSION_free(connection->session);
    connection->session = session;
    return 1;
}

static void failed(struct run *run, const char *step, int error)
{
    run->failed++;
    if (!run->why[0])
        (void)snprintf(run->why, sizeof(run->why), "%s%s%s", step, error ? ": " : "", error ? strerror(error) : "");
}

/* False when there was nobody. */
static bool begin(struct run *run, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    connection->fd = load_connect(&run->options.target, false);
    if (connection->fd < 0) {
        failed(run, "connect", errno);
        return false;
    }
    connection->ssl = SSL_new(run->ctx);
    connection->priming = run->options.resume && !connection->session;
    connection->connected = connection->ended = false;
    connection->began_us = load_now_us();
    connection->step = "connect";
    connection->head_size = connection->body = 0;
    connection->length = SIZE_MAX;
    (void)SSL_set_app_data(connection->ssl, connection);
    (void)SSL_set_fd(connection->ssl, connection->fd);
    if (run->options.server_name)
        (void)SSL_set_tlsext_host_name(connection->ssl, run->options.server_name);
    if (run->options.resume && connection->session)
        (void)SSL_set_session(connection->ssl, connection->session);
    SSL_set_connect_state(connection->ssl);
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        load_die("epoll_ctl");
    return true;
}

static void end(struct run *run, struct connection *connection, bool good)
{
    int error = 0;
    socklen_t size = sizeof(error);
    (void)getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (connection->priming) {
        if (!good || !connection->session)
            failed(run, "the answer with the ticket", error);
    } else if (good) {
        run->done++;
        run->resumed += SSL_session_reused(connection->ssl) ? 1 : 0;
        load_times_add(&run->times, load_now_us() - connection->began_us);
    } else {
        failed(run, connection->step, error);
    }
    /* A session whose connection ended without close_notify would not be used again. */
    SSL_set_shutdown(connection->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(connection->ssl);
    (void)close(connection->fd);
    connection->fd = -1;
    ERR_clear_error();
}

static bool wants_more(const struct connection *connection, int result)
{
    int why = SSL_get_error(connection->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* The head's status and Content-Length: false when it is no 200, or with --upgrade no 101 (which has nothing behind it). */
static bool read_head(struct connection *connection, bool upgrade)
{
    const char *end = memmem(connection->head, connection->head_size, "\r\n\r\n", 4);
    const char *length;
    if (!end)
        return connection->head_size < sizeof(connection->head) - 1;
    connection->head[connection->head_size] = '\0';
    if (upgrade) {
        connection->length = 0;
        return strncmp(connection->head, "HTTP/1.1 101", 12) == 0;
    }
    length = strcasestr(connection->head, "\r\ncontent-length:");
    if (strncmp(connection->head, "HTTP/1.1 200", 12) != 0 || !length)
        return false;
    connection->length = strtoul(length + 17, NULL, 10);
    connection->body = connection->head_size - (size_t)(end + 4 - connection->head);
    return true;
}

/* --request: 1 the whole answer is here, 0 wants more, -1 it broke off or is something else. */
static int read_answer(struct connection *connection, bool upgrade)
{
    char data[16384];
    for (;;) {
        int got = SSL_read(connection->ssl, data, sizeof(data));
        size_t room = sizeof(connection->head) - 1 - connection->head_size;
        if (got <= 0)
            return wants_more(connection, got) ? 0 : -1;
        if (connection->length != SIZE_MAX) {
            connection->body += (size_t)got;
        } else {
            size_t take = (size_t)got < room ? (size_t)got : room;
            memcpy(connection->head + connection->head_size, data, take);
            connection->head_size += take;
            if (!read_head(connection, upgrade))
                return -1;
            connection->body += connection->length != SIZE_MAX ? (size_t)got - take : 0;
        }
        if (connection->length != SIZE_MAX && connection->body >= connection->length)
            return 1;
    }
}

/* 1: done, 0: wants more, -1: failed. */
static int step(const struct run *run, struct connection *connection)
{
    char data[16384];
    int result;
    ERR_clear_error();
    if (!connection->connected) {
        connection->step = "handshake";
        result = SSL_do_handshake(connection->ssl);
        if (result != 1)
            return wants_more(connection, result) ? 0 : -1;
        connection->connected = true;
        if (connection->priming || run->options.path)
            (void)SSL_write(connection->ssl, run->request, (int)run->request_size);
    }
    if (run->options.path && !connection->ended) {
        connection->step = "answer";
        result = read_answer(connection, run->options.protocol != NULL);
        if (result <= 0 || run->options.protocol)
            return result;
    }
    if (!connection->priming && !connection->ended) {
        connection->ended = true;
        connection->step = "end";
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

/* Starts those that wait, as far as --rate allows. */
static void start_waiting(struct run *run)
{
    int64_t now = load_now_us();
    for (unsigned i = 0; i < run->options.connections && (run->options.rate == 0 || run->next_us <= now); i++) {
        if (run->connections[i].fd >= 0)
            continue;
        run->next_us += run->options.rate > 0 ? (int64_t)(1e6 / run->options.rate) : 0;
        if (!begin(run, &run->connections[i]) && run->options.rate == 0)
            return; /* nobody there: not in a circle */
    }
    /* What could not be started in time is not caught up with in a burst. */
    if (run->next_us < now - 100000)
        run->next_us = now;
}

static void drive(struct run *run)
{
    int64_t start = load_now_us();
    int64_t stop = start + (int64_t)(run->options.seconds * 1e6);
    for (unsigned i = 0; i < run->options.connections; i++)
        run->connections[i].fd = -1;
    run->next_us = start;
    while (load_now_us() < stop) {
        struct epoll_event events[256];
        int count;
        start_waiting(run);
        count = epoll_wait(run->epoll, events, 256, run->options.rate > 0 ? 1 : 100);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            int result = connection->fd >= 0 ? step(run, connection) : 0;
            if (result != 0)
                end(run, connection, result > 0);
        }
        if (run->failed > 1000 && run->done == 0) {
            (void)fprintf(stderr, "handshakes: nothing but failures (%s)\n", run->why);
            exit(1);
        }
    }
    run->seconds = (double)(load_now_us() - start) / 1e6;
}

/* The request that each connection makes, or that fetches the ticket. */
static void write_request(struct run *run)
{
    const struct options *options = &run->options;
    FILE *out = fmemopen(run->request, sizeof(run->request), "w");
    if (!out)
        load_die("memory");
    (void)fprintf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", options->protocol ? "POST" : "GET",
                  options->path ? options->path : "/web/style.css",
                  options->server_name ? options->server_name : "bench");
    for (unsigned i = 0; i < options->header_count; i++)
        (void)fprintf(out, "%s\r\n", options->headers[i]);
    if (options->protocol)
        (void)fprintf(out, "Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", options->protocol);
    else
        (void)fputs("Accept-Encoding: gzip\r\nConnection: close\r\n\r\n", out);
    if (fflush(out) != 0 || ftell(out) >= (long)sizeof(run->request) - 1)
        load_die("the request");
    run->request_size = (size_t)ftell(out);
    (void)fclose(out);
}

static void prepare(struct run *run)
{
    write_request(run);
    run->ctx = load_tls(run->options.alpn, run->options.cert, run->options.key);
    (void)SSL_CTX_set_session_cache_mode(run->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(run->ctx, on_ticket);
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll < 0)
        load_die("epoll");
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
    "  --rate=N             new connections per second at most (default: as many as it takes)\n"
    "  --request=PATH       each connection asks for this and must get 200 and the whole answer\n"
    "  --upgrade=PROTOCOL   ask with POST for this protocol (with --request), and leave at the answer's 101\n"
    "  --header='NAME: VALUE'  one more in the request (up to 8)\n"
    "  --cert=FILE --key=FILE  the client's certificate\n"
    "  --resume             resume with the ticket of the handshake before\n";

static bool parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"target", required_argument, NULL, 't'},  {"server-name", required_argument, NULL, 'n'},
        {"alpn", required_argument, NULL, 'a'},    {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'}, {"resume", no_argument, NULL, 'r'},
        {"rate", required_argument, NULL, 'R'},    {"request", required_argument, NULL, 'q'},
        {"upgrade", required_argument, NULL, 'u'}, {"header", required_argument, NULL, 'H'},
        {"cert", required_argument, NULL, 'C'},    {"key", required_argument, NULL, 'K'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    options->connections = 32;
    options->seconds = 3;
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 't':
            options->target = load_target(optarg);
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
        case 'R':
            options->rate = strtod(optarg, NULL);
            break;
        case 'q':
            options->path = optarg;
            break;
        case 'u':
            options->protocol = optarg;
            break;
        case 'H':
            if (options->header_count == sizeof(options->headers) / sizeof(options->headers[0]))
                return false;
            options->headers[options->header_count++] = optarg;
            break;
        case 'C':
            options->cert = optarg;
            break;
        case 'K':
            options->key = optarg;
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
    return options->target.size > 0 && optind == argc && options->connections >= 1 &&
           options->connections <= CONNECTIONS_MAX && options->seconds > 0 && options->seconds <= 600 &&
           options->rate >= 0 && options->rate <= 1e6 && !(options->resume && options->path) &&
           (!options->protocol || options->path) && !options->cert == !options->key;
}

int main(int argc, char **argv)
{
    static struct run run;
    load_begin("handshakes");
    if (!parse(argc, argv, &run.options)) {
        (void)fputs(help, stderr);
        return 2;
    }
    prepare(&run);
    drive(&run);
    (void)printf("{\"done\": %llu, \"resumed\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, "
                 "\"p50_us\": %lld, \"p99_us\": %lld, \"why\": \"%s\"}\n",
                 (unsigned long long)run.done, (unsigned long long)run.resumed, (unsigned long long)run.failed,
                 run.seconds, (double)run.done / run.seconds, (long long)load_times_at(&run.times, 50),
                 (long long)load_times_at(&run.times, 99), run.why);
    return run.done > 0 ? 0 : 1;
}
