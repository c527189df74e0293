# What a host is, in one round trip: sent to `/bin/sh -s MARK STATE`, with a line
# `proof NAME OCTAL` for each test executable and `finish` behind it. For dash, bash
# and busybox; nothing but POSIX. The answer is gathered and sent at once, at the end:
# every write would be a message of its own to the controller. Each part of it stands
# between two lines with the mark. Of what the shell can read itself, no process is made.
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
newline='
'
answer=
proofs=
here=
trap tidy EXIT
trap 'exit 129' HUP INT TERM
limit= # a daemon that hangs must not hold up the rest
if command -v timeout >/dev/null; then limit='timeout 30'; fi

tidy() {
    [ -z "$here" ] || rm -rf "$here"
    here=
}

part() { # NAME STATUS TEXT
    answer="$answer$mark begin $1$newline$3$newline$mark end $1 $2$newline"
}

ask() { # NAME COMMAND [ARGUMENT...]: what a command says is in `said` as well
    name=$1
    shift
    # The standard input is this script.
    said=$("$@" </dev/null 2>/dev/null)
    ended=$?
    part "$name" $ended "$said"
}

show() { # FILE: what stands in it, in `said`
    said=
    [ -r "$1" ] || return 1
    while IFS= read -r line || [ -n "$line" ]; do
        said=$said$line$newline
    done <"$1"
}

system() {
    said=$(uname -srm 2>/dev/null)
    ended=$?
    release=${said#* }
    part system $ended "${said%% *}"
    part kernel $ended "${release% *}"
    part machine $ended "${said##* }"
}

cores() {
    said=$(nproc) || said=$(getconf _NPROCESSORS_ONLN) || said=$(grep -c ^processor /proc/cpuinfo)
}

memory() {
    said=
    while IFS= read -r line; do
        said=$said$line$newline
        case $line in Buffers:*) break ;; esac # behind all that is asked for
    done </proc/meminfo
}

binfmt() {
    show /proc/sys/fs/binfmt_misc/status || return
    all=$said
    for handler in /proc/sys/fs/binfmt_misc/*; do
        case $handler in */register | */status | */\*) continue ;; esac
        show "$handler"
        all="$all== ${handler##*/}$newline$said"
    done
    said=$all
}

# Its errors tell a daemon that is down from one that is not for this user.
version() {
    {
        errors=$($limit docker version --format '{{json .}}' </dev/null 2>&1 >&3 3>&-)
        ended=$?
    } 3>&1
    [ -z "$errors" ] || printf '\n%s errors\n%s' "$mark" "$errors"
    return $ended
}

disk() { # of the nearest folder that there is
    case $folder in /*) ;; *) folder=/ ;; esac
    until said=$(df -P -k "$folder"); do
        [ "$folder" != / ] || return 1
        folder=${folder%/*}
        folder=${folder:-/}
    done
}

proof() { # NAME OCTAL
    proofs="$proofs $1:$2"
}

unpack() { # the test executables, and a script that tells whether the folder lets files be executed
    printf '#!/bin/sh\nexit 0\n' >"$here/try" || return
    for each in $proofs; do
        printf %b "${each#*:}" >"$here/${each%%:*}" || return
    done
    chmod 700 "$here"/*
}

# The first folder that lets files be executed; noexec is common on /tmp, and may be anywhere.
place() {
    said=
    for base in "$state" "${XDG_RUNTIME_DIR-}" /dev/shm /tmp; do
        [ -n "$base" ] || continue
        said=$said$base$newline
        [ "$base" != "$state" ] || [ -d "$base" ] || mkdir -p "$base" || continue
        here=$(mktemp -d "$base/fleet-probe.XXXXXX") || continue
        if unpack && "$here/try"; then return 0; fi
        tidy
    done
    return 1
}

finish() {
    place 2>/dev/null
    part place $? "$said"
    for each in $proofs; do
        name=${each%%:*}
        if [ -n "$here" ]; then ask "proof-$name" "$here/$name"; else part "proof-$name" 125 ''; fi
    done
    tidy
    ask clock date +%s.%N # the last: it is as old as the answer is
    printf '%s\n%s done\n' "$answer" "$mark"
    exit 0
}

system
show /proc/sys/kernel/arch
part arch $? "$said"
show /etc/os-release || show /usr/lib/os-release
part release $? "$said"
cores 2>/dev/null
part cores $? "$said"
memory
part memory $? "$said"
part home 0 "$HOME"
binfmt
part binfmt $? "$said"
command -v docker >/dev/null
part docker $? ''
ask version version
[ $ended = 0 ] || ask user id -un # may it not use the daemon?
ask buildx $limit docker buildx version
# The first line is the folder of the images.
ask info $limit docker info --format '{{println .DockerRootDir}}{{json .}}'
folder=${said%%"$newline"*}
disk 2>/dev/null
part disk $? "$said"
