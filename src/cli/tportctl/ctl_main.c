#include "base/mem.h"
#include "base/node.h"
#include "base/version.h"
#include "cli/common/file.h"
#include "cli/common/identity_file.h"
#include "cli/common/output.h"
#include "cli/tportctl/tportctl.h"

#include <stdio.h>
#include <string.h>

#define NONE                              \
    {                                     \
        NULL, 0, COMMAND_FLAG, NULL, NULL \
    }
#define DEFAULT_CONFIG "/etc/tport/tport.conf"
#define DEFAULT_DATA_DIR "/var/lib/tport"

static const struct command_option globals[] = {
    {"config", 'c', COMMAND_TEXT, "FILE", "Configuration of the daemon on this machine (" DEFAULT_CONFIG ")"},
    {"auth-server", 0, COMMAND_TEXT, "HOST[:PORT]", "Go through this proxy with your profile, not the local socket"},
    {"identity", 'i', COMMAND_TEXT, "FILE", "Use this identity file in place of a profile; needs --auth-server"},
    {"debug", 'd', COMMAND_FLAG, NULL, "Say more about what happens"},
    NONE};

#define TRAIT_OPTIONS(prefix, verb)                                                                                \
    {prefix "logins", 0, COMMAND_TEXT, "A,B", verb " the logins on hosts"},                                        \
        {prefix "windows-logins", 0, COMMAND_TEXT, "A,B", verb " the Windows logins"},                             \
        {prefix "kubernetes-users", 0, COMMAND_TEXT, "A,B", verb " the Kubernetes users"},                         \
        {prefix "kubernetes-groups", 0, COMMAND_TEXT, "A,B", verb " the Kubernetes groups"},                       \
        {prefix "db-users", 0, COMMAND_TEXT, "A,B", verb " the database users"},                                   \
        {prefix "db-names", 0, COMMAND_TEXT, "A,B", verb " the database names"},                                   \
        {prefix "db-roles", 0, COMMAND_TEXT, "A,B", verb " the database roles"},                                   \
        {prefix "aws-role-arns", 0, COMMAND_TEXT, "A,B", verb " the AWS roles"},                                   \
        {prefix "azure-identities", 0, COMMAND_TEXT, "A,B", verb " the Azure identities"},                         \
        {prefix "gcp-service-accounts", 0, COMMAND_TEXT, "A,B", verb " the GCP service accounts"},                 \
        {prefix "default-relay-addr", 0, COMMAND_TEXT, "ADDRESS", verb " the relay of Teleport (kept, not used)"}, \
        {prefix "host-user-uid", 0, COMMAND_TEXT, "UID", verb " the UID of created host users"},                   \
    {                                                                                                              \
        prefix "host-user-gid", 0, COMMAND_TEXT, "GID", verb " the GID of created host users"                      \
    }

static const struct command_option users_add[] = {
    {"roles", 0, COMMAND_TEXT, "A,B", "Roles of the user (needed)"},
    TRAIT_OPTIONS("", "Set"),
    {"ttl", 0, COMMAND_TEXT, "1h", "How long the invitation is good; at most 48h"},
    {"format", 'f', COMMAND_TEXT, "text|json", "Form of the output"},
    NONE};
static const struct command_option users_update[] = {
    {"set-roles", 0, COMMAND_TEXT, "A,B", "Replace the roles"}, TRAIT_OPTIONS("set-", "Replace"), NONE};
static const struct command_option users_reset[] = {
    {"ttl", 0, COMMAND_TEXT, "8h", "How long the link is good; at most 24h"},
    {"format", 'f', COMMAND_TEXT, "text|json", "Form of the output"},
    NONE};
static const struct command_option format_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"}, NONE};
static const struct command_option nodes_add[] = {
    {"roles", 0, COMMAND_TEXT, "node,kube", "What the new host may be (node)"},
    {"ttl", 0, COMMAND_TEXT, "30m", "How long the token is good"},
    {"token", 0, COMMAND_TEXT, "VALUE", "Use this value instead of a random one"},
    {"format", 'f', COMMAND_TEXT, "text|json", "Form of the output"},
    NONE};
static const struct command_option nodes_ls[] = {
    {"all", 0, COMMAND_FLAG, NULL, "Also hosts that have been away for more than ten minutes"},
    {"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"},
    {"verbose", 'v', COMMAND_FLAG, NULL, "Do not cut labels"},
    {"search", 0, COMMAND_TEXT, "WORDS", "Only hosts that hold all these words (comma-separated)"},
    {"query", 0, COMMAND_TEXT, "EXPRESSION", "Only hosts for which the expression holds"},
    NONE};
