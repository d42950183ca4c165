/* A kubeconfig is a file that people copy around: any text leads to entries that are complete, or to one sentence. */
#include "agent/kube_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    if (kube_config_parse((const char *)data, size, "/dir/kubeconfig", &list, &count, &error) != TP_OK) {
        if (list != NULL || error.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct kube_cluster_conf *conf = &list[i];
        if (conf->problem != NULL) {
            if (conf->problem[0] == '\0' || conf->host != NULL || conf->token != NULL || conf->key_pem != NULL) {
                abort();
            }
            continue;
        }
        bool pair = (conf->cert_pem || conf->cert_file) == (conf->key_pem || conf->key_file);
        if (conf->name[0] == '\0' || conf->host[0] == '\0' || conf->port == 0 || conf->server_name[0] == '\0' ||
            !pair || (conf->prefix[0] != '\0' && conf->prefix[0] != '/') || strpbrk(conf->prefix, " \r\n?#") ||
            (conf->token && strpbrk(conf->token, " \r\n")) || (conf->ca_file && conf->ca_file[0] != '/')) {
            abort();
        }
    }
    kube_config_free(list, count);
    return 0;
}
