tport_unit_test(test_node tport_base)
tport_fuzz(fuzz_yaml tport_base)
