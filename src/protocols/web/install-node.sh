# Joins a server to a tport cluster. The proxy puts the values of one cluster and one token in front of this text (web_join.c);
# what stands here is the same for all. Nothing runs before the last line, so half a script does nothing.
# shellcheck shell=sh disable=SC2154

programs="tportd tport-session tport tportctl"
bin=/usr/local/bin
conf=/etc/tport/tport.conf
unit=/etc/systemd/system/tportd.service
work=""
undo=""

say() {
    printf 'tport: %s\n' "$*"
}

fail() {
    printf 'tport: %s\n' "$*" >&2
    exit 1
}

# Whatever happens, nothing is left half done.
clean_up() {
    code=$?
    trap - EXIT
    [ -z "$work" ] || rm -rf "$work"
    if [ "$code" -ne 0 ] && [ -n "$undo" ]; then
        for file in $undo; do
            rm -f "$file"
        done
        say "nothing was installed" >&2
    fi
    exit "$code"
}

check_machine() {
    [ "$(id -u)" = 0 ] || fail "run this as root (the line begins with sudo)"
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); tport runs on Linux"
    [ "$(uname -m)" = "$ARCH" ] || fail "this machine is $(uname -m), the programs of the proxy are for $ARCH; install tport for $(uname -m) by hand and run: tportd node configure --help"
    for tool in curl sha256sum mktemp install ldd; do
        command -v "$tool" >/dev/null 2>&1 || fail "the program $tool is missing; install it and run the line again"
    done
}

check_nothing_is_there() {
    for file in $conf $unit /var/lib/tport/agent; do
        [ ! -e "$file" ] || fail "$file is there: this server has joined a cluster already. To join it anew, stop tportd and remove $conf, $unit and /var/lib/tport/agent first"
    done
    for name in $programs; do
        [ ! -e "$bin/$name" ] || fail "$bin/$name is there: tport is installed already. Only the configuration is missing: run \"tportd node configure --help\", or remove the programs and run the line again"
        other=$(command -v "$name" || true)
        [ -z "$other" ] || fail "$other is there: tport is installed already. Only the configuration is missing: run \"tportd node configure --help\""
    done
}

# fetch PATH FILE. The script came by a way that was trusted, and so the CA in it is.
fetch() {
    curl -fsS --proto '=https' --connect-timeout 15 --retry 8 ${ca:+--cacert "$ca"} -o "$2" "https://$PROXY$1"
}

check_proxy() {
    say "asking the proxy at $PROXY"
    ca=""
    code=0
    fetch /webapi/ping "$work/ping" 2>"$work/why" || code=$?
    case $code in
        35 | 51 | 58 | 60 | 77 | 83)
            ca=$work/ca.pem
            printf '%s\n' "$CA" >"$ca"
            code=0
            fetch /webapi/ping "$work/ping" 2>"$work/why" || code=$? ;;
    esac
    [ "$code" = 0 ] || fail "the proxy $PROXY cannot be reached: $(tail -n 1 "$work/why"). Check name resolution, routes and firewalls from this server"
    fetch '/webapi/auth/export?type=tls-host' "$work/cas" || fail "the proxy does not say who it is"
    [ "$(cat "$work/cas")" = "$CA" ] || fail "$PROXY answers for another cluster than the one that this script is from ($CLUSTER); make a new line on its Servers page"
}

download() {
    for name in $programs; do
        say "downloading $name"
        fetch "/scripts/$TOKEN/$name" "$work/$name" || fail "$name cannot be downloaded; if the token has expired, make a new line"
        chmod 755 "$work/$name"
    done
    printf '%s\n' "$SUMS" >"$work/sums"
    (cd "$work" && sha256sum -c sums >/dev/null 2>&1) || fail "a download is not what the proxy has announced (checksum); run the line again"
}

