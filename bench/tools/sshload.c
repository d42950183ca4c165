/* sshload: SSH sessions, many at once, without the cost of a client program for each. One session is: connect (plain to an
 * sshd, or TLS with ALPN tport-ssh to a proxy, where the server name says which node), key exchange, a user certificate or
 * key, one command, its exit status, the end. libssh in one thread per session; what is inside TLS goes through a socket pair
 * and one thread more, because libssh wants a descriptor. The server's host key is not checked. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libssh/libssh.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_ONCE_MAX 4000
#define STACK ((size_t)256 * 1024)
#define CHUNK 16384
#define PATIENCE_S 120L /* for one step of a session */

struct options {
    struct load_target target;
    const char *server_name, *alpn, *tls_cert, *tls_key;
    const char *identity, *ssh_cert, *login, *command, *cipher;
    unsigned at_once;
    double seconds;
    bool once, hold;
};

/* TLS outside, plain inside; owned by the pump once it is in there. */
struct pair {
    SSL *ssl;
    int tls_fd, plain_fd;
    uint8_t up[CHUNK], down[CHUNK];
    int up_size, up_at, down_size, down_at;
    bool tls_ended, plain_ended, listed;
    struct pair *next; /* to be freed after this batch of events */
};

struct run {
    struct options options;
    SSL_CTX *tls;
    int pump;
    int64_t stop_us;
    pthread_mutex_t lock;
    pthread_cond_t all_in;
    struct load_times times;
    unsigned done, failed, open, kept;
    bool leave;
    char why[256]; /* of the first failure */
};

/* ---- the pump ---- */

static bool tls_ended(const struct pair *pair, int result)
{
    int why = SSL_get_error(pair->ssl, result);
    return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
}

static bool pump_down(struct pair *pair)
{
    ssize_t put;
    if (pair->down_at == pair->down_size && !pair->tls_ended) {
        int got = SSL_read(pair->ssl, pair->down, CHUNK);
        if (got <= 0) {
            if (tls_ended(pair, got)) {
                pair->tls_ended = true;
                (void)shutdown(pair->plain_fd, SHUT_WR);
            }
            return false;
        }
        pair->down_at = 0;
        pair->down_size = got;
    }
    if (pair->down_at == pair->down_size)
        return false;
    put = send(pair->plain_fd, pair->down + pair->down_at, (size_t)(pair->down_size - pair->down_at), MSG_NOSIGNAL);
    if (put < 0)
        return false;
    pair->down_at += (int)put;
    return true;
}

static bool pump_up(struct pair *pair)
{
    int put;
    if (pair->up_at == pair->up_size && !pair->plain_ended) {
        ssize_t got = recv(pair->plain_fd, pair->up, CHUNK, 0);
        if (got <= 0) {
            pair->plain_ended = got == 0 || errno != EAGAIN;
            return false;
        }
        pair->up_at = 0;
        pair->up_size = (int)got;
    }
    if (pair->up_at == pair->up_size)
        return false;
    put = SSL_write(pair->ssl, pair->up + pair->up_at, pair->up_size - pair->up_at);
    if (put <= 0) {
        /* A dead outside: what is inside must see its end, and what it still says goes nowhere. */
        if (tls_ended(pair, put))
            pair->tls_ended = pair->plain_ended = true;
        return false;
    }
    pair->up_at += put;
    return true;
}

/* True while the pair lives. */
static bool shuttle(struct pair *pair)
{
    bool moved;
    do {
        ERR_clear_error();
        moved = pump_down(pair);
        ERR_clear_error();
        moved = pump_up(pair) || moved;
    } while (moved);
    return !pair->plain_ended;
}

static void *pump(void *ctx)
{
    const struct run *run = ctx;
    for (;;) {
        struct epoll_event events[256];
        struct pair *dead = NULL;
        int count = epoll_wait(run->pump, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct pair *pair = events[i].data.ptr;
            if (pair->listed || shuttle(pair))
                continue;
            pair->listed = true;
            pair->next = dead;
            dead = pair;
        }
        while (dead) {
            struct pair *pair = dead;
            dead = pair->next;
            ERR_clear_error();
            (void)SSL_shutdown(pair->ssl);
            SSL_free(pair->ssl);
            (void)close(pair->tls_fd);
            (void)close(pair->plain_fd);
            free(pair);
        }
    }
    return NULL;
}