static const struct command_option kube_ls[] = {{"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"},
                                                {"verbose", 'v', COMMAND_FLAG, NULL, "Do not cut labels"},
                                                NONE};
static const struct command_option tokens_add[] = {
    {"type", 0, COMMAND_TEXT, "node,kube", "What the token admits (needed)"},
    {"ttl", 0, COMMAND_TEXT, "30m", "How long the token is good"},
    {"value", 0, COMMAND_TEXT, "VALUE", "Use this value instead of a random one"},
    {"labels", 0, COMMAND_TEXT, "K=V,...", "Labels of the token"},
    {"format", 'f', COMMAND_TEXT, "text|json", "text: the token alone, without what to do with it"},
    NONE};
static const struct command_option tokens_ls[] = {{"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"},
                                                  {"with-secrets", 0, COMMAND_FLAG, NULL, "Accepted for compatibility"},
                                                  NONE};
static const struct command_option get_options[] = {
    {"format", 'f', COMMAND_TEXT, "yaml|json|text", "Form of the output"},
    {"with-secrets", 0, COMMAND_FLAG, NULL, "With secret parts"},
    NONE};
static const struct command_option create_options[] = {{"force", 'f', COMMAND_FLAG, NULL, "Replace what is there"},
                                                       {"confirm", 0, COMMAND_FLAG, NULL, "Accepted for compatibility"},
                                                       NONE};
static const struct command_option lock_options[] = {
    {"user", 0, COMMAND_TEXT, "NAME", "Lock this user"},
    {"role", 0, COMMAND_TEXT, "NAME", "Lock everybody with this role"},
    {"login", 0, COMMAND_TEXT, "LOGIN", "Lock this login"},
    {"node", 0, COMMAND_TEXT, "UUID", "Lock this host"},
    {"server-id", 0, COMMAND_TEXT, "UUID", "Lock this host"},
    {"mfa-device", 0, COMMAND_TEXT, "UUID", "Lock this device of a second factor, and the sessions that it opened"},
    {"windows-desktop", 0, COMMAND_TEXT, "NAME", "Refused: there are none here"},
    {"access-request", 0, COMMAND_TEXT, "UUID", "Refused: there are none here"},
    {"device", 0, COMMAND_TEXT, "UUID", "Refused: sessions are not told by device; lock the user"},
    {"message", 0, COMMAND_TEXT, "TEXT", "What the locked person reads"},
    {"ttl", 0, COMMAND_TEXT, "10h", "How long it lasts"},
    {"expires", 0, COMMAND_TEXT, "TIME", "When it ends (RFC 3339)"},
    {"format", 'f', COMMAND_TEXT, "text|json", "Form of the output"},
    NONE};
static const struct command_option export_options[] = {
    {"type", 0, COMMAND_TEXT, "TYPE", "user, host, tls-user, tls-host, db, tls-user-der (or windows), db-der"},
    {"fingerprint", 0, COMMAND_TEXT, "FINGERPRINT", "Only the key with this fingerprint (sha256:... or SHA256:...)"},
    NONE};
static const struct command_option sign_options[] = {
    {"user", 0, COMMAND_TEXT, "NAME", "Certificates of this user"},
    {"host", 0, COMMAND_TEXT, "NAME,...", "Certificates of a host with these names"},
    {"out", 'o', COMMAND_TEXT, "FILE", "Where they go (needed)"},
    {"format", 0, COMMAND_TEXT, "file|openssh|tls|kubernetes", "Form of the files"},
    {"ttl", 0, COMMAND_TEXT, "12h", "How long they are good; the user's roles may say less"},
    {"proxy", 0, COMMAND_TEXT, "HOST:PORT", "Where a kubeconfig finds the proxy"},
    {"kube-cluster-name", 0, COMMAND_TEXT, "NAME", "The Kubernetes cluster of a kubeconfig"},
    {"overwrite", 0, COMMAND_FLAG, NULL, "Files may be there already"},
    NONE};
static const struct command_option end_options[] = {{"reason", 0, COMMAND_TEXT, "TEXT", "What the person reads"}, NONE};
static const struct command_option recordings_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"},
    {"from-utc", 0, COMMAND_TEXT, "TIME", "Only from this time on (2026-01-31 or RFC 3339)"},
    {"to-utc", 0, COMMAND_TEXT, "TIME", "Only up to this time"},
    {"last", 0, COMMAND_TEXT, "DURATION", "Only the last so long, such as 5h"},
    {"limit", 0, COMMAND_TEXT, "NUMBER", "At most so many (50)"},
    NONE};
