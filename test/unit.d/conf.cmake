tport_unit_test(test_conf tport_core tport_base)
target_compile_definitions(test_conf PRIVATE TPORT_SOURCE="${CMAKE_SOURCE_DIR}")
tport_fuzz(fuzz_conf tport_core tport_base)
