#include "cli/common/sni.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <string.h>

enum tp_err sni_for_node(const char *target, const char *cluster, char **ret_name, struct tp_error *error)
{
    struct buf out;
    if (*target == '\0')
        return err_set(error, TP_INVALID, "the host's name is empty");
    char *hex = enc_hex(target, strlen(target));
    buf_init(&out, 0);
    for (const char *at = hex; *at;) {
        size_t length = strnlen(at, SNI_LABEL_MAX);
        (void)buf_append(&out, at, length);
        (void)buf_append(&out, ".", 1);
        at += length;
    }
    (void)buf_printf(&out, "node.%s", cluster);
    mem_free(hex);
    if (buf_size(&out) > SNI_MAX) {
        buf_free(&out);
        return err_set(error, TP_TOO_LARGE, "the host's name is too long; use its UUID");
    }
    *ret_name = buf_take(&out);
    return TP_OK;
}

enum tp_err sni_for_kube(const char *kube, const char *cluster, char **ret_name, struct tp_error *error)
{
    size_t length = strlen(kube);
    uint8_t hash[32];
    if (length == 0)
        return err_set(error, TP_INVALID, "the Kubernetes cluster's name is empty");
    if (length > SNI_KUBE_PLAIN)
        crypt_sha256(kube, length, hash);
    char *hex = length > SNI_KUBE_PLAIN ? enc_hex(hash, sizeof(hash) / 2) : enc_hex(kube, length);
    char *name = mem_printf("%s%s.kube.%s", length > SNI_KUBE_PLAIN ? "h" : "", hex, cluster);
    mem_free(hex);
    if (strlen(name) > SNI_MAX) {
        mem_free(name);
        return err_set(error, TP_TOO_LARGE, "the cluster's name %s is too long for a server name", cluster);
    }
    *ret_name = name;
    return TP_OK;
}
