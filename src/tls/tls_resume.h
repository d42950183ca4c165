/* Sessions of a client with one kind of server, for tls_stream.c: the next connection takes one up again, which costs both
 * sides neither certificates nor signatures. Each is for the name under which the server proved itself. */
#ifndef TLS_TLS_RESUME_H
#define TLS_TLS_RESUME_H

#include <openssl/ssl.h>
#include <stdint.h>

#define TLS_RESUME_MAX 16                      /* kept, the newest ones */
#define TLS_RESUME_MS ((int64_t)5 * 60 * 1000) /* then the server has to show its certificate again */

struct tls_resume_entry {
    SSL_SESSION *session;
    char *name;
    int64_t proved_ms;
};

/* Zeros are an empty one. */
struct tls_resume {
    struct tls_resume_entry entries[TLS_RESUME_MAX]; /* oldest first */
    size_t count;
};

/* Steals session. proved_ms: when the server showed its certificate, in clock_mono_ms. */
void tls_resume_keep(struct tls_resume *resume, SSL_SESSION *session, const char *name, int64_t proved_ms);
/* One that may be used for name now, or NULL; the caller frees it. A ticket of TLS 1.3 is given out once. */
SSL_SESSION *tls_resume_take(struct tls_resume *resume, const char *name, int64_t *ret_proved_ms);
void tls_resume_clear(struct tls_resume *resume);

#endif