static void pump_add(struct run *run, SSL *ssl, int tls_fd, int plain_fd)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP};
    if (!pair)
        load_die("memory");
    *pair = (struct pair){.ssl = ssl, .tls_fd = tls_fd, .plain_fd = plain_fd};
    event.data.ptr = pair;
    (void)fcntl(tls_fd, F_SETFL, fcntl(tls_fd, F_GETFL) | O_NONBLOCK);
    /* The outside first: its event cannot free the pair, because the inside has not ended. */
    if (epoll_ctl(run->pump, EPOLL_CTL_ADD, tls_fd, &event) != 0 ||
        epoll_ctl(run->pump, EPOLL_CTL_ADD, plain_fd, &event) != 0)
        load_die("epoll_ctl");
}

/* ---- one session ---- */

static void failed(struct run *run, const char *step, const char *why)
{
    (void)pthread_mutex_lock(&run->lock);
    run->failed++;
    if (!run->why[0]) {
        (void)snprintf(run->why, sizeof(run->why), "%s: %s", step, why);
        for (char *c = run->why; *c; c++)
            *c = *c < ' ' || *c == '"' || *c == '\\' ? ' ' : *c;
    }
    (void)pthread_cond_broadcast(&run->all_in);
    (void)pthread_mutex_unlock(&run->lock);
}

static int through_tls(struct run *run, int fd)
{
    int ends[2];
    SSL *ssl = SSL_new(run->tls);
    (void)SSL_set_fd(ssl, fd);
    if (run->options.server_name)
        (void)SSL_set_tlsext_host_name(ssl, run->options.server_name);
    ERR_clear_error();
    if (SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        (void)close(fd);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        load_die("socketpair");
    (void)fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) | O_NONBLOCK);
    pump_add(run, ssl, fd, ends[1]);
    return ends[0];
}

static int session_connect(struct run *run)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = load_connect(&run->options.target, true);
    if (fd < 0) {
        failed(run, "connect", strerror(errno));
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (!run->tls)
        return fd;
    fd = through_tls(run, fd);
    if (fd < 0)
        failed(run, "TLS", "the server refused, or ended the connection");
    return fd;
}

static ssh_key load_key(const struct options *options)
{
    ssh_key key = NULL;
    ssh_key cert = NULL;
    errno = ENOENT;
    if (ssh_pki_import_privkey_file(options->identity, NULL, NULL, NULL, &key) != SSH_OK)
        load_die(options->identity);
    if (options->ssh_cert) {
        if (ssh_pki_import_cert_file(options->ssh_cert, &cert) != SSH_OK ||
            ssh_pki_copy_cert_to_privkey(cert, key) != SSH_OK)
            load_die(options->ssh_cert);
        ssh_key_free(cert);
    }
    return key;
}

static ssh_session session_open(struct run *run, ssh_key key)
{
    const struct options *options = &run->options;
    ssh_session session;
    long patience = PATIENCE_S;
    int port = 22;
    bool no = false;
    int fd = session_connect(run);
    if (fd < 0)
        return NULL;
    session = ssh_new();
    (void)ssh_options_set(session, SSH_OPTIONS_FD, &fd);
    (void)ssh_options_set(session, SSH_OPTIONS_HOST, "target");
    (void)ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    (void)ssh_options_set(session, SSH_OPTIONS_USER, options->login);
    (void)ssh_options_set(session, SSH_OPTIONS_TIMEOUT, &patience);
    (void)ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
    if (options->cipher && (ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, options->cipher) != SSH_OK ||
                            ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, options->cipher) != SSH_OK))
        failed(run, "--cipher", ssh_get_error(session));
    else if (ssh_connect(session) != SSH_OK)
        failed(run, "key exchange", ssh_get_error(session));
    else if (ssh_userauth_publickey(session, NULL, key) != SSH_AUTH_SUCCESS)
        failed(run, "login", ssh_get_error(session));
    else
        return session;
    ssh_disconnect(session);
    ssh_free(session);
    return NULL;
}

/* A line there and back. */
static bool echoes(ssh_channel channel)
{
    char line[8] = "";
    int have = 0;
    if (ssh_channel_write(channel, "still?\n", 7) != 7)
        return false;
    while (have < 7) {
        int got = ssh_channel_read_timeout(channel, line + have, (uint32_t)(7 - have), 0, (int)PATIENCE_S * 1000);
        if (got <= 0)
            return false;
        have += got;
    }
    return memcmp(line, "still?\n", 7) == 0;
}

