# What a host is, in one round trip: sent to `/bin/sh -s MARK STATE`, with a line
# `proof NAME OCTAL` for each test executable and `finish` behind it. For dash, bash
# and busybox; nothing but POSIX. Every answer stands between two lines with the
# mark, on standard output and on standard error alike.
mark=$1
state=$2
umask 077
ulimit -c 0
LC_ALL=C
export LC_ALL
case $state in
    '~') state=$HOME ;;
    '~/'*) state=$HOME/${state#'~/'} ;;
esac
here=
trap 'rm -rf "$here"' EXIT
trap 'exit 129' HUP INT TERM

section() { # NAME COMMAND [ARGUMENT...]
    name=$1
    shift
    printf '%s begin %s\n' "$mark" "$name"
    printf '%s begin %s\n' "$mark" "$name" >&2
    # The standard input is this script.
    "$@" </dev/null
    ended=$?
    printf '\n%s end %s %s\n' "$mark" "$name" "$ended"
    printf '\n%s end %s %s\n' "$mark" "$name" "$ended" >&2
}

limited() { # a daemon that hangs must not hold up the rest
    if command -v timeout >/dev/null; then timeout 30 "$@"; else "$@"; fi
}

cores() {
    nproc || getconf _NPROCESSORS_ONLN || grep -c ^processor /proc/cpuinfo
}

binfmt() {
    cat /proc/sys/fs/binfmt_misc/status || return
    for handler in /proc/sys/fs/binfmt_misc/*; do
        case $handler in */register | */status | */\*) continue ;; esac
        printf '== %s\n' "${handler##*/}"
        cat "$handler"
    done
}

# The first folder that lets files be executed; noexec is common on /tmp, and may be anywhere.
place() {
    for base in "$state" "${XDG_RUNTIME_DIR-}" /dev/shm /tmp; do
        [ -n "$base" ] || continue
        printf '%s\n' "$base"
        [ "$base" != "$state" ] || mkdir -p "$base" || continue
        here=$(mktemp -d "$base/fleet-probe.XXXXXX") || continue
        if printf '#!/bin/sh\nexit 0\n' >"$here/try" && chmod 700 "$here/try" && "$here/try"; then
            return 0
        fi
        rm -rf "$here"
    done
    here=
    return 1
}

# Its first line is the folder of the images, for `disk`.
info() {
    info=$(limited docker info --format '{{println .DockerRootDir}}{{json .}}')
    ended=$?
    printf '%s\n' "$info"
    return $ended
}

disk() { # of the nearest folder that there is
    folder=$(printf '%s\n' "$info" | head -n 1)
    case $folder in /*) ;; *) folder=/ ;; esac
    while ! df -P -k "$folder"; do
        [ "$folder" != / ] || return 1
        folder=${folder%/*}
        folder=${folder:-/}
    done
}

execute() { # NAME OCTAL
    [ -n "$here" ] || return 125
    cd "$here" || return 125
    printf %b "$2" >"./$1" || return 125
    chmod 700 "./$1" || return 125
    "./$1"
}

proof() { # NAME OCTAL
    section "proof-$1" execute "$1" "$2"
}

finish() {
    cd /
    printf '%s done\n' "$mark"
    exit 0
}

section system uname -s
section machine uname -m
section kernel uname -r
section arch cat /proc/sys/kernel/arch
section release sh -c 'cat /etc/os-release || cat /usr/lib/os-release'
section cores cores
section memory cat /proc/meminfo
section home printf %s "$HOME"
section user id -un
section binfmt binfmt
section docker command -v docker
section version limited docker version --format '{{json .}}'
section info info
section buildx limited docker buildx version
section disk disk
section place place
