# The tables of who may do what, printed for test/blackbox/test_matrix.py.
add_executable(dump_tables ${CMAKE_SOURCE_DIR}/test/unit/dump_tables.c)
target_link_libraries(dump_tables PRIVATE tport_options tport_protocols tport_web tport_auth)
add_executable(dump_requests ${CMAKE_SOURCE_DIR}/test/unit/dump_requests.c)
target_link_libraries(dump_requests PRIVATE tport_options tport_session)
