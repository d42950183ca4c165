/* The join token resource (kind token, version v2): a typed view. The store keeps the JSON itself. */
#ifndef RBAC_TOKEN_H
#define RBAC_TOKEN_H

#include "base/err.h"
#include "base/node.h"

#define TOKEN_NODE 1u
#define TOKEN_KUBE 2u
#define TOKEN_APP 4u
#define TOKEN_DB 8u
#define TOKEN_PROXY 16u
#define TOKEN_BOT 32u
#define TOKEN_WINDOWS_DESKTOP 64u
#define TOKEN_DISCOVERY 128u

/* What stands for the rest of a secret where people see tokens. */
#define TOKEN_MASK "****************"

struct token {
    char *name;         /* the secret itself */
    int64_t expires_ms; /* Unix milliseconds, 0 when it never expires */
    unsigned roles;     /* TOKEN_* */
    char *join_method;  /* "token", "kubernetes", ... */
    json_t *labels;     /* spec.suggested_labels: object of string arrays; never NULL */
};

/* Strict parse of the parts above; members of the various join methods are type-checked only. Free with token_free. */
enum tp_err token_parse(const struct node *document, struct token **ret_token, struct tp_error *error) TP_MUST;
enum tp_err token_parse_json(const json_t *value, struct token **ret_token, struct tp_error *error) TP_MUST;
/* Wipes the name. */
void token_free(struct token *token);
/* The bit of a role name in any case ("node", "Kube"); 0 for unknown names. */
unsigned token_role(const char *name);
/* Is this the form in which lists show a token? Everybody who may list them knows it, so it must never become one. */
bool token_name_masked(const char *name);
/* The name of one bit as resources write it ("Node"); NULL for anything else. */
const char *token_role_name(unsigned role);

#endif
