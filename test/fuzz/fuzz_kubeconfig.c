/* A kubeconfig of a stranger: tport's entries go in, the file comes back the same, and they go out without a trace. */
#include "base/mem.h"
#include "base/node.h"
#include "cli/tport/kubeconfig.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *again(const json_t *config)
{
    struct tp_error error = {0};
    json_t *copy = NULL;
    char *text = kubeconfig_text(config);
    enum tp_err err = kubeconfig_parse(text, strlen(text), "g", &copy, &error);
    if (err == TP_OK ? !json_equal(copy, config) : err != TP_TOO_LARGE)
        abort();
    secret_free(text);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kubeconfig_target target = {.teleport = "example.com",
                                             .kube = "prod",
                                             .proxy = "proxy:443",
                                             .server_name = "70.kube.example.com",
                                             .cas = "CA",
                                             .program = "/usr/bin/tport"};
    json_t *config, *before, *back;
    struct tp_error error = {0};
    if (kubeconfig_parse((const char *)data, size, "f", &config, &error) != TP_OK) {
        if (strncmp(error.text, "f:", 2) != 0)
            abort();
        return 0;
    }
    (void)kubeconfig_remove(config, target.proxy);
    before = json_deep_copy(config);
    if (kubeconfig_put(config, &target, &error) == TP_OK) {
        kubeconfig_select(config, "example.com-prod");
        const char *selected = kubeconfig_selected(config, target.proxy);
        if (!selected || strcmp(selected, "prod") != 0)
            abort();
        back = again(config);
        json_decref(back);
        if (kubeconfig_remove(config, target.proxy) == 0 || kubeconfig_remove(config, target.proxy) != 0)
            abort();
    } else if (!json_equal(before, config)) {
        abort();
    }
    back = again(config);
    json_decref(back);
    json_decref(before);
    json_decref(config);
    return 0;
}
