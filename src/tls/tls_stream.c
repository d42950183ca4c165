#include "tls/tls_stream.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/stream_priv.h"
#include "crypt/x509.h"
#include "tls/tls_resume.h"
#include "tls/tls_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define CHAIN_MAX 32 /* our certificate and those above it */

struct tls_context {
    SSL_CTX *ctx;
    enum tls_peer peer;
    bool server;
    bool alpn_required;
    struct x509_trust *trust; /* unless the peer is TLS_PEER_SERVER */
    struct buf alpn;          /* wire form */
    bool resumes;
    struct tls_resume resume; /* when it resumes */
    unsigned references;
};

struct tls_state {
    SSL *ssl;
    struct tls_wire wire;
    struct tls_context *context;
    struct identity identity;
    bool has_identity;
    struct buf peer_der;
    char *server_name; /* when its context resumes */
    int64_t begun_ms;  /* clock_mono_ms, likewise */
    int64_t proved_ms; /* when the server proved itself in the session that is offered */
    char alpn[64];
    char failure[256];
};

static void context_unref(struct tls_context *context)
{
    if (--context->references > 0)
        return;
    tls_resume_clear(&context->resume);
    SSL_CTX_free(context->ctx);
    buf_free(&context->alpn);
    x509_trust_free(context->trust);
    mem_free(context);
}

void tls_context_free(struct tls_context *context)
{
    if (context)
        context_unref(context);
}

/* ---- callbacks of the handshake ---- */

static int choose_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *in, unsigned in_size, void *arg)
{
    const struct tls_context *context = arg;
    (void)ssl;
    if (SSL_select_next_proto((uint8_t **)(uintptr_t)out, out_size, buf_head(&context->alpn),
                              (unsigned)buf_size(&context->alpn), in, in_size) == OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool kind_matches(enum tls_peer peer, const struct identity *identity)
{
    switch (peer) {
    case TLS_PEER_USER:
    case TLS_PEER_USER_OR_NONE:
        return identity->kind == IDENTITY_USER;
    case TLS_PEER_NODE:
        return identity->kind == IDENTITY_HOST && identity->host_role && strcmp(identity->host_role, "proxy") != 0;
    case TLS_PEER_PROXY:
        return identity->kind == IDENTITY_HOST && identity->host_role && strcmp(identity->host_role, "proxy") == 0;
    case TLS_PEER_ANY:
    case TLS_PEER_SERVER:
        return true;
    }
    return false;
}

static enum ssl_verify_result_t check_peer(SSL *ssl, uint8_t *out_alert)
{
    struct tls_state *state = SSL_get_app_data(ssl);
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(ssl);
    const CRYPTO_BUFFER *leaf = chain && sk_CRYPTO_BUFFER_num(chain) > 0 ? sk_CRYPTO_BUFFER_value(chain, 0) : NULL;
    struct tp_error error = {0};

    *out_alert = SSL_AD_CERTIFICATE_UNKNOWN;
    if (!leaf) {
        (void)snprintf(state->failure, sizeof(state->failure), "the peer sent no certificate");
        return ssl_verify_invalid;
    }
    if (x509_trust_check(state->context->trust, CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf), clock_wall(),
                         &state->identity, &error) != TP_OK) {
        (void)snprintf(state->failure, sizeof(state->failure), "%.250s", error.text);
        *out_alert = error.code == TP_EXPIRED ? SSL_AD_CERTIFICATE_EXPIRED : SSL_AD_UNKNOWN_CA;
        return ssl_verify_invalid;
    }
    state->has_identity = true;
    if (!kind_matches(state->context->peer, &state->identity)) {
        (void)snprintf(state->failure, sizeof(state->failure), "the certificate is for something else");
        *out_alert = SSL_AD_ACCESS_DENIED;
        return ssl_verify_invalid;
    }
    buf_clear(&state->peer_der);
    (void)buf_append(&state->peer_der, CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf));
    return ssl_verify_ok;
}

static enum ssl_verify_result_t verify_peer(SSL *ssl, uint8_t *out_alert)
{
    struct tls_state *state = SSL_get_app_data(ssl);
    enum ssl_verify_result_t result = check_peer(ssl, out_alert);
    if (result == ssl_verify_ok || state->context->peer != TLS_PEER_USER_OR_NONE)
        return result;
    /* It goes on as a stranger, who is told why in his own protocol. */
    if (state->has_identity)
        identity_free(&state->identity);
    state->has_identity = false;
    return ssl_verify_ok;
}

