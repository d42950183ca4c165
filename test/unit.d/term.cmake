tport_fuzz(fuzz_term_frame tport_term)
tport_fuzz(fuzz_web_socket tport_web)
