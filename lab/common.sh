# shellcheck shell=bash
# What the lab's scripts share: names, messages, packages.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=${LAB:-lab}
LAB_DEBIAN=${LAB_DEBIAN:-trixie}
# Servers without what docker_host installs: to see it install everything itself.
LAB_BARE=${LAB_BARE:-}
BUILD=$ROOT/build/lab
IMAGE_NAME=neural-lab-server
export ROOT LAB LAB_DEBIAN LAB_BARE BUILD IMAGE_NAME
export DEBIAN_FRONTEND=noninteractive

say() { printf '%s\n' "$@"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The dockerd that the lab started; its process number is in $BUILD/dockerd.pid.
own_dockerd_runs() {
    [ -s "$BUILD/dockerd.pid" ] || return 1
    local state
    # Ended and not yet waited for by the first process (Z) is ended.
    state=$(sed -nE 's/^(Name|State):\s+(\S+).*/\2/p' "/proc/$(cat "$BUILD/dockerd.pid")/status" 2>/dev/null | paste -s -d ' ')
    [[ $state == dockerd\ [!Z] ]]
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "$1 needs root: run this as root (sudo make …)"
}

# install_packages PACKAGE…: by apt, also where an earlier apt was cut off or the lists are missing or too old.
install_packages() {
    need_root "Installing $*"
    command -v apt-get >/dev/null || fail "Please install: $* (this machine has no apt-get)"
    say "Installing from the distribution: $*"
    mkdir -p "$BUILD"
    local log=$BUILD/apt.log wait='-oDPkg::Lock::Timeout=300'
    if [ -n "$(ls -A /var/lib/dpkg/updates 2>/dev/null)" ] || [ -n "$(dpkg --audit)" ]; then
        say "An earlier installation was cut off: dpkg --configure -a"
        dpkg --configure -a >>"$log" 2>&1 || fail "dpkg --configure -a failed: $(tail -n 5 "$log")"
    fi
    if ! apt-get install -y --no-install-recommends "$wait" "$@" >>"$log" 2>&1; then
        apt-get update "$wait" >>"$log" 2>&1 || fail "apt-get update failed: $(tail -n 5 "$log")"
        apt-get install -y --no-install-recommends "$wait" "$@" >>"$log" 2>&1 ||
            fail "apt-get install $* failed: $(tail -n 5 "$log")"
    fi
    printf '%s\n' "$@" >>"$BUILD/packages"
}
