#include "session/hostcert.h"

#include "base/enc.h"

#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERT_SUFFIX "-cert-v01@openssh.com"
#define ALGORITHM_MAX 64
#define KEX_HOSTKEYS 1 /* SSH_HOSTKEYS of libssh's enum ssh_kex_types_e, unchanged since 0.6 */

/* The one exception to "no mutable globals", see hostcert.h. Written once, before the session starts. */
static struct {
    char algorithm[ALGORITHM_MAX]; /* of the certificate; empty: none */
    ssh_string blob;
    bool negotiating; /* inside crypt_set_algorithms_server */
    bool chosen;      /* the client chose the certificate in the last key exchange */
} host;

/* libssh's internals that we stand in front of. 0.11 added an argument to the first one. */
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 11, 0)
#define SET_ALGO_TAIL , char **place
#define SET_ALGO_PASS , place
#else
#define SET_ALGO_TAIL
#define SET_ALGO_PASS
#endif
int __real_ssh_options_set_algo(ssh_session session, int kind, const char *list SET_ALGO_TAIL);
int __wrap_ssh_options_set_algo(ssh_session session, int kind, const char *list SET_ALGO_TAIL);
int __real_crypt_set_algorithms_server(ssh_session session);
int __wrap_crypt_set_algorithms_server(ssh_session session);
int __real_ssh_key_type_from_signature_name(const char *name);
int __wrap_ssh_key_type_from_signature_name(const char *name);
int __real_ssh_key_hash_from_name(const char *name);
int __wrap_ssh_key_hash_from_name(const char *name);
int __real_ssh_get_key_params(ssh_session session, ssh_key *key, int *digest);
int __wrap_ssh_get_key_params(ssh_session session, ssh_key *key, int *digest);
ssh_key __real_ssh_key_dup(const ssh_key key);
ssh_key __wrap_ssh_key_dup(const ssh_key key);
int ssh_dh_import_next_pubkey_blob(ssh_session session, ssh_string blob);
int ssh_pki_export_pubkey_blob(const ssh_key key, ssh_string *blob);
int ssh_pki_import_pubkey_blob(const ssh_string blob, ssh_key *key);

enum tp_err hostcert_set(const char *line, struct tp_error *error)
{
    size_t name_size = strcspn(line, " ");
    size_t suffix = strlen(CERT_SUFFIX);
    if (name_size >= ALGORITHM_MAX || name_size <= suffix ||
        strncmp(line + name_size - suffix, CERT_SUFFIX, suffix) != 0) {
        return err_set(error, TP_INVALID, "the host certificate is not an OpenSSH certificate line");
    }
    const char *text = line + name_size + strspn(line + name_size, " ");
    struct buf blob;
    buf_init(&blob, 64 * 1024);
    if (dec_base64(text, strcspn(text, " \r\n"), &blob) != TP_OK || buf_size(&blob) == 0) {
        buf_free(&blob);
        return err_set(error, TP_INVALID, "the host certificate is not valid base64");
    }
    host.blob = ssh_string_new(buf_size(&blob));
    if (host.blob == NULL || ssh_string_fill(host.blob, buf_head(&blob), buf_size(&blob)) != 0) {
        buf_free(&blob);
        return err_set(error, TP_INTERNAL, "the SSH library could not hold the host certificate");
    }
    buf_free(&blob);
    memcpy(host.algorithm, line, name_size);
    host.algorithm[name_size] = '\0';
    return TP_OK;
}

/* Only libssh's server.c reaches this wrapper: it proposes the host key algorithms. */
int __wrap_ssh_options_set_algo(ssh_session session, int kind, const char *list SET_ALGO_TAIL)
{
    char longer[1024];
    if (kind == KEX_HOSTKEYS && host.algorithm[0] != '\0' && list != NULL) {
        int size = snprintf(longer, sizeof(longer), "%s,%s", host.algorithm, list);
        if (size > 0 && (size_t)size < sizeof(longer)) {
            list = longer;
        }
    }
    return __real_ssh_options_set_algo(session, kind, list SET_ALGO_PASS);
}

int __wrap_crypt_set_algorithms_server(ssh_session session)
{
    host.negotiating = true;
    host.chosen = false;
    int rc = __real_crypt_set_algorithms_server(session);
    host.negotiating = false;
    return rc;
}

/* The plain algorithm of a certificate algorithm's name; other names as they are. */
static const char *plain_name(const char *name, char buffer[ALGORITHM_MAX])
{
    const char *suffix = name == NULL ? NULL : strstr(name, CERT_SUFFIX);
    if (suffix == NULL) {
        return name;
    }
    (void)snprintf(buffer, ALGORITHM_MAX, "%.*s", (int)(suffix - name), name);
    return buffer;
}

int __wrap_ssh_key_type_from_signature_name(const char *name)
{
    char buffer[ALGORITHM_MAX];
    if (host.negotiating && name != NULL && host.algorithm[0] != '\0' && strcmp(name, host.algorithm) == 0) {
        host.chosen = true;
    }
    return __real_ssh_key_type_from_signature_name(plain_name(name, buffer));
}

int __wrap_ssh_key_hash_from_name(const char *name)
{
    char buffer[ALGORITHM_MAX];
    return __real_ssh_key_hash_from_name(plain_name(name, buffer));
}

int __wrap_ssh_get_key_params(ssh_session session, ssh_key *key, int *digest)
{
    int rc = __real_ssh_get_key_params(session, key, digest);
    if (rc == SSH_OK && host.chosen) {
        rc = ssh_dh_import_next_pubkey_blob(session, host.blob);
    }
    return rc;
}

/* libssh cannot copy a key that carries a certificate; newer versions do so while they check a client's. */
ssh_key __wrap_ssh_key_dup(const ssh_key key)
{
    const char *type = key == NULL ? NULL : ssh_key_type_to_char(ssh_key_type(key));
    if (type == NULL || strstr(type, CERT_SUFFIX) == NULL) {
        return __real_ssh_key_dup(key);
    }
    ssh_string blob = NULL;
    ssh_key copy = NULL;
    if (ssh_pki_export_pubkey_blob(key, &blob) != SSH_OK) {
        return NULL;
    }
    if (ssh_pki_import_pubkey_blob(blob, &copy) != SSH_OK) {
        copy = NULL;
    }
    ssh_string_free(blob);
    return copy;
}
