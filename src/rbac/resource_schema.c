/* Which keys the resources may have that are no roles, users, tokens or locks: connectors, targets, settings of the
 * cluster. Keys are those of Teleport's resources; SCHEMA_ANY stands where we use nothing of what is inside yet. */
#include "rbac/resource_private.h"
#include "rbac/role_private.h"

#define TEXT(key)                           \
    {                                       \
        key, SCHEMA_TEXT, NULL, NULL, false \
    }
#define NEEDED(key)                        \
    {                                      \
        key, SCHEMA_TEXT, NULL, NULL, true \
    }
#define FLAG(key)                           \
    {                                       \
        key, SCHEMA_BOOL, NULL, NULL, false \
    }
#define LIST(key)                            \
    {                                        \
        key, SCHEMA_TEXTS, NULL, NULL, false \
    }
#define SPAN(key)                               \
    {                                           \
        key, SCHEMA_DURATION, NULL, NULL, false \
    }
#define ANY(key)                           \
    {                                      \
        key, SCHEMA_ANY, NULL, NULL, false \
    }
#define MAPS(key, sub)                     \
    {                                      \
        key, SCHEMA_MAPS, sub, NULL, false \
    }
#define MAP(key, sub)                     \
    {                                     \
        key, SCHEMA_MAP, sub, NULL, false \
    }
#define WORD(key, words)                     \
    {                                        \
        key, SCHEMA_WORD, NULL, words, false \
    }
#define END \
    {       \
        0   \
    }

/* ---- connectors ---- */

static const struct schema team_roles[] = {
    NEEDED("organization"), NEEDED("team"), {"roles", SCHEMA_TEXTS, NULL, NULL, true}, END};
static const struct schema team_logins[] = {NEEDED("organization"),    NEEDED("team"),           LIST("logins"),
                                            LIST("kubernetes_groups"), LIST("kubernetes_users"), END};
static const struct schema claim_roles[] = {NEEDED("claim"), NEEDED("value"), LIST("roles"), END};
static const struct schema attribute_roles[] = {NEEDED("name"), NEEDED("value"), LIST("roles"), END};
static const struct schema key_pair[] = {TEXT("private_key"), TEXT("cert"), END};
static const struct schema remote_roles[] = {NEEDED("remote"), LIST("local"), END};

const struct schema resource_github[] = {NEEDED("client_id"),
                                         TEXT("client_secret"),
                                         TEXT("display"),
                                         TEXT("redirect_url"),
                                         MAPS("teams_to_logins", team_logins),
                                         MAPS("teams_to_roles", team_roles),
                                         TEXT("endpoint_url"),
                                         TEXT("api_endpoint_url"),
                                         ANY("client_redirect_settings"),
                                         LIST("user_matchers"),
                                         END};
const struct schema resource_oidc[] = {NEEDED("issuer_url"),
                                       NEEDED("client_id"),
                                       TEXT("client_secret"),
                                       {"redirect_url", SCHEMA_VALUES, NULL, NULL, false},
                                       {"redirect_urls", SCHEMA_VALUES, NULL, NULL, false},
                                       TEXT("acr_values"),
                                       LIST("scope"),
                                       TEXT("prompt"),
                                       TEXT("display"),
                                       TEXT("provider"),
                                       TEXT("google_service_account_uri"),
                                       TEXT("google_service_account"),
                                       TEXT("google_admin_email"),
                                       MAPS("claims_to_roles", claim_roles),
                                       TEXT("username_claim"),
                                       FLAG("allow_unverified_email"),
                                       TEXT("max_age"),
                                       TEXT("pkce_mode"),
                                       ANY("client_redirect_settings"),
                                       ANY("mfa"),
                                       LIST("user_matchers"),
                                       TEXT("request_object_mode"),
                                       ANY("entra_id_groups_provider"),
                                       END};
const struct schema resource_saml[] = {TEXT("issuer"),
                                       TEXT("sso"),
                                       TEXT("cert"),
                                       TEXT("display"),
                                       NEEDED("acs"),
                                       TEXT("audience"),
                                       TEXT("service_provider_issuer"),
                                       TEXT("entity_descriptor"),
                                       TEXT("entity_descriptor_url"),
                                       MAPS("attributes_to_roles", attribute_roles),
                                       MAP("signing_key_pair", key_pair),
                                       MAP("assertion_key_pair", key_pair),
                                       TEXT("provider"),
                                       FLAG("allow_idp_initiated"),
                                       TEXT("single_logout_url"),
                                       ANY("client_redirect_settings"),
                                       ANY("mfa"),
                                       FLAG("force_authn"),
                                       TEXT("preferred_request_binding"),
                                       LIST("user_matchers"),
                                       FLAG("include_subject"),
                                       END};
