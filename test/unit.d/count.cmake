# Work whose instructions test/count/test_count.py counts.
add_executable(count_work ${CMAKE_SOURCE_DIR}/test/count/work.c)
target_link_libraries(count_work PRIVATE tport_options tport_tunnel tport_tls tport_http tport_crypt)
