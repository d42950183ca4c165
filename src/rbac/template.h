/* Trait templates: "prefix{{internal.logins}}suffix", with email.local and regexp.replace around the trait. */
#ifndef RBAC_TEMPLATE_H
#define RBAC_TEMPLATE_H

#include "base/err.h"
#include "rbac/names.h"

#include <jansson.h>

struct template;

struct template_list {
    size_t count;
    struct template **items;
};

/* Parses; free it with template_free. A text without braces is a literal. */
enum tp_err template_parse(const char *text, struct template **ret_template, struct tp_error *error) TP_MUST;
/* One that never gives a value: stands for a stored entry that does not parse. */
struct template *template_broken(const char *text) TP_MUST;
void template_free(struct template *item);
/* The text it was parsed from. */
const char *template_text(const struct template *item);
/* No trait in it? */
bool template_is_literal(const struct template *item);
/* The trait it reads is `internal.NAME` with a name that we do not know: that name, else NULL. */
const char *template_unknown_internal(const struct template *item);

/* Appends the values for these traits (object of string arrays, or NULL), none twice. A missing trait, an empty value,
 * a bad address or no match give nothing. */
void template_expand(const struct template *item, const json_t *traits, struct names *out);

/* A whole list. */
void template_list_add(struct template_list *list, struct template *item);
void template_list_free(struct template_list *list);
void template_list_expand(const struct template_list *list, const json_t *traits, struct names *out);

/* The part of a mail address before the @, or NULL (mem_free it). */
char *template_email_local(const char *address) TP_MUST;

#endif
