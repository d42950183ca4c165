/* The cluster's host CAs as its answers name them, and the profile's files that hold them. */
#include "cli/tport/trust.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "crypt/sshcert.h"
#include "crypt/statement.h"
#include "crypt/x509.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD_MAX ((size_t)1024 * 1024)
#define KNOWN_HOSTS_MAX ((size_t)16 * 1024 * 1024)
#define OLD_SECONDS 300

void trust_init(struct trust *trust)
{
    *trust = (struct trust){0};
    buf_init(&trust->cas, FIELD_MAX);
}

void trust_free(struct trust *trust)
{
    buf_free(&trust->cas);
    argv_free(&trust->host_keys);
}

/* The first two words of a key line, checked: nothing else may get into known_hosts. */
static enum tp_err add_host_key(struct trust *trust, const char *value, struct tp_error *error)
{
    struct buf decoded, blob;
    char *line;
    enum tp_err err = TP_OK;

    buf_init(&decoded, FIELD_MAX);
    buf_init(&blob, FIELD_MAX);
    if (strncmp(value, "ssh-", 4) != 0 && strncmp(value, "ecdsa-", 6) != 0 &&
        dec_base64(value, strlen(value), &decoded) == TP_OK)
        line = mem_strdup(buf_text(&decoded));
    else
        line = mem_strdup(value);
    size_t type = strcspn(line, " ");
    size_t key = line[type] == ' ' ? strcspn(line + type + 1, " \t\r\n") : 0;
    line[type + (line[type] == ' ') + key] = '\0';
    if (key == 0 || strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789-@.") != type ||
        sshcert_blob(line, &blob, error) != TP_OK)
        err = err_set(error, TP_PROTOCOL, "the proxy's answer holds a broken SSH host CA");
    else
        argv_add(&trust->host_keys, line);
    mem_free(line);
    buf_free(&decoded);
    buf_free(&blob);
    return err;
}

static enum tp_err add_ca(struct trust *trust, const char *value, struct tp_error *error)
{
    struct buf pem;
    char *pin;
    buf_init(&pem, FIELD_MAX);
    if (strncmp(value, "-----BEGIN", 10) == 0)
        (void)buf_append_text(&pem, value);
    else if (dec_base64(value, strlen(value), &pem) != TP_OK)
        (void)buf_append_text(&pem, "?");
    enum tp_err err = x509_pin(buf_text(&pem), &pin, error);
    if (err == TP_OK) {
        mem_free(pin);
        (void)buf_printf(&trust->cas, "%s\n", buf_text(&pem));
    } else {
        err = err_set(error, TP_PROTOCOL, "the proxy's answer holds a broken host CA certificate");
    }
    buf_free(&pem);
    return err;
}

enum tp_err trust_read(struct trust *trust, const json_t *answer, const char *cluster, struct tp_error *error)
{
    json_t *signers, *signer, *item;
    size_t index, inner;
    enum tp_err err = json_need_array(answer, "host_signers", &signers, error);
    if (err != TP_OK)
        return err;
    json_array_foreach (signers, index, signer) {
        if (strcmp(json_get_text(signer, "domain_name", ""), cluster) != 0)
            continue;
        json_array_foreach (json_object_get(signer, "checking_keys"), inner, item) {
            if (err == TP_OK && json_is_string(item))
                err = add_host_key(trust, json_string_value(item), error);
        }
        json_array_foreach (json_object_get(signer, "tls_certs"), inner, item) {
            if (err == TP_OK && json_is_string(item))
                err = add_ca(trust, json_string_value(item), error);
        }
    }
    if (err == TP_OK && (trust->host_keys.count == 0 || buf_size(&trust->cas) == 0))
        err = err_set(error, TP_PROTOCOL, "the proxy's answer names no CA of the cluster %s", cluster);
    return err;
}

/* The keys of the cluster's SSH host CA that the profile knows (its lines of known_hosts). */
static void known_keys(const struct profile *profile, struct argv *lines)
{
    struct buf text;
    char *mark = mem_printf(",*.%s ", profile->cluster);
    buf_init(&text, KNOWN_HOSTS_MAX);
    enum tp_err err = file_read(profile->known_hosts, &text, NULL);
    for (const char *at = buf_text(&text); err == TP_OK && *at;) {
        size_t length = strcspn(at, "\n");
        char *line = mem_strndup(at, length);
        const char *key = strncmp(line, "@cert-authority ", 16) == 0 ? strstr(line, mark) : NULL;
        if (key)
            argv_add(lines, key + strlen(mark));
        mem_free(line);
        at += length;
        at += *at == '\n';
    }
    buf_free(&text);
    mem_free(mark);
}

enum tp_err trust_take(const struct profile *profile, const json_t *answer, struct tp_error *error)
{
    static const char *const none[] = {NULL};
    struct trust trust;
    struct argv known = {0};
    json_t *said = NULL;
    trust_init(&trust);
    known_keys(profile, &known);
    enum tp_err err = statement_open(answer, known.count > 0 ? (const char *const *)known.items : none,
                                     profile->cluster, clock_wall(), &said, error);
    if (err == TP_OK)
        err = trust_read(&trust, said, profile->cluster, error);
    if (err == TP_OK)
        err = profile_update_trust(profile, buf_text(&trust.cas), (const char *const *)trust.host_keys.items, error);
    json_decref(said);
    argv_free(&known);
    trust_free(&trust);
    return err;
}

void trust_refresh(struct api *api, const struct profile *profile)
{
    struct tp_error error = {0};
    json_t *answer = NULL;
    enum tp_err err = api_rpc(api, "cluster.cas", json_object(), &answer, &error);
    if (err == TP_OK)
        err = trust_take(profile, answer, &error);
    if (err == TP_DENIED && answer)
        (void)fprintf(stderr, "WARNING: %s; this profile goes on trusting the CAs of its login\n", error.text);
    json_decref(answer);
}

void trust_refresh_old(const struct profile *profile)
{
    struct api *api = NULL;
    struct stat found;
    int64_t age = stat(profile->cas, &found) == 0 ? clock_wall() - (int64_t)found.st_mtime : -1;
    if (age >= 0 && age < OLD_SECONDS)
        return;
    if (api_open_profile(profile, &api, NULL) == TP_OK)
        trust_refresh(api, profile);
    api_close(api);
}
