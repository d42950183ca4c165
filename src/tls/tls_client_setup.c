/* What a TLS client trusts, what it shows, and how it words a refusal. */
#include "tls/tls_client_internal.h"

#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SYSTEM_STORE "/etc/ssl/certs/ca-certificates.crt"

static bool is_address(const char *name)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

/* The socket under TLS, written with MSG_NOSIGNAL: a peer that goes away must not kill the program. */
static int socket_write(BIO *bio, const char *data, int size)
{
    const struct tls_client *client = BIO_get_data(bio);
    ssize_t count = send(client->fd, data, (size_t)size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)count;
}

static ssize_t receive(struct tls_client *client, void *out, size_t size)
{
    if (!client->ahead)
        return recv(client->fd, out, size, 0);
    if (client->ahead_start == client->ahead_end) {
        ssize_t count = recv(client->fd, client->ahead, TLS_CLIENT_AHEAD, 0);
        if (count <= 0)
            return count;
        client->ahead_start = 0;
        client->ahead_end = (size_t)count;
    }
    if (size > client->ahead_end - client->ahead_start)
        size = client->ahead_end - client->ahead_start;
    memcpy(out, client->ahead + client->ahead_start, size);
    client->ahead_start += size;
    return (ssize_t)size;
}

static int socket_read(BIO *bio, char *out, int size)
{
    struct tls_client *client = BIO_get_data(bio);
    ssize_t count = receive(client, out, (size_t)size);
    BIO_clear_retry_flags(bio);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)count;
}

static long socket_control(BIO *bio, int command, long number, void *data)
{
    (void)bio;
    (void)number;
    (void)data;
    return command == BIO_CTRL_FLUSH; /* nothing is buffered here */
}

void tls_client_attach(struct tls_client *client)
{
    BIO *bio;
    client->method = BIO_meth_new(0, "tls_client");
    if (!client->method || !BIO_meth_set_write(client->method, socket_write) ||
        !BIO_meth_set_read(client->method, socket_read) || !BIO_meth_set_ctrl(client->method, socket_control))
        abort();
    bio = BIO_new(client->method);
    if (!bio)
        abort();
    BIO_set_data(bio, client);
    BIO_set_init(bio, 1);
    SSL_set_bio(client->ssl, bio, bio);
}

static bool has_pin(const struct tls_client *client, X509 *cert)
{
    uint8_t *der = NULL;
    uint8_t hash[32];
    char *hex;
    bool found = false;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (size <= 0)
        return false;
    crypt_sha256(der, (size_t)size, hash);
    OPENSSL_free(der);
    hex = enc_hex(hash, sizeof(hash));
    for (size_t i = 0; i < client->pin_count && !found; i++)
        found = strcasecmp(client->pins[i] + strlen("sha256:"), hex) == 0;
    mem_free(hex);
    return found;
}

/* The CA certificates with a pinned key among those that the server sent: they become the only trusted ones. */
static STACK_OF(X509) * pinned_cas(const struct tls_client *client, STACK_OF(X509) * sent)
{
    STACK_OF(X509) *found = sk_X509_new_null();
    if (!found)
        abort();
    for (size_t i = 0; sent && i < sk_X509_num(sent); i++) {
        X509 *cert = sk_X509_value(sent, i);
        uint32_t flags = X509_get_extension_flags(cert);
        if ((flags & EXFLAG_CA) && !(flags & EXFLAG_INVALID) && has_pin(client, cert) && !sk_X509_push(found, cert))
            abort();
    }
    return found;
}

