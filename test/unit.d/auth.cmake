tport_unit_test(test_auth_methods tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_login tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_invite tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_join tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_cert_cache tport_auth)
tport_unit_test(test_auth_secrets tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_access tport_auth PkgConfig::OATH)
# The work of a login is counted where it leaves for the library.
tport_unit_test(test_auth_timing tport_auth PkgConfig::OATH)
target_link_options(test_auth_timing PRIVATE -Wl,--wrap=argon2id_verify,--wrap=argon2id_hash_raw,--wrap=audit_emit)
tport_unit_test(test_auth_kube tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_list tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_keep_clock tport_auth)
tport_unit_test(test_auth_puts tport_auth PkgConfig::OATH)
# The clock stands still: which step of the one-time codes it is depends on the test alone.
tport_unit_test(test_auth_mfa tport_auth PkgConfig::OATH)
target_link_options(test_auth_mfa PRIVATE -Wl,--wrap=clock_wall,--wrap=clock_wall_ms,--wrap=clock_mono_ms
    -Wl,--wrap=oath_hotp_generate)
