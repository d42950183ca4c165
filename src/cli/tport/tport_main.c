#include "base/mem.h"
#include "cli/tport/tport.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define NONE                              \
    {                                     \
        NULL, 0, COMMAND_FLAG, NULL, NULL \
    }

static const struct command_option globals[] = {
    {"proxy", 0, COMMAND_TEXT, "HOST[:PORT]", "The proxy to talk to (TPORT_PROXY)"},
    {"user", 0, COMMAND_TEXT, "NAME", "Your tport user name (TPORT_USER)"},
    {"login", 'l', COMMAND_TEXT, "LOGIN", "The login on the remote host (TPORT_LOGIN)"},
    {"identity", 'i', COMMAND_TEXT, "FILE",
     "Use this identity file in place of a profile; needs --proxy (TPORT_IDENTITY_FILE)"},
    {"cluster", 'c', COMMAND_TEXT, "NAME", "The cluster; must be the profile's (TPORT_CLUSTER)"},
    {"mfa-mode", 0, COMMAND_TEXT, "auto|otp", "How to give a second factor: by one-time code, either way"},
    {"insecure", 0, COMMAND_FLAG, NULL,
     "Do not check the proxy's certificate. Anybody in between can then read your password"},
    {"debug", 'd', COMMAND_FLAG, NULL, "Say more about what happens"},
    NONE};

static const struct command_option login_options[] = {
    {"ttl", 0, COMMAND_TEXT, "MINUTES", "How long the certificate lives (minutes, or a duration such as 8h)"},
    {"ca-pin", 0, COMMAND_TEXT, "sha256:HEX", "Trust the proxy whose CA has this pin"},
    {"auth", 0, COMMAND_TEXT, "TYPE", "How to sign in; local is what there is"},
    {"out", 'o', COMMAND_TEXT, "FILE", "Write key and certificates to FILE and keep the profile as it is"},
    {"format", 'f', COMMAND_TEXT, "file|openssh", "Form of FILE"},
    {"overwrite", 0, COMMAND_FLAG, NULL, "FILE may be there already"},
    {"browser", 0, COMMAND_TEXT, "none", "Accepted and not needed"},
    {"kube-cluster", 0, COMMAND_TEXT, "NAME", "Select that Kubernetes cluster for kubectl as well"},
    NONE};
static const struct command_option format_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"}, NONE};
static const struct command_option ls_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml|names", "Form of the output"},
    {"verbose", 'v', COMMAND_FLAG, NULL, "Show UUIDs, versions and uncut labels"},
    {"search", 0, COMMAND_TEXT, "WORDS", "Only hosts that hold all these words (comma-separated)"},
    {"query", 0, COMMAND_TEXT, "EXPRESSION", "Only hosts for which the expression holds"},
    NONE};
static const struct command_option ssh_options[] = {
    {"forward-agent", 'A', COMMAND_FLAG, NULL, "Forward the SSH agent"},
    {"port", 'p', COMMAND_TEXT, "PORT", "Taken for compatibility; a host has one way to it, whatever the port"},
    {"forward", 'L', COMMAND_TEXT, "[BIND:]PORT:HOST:PORT", "Forward a local port"},
    {"remote-forward", 'R', COMMAND_TEXT, "[BIND:]PORT:HOST:PORT", "Forward a remote port"},
    {"dynamic-forward", 'D', COMMAND_TEXT, "[BIND:]PORT", "Be a SOCKS proxy"},
    {"no-remote-exec", 'N', COMMAND_FLAG, NULL, "Run no command (for forwarding)"},
    {"tty", 't', COMMAND_FLAG, NULL, "Ask for a terminal"},
    {"no-tty", 'T', COMMAND_FLAG, NULL, "Ask for no terminal"},
    {"no-stdin", 'n', COMMAND_FLAG, NULL, "Read nothing from standard input"},
    {"quiet", 'q', COMMAND_FLAG, NULL, "Say less"},
    {"compress", 'C', COMMAND_FLAG, NULL, "Compress"},
    {"x11", 'X', COMMAND_FLAG, NULL, "Taken for compatibility; hosts refuse to forward X11"},
    {"x11-trusted", 'Y', COMMAND_FLAG, NULL, "The same as -X"},
    {"option", 'o', COMMAND_TEXT, "NAME=VALUE", "An option of OpenSSH"},
    {"verbose", 'v', COMMAND_FLAG, NULL, "Let OpenSSH say more (repeat for still more)"},
    NONE};
