/* Bytes as a trait template, parsed and expanded. */
#include "base/mem.h"
#include "rbac/template.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    json_t *traits = json_loads("{\"logins\":[\"admin\",\"a@b\",\"aaaaaaaaaaaaaaaaaaaaaaaa\"],\"x\":[\"\"]}", 0, NULL);
    struct template *item = NULL;
    struct names values = {0};
    if (template_parse(text, &item, NULL) == TP_OK) {
        template_expand(item, traits, &values);
        if (template_is_literal(item) && (values.count != 1 || strcmp(values.items[0], text) != 0))
            __builtin_trap();
        names_free(&values);
        template_free(item);
    }
    json_decref(traits);
    mem_free(text);
    return 0;
}