/* Stays until all are in and their time is over; then it must still be alive. */
static bool stay(struct run *run, ssh_channel channel)
{
    if (!echoes(channel))
        return false;
    (void)pthread_mutex_lock(&run->lock);
    run->open++;
    (void)pthread_cond_broadcast(&run->all_in);
    while (!run->leave)
        (void)pthread_cond_wait(&run->all_in, &run->lock);
    (void)pthread_mutex_unlock(&run->lock);
    if (!echoes(channel) || ssh_channel_send_eof(channel) != SSH_OK)
        return false;
    (void)pthread_mutex_lock(&run->lock);
    run->kept++;
    (void)pthread_mutex_unlock(&run->lock);
    return true;
}

static bool session_run(struct run *run, ssh_session session)
{
    const char *command = run->options.hold ? "cat" : run->options.command;
    ssh_channel channel = ssh_channel_new(session);
    char data[4096];
    int got;
    bool good = false;
    if (ssh_channel_open_session(channel) != SSH_OK || ssh_channel_request_exec(channel, command) != SSH_OK) {
        failed(run, "command", ssh_get_error(session));
    } else if (run->options.hold && !stay(run, channel)) {
        failed(run, "held session", ssh_get_error(session));
    } else {
        do {
            got = ssh_channel_read(channel, data, sizeof(data), 0);
        } while (got > 0);
        good = got == 0 && ssh_channel_get_exit_status(channel) == 0;
        if (!good)
            failed(run, "exit status", "not 0");
    }
    (void)ssh_channel_close(channel);
    ssh_channel_free(channel);
    return good;
}

static void *sessions(void *ctx)
{
    struct run *run = ctx;
    ssh_key key = load_key(&run->options);
    do {
        int64_t began = load_now_us();
        ssh_session session = session_open(run, key);
        bool good = session && session_run(run, session);
        if (session) {
            ssh_disconnect(session);
            ssh_free(session);
        }
        if (!good && run->done == 0 && run->failed > run->options.at_once * 2)
            break; /* nothing but failures */
        if (!good)
            continue;
        (void)pthread_mutex_lock(&run->lock);
        run->done++;
        load_times_add(&run->times, load_now_us() - began);
        (void)pthread_mutex_unlock(&run->lock);
    } while (!run->options.once && load_now_us() < run->stop_us);
    ssh_key_free(key);
    return NULL;
}

/* All have come in or failed; they stay for --seconds. */
static void hold(struct run *run, int64_t began)
{
    double seconds;
    (void)pthread_mutex_lock(&run->lock);
    while (run->open + run->failed < run->options.at_once)
        (void)pthread_cond_wait(&run->all_in, &run->lock);
    seconds = (double)(load_now_us() - began) / 1e6;
    (void)printf("{\"open\": %u, \"failed\": %u, \"seconds\": %.3f, \"why\": \"%s\"}\n", run->open, run->failed,
                 seconds, run->why);
    (void)fflush(stdout);
    (void)pthread_mutex_unlock(&run->lock);
    (void)usleep((useconds_t)(run->options.seconds * 1e6));
    (void)pthread_mutex_lock(&run->lock);
    run->leave = true;
    (void)pthread_cond_broadcast(&run->all_in);
    (void)pthread_mutex_unlock(&run->lock);
}

static const char help[] =
    "usage: sshload --target=HOST:PORT --identity=FILE [options]\n"
    "Opens SSH sessions, runs a command in each, and prints a line of JSON: how many, per second, how long one took. "
    "It loads\n"
    "the server as hard as it can for --seconds and does not check its host key: use it against servers of your own "
    "only.\n"
    "  --target=HOST:PORT   an sshd, or with --server-name a proxy\n"
    "  --identity=FILE      private key (OpenSSH form, no passphrase); --ssh-cert=FILE its certificate\n"
    "  --login=NAME         the user there (default root)\n"
    "  --server-name=NAME   TLS to a proxy that finds the node by this name: <hex of the node's name>.node.<cluster>\n"
    "  --tls-cert=FILE --tls-key=FILE  the user's certificate for TLS (PEM); --alpn=NAME (default tport-ssh)\n"
    "  --cipher=NAME        as in ssh -c\n"
    "  --command=TEXT       what to run (default true)\n"
    "  --at-once=N          sessions at the same time (default 8, at most 4000)\n"
    "  --seconds=S          how long (default 3, at most 600)\n"
    "  --once               --at-once sessions and no more\n"
    "  --hold               --once, and all stay open until all are in and --seconds more; then each must still "
    "answer\n";