static const struct command_option scp_options[] = {
    {"recursive", 'r', COMMAND_FLAG, NULL, "Copy directories"},
    {"preserve", 'p', COMMAND_FLAG, NULL, "Keep times and modes"},
    {"port", 'P', COMMAND_TEXT, "PORT", "Taken for compatibility; a host has one way to it, whatever the port"},
    {"quiet", 'q', COMMAND_FLAG, NULL, "Say less"},
    {"option", 'o', COMMAND_TEXT, "NAME=VALUE", "An option of OpenSSH"},
    {"verbose", 'v', COMMAND_FLAG, NULL, "Let OpenSSH say more"},
    NONE};
static const struct command_option recordings_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml", "Form of the output"},
    {"from-utc", 0, COMMAND_TEXT, "TIME", "Only from this time on (2026-01-31 or RFC 3339)"},
    {"to-utc", 0, COMMAND_TEXT, "TIME", "Only up to this time"},
    {"last", 0, COMMAND_TEXT, "DURATION", "Only the last so long, such as 5h"},
    {"limit", 0, COMMAND_TEXT, "NUMBER", "At most so many (50)"},
    NONE};
static const struct command_option play_options[] = {
    {"format", 'f', COMMAND_TEXT, "pty|text|json", "Play it, print its text, or print its events"},
    {"speed", 0, COMMAND_TEXT, "1x", "0.5x, 1x, 2x, 4x or 8x"},
    {"skip-idle-time", 0, COMMAND_FLAG, NULL, "Pass quickly over pauses"},
    NONE};
static const struct command_option env_options[] = {
    {"unset", 0, COMMAND_FLAG, NULL, "Print what takes the variables away"}, NONE};

static const struct command_option kube_ls_options[] = {
    {"format", 'f', COMMAND_TEXT, "text|json|yaml|names", "Form of the output"},
    {"verbose", 'v', COMMAND_FLAG, NULL, "Show uncut labels"},
    {"quiet", 'q', COMMAND_FLAG, NULL, "No headings"},
    {"all", 0, COMMAND_FLAG, NULL, "Show proxy and cluster as well"},
    {"search", 0, COMMAND_TEXT, "WORDS", "Only clusters that hold all these words (comma-separated)"},
    {"query", 0, COMMAND_TEXT, "EXPRESSION", "Only clusters for which the expression holds"},
    {"kubeconfig", 0, COMMAND_TEXT, "FILE", "kubectl's configuration (KUBECONFIG, else ~/.kube/config)"},
    NONE};
static const struct command_option kube_login_options[] = {
    {"all", 0, COMMAND_FLAG, NULL, "All clusters that you may reach; selects none"},
    {"set-context-name", 0, COMMAND_TEXT, "TEMPLATE",
     "Name of the context; {{.KubeName}} and {{.ClusterName}} are replaced"},
    {"kube-namespace", 'n', COMMAND_TEXT, "NAMESPACE", "The context's namespace"},
    {"as", 0, COMMAND_TEXT, "USER", "Act as this Kubernetes user"},
    {"as-groups", 0, COMMAND_TEXT, "GROUPS", "Act in these Kubernetes groups, with --as (comma-separated, repeatable)"},
    {"static", 0, COMMAND_FLAG, NULL, "Write a kubeconfig that holds key and certificate and needs no tport"},
    {"out", 'o', COMMAND_TEXT, "FILE", "Where --static writes to (standard output)"},
    {"overwrite", 0, COMMAND_FLAG, NULL, "FILE may be there already"},
    {"kubeconfig", 0, COMMAND_TEXT, "FILE", "kubectl's configuration (KUBECONFIG, else ~/.kube/config)"},
    NONE};