static const struct command_option audit_options[] = {
    {"from", 0, COMMAND_TEXT, "TIME", "Only from this time on (2026-01-31 or RFC 3339)"},
    {"to", 0, COMMAND_TEXT, "TIME", "Only before this time"},
    {"last", 0, COMMAND_TEXT, "DURATION", "Only of the time up to now (24h, 7d)"},
    {"since", 0, COMMAND_TEXT, "DURATION", "The same as --last"},
    {"type", 0, COMMAND_TEXT, "A,B", "Only these events, such as user.login"},
    {"user", 0, COMMAND_TEXT, "NAME", "Only this user's"},
    {"text", 0, COMMAND_TEXT, "TEXT", "Only those that hold this text"},
    {"order", 0, COMMAND_TEXT, "desc|asc", "Newest first (desc), or oldest first"},
    {"limit", 0, COMMAND_TEXT, "NUMBER", "At most so many (1000)"},
    {"format", 'f', COMMAND_TEXT, "text|json", "A table, or one JSON object a line"},
    NONE};
static const struct command_option rotate_options[] = {
    {"type", 0, COMMAND_TEXT, "user|host|app|db", "Which CA (needed)"},
    {"manual", 0, COMMAND_FLAG, NULL, "Set each phase by hand"},
    {"phase", 0, COMMAND_TEXT, "PHASE", "init, update_clients, update_servers, standby, or rollback"},
    {"grace-period", 0, COMMAND_TEXT, "DURATION", "Length of a rotation that goes by itself (30h)"},
    {"force", 0, COMMAND_FLAG, NULL, "Go on without hosts that have not renewed: they must join anew"},
    NONE};
static const struct command_option checkpoint_options[] = {
    {"key", 0, COMMAND_FLAG, NULL, "The verifier key that audit verify needs"}, NONE};
static const struct command_option verify_options[] = {
    {"key", 0, COMMAND_TEXT, "KEY|FILE", "The verifier key (NAME+hash+base64), or a file with it (needed)"},
    {"earlier", 0, COMMAND_TEXT, "FILE", "A checkpoint saved before, which the log must continue"},
    NONE};

static const struct command_option access_test_options[] = {
    {"roles", 0, COMMAND_TEXT, "FILE", "Roles that cases name (may be given several times)"},
    {"format", 'f', COMMAND_TEXT, "text|json", "Form of the output"},
    NONE};

#define WORLD_OPTIONS                                                              \
    {"login", 0, COMMAND_TEXT, "LOGIN", "With this login"},                        \
        {"kube-group", 0, COMMAND_TEXT, "GROUP", "With this Kubernetes group"},    \
        {"at", 0, COMMAND_TEXT, "TIME", "At this time (RFC 3339) instead of now"}, \
        {"roles", 0, COMMAND_TEXT, "FILE", "Offline: the roles"},                  \
        {"users", 0, COMMAND_TEXT, "FILE", "Offline: the users"},                  \
        {"resources", 0, COMMAND_TEXT, "FILE", "Offline: the resources"},          \
    {                                                                              \
        "format", 'f', COMMAND_TEXT, "text|json", "Form of the output"             \
    }

static const struct command_option access_options[] = {WORLD_OPTIONS, NONE};

