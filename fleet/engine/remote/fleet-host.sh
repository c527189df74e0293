#!/bin/sh
# What fleet does on a build host. It is copied to STATE/bin and called as
#
#   sh fleet-host.sh VERB STATE [ARGUMENT...]
#
# and needs a POSIX shell with tar, gzip, dd, stat, timeout (coreutils, tar, gzip), xargs
# (findutils) and flock, setsid (util-linux), or busybox in place of all of them. STATE holds
#
#   contexts/HEX/HEX/      a build context, named by its digest; see `receive` for why twice
#   contexts/HEX/used      touched at every use
#   contexts/.incoming-NAME/ one that is on its way: HEX, base and at; see `receive`
#   bases/HEX              touched when an image of that digest is about to be built on
#   builds/NAME/           one detached build:
#     Dockerfile order.json what was ordered; Dockerfile.dockerignore: nothing more to leave out
#     command              the shell command that builds; run it again by hand as you like
#     keep                 a shell command: does what a finished build made still exist?
#     drop                 a shell command: lets go of it
#     id                   of this very execution, new with every start
#     pid                  PID SESSION START BOOT SINCE of the runner
#     log, log.1           the output, and that of the execution before
#     exit                 the exit status, or why it was ended: `cancelled`, `timed-out`,
#                          `silent`; there once the build is over
#     iid                  what the build made
#     limits               MOST SILENT SLOTS: seconds that it may take, seconds that it may say
#                          nothing, and how many builds this host runs at a time; 0: no limit
#     oom                  there where the kernel ended processes for want of memory meanwhile
#     lock                 held while a build is started, cancelled or removed
#   slots/N                held by the build that runs in slot N, whoever started it
#
# Every answer begins with the line `fleet-host 1`, since a shell's start-up
# files may print whatever they like before it.
set -u
umask 022
export LC_ALL=C

verb=$1
state=$2
shift 2

die() {
    printf '%s\n' "$1" >&2
    exit 69
}

say() {
    printf 'fleet-host 1\n'
}

# --- processes -----------------------------------------------------------------------------

# Fields 3 and on of /proc/PID/stat, in $stat_state, $stat_session, $stat_start (proc(5)). The
# command's name comes before them and may hold anything: cut at the last parenthesis.
stat_of() {
    stat_line=
    { read -r stat_line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat_line##*) }
    stat_state=$1
    stat_session=$4
    shift 19
    stat_start=$1
}

# Reads DIR/pid. A process number alone proves nothing, since numbers come round again.
runner_of() {
    pid= session= start= boot= since=
    [ -e "$1/pid" ] && read -r pid session start boot since <"$1/pid"
}

alive() {
    runner_of "$1"
    [ -n "$pid" ] || return 1
    read -r now_boot </proc/sys/kernel/random/boot_id
    [ "$boot" = "$now_boot" ] || return 1
    stat_of "$pid" || return 1
    [ "$stat_start" = "$start" ] || return 1
    case $stat_state in Z | X) return 1 ;; esac
}

# Sets $was to none, running, finished, cancelled, timed-out, silent or lost, and $status.
look() {
    status=
    if [ ! -e "$1/id" ]; then
        was=none
    elif [ -e "$1/exit" ]; then
        read -r status <"$1/exit"
        was=finished
    elif alive "$1"; then
        was=running
    elif [ -e "$1/exit" ]; then # it ended while we looked
        read -r status <"$1/exit"
        was=finished
    else
        was=lost
    fi
    case $status in
    cancelled | timed-out | silent) was=$status status= ;;
    none) was=lost status= ;; # the runner could not even write a status
    esac
}

# Signals every process of the runner's session. Its process group is not enough: the docker
# command puts its plugins into groups of their own.
signal_session() {
    found=1
    for entry in /proc/[0-9]*; do
        stat_of "${entry#/proc/}" || continue
        case $stat_state in Z | X) continue ;; esac
        if [ "$stat_session" = "$2" ]; then
            found=0
            kill -s "$1" "${entry#/proc/}" 2>/dev/null
        fi
    done
    return $found
}

