/* A configuration of any bytes: an error with the file's name, or a struct that survives the way through JSON. */
#include "base/mem.h"
#include "core/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct tp_error error = {0};
    if (conf_parse((const char *)data, size, "f", &conf, &report, &error) == TP_OK) {
        struct conf *again = NULL;
        json_t *object = conf_to_json(conf, CONF_AUTH | CONF_WORKER | CONF_AGENT);
        json_t *second;
        if (conf_from_json(object, &again, &error) != TP_OK)
            abort();
        second = conf_to_json(again, CONF_AUTH | CONF_WORKER | CONF_AGENT);
        if (!json_equal(object, second))
            abort();
        json_decref(object);
        json_decref(second);
        conf_free(again);
    } else if (report.errors.count == 0 || strncmp(error.text, "f:", 2) != 0) {
        abort();
    }
    conf_free(conf);
    conf_report_free(&report);
    return 0;
}