static const struct command commands[] = {
    {"users add", "NAME", "Make a user and a link for the first sign-in", tportctl_users_add, users_add, 1, 1, 0, false,
     "users add alice --roles=access --logins=root,alice"},
    {"users ls", "", "List users", tportctl_users_ls, format_options, 0, 0, 0, false, NULL},
    {"users update", "NAME", "Change roles or traits of a user", tportctl_users_update, users_update, 1, 1, 0, false,
     "users update alice --set-roles=access,editor"},
    {"users rm", "NAME[,NAME...]", "Delete users", tportctl_users_rm, NULL, 1, 1, 0, false, NULL},
    {"users reset", "NAME", "Take password and devices away and make a link for new ones", tportctl_users_reset,
     users_reset, 1, 1, 0, false, NULL},
    {"nodes add", "", "Make a token with which a host joins", tportctl_nodes_add, nodes_add, 0, 0, 0, false,
     "nodes add --roles=node --ttl=1h"},
    {"nodes ls", "[LABELS]", "List hosts", tportctl_nodes_ls, nodes_ls, 0, COMMAND_ANY_ARGS, 0, false,
     "nodes ls env=dev"},
    {"kube ls", "", "List Kubernetes clusters and who serves them", tportctl_kube_ls, kube_ls, 0, 0, 0, false, NULL},
    {"tokens add", "", "Make a join token", tportctl_tokens_add, tokens_add, 0, 0, 0, false,
     "tokens add --type=node --ttl=1h --format=text"},
    {"tokens ls", "", "List join tokens", tportctl_tokens_ls, tokens_ls, 0, 0, 0, false, NULL},
    {"tokens rm", "TOKEN", "Delete a join token", tportctl_tokens_rm, NULL, 1, 1, 0, false, NULL},
    {"get", "KIND[/NAME][,...]", "Print resources", tportctl_get, get_options, 1, 1, 0, false,
     "get roles\nget role/dev,user/alice -f json"},
    {"create", "[FILE]", "Create resources from YAML (FILE or standard input)", tportctl_create, create_options, 0, 1,
     0, false, "create -f role.yaml"},
    {"edit", "KIND/NAME", "Change a resource in an editor", tportctl_edit, NULL, 1, 1, 0, false, "edit role/dev"},
    {"rm", "KIND/NAME", "Delete a resource", tportctl_rm, NULL, 1, 1, 0, false, "rm role/dev"},
    {"lock", "", "Lock a user, role, login, device or host out at once", tportctl_lock, lock_options, 0, 0, 0, false,
     "lock --user=alice --ttl=10h --message=\"Call security\""},
    {"status", "", "Show the cluster and its CAs", tportctl_status, format_options, 0, 0, 0, false, NULL},
    {"auth export", "", "Print CA keys or certificates", tportctl_auth_export, export_options, 0, 0, 0, false,
     "auth export --type=tls-host"},
    {"auth rotate", "", "Replace the keys of a CA, phase by phase", tportctl_auth_rotate, rotate_options, 0, 0, 0,
     false, "auth rotate --type=user --manual --phase=init"},
    {"auth sign", "", "Make certificates for a user or host", tportctl_auth_sign, sign_options, 0, 0, 0, false,
     "auth sign --user=ci --format=openssh -o ci\nauth sign --host=web1 --format=openssh -o web1"},
    {"auth ls", "", "List CAs", tportctl_auth_ls, format_options, 0, 0, 0, false, NULL},
    {"sessions ls", "", "List running sessions", tportctl_sessions_ls, format_options, 0, 0, 0, false, NULL},
    {"sessions end", "ID", "End a running session", tportctl_sessions_end, end_options, 1, 1, 0, false,
     "sessions end ID --reason=\"Maintenance\""},
    {"recordings ls", "", "List recordings", tportctl_recordings_ls, recordings_options, 0, 0, 0, false, NULL},
    {"audit ls", "", "List audit events, newest first", tportctl_audit_ls, audit_options, 0, 0, 0, false,
     "audit ls --type=user.login --last=7d\naudit ls --user=alice -f json"},
    {"audit checkpoint", "", "Print the newest signed checkpoint of the log, or its key", tportctl_audit_checkpoint,
     checkpoint_options, 0, 0, 0, false, "audit checkpoint > /safe/checkpoint\naudit checkpoint --key > /safe/key"},
    {"audit verify", "DIR", "Prove offline that an audit log is whole and unchanged", tportctl_audit_verify,
     verify_options, 1, 1, 0, false, "audit verify /var/lib/tport/auth/audit --key=/safe/key"},
    {"access explain", "USER VERB KIND[/NAME]", "Say why somebody may or may not do something", tportctl_access_explain,
     access_options, 3, 3, 0, false,
     "access explain alice access node/web1 --login=root\naccess explain alice list role"},
    {"access who", "KIND/NAME", "List the users who may reach a resource", tportctl_access_who, access_options, 1, 1, 0,
     false, "access who node/web1 --login=root"},
    {"access test", "FILE...", "Run a file of expectations about roles, offline", tportctl_access_test,
     access_test_options, 1, COMMAND_ANY_ARGS, 0, false, "access test cases.yaml --roles=roles.yaml"},
    {"version", "", "Print the version", tportctl_version, NULL, 0, 0, 0, false, NULL},
};

int tportctl_main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "tportctl";
    const struct command_program program = {.name = strcmp(name, "tctl") == 0 ? "tctl" : "tportctl",
                                            .about = "Administer a tport cluster.",
                                            .globals = globals,
                                            .commands = commands,
                                            .count = sizeof(commands) / sizeof(commands[0])};
    return command_main(&program, argc, argv);
}

