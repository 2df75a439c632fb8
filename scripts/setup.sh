#!/usr/bin/env bash
# Sees to the system packages that the build (`build`), also the tests (`test`) and the comparison (`compare`) need: installs what is missing when
# run as root on Debian or Ubuntu, and otherwise names it in one message.
# usage: setup.sh build|test|compare
set -euo pipefail

JAVA_MIN=17
missing=()

need() { # need PACKAGE TEST...: the package is missing when the test fails
    local package=$1
    shift
    "$@" > /dev/null 2>&1 || missing+=("$package")
}

# Reads the version from the file beside the runtime: to ask java itself takes longer than all else here together.
has_java() {
    local java home version
    java=$(command -v java) || return 1
    home=$(dirname "$(dirname "$(readlink -f "$java")")")
    version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release" 2> /dev/null) || true
    if [ -z "$version" ]; then
        version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    fi
    [ "${version:-0}" -ge "$JAVA_MIN" ]
}

# The first Java runtime that this release of the distribution has.
java_package() {
    local package
    for package in openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless; do
        if apt-cache show "$package" > /dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    echo openjdk-17-jre-headless
}

find_missing() {
    missing=()
    need gcc command -v cc
    need libc6-dev test -e /usr/include/stdlib.h
    need make command -v make
    need pkg-config command -v pkg-config
    if command -v pkg-config > /dev/null; then
        need libssl-dev pkg-config --exists openssl
        need zlib1g-dev pkg-config --exists zlib
    else
        missing+=(libssl-dev zlib1g-dev)
    fi
    if [ "$1" != build ]; then
        need openssl command -v openssl
        need maven command -v mvn
        need python3 command -v python3
        need python3-pip python3 -m pip --version
        if ! has_java; then missing+=("$(java_package)"); fi
    fi
    if [ "$1" = compare ]; then
        need default-jdk-headless command -v javac
        need python3-venv python3 -c 'import ensurepip, venv'
    fi
}

case ${1:-} in
    build | test | compare) purpose=$1 ;;
    *) sed -n '/^# usage/s/^# //p' "$0" >&2; exit 2 ;;
esac

if ! command -v cargo > /dev/null; then
    echo "setup: cargo is not found; install Rust from https://rustup.rs, or put cargo's folder (often ~/.cargo/bin) on the PATH" >&2
    exit 1
fi

find_missing "$purpose"
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    sudo=$([ "$(id -u)" -eq 0 ] || echo "sudo ")
    echo "setup: system packages are missing; install them with: ${sudo}apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "setup: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Which Java there is, is known only now on a system that never asked its mirrors.
find_missing "$purpose"
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
find_missing "$purpose"
if [ ${#missing[@]} -ne 0 ]; then
    echo "setup: apt-get installed it, but it is still not found: ${missing[*]}" >&2
    exit 1
fi