debian_package() {
    case $1 in
        libargon2.so.1) echo libargon2-1 ;;
        libcrypto.so.3) echo libssl3 ;;
        libjansson.so.4) echo libjansson4 ;;
        liblmdb.so.0) echo liblmdb0 ;;
        liboath.so.0) echo liboath0 ;;
        libpam.so.0) echo libpam0g ;;
        libpcre2-8.so.0) echo libpcre2-8-0 ;;
        libpng16.so.16) echo libpng16-16 ;;
        libqrencode.so.4) echo libqrencode4 ;;
        libseccomp.so.2) echo libseccomp2 ;;
        libuv.so.1) echo libuv1 ;;
        libyaml-0.so.2) echo libyaml-0-2 ;;
        libz.so.1) echo zlib1g ;;
        libzstd.so.1) echo libzstd1 ;;
    esac
}

check_libraries() {
    for name in $programs; do
        ldd "$work/$name" 2>&1 || true
    done >"$work/libraries"
    old=$(sed -n "s/.*version .\(GLIBC_[0-9.]*\). not found.*/\1/p" "$work/libraries" | sort -u | tail -n 1)
    [ -z "$old" ] || fail "this system is older than the one that the programs were built on: it lacks $old"
    missing=$(sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' "$work/libraries" | sort -u)
    [ -n "$missing" ] || return 0
    packages=""
    for library in $missing; do
        packages="$packages $(debian_package "$library")"
    done
    if command -v apt-get >/dev/null 2>&1; then
        fail "libraries are missing. Run \"apt-get install$packages\", then the line again"
    fi
    fail "libraries are missing: $(echo "$missing" | tr '\n' ' '); install them, then run the line again"
}

make_configuration() {
    "$work/tportd" node configure --proxy="$PROXY" --token="$TOKEN" --ca-pin="$PINS" ${LABELS:+--labels="$LABELS"} -o "$work/tport.conf" >/dev/null ||
        fail "the configuration could not be made"
    "$work/tportd" -t -c "$work/tport.conf" 2>"$work/why" || fail "the configuration is not good: $(cat "$work/why")"
}

install_all() {
    # Sessions are parsed by a process that becomes this user.
    if ! id tport-session >/dev/null 2>&1; then
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tport-session || fail "the user tport-session could not be made"
    fi
    for name in $programs; do
        undo="$undo $bin/$name"
        install -m 755 "$work/$name" "$bin/$name"
    done
    [ -d /etc/tport ] || install -d -m 755 /etc/tport
    undo="$undo $conf"
    install -m 600 "$work/tport.conf" "$conf"
    say "installed $programs in $bin, configuration in $conf"
}

write_unit() {
    cat <<'END'
[Unit]
Description=tport: one door to every server
Documentation=man:tportd(8) man:tport.conf(5)
After=network-online.target
Wants=network-online.target

[Service]
Type=simple
ExecStartPre=/usr/local/bin/tportd -t -c /etc/tport/tport.conf
ExecStart=/usr/local/bin/tportd -c /etc/tport/tport.conf
ExecReload=/usr/local/bin/tportd -s reload -c /etc/tport/tport.conf
# Master starts its children again, systemd starts master. A stop is told to master alone, which ends them in order; what is
# left after the timeout is killed.
KillMode=mixed
TimeoutStopSec=30
Restart=on-failure
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
END
}

start() {
    if [ ! -d /run/systemd/system ]; then
        say "systemd does not run here. Start the agent with:"
        printf '\n    %s -c %s\n\n' "$bin/tportd" "$conf"
        return
    fi
    undo="$undo $unit"
    write_unit >"$unit"
    systemctl daemon-reload
    systemctl enable --now tportd.service >/dev/null 2>&1 || fail "tportd does not start; see: journalctl -u tportd"
    undo=""
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        if [ -e /var/lib/tport/agent/tls.crt ]; then
            say "this server has joined $CLUSTER"
            return
        fi
        sleep 1
    done
    say "tportd runs, but has not joined yet; see: journalctl -u tportd"
}

main() {
    set -eu
    umask 022
    check_machine
    check_nothing_is_there
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    # Beside where they go: a file system that programs may run from.
    work=$(mktemp -d "$bin/.tport-install.XXXXXX")
    check_proxy
    download
    check_libraries
    make_configuration
    install_all
    start
}

main