enum tp_err tportctl_version(struct command_line *line, struct tp_error *error)
{
    (void)line;
    (void)error;
    (void)printf("tportctl v%s\n", TPORT_VERSION);
    return TP_OK;
}

/* What the daemon's configuration says about where things are. A file that only root may read is passed over: the
 * profile is then the way. */
static enum tp_err read_config(const struct command_line *line, char **ret_data_dir, char **ret_address,
                               struct tp_error *error)
{
    const char *given = command_text_env(line, "config", "CONFIG_FILE", NULL);
    const char *path = given ? given : DEFAULT_CONFIG;
    struct buf text;
    struct node *node = NULL;

    *ret_data_dir = mem_strdup(DEFAULT_DATA_DIR);
    *ret_address = NULL;
    buf_init(&text, NODE_MAX_BYTES);
    enum tp_err err = file_read(path, &text, error);
    if (err == TP_OK)
        err = node_parse_one(buf_text(&text), buf_size(&text), path, &node, error);
    if (err == TP_OK) {
        const struct node *main_part = node_get(node, "tport") ? node_get(node, "tport") : node_get(node, "teleport");
        const struct node *address = node_get(node_get(node, "proxy_service"), "public_addr");
        const char *data_dir = node_get_text(main_part, "data_dir", NULL);
        if (data_dir) {
            mem_free(*ret_data_dir);
            *ret_data_dir = mem_strdup(data_dir);
        }
        if (address && address->kind == NODE_LIST && address->count > 0)
            address = address->items[0];
        if (address && address->kind == NODE_SCALAR && *address->text)
            *ret_address = mem_printf("%s%s", address->text, strchr(address->text, ':') ? "" : ":443");
    } else if (!given) {
        err = TP_OK;
    }
    node_free(node);
    buf_free(&text);
    return err;
}

enum tp_err tportctl_open(const struct command_line *line, struct api **ret_api, char **ret_address,
                          struct tp_error *error)
{
    const char *server = command_text_env(line, "auth-server", "AUTH_SERVER", NULL);
    char *data_dir = NULL, *address = NULL, *home = profile_home();
    struct tp_error local = {0};
    struct profile profile = {0};

    const char *identity = command_text_env(line, "identity", "IDENTITY_FILE", NULL);

    *ret_api = NULL;
    enum tp_err err = read_config(line, &data_dir, &address, error);
    if (err == TP_OK && identity) {
        server = server ? server : address;
        err = identity_file_use(identity, server, error);
        mem_free(home);
        home = profile_home();
    }
    bool by_profile = err == TP_OK && server;
    if (err == TP_OK && !server) {
        const char *socket = command_env("ADMIN_SOCKET");
        char *path = socket ? mem_strdup(socket) : mem_printf("%s/admin.sock", data_dir);
        bool named = socket || command_text_env(line, "config", "CONFIG_FILE", NULL);
        err = api_open_socket(path, ret_api, named ? error : &local);
        by_profile = err != TP_OK && !named;
        mem_free(path);
    }
    if (by_profile) {
        err = profile_load(home, server, &profile, error);
        if (err == TP_OK)
            err = api_open_profile(&profile, ret_api, error);
        else if (err == TP_UNAUTHENTICATED && !server)
            err = err_set(
                error, err,
                "%s; and there is no profile: sign in with \"tport login\", or run this as root on "
                "the machine of the auth service, with TPORT_ADMIN_SOCKET=DATA_DIR/admin.sock when its data_dir is "
                "another one",
                local.text);
        if (err == TP_OK) {
            mem_free(address);
            address = mem_strdup(profile.address);
        }
    }
    if (ret_address && err == TP_OK)
        *ret_address = address;
    else
        mem_free(address);
    profile_free(&profile);
    mem_free(data_dir);
    mem_free(home);
    return err;
}

enum tp_err tportctl_call(const struct command_line *line, const char *method, json_t *params, json_t **ret_result,
                          struct tp_error *error)
{
    struct api *api;
    enum tp_err err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK)
        err = api_rpc(api, method, params, ret_result, error);
    else
        json_decref(params);
    api_close(api);
    return err;
}

enum tp_err tportctl_list(const struct command_line *line, const char *method, json_t *params, size_t limit,
                          json_t **ret_items, struct tp_error *error)
{
    struct api *api;
    enum tp_err err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK)
        err = api_list(api, method, params, limit, ret_items, error);
    else
        json_decref(params);
    api_close(api);
    return err;
}