# Ends a build with all its processes: asked first, so that the engine hears of it, then forced.
end_session() {
    runner_of "$1"
    [ -n "$pid" ] && [ "$session" = "$pid" ] || return 0
    read -r now_boot </proc/sys/kernel/random/boot_id
    [ "$boot" = "$now_boot" ] || return 0
    if stat_of "$pid" && [ "$stat_start" != "$start" ]; then
        return 0 # the number belongs to somebody else by now
    fi
    signal_session TERM "$session" || return 0
    tries=0
    while [ $tries -lt 25 ]; do
        signal_session 0 "$session" || return 0
        nap
        tries=$((tries + 1))
    done
    while signal_session KILL "$session"; do
        nap
    done
}

nap() {
    sleep "${1:-0.2}" 2>/dev/null || sleep 1
}

# Sets $now to the seconds since the host was started, without a process of its own.
clock() {
    read -r now rest </proc/uptime
    now=${now%.*}
}

# How often the kernel has ended a process for want of memory (proc_vmstat(5), since Linux 4.13).
# Its log says more, and not to everybody.
oom_kills() {
    found=
    while read -r name value; do
        [ "$name" != oom_kill ] || found=$value
    done </proc/vmstat
    printf '%s\n' "$found"
}

describe() {
    id= iid= oom=
    [ -e "$1/oom" ] && oom=1
    [ -e "$1/id" ] && read -r id <"$1/id"
    [ -e "$1/iid" ] && { read -r iid <"$1/iid" || :; } # docker ends it without a line end
    runner_of "$1"
    printf 'id=%s\nstate=%s\nstatus=%s\niid=%s\nsince=%s\noom=%s\n' \
        "$id" "$was" "$status" "$iid" "$since" "$oom"
}

# Holds the lock of a build's folder, which `remove` may have taken away while it was waited for.
locked() {
    while :; do
        mkdir -p "$1" || exit 73
        exec 9>"$1/lock" || exit 73
        flock 9
        [ "$(stat -L -c %i /proc/self/fd/9)" != "$(stat -c %i "$1/lock" 2>/dev/null)" ] || return 0
    done
}

# --- builds --------------------------------------------------------------------------------

