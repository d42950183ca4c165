tport_unit_test(test_store tport_store tport_base)
tport_unit_test(test_store_seal tport_store tport_crypt tport_base PkgConfig::LMDB)
tport_fuzz(fuzz_store_record tport_store tport_base)