static const struct command_option kube_credentials_options[] = {
    {"kube-cluster", 0, COMMAND_TEXT, "NAME", "The Kubernetes cluster; one certificate serves all"},
    {"teleport-cluster", 0, COMMAND_TEXT, "NAME", "The cluster that the profile must be of"},
    NONE};

static const struct command commands[] = {
    {"login", "[CLUSTER]", "Sign in and keep the certificates", tport_login, login_options, 0, 1, 0, false,
     "login --proxy=tport.example.com --user=alice\nlogin --proxy=tport.example.com --kube-cluster=prod"},
    {"logout", "", "Remove certificates and keys", tport_logout, NULL, 0, 0, 0, false, NULL},
    {"status", "", "Show who you are signed in as", tport_status, format_options, 0, 0, 0, false, NULL},
    {"ls", "[LABELS]", "List the hosts you may reach", tport_ls, ls_options, 0, COMMAND_ANY_ARGS, 0, false,
     "ls env=dev\nls --search=web -f json"},
    {"ssh", "[LOGIN@]HOST [COMMAND...]", "Open a shell or run a command on a host", tport_ssh, ssh_options, 1,
     COMMAND_ANY_ARGS, 1, false, "ssh root@web1\nssh root@web1 uname -a\nssh -L 8080:localhost:80 root@web1"},
    {"scp", "SOURCE... TARGET", "Copy files to or from a host (LOGIN@HOST:PATH)", tport_scp, scp_options, 2,
     COMMAND_ANY_ARGS, 0, false, "scp report.txt root@web1:/tmp/\nscp -r root@web1:/etc/nginx ."},
    {"config", "", "Print an OpenSSH configuration for plain ssh, scp, sftp, rsync", tport_config, NULL, 0, 0, 0, false,
     "config >> ~/.ssh/config"},
    {"proxy ssh", "[LOGIN@]HOST[:PORT]", "Connect standard input and output to a host's SSH", tport_proxy_ssh, NULL, 1,
     1, 0, false, NULL},
    {"recordings ls", "", "List recorded sessions", tport_recordings_ls, recordings_options, 0, 0, 0, false,
     "recordings ls --last=24h"},
    {"play", "ID|FILE", "Play a recorded session", tport_play, play_options, 1, 1, 0, false,
     "play 5f3a\nplay --speed=4x 5f3a\nplay -f json 5f3a > session.cast"},
    {"sessions ls", "", "List running sessions", tport_sessions_ls, format_options, 0, 0, 0, false, NULL},
    {"kube ls", "[LABELS]", "List the Kubernetes clusters you may reach", tport_kube_ls, kube_ls_options, 0,
     COMMAND_ANY_ARGS, 0, false, "kube ls env=dev"},
    {"kube login", "NAME|--all", "Let kubectl talk to a Kubernetes cluster", tport_kube_login, kube_login_options, 0, 1,
     0, false, "kube login prod\nkube login --all\nkube login --static prod -o prod.kubeconfig"},
    {"kube sessions", "", "List running sessions in Kubernetes", tport_kube_sessions, format_options, 0, 0, 0, false,
     NULL},
    {"kube credentials", "", "Print the certificate for kubectl (it starts this itself)", tport_kube_credentials,
     kube_credentials_options, 0, 0, 0, true, NULL},
    {"clusters", "", "Show the cluster", tport_clusters, format_options, 0, 0, 0, false, NULL},
    {"env", "", "Print shell lines that set the profile's variables", tport_env, env_options, 0, 0, 0, false, NULL},
    {"version", "", "Print the version", tport_version, format_options, 0, 0, 0, false, NULL},
};

/* Passwords and codes travel in JSON for a moment: what jansson gives back is wiped. */
static void wiping_free(void *data)
{
    if (data)
        secret_wipe(data, malloc_usable_size(data));
    free(data);
}

int tport_main(int argc, char **argv)
{
    json_set_alloc_funcs(malloc, wiping_free);
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "tport";
    const struct command_program program = {
        .name = strcmp(name, "tsh") == 0 ? "tsh" : "tport",
        .about = "Reach servers and Kubernetes through tport: sign in once, then ssh, scp, kubectl and the rest.",
        .globals = globals,
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0])};
    return command_main(&program, argc, argv);
}
