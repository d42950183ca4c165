/* What the load tools share: time, addresses, connections, times of many, a TLS client (BoringSSL, for tport and for
 * its rivals: OpenSSL 3.0 takes twice the processor for a handshake). All of it ends the program with a sentence when it cannot do its work: a tool that goes on would measure something else. */
#ifndef BENCH_TOOLS_LOAD_H
#define BENCH_TOOLS_LOAD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Which tool it is, for messages; to be called first. Also raises the limit of descriptors as far as it goes and ignores
 * SIGPIPE. */
void load_begin(const char *program);
/* "PROGRAM: what: errno's text", exit code 1. */
_Noreturn void load_die(const char *what);
/* Monotonic. */
int64_t load_now_us(void);

struct load_target {
    struct sockaddr_storage address;
    socklen_t size; /* 0: not set */
};
/* HOST:PORT; changes text. Ends the program when there is no such host. */
struct load_target load_target(char *text);
/* A socket that is being connected (not blocking) or is connected (blocking); -1 with errno when that failed. To a loopback
 * target each comes from one of the addresses 127.1.0.1 to 127.1.239.250 in turn: limits per source are the server's
 * business and not what is measured, and the ports of one address would be used up. Callable from several threads. */
int load_connect(const struct load_target *target, bool blocking);

/* TLS 1.3, X25519, AES-128-GCM; the server's certificate is not checked. alpn, cert and key may be NULL. */
SSL_CTX *load_tls(const char *alpn, const char *cert, const char *key);

/* The times of many, for percentiles. Not for several threads at once. */
struct load_times {
    int64_t *us;
    size_t count, room;
};
void load_times_add(struct load_times *times, int64_t us);
/* Sorts; 0 when there is none. */
int64_t load_times_at(struct load_times *times, unsigned percent);

#endif
