/* Servers without an agent: kind node, sub_kind openssh. */
#include "base/mem.h"
#include "rbac/resource_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX 253
#define ID_SIZE 36 /* of a UUID */
#define HOST_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

enum tp_err openssh_check_kind(const struct node *document, struct tp_error *error)
{
    const struct node *sub = schema_get(document, "sub_kind");
    int line = sub ? sub->line : schema_get(document, "kind")->line;
    const char *text = node_get_text(document, "sub_kind", "");
    if (strcmp(text, "openssh") == 0)
        return TP_OK;
    if (strcmp(text, "openssh-ec2-ice") == 0)
        return err_set(
            error, TP_INVALID,
            "line %d: servers behind EC2 Instance Connect (openssh-ec2-ice) are not supported; join them with "
            "an agent, see `tportctl nodes add`",
            line);
    return err_set(
        error, TP_INVALID,
        "line %d: a node registers itself when its agent joins, see `tportctl nodes add`; its labels stand in "
        "its own tport.conf. Only servers without an agent are written, with \"sub_kind: openssh\"",
        line);
}

/* A host name, or an IPv4 address. Neither begins with what its first label may not hold. */
static bool host_valid(const char *text)
{
    size_t size = strlen(text);
    return size <= HOST_MAX && strcspn(text, ".-") > 0 && text[size - 1] != '.' && strspn(text, HOST_LETTERS) == size;
}

/* "web1.example.com:22", "10.0.0.5:22", "[2001:db8::5]:22" */
static bool addr_valid(const char *text)
{
    struct in6_addr ignored;
    const char *colon = strrchr(text, ':');
    if (!colon || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    long port = strtol(colon + 1, NULL, 10);
    char *host = mem_strndup(text, (size_t)(colon - text));
    size_t size = strlen(host);
    bool good = host_valid(host);
    if (host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        good = inet_pton(AF_INET6, host + 1, &ignored) == 1;
    }
    mem_free(host);
    return good && port > 0 && port <= 65535;
}

/* Hosts are called by their names and by their ids: no name may be taken for an id. */
static bool like_id(const char *text)
{
    return strlen(text) == ID_SIZE && strspn(text, "0123456789abcdefABCDEF-") == ID_SIZE;
}

/* What only an agent could give or do. */
static enum tp_err check_agents_keys(const struct node *spec, struct tp_error *error)
{
    const struct node *addrs = schema_get(spec, "public_addrs");
    const struct node *commands = schema_get(spec, "cmd_labels");
    if (addrs && addrs->count > 0)
        return err_set(error, TP_INVALID, "line %d: a server without an agent has one address, \"spec.addr\"",
                       addrs->line);
    if (commands && (commands->kind != NODE_MAP || commands->count > 0))
        return err_set(
            error, TP_INVALID,
            "line %d: a server without an agent runs no commands for \"spec.cmd_labels\"; write its labels in "
            "\"metadata.labels\"",
            commands->line);
    if (schema_bool(spec, "use_tunnel", false))
        return err_set(error, TP_INVALID, "line %d: a server without an agent has no tunnel",
                       schema_get(spec, "use_tunnel")->line);
    return TP_OK;
}

enum tp_err openssh_check(const struct node *document, struct tp_error *error)
{
    const struct node *spec = schema_get(document, "spec");
    const struct node *addr = schema_get(spec, "addr");
    const struct node *hostname = schema_get(spec, "hostname");
    if (!addr_valid(addr->text))
        return err_set(error, TP_INVALID, "line %d: \"spec.addr\" is HOST:PORT, for example 10.0.0.5:22, not \"%.80s\"",
                       addr->line, addr->text);
    if (!host_valid(hostname->text) || like_id(hostname->text))
        return err_set(error, TP_INVALID, "line %d: \"%.80s\" cannot be a host name: use letters, digits and . - _",
                       hostname->line, hostname->text);
    return check_agents_keys(spec, error);
}
