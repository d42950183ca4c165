/*
 * tport kube credentials: what kubectl starts before each command. It answers from the profile alone, unless roles ask for a
 * one-time code before each session: then with a certificate for that cluster, which is kept beside the profile until it
 * ends.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/mfa.h"
#include "cli/tport/tport.h"
#include "crypt/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM_MAX ((size_t)256 * 1024)
#define LEFT_SECONDS 3                 /* a certificate that ends sooner is not worth giving out */
#define INFO_MAX ((size_t)1024 * 1024) /* KUBERNETES_EXEC_INFO may hold a CA bundle */

/* The version that kubectl asks for; the answer must bear the same. */
static const char *asked_version(void)
{
    static const char *const known[] = {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"};
    const char *info = getenv("KUBERNETES_EXEC_INFO");
    const char *version = known[1];
    json_t *object;
    if (!info || json_parse_object(info, strlen(info), INFO_MAX, &object, NULL) != TP_OK)
        return version;
    if (strcmp(json_get_text(object, "apiVersion", ""), known[0]) == 0)
        version = known[0];
    json_decref(object);
    return version;
}

static enum tp_err print_credential(const char *cert, const char *key, int64_t not_after, struct tp_error *error)
{
    char until[CLOCK_TEXT_SIZE];
    clock_format(not_after, until);
    json_t *answer =
        json_pack("{s:s, s:s, s:{}, s:{s:s, s:s, s:s}}", "apiVersion", asked_version(), "kind", "ExecCredential",
                  "spec", "status", "expirationTimestamp", until, "clientCertificateData", cert, "clientKeyData", key);
    if (!answer)
        return err_set(error, TP_CORRUPT, "the profile is damaged, run \"tport login\" again");
    char *text = json_text(answer);
    (void)printf("%s\n", text);
    secret_free(text);
    json_decref(answer);
    return TP_OK;
}

static enum tp_err print_profile(const struct profile *profile, struct tp_error *error)
{
    struct buf cert, key;
    buf_init(&cert, PEM_MAX);
    buf_init(&key, PEM_MAX);
    enum tp_err err = file_read(profile->tls_cert, &cert, error);
    if (err == TP_OK)
        err = file_read(profile->tls_key, &key, error);
    if (err == TP_OK)
        err = print_credential(buf_text(&cert), buf_text(&key), profile->identity.not_after, error);
    buf_wipe(&cert);
    buf_wipe(&key);
    return err;
}

/* ---- a certificate for one cluster (behaviour.md 9) ---- */

/* Names of clusters may hold what names of files may not. */
static char *kept_path(const struct profile *profile, const char *kube, bool with_file)
{
    char *hex = profile_good_name(kube) ? NULL : enc_hex(kube, strlen(kube));
    char *path = with_file ? mem_printf("%s-kube/%s/%s.cred", profile->ssh_key, profile->cluster, hex ? hex : kube)
                           : mem_printf("%s-kube/%s", profile->ssh_key, profile->cluster);
    mem_free(hex);
    return path;
}

/* Of this login, for this cluster, and good for a while. */
static bool still_good(const struct profile *profile, const char *kube, const char *cert, int64_t *ret_not_after)
{
    struct identity identity;
    struct buf der;
    identity_init(&identity);
    buf_init(&der, PEM_MAX);
    bool good = x509_pem_to_der(cert, strlen(cert), &der, NULL) == TP_OK &&
                x509_read(buf_head(&der), buf_size(&der), &identity, NULL) == TP_OK && identity.target.kube &&
                strcmp(identity.target.kube, kube) == 0 && strcmp(identity.name, profile->user) == 0 &&
                identity.base_not_after == profile->identity.not_after &&
                identity.not_after > clock_wall() + LEFT_SECONDS;
    *ret_not_after = identity.not_after;
    identity_free(&identity);
    buf_free(&der);
    return good;
}

/* Prints what is kept; false: there is nothing, or it has ended. */
static bool print_kept(const struct profile *profile, const char *kube, const char *path)
{
    struct buf both;
    int64_t not_after = 0;
    bool printed = false;
    buf_init(&both, PEM_MAX);
    if (file_read(path, &both, NULL) == TP_OK) {
        const char *cert = strstr(buf_text(&both), "-----BEGIN CERTIFICATE-----");
        if (cert && still_good(profile, kube, cert, &not_after)) {
            char *key = mem_strndup(buf_text(&both), (size_t)(cert - buf_text(&both)));
            printed = print_credential(cert, key, not_after, NULL) == TP_OK;
            secret_free(key);
        }
    }
    buf_wipe(&both);
    return printed;
}

static enum tp_err ask_and_keep(const struct profile *profile, const char *kube, const char *path,
                                struct tp_error *error)
{
    struct mfa_cert given = {0};
    /* kubectl reads standard output: when it goes, nobody waits for a code any more. */
    enum tp_err err = mfa_ask(profile, &(struct mfa_target){.kube = kube}, STDOUT_FILENO, &given, error);
    if (err == TP_OK) {
        char *both = mem_printf("%s%s", given.key, given.cert);
        err = file_write_text(path, both, error);
        secret_free(both);
    }
    if (err == TP_OK)
        err = print_credential(given.cert, given.key, given.not_after, error);
    mfa_cert_free(&given);
    return err;
}

/* Of several kubectls that start together one asks, and the others take what it has got. */
static enum tp_err print_for_cluster(const struct profile *profile, const char *kube, struct tp_error *error)
{
    char *path = kept_path(profile, kube, true);
    char *folder = kept_path(profile, kube, false);
    char *lock_path = mem_printf("%s.lock", path);
    int lock = -1;
    enum tp_err err = TP_OK;
    if (!print_kept(profile, kube, path)) {
        err = file_make_dirs(folder, error);
        if (err == TP_OK)
            err = file_lock(lock_path, &lock, error);
        if (err == TP_OK && !print_kept(profile, kube, path))
            err = mfa_required_now(profile, &(struct mfa_target){.kube = kube})
                      ? ask_and_keep(profile, kube, path, error)
                      : print_profile(profile, error);
    }
    if (lock >= 0)
        (void)close(lock);
    mem_free(path);
    mem_free(folder);
    mem_free(lock_path);
    return err;
}

enum tp_err tport_kube_credentials(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    const char *cluster = command_text(line, "teleport-cluster", NULL);
    const char *kube = command_text(line, "kube-cluster", NULL);
    enum tp_err err = tport_profile(line, &profile, error);
    if (err == TP_OK && cluster && strcmp(cluster, profile.cluster) != 0)
        err = err_set(error, TP_NOT_FOUND,
                      "the profile of %s is for the cluster %s now, not %s; run \"tport kube login\" again",
                      profile.host, profile.cluster, cluster);
    if (err == TP_OK)
        err = profile.mfa_never || !kube ? print_profile(&profile, error) : print_for_cluster(&profile, kube, error);
    profile_free(&profile);
    return err;
}