# start NAME attach|fresh SEEN <order.tar
# Leaves one build of that name running or finished, whoever asks at the same time. An
# execution that the caller has SEEN is his to follow to its end, whatever its end is; one that
# he has not is of use to him only while it runs or when what it made is there.
start() {
    dir=$state/builds/$1 mode=$2 seen=$3 order=$state/builds/.order-$1-$$
    # Nothing that may wait for the other end of the line happens under the lock.
    mkdir -p "$order" || exit 73
    # The Dockerfile gets a time of its own: BuildKit takes one of the same size and time for the
    # one that it has.
    if tar -xof - -C "$order" && [ -e "$order/command" ] && touch "$order"/*; then :; else
        rm -rf "$order"
        exit 74
    fi
    locked "$dir"
    look "$dir"
    id=
    [ -e "$dir/id" ] && read -r id <"$dir/id"
    fresh=1
    if [ -n "$id" ] && [ "$id" = "$seen" ]; then
        fresh=0
    elif [ "$mode" = attach ]; then
        case $was:$status in
        running:*) fresh=0 ;;
        # busybox's timeout leaves a process behind for a second, which must not have the lock.
        finished:0) (cd "$dir" && timeout 60 sh ./keep) >/dev/null 2>&1 9>&- && fresh=0 ;;
        esac
    fi
    if [ $fresh = 1 ]; then
        # Without an id there is no build: whoever follows hears that his was replaced, and not
        # how it ends.
        rm -f "$dir/id" "$dir/exit"
        end_session "$dir"
        rm -f "$dir/iid" "$dir/pid" "$dir/oom"
        [ -e "$dir/log" ] && mv "$dir/log" "$dir/log.1"
        mv "$order"/* "$dir" || exit 74
        : >"$dir/log" || exit 74
        read -r id </proc/sys/kernel/random/uuid
        setsid sh "$0" run "$state" "$dir" "$id" </dev/null >/dev/null 2>&1 9>&- &
        tries=0
        until [ -e "$dir/id" ]; do
            [ $tries -lt 100 ] || die "the build's runner did not start within 20 seconds"
            nap
            tries=$((tries + 1))
        done
        look "$dir"
    fi
    rm -rf "$order"
    touch "$dir" # somebody wants what an old build made: it is used, and not left over
    say
    describe "$dir"
    printf 'fresh=%s\n' "$fresh"
}

# run DIR ID: the runner, in a session of its own, with nobody at its other end.
run() {
    dir=$1 mine=$2 most=0 silent=0 slots=0
    stat_of $$
    read -r now_boot </proc/sys/kernel/random/boot_id
    printf '%s %s %s %s %s\n' $$ "$stat_session" "$stat_start" "$now_boot" "$(date +%s)" \
        >"$dir/pid.new"
    mv "$dir/pid.new" "$dir/pid"
    printf '%s\n' "$mine" >"$dir/id.new"
    mv "$dir/id.new" "$dir/id"
    [ -e "$dir/limits" ] && read -r most silent slots <"$dir/limits"
    # Room for the status while there is some: the build may fill the disk.
    printf '%-15s\n' none >"$dir/exit.new"
    {
        take_slot "$slots"
        killed=$(oom_kills)
        # In another session than the build, which it is to end.
        setsid sh "$0" watch "$state" "$dir" "$mine" "$most" "$silent" \
            </dev/null >/dev/null 2>&1 8>&- &
        sh "$dir/command" 2>&1
        printf '%-15s\n' $? 1<>"$dir/exit.new"
        [ "$(oom_kills)" = "$killed" ] || : >"$dir/oom"
    } | keep_log "$dir/log"
    # After the last byte of the log: a follower that sees it has everything.
    mv "$dir/exit.new" "$dir/exit"
}

# take_slot COUNT: waits for one of the host's slots and holds it until the build and all that it
# starts have ended, so that controllers that know nothing of each other share the host.
take_slot() {
    [ "$1" -gt 0 ] || return 0
    mkdir -p "$state/slots"
    told=
    while :; do
        slot=1
        while [ "$slot" -le "$1" ]; do
            exec 8>"$state/slots/$slot"
            flock -n 8 && return 0
            slot=$((slot + 1))
        done
        if [ -z "$told" ]; then
            printf '[fleet] builds of other runs are in all slots of this host (%s): waiting\n' "$1"
            told=1
        fi
        nap 1
    done
}

# watch DIR ID MOST SILENT: ends a build that takes too long, or says nothing for too long.
watch() {
    dir=$1 mine=$2 most=$3 silent=$4 size= pace=5
    [ "$most" -gt 0 ] || [ "$silent" -gt 0 ] || return 0
    if [ "$most" -gt 0 ] && [ "$most" -lt 60 ]; then pace=1; fi
    if [ "$silent" -gt 0 ] && [ "$silent" -lt 60 ]; then pace=1; fi
    clock
    began=$now heard=$now
    while mine_runs; do
        nap $pace
        clock
        before=$size
        size=$(stat -c %s "$dir/log")
        # A log at its limit is silent whatever the build says.
        if [ "$size" != "$before" ] || [ "$size" -ge "${FLEET_LOG_LIMIT:-268435456}" ]; then
            heard=$now
        fi
        why=
        if [ "$silent" -gt 0 ] && [ $((now - heard)) -ge "$silent" ]; then why=silent; fi
        if [ "$most" -gt 0 ] && [ $((now - began)) -ge "$most" ]; then why=timed-out; fi
        if [ -n "$why" ]; then
            locked "$dir"
            if mine_runs; then end_as "$dir" "$why"; fi
            return 0
        fi
    done
}

mine_runs() {
    id=
    [ -e "$dir/id" ] && read -r id <"$dir/id"
    [ "$id" = "$mine" ] && [ ! -e "$dir/exit" ] && alive "$dir"
}

# end_as DIR WORD: ends a build, which says WORD from now on.
end_as() {
    printf '%s\n' "$2" >"$1/exit.forced"
    # Before the runner can write a status of its own, and once more after it.
    cp "$1/exit.forced" "$1/exit"
    end_session "$1"
    mv "$1/exit.forced" "$1/exit"
}

# Appends its input to a file as it comes (dd writes what it reads, at once), up to
# FLEET_LOG_LIMIT bytes and what one round of dd adds; beyond that the build goes on unheard.
keep_log() {
    limit=${FLEET_LOG_LIMIT:-268435456}
    size=0
    while [ "$size" -lt "$limit" ]; do
        before=$size
        dd bs=65536 count=64 2>/dev/null >>"$1" || break
        size=$(stat -c %s "$1")
        [ "$size" = "$before" ] && return 0
    done
    printf '\n[fleet] the log ends here, at %s bytes; the build goes on\n' "$size" >>"$1"
    cat >/dev/null
}

# follow NAME ID OFFSET
# The log from a byte on, in frames that no content of the log can be taken for: a line with a
# count and that many bytes; `0` as a sign of life while nothing is written; at the end
# `end STATE STATUS`. `end replaced` where the build was started anew.
follow() {
    dir=$state/builds/$1 mine=$2 position=$3
    say
    if { command exec 3<"$dir/log"; } 2>/dev/null; then :; else
        printf 'end none\n'
        return 0
    fi
    # With count=0 dd only moves the position, which all who hold the descriptor share.
    [ "$position" = 0 ] || dd bs=1 skip="$position" count=0 <&3 2>/dev/null
    clock
    heard=$now signed=$now
    while :; do
        # Looked at before the log is measured: what is written before the end is then in it.
        look "$dir"
        id=
        [ -e "$dir/id" ] && read -r id <"$dir/id"
        [ "$id" = "$mine" ] || was=replaced
        size=$(stat -L -c %s /proc/self/fd/3)
        while [ "$position" -lt "$size" ]; do
            count=$((size - position))
            [ $count -gt 1048576 ] && count=1048576
            printf '%s\n' $count
            dd bs=$count count=1 <&3 2>/dev/null
            position=$((position + count))
            clock
            heard=$now signed=$now
        done
        if [ "$was" != running ]; then
            printf 'end %s %s\n' "$was" "$status"
            return 0
        fi
        # By the clock and not by the round: on a host at work a round may take its time.
        clock
        if [ $((now - signed)) -ge 3 ]; then
            printf '0\n'
            signed=$now
        fi
        # A silent build is asked about less often: on a small board every look costs a few
        # processes that the build would rather have.
        if [ $((now - heard)) -lt 3 ]; then nap; else nap 2; fi
    done
}

# status NAME
status() {
    say
    look "$state/builds/$1"
    describe "$state/builds/$1"
}

# tail NAME: the last bytes of the log, some 20 lines for people.
tail_log() {
    say
    tail -c 65536 "$state/builds/$1/log"
}

# cancel NAME: the build ends with every process of it, and says so to all who follow it.
cancel() {
    dir=$state/builds/$1
    if [ -e "$dir/id" ]; then
        locked "$dir"
        look "$dir"
        if [ "$was" = running ] || [ "$was" = lost ]; then
            end_as "$dir" cancelled
        fi
    fi
    status "$1"
}

# list: one paragraph per build, the order's key first.
list() {
    say
    for dir in "$state"/builds/*/; do
        dir=${dir%/}
        [ -e "$dir/id" ] || continue
        look "$dir"
        printf 'name=%s\norder=' "${dir##*/}"
        tr -d '\n' <"$dir/order.json"
        printf '\n'
        describe "$dir"
        printf '\n'
    done
}

