#include "protocols/http/http_fields.h"

#include "base/mem.h"
#include "protocols/http/http_parse.h"

#include <string.h>

void http_fields_begin(struct http_fields *fields, size_t head_size)
{
    fields->arena = mem_alloc(head_size + 2);
}

void http_fields_clear(struct http_fields *fields)
{
    if (fields->arena)
        secret_wipe(fields->arena, fields->used);
    mem_free(fields->arena);
    *fields = (struct http_fields){0};
}

bool http_fields_name(struct http_fields *fields, const char *at, size_t size)
{
    if (fields->name_size != 0)
        return false;
    fields->name_at = fields->used;
    fields->name_size = size;
    for (size_t i = 0; i < size; i++)
        fields->arena[fields->used++] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] - 'A' + 'a' : at[i]);
    fields->arena[fields->used++] = '\0';
    return true;
}

bool http_fields_value(struct http_fields *fields, const char *at, size_t size)
{
    if (fields->value_size != 0)
        return false;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
        size--;
    while (size > 0 && (*at == ' ' || *at == '\t')) {
        at++;
        size--;
    }
    fields->value_at = fields->used;
    fields->value_size = size;
    memcpy(fields->arena + fields->used, at, size);
    fields->used += size;
    return true;
}

bool http_fields_end(struct http_fields *fields, const char **ret_name, const char **ret_value)
{
    if (fields->value_size == 0)
        fields->value_at = fields->used;
    fields->arena[fields->used++] = '\0';
    *ret_name = fields->arena + fields->name_at;
    *ret_value = fields->arena + fields->value_at;
    fields->name_size = 0;
    fields->value_size = 0;
    return http_is_token(*ret_name) && http_is_value(*ret_value);
}
