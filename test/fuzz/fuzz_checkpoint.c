/* Signed notes and verifier keys from a stranger's file. */
#include "audit/note.h"
#include "base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The seeds' key: what follows the first line is read with it when the line is a key itself. */
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    struct note_key key = {.name = "example.com/audit"};
    struct checkpoint checkpoint = {0};
    size_t line = newline ? (size_t)(newline - data) : size;
    char *text = mem_strndup((const char *)data, line);
    if (note_parse_key(text, &key, NULL) == TP_OK) {
        char *again = note_verifier_key(key.name, key.public_key);
        if (strlen(again) == 0)
            __builtin_trap();
        mem_free(again);
    }
    mem_free(text);
    if (newline && note_open_checkpoint(newline + 1, size - line - 1, &key, &checkpoint, NULL) == TP_OK &&
        checkpoint.size > INT64_MAX && checkpoint.size == 0)
        __builtin_trap();
    return 0;
}