/* The server gave a ticket. What it proves is as old as the handshake in which it showed its certificate. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_state *state = SSL_get_app_data(ssl);
    tls_resume_keep(&state->context->resume, session, state->server_name,
                    SSL_session_reused(ssl) ? state->proved_ms : state->begun_ms);
    return 1;
}

/* ---- contexts ---- */

static enum tp_err last_error(struct tp_error *error, const char *what)
{
    char text[160];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    return err_set(error, TP_CRYPTO, "%s: %s", what, text);
}

/* The next certificate of a PEM text, or NULL. */
static CRYPTO_BUFFER *read_certificate(BIO *bio)
{
    char *name = NULL, *header = NULL;
    uint8_t *der = NULL;
    long size;
    CRYPTO_BUFFER *cert = NULL;
    while (!cert && PEM_read_bio(bio, &name, &header, &der, &size) == 1) {
        if (strcmp(name, PEM_STRING_X509) == 0)
            cert = CRYPTO_BUFFER_new(der, (size_t)size, NULL);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    ERR_clear_error();
    return cert;
}

static enum tp_err load_pair(SSL_CTX *ctx, const struct tls_context_options *options, struct tp_error *error)
{
    CRYPTO_BUFFER *chain[CHAIN_MAX + 1];
    size_t count = 0;
    enum tp_err err = TP_OK;
    BIO *bio = BIO_new_mem_buf(options->key_pem, (ossl_ssize_t)strlen(options->key_pem));
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!key)
        return last_error(error, "can't read the private key");
    bio = BIO_new_mem_buf(options->cert_pem, (ossl_ssize_t)strlen(options->cert_pem));
    while (count <= CHAIN_MAX && (chain[count] = read_certificate(bio)) != NULL)
        count++;
    BIO_free(bio);
    if (count == 0)
        err = err_set(error, TP_CRYPTO, "can't read the certificate: it is not in PEM form");
    else if (count > CHAIN_MAX)
        err = err_set(error, TP_TOO_LARGE, "there are more than %d certificates in the chain", CHAIN_MAX);
    else if (SSL_CTX_set_chain_and_key(ctx, chain, count, key, NULL) != 1)
        err = last_error(error, "the certificate can't be used, or the private key does not belong to it");
    while (count > 0)
        CRYPTO_BUFFER_free(chain[--count]);
    EVP_PKEY_free(key);
    return err;
}