static void explain(struct tls_client *client, int reason)
{
    char *out = client->refusal;
    size_t size = sizeof(client->refusal);
    const char *name = client->name;
    switch (reason) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        (void)snprintf(out, size, "the certificate of %s is not for the name \"%s\"; use a name it was issued for",
                       name, client->verify_name);
        return;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        (void)snprintf(out, size,
                       "the certificate of %s has expired; check this machine's clock, then tell the administrator",
                       name);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        (void)snprintf(out, size, "the certificate of %s is not valid yet; check this machine's clock", name);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        if (client->pin_count > 0)
            (void)snprintf(out, size,
                           "the certificate of %s was not signed by the CA that the pin names; compare --ca-pin with "
                           "what \"tportctl status\" shows",
                           name);
        else if (client->own_cas)
            (void)snprintf(
                out, size,
                "the certificate of %s was not signed by a CA of the cluster this machine knows; sign in or join "
                "again if its CA was rotated meanwhile or the cluster set up anew",
                name);
        else
            (void)snprintf(out, size,
                           "the certificate of %s was signed by a CA that this machine does not know; give the "
                           "cluster's pin with --ca-pin (\"tportctl status\" shows it)",
                           name);
        return;
    default:
        (void)snprintf(out, size, "the certificate of %s is not acceptable: %s", name,
                       X509_verify_cert_error_string(reason));
    }
}

static int verify(X509_STORE_CTX *store_ctx, void *ctx)
{
    struct tls_client *client = ctx;
    STACK_OF(X509) *trusted = NULL;
    int fine;
    if (client->pin_count > 0) {
        trusted = pinned_cas(client, X509_STORE_CTX_get0_untrusted(store_ctx));
        X509_STORE_CTX_set0_trusted_stack(store_ctx, trusted);
    }
    fine = X509_verify_cert(store_ctx);
    if (fine != 1)
        explain(client, X509_STORE_CTX_get_error(store_ctx));
    if (trusted)
        sk_X509_free(trusted); /* its certificates belong to the chain that was sent */
    return fine == 1;
}

static enum tp_err read_pins(struct tls_client *client, const char *const *pins, struct tp_error *error)
{
    size_t count = 0;
    while (pins && pins[count])
        count++;
    client->pins = mem_array(count + 1, sizeof(*client->pins));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(pins[i], "sha256:", 7) != 0 || strlen(pins[i]) != 7 + 64 ||
            strspn(pins[i] + 7, "0123456789abcdefABCDEF") != 64)
            return err_set(error, TP_INVALID, "the CA pin \"%.100s\" is not sha256: and 64 hexadecimal digits",
                           pins[i]);
        client->pins[client->pin_count++] = mem_strdup(pins[i]);
    }
    return TP_OK;
}

static enum tp_err add_trust(struct tls_client *client, const struct tls_client_options *options,
                             struct tp_error *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(client->ctx);
    BIO *bio;
    size_t count = 0;
    if (client->pin_count > 0 || options->insecure)
        return TP_OK;
    if (!options->ca_pem) {
        if (SSL_CTX_load_verify_locations(client->ctx, SYSTEM_STORE, NULL) != 1) {
            ERR_clear_error();
            return err_set(error, TP_UNAVAILABLE,
                           "the system's CA certificates (%s) cannot be read; install the package "
                           "ca-certificates or give the cluster's pin with --ca-pin",
                           SYSTEM_STORE);
        }
        return TP_OK;
    }
    client->own_cas = true;
    bio = BIO_new_mem_buf(options->ca_pem, -1);
    if (!bio)
        abort();
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
        if (X509_STORE_add_cert(store, cert) != 1)
            abort();
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return count > 0 ? TP_OK : err_set(error, TP_INVALID, "the CA certificates to trust are not PEM text");
}

