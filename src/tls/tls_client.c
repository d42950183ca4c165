#include "tls/tls_client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tls/tls_client_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOW_MS 1000 /* a person begins to wonder */
#define POLL_MAX_MS (1000 * 1000)

static int64_t deadline_of(int64_t timeout_ms)
{
    return timeout_ms > 0 ? clock_mono_ms() + timeout_ms : INT64_MAX;
}

static void tell_wait(struct tls_client *client)
{
    void (*on_wait)(void *owner) = client->on_wait;
    client->on_wait = NULL;
    on_wait(client->on_wait_owner);
}

/* Waits for events on fd until the deadline. */
static enum tp_err wait_for(struct tls_client *client, int fd, short events, int64_t deadline)
{
    int64_t slow = clock_mono_ms() + SLOW_MS;
    for (;;) {
        struct pollfd item = {.fd = fd, .events = events};
        int64_t now = clock_mono_ms();
        int64_t until = client->on_wait && slow < deadline ? slow : deadline;
        int64_t left = until == INT64_MAX ? -1 : until > now ? until - now : 0;
        int count = poll(&item, 1, left > POLL_MAX_MS ? POLL_MAX_MS : (int)left);
        if (count > 0)
            return TP_OK;
        if (count < 0 && errno != EINTR)
            return TP_IO;
        now = clock_mono_ms();
        if (now >= deadline)
            return TP_TIMEOUT;
        if (client->on_wait && now >= slow)
            tell_wait(client);
    }
}

/* One address; TP_OK with a connected socket, or errno in *ret_errno. */
static enum tp_err connect_one(struct tls_client *client, const struct addrinfo *address, int64_t deadline,
                               int *ret_errno)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = 0, one = 1;
    socklen_t length = sizeof(failure);
    enum tp_err code = TP_OK;
    if (fd < 0) {
        *ret_errno = errno;
        return TP_IO;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            failure = errno;
        else
            code = wait_for(client, fd, POLLOUT, deadline);
        if (code == TP_OK && failure == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length) != 0)
            failure = errno;
    }
    if (code != TP_OK || failure != 0) {
        (void)close(fd);
        *ret_errno = code == TP_TIMEOUT ? ETIMEDOUT : failure;
        return code == TP_OK ? TP_IO : code;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only speed depends on it */
    client->fd = fd;
    return TP_OK;
}

static enum tp_err connect_any(struct tls_client *client, const struct tls_client_options *options, int64_t deadline,
                               struct tp_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    char port[8];
    int failure, why = 0;
    enum tp_err code = TP_IO;
    (void)snprintf(port, sizeof(port), "%u", (unsigned)options->port);
    failure = getaddrinfo(options->host, port, &hints, &list);
    if (failure == EAI_ADDRFAMILY || failure == EAI_NONAME) {
        hints.ai_flags = 0; /* a machine with nothing but loopback has no "configured" family */
        failure = getaddrinfo(options->host, port, &hints, &list);
    }
    if (failure != 0)
        return err_set(error, TP_UNAVAILABLE, "the name %s cannot be resolved: %s", options->host,
                       gai_strerror(failure));
    for (const struct addrinfo *at = list; at && code != TP_OK && code != TP_TIMEOUT; at = at->ai_next)
        code = connect_one(client, at, deadline, &why);
    freeaddrinfo(list);
    if (code == TP_OK)
        return TP_OK;
    bool v6 = strchr(options->host, ':') != NULL;
    if (code == TP_TIMEOUT)
        return err_set(error, TP_TIMEOUT, "no answer from %s%s%s:%s; check the address and the firewalls between",
                       v6 ? "[" : "", options->host, v6 ? "]" : "", port);
    return err_set(error, TP_UNAVAILABLE, "cannot connect to %s%s%s:%s: %s", v6 ? "[" : "", options->host,
                   v6 ? "]" : "", port, strerror(why));
}

