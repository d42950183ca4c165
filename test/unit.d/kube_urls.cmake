# For test/blackbox/test_kube_paths.py.
add_executable(read_urls ${CMAKE_SOURCE_DIR}/test/kube/read_urls.c)
target_link_libraries(read_urls PRIVATE tport_options tport_kube)