static enum tp_err add_certificate(struct tls_client *client, const struct tls_client_options *options,
                                   struct tp_error *error)
{
    struct key *key = NULL;
    BIO *bio;
    X509 *cert;
    bool first = true;
    enum tp_err code;
    if (!options->cert_pem)
        return TP_OK;
    if (!options->key_pem)
        return err_set(error, TP_INVALID, "there is a client certificate but no private key for it");
    bio = BIO_new_mem_buf(options->cert_pem, -1);
    if (!bio)
        abort();
    code = key_from_pem(options->key_pem, strlen(options->key_pem), &key, error);
    while (code == TP_OK && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        int fine = first ? SSL_CTX_use_certificate(client->ctx, cert) : SSL_CTX_add1_chain_cert(client->ctx, cert);
        X509_free(cert);
        first = false;
        if (fine != 1)
            code = err_set(error, TP_INVALID, "the client certificate cannot be used");
    }
    if (code == TP_OK && first)
        code = err_set(error, TP_INVALID, "the client certificate is not PEM text");
    if (code == TP_OK && SSL_CTX_use_PrivateKey(client->ctx, key_evp(key)) != 1)
        code = err_set(error, TP_INVALID, "the private key does not belong to the client certificate; sign in again");
    BIO_free(bio);
    ERR_clear_error();
    key_free(key);
    return code;
}

static enum tp_err set_names(struct tls_client *client, const struct tls_client_options *options,
                             struct tp_error *error)
{
    const char *sni = options->server_name ? options->server_name : options->host;
    X509_VERIFY_PARAM *param = SSL_get0_param(client->ssl);
    int fine;
    if (!is_address(sni) && SSL_set_tlsext_host_name(client->ssl, sni) != 1)
        return err_set(error, TP_INVALID, "\"%.100s\" is not a name that TLS can send", sni);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_address(client->verify_name))
        fine = X509_VERIFY_PARAM_set1_ip_asc(param, client->verify_name);
    else
        fine = client->verify_name[0] != '\0' &&
               X509_VERIFY_PARAM_set1_host(param, client->verify_name, strlen(client->verify_name));
    if (fine != 1)
        return err_set(error, TP_INVALID, "\"%.100s\" is not a name that a certificate can hold", client->verify_name);
    if (options->alpn) {
        uint8_t list[256];
        size_t length = strlen(options->alpn);
        if (length == 0 || length > 255)
            return err_set(error, TP_INVALID, "the protocol name for ALPN is empty or too long");
        list[0] = (uint8_t)length;
        memcpy(list + 1, options->alpn, length);
        if (SSL_set_alpn_protos(client->ssl, list, (unsigned)length + 1) != 0) /* 0 is success here */
            abort();
    }
    return TP_OK;
}

enum tp_err tls_client_prepare(struct tls_client *client, const struct tls_client_options *options,
                               struct tp_error *error)
{
    enum tp_err code;
    client->verify_name = mem_strdup(options->verify_name ? options->verify_name : options->host);
    client->ctx = SSL_CTX_new(TLS_method());
    if (!client->ctx || SSL_CTX_set_min_proto_version(client->ctx, TLS1_2_VERSION) != 1)
        abort();
    SSL_CTX_set_mode(client->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(client->ctx, options->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!options->insecure)
        SSL_CTX_set_cert_verify_callback(client->ctx, verify, client);
    code = read_pins(client, options->ca_pins, error);
    if (code == TP_OK)
        code = add_trust(client, options, error);
    if (code == TP_OK)
        code = add_certificate(client, options, error);
    if (code != TP_OK)
        return code;
    client->ssl = SSL_new(client->ctx);
    if (!client->ssl)
        abort();
    return set_names(client, options, error);
}

char *tls_client_peer_chain(const struct tls_client *client)
{
    STACK_OF(X509) *chain = SSL_get_peer_full_cert_chain(client->ssl);
    BIO *bio = BIO_new(BIO_s_mem());
    const uint8_t *data;
    size_t size;
    char *text;
    if (!bio)
        abort();
    for (size_t i = 0; chain && i < sk_X509_num(chain); i++) {
        if (PEM_write_bio_X509(bio, sk_X509_value(chain, i)) != 1)
            abort();
    }
    if (!BIO_mem_contents(bio, &data, &size))
        abort();
    text = mem_strndup((const char *)data, size);
    BIO_free(bio);
    return text;
}
