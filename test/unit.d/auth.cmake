tport_unit_test(test_auth_methods tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_login tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_invite tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_join tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_access tport_auth PkgConfig::OATH)
# The work of a login is counted where it leaves for the library.
tport_unit_test(test_auth_timing tport_auth PkgConfig::OATH)
target_link_options(test_auth_timing PRIVATE -Wl,--wrap=argon2id_verify,--wrap=argon2id_hash_raw,--wrap=audit_emit)
tport_unit_test(test_auth_kube tport_auth PkgConfig::OATH)