/* What a failed SSL call says about the connection itself. */
static enum tp_err transport_failure(const struct tls_client *client, int why, int saved_errno, struct tp_error *error)
{
    uint32_t reason = ERR_peek_last_error();
    enum tp_err code = TP_PROTOCOL;
    if (why == SSL_ERROR_SYSCALL && reason == 0) {
        if (saved_errno == 0)
            return err_set(error, TP_CLOSED, "%s closed the connection", client->name);
        return err_set(error, TP_CLOSED, "the connection to %s broke: %s", client->name, strerror(saved_errno));
    }
    if (ERR_GET_LIB(reason) == ERR_LIB_SSL) {
        int number = ERR_GET_REASON(reason);
        if (number == SSL_R_WRONG_VERSION_NUMBER || number == SSL_R_HTTP_REQUEST || number == SSL_R_HTTPS_PROXY_REQUEST)
            return err_set(error, TP_PROTOCOL, "%s does not speak TLS; check the port", client->name);
        if (number == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL)
            return err_set(error, TP_PROTOCOL, "%s does not speak the protocol that is needed (ALPN)", client->name);
        if (number == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED)
            return err_set(error, TP_DENIED, "%s says that your certificate has expired; sign in again", client->name);
        if (number == SSL_R_TLSV1_ALERT_ACCESS_DENIED || number == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
            number == SSL_R_TLSV1_ALERT_UNKNOWN_CA || number == SSL_R_TLSV1_ALERT_CERTIFICATE_REQUIRED ||
            number == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN || number == SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE)
            return err_set(error, TP_DENIED, "%s does not accept your certificate; sign in again", client->name);
        return err_set(error, code, "TLS with %s failed: %s", client->name, ERR_reason_error_string(reason));
    }
    return err_set(error, code, "TLS with %s failed", client->name);
}

enum tls_step tls_client_step(struct tls_client *client, int result, struct tp_error *error, enum tp_err *ret_code)
{
    int saved_errno = errno;
    int why = SSL_get_error(client->ssl, result);
    enum tls_step step = TLS_STEP_FAILED;
    if (why == SSL_ERROR_WANT_READ)
        step = TLS_STEP_WANT_READ;
    else if (why == SSL_ERROR_WANT_WRITE)
        step = TLS_STEP_WANT_WRITE;
    else if (why == SSL_ERROR_ZERO_RETURN)
        step = TLS_STEP_END;
    else
        *ret_code = transport_failure(client, why, saved_errno, error);
    ERR_clear_error();
    return step;
}

/* Waits as the step says; TP_OK: try the call again. */
static enum tp_err wait_step(struct tls_client *client, enum tls_step step, int64_t deadline, struct tp_error *error)
{
    enum tp_err code = wait_for(client, client->fd, step == TLS_STEP_WANT_READ ? POLLIN : POLLOUT, deadline);
    if (code == TP_TIMEOUT)
        return err_set(error, code, "%s has taken the connection, but has not answered within %d seconds", client->name,
                       (int)(client->timeout_ms / 1000));
    return code == TP_OK ? TP_OK : err_set(error, code, "waiting for %s failed", client->name);
}

static enum tp_err handshake(struct tls_client *client, int64_t deadline, struct tp_error *error)
{
    for (;;) {
        int result;
        enum tls_step step;
        enum tp_err code = TP_CLOSED;
        errno = 0;
        ERR_clear_error();
        result = SSL_connect(client->ssl);
        if (result == 1)
            return TP_OK;
        if (client->refusal[0] != '\0') {
            ERR_clear_error();
            return err_set(error, TP_DENIED, "%s", client->refusal);
        }
        step = tls_client_step(client, result, error, &code);
        if (step == TLS_STEP_END)
            return err_set(error, TP_CLOSED, "%s closed the connection during the handshake", client->name);
        if (step == TLS_STEP_FAILED)
            return code;
        code = wait_step(client, step, deadline, error);
        if (code != TP_OK)
            return code;
    }
}

static enum tp_err check_alpn(struct tls_client *client, const char *wanted, struct tp_error *error)
{
    const uint8_t *name;
    unsigned size;
    SSL_get0_alpn_selected(client->ssl, &name, &size);
    client->alpn = mem_strndup(name ? (const char *)name : "", size);
    if (wanted && strncmp(wanted, "tport-", 6) == 0 && strcmp(wanted, client->alpn) != 0)
        return err_set(error, TP_PROTOCOL, "%s does not speak %s; is it a tport proxy?", client->name, wanted);
    return TP_OK;
}