const struct schema resource_trusted_cluster[] = {FLAG("enabled"),
                                                  LIST("roles"),
                                                  TEXT("token"),
                                                  TEXT("web_proxy_addr"),
                                                  TEXT("tunnel_addr"),
                                                  MAPS("role_map", remote_roles),
                                                  END};

/* ---- targets ---- */

static const struct schema rewrite[] = {LIST("redirect"), ANY("headers"), TEXT("jwt_claims"), END};

const struct schema resource_kube_cluster[] = {TEXT("kubeconfig"),    ANY("aws"), ANY("azure"), ANY("gcp"),
                                               ANY("dynamic_labels"), END};
const struct schema resource_app[] = {NEEDED("uri"),
                                      TEXT("public_addr"),
                                      FLAG("insecure_skip_verify"),
                                      MAP("rewrite", rewrite),
                                      ANY("dynamic_labels"),
                                      TEXT("cloud"),
                                      ANY("aws"),
                                      ANY("tcp_ports"),
                                      ANY("cors"),
                                      LIST("required_apps"),
                                      TEXT("integration"),
                                      LIST("user_groups"),
                                      FLAG("use_any_proxy_public_addr"),
                                      ANY("identity_center"),
                                      ANY("mcp"),
                                      END};
const struct schema resource_db[] = {NEEDED("protocol"), NEEDED("uri"),
                                     TEXT("ca_cert"),    ANY("dynamic_labels"),
                                     ANY("aws"),         ANY("gcp"),
                                     ANY("azure"),       ANY("tls"),
                                     ANY("ad"),          ANY("mysql"),
                                     ANY("mongodb"),     ANY("oracle"),
                                     ANY("admin_user"),  END};

const struct schema resource_openssh[] = {NEEDED("addr"),
                                          NEEDED("hostname"),
                                          LIST("public_addrs"),
                                          ANY("cmd_labels"),
                                          FLAG("use_tunnel"),
                                          TEXT("peer_addr"),
                                          ANY("rotation"),
                                          TEXT("version"),
                                          LIST("proxy_ids"),
                                          ANY("cloud_metadata"),
                                          END};

/* ---- settings of the cluster ---- */

static const char *const auth_types[] = {"local", "github", "oidc", "saml", NULL};
static const char *const factors[] = {"otp", "on", "off", "optional", "webauthn", "u2f", "sso", NULL};
static const char *const locking[] = {"best_effort", "strict", "", NULL};
static const char *const recording[] = {"node", "node-sync", "proxy", "proxy-sync", "off", "", NULL};
static const struct schema webauthn[] = {TEXT("rp_id"), LIST("attestation_allowed_cas"), LIST("attestation_denied_cas"),
                                         FLAG("disabled"), END};

const struct schema resource_auth_preference[] = {WORD("type", auth_types),
                                                  WORD("second_factor", factors),
                                                  {"second_factors", SCHEMA_WORDS, NULL, factors, false},
                                                  TEXT("connector_name"),
                                                  ANY("u2f"),
                                                  MAP("webauthn", webauthn),
                                                  FLAG("allow_local_auth"),
                                                  FLAG("allow_passwordless"),
                                                  FLAG("allow_headless"),
                                                  FLAG("disconnect_expired_cert"),
                                                  WORD("require_session_mfa", role_mfa_words),
                                                  WORD("locking_mode", locking),
                                                  TEXT("message_of_the_day"),
                                                  ANY("device_trust"),
                                                  SPAN("default_session_ttl"),
                                                  ANY("idp"),
                                                  ANY("okta"),
                                                  ANY("hardware_key"),
                                                  TEXT("piv_slot"),
                                                  TEXT("signature_algorithm_suite"),
                                                  ANY("stable_unix_user_config"),
                                                  END};
const struct schema resource_networking[] = {{"client_idle_timeout", SCHEMA_IDLE, NULL, NULL, false},
                                             TEXT("client_idle_timeout_message"),
                                             SPAN("web_idle_timeout"),
                                             SPAN("keep_alive_interval"),
                                             {"keep_alive_count_max", SCHEMA_INT, NULL, NULL, false},
                                             SPAN("session_control_timeout"),
                                             TEXT("proxy_listener_mode"),
                                             TEXT("routing_strategy"),
                                             ANY("tunnel_strategy"),
                                             SPAN("proxy_ping_interval"),
                                             FLAG("case_insensitive_routing"),
                                             SPAN("ssh_dial_timeout"),
                                             {"assist_command_execution_workers", SCHEMA_INT, NULL, NULL, false},
                                             END};
const struct schema resource_recording[] = {WORD("mode", recording), FLAG("proxy_checks_host_keys"), ANY("encryption"),
                                            END};
