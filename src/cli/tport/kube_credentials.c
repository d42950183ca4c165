/* tport kube credentials: what kubectl starts before each command. It answers from the profile alone. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/tport/tport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX ((size_t)256 * 1024)
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

static enum tp_err print_credential(const struct profile *profile, struct tp_error *error)
{
    char until[CLOCK_TEXT_SIZE];
    struct buf cert, key;

    buf_init(&cert, PEM_MAX);
    buf_init(&key, PEM_MAX);
    clock_format(profile->identity.not_after, until);
    enum tp_err err = file_read(profile->tls_cert, &cert, error);
    if (err == TP_OK)
        err = file_read(profile->tls_key, &key, error);
    if (err == TP_OK) {
        json_t *answer = json_pack("{s:s, s:s, s:{}, s:{s:s, s:s, s:s}}", "apiVersion", asked_version(), "kind",
                                   "ExecCredential", "spec", "status", "expirationTimestamp", until,
                                   "clientCertificateData", buf_text(&cert), "clientKeyData", buf_text(&key));
        if (answer) {
            char *text = json_text(answer);
            (void)printf("%s\n", text);
            secret_free(text);
        } else {
            err = err_set(error, TP_CORRUPT, "the profile of %s is damaged, run \"tport login\" again", profile->host);
        }
        json_decref(answer);
    }
    buf_wipe(&cert);
    buf_wipe(&key);
    return err;
}

enum tp_err tport_kube_credentials(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    const char *cluster = command_text(line, "teleport-cluster", NULL);
    enum tp_err err = tport_profile(line, &profile, error);
    if (err == TP_OK && cluster && strcmp(cluster, profile.cluster) != 0)
        err = err_set(error, TP_NOT_FOUND,
                      "the profile of %s is for the cluster %s now, not %s; run \"tport kube login\" again",
                      profile.host, profile.cluster, cluster);
    if (err == TP_OK)
        err = print_credential(&profile, error);
    profile_free(&profile);
    return err;
}
