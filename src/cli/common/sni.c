#include "cli/common/sni.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/mem.h"

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