# --- contexts ------------------------------------------------------------------------------

# receive NAME HEX [BASE...]
# Sees to it that a context is here, with as little as there is to send. Answers at once:
#
#   here=1         it is here, and its use is marked; that is all
#   busy=1         somebody else is sending it under this NAME, and has been for a while
#   at=N base=HEX  so many of the entries to send are here already, on top of that context, the
#                  first of the BASEs that is here; none at all where it is empty
#
# and an empty line. Then it reads one line, `plain MARK` or `gzip MARK`; a line for every path
# that is to go from the base, as printf %b takes it; a line with a dot; and the next entries as
# a tar. Its last member is named MARK and says how many entries are here now, and whether these
# are all: what the end of a broken connection leaves looks like the end of a tar.
receive() {
    name=$1 hex=$2
    shift 2
    contexts=$state/contexts
    into=$contexts/.incoming-$name
    # On a small board, or a busy one, a process costs more than all that it does here.
    [ -d "$contexts" ] || mkdir -p "$contexts" || exit 73
    tries=0
    while :; do
        exec 9>"$contexts/.lock" || exit 73
        flock 9
        if [ -d "$contexts/$hex/$hex" ]; then
            : >"$contexts/$hex/used"
            say
            printf 'here=1\n\n'
            return 0
        fi
        [ -d "$into" ] || mkdir "$into" || exit 73
        exec 8>"$into/lock" || exit 73
        flock -n 8 && break
        exec 9>&-
        tries=$((tries + 1))
        if [ $tries -gt 50 ]; then # 10 seconds
            say
            printf 'busy=1\n\n'
            return 0
        fi
        nap
    done
    : >"$into/used"
    tree=$into/$hex
    begin "$@"
    exec 9>&-
    say
    printf 'at=%s\nbase=%s\n\n' "$at" "$base"

    read -r how mark || exit 74
    while read -r path && [ "$path" != . ]; do
        printf '%b\0' "$path"
    done >"$into/gone" || exit 74
    if [ -s "$into/gone" ]; then
        (cd "$tree" && exec xargs -0 rm -rf) <"$into/gone" || exit 74
    fi
    case $how in
    plain) tar -xpof - -C "$tree" || exit 74 ;;
    gzip) gzip -dc | tar -xpof - -C "$tree" || exit 74 ;;
    *) exit 74 ;;
    esac
    mv "$tree/$mark" "$into/at" || exit 74
    read -r at all <"$into/at" || exit 74
    [ "$all" = all ] || { printf 'done=0\n' && return 0; }
    TZ=UTC touch -t 197001010000 "$tree"
    exec 9>"$contexts/.lock" || exit 73
    flock 9
    if [ -d "$contexts/$hex" ]; then # somebody else was faster
        rm -rf "$into"
    else
        # BuildKit asks only for files whose size or time differ from those that it had of a folder
        # of this name before, and times are all alike here: no two contexts may share a name.
        mv "$into" "$contexts/$hex" || exit 74
    fi
    printf 'done=1\n'
}

