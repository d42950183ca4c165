# A thin front: everything is CMake (see CMakePresets.json for the ways to build).
BUILD ?= build
PREFIX ?= /usr/local
# What ccache has of another clone is good for this one, too.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

.PHONY: all demo test bench mutation format install deps clean

all:
	scripts/install-deps build
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DCMAKE_BUILD_TYPE=RelWithDebInfo
	cmake --build $(BUILD) --target programs

# A whole cluster on this machine, in the foreground.
demo: all
	BUILD=$(BUILD) scripts/demo

# Everything that is checked before a change lands.
test:
	scripts/install-deps build test
	scripts/test

# Everything that is measured, beside its rivals and a real Kubernetes: a quarter of an hour, less than 20 minutes, on loopback, as root. bench/run --help
# knows shorter ways.
bench:
	scripts/install-deps build test bench
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTPORT_BENCH=ON
	cmake --build $(BUILD)
	scripts/make-users
	bench/run --full --json=$(BUILD)/bench.json
	test/kube/build
	bench/kube

# Does a test notice when a comparison of the decision code is taken out? A quarter of an hour.
mutation: all
	scripts/install-deps test
	cmake --build $(BUILD)
	/usr/bin/python3 test/mutation/mutate.py

# Lays the C out as .clang-format says (test/lint checks it).
format:
	clang-format-14 -i $$(git ls-files 'src/*.[ch]' 'test/*.[ch]' 'bench/*.[ch]')

# With DESTDIR the files alone: a package makes the users where it is installed.
install: all
	cmake --install $(BUILD)
	$(if $(DESTDIR),,scripts/make-users)

deps:
	scripts/install-deps build test

clean:
	rm -rf $(BUILD) build-asan build-fuzz