static bool parse(int argc, char **argv, struct options *options)
{
    enum {
        TARGET = 1,
        IDENTITY,
        SSH_CERT,
        LOGIN,
        SERVER_NAME,
        TLS_CERT,
        TLS_KEY,
        ALPN,
        CIPHER,
        COMMAND,
        AT_ONCE,
        SECONDS,
        ONCE,
        HOLD,
        HELP
    };
    static const struct option table[] = {{"target", required_argument, NULL, TARGET},
                                          {"identity", required_argument, NULL, IDENTITY},
                                          {"ssh-cert", required_argument, NULL, SSH_CERT},
                                          {"login", required_argument, NULL, LOGIN},
                                          {"server-name", required_argument, NULL, SERVER_NAME},
                                          {"tls-cert", required_argument, NULL, TLS_CERT},
                                          {"tls-key", required_argument, NULL, TLS_KEY},
                                          {"alpn", required_argument, NULL, ALPN},
                                          {"cipher", required_argument, NULL, CIPHER},
                                          {"command", required_argument, NULL, COMMAND},
                                          {"at-once", required_argument, NULL, AT_ONCE},
                                          {"seconds", required_argument, NULL, SECONDS},
                                          {"once", no_argument, NULL, ONCE},
                                          {"hold", no_argument, NULL, HOLD},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    *options = (struct options){.alpn = "tport-ssh", .login = "root", .command = "true", .at_once = 8, .seconds = 3};
    const char **words[] = {[IDENTITY] = &options->identity, [SSH_CERT] = &options->ssh_cert,
                            [LOGIN] = &options->login,       [SERVER_NAME] = &options->server_name,
                            [TLS_CERT] = &options->tls_cert, [TLS_KEY] = &options->tls_key,
                            [ALPN] = &options->alpn,         [CIPHER] = &options->cipher,
                            [COMMAND] = &options->command};
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case TARGET:
            options->target = load_target(optarg);
            break;
        case AT_ONCE:
            options->at_once = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case SECONDS:
            options->seconds = strtod(optarg, NULL);
            break;
        case HOLD:
            options->hold = options->once = true;
            break;
        case ONCE:
            options->once = true;
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
    return options->target.size > 0 && optind == argc && options->identity && options->at_once >= 1 &&
           options->at_once <= AT_ONCE_MAX && options->seconds >= 0 && options->seconds <= 600 &&
           !options->tls_cert == !options->tls_key;
}

int main(int argc, char **argv)
{
    static struct run run = {.lock = PTHREAD_MUTEX_INITIALIZER, .all_in = PTHREAD_COND_INITIALIZER};
    static pthread_t threads[AT_ONCE_MAX];
    pthread_attr_t small;
    pthread_t pump_thread;
    int64_t began;
    double seconds;
    load_begin("sshload");
    if (!parse(argc, argv, &run.options)) {
        (void)fputs(help, stderr);
        return 2;
    }
    (void)ssh_init();
    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, STACK);
    if (run.options.server_name) {
        run.tls = load_tls(run.options.alpn, run.options.tls_cert, run.options.tls_key);
        run.pump = epoll_create1(EPOLL_CLOEXEC);
        if (pthread_create(&pump_thread, &small, pump, &run) != 0)
            load_die("thread");
    }
    began = load_now_us();
    run.stop_us = began + (int64_t)(run.options.seconds * 1e6);
    for (unsigned i = 0; i < run.options.at_once; i++) {
        if (pthread_create(&threads[i], &small, sessions, &run) != 0)
            load_die("thread");
    }
    if (run.options.hold)
        hold(&run, began);
    for (unsigned i = 0; i < run.options.at_once; i++)
        (void)pthread_join(threads[i], NULL);
    seconds = (double)(load_now_us() - began) / 1e6;
    (void)printf("{\"done\": %u, \"failed\": %u, \"kept\": %u, \"seconds\": %.3f, \"per_second\": %.2f, \"p50_us\": "
                 "%lld, \"p99_us\": %lld, \"why\": \"%s\"}\n",
                 run.done, run.failed, run.kept, seconds, run.done / seconds, (long long)load_times_at(&run.times, 50),
                 (long long)load_times_at(&run.times, 99), run.why);
    return run.done > 0 ? 0 : 1;
}