# begin [BASE...]: sets $base and $at to what is in $into already; under both locks. What stands
# on a base that the sender does not know is of no use to him. Files are shared with the base by
# hard links, which is why nothing ever writes into a file of a context.
begin() {
    if [ -e "$into/at" ]; then
        read -r base <"$into/base"
        for each in "" "$@"; do
            [ "$each" != "$base" ] || { read -r at all <"$into/at" && return 0; }
        done
    fi
    [ ! -d "$tree" ] || rm -rf "$into/at" "$tree"
    base= at=0
    for each in "$@"; do
        [ -d "$contexts/$each/$each" ] || continue
        if cp -al "$contexts/$each/$each" "$tree" 2>/dev/null; then
            : >"$contexts/$each/used"
            base=$each
            break
        fi
        rm -rf "$tree" # as where a file cannot have another link
    done
    [ -d "$tree" ] || mkdir "$tree" || exit 73
    printf '%s\n' "$base" >"$into/base" && printf '0\n' >"$into/at" || exit 74
}

# --- what is left over -----------------------------------------------------------------------

# base HEX: an image of that digest is about to be built on. Docker does not tell when somebody last
# wanted an image; this mark does, until the build's own Dockerfile says it.
base() {
    mkdir -p "$state/bases" && : >"$state/bases/$1" || exit 73
    say
}

# leftovers SIZES: what is here, a paragraph each, the time of this host first. A build that runs
# names the digests, and images of fleet's, that it needs. Sizes are in bytes, and 0 unless SIZES is
# 1: on a small board they cost a look at every file.
leftovers() {
    say
    printf 'now=%s\n' "$(date +%s)"
    cd "$state" 2>/dev/null || { printf 'size=0\n' && return 0; }
    sizes=$1
    printf 'size=%s\n' "$(weight .)"
    for dir in builds/*/; do
        dir=${dir%/}
        [ -e "$dir/lock" ] || continue
        look "$dir"
        id=
        [ -e "$dir/id" ] && read -r id <"$dir/id"
        printf '\nbuild=%s\nid=%s\nstate=%s\nused=%s\nsize=%s\n' \
            "${dir##*/}" "$id" "$was" "$(stat -c %Y "$dir" 2>/dev/null)" "$(weight "$dir")"
        if [ "$was" = running ]; then
            printf 'bases=%s\n' "$(grep -oE 'sha256:[0-9a-f]+|fleet/[^[:space:]@]+' \
                "$dir/Dockerfile" 2>/dev/null | tr '\n' ' ')"
        fi
        [ ! -e "$dir/order.json" ] || { printf 'order=' && tr -d '\n' <"$dir/order.json" && echo; }
    done
    for mark in contexts/*/used; do
        [ -e "$mark" ] || continue
        dir=${mark%/used}
        printf '\ncontext=%s\nused=%s\nsize=%s\n' \
            "${dir##*/}" "$(stat -c %Y "$mark" 2>/dev/null)" "$(weight "$dir")"
    done
    for mark in bases/*; do
        [ ! -e "$mark" ] || [ -n "$(find "$mark" -mmin +1440)" ] || printf '\nbase=%s\n' "${mark##*/}"
    done
}