enum tp_err tls_client_connect(const struct tls_client_options *options, struct tls_client **ret_client,
                               struct tp_error *error)
{
    int64_t deadline = deadline_of(options->timeout_ms);
    struct tls_client *client = mem_alloc(sizeof(*client));
    enum tp_err code;
    client->fd = -1;
    client->timeout_ms = options->timeout_ms;
    client->on_wait = options->on_wait;
    client->on_wait_owner = options->on_wait_owner;
    client->name = mem_printf(strchr(options->host, ':') ? "[%s]:%u" : "%s:%u", options->host, (unsigned)options->port);
    code = tls_client_prepare(client, options, error);
    if (code == TP_OK)
        code = connect_any(client, options, deadline, error);
    if (code == TP_OK) {
        tls_client_attach(client);
        code = handshake(client, deadline, error);
    }
    if (code == TP_OK)
        code = check_alpn(client, options->alpn, error);
    if (code != TP_OK) {
        tls_client_close(client);
        return code;
    }
    *ret_client = client;
    return TP_OK;
}

enum tp_err tls_client_read(struct tls_client *client, void *out, size_t size, size_t *ret_size, struct tp_error *error)
{
    int64_t deadline = deadline_of(client->timeout_ms);
    int wanted = size > INT32_MAX ? INT32_MAX : (int)size;
    for (;;) {
        int result;
        enum tls_step step;
        enum tp_err code = TP_CLOSED;
        errno = 0;
        ERR_clear_error();
        result = SSL_read(client->ssl, out, wanted);
        if (result > 0) {
            client->on_wait = NULL;
            *ret_size = (size_t)result;
            return TP_OK;
        }
        step = tls_client_step(client, result, error, &code);
        if (step == TLS_STEP_END) {
            *ret_size = 0;
            return TP_OK;
        }
        if (step == TLS_STEP_FAILED)
            return code;
        code = wait_step(client, step, deadline, error);
        if (code != TP_OK)
            return code;
    }
}

enum tp_err tls_client_write(struct tls_client *client, const void *data, size_t size, struct tp_error *error)
{
    const uint8_t *at = data;
    int64_t deadline = deadline_of(client->timeout_ms);
    while (size > 0) {
        int result;
        enum tls_step step;
        enum tp_err code = TP_CLOSED;
        errno = 0;
        ERR_clear_error();
        result = SSL_write(client->ssl, at, size > INT32_MAX ? INT32_MAX : (int)size);
        if (result > 0) {
            at += result;
            size -= (size_t)result;
            continue;
        }
        step = tls_client_step(client, result, error, &code);
        if (step == TLS_STEP_FAILED || step == TLS_STEP_END)
            return step == TLS_STEP_END ? err_set(error, TP_CLOSED, "%s closed the connection", client->name) : code;
        code = wait_step(client, step, deadline, error);
        if (code != TP_OK)
            return code;
    }
    return TP_OK;
}

void tls_client_set_timeout(struct tls_client *client, int64_t timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

int tls_client_fd(const struct tls_client *client)
{
    return client->fd;
}

size_t tls_client_pending(const struct tls_client *client)
{
    return (size_t)SSL_pending(client->ssl);
}

const char *tls_client_alpn(const struct tls_client *client)
{
    return client->alpn;
}

void tls_client_close(struct tls_client *client)
{
    if (!client)
        return;
    if (client->ssl && client->fd >= 0 && !SSL_in_init(client->ssl))
        (void)SSL_shutdown(client->ssl); /* a courtesy: the socket goes now, whatever comes of it */
    ERR_clear_error();
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    BIO_meth_free(client->method);
    if (client->fd >= 0)
        (void)close(client->fd);
    for (size_t i = 0; i < client->pin_count; i++)
        mem_free(client->pins[i]);
    mem_free(client->pins);
    mem_free(client->verify_name);
    mem_free(client->name);
    mem_free(client->alpn);
    mem_free(client->ahead);
    mem_free(client);
}