/* What TLS_PEER_SERVER trusts. */
static enum tp_err load_trust(SSL_CTX *ctx, const char *ca_pems, struct tp_error *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t count = 0;
    BIO *bio;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (!ca_pems) {
        if (SSL_CTX_load_verify_locations(ctx, "/etc/ssl/certs/ca-certificates.crt", NULL) == 1)
            return TP_OK;
        ERR_clear_error();
        return err_set(error, TP_UNAVAILABLE,
                       "the system's CA certificates can't be read; install ca-certificates or name a CA");
    }
    bio = BIO_new_mem_buf(ca_pems, (ossl_ssize_t)strlen(ca_pems));
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
        (void)X509_STORE_add_cert(store, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return count > 0 ? TP_OK : err_set(error, TP_INVALID, "the CA certificates to trust are not PEM text");
}

static void set_alpn(struct tls_context *context, const char *const *names)
{
    for (size_t i = 0; names && names[i]; i++) {
        uint8_t length = (uint8_t)strlen(names[i]);
        (void)buf_append(&context->alpn, &length, 1);
        (void)buf_append(&context->alpn, names[i], length);
    }
    if (buf_size(&context->alpn) == 0)
        return;
    if (context->server)
        SSL_CTX_set_alpn_select_cb(context->ctx, choose_alpn, context);
    else
        (void)SSL_CTX_set_alpn_protos(context->ctx, buf_head(&context->alpn), buf_size(&context->alpn));
}

enum tp_err tls_context_new(const struct tls_context_options *options, struct tls_context **ret_context,
                            struct tp_error *error)
{
    static const uint8_t session_context[] = "tport";
    struct tls_context *context = mem_alloc(sizeof(*context));
    enum tp_err err = TP_OK;
    bool library_reads;

    context->references = 1;
    context->peer = options->peer;
    context->server = options->server;
    context->alpn_required = options->alpn_required;
    if (options->peer != TLS_PEER_SERVER && options->peer != TLS_PEER_ANY)
        context->trust = x509_trust_new(options->ca_pems ? options->ca_pems : "");
    buf_init(&context->alpn, 4096);
    /* Only a client's own check of a server's chain, or of none, is the library's: else it need not read certificates, too. */
    library_reads = !options->server && (options->peer == TLS_PEER_SERVER || options->peer == TLS_PEER_ANY);
    context->ctx = SSL_CTX_new(library_reads ? TLS_method() : TLS_with_buffers_method());
    if (!context->ctx) {
        x509_trust_free(context->trust);
        mem_free(context);
        return last_error(error, "can't make a TLS context");
    }
    (void)SSL_CTX_set_min_proto_version(context->ctx, options->tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION);
    (void)SSL_CTX_set_max_proto_version(context->ctx, TLS1_3_VERSION);
    (void)SSL_CTX_set_mode(context->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                             SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_strict_cipher_list(
        context->ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                      "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305");
    SSL_CTX_set_early_data_enabled(context->ctx, 0);
    (void)SSL_CTX_set_session_id_context(context->ctx, session_context, sizeof(session_context) - 1);
    if (options->peer == TLS_PEER_SERVER)
        err = load_trust(context->ctx, options->ca_pems, error);
    else if (options->peer != TLS_PEER_ANY) {
        /* A resumed session would carry an identity past its check: every connection shows its certificate. */
        (void)SSL_CTX_set_options(context->ctx, SSL_OP_NO_TICKET);
        (void)SSL_CTX_set_session_cache_mode(context->ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_custom_verify(context->ctx,
                                  options->peer == TLS_PEER_USER_OR_NONE
                                      ? SSL_VERIFY_PEER
                                      : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                                  verify_peer);
    }
    if (options->resume && options->peer == TLS_PEER_SERVER) {
        context->resumes = true;
        (void)SSL_CTX_set_session_cache_mode(context->ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(context->ctx, keep_session);
    }
    set_alpn(context, options->alpn);
    if (err == TP_OK && options->cert_pem)
        err = load_pair(context->ctx, options, error);
    if (err != TP_OK) {
        context_unref(context);
        return err;
    }
    *ret_context = context;
    return TP_OK;
}

/* ---- the transport ---- */

static void keep_failure(struct tls_state *state)
{
    uint32_t code = ERR_peek_last_error();
    long verdict = state->context->peer == TLS_PEER_SERVER ? SSL_get_verify_result(state->ssl) : X509_V_OK;
    if (!state->failure[0] && verdict != X509_V_OK)
        (void)snprintf(state->failure, sizeof(state->failure), "the server's certificate is not accepted: %s",
                       X509_verify_cert_error_string(verdict));
    if (!state->failure[0] && code != 0)
        (void)snprintf(state->failure, sizeof(state->failure), "%s", ERR_reason_error_string(code));
    ERR_clear_error();
}

static enum stream_io map_result(struct tls_state *state, int result, enum close_reason *ret_reason)
{
    int saved_errno = errno;
    switch (SSL_get_error(state->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_IO_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return STREAM_IO_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return STREAM_IO_EOF;
    case SSL_ERROR_SYSCALL:
        /* errno 0: the socket ended without close_notify, as many clients do. */
        *ret_reason = saved_errno == 0                                    ? CLOSE_CLIENT_CLOSED
                      : saved_errno == ECONNRESET || saved_errno == EPIPE ? CLOSE_PEER_RESET
                                                                          : CLOSE_IO_ERROR;
        keep_failure(state);
        return STREAM_IO_FAILED;
    default:
        *ret_reason = CLOSE_TLS_FAILED;
        keep_failure(state);
        return STREAM_IO_FAILED;
    }
}

static enum stream_io tls_handshake(void *ctx, enum close_reason *ret_reason)
{
    struct tls_state *state = ctx;
    const uint8_t *alpn;
    unsigned alpn_size;
    int result;

    errno = 0;
    result = SSL_do_handshake(state->ssl);
    if (result != 1) {
        enum stream_io io = map_result(state, result, ret_reason);
        return io == STREAM_IO_EOF ? STREAM_IO_FAILED : io;
    }
    SSL_get0_alpn_selected(state->ssl, &alpn, &alpn_size);
    if (alpn_size < sizeof(state->alpn))
        (void)snprintf(state->alpn, sizeof(state->alpn), "%.*s", (int)alpn_size, (const char *)alpn);
    if (state->context->alpn_required && alpn_size == 0) {
        (void)snprintf(state->failure, sizeof(state->failure), "the peer chose no protocol (ALPN)");
        *ret_reason = CLOSE_NO_ROUTE;
        return STREAM_IO_FAILED;
    }
    state->wire.ready = !state->context->server || state->has_identity;
    return STREAM_IO_OK;
}

static enum stream_io tls_read(void *ctx, int fd, uint8_t *data, size_t size, size_t *ret_size,
                               enum close_reason *ret_reason)
{
    struct tls_state *state = ctx;
    int got;
    (void)fd;
    errno = 0;
    got = SSL_read(state->ssl, data, (int)size);
    if (got > 0) {
        *ret_size = (size_t)got;
        return STREAM_IO_OK;
    }
    return map_result(state, got, ret_reason);
}

static enum stream_io send_out(struct tls_state *state, enum close_reason *ret_reason)
{
    switch (tls_wire_send(&state->wire)) {
    case 1:
        return STREAM_IO_OK;
    case 0:
        return STREAM_IO_WANT_WRITE;
    default:
        *ret_reason = errno == ECONNRESET || errno == EPIPE ? CLOSE_PEER_RESET : CLOSE_IO_ERROR;
        return STREAM_IO_FAILED;
    }
}

/* For all records of so many bytes at once: a buffer that grows with each of them is copied again and again. A stranger gets no
 * more than he needs. */
static void make_room(struct tls_state *state, size_t size)
{
    size_t records = (size + SSL3_RT_MAX_PLAIN_LENGTH - 1) / SSL3_RT_MAX_PLAIN_LENGTH;
    if (records > 1 && state->wire.ready) {
        size_t room = records * (SSL3_RT_MAX_PLAIN_LENGTH + SSL_max_seal_overhead(state->ssl));
        (void)!buf_reserve(&state->wire.out, room);
    }
}

/* As many records as one send takes. What the socket does not take waits in the wire: flush has the rest. */
static enum stream_io tls_write(void *ctx, int fd, const uint8_t *data, size_t size, size_t *ret_size,
                                enum close_reason *ret_reason)
{
    struct tls_state *state = ctx;
    enum stream_io io = send_out(state, ret_reason);
    size_t most = state->wire.ready ? WIRE_SEND : WIRE_GATHER;
    size_t done = 0;
    (void)fd;
    if (io != STREAM_IO_OK)
        return io;
    make_room(state, size < most ? size : most);
    while (done < size && buf_size(&state->wire.out) < most) {
        size_t left = size - done;
        int put;
        errno = 0;
        put = SSL_write(state->ssl, data + done, (int)(left > INT32_MAX ? INT32_MAX : left));
        if (put <= 0 && done > 0)
            break; /* the next call says why */
        if (put <= 0)
            return map_result(state, put, ret_reason);
        done += (size_t)put;
    }
    *ret_size = done;
    io = send_out(state, ret_reason);
    return io == STREAM_IO_FAILED ? io : STREAM_IO_OK;
}

static enum stream_io tls_flush(void *ctx, enum close_reason *ret_reason)
{
    return send_out(ctx, ret_reason);
}

static void tls_more(void *ctx, bool more)
{
    ((struct tls_state *)ctx)->wire.more = more;
}

static size_t tls_unsent(const void *ctx)
{
    const struct tls_state *state = ctx;
    return buf_size(&state->wire.out);
}

static bool tls_pending(void *ctx)
{
    const struct tls_state *state = ctx;
    return SSL_has_pending(state->ssl) == 1 || buf_size(&state->wire.in) > 0;
}

static bool tls_dry(void *ctx)
{
    const struct tls_state *state = ctx;
    return state->wire.emptied && !tls_pending(ctx);
}

static enum stream_io tls_shutdown(void *ctx)
{
    struct tls_state *state = ctx;
    enum close_reason reason;
    if (SSL_in_init(state->ssl))
        return STREAM_IO_OK;
    errno = 0;
    /* A second call would wait for the peer's. */
    if ((SSL_get_shutdown(state->ssl) & SSL_SENT_SHUTDOWN) == 0)
        (void)SSL_shutdown(state->ssl);
    return send_out(state, &reason) == STREAM_IO_WANT_WRITE ? STREAM_IO_WANT_WRITE : STREAM_IO_OK;
}

static void tls_free(void *ctx)
{
    struct tls_state *state = ctx;
    SSL_free(state->ssl);
    tls_wire_free(&state->wire);
    ERR_clear_error();
    if (state->has_identity)
        identity_free(&state->identity);
    buf_free(&state->peer_der);
    mem_free(state->server_name);
    context_unref(state->context);
    mem_free(state);
}

static const struct stream_transport tls_transport = {
    .handshake = tls_handshake,
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .more = tls_more,
    .unsent = tls_unsent,
    .pending = tls_pending,
    .dry = tls_dry,
    .shutdown = tls_shutdown,
    .free = tls_free,
};

/* The name that goes out as SNI, and that a TLS_PEER_SERVER must prove. Without a name nobody is accepted. */
static void set_name(struct tls_state *state, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(state->ssl);
    uint8_t raw[16];
    bool is_address = name && (inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1);
    if (name && !is_address)
        (void)SSL_set_tlsext_host_name(state->ssl, name);
    if (state->context->peer != TLS_PEER_SERVER)
        return;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    /* A name that can't be set poisons the parameters: BoringSSL then accepts no certificate at all. */
    if (is_address)
        (void)X509_VERIFY_PARAM_set1_ip_asc(param, name);
    else
        (void)X509_VERIFY_PARAM_set1_host(param, name ? name : "", name ? strlen(name) : 0);
}

static void offer_session(struct tls_state *state, const char *name)
{
    state->server_name = mem_strdup(name);
    state->begun_ms = clock_mono_ms();
    SSL_SESSION *session = tls_resume_take(&state->context->resume, name, &state->proved_ms);
    if (session) {
        (void)SSL_set_session(state->ssl, session);
        SSL_SESSION_free(session);
    }
}

struct stream *tls_stream_new(struct loop *loop, int fd, struct tls_context *context, const char *server_name,
                              const struct stream_events *events, void *ctx)
{
    struct tls_state *state = mem_alloc(sizeof(*state));
    state->context = context;
    context->references++;
    buf_init(&state->peer_der, (size_t)64 * 1024);
    tls_wire_init(&state->wire, fd);
    state->ssl = SSL_new(context->ctx);
    BIO *bio = tls_wire_bio(&state->wire);
    if (!state->ssl || !bio) {
        /* Only memory can be short here; the stream dies by its first handshake step. */
        (void)snprintf(state->failure, sizeof(state->failure), "no memory for TLS");
    }
    if (bio)
        SSL_set_bio(state->ssl, bio, bio);
    (void)SSL_set_app_data(state->ssl, state);
    if (context->server) {
        SSL_set_accept_state(state->ssl);
    } else {
        SSL_set_connect_state(state->ssl);
        set_name(state, server_name);
        if (context->resumes)
            offer_session(state, server_name ? server_name : "");
    }
    return stream_new_transport(loop, fd, &tls_transport, state, events, ctx);
}

static const struct tls_state *state_of(const struct stream *stream)
{
    return stream_transport_state(stream, &tls_transport);
}

const struct identity *tls_stream_identity(const struct stream *stream)
{
    const struct tls_state *state = state_of(stream);
    return state && state->has_identity ? &state->identity : NULL;
}

const uint8_t *tls_stream_peer_der(const struct stream *stream, size_t *ret_size)
{
    const struct tls_state *state = state_of(stream);
    if (!state || buf_size(&state->peer_der) == 0)
        return NULL;
    *ret_size = buf_size(&state->peer_der);
    return buf_head(&state->peer_der);
}

void tls_stream_trust(struct stream *stream)
{
    struct tls_state *state = stream_transport_state(stream, &tls_transport);
    if (state)
        state->wire.ready = true;
    stream_set_high(stream, STREAM_HIGH);
}

bool tls_stream_is_resumed(const struct stream *stream)
{
    const struct tls_state *state = state_of(stream);
    return state && SSL_session_reused(state->ssl) == 1;
}

const char *tls_stream_alpn(const struct stream *stream)
{
    const struct tls_state *state = state_of(stream);
    return state ? state->alpn : "";
}

const char *tls_stream_failure(const struct stream *stream)
{
    const struct tls_state *state = state_of(stream);
    return state ? state->failure : "";
}