# weight FOLDER: the bytes that it takes on the disk, if anybody wants to know.
weight() {
    [ "$sizes" = 1 ] || { echo 0 && return 0; }
    du -sk "$1" 2>/dev/null | {
        read -r kilobytes rest
        printf '%s\n' "$((${kilobytes:-0} * 1024))"
    }
}

# remove MINUTES <what, a line each: `build NAME ID`, or `context HEX`
# Each is looked at once more, under its lock: a build that runs or was started anew stays, and
# whatever was used within the last MINUTES. What is gone is named behind `gone=`. What broken
# connections have left goes as well.
remove() {
    say
    cd "$state" 2>/dev/null || return 0
    gone=$state/.gone-$$
    mkdir "$gone" 2>/dev/null # which a full disk refuses: then all is removed where it is
    while read -r kind name known; do
        case $kind in
        build) remove_build "$state/builds/$name" "$1" "$known" ;;
        context) remove_context "$state/contexts/$name" "$1" ;;
        *) false ;;
        esac && printf 'gone=%s\n' "$name"
    done
    exec 9>&-
    find contexts -maxdepth 1 -name '.incoming-*' -mmin +1440 -exec rm -rf {} + 2>/dev/null
    find builds -maxdepth 1 -name '.order-*' -mmin +1440 -exec rm -rf {} + 2>/dev/null
    find bases -type f -mmin +1440 -exec rm -f {} + 2>/dev/null
    chmod -R u+rwX "$gone" 2>/dev/null
    rm -rf "$gone"
}

# remove_build DIR MINUTES ID: with the image that it has made, while nobody can start it anew.
remove_build() {
    [ -e "$1/lock" ] && command exec 9>"$1/lock" && flock -n 9 || return 1
    look "$1"
    id=
    [ -e "$1/id" ] && read -r id <"$1/id"
    [ "$was" != running ] && [ "$id" = "$3" ] || return 1
    [ -n "$(find "$1" -prune -mmin "+$2")" ] || return 1
    [ ! -e "$1/drop" ] || (cd "$1" && timeout 300 sh ./drop) </dev/null >/dev/null 2>&1 9>&-
    discard "$1"
}

# remove_context DIR MINUTES
remove_context() {
    command exec 9>"$state/contexts/.lock" && flock 9 || return 1
    [ -n "$(find "$1/used" -mmin "+$2" 2>/dev/null)" ] || return 1
    discard "$1"
}

# discard FOLDER: takes it out of everybody's sight at once; what it holds is removed later.
discard() {
    mv "$1" "$gone/" 2>/dev/null && return 0
    chmod -R u+rwX "$1" 2>/dev/null
    rm -rf "$1"
}

# room FOLDER: the bytes that are free there.
room() {
    df -P -k "$1" | {
        read -r heading
        read -r device blocks used free rest
        printf '%s\n' "$((free * 1024))"
    }
}

# free FOLDER...: the same of each, as an answer; of the nearest folder above where there is none.
free() {
    say
    for folder in "$@"; do
        while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
        printf 'bytes=%s\n' "$(room "$folder")"
    done
}

# check: whether this host has the tools.
check() {
    for tool in dd flock gzip setsid stat tar timeout xargs; do
        command -v $tool >/dev/null || die "there is no $tool on this host"
    done
    say
}

case $verb in
start | run | watch | follow | status | cancel | list) $verb "$@" ;;
receive | base | leftovers | remove | free | check) $verb "$@" ;;
tail) tail_log "$@" ;;
*) die "fleet-host.sh: no such verb: $verb" ;;
esac
