/* What is asked for on a resource beside a login: database users and names, Windows logins, cloud identities. */
#include "rbac/role_private.h"

#include <string.h>
#include <strings.h>

static bool is_aws_protocol(const char *protocol)
{
    static const char *const aws[] = {"dynamodb", "redshift-serverless", "opensearch", NULL};
    return protocol && names_listed(aws, protocol);
}

/* The account of arn:aws:iam::ACCOUNT:role/NAME, its size in ret_size; NULL for other texts. */
static const char *arn_account(const char *text, size_t *ret_size)
{
    if (strncmp(text, "arn:", 4) != 0)
        return NULL;
    text += 4;
    for (size_t colons = 0; colons < 3; colons++) {
        text = strchr(text, ':');
        if (!text)
            return NULL;
        text++;
    }
    *ret_size = strcspn(text, ":");
    return text[*ret_size] == ':' ? text : NULL;
}

static const char *short_name(const char *text)
{
    size_t size = 0;
    const char *account = arn_account(text, &size);
    if (account)
        text = account + size + 1;
    return strncmp(text, "role/", 5) == 0 ? text + 5 : text;
}

/* NAME, role/NAME and the full ARN of one account are the same role. */
static bool same_aws_role(const char *a, const char *b)
{
    size_t a_size = 0;
    size_t b_size = 0;
    const char *a_account = arn_account(a, &a_size);
    const char *b_account = arn_account(b, &b_size);
    if (a_account && b_account && (a_size != b_size || memcmp(a_account, b_account, a_size) != 0))
        return false;
    return strcmp(short_name(a), short_name(b)) == 0;
}

static bool same(enum role_list list, const struct rbac_access *access, const char *a, const char *b)
{
    if (list == ROLE_DB_USERS && is_aws_protocol(access->db_protocol))
        return same_aws_role(a, b);
    if (list == ROLE_AZURE ||
        (list == ROLE_DB_USERS && access->db_protocol && strcmp(access->db_protocol, "cockroachdb") == 0))
        return strcasecmp(a, b) == 0;
    return strcmp(a, b) == 0;
}

static bool list_holds(const struct rbac_set *set, const struct set_section *section, enum role_list list,
                       const struct rbac_access *access, const char *wanted, bool deny)
{
    bool wildcard = deny || list == ROLE_DB_USERS || list == ROLE_DB_NAMES;
    struct names values = {0};
    bool holds = false;
    template_list_expand(&section->from->lists[list], set->traits, &values);
    for (size_t i = 0; i < values.count && !holds; i++)
        holds = (wildcard && strcmp(values.items[i], "*") == 0) || same(list, access, values.items[i], wanted);
    names_free(&values);
    return holds;
}

struct matcher {
    enum role_list list;
    const char *wanted;
};

#define MATCHERS 6

static void matchers_of(const struct rbac_access *access, struct matcher out[MATCHERS])
{
    const struct matcher all[MATCHERS] = {{ROLE_DB_USERS, access->db_user},
                                          {ROLE_DB_NAMES, access->db_name},
                                          {ROLE_WINDOWS_LOGINS, access->windows_login},
                                          {ROLE_AWS_ARNS, access->aws_role_arn},
                                          {ROLE_AZURE, access->azure_identity},
                                          {ROLE_GCP, access->gcp_service_account}};
    memcpy(out, all, sizeof all);
}

bool set_matchers_any(const struct rbac_access *access)
{
    return access->db_user || access->db_name || access->windows_login || access->aws_role_arn ||
           access->azure_identity || access->gcp_service_account;
}

bool set_matchers_hold(const struct rbac_set *set, const struct set_section *section, const struct rbac_access *access)
{
    struct matcher matchers[MATCHERS];
    matchers_of(access, matchers);
    for (size_t i = 0; i < MATCHERS; i++)
        if (matchers[i].wanted && !list_holds(set, section, matchers[i].list, access, matchers[i].wanted, false))
            return false;
    return true;
}

const char *set_matchers_denied(const struct rbac_set *set, const struct set_section *section,
                                const struct rbac_access *access)
{
    struct matcher matchers[MATCHERS];
    matchers_of(access, matchers);
    for (size_t i = 0; i < MATCHERS; i++)
        if (matchers[i].wanted && list_holds(set, section, matchers[i].list, access, matchers[i].wanted, true))
            return role_list_keys[matchers[i].list];
    return NULL;
}
