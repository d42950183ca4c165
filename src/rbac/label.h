/* Label selectors: `environment: dev`, `'*': '*'`, lists, globs and regular expressions, with templates in keys and
 * values. */
#ifndef RBAC_LABEL_H
#define RBAC_LABEL_H

#include "base/node.h"
#include "rbac/rbac.h"
#include "rbac/template.h"

/* As written. */
struct label_template_key {
    struct template *name;
    struct template_list values;
};

struct label_template {
    bool set; /* the key stood in the role */
    size_t count;
    struct label_template_key *keys;
};

/* As expanded for one user. */
struct label_selector {
    bool all; /* '*': '*' */
    size_t count;
    struct label_key *keys;
};

enum label_result {
    LABEL_NO,
    LABEL_YES,
    LABEL_FAILED /* cannot be told (a bad regular expression): allow takes it as no, deny as yes */
};

/* Reads a map that passed SCHEMA_LABELS. */
enum tp_err label_template_parse(const struct node *map, enum role_strict strict, const char *path,
                                 struct label_template *ret_template, struct tp_error *error) TP_MUST;
void label_template_all(struct label_template *selector); /* makes it '*': '*' */
void label_template_free(struct label_template *selector);

void label_expand(const struct label_template *from, const json_t *traits, struct label_selector *ret_selector);
void label_free(struct label_selector *selector);
/* The bits that a resource must have for the selector to match: a bit that is missing means LABEL_NO. */
struct rbac_tags label_tags_needed(const struct label_selector *selector) TP_MUST;
/* One bit for a name, such as a login. */
uint64_t label_tag(const char *name) TP_MUST;
/* Do all keys match? ret_key (may be NULL) is the key that decided, ret_value its value on the resource; both may stay
 * unset. */
enum label_result label_match(const struct label_selector *selector, const struct rbac_label *labels, size_t count,
                              const char **ret_key, const char **ret_value) TP_MUST;
/* The first key that does not match, "" when it is a template that gave nothing; ret_here is what stands under it on the
 * resource, or NULL. NULL: none, all match. */
const char *label_miss(const struct label_selector *selector, const struct rbac_label *labels, size_t count,
                       const char **ret_here);

#endif
