tport_unit_test(test_web tport_web)
tport_unit_test(test_web_pages tport_web)
tport_fuzz(fuzz_cookie tport_web)
