#include "cli/common/identity_file.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/mem.h"
#include "cli/common/argv.h"
#include "cli/common/file.h"
#include "cli/common/profile.h"
#include "crypt/key.h"
#include "crypt/x509.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)256 * 1024)

struct parts {
    char *ssh_key, *tls_key; /* secret */
    char *ssh_cert, *tls_cert;
    struct buf cas;
    struct argv host_keys;
};

static void parts_free(struct parts *parts)
{
    secret_free(parts->ssh_key);
    secret_free(parts->tls_key);
    mem_free(parts->ssh_cert);
    mem_free(parts->tls_cert);
    buf_free(&parts->cas);
    argv_free(&parts->host_keys);
}

/* A PEM block goes where its label says; the first certificate is the person's, the others are CAs. */
static void take_block(struct parts *parts, const char *block, size_t size)
{
    char *text = mem_strndup(block, size);
    if (strncmp(text, "-----BEGIN OPENSSH PRIVATE KEY", 30) == 0 && !parts->ssh_key) {
        parts->ssh_key = text;
    } else if (strncmp(text, "-----BEGIN CERTIFICATE-----", 27) == 0) {
        if (parts->tls_cert) {
            (void)buf_append_text(&parts->cas, text);
            mem_free(text);
        } else {
            parts->tls_cert = text;
        }
    } else if (strstr(text, "PRIVATE KEY-----") && !parts->tls_key) {
        parts->tls_key = text;
    } else {
        secret_free(text);
    }
}

static void take_line(struct parts *parts, const char *line)
{
    static const char mark[] = "@cert-authority ";
    if (strncmp(line, mark, sizeof(mark) - 1) == 0) {
        const char *key = strchr(line + sizeof(mark) - 1, ' ');
        const char *blob = key ? strchr(key + 1, ' ') : NULL;
        if (blob) {
            char *words = mem_strndup(key + 1, (size_t)(blob - key - 1) + 1 + strcspn(blob + 1, " "));
            argv_add(&parts->host_keys, words);
            mem_free(words);
        }
    } else if (strstr(line, "-cert-v01@openssh.com ") && !parts->ssh_cert) {
        parts->ssh_cert = mem_strdup(line);
    }
}

static void split(const char *text, struct parts *parts)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        const char *end = strncmp(text, "-----BEGIN ", 11) == 0 ? strstr(text, "\n-----END ") : NULL;
        if (end) {
            length = (size_t)(end - text) + 1;
            length += strcspn(text + length, "\n");
            take_block(parts, text, length + (text[length] == '\n'));
        } else {
            char *line = mem_strndup(text, length);
            take_line(parts, line);
            mem_free(line);
        }
        text += length;
        text += *text == '\n';
    }
}

static enum tp_err check(const struct parts *parts, const char *path, struct tp_error *error)
{
    const char *missing = !parts->ssh_key               ? "an SSH key"
                          : !parts->ssh_cert            ? "an SSH certificate"
                          : !parts->tls_key             ? "a TLS key"
                          : !parts->tls_cert            ? "a TLS certificate"
                          : buf_size(&parts->cas) == 0  ? "the certificate of a CA"
                          : parts->host_keys.count == 0 ? "the SSH key of a CA"
                                                        : NULL;
    return missing ? err_set(error, TP_INVALID,
                             "%s is no identity file: %s is missing; tportctl auth sign --format=file "
                             "makes one",
                             path, missing)
                   : TP_OK;
}

static enum tp_err save(struct parts *parts, const char *home, const char *proxy, struct tp_error *error)
{
    struct identity identity;
    struct profile profile = {0};
    struct buf der;
    char *host = NULL, *address = NULL;
    uint16_t port = 0;

    identity_init(&identity);
    identity_init(&profile.identity);
    buf_init(&der, FILE_MAX);
    enum tp_err err = profile_parse_proxy(proxy, &host, &port, error);
    if (err == TP_OK)
        err = x509_pem_to_der(parts->tls_cert, strlen(parts->tls_cert), &der, error);
    if (err == TP_OK)
        err = x509_read(buf_head(&der), buf_size(&der), &identity, error);
    if (err == TP_OK && identity.kind != IDENTITY_USER)
        err = err_set(error, TP_INVALID, "the identity file is a host's, not a person's");
    if (err == TP_OK) {
        bool v6 = strchr(host, ':') != NULL;
        address = mem_printf("%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)port);
        err = profile_init(&profile, home, host, address, identity.name, identity.cluster, error);
    }
    if (err == TP_OK) {
        struct profile_content content = {.ssh_key = parts->ssh_key,
                                          .ssh_public = "",
                                          .ssh_cert = parts->ssh_cert,
                                          .tls_key = parts->tls_key,
                                          .tls_cert = parts->tls_cert,
                                          .cas = buf_text(&parts->cas),
                                          .host_keys = (const char *const *)parts->host_keys.items};
        err = profile_save(&profile, &content, error);
    }
    profile_free(&profile);
    identity_free(&identity);
    buf_free(&der);
    mem_free(host);
    mem_free(address);
    return err;
}

enum tp_err identity_file_use(const char *path, const char *proxy, struct tp_error *error)
{
    struct parts parts = {0};
    struct buf text;
    uint8_t hash[32];

    if (!proxy)
        return err_set(error, TP_INVALID, "an identity file names no proxy; say which one");
    buf_init(&text, FILE_MAX);
    buf_init(&parts.cas, FILE_MAX);
    enum tp_err err = file_read(path, &text, error);
    if (err == TP_OK) {
        split(buf_text(&text), &parts);
        err = check(&parts, path, error);
    }
    if (err == TP_OK) {
        crypt_sha256(buf_head(&text), buf_size(&text), hash);
        char *name = enc_hex(hash, 16), *base = profile_home();
        char *home = mem_printf("%s/identities/%s", base, name);
        err = file_make_dirs(home, error);
        if (err == TP_OK)
            err = save(&parts, home, proxy, error);
        if (err == TP_OK && setenv("TPORT_HOME", home, 1) != 0)
            err = err_set(error, TP_INTERNAL, "the environment can't be changed");
        mem_free(name);
        mem_free(base);
        mem_free(home);
    }
    parts_free(&parts);
    buf_wipe(&text);
    return err;
}
