#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SOURCES 60000

static const char *name;

void load_begin(const char *program)
{
    struct rlimit files;
    name = program;
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

_Noreturn void load_die(const char *what)
{
    (void)fprintf(stderr, "%s: %s: %s\n", name, what, errno ? strerror(errno) : "TLS");
    ERR_print_errors_fp(stderr);
    exit(1);
}

int64_t load_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct load_target load_target(char *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct load_target target = {.size = 0};
    char *colon = strrchr(text, ':');
    if (!colon) {
        (void)fprintf(stderr, "%s: --target wants HOST:PORT\n", name);
        exit(2);
    }
    *colon = '\0';
    if (getaddrinfo(text, colon + 1, &hints, &found) != 0) {
        (void)fprintf(stderr, "%s: %s is not known\n", name, text);
        exit(1);
    }
    memcpy(&target.address, found->ai_addr, found->ai_addrlen);
    target.size = found->ai_addrlen;
    freeaddrinfo(found);
    return target;
}

static void bind_source(const struct load_target *target, int fd)
{
    static atomic_uint next;
    const struct sockaddr_in *address = (const struct sockaddr_in *)&target->address;
    struct sockaddr_in source = {.sin_family = AF_INET};
    int one = 1;
    unsigned number;
    if (address->sin_family != AF_INET || (ntohl(address->sin_addr.s_addr) >> 24) != 127)
        return;
    /* Each run starts somewhere else. */
    number = (atomic_fetch_add(&next, 1) + (unsigned)getpid() * 977) % SOURCES;
    source.sin_addr.s_addr = htonl(0x7f010001U + (number / 250) * 256 + number % 250);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&source, sizeof(source)) != 0)
        load_die("bind");
}

int load_connect(const struct load_target *target, bool blocking)
{
    int one = 1;
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0)
        load_die("socket");
    bind_source(target, fd);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&target->address, target->size) != 0 && errno != EINPROGRESS) {
        int why = errno;
        (void)close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

SSL_CTX *load_tls(const char *alpn, const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    uint8_t wire[256];
    errno = 0;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    /* BoringSSL asks for AES-128-GCM first where the processor has AES. */
    if (SSL_CTX_set1_groups_list(ctx, "X25519") != 1)
        load_die("TLS settings");
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                    SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (cert && (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
                 SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1))
        load_die("the client's certificate");
    if (alpn) {
        size_t length = strlen(alpn);
        if (length >= sizeof(wire))
            load_die("--alpn");
        wire[0] = (uint8_t)length;
        memcpy(wire + 1, alpn, length);
        (void)SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)length + 1);
    }
    return ctx;
}

void load_times_add(struct load_times *times, int64_t us)
{
    if (times->count == times->room) {
        times->room = times->room ? times->room * 2 : 1024;
        times->us = realloc(times->us, times->room * sizeof(*times->us));
        if (!times->us)
            load_die("memory");
    }
    times->us[times->count++] = us;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int64_t load_times_at(struct load_times *times, unsigned percent)
{
    size_t at = times->count * percent / 100;
    if (times->count == 0)
        return 0;
    qsort(times->us, times->count, sizeof(*times->us), by_size);
    return times->us[at < times->count ? at : times->count - 1];
}
